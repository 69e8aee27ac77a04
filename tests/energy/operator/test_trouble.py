"""The world fails around the operator: node or database gone for a while; every slot is settled once all the same."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.energy.operator.process import MarketProcess, prepare
from tests.energy.operator.test_killed import Street, audit
from tests.energy.operator.town import Town
from tests.nodes import node


@pytest.fixture
def close_all():
    """Ends the processes that a test started."""
    started = []
    yield started
    for each in started:
        each.close()


def test_a_node_that_dies_and_comes_back(spawner, close_all, tmp_path):
    """It keeps its chain; what came meanwhile is refused with 503, or kept and settled afterwards."""
    with node("anvil", "--state", str(tmp_path / "state.json")) as made:
        town = Town(made)
        database = f"sqlite:///{tmp_path}/market.db"
        close_all.append(MarketProcess(spawner, town, prepare(town, tmp_path), database, 1))
        (operator,) = close_all
        operator.wait_until_ready()
        with Street(town, [operator.url], 1) as street:
            time.sleep(3)
        for _ in range(2):
            made.stop()
            answer = httpx.get(f"{operator.url}/health", timeout=30)
            assert (answer.status_code, answer.json()["chain"]) == (503, "ConnectionError")
            body = town.documents(street.last)[0]
            answer = httpx.post(f"{operator.url}/v1/readings", json={**body, "chainId": 1}, timeout=30)
            assert answer.json()["name"] == "WrongChain"
            time.sleep(1)
            made.start()
            town.look_at(made)
            with street.again(town):
                time.sleep(3)
        assert audit(town, database, street)["slots"] > 5
        assert httpx.get(f"{operator.url}/health", timeout=30).json()["chain"] == "ok"


def test_the_database_gone_for_a_while(spawner, close_all, postgres, tmp_path):
    """PostgreSQL stops under the load: readings are refused with 503 meanwhile, none half-taken; then it goes on."""
    with node("anvil", "--block-time", "1") as made:
        town = Town(made)
        database = postgres.database("marketgone")
        close_all.append(MarketProcess(spawner, town, prepare(town, tmp_path), database, 1))
        (operator,) = close_all
        operator.wait_until_ready()
        with Street(town, [operator.url], 1) as street:
            time.sleep(3)
            postgres.stop()
            answer = httpx.get(f"{operator.url}/health", timeout=30)
            assert (answer.status_code, answer.json()["database"]) == (503, "MarketUnavailable")
            time.sleep(1)
            postgres.start()
            time.sleep(3)
            assert httpx.get(f"{operator.url}/health", timeout=30).json()["database"] == "ok"
        assert audit(town, database, street)["slots"] > 5


def test_an_operator_starts_only_where_its_market_is(spawner, close_all, tmp_path):
    """A database of another market: it says so and does not start."""
    with node("anvil") as made:
        town = Town(made)
        database = f"sqlite:///{tmp_path}/market.db"
        close_all.append(MarketProcess(spawner, town, prepare(town, tmp_path), database, 1))
        close_all[0].wait_until_ready()
        close_all[0].close()
        other = Town(made)
        close_all.append(MarketProcess(spawner, other, prepare(other, tmp_path), database, 1))
        assert close_all[1].wait_until_gone(40)
        assert "belongs to a market on another chain, or at another address" in close_all[1].log.read_text()
