"""kill -9 at random points over a running load: every accepted payment ends exactly once, and the money says so."""

from __future__ import annotations

import random
import time

import pytest

from tests.nodes import node
from tests.relay.load import Load, RecordLoad, Town, audit, audit_records, report


@pytest.fixture
def town(tmp_path):
    """A chain that makes a block every second, so that a kill also meets transactions under way."""
    with node("anvil", "--block-time", "1") as made:
        yield Town(made, tmp_path)


def kill_over_load(start_relay, town, database, relayers: int, kills: int, seed: int):
    chance = random.Random(seed)
    running = [start_relay(town, database, 1 + number) for number in range(relayers)]
    for each in running:
        each.wait_until_ready()
    with Load(town, [each.url for each in running], seed) as load:
        for _ in range(kills):
            victim = chance.choice(running)
            victim.wait_until_ready()
            time.sleep(chance.uniform(0, 1.5))
            victim.kill()
            victim.start()
    for each in running:
        each.wait_until_ready()
    return load, audit(town, database, load)


@pytest.mark.parametrize(("kind", "relayers"), [("sqlite", 1), ("postgresql", 2)])
def test_a_few_kills(start_relay, town, tmp_path, request, kind, relayers):
    database = f"sqlite:///{tmp_path}/relay.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database("kills")
    _, ends = kill_over_load(start_relay, town, database, relayers, kills=4, seed=7)
    assert ends["paid"] > 4


def test_a_few_kills_over_grants(start_relay, town, tmp_path):
    database = f"sqlite:///{tmp_path}/relay.db"
    chance = random.Random(11)
    relay = start_relay(town, database, 1, "--records-budget", "100", "--records-per-account", 10**6)
    relay.wait_until_ready()
    with RecordLoad(town, [relay.url], 11) as load:
        for _ in range(4):
            relay.wait_until_ready()
            time.sleep(chance.uniform(0, 1.5))
            relay.kill()
            relay.start()
    relay.wait_until_ready()
    ends = audit_records(town, database, load)
    assert ends["carried"] == len(load.accepted) > 4


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("kind", "relayers", "kills"), [("sqlite", 1, 100), ("postgresql", 2, 100), ("postgresql", 4, 50)]
)
def test_hundreds_of_kills(start_relay, town, tmp_path, request, kind, relayers, kills):
    database = f"sqlite:///{tmp_path}/relay.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database(f"kills{relayers}")
    load, ends = kill_over_load(start_relay, town, database, relayers, kills, seed=kills + relayers)
    assert ends["paid"] > kills
    report(f"{kind}-{relayers}", kills=kills, accepted=len(load.accepted), refused=dict(load.refused), **ends)
