"""A meter: counts what a home takes and gives, and signs its counters with a key of its own.

Wh imported and exported per slot -> cumulative counters -> signed Readings
"""

from __future__ import annotations

from collections.abc import Iterable

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from liggare.energy.codec import pack
from liggare.energy.messages import Readings
from liggare.messages import Domain, Signed

__all__ = ["Meter"]


class Meter:
    """A meter of one home on one market; `imported` and `exported` are its counters, Wh."""

    def __init__(
        self, account: LocalAccount, home: int, domain: Domain, *, imported: int = 0, exported: int = 0
    ) -> None:
        self.account, self.home, self.domain = account, home, domain
        self.imported, self.exported = imported, exported

    @property
    def address(self) -> ChecksumAddress:
        """The address of the meter's key, as it is registered."""
        address: ChecksumAddress = self.account.address
        return address

    def read(self, first_slot: int, slots: Iterable[tuple[int, int]]) -> Signed[Readings]:
        """Count the Wh imported and exported in consecutive slots from `first_slot` on, and sign."""
        pairs = list(slots)
        message = Readings(self.domain, self.home, first_slot, self.imported, self.exported, pack(pairs))
        self.count(pairs)
        return message.sign(self.account)

    def count(self, slots: Iterable[tuple[int, int]]) -> None:
        """Count without signing, as where the line to the market is down."""
        for imported, exported in slots:
            self.imported += imported
            self.exported += exported
