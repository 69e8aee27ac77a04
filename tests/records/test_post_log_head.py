"""`postLogHead`: a custodian's log grows, in one line; a fork or a shrinking log is refused."""

from __future__ import annotations

from brownie import RecordAccess

from tests.support import refused

FIRST, SECOND = bytes.fromhex("a1" * 32), bytes.fromhex("b2" * 32)


def word(root, size):
    return root[:24] + size.to_bytes(8, "big")


def test_a_head_stands_as_posted(access, stranger):
    receipt = access.postLogHead(bytes(32), 3, FIRST, {"from": stranger})
    assert access.logHeads(stranger) == "0x" + word(FIRST, 3).hex()
    assert receipt.events["LogHeadPosted"] == {
        "custodian": stranger,
        "predecessor": "0x" + "00" * 32,
        "size": 3,
        "head": "0x" + FIRST.hex(),
    }


def test_heads_chain(access, stranger):
    access.postLogHead(bytes(32), 3, FIRST, {"from": stranger})
    access.postLogHead(word(FIRST, 3), 9, SECOND, {"from": stranger})
    assert access.logHeads(stranger) == "0x" + word(SECOND, 9).hex()


def test_a_fork_is_refused(access, stranger):
    access.postLogHead(bytes(32), 3, FIRST, {"from": stranger})
    access.postLogHead(word(FIRST, 3), 5, SECOND, {"from": stranger})
    with refused(RecordAccess, "RecordsLogForked", word(FIRST, 3), word(SECOND, 5)):
        access.postLogHead(word(FIRST, 3), 6, FIRST, {"from": stranger})


def test_a_log_cannot_begin_again(access, stranger):
    access.postLogHead(bytes(32), 3, FIRST, {"from": stranger})
    with refused(RecordAccess, "RecordsLogForked", bytes(32), word(FIRST, 3)):
        access.postLogHead(bytes(32), 4, SECOND, {"from": stranger})


def test_a_log_cannot_shrink_or_stand_still(access, stranger):
    with refused(RecordAccess, "RecordsLogShrunk", 0, 0):
        access.postLogHead(bytes(32), 0, FIRST, {"from": stranger})
    access.postLogHead(bytes(32), 3, FIRST, {"from": stranger})
    for size in (2, 3):
        with refused(RecordAccess, "RecordsLogShrunk", size, 3):
            access.postLogHead(word(FIRST, 3), size, SECOND, {"from": stranger})


def test_custodians_do_not_touch_each_others_logs(access, stranger, operator):
    access.postLogHead(bytes(32), 3, FIRST, {"from": stranger})
    access.postLogHead(bytes(32), 1, SECOND, {"from": operator})
    assert access.logHeads(stranger) == "0x" + word(FIRST, 3).hex()
