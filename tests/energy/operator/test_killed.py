"""kill -9 at random points while slots are cleared and messages carried: each slot is settled once, and rightly."""

from __future__ import annotations

import random
import threading
import time

import httpx
import pytest

from liggare.energy.rules import EnergyRules
from liggare.energy.store import Store
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from tests.energy.operator.process import MarketProcess, prepare
from tests.energy.operator.town import BO, FOREVER, SUN, Town
from tests.nodes import KRONA, node
from tests.relay.load import report


@pytest.fixture
def own_town():
    """A town whose chain makes a block every second, so that a kill also meets transactions under way."""
    with node("anvil", "--block-time", "1") as made:
        yield Town(made)


@pytest.fixture
def start_market(spawner, own_town, tmp_path):
    """Start an operator in a process of its own: `start_market(database, number, "--slots", 4)`."""
    prepare(own_town, tmp_path)
    started = []

    def start_market(*arguments):
        started.append(MarketProcess(spawner, own_town, tmp_path, *arguments))
        return started[-1]

    yield start_market
    for each in started:
        each.close()


class Street:
    """Meters that measure slot after slot and an owner who takes out money; each post is repeated until answered."""

    def __init__(self, town: Town, urls: list[str], seed: int) -> None:
        self._town, self._urls, self._random = town, urls, random.Random(seed)
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)
        self.slots: list[int] = []
        self.messages: list[str] = []
        self.last: list = []
        self.failure: BaseException | None = None

    def again(self, town: Town) -> Street:
        """Return the same street, ready to go on where it was."""
        self._town = town
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run)
        return self

    def __enter__(self) -> Street:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.failure is None, self.failure

    def _run(self) -> None:
        try:
            slot = self.slots[-1] + 1 if self.slots else self._town.first
            with httpx.Client(timeout=10) as http:
                while not self._stop.is_set():
                    self._town.end_of(slot)
                    self.last = list(self._town.read(slot).values())
                    for signed in self.last:
                        told = self._post(http, "/v1/readings", self._town.documents([signed])[0])
                        assert told["firstSlot"] == slot
                    out = self._town.energy.withdrawal(self._town.owners[BO], BO, KRONA, valid_before=FOREVER)
                    told = self._post(http, "/v1/withdrawals", self._town.documents([out])[0])
                    self.messages.append(told["id"])
                    self.slots.append(slot)
                    slot += 1
                    time.sleep(self._random.uniform(0, 0.4))
        except BaseException as exc:
            self.failure = exc

    def _post(self, http: httpx.Client, path: str, body) -> dict:
        while True:
            try:
                answer = http.post(self._random.choice(self._urls) + path, json=body)
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            if answer.is_success:
                return answer.json()
            assert answer.status_code == 503, answer.text
            time.sleep(0.1)


def audit(town: Town, database: str, street: Street) -> dict[str, int]:
    """Check that each slot was cleared once, with everybody, at its price; and that each message ended once."""
    store = Store(database, town.record.genesis, town.energy.contract.address)
    deadline = time.monotonic() + 90
    while town.energy.next_slot() <= street.slots[-1] or store.waiting() or store.open():
        assert time.monotonic() < deadline, (town.energy.next_slot(), street.slots[-1], store.waiting(), store.open())
        time.sleep(0.2)
    cleared = town.cleared()
    assert sorted(cleared) == list(range(town.first, street.slots[-1] + 1))
    assert {(each["price"], each["volume"]) for each in cleared.values()} == {(1_000, 800)}
    assert town.missing() == set()
    assert town.closed() == []
    for home, counted in SUN.items():
        counters = town.energy.contract.functions.countersOf(home).call()
        assert counters == [each * len(street.slots) for each in counted]
    rows, used = [store.message(each) for each in street.messages], town.energy.contract.functions.isWithdrawn
    assert [row.status == "done" for row in rows] == [used(row.id).call() for row in rows]
    # slots that wait for their clearing hold money back; there is no other reason to fail
    assert {(row.status, row.reason) for row in rows} <= {("done", None), ("failed", "EnergyInsufficientBalance")}
    done = sum(row.status == "done" for row in rows)
    assert town.payments.balance(town.owners[BO].address) == done * KRONA
    assert done > len(rows) // 2
    state = ChainState(town.node.w3, town.record, town.node.w3.eth.block_number)
    history = [row for row in Reader(town.node.w3, town.record).rows() if row.block <= state.block]
    assert verify(history, [EnergyRules(town.record)], state).findings == []
    store.close()
    return {"slots": len(cleared), "messages": len(rows), "done": done}


def kill_over_load(start_market, town, database, operators: int, kills: int, seed: int) -> dict[str, int]:
    chance = random.Random(seed)
    running = [start_market(database, 1 + number) for number in range(operators)]
    for each in running:
        each.wait_until_ready()
    with Street(town, [each.url for each in running], seed) as street:
        for _ in range(kills):
            victim = chance.choice(running)
            victim.wait_until_ready()
            time.sleep(chance.uniform(0, 1.5))
            victim.kill()
            victim.start()
    for each in running:
        each.wait_until_ready()
    return audit(town, database, street)


@pytest.mark.parametrize(("kind", "operators"), [("sqlite", 1), ("postgresql", 2)])
def test_a_few_kills(start_market, own_town, tmp_path, request, kind, operators):
    database = f"sqlite:///{tmp_path}/market.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database("marketkills")
    assert kill_over_load(start_market, own_town, database, operators, kills=4, seed=7)["slots"] > 4


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("kind", "operators", "kills"), [("sqlite", 1, 100), ("postgresql", 2, 100)])
def test_a_hundred_kills(start_market, own_town, tmp_path, request, kind, operators, kills):
    database = f"sqlite:///{tmp_path}/market.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database(f"marketkills{operators}")
    ends = kill_over_load(start_market, own_town, database, operators, kills, seed=kills + operators)
    assert ends["slots"] > kills
    report(f"market-{kind}-{operators}", kills=kills, **ends)
