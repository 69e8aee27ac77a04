"""A follower that is killed anywhere goes on where it was: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from liggare.ledger.index import ABOUT, ROWS, Index
from liggare.ledger.queries import Ledger
from tests.ledger.test_index import kept
from tests.support import ROOT

FOLLOW = """
import sys
from pathlib import Path
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
url, folder, database = sys.argv[1:]
w3 = connect(url)
follower = Follower(w3, Deployments.load(Path(folder), w3.eth.chain_id), Index(database), step=1)
print("follows", flush=True)
follower.look(lambda *_: print("a stretch", flush=True))
print("whole", flush=True)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.long)])
def test_killed_anywhere_it_goes_on(chain, database, tmp_path, kills):
    for member in range(40):
        chain.mint(member)
    chain.mine(10 * kills)
    folder = tmp_path / "deployments"
    chain.record.save(folder)
    command = [sys.executable, "-c", FOLLOW, chain.node.url, str(folder), database]
    draw, died = random.Random(6), 0
    while True:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "follows\n"
        for _ in range(draw.randrange(8)):
            process.stdout.readline()
        time.sleep(draw.random() * 0.02)  # anywhere within a stretch
        if died < kills:
            process.kill()
            died += process.wait() < 0
            process.stdout.close()
            continue
        with process:
            assert process.stdout.read().endswith("whole\n")
        assert process.returncode == 0
        break
    assert died == kills
    with Index(database) as index:
        ledger = index.ledger(chain.record)
        assert kept(index, ledger) == chain.rows()
        assert Ledger(index, ledger).totals()["ZeroFeePayments.Transfer"].count == 40
        with index.database.read() as connection:
            keys = [each.key for each in connection.execute(ROWS.select())]
            assert {each.key for each in connection.execute(ABOUT.select())} == set(keys)
