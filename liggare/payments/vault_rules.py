"""The rules of the vault, as a plain-Python twin of StablecoinVault fed by its events and the money's.

It issues when something was deposited and burns when it pays out, never more than it issued; and at the end it
holds tokens for all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from liggare.chain.deployments import Deployments
from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State
from liggare.payments.due import Due
from liggare.payments.rules import ZERO

__all__ = ["VaultRules"]

CONTRACT, MONEY = "StablecoinVault", "ZeroFeePayments"


class VaultRules:
    """Replays the vault of one deployment."""

    contracts: tuple[str, ...] = (CONTRACT, MONEY)
    anew: tuple[str, ...] = ()
    kinds: tuple[type[Any], ...] = (Due,)

    def __init__(self, deployments: Deployments) -> None:
        self.vault = deployments.contracts[CONTRACT].address
        self.issued = 0
        self._added = False
        self._due = Due()
        self._counts: Counter[str] = Counter()

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event of the vault or the money."""
        yield from self._due.overdue(row.place, row.transaction)
        values = row.arguments
        if row.event == "VaultAdded":
            self._added |= values["vault"] == self.vault
        elif row.event == "Deposited":
            if not self._added:
                yield Finding(row.place, "a vault issues once the issuer added it", "VaultAdded", "none before")
            self.issued += values["value"]
            self._due.announce(row, (ZERO, values["to"], values["value"]))
            self._counts["deposits into the vault"] += 1
        elif row.event == "Withdrawn":
            if self.issued < values["value"]:
                yield Finding(row.place, "the vault pays out what it issued", self.issued, values["value"])
            self.issued -= values["value"]
            value = values["value"]
            self._due.announce(row, (values["from"], self.vault, value), (self.vault, ZERO, value))
            self._counts["withdrawals from the vault"] += 1
        elif row.event == "Transfer" and not self._due.take(row) and values["from"] == self.vault:
            yield Finding(row.place, "money leaves the vault to be burned for a withdrawal", "none", values["value"])

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare what was issued with the chain's own, and with the tokens held."""
        yield from self._due.overdue(CONTRACT)
        issued, scale = state.call(CONTRACT, "issued"), state.call(CONTRACT, "scale")
        if issued != self.issued:
            yield Finding(CONTRACT, "what is issued is what deposits and withdrawals make", self.issued, issued)
        held = state.call(CONTRACT, "held")
        if held < self.issued * scale:
            yield Finding(CONTRACT, "the vault holds tokens for all that it issued", self.issued * scale, held)

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)
