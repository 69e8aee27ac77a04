"""The fast reading of logs: the same as web3's, and nothing that is off gets through."""

from __future__ import annotations

import re

import pytest

from liggare.chain import logs
from liggare.chain.artifacts import artifact
from liggare.chain.logs import LogDecoder
from liggare.chain.raw import ask
from liggare.errors import DeploymentMissing, LedgerError
from liggare.ledger.reader import Reader

RECORDS = ["CareRegistry", "RecordAccess"]


@pytest.fixture(scope="module")
def decoder(deployments):
    return LogDecoder(deployments, RECORDS)


@pytest.fixture
def raw(w3, decoder, deployments, operator):
    """The registry's first log, and one of an accreditation, as the node has them."""
    registry = deployments.contract(w3, "CareRegistry")
    registry.functions.accredit(operator.address, 1, 7, 3, 9, 2).transact({"from": operator.address})
    words = {"fromBlock": "0x0", "toBlock": "latest", "address": decoder.addresses}
    return ask(w3, "eth_getLogs", words)


def test_it_reads_what_web3_reads(w3, deployments, decoder, raw):
    rows = [row for row in Reader(w3, deployments).rows() if row.contract in RECORDS]
    assert [decoder.decode(log) for log in raw] == [(row.contract, row.event, row.arguments) for row in rows]
    assert rows[-1].event == "Accredited"


def test_every_event_of_the_records_can_be_read_so(decoder):
    listed = {
        (contract, item["name"]) for contract in RECORDS for item in artifact(contract).abi if item["type"] == "event"
    }
    assert {(plan.contract, plan.name) for plan in decoder._plans.values()} == listed


def word(value):
    return "0x" + value.rjust(64, "0")


@pytest.mark.parametrize(
    "change",
    [
        {"data": "0x"},
        {"data": word("7") + "00"},
        {"data": "0x" + "zz" * 32},
        {"data": "0x" + "1_" * 32},
        {"data": "0x" + "-1" * 32},
        {"data": "0x" + "11 " * 21 + "1"},
        {"data": "1x" + "11" * 32},
        {"topics": []},
        {"topics": None},
        {"address": "0x" + "11" * 20},
        {"address": 7},
    ],
)
def test_a_log_of_another_form_is_refused(decoder, raw, change):
    with pytest.raises(LedgerError):
        decoder.decode({**raw[-1], **change})


def test_a_topic_that_is_no_address_or_missing_is_refused(decoder, raw):
    log = raw[-1]
    for topics in ([log["topics"][0]], [log["topics"][0], "0x" + "ff" * 32], [log["topics"][0], "0x11"]):
        with pytest.raises(LedgerError):
            decoder.decode({**log, "topics": topics})


def test_a_number_beyond_its_type_is_refused(decoder, deployments):
    revoked = next(key for key, plan in decoder._plans.items() if plan.name == "Revoked")
    log = {"address": revoked[0], "topics": [revoked[1], word("1"), word("2")], "data": word("5") + word("9")[2:]}
    assert decoder.decode(log).arguments["version"] == 9
    with pytest.raises(LedgerError):
        decoder.decode({**log, "data": word("5") + "ff" * 32})


@pytest.mark.parametrize(("kind", "indexed"), [("uint8[]", False), ("int8", False), ("string", True)])
def test_an_event_that_is_not_read_here_is_not_taken_on(kind, indexed):
    members = [{"name": "text", "type": "string", "indexed": False}, {"name": "x", "type": kind, "indexed": indexed}]
    with pytest.raises(ValueError, match=re.escape(kind)):
        logs._plan("Any", {"type": "event", "name": "Told", "inputs": members})


def test_a_contract_that_the_record_lacks_is_named(deployments):
    with pytest.raises(DeploymentMissing, match="no Nothing"):
        LogDecoder(deployments, ["Nothing"])
