"""The market behind its pages: replayed from the index as it grows, by the rules of `liggare verify`.

    rows of the market, as they are indexed -> rules -> each slot's book and fills, each home's lines

Nothing of it is stored: it is computed anew when the service starts, or when the chain leaves blocks. What the chain
tells otherwise than the rules is a finding, which the pages show.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block
from liggare.energy.bills import Bill, Book, Line, Recorder, Replay
from liggare.energy.messages import Order
from liggare.energy.rules import CONTRACT
from liggare.energy.settlement import Settled, Tariffs, Terms
from liggare.errors import LiggareError
from liggare.ledger.queries import Ledger
from liggare.ledger.rows import Finding

__all__ = ["Cleared", "Market", "Wish"]

log = logging.getLogger(__name__)

PAUSE = 0.25
"""Seconds between two looks."""
MOST_FINDINGS = 20


@dataclass(frozen=True)
class Wish:
    """What a home bid or offered in a slot: thousandths per kWh, Wh; and what it got of it."""

    home: int
    limit: int
    quantity: int
    filled: int


@dataclass(frozen=True)
class Cleared:
    """A slot's book and outcome: bids from the highest limit, offers from the lowest."""

    price: int
    volume: int
    bids: tuple[Wish, ...]
    offers: tuple[Wish, ...]
    traded: dict[int, int]
    """Wh bought (above zero) or sold (below) on the market, by home; those with none left out."""


class _Scribe(Recorder):
    """Keeps each slot's book and each home's lines."""

    def __init__(self, tariffs: Tariffs) -> None:
        super().__init__(tariffs)
        self.cleared: dict[int, Cleared] = {}
        self.by_home: dict[int, list[Line]] = {}

    def settle_slot(self, nets: Mapping[int, int], orders: Mapping[int, Order | Terms | None]) -> Settled:
        settled = super().settle_slot(nets, orders)
        traded, found = settled.traded, settled.clearing
        buyers = [home for home, net in nets.items() if net > 0]
        sellers = [home for home, net in nets.items() if net < 0]
        bids, offers = (
            [
                Wish(home, limit, quantity, abs(traded[home]))
                for home, (limit, quantity) in zip(homes, table.tolist(), strict=True)
                if quantity
            ]
            for homes, table in ((buyers, settled.bids), (sellers, settled.offers))
        )
        bids.sort(key=lambda wish: (-wish.limit, wish.home))
        offers.sort(key=lambda wish: (wish.limit, wish.home))
        moved = {home: wh for home, wh in traded.items() if wh}
        self.cleared[self.slot] = Cleared(found.price, found.volume, tuple(bids), tuple(offers), moved)
        self.hand_out()
        return settled

    def hand_out(self) -> None:
        """Give the lines written so far to their homes."""
        for line in self.lines:
            self.by_home.setdefault(line.home, []).append(line)
        self.lines.clear()


class Market:
    """The market of one deployment, followed in a thread; any number of threads may ask meanwhile."""

    def __init__(self, ledger: Ledger, deployments: Deployments) -> None:
        self._ledger, self._deployments = ledger, deployments
        self._begin()

    def _begin(self) -> None:
        self._replay = Replay(self._deployments, _Scribe)
        self._scribe: _Scribe = self._replay.recorder  # type: ignore[assignment]
        self._read: Block | None = None
        self.findings: list[Finding] = []

    @property
    def tariffs(self) -> Tariffs:
        """What the grid sells and takes at."""
        return self._replay.till.tariffs

    @property
    def genesis(self) -> int:
        """When slot 0 begins, unix time."""
        return self._replay.genesis

    @property
    def homes(self) -> int:
        """How many homes there are."""
        return len(self._replay.meters)

    @property
    def read(self) -> int | None:
        """Up to which block the market is replayed; None before the first."""
        return self._read and self._read.number

    def cleared(self, slot: int) -> Cleared | None:
        """Return a slot's book and outcome; None where it is not cleared, or not replayed yet."""
        return self._scribe.cleared.get(slot)

    def lines(self, home: int) -> list[Line]:
        """Return a home's lines so far."""
        return list(self._scribe.by_home.get(home, ()))

    def balance(self, home: int) -> int:
        """Return a home's money on the market, in units of 10^-6."""
        return self._replay.till.balances[home]

    def bill(self, home: int, first: int, until: int) -> Bill:
        """Add up a home's lines of slots `first` up to but without `until`."""
        return Book(self.tariffs, self.lines(home)).bill(home, first, until)

    # ------------------------------------------------------------------ following

    def run(self, stop: threading.Event) -> None:
        """Follow the index until told to stop."""
        while not stop.is_set():
            try:
                self.look(stop)
            except LiggareError as exc:
                log.warning("the market is not replayed: %s", exc)
            except Exception as exc:  # rows that the rules can't even take: shown, and not tried again and again
                log.exception("the market can't be replayed")
                self._find(Finding(CONTRACT, "its events can be replayed", "yes", type(exc).__name__))
            stop.wait(PAUSE)

    def look(self, stop: threading.Event | None = None) -> None:
        """Replay what the index has read since the last look. Raises IndexUnavailable."""
        read, known = self._ledger.health().read, self._read
        if read is None or (known and known.hash == read.hash):
            return
        if known and not self._stands(known):
            self._begin()
            known = None
        for row in self._ledger.rows(known.number + 1 if known else 0, read.number, contract=CONTRACT):
            if stop and stop.is_set():
                return
            for finding in self._replay.apply(row):
                self._find(finding)
        self._scribe.hand_out()
        self._read = read
        if not self._stands(read):  # the chain turned meanwhile
            self._begin()

    def _stands(self, block: Block) -> bool:
        kept = self._ledger.block(block.number)
        return kept is not None and kept.hash == block.hash

    def _find(self, finding: Finding) -> None:
        log.warning("the ledger is off: %s", finding)
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
