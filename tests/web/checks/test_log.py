"""The check of a custodian's log heads against a real chain, with a log's file and a patient's answer."""

from __future__ import annotations

import json

import pytest

from liggare.records.tree import ACCESSES, Head, Tree, canonical
from tests.nodes import Proxy
from tests.web.checks.conftest import OTHER

SIZES = (3, 4, 9)
LINES = [canonical({"kind": "entry", "number": number, "who": "å"}) for number in range(10)]


@pytest.fixture
def heads(access, stranger):
    """The heads that a custodian posted over its log's first 3, 4 and 9 entries."""
    tree, word = Tree(LINES), bytes(32)
    found = []
    for size in SIZES:
        head = Head(size, tree.root(size))
        access.postLogHead(word, size, head.root, {"from": stranger})
        word = head.word
        found.append(head)
    return found


@pytest.fixture
def shown(heads, chain_claims, stranger):
    """What a page says of the custodian's log."""
    claims = {"custodian": stranger.address, "heads": "3", "size": "9", "root": "0x" + heads[-1].root.hex()}
    return chain_claims("RecordAccess") | claims


def file(lines):
    return b"".join(line + b"\n" for line in lines)


def test_heads_that_go_on_from_each_other_are_right(check, shown):
    result, steps = check("log", shown)
    assert result == "good", steps
    names = ["chain", "heads", "chainOfHeads", "word", "headPage", "block", "transaction", "receipts", "headInBlock"]
    assert list(steps) == names


def test_a_page_made_before_the_newest_head_is_right_and_says_so(check, shown, heads):
    older = {"heads": "2", "size": "4", "root": "0x" + heads[1].root.hex()}
    result, steps = check("log", shown | older)
    assert (result, steps["headPage"]["values"]) == ("good", {"count": 2, "since": 1})


def test_a_custodian_who_posted_nothing_is_right(check, chain_claims, operator):
    result, steps = check("log", chain_claims("RecordAccess") | {"custodian": operator.address, "heads": "0"})
    assert result == "good", steps


def test_the_logs_own_file_has_the_posted_roots(check, shown):
    result, steps = check("log", shown, file=file(LINES))
    assert (result, steps["file"]["values"]) == ("good", {"entries": 10, "heads": 3})
    result, steps = check("log", shown, file=file(LINES[:5]))
    assert (result, steps["file"]["values"]) == ("good", {"entries": 5, "heads": 2})


ALTERED = {
    "an entry altered": [*LINES[:2], LINES[2].replace(b"entry", b"Entry"), *LINES[3:]],
    "an entry left out": LINES[1:],
    "two entries swapped": [LINES[1], LINES[0], *LINES[2:]],
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_log_that_was_rewritten_is_found(check, shown, how):
    result, steps = check("log", shown, file=file(ALTERED[how]))
    assert (result, steps["file"]["rule"]) == ("bad", "rootOfFile")


def test_a_file_that_is_no_log_or_ends_early_is_not_said_to_be_right(check, shown):
    result, steps = check("log", shown, file=b"no line's end")
    assert (result, steps["file"]["rule"]) == ("bad", "lineEnd")
    result, steps = check("log", shown, file=file(LINES[:2]))
    assert (result, steps["file"]["reason"]) == ("unknown", "shortFile")


@pytest.fixture
def answer(shown, heads):
    """A custodian's answer to a patient who has entries 2 and 7, and saw the head of 4 entries before."""
    tree, size = Tree(LINES), SIZES[-1]
    return {
        "liggare": ACCESSES,
        "custodian": shown["custodian"],
        "chainId": int(shown["chain"]),
        "size": size,
        "root": "0x" + heads[-1].root.hex(),
        "consistency": ["0x" + each.hex() for each in tree.consistency(4, size)],
        "entries": [
            {
                "number": number,
                "entry": json.loads(LINES[number]),
                "proof": ["0x" + each.hex() for each in tree.inclusion(number, size)],
            }
            for number in (2, 7)
        ],
    }


def test_an_answer_to_a_patient_is_within_the_posted_log(check, shown, answer):
    result, steps = check("log", shown, file=json.dumps(answer).encode())
    assert (result, steps["file"]["values"]) == ("good", {"entries": 2, "heads": 1})


def test_an_answer_that_is_not_within_it_is_found(check, shown, answer):
    other = json.loads(json.dumps(answer))
    other["entries"][1]["entry"]["who"] = "b"
    cases = [
        ({**answer, "size": 8}, "sizePosted"),
        ({**answer, "root": "0x" + "ab" * 32}, "rootOfFile"),
        (other, "inclusion"),
        ({**answer, "consistency": answer["consistency"][::-1]}, "consistency"),
        ({**answer, "chainId": 1}, "chain"),
    ]
    for changed, rule in cases:
        result, steps = check("log", shown, file=json.dumps(changed).encode())
        assert (result, steps["file"]["rule"]) == ("bad", rule)


TAMPERED = {
    "heads": ("4", "headPage", "headCount"),
    "size": ("8", "headPage", "size"),
    "root": ("0x" + "ab" * 32, "headPage", "root"),
    "custodian": (OTHER, "headPage", "headCount"),
}


@pytest.mark.parametrize("claim", TAMPERED)
def test_a_page_that_tells_a_log_otherwise_is_found(check, shown, claim):
    value, step, rule = TAMPERED[claim]
    result, steps = check("log", shown | {claim: value})
    assert (result, steps[step].get("rule")) == ("bad", rule), steps


def last_digit(text):
    return text[:-1] + ("0" if text[-1] != "0" else "1")


LIES = {
    "the first head left out": (lambda logs: logs[1:], "chainOfHeads", "predecessor"),
    "the newest head left out": (lambda logs: logs[:-1], "word", "word"),
    "no head told": (lambda logs: [], "word", "word"),
    "heads in another order": (
        lambda logs: [{**logs[0], "blockNumber": "0xffff"}, *logs[1:]],
        "chainOfHeads",
        "predecessor",
    ),
    "the newest root": (lambda logs: [*logs[:-1], {**logs[-1], "data": last_digit(logs[-1]["data"])}], None, None),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_node_that_tells_heads_otherwise_is_found(check, shown, rpc_url, lie):
    change, step, rule = LIES[lie]
    proxy = Proxy(rpc_url)
    proxy.lie = lambda asked, result: change(result) if asked == "eth_getLogs" else result
    try:
        result, steps = check("log", shown, proxy.url)
    finally:
        proxy.close()
    assert result == "bad", steps
    assert step is None or steps[step].get("rule") == rule, steps
