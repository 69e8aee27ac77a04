"""A market with an operator: three homes on an Anvil of the tests' own, whose clock the test turns on."""

from __future__ import annotations

import itertools

import pytest

from liggare.chain.connection import connect
from liggare.chain.sender import Sender
from liggare.energy.client import Energy
from liggare.energy.intake import Intake, Limits
from liggare.energy.messages import UTILITY
from liggare.energy.meter import Meter
from liggare.energy.operator import Operator, Pace
from liggare.energy.store import Store
from liggare.energy.wire import document, read
from liggare.payments.client import Payments
from liggare.web.market import authorization
from scripts.bench_energy_chain import key, market
from scripts.nodes import hang_up
from tests.nodes import KRONA, Postgres, funded, node

ANNA, BO, CIA = 1, 2, 3
SUN = {ANNA: (0, 900), BO: (500, 0), CIA: (300, 0)}
"""Wh in and out in a slot: what Anna has left, both others need."""
FOREVER = 2**48 - 1
NOW = Pace(settle_in=0)
QUICK = Pace(settle_in=0, lease=1)


@pytest.fixture(autouse=True)
def isolation():
    """The chains here are the tests' own: Brownie's is left alone."""


class Town:
    """Anna has the sun on her roof, Bo and Cia consume; all have orders and money from `first` on, the next slot."""

    def __init__(self, made) -> None:
        self.record = market(made)
        self.look_at(made)
        self.owners = {home: key(0x100 + home) for home in SUN}
        self.meters = {home: Meter(key(0x1000 + home), home, self.energy.domain) for home in SUN}
        self.go_to(self.energy.current_slot() + 1, 5)
        for home in SUN:
            self.energy.register(self.owners[home].address, self.meters[home].address, self.issuer)
        for home, limits in ((ANNA, {"sell": 1_000}), (BO, {"buy": 2_000}), (CIA, {"buy": 1_500})):
            self.energy.carry_order(self.wish(home, **limits), self.issuer)
        for home in (UTILITY, BO, CIA):
            salt, signed = self.payment(home, 1_000 * KRONA)
            self.energy.deposit(home, salt, signed, self.issuer)
        self.first = self.energy.current_slot() + 1

    def look_at(self, made) -> None:
        """Connect to the node, for the first time or after it was started again."""
        self.node = made
        self.energy, self.payments = Energy(made.w3, self.record), Payments(made.w3, self.record)
        self.issuer = Sender(made.w3, funded(0))

    def wish(self, home: int, **terms):
        """An order signed by the home's owner."""
        return self.energy.order(self.owners[home], home, **{"cap": 5_000, **terms})

    def payment(self, home: int, value: int, payer=None, salt: bytes = bytes(32)):
        """Money freshly minted and signed away into a home's account: salt and authorization."""
        payer = payer or key(0xFFFF)
        self.payments.mint(payer.address, value, self.issuer)
        nonce, to = self.energy.deposit_nonce(home, salt), self.energy.contract.address
        return salt, self.payments.receive(payer, to, value, nonce=nonce, valid_before=FOREVER)

    # ------------------------------------------------------------------ the clock

    def go_to(self, slot: int, seconds: int = 100) -> None:
        """Let the chain's clock run to some seconds after a slot's beginning."""
        moment = self.energy.begins(slot) + seconds
        if moment > self.node.w3.eth.get_block("latest")["timestamp"]:
            self.node.rpc("evm_setNextBlockTimestamp", moment)
            self.node.rpc("evm_mine")

    def end_of(self, slot: int, seconds: int = 100) -> None:
        """Let the clock run until a slot may be cleared."""
        self.go_to(slot + 1, seconds)

    # ------------------------------------------------------------------ readings

    def read(self, slot: int, count: int = 1, homes=tuple(SUN), changes=None) -> dict:
        """Let meters count and sign `count` slots: their signed batches by home."""
        counted = {**SUN, **(changes or {})}
        return {home: self.meters[home].read(slot, [counted[home]] * count) for home in homes}

    def documents(self, signed) -> list[dict]:
        """Signed things as JSON has them."""
        items = signed.values() if isinstance(signed, dict) else signed
        return [document(item, self.energy.domain) for item in items]

    # ------------------------------------------------------------------ what became of it

    def cleared(self) -> dict[int, dict]:
        """The slots that were cleared, as the chain tells; each once."""
        logs = self.energy.contract.events.SlotCleared().get_logs(from_block=0)
        found = {log["args"]["slot"]: dict(log["args"]) for log in logs}
        assert len(found) == len(logs), "a slot was cleared twice"
        return found

    def missing(self) -> set[tuple[int, int]]:
        """(home, first slot) of what was marked as without a reading."""
        logs = self.energy.contract.events.ReadingMissing().get_logs(from_block=0)
        return {(log["args"]["home"], log["args"]["firstSlot"]) for log in logs}

    def closed(self) -> list[tuple[int, int]]:
        """First and next slot of what was closed."""
        logs = self.energy.contract.events.SlotsClosed().get_logs(from_block=0)
        return [(log["args"]["firstSlot"], log["args"]["nextSlot"]) for log in logs]

    def posts(self) -> int:
        """How many readings were posted on chain."""
        return len(self.energy.contract.events.ReadingsPosted().get_logs(from_block=0))


class Desk:
    """An operator at hand's pace: the test ticks it."""

    def __init__(self, town: Town, database: str, number: int = 1, pace: Pace = NOW, limits=None, clock=None) -> None:
        w3 = connect(town.node.url)
        times = {} if clock is None else {"clock": clock}
        self.energy, self.account = Energy(w3, town.record), funded(number)
        self.store = Store(database, town.record.genesis, self.energy.contract.address)
        authorize = authorization(Payments(w3, town.record))
        self.intake = Intake(self.energy, authorize, self.store, self.account.address, limits or Limits(), **times)
        self.operator = Operator(self.energy, self.account, self.store, self.intake, pace, **times)

    def take(self, documents) -> list:
        """Hand batches in, past what was seen of the chain before."""
        self.intake.moment(fresh=0)
        return self.intake.readings([read(each) for each in documents])

    def run(self, ticks: int = 6) -> None:
        """Tick until nothing changes any more."""
        for _ in range(ticks):
            self.operator.tick()


@pytest.fixture(scope="session")
def anvil_town():
    """One town for all tests of a worker, set back after each."""
    with node("anvil") as made:
        yield Town(made)


@pytest.fixture
def town(anvil_town):
    """A town before its first slot."""
    mark = anvil_town.node.rpc("evm_snapshot")
    counters = {home: (meter.imported, meter.exported) for home, meter in anvil_town.meters.items()}
    yield anvil_town
    anvil_town.node.rpc("anvil_setAutomine", True)
    anvil_town.node.rpc("evm_revert", mark)
    anvil_town.node.rpc("evm_mine")
    for home, meter in anvil_town.meters.items():
        meter.imported, meter.exported = counters[home]


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of the tests' own."""
    server = Postgres()
    yield server
    server.close()


_names = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/market.db"
    return request.getfixturevalue("postgres").database(f"market{next(_names)}")


@pytest.fixture
def desk_at(town):
    """Make an operator: `desk_at(database, 2, pace=…)`."""
    made = []

    def desk_at(*arguments, **changes):
        made.append(Desk(town, *arguments, **changes))
        return made[-1]

    yield desk_at
    for each in made:
        each.store.close()
        hang_up(each.energy.w3)


@pytest.fixture
def desk(desk_at, tmp_path):
    """An operator with a database of its own."""
    return desk_at(f"sqlite:///{tmp_path}/desk.db")
