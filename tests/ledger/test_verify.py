"""Verification against calls and signatures: honest histories are clean."""

from __future__ import annotations

import random

import pytest

from liggare.chain.sender import Sender
from liggare.energy.bills import BillRules
from scripts.nodes import funded
from tests.ledger.story import Story


@pytest.mark.parametrize("seed", [1, 2])
def test_an_honest_history_gives_no_false_alarm(w3, deployments, carrier, check, seed):
    Story(w3, deployments, Sender(w3, funded(0)), carrier, random.Random(seed)).tell()
    homes = [BillRules(deployments, home) for home in (1, 2, 3)]
    report = check(more=homes)
    assert report.findings == []
    assert all(home.bill.slots and home.deposited for home in homes)
    assert report.unchecked == {}
    told = report.checked
    assert told["items of payment batches skipped"] == 12
    assert told["items of grant batches skipped"] == 3
    assert told["signatures"] > 40
    assert told["calls"] > 50
