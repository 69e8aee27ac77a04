"""The check of a market slot against a real chain: the clearing is computed anew; what is told otherwise is found."""

from __future__ import annotations

import json

import pytest
from eth_utils.abi import event_abi_to_log_topic

from liggare.chain.artifacts import artifact
from liggare.energy.messages import NEVER_BUY
from tests.energy.conftest import ANNA, BO, CIA
from tests.energy.street import FIRST
from tests.nodes import Proxy
from tests.web.checks.conftest import OTHER

FILLS = {ANNA: -900, BO: 600, CIA: 300}
"""Anna has 900 Wh left; Bo and Cia need 1,000 and 800: Bo, who pays more, is served first; see `cleared`."""


@pytest.fixture
def cleared(trading, slot_claims):
    """What a page says of slot 11: Anna's 900 Wh go to Bo's 600 and 300 of Cia's 800."""
    trading.end_of(FIRST)
    readings = trading.read(FIRST, {ANNA: (100, 1000), BO: (600, 0), CIA: (800, 0)})
    return slot_claims(trading.clear(readings), FILLS)


def test_a_slot_is_right(check, cleared):
    result, steps = check("slot", cleared)
    assert result == "good", steps
    names = ["chain", "block", "transaction", "receipts", "clearing", "domain", "events", "replay", "readings"]
    assert list(steps) == [*names, "price", "fills", "sums", "state"]
    assert steps["readings"]["values"] == {"homes": 3, "signed": 3, "missing": "—"}
    assert steps["sums"]["values"] == {"bought": 900, "sold": 900}


def test_a_page_that_shows_no_fills_leaves_their_step_out(check, cleared):
    del cleared["fills"]
    result, steps = check("slot", cleared)
    assert result == "good"
    assert "fills" not in steps


def test_a_history_with_everything_in_it_is_right(check, trading, dora, slot_claims):
    """Two slots at once, a home without a reading, a posted one, a gap, a newer order, a new home, money."""
    trading.end_of(FIRST + 1)
    readings = trading.read(FIRST, *[{ANNA: (0, 500), BO: (300, 0), CIA: (400, 0)}] * 2)
    first = trading.clear(readings, 2)
    assert check("slot", slot_claims(first, {ANNA: -500, BO: 300, CIA: 200}, 1))[0] == "good"
    trading.move_in(dora)  # home 4, from slot 14 on
    trading.place(BO, seq=2, from_slot=FIRST + 3, buy_limit=NEVER_BUY)
    trading.end_of(FIRST + 2, 2 * 3600)
    readings = trading.read(FIRST + 2, {ANNA: (0, 400), BO: (100, 0), CIA: (50, 0)})
    lost = trading.clear({home: each for home, each in readings.items() if home != BO})
    result, steps = check("slot", slot_claims(lost, {ANNA: -50, CIA: 50}))
    assert result == "good", steps
    assert steps["readings"]["values"]["missing"] == str(BO)
    trading.pay_in(CIA, trading.owners[CIA], 5, b"\5" * 32)
    trading.end_of(FIRST + 3)
    readings = trading.read(FIRST + 3, {ANNA: (0, 70), BO: (10, 0), CIA: (60, 0), 4: (500, 0)})
    posted = readings[ANNA]
    values = tuple(posted.message.values().values())
    trading.market.postReadings(values, posted.signature, {"from": trading.operator})
    last = trading.clear({home: each for home, each in readings.items() if home != ANNA})
    result, steps = check("slot", slot_claims(last, {ANNA: -60, CIA: 60}))
    assert result == "good", steps
    assert steps["readings"]["values"] == {"homes": 4, "signed": 3, "missing": "—"}


TAMPERED = {
    "slot": ("12", "clearing", "slotInTransaction"),
    "price": ("1001", "price", "pricePage"),
    "lo": ("999", "price", "loPage"),
    "hi": ("2000", "price", "hiPage"),
    "volume": ("899", "price", "volumePage"),
    "fills": ("1:-900 2:599 3:301", "fills", "fillsPage"),
    "contract": (OTHER, "clearing", "slotInTransaction"),
    "transaction": ("0x" + "ab" * 32, "block", "transactionThere"),
}


@pytest.mark.parametrize("claim", TAMPERED)
def test_a_page_that_tells_a_slot_otherwise_is_found(check, cleared, claim):
    value, step, rule = TAMPERED[claim]
    result, steps = check("slot", cleared | {claim: value})
    assert (result, steps[step]["state"]) == ("bad", "bad"), steps
    assert steps[step]["rule"] == rule


def drop(topic_of):
    """A lie: no log of an event is in what eth_getLogs answers."""
    abi = next(item for item in artifact("EnergyMarket").abi if item.get("name") == topic_of)
    topic = "0x" + event_abi_to_log_topic(abi).hex()
    return lambda logs: [log for log in logs if log["topics"][0] != topic]


def digit(text, position=-1):
    position %= len(text)
    return text[:position] + ("0" if text[position] != "0" else "1") + text[position + 1 :]


def altered(event, field):
    """A lie: the last digit of a field of an event's first log."""
    keep = drop(event)

    def lie(logs):
        kept = keep(logs)
        target = next(log for log in logs if log not in kept)
        target["data"] = digit(target["data"]) if field == "data" else target["data"]
        if field == "topic":
            target["topics"][1] = digit(target["topics"][1])
        return logs

    return lie


LIES = {
    "an order left out": (drop("OrderPlaced"), "price", "lo"),
    "a deposit left out": (drop("Deposited"), None, None),
    "a home left out": (drop("HomeRegistered"), "replay", "homeKnown"),
    "the readings left out": (drop("ReadingsTaken"), "events", "eventsOfBlock"),
    "an order's terms": (altered("OrderPlaced", "data"), "replay", "orderId"),
    "whose order it is": (altered("OrderPlaced", "topic"), "replay", None),
    "a meter's counters": (altered("HomeRegistered", "data"), None, None),
    "the slot that was told": (altered("SlotCleared", "data"), "events", "eventsOfBlock"),
    "an event told twice": (lambda logs: logs[:1] + logs, "replay", "homesInTurn"),
    "nothing told": (lambda logs: [], "events", "eventsOfBlock"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_tells_events_otherwise_is_found(check, cleared, rpc_url, lie):
    change, step, rule = LIES[lie]
    proxy = Proxy(rpc_url)
    proxy.lie = lambda asked, result: change(result) if asked == "eth_getLogs" else result
    try:
        result, steps = check("slot", cleared, proxy.url)
    finally:
        proxy.close()
    assert result == "bad", steps
    bad = {name: each.get("rule") for name, each in steps.items() if each["state"] == "bad"}
    assert step is None or step in bad, bad
    assert rule is None or bad[step] == rule, bad


def test_a_node_that_keeps_no_old_state_leaves_that_step_open(check, cleared, rpc_url):
    proxy = Proxy(rpc_url)

    original = proxy.answer

    def answer(text):
        asked = json.loads(text)
        calls = asked if isinstance(asked, list) else [asked]
        if any(each["method"] == "eth_call" and each["params"][1] != "latest" for each in calls):
            error = {"code": -32000, "message": "missing trie node"}
            refused = [{"jsonrpc": "2.0", "id": each["id"], "error": error} for each in calls]
            return json.dumps(refused if isinstance(asked, list) else refused[0]).encode()
        return original(text)

    proxy.answer = answer
    try:
        result, steps = check("slot", cleared, proxy.url)
    finally:
        proxy.close()
    assert (result, steps["state"]["reason"]) == ("unknown", "refused")
    assert "missing trie node" in steps["state"]["detail"]
    assert steps["price"]["state"] == "good"
