"""Rows from raw logs: the same as web3 makes of them, for every event that there is; what is off is named."""

from __future__ import annotations

import random

import pytest
from eth_abi import encode
from eth_utils.abi import event_abi_to_log_topic
from web3 import Web3
from web3._utils.method_formatters import log_entry_formatter

from liggare.chain.artifacts import artifact, names
from liggare.chain.deployments import Deployment, Deployments
from liggare.chain.feed import Block
from liggare.errors import LedgerError
from liggare.ledger.events import Events
from liggare.ledger.reader import Reader
from tests.support import rows_by_web3

BLOCK = Block(7, "0x" + "0b" * 32, "0x" + "0a" * 32, 1_800_000_000, 0)
AT = {name: Web3.to_checksum_address("0x" + f"{number + 1:040x}") for number, name in enumerate(names())}
RECORD = Deployments(1, "0x", {name: Deployment(AT[name], "0x", 0, [], artifact(name).source_hash) for name in names()})
EVENTS = [(name, item) for name in names() for item in artifact(name).abi if item["type"] == "event"]
draw = random.Random(6)


def value(kind):
    if kind == "address":
        return "0x" + draw.randbytes(20).hex()
    if kind == "bool":
        return draw.random() < 0.5
    if kind == "bytes":
        return draw.randbytes(draw.choice([0, 1, 31, 32, 33, 700]))
    size = int(kind.removeprefix("uint").removeprefix("bytes"))
    return (
        draw.randbytes(size) if kind.startswith("bytes") else draw.choice([0, 1, 2**size - 1, draw.getrandbits(size)])
    )


def log_of(contract, item):
    """Return a log of an event with drawn members, as JSON-RPC has it."""
    topics, kinds, values = [event_abi_to_log_topic(item)], [], []
    for each in item["inputs"]:
        drawn = value(each["type"])
        if each["indexed"]:
            topics.append(encode([each["type"]], [drawn]))
        else:
            kinds.append(each["type"])
            values.append(drawn)
    return {
        "address": AT[contract].lower(),
        "topics": ["0x" + topic.hex() for topic in topics],
        "data": "0x" + encode(kinds, values).hex(),
        "blockNumber": "0x7",
        "blockHash": BLOCK.hash,
        "transactionHash": "0x" + draw.randbytes(32).hex(),
        "transactionIndex": "0x0",
        "logIndex": hex(draw.randrange(1000)),
        "removed": False,
    }


@pytest.mark.parametrize(("contract", "item"), EVENTS, ids=[f"{name}.{item['name']}" for name, item in EVENTS])
def test_every_event_is_read_as_web3_reads_it(contract, item):
    event = Web3().eth.contract(address=AT[contract], abi=artifact(contract).abi).events[item["name"]]()
    for _ in range(20):
        log = log_of(contract, item)
        (row,) = Events(RECORD).rows([log], [BLOCK])
        web3s = event.process_log(log_entry_formatter(log))
        assert (row.contract, row.event, row.arguments) == (contract, web3s["event"], dict(web3s["args"]))
        assert [type(each) for each in row.arguments.values()] == [type(web3s["args"][name]) for name in row.arguments]
        assert list(row.arguments) == [each["name"] for each in item["inputs"]]
        assert (row.block, row.block_hash, row.timestamp) == (7, BLOCK.hash, BLOCK.time)
        assert (row.transaction, row.log_index) == (log["transactionHash"], int(log["logIndex"], 16))


def changed(text, place, digit):
    return text[:place] + digit + text[place + 1 :]


READINGS = next(item for name, item in EVENTS if item["name"] == "ReadingsTaken")


@pytest.mark.parametrize(
    "change",
    [
        lambda log: {"data": log["data"] + "00"},
        lambda log: {"data": log["data"] + "00" * 32},
        lambda log: {"data": log["data"][:-2]},
        lambda log: {"data": log["data"][:66]},
        lambda log: {"data": "0x"},
        lambda log: {"data": None},
        lambda log: {"data": "0x" + "f" * (len(log["data"]) - 2)},
        lambda log: {"data": changed(log["data"], 2 + 64 * 2 + 1, "f")},  # where the readings begin
        lambda log: {"data": changed(log["data"], 2 + 64 * 3 + 1, "f")},  # how long they are
        lambda log: {"topics": [*log["topics"], log["topics"][1]]},
        lambda log: {"topics": [log["topics"][0], "0x" + "11" * 31]},
        lambda log: {"topics": [log["topics"][0], 5]},
        lambda log: {"blockNumber": "0x8"},
        lambda log: {"blockNumber": "seven"},
        lambda log: {"blockHash": "0x" + "0c" * 32},
        lambda log: {"logIndex": None},
        lambda log: {"logIndex": "<b>"},
        lambda log: {"transactionHash": "<script>alert(1)</script>".ljust(66)},
        lambda log: {"transactionHash": "0x" + "F0" * 32},
        lambda log: {"transactionHash": None},
        lambda log: {"address": AT["Escrow"].lower()},
    ],
)
def test_a_log_that_is_off_is_refused_by_name(change):
    log = log_of("EnergyMarket", READINGS)
    Events(RECORD).rows([log], [BLOCK])
    with pytest.raises(LedgerError):
        Events(RECORD).rows([{**log, **change(log)}], [BLOCK])


def test_random_damage_is_refused_or_read_as_it_stands():
    """Whatever digit changes: an error by name, or another row; never another kind of error, never the same row."""
    for contract, item in EVENTS:
        log = log_of(contract, item)
        (honest,) = Events(RECORD).rows([log], [BLOCK])
        for _ in range(30):
            words = [*log["topics"], log["data"]]
            which = draw.randrange(len(words))
            if len(words[which]) == 2:
                continue
            place = draw.randrange(2, len(words[which]))
            old = words[which][place]
            words[which] = changed(
                words[which], place, draw.choice([digit for digit in "0123456789abcdef" if digit != old])
            )
            try:
                (row,) = Events(RECORD).rows([{**log, "topics": words[:-1], "data": words[-1]}], [BLOCK])
            except LedgerError:
                continue
            assert row != honest


def test_the_suites_own_history_is_read_as_web3_reads_it(w3, deployments):
    rows = list(Reader(w3, deployments).rows())
    assert rows == rows_by_web3(w3, deployments)
    assert rows
