"""A chain of its own with the money on it, behind a proxy that may lie; databases for an index."""

from __future__ import annotations

import pytest

from liggare.chain.connection import connect
from liggare.chain.sender import Sender
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.reader import Reader
from liggare.payments.ids import PaymentIds
from tests.nodes import Postgres, Proxy, funded, node, wallet


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
