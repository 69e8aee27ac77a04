"""The world fails around the relayer: chain or database gone, set back; everything accepted still ends once."""

from __future__ import annotations

import time

import httpx
import pytest

from liggare.payments.wire import document
from liggare.relay.outbox import Outbox
from tests.nodes import node
from tests.relay.load import Load, Town, audit


@pytest.fixture
def town(tmp_path):
    """A chain that makes a block every second."""
    with node("anvil", "--block-time", "1") as made:
        yield Town(made, tmp_path)


def test_the_chain_restarted(start_relay, tmp_path):
    """Ganache goes down under the load and comes back with the blocks that it had; what it had not, is sent again."""
    with node("ganache", "--miner.blockTime", "1") as made:
        town = Town(made, tmp_path)
        database = f"sqlite:///{tmp_path}/relay.db"
        relay = start_relay(town, database, 1)
        relay.wait_until_ready()
        with Load(town, [relay.url]) as load:
            for _ in range(2):
                time.sleep(2)
                made.stop()
                time.sleep(1)
                made.start()
            time.sleep(2)
        ends = audit(town, database, load)
        assert ends["paid"] > 10


def test_the_chain_set_back_under_load(start_relay, town, tmp_path):
    """Anvil takes blocks back, again and again, and fills them with other payments' order."""
    database = f"sqlite:///{tmp_path}/relay.db"
    relay = start_relay(town, database, 1, "--confirmations", "4")
    relay.wait_until_ready()
    with Load(town, [relay.url]) as load:
        for depth in (1, 2, 3, 1, 3, 2):
            time.sleep(3)
            town.node.rpc("anvil_rollback", depth)
    ends = audit(town, database, load)
    assert ends["paid"] > 10


def test_the_database_gone_for_a_while(start_relay, town, postgres):
    """PostgreSQL stops under the load: payments are refused with 503 meanwhile, none half-taken; then it goes on."""
    database = postgres.database("gone")
    relay = start_relay(town, database, 1)
    relay.wait_until_ready()
    with Load(town, [relay.url]) as load:
        time.sleep(2)
        postgres.stop()
        answer = httpx.get(f"{relay.url}/health", timeout=30)
        assert (answer.status_code, answer.json()["database"]) == (503, "OutboxUnavailable")
        made = load._payment()[1]
        answer = httpx.post(f"{relay.url}/v1/payments", json=document(made), timeout=30)
        assert (answer.status_code, answer.json()["name"]) == (503, "OutboxUnavailable")
        assert int(answer.headers["retry-after"]) > 0
        time.sleep(1)
        postgres.start()
        time.sleep(3)
        assert httpx.get(f"{relay.url}/health", timeout=30).json()["database"] == "ok"
    ends = audit(town, database, load)
    assert ends["paid"] > 10


@pytest.mark.parametrize("relayers", [2, 4])
def test_many_relayers_on_one_database(start_relay, town, postgres, relayers):
    """Each has its own account; together they carry every payment once."""
    database = postgres.database(f"many{relayers}")
    running = [start_relay(town, database, 1 + number) for number in range(relayers)]
    for each in running:
        each.wait_until_ready()
    with Load(town, [each.url for each in running]) as load:
        time.sleep(8)
    ends = audit(town, database, load)
    assert ends["paid"] > 50
    outbox = Outbox(database)
    senders = {batch.sender for batch in outbox.batches("done")}
    outbox.close()
    assert len(senders) > 1, "they shared the work"


def test_two_relayers_with_one_key(start_relay, town, postgres):
    """By mistake: their nonces are chosen under one lock, so nothing is lost or doubled then either."""
    database = postgres.database("onekey")
    running = [start_relay(town, database, 1) for _ in range(2)]
    for each in running:
        each.wait_until_ready()
    with Load(town, [each.url for each in running]) as load:
        time.sleep(6)
    ends = audit(town, database, load)
    assert ends["paid"] > 20


def test_a_relayer_starts_only_where_its_contracts_are(start_relay, town, tmp_path):
    """Another chain at the URL: it says so and does not start."""
    with node("anvil") as other:
        relay = start_relay(town, f"sqlite:///{tmp_path}/relay.db", 1)
        relay.close()
        relay.words[relay.words.index(town.node.url)] = other.url
        relay.start()
        assert relay.wait_until_gone(40)
        assert "restarted or is another" in relay.log.read_text()
