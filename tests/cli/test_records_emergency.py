"""`liggare records emergency|break-glass`, and reading by a broken glass."""

from __future__ import annotations

import pytest

from tests.cli.conftest import known_as


@pytest.fixture
def patient(gate, insurer):
    """Anna, by a pseudonym that the custodian knows."""
    return known_as("anna", insurer)


@pytest.fixture
def break_glass(liggare, key_file, ambulance, on_call, carrier_file, patient):
    """The ambulance breaks the glass."""

    def break_glass(*words, reason="ETREAT"):
        who = ("--key", key_file(ambulance, "ambulance"), "--reason", reason, "--carrier", carrier_file)
        return liggare("records", "break-glass", patient, *who, *words)

    return break_glass


@pytest.fixture
def reads(liggare, key_file, ambulance, at, patient):
    """The ambulance reads."""

    def reads(record, purpose="ETREAT"):
        who = ("--key", key_file(ambulance, "ambulance"), "--emergency", patient, "--purpose", purpose)
        return liggare("records", "read", record, *who, *at, "--json")

    return reads


@pytest.fixture
def say(liggare, words_of, insurer, carrier_file):
    """Anna refuses or allows."""
    who = ("--phrase", words_of("anna"), "--organisation", insurer.address, "--carrier", carrier_file)
    return lambda answer: liggare("records", "emergency", answer, *who, "--json")


def test_a_broken_glass_lets_an_emergency_service_read(break_glass, reads):
    assert reads("Observation/f001")[1]["error"] == "NoEmergency"
    code, out, err = break_glass()
    assert (code, err) == (0, "")
    assert "everyone can see that" in out
    assert "--emergency" in out
    code, out, _ = reads("Observation/f001")
    assert (code, out["resource"]["id"]) == (0, "f001")
    assert reads("Observation/f001", "TREAT")[1]["error"] == "WrongPurpose"
    assert reads("Claim/100150")[1]["error"] == "BeyondCap"


def test_who_refused_beforehand_is_left_alone(break_glass, reads, say):
    code, out, _ = say("refuse")
    assert (code, out["allowed"]) == (0, False)
    code, out, _ = break_glass("--json")
    assert (code, out["error"]) == (1, "RecordsEmergencyRefused")
    code, out, _ = say("allow")
    assert (code, out["allowed"]) == (0, True)
    assert break_glass()[0] == 0
    say("refuse")
    assert reads("Observation/f001")[1]["error"] == "EmergencyRefused"


def test_a_quota_ends_a_days_emergencies(break_glass):
    for _ in range(3):
        assert break_glass()[0] == 0
    code, out, _ = break_glass("--json")
    assert (code, out["error"]) == (1, "RecordsQuotaUsed")


def test_who_is_no_emergency_service_breaks_nothing(
    liggare, deployments, accredited, key_file, institute, carrier_file
):
    who = ("--key", key_file(institute, "institute"), "--reason", "BTG", "--carrier", carrier_file, "--json")
    code, out, _ = liggare("records", "break-glass", "0x" + "12" * 20, *who)
    assert (code, out["error"]) == (1, "RecordsNotEmergencyService")


def test_what_cannot_be_meant_is_wrong_use(break_glass, say):
    assert break_glass("--json", reason="TREAT")[1]["error"] == "UnknownName"
    assert break_glass("--hours", "25")[0] == 2
    code, out, _ = say("perhaps")
    assert (code, out["error"]) == (2, "UsageError")
