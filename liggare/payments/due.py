"""Movements of money that an event announces and that must follow it, in their order, in its transaction."""

from __future__ import annotations

from collections.abc import Iterator

from liggare.ledger.rows import Finding, Row

__all__ = ["Due"]

Movement = tuple[str, str, int]
"""Payer, payee, units of 10^-6."""


class Due:
    """What was announced and has not come yet."""

    def __init__(self) -> None:
        self._due: list[tuple[str, Movement]] = []  # transaction, movement

    def announce(self, row: Row, *movements: Movement) -> None:
        """Note what must follow the event."""
        self._due += [(row.transaction, movement) for movement in movements]

    def take(self, row: Row) -> bool:
        """Tell whether a Transfer is the next one due; it is due no more then."""
        values = row.arguments
        if self._due[:1] != [(row.transaction, (values["from"], values["to"], values["value"]))]:
            return False
        self._due.pop(0)
        return True

    def overdue(self, place: str, transaction: str | None = None) -> Iterator[Finding]:
        """Yield what did not come, once all rows of its transaction are over."""
        for since, movement in [each for each in self._due if each[0] != transaction]:
            yield Finding(place, "the money moves that an event announces", movement, f"none in {since}")
        self._due = [each for each in self._due if each[0] == transaction]
