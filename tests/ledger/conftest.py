"""A ledger with something of everything on it, told once for all tests of a file."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from liggare.chain.sender import Sender
from liggare.cli.ledger import all_calls, all_rules
from liggare.ledger.code import check_code
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from scripts.nodes import funded
from tests.ledger.story import Story
from tests.support import isolated


@pytest.fixture(scope="module")
def story(w3, deployments, carrier):
    """The story of one throw of the dice, on this run's chain for as long as a file's tests run."""
    with isolated():
        yield Story(w3, deployments, Sender(w3, funded(0)), carrier, random.Random(6)).tell()


class Altered:
    """Tells of transactions, but for what was called."""

    def __init__(self, caller, call):
        self.caller, self.call = caller, call

    def made(self, transactions):
        for each in self.caller.made(transactions):
            yield replace(each, calls=tuple(map(self.call, each.calls)))


@pytest.fixture(scope="session")
def check(w3, deployments):
    """Verify the whole ledger: `check(rows=…, state=…, node=…)`, each in the place of the honest one.

    `call(call)` returns what a transaction is to have called instead.
    """

    def check(rows=None, state=None, node=None, record=None, head=None, call=None):
        asked, found = node or w3, record or deployments
        rules = all_rules(asked, found)
        head = w3.eth.block_number if head is None else head
        rows = Reader(asked, found, proven=True).rows(end=head) if rows is None else rows
        with all_calls(asked, found, rules) as calls:
            if call is not None:
                calls = (Altered(calls[0], call), calls[1])
            report = verify(rows, rules, state or ChainState(asked, found, head), calls)
        report.findings.extend(check_code(asked, found, head))
        return report

    return check
