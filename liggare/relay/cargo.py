"""What a domain tells the relayer about its messages, so that the relayer can carry any of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from eth_typing import ChecksumAddress
from web3.types import BlockIdentifier

from liggare.errors import RelayRefused
from liggare.relay.outbox import Entry, Lane, Pending, Row
from liggare.relay.terms import Limits

__all__ = ["WAITS", "Allowance", "Cargo", "Facts", "Freight", "Landed"]

WAITS = "Waits"
"""A dry run's word for a message that must wait for another one on its way, and can be carried out after that."""


@dataclass(frozen=True)
class Freight:
    """A contract call that carries messages; `gas` is a limit that it can't exceed."""

    to: ChecksumAddress
    data: bytes
    gas: int
    access: list[dict[str, Any]]


@dataclass(frozen=True)
class Facts:
    """What the chain says of one account at the newest block; `fresh`: it never had or did anything."""

    balance: int
    fresh: bool


@dataclass(frozen=True)
class Allowance:
    """How far a message may go: `units` of its quota in a day, and `budget` wei of gas, None without limit."""

    units: int
    budget: int | None


@dataclass(frozen=True)
class Landed:
    """A transaction in its block; `cost` in wei, `logs` as JSON-RPC has them."""

    transaction: str
    block: int
    block_hash: str
    succeeded: bool
    gas_used: int
    cost: int
    logs: list[dict[str, Any]]


class Cargo(Protocol):
    """The messages of one domain. Nothing here writes anywhere."""

    kind: str
    """Its name in the outbox."""
    lanes: tuple[Lane, ...]
    """What of it is gathered, and what goes alone."""
    passing: frozenset[str]
    """Reasons of a dry run that pass by themselves."""

    def read(self, document: Any) -> Entry:
        """Return the message of a JSON document. Raises RelayRefused where it is malformed or for elsewhere."""

    def check_time(self, entry: Entry, now: int) -> None:
        """Raise RelayRefused unless the message is valid now and for a while."""

    def check_signer(self, entry: Entry) -> None:
        """Raise RelayRefused unless the one signed it in whose name it speaks."""

    def allowance(self, entry: Entry, limits: Limits) -> Allowance:
        """Return how much of what the sponsor gives this message may use."""

    def payees(self, entry: Entry) -> Collection[str]:
        """Return who gets something by it."""

    def used(self, entries: Sequence[Entry]) -> list[bool]:
        """Tell of each whether its nonce can't be used any more."""

    def facts(self, accounts: Collection[str]) -> Mapping[str, Facts]:
        """Return what the chain says of these accounts, where it matters."""

    def check_room(self, entry: Entry, facts: Mapping[str, Facts], others: Sequence[Pending]) -> None:
        """Raise RelayRefused where the `others` of its account that are on their way leave no room for it."""

    def dry_run(
        self, entries: Sequence[Entry | Row], block: BlockIdentifier = "latest", others: Sequence[Pending] = ()
    ) -> list[str | None]:
        """Return why each would not be carried out after that block, None where it would.

        WAITS where it would after `others`, which are on their way.
        """

    def refused(self, entry: Entry, reason: str) -> RelayRefused:
        """Return the refusal of a message for what the dry run showed."""

    def fit(self, entries: Sequence[Entry | Row], gas: int) -> int:
        """Return how many of the first ones use at most so much gas in one call; one at least."""

    def load(self, entries: Sequence[Entry | Row]) -> Freight:
        """Return the call that carries them all."""

    def outcomes(self, landed: Landed, entries: Sequence[Row]) -> list[str | None]:
        """Return what a transaction that carried them made of each: a reason, None where it was carried out."""

    def find(self, entries: Sequence[Entry | Row]) -> Mapping[str, tuple[str, int]]:
        """Return by id in which transaction and block the messages were carried out, by whomever, where they were."""
