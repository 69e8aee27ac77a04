"""A chain of its own with the money on it, behind a proxy that may lie; databases for an index; a ledger to verify."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from liggare.chain.connection import connect
from liggare.chain.sender import Sender
from liggare.cli.ledger import all_calls, all_rules
from liggare.ledger.code import check_code
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.ids import PaymentIds
from tests.ledger.story import Story
from tests.nodes import Postgres, Proxy, funded, node, wallet
from tests.support import isolated


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server, for as long as the tests run."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/index.db"
    name = f"index_{request.node.name.encode().hex()[-40:]}"
    return request.getfixturevalue("postgres").database(name)


class Chain:
    """Anvil with the money on it."""

    def __init__(self, made) -> None:
        self.node, self.record = made, made.deploy(records=True)
        self.proxy = Proxy(made.url)
        self.w3 = connect(self.proxy.url, timeout=2)
        self.money = self.record.contract(made.w3, "ZeroFeePayments")
        self.sender = Sender(made.w3, funded(0))

    def mint(self, member=1, value=5):
        """Give a member money, in a block of its own."""
        return self.sender.send(self.money.functions.mint(wallet(member).address, value))

    def mine(self, blocks=1):
        """Mine empty blocks."""
        self.node.rpc("anvil_mine", hex(blocks))

    def rows(self):
        """Return the ledger as the chain itself has it now."""
        return list(Reader(self.node.w3, self.record).rows())

    def follower(self, index, **words):
        """Return a follower that asks by the proxy."""
        return Follower(self.w3, self.record, index, **{"ids": PaymentIds(self.record), **words})


@pytest.fixture
def chain():
    """A chain with the money and the records."""
    with node("anvil") as made:
        chain = Chain(made)
        yield chain
        chain.proxy.close()


@pytest.fixture
def index(database):
    """An empty index."""
    with Index(database) as index:
        yield index


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

    `call(call)` returns what a transaction is to have called instead; `more` are rules beside everybody's.
    """

    def check(rows=None, state=None, node=None, record=None, head=None, call=None, more=()):
        asked, found = node or w3, record or deployments
        rules = all_rules(asked, found)
        head = w3.eth.block_number if head is None else head
        rows = Reader(asked, found, proven=True).rows(end=head) if rows is None else rows
        with all_calls(asked, found, rules) as calls:
            if call is not None:
                calls = (Altered(calls[0], call), calls[1])
            report = verify(rows, [*rules, *more], state or ChainState(asked, found, head), calls)
        report.findings.extend(check_code(asked, found, head))
        return report

    return check
