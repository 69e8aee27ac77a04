"""Reading the ledger: whole or not at all, in chain order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import ZeroFeePayments

from liggare.chain.connection import connect
from liggare.errors import LedgerError, LedgerForged, LedgerUnavailable
from liggare.ledger.reader import Reader
from tests.nodes import Proxy, free_port


@pytest.fixture
def minted(deployments, operator, anna, bo):
    """Two mintings, a block each."""
    money = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    return [money.mint(member.address, 5, {"from": operator}) for member in (anna, bo)]


def test_rows_come_in_chain_order_with_their_blocks_time(w3, deployments, minted):
    rows = list(Reader(w3, deployments).rows())
    places = [(row.block, row.log_index) for row in rows]
    assert places == sorted(places)
    last = rows[-1]
    assert (last.event, last.arguments["value"]) == ("Transfer", 5)
    assert last.transaction == minted[1].txid
    assert last.timestamp == w3.eth.get_block(last.block)["timestamp"]


@pytest.mark.parametrize("step", [1, 2, 7])
def test_the_size_of_a_range_changes_nothing(w3, deployments, minted, step):
    assert list(Reader(w3, deployments, step=step).rows()) == list(Reader(w3, deployments).rows())


def test_it_says_how_far_it_has_come(w3, deployments, minted):
    told = []
    list(Reader(w3, deployments, step=1).rows(progress=lambda block, end: told.append((block, end))))
    head = w3.eth.block_number
    assert told[-1] == (head, head)
    assert [block for block, _ in told] == list(range(told[0][0], head + 1))


@pytest.mark.parametrize(
    ("method", "lie", "words"),
    [
        ("eth_getLogs", lambda logs: [{**log, "blockHash": "0x" + "01" * 32} for log in logs], "names block"),
        ("eth_getLogs", lambda logs: logs[:-1], "leaves out"),
        ("eth_getLogs", lambda logs: [*logs, logs[-1]], "twice"),
        ("eth_getBlockByNumber", lambda block: {**block, "hash": "0x" + "01" * 32}, "names block"),
        ("eth_getBlockByNumber", lambda block: None, "none"),
    ],
)
def test_a_node_that_lies_is_not_believed(rpc_url, deployments, minted, method, lie, words):
    proxy = Proxy(rpc_url)
    reader = Reader(connect(proxy.url), deployments)
    proxy.lie = lambda name, result: lie(result) if name == method else result
    with pytest.raises(LedgerUnavailable, match=words):
        list(reader.rows())
    proxy.close()


def test_an_event_that_is_not_in_the_sources_stops_the_reading(w3, deployments, minted):
    money = deployments.contracts["ZeroFeePayments"]
    posing = replace(deployments, contracts={"CareRegistry": money})
    with pytest.raises(LedgerError, match="not in its sources"):
        list(Reader(w3, posing).rows())


def test_a_node_that_goes_away_is_named(rpc_url, deployments, minted):
    w3 = connect(rpc_url)
    reader = Reader(w3, deployments)
    w3.provider.endpoint_uri = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(LedgerUnavailable, match="does not answer"):
        list(reader.rows())


def test_a_block_that_is_shown_in_anothers_place_hides_none(rpc_url, deployments, minted):
    proxy, hidden = Proxy(rpc_url), hex(minted[0].block_number)
    reader = Reader(connect(proxy.url), deployments, proven=True)
    older = reader.proven.w3.provider.make_request("eth_getBlockByNumber", [hex(minted[0].block_number - 1), False])
    blocks = {hidden: older["result"]}
    proxy.lie = lambda name, result: blocks.get(result["number"], result) if name == "eth_getBlockByNumber" else result
    with pytest.raises(LedgerForged, match="is shown for block"):
        list(reader.rows())
    proxy.close()
