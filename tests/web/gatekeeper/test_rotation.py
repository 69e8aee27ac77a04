"""New keys at rest after something was taken back on the chain."""

from __future__ import annotations

import time

import pytest

from liggare.errors import LedgerUnavailable
from liggare.records.fhir import load
from liggare.records.messages import Terms
from liggare.records.rotation import Rotator
from tests.records.conftest import EVER, SALT
from tests.support import isolated
from tests.web.gatekeeper.conftest import CHARTS


@pytest.fixture
def rotator(w3, deployments, served):
    """What rotates, to be asked to look; the service's own looks every five seconds."""
    return Rotator(w3, deployments, served.service.desk.archive)


def generations(served, chart):
    """The generation of each type's key of a chart."""
    keys = served.service.desk.archive.keyring.open(chart)
    return {kind: max(each) for kind, each in keys.keys.items()}


def test_a_revoke_changes_all_keys_of_the_patients_charts_and_no_others(
    rotator, served, signed_in, client, carrier, anna, doctor
):
    rotator.look()  # whatever was before
    before = {chart: generations(served, chart) for chart in (*CHARTS["anna"], *CHARTS["bo"])}
    shown = load(signed_in.get("Observation/f001").content)
    client.carry(client.revoke(anna, doctor.address, SALT), carrier)
    assert sorted(rotator.look()) == sorted(CHARTS["anna"])
    for chart in CHARTS["anna"]:
        fresh = generations(served, chart)
        assert fresh == {kind: number + 1 for kind, number in before[chart].items()}
        assert all(len(each) == 1 for each in served.service.desk.archive.keyring.open(chart).keys.values())
    assert generations(served, CHARTS["bo"][0]) == before[CHARTS["bo"][0]]
    assert served.service.desk.archive.get("Patient/f001", "Observation", "f001") == shown
    assert rotator.look() == []


def test_a_grant_changes_no_key(rotator, give, anna, doctor):
    rotator.look()
    give(anna, doctor, Terms.of(["Claim"], ["HPAYMT"], 0, EVER), salt=b"\7" * 32)
    assert rotator.look() == []


@pytest.mark.parametrize("how", ["revoke_all", "revoke_for", "dismiss"])
def test_other_ways_to_take_back_count_too(rotator, served, client, carrier, anna, bo, doctor, how):
    client.carry(client.appoint(anna, anna.address, bo.address, ["grant"], 2**40), carrier)
    signed, share = client.grant_for(bo, anna.address, doctor.address, SALT, Terms.of(["Claim"], ["HPAYMT"], 0, EVER))
    client.carry(signed, carrier)
    rotator.look()
    words = {
        "revoke_all": lambda: client.revoke_all(anna),
        "revoke_for": lambda: client.revoke_for(bo, anna.address, bo.address, share.blinded),
        "dismiss": lambda: client.dismiss(anna, anna.address, bo.address),
    }
    client.carry(words[how](), carrier)
    assert sorted(rotator.look()) == sorted(CHARTS["anna"])


def test_somebody_elses_patient_changes_nothing_here(rotator, served, client, carrier, mallory):
    rotator.look()
    client.carry(client.revoke(mallory, mallory.address, SALT), carrier)
    assert rotator.look() == []


def test_what_was_not_looked_at_is_looked_at_by_the_next_one(
    w3, deployments, served, rotator, client, carrier, anna, doctor, share
):
    rotator.look()
    client.carry(client.revoke(anna, doctor.address, SALT), carrier)
    again = Rotator(w3, deployments, served.service.desk.archive)
    assert sorted(again.look()) == sorted(CHARTS["anna"])
    assert rotator.look() == []  # it stands in the database


def test_a_chain_that_was_set_back_is_looked_at_from_the_beginning(
    rotator, served, client, carrier, anna, doctor, share
):
    with isolated():
        for _ in range(3):
            client.carry(client.revoke(anna, doctor.address, SALT), carrier)
        rotator.look()
    client.carry(client.revoke(anna, doctor.address, SALT), carrier)
    assert sorted(rotator.look()) == sorted(CHARTS["anna"])


def test_a_node_that_is_gone_is_no_reason_to_skip_anything(
    w3, rotator, served, client, carrier, anna, doctor, share, monkeypatch
):
    rotator.look()
    client.carry(client.revoke(anna, doctor.address, SALT), carrier)
    with monkeypatch.context() as gone:
        gone.setattr(rotator._feed, "stretch", _gone)
        with pytest.raises(LedgerUnavailable):
            rotator.look()
    assert sorted(rotator.look()) == sorted(CHARTS["anna"])


def _gone(*_):
    raise LedgerUnavailable("nothing answers")


def test_the_service_does_it_by_itself(served, signed_in, client, carrier, anna, doctor):
    served.service.rotator._pause = 0.1
    before = generations(served, "Patient/f001")
    client.carry(client.revoke(anna, doctor.address, SALT), carrier)
    deadline = time.monotonic() + 40
    while generations(served, "Patient/f001") == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert served.service.rotator.trouble is None
