"""Following a chain: what the index has is what the chain has, whatever happens on the way."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from liggare.errors import LedgerError, LedgerUnavailable
from liggare.ledger import follower as follower_module
from liggare.ledger.queries import Ledger
from tests.ledger.test_index import kept
from tests.nodes import wallet


def test_from_nothing_it_catches_up_whole(chain, index):
    for member in range(5):
        chain.mint(member)
        chain.mine(member)
    told = []
    follower = chain.follower(index, step=3)
    assert follower.look(lambda block, end: told.append((block, end))) == chain.node.w3.eth.block_number
    assert kept(index, follower.ledger) == chain.rows()
    assert told[-1][0] == told[-1][1] == chain.node.w3.eth.block_number
    assert [block for block, _ in told] == sorted(block for block, _ in told)


def test_a_new_block_is_there_at_the_next_look(chain, index):
    follower = chain.follower(index)
    follower.look()
    for member in range(3):
        chain.mint(member)
        follower.look()
        assert kept(index, follower.ledger) == chain.rows()


def test_a_look_at_nothing_new_asks_for_the_head_alone(chain, index):
    follower = chain.follower(index)
    follower.look()
    chain.proxy.asked.clear()
    follower.look()
    assert chain.proxy.asked == {"eth_getBlockByNumber": 1, "eth_chainId": 1, "eth_syncing": 1}


def test_unconfirmed_blocks_are_not_read(chain, index):
    chain.mint()
    follower = chain.follower(index, confirmations=2)
    follower.look()
    assert kept(index, follower.ledger) == chain.rows()[:-1]
    chain.mine(2)
    follower.look()
    assert kept(index, follower.ledger) == chain.rows()
    assert chain.follower(index, confirmations=5).look() == follower.look()  # more of them later: nothing to undo


def test_a_chain_that_turns_takes_its_rows_along(chain, index):
    follower = chain.follower(index)
    chain.mint(1, 11)
    follower.look()
    mark = chain.node.rpc("evm_snapshot")
    for member in (2, 3, 4):
        chain.mint(member, 22)
        follower.look()
    before = Ledger(index, follower.ledger).totals()["ZeroFeePayments.Transfer"]
    chain.node.rpc("evm_revert", mark)
    with pytest.raises(LedgerUnavailable, match="behind"):
        follower.look()  # shorter than what was read: nobody can tell yet whether the node is late
    chain.mint(5, 33)
    chain.mine(4)
    follower.look()
    assert kept(index, follower.ledger) == chain.rows()
    after = Ledger(index, follower.ledger).totals()["ZeroFeePayments.Transfer"]
    assert (before.count - after.count, before.value - after.value) == (2, 33)
    assert Ledger(index, follower.ledger).about(wallet(4).address).rows == []
    assert len(Ledger(index, follower.ledger).about(wallet(5).address).rows) == 1


def test_a_chain_that_turned_while_nobody_followed_is_found_at_the_start(chain, index):
    mark = chain.node.rpc("evm_snapshot")
    chain.mint(1, 11)
    chain.follower(index).look()
    chain.node.rpc("evm_revert", mark)
    chain.mine(1)
    chain.mint(2, 12)
    follower = chain.follower(index)
    follower.look()
    assert kept(index, follower.ledger) == chain.rows()


@pytest.mark.parametrize(
    ("method", "lie", "words"),
    [
        ("eth_getLogs", lambda logs: [], "leaves out"),
        ("eth_getLogs", lambda logs: logs[1:], "leaves out"),
        ("eth_getLogs", lambda logs: logs * 2, "twice"),
        ("eth_getLogs", lambda logs: [{**log, "data": "0x"} for log in logs], "another form"),
        ("eth_getLogs", lambda logs: [{**log, "blockHash": "0x" + "1f" * 32} for log in logs], "names block"),
        ("eth_getLogs", lambda logs: None, "none"),
        ("eth_getBlockByNumber", lambda block: {**block, "hash": "0x" + "1f" * 32}, "changed|names block"),
        ("eth_getBlockByNumber", lambda block: {**block, "parentHash": "0x" + "1f" * 32}, "changed|other blocks"),
        ("eth_chainId", lambda found: "0x7", "serves chain 7"),
        ("eth_syncing", lambda found: {"currentBlock": "0x1"}, "catching up"),
    ],
)
def test_a_node_that_lies_in_part_is_named_and_nothing_is_taken_in(chain, index, method, lie, words):
    follower = chain.follower(index)
    chain.mint(1)
    follower.look()
    before, standing = kept(index, follower.ledger), index.read_to(follower.ledger)
    chain.mint(2)
    chain.mint(3)
    chain.proxy.lie = lambda name, result: lie(result) if name == method else result
    with pytest.raises((LedgerUnavailable, LedgerError), match=words):
        follower.look()
    assert (kept(index, follower.ledger), index.read_to(follower.ledger)) == (before, standing)
    chain.proxy.lie = None
    follower.look()
    assert kept(index, follower.ledger) == chain.rows()


def test_a_node_that_says_it_is_too_much_is_asked_for_less(chain, index):
    """It refuses more than 4 blocks at once, by the code that nodes use."""
    for member in range(12):
        chain.mint(member)

    def refuse(method, parameters):
        if method == "eth_getLogs" and "fromBlock" in parameters[0]:
            span = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
            return {"code": -32005, "message": "query exceeds the limit"} if span > 4 else None
        return None

    chain.proxy.refuse = refuse
    follower = chain.follower(index)
    with pytest.raises(LedgerUnavailable, match=r"eth_getLogs \(-32005\)"):
        follower.look()
    for _ in range(60):
        try:
            follower.look()
            break
        except LedgerUnavailable:
            continue
    assert kept(index, follower.ledger) == chain.rows()


def test_full_blocks_are_read_fewer_at_a_time(chain, index, monkeypatch):
    monkeypatch.setattr(follower_module, "ROWS", 3)
    for member in range(20):
        chain.mint(member)
    follower = chain.follower(index)
    follower.look()
    assert kept(index, follower.ledger) == chain.rows()
    assert follower.step <= 3


def until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


def test_whatever_the_node_does_is_told_and_outlived(chain, index):
    """Dead, rate-limiting, slow, then well again: the index says which, and then has everything."""
    follower = chain.follower(index)
    ledger = Ledger(index, follower.ledger)
    stop = threading.Event()
    worker = threading.Thread(target=follower.run, args=(stop, 0.05))
    worker.start()
    try:
        until(lambda: ledger.health().state == "current")
        chain.proxy.status = 429
        until(lambda: "HTTP 429" in (ledger.health().trouble or ""))
        assert ledger.health().state == "stuck"
        chain.proxy.status, chain.proxy.wait = 200, 3.0
        until(lambda: "Timeout" in (ledger.health().trouble or ""))
        chain.proxy.wait = 0.0
        until(lambda: ledger.health().state == "current")
        chain.mint(3)
        until(lambda: kept(index, follower.ledger) == chain.rows())
        chain.node.stop()
        until(lambda: ledger.health().state == "stuck")
    finally:
        stop.set()
        worker.join()
        chain.node.start()


def test_two_followers_into_one_index_do_not_double(chain, index):
    for member in range(8):
        chain.mint(member)
    stop = threading.Event()
    followers = [chain.follower(index, step=1) for _ in range(2)]
    workers = [threading.Thread(target=each.run, args=(stop, 0.01)) for each in followers]
    for worker in workers:
        worker.start()
    try:
        until(lambda: kept(index, followers[0].ledger) == chain.rows())
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert followers[0].ledger == followers[1].ledger


def test_another_chain_with_the_same_number_is_refused(chain, index):
    foreign = replace(chain.record, genesis="0x" + "00" * 32)
    follower = type(chain.follower(index))(chain.w3, foreign, index)
    with pytest.raises(LedgerUnavailable, match="genesis"):
        follower.look()
    assert kept(index, follower.ledger) == []
