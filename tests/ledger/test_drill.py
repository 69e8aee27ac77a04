"""The tamper drill: each lie is found, and named by the rule that it breaks; the manual has the same table."""

from __future__ import annotations

import pytest

from liggare.chain.connection import connect
from liggare.errors import LedgerForged
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState
from scripts.nodes import hang_up
from tests.ledger.drill import LIES, LyingState, table
from tests.nodes import Proxy
from tests.support import ROOT


@pytest.fixture(scope="module")
def history(story, w3, deployments):
    """The story's rows, as they were."""
    return list(Reader(w3, deployments, proven=True).rows())


def test_the_story_is_honest(story, check, history):
    report = check(rows=history)
    assert (report.findings, report.unchecked) == ([], {})
    assert report.checked["signatures"] > 40


def test_there_are_fifty_lies_each_with_a_name_of_its_own():
    assert len(LIES) >= 50
    assert len({lie.name for lie in LIES}) == len(LIES)


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie.rows], ids=lambda lie: lie.name)
def test_an_operators_lie_is_found_and_named(story, check, history, lie):
    told = lie.rows(history, story)
    assert told != history
    rules = [finding.rule for finding in check(rows=told).findings]
    assert any(rule.endswith(lie.rule) for rule in rules), rules


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie.state], ids=lambda lie: lie.name)
def test_state_that_events_do_not_make_is_found_and_named(story, check, history, w3, deployments, lie):
    state = LyingState(ChainState(w3, deployments, w3.eth.block_number), lie.state)
    rules = {finding.rule for finding in check(rows=history, state=state).findings}
    assert lie.rule in rules, rules


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie.call], ids=lambda lie: lie.name)
def test_a_call_that_a_contract_should_not_have_obeyed_is_found_and_named(story, check, history, lie):
    rules = {finding.rule for finding in check(rows=history, call=lie.call).findings}
    assert lie.rule in rules, rules


@pytest.fixture
def proxy(rpc_url):
    """A node that may lie."""
    made = Proxy(rpc_url)
    yield made
    made.close()


@pytest.mark.parametrize("lie", [lie for lie in LIES if lie.node], ids=lambda lie: lie.name)
def test_a_nodes_lie_is_found_and_named(story, check, proxy, w3, lie):
    node, head = connect(proxy.url), w3.eth.block_number
    proxy.lie = lie.node
    try:
        rules = [finding.rule for finding in check(node=node, head=head).findings]
    except LedgerForged as forged:
        rules = [str(forged)]
    finally:
        hang_up(node)
    assert any(lie.rule in rule for rule in rules), rules


def test_the_manual_has_the_drills_table():
    assert table() in (ROOT / "docs" / "verify.md").read_text()
