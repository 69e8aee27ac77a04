"""`breakGlass` and `setEmergency`: read without a grant, for hours, for a reason, so often a day, in public."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, RecordAccess

from liggare.errors import UnknownName
from liggare.messages import Signed
from liggare.records.categories import EMERGENCIES, PURPOSES
from liggare.records.client import Refusal
from tests.records.conftest import DAY, category, purpose, refused_late, role
from tests.support import FOREVER, now, pass_time, refused

KNOWN = purpose(*EMERGENCIES)
OBSERVATIONS = category("Observation")
NOT_ACCREDITED, SUSPENDED, NOT_YET, EXPIRED, GOOD = range(5)


@pytest.fixture
def accredit(registry, operator, ambulance):
    """Accredit the ambulance in these words."""

    def accredit(roles=("emergency",), cap=OBSERVATIONS, start=0, end=FOREVER, quota=3):
        registry.accredit(ambulance.address, role(*roles), cap, start, end, quota, {"from": operator})

    return accredit


class refused_until:
    """Expect RecordsInvalidUntil with this time, and a day from the block's own as the latest."""

    def __init__(self, until):
        self.until = until

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert error is not None, "it was taken"
        name, _, words = error.revert_msg.partition(": ")
        until, latest = (int(word) for word in words.split(", "))
        assert (name, until) == ("RecordsInvalidUntil", self.until)
        assert 0 <= latest - DAY - now() < 60
        return True


def start_of_day():
    """Let the chain's clock run to shortly after midnight, UTC."""
    pass_time(DAY - now() % DAY + 60)


# ------------------------------------------------------------------ what it lets read


def test_the_glass_is_broken_in_public(on_call, access, carry, break_glass, anna, ambulance, why_not_emergency):
    assert why_not_emergency() == Refusal.NO_EMERGENCY
    signed = break_glass().sign(ambulance)
    event = carry(signed).events["GlassBroken"]
    assert event["id"] == signed.id.to_0x_hex()
    assert (event["organisation"], event["patient"]) == (ambulance.address, anna.address)
    assert (event["reason"], event["until"]) == (purpose("ETREAT"), signed.message.until)
    assert access.emergencies(ambulance.address, anna.address) == (purpose("ETREAT"), signed.message.until, 1)
    assert why_not_emergency() == Refusal.NOTHING


def test_it_lets_read_for_its_reason_within_the_cap_and_nothing_else(
    on_call, carry, break_glass, ambulance, bo, hospital, why_not_emergency
):
    carry(break_glass().sign(ambulance))
    assert why_not_emergency(category=category("Observation", "Condition")) == Refusal.NOTHING
    assert why_not_emergency(category=0) == Refusal.CATEGORY_NOT_GRANTED
    assert why_not_emergency(category=category("Observation", "Claim")) == Refusal.BEYOND_CAP
    for other in (0, purpose("BTG"), purpose("TREAT"), purpose("ETREAT", "BTG")):
        assert why_not_emergency(purpose=other) == Refusal.PURPOSE_NOT_GRANTED
    assert why_not_emergency(patient=bo.address) == Refusal.NO_EMERGENCY
    assert why_not_emergency(organisation=hospital.address) == Refusal.NO_EMERGENCY


def test_it_ends_by_itself(on_call, carry, break_glass, ambulance, why_not_emergency):
    carry(break_glass(until=now() + 300).sign(ambulance))
    pass_time(200)
    assert why_not_emergency() == Refusal.NOTHING
    pass_time(120)
    assert why_not_emergency() == Refusal.EMERGENCY_OVER


def test_it_touches_no_grant(on_call, accredited, carry, grant, break_glass, anna, ambulance, access, why_not):
    carry(grant().sign(anna))
    carry(break_glass().sign(ambulance))
    assert why_not() == Refusal.NOTHING
    assert access.grants(anna.address, grant().blinded)[2] == 1


@pytest.mark.parametrize("reason", EMERGENCIES)
def test_there_are_four_reasons(on_call, carry, break_glass, ambulance, why_not_emergency, reason):
    carry(break_glass(reason=purpose(reason)).sign(ambulance))
    assert why_not_emergency(purpose=purpose(reason)) == Refusal.NOTHING


@pytest.mark.parametrize(
    "reason",
    [0, KNOWN, purpose("ETREAT", "BTG"), 2**32 - 1, 1 << 31]
    + [1 << bit for name, bit in PURPOSES.items() if name not in EMERGENCIES],
)
def test_another_reason_is_refused(on_call, carry, break_glass, ambulance, reason):
    with refused(RecordAccess, "RecordsInvalidReason", reason, KNOWN):
        carry(break_glass(reason=reason).sign(ambulance))


# ------------------------------------------------------------------ who, how long, how often


@pytest.mark.parametrize(
    ("words", "standing"),
    [
        ({"roles": ("provider",)}, GOOD),
        ({"roles": ("provider", "research")}, GOOD),
        ({"start": FOREVER - 1}, NOT_YET),
        ({"end": 1}, EXPIRED),
    ],
    ids=["a provider", "two other roles", "begins later", "has ended"],
)
def test_only_an_emergency_service_in_good_standing_breaks_it(accredit, carry, break_glass, ambulance, words, standing):
    accredit(**words)
    roles = role(*words.get("roles", ("emergency",)))
    with refused(RecordAccess, "RecordsNotEmergencyService", ambulance.address, roles, standing):
        carry(break_glass().sign(ambulance))


def test_a_stranger_breaks_no_glass(carry, break_glass, mallory):
    with refused(RecordAccess, "RecordsNotEmergencyService", mallory.address, 0, NOT_ACCREDITED):
        carry(break_glass(organisation=mallory.address).sign(mallory))


def test_a_suspended_organisation_breaks_none_and_reads_nothing_any_more(
    on_call, registry, operator, carry, break_glass, ambulance, why_not_emergency
):
    carry(break_glass().sign(ambulance))
    registry.suspend(ambulance.address, {"from": operator})
    assert why_not_emergency() == Refusal.GRANTEE_SUSPENDED
    with refused(RecordAccess, "RecordsNotEmergencyService", ambulance.address, 8, SUSPENDED):
        carry(break_glass(version=2).sign(ambulance))


def test_who_loses_role_or_cap_reads_nothing_any_more(accredit, carry, break_glass, ambulance, why_not_emergency):
    accredit()
    carry(break_glass().sign(ambulance))
    accredit(roles=("provider",))
    assert why_not_emergency() == Refusal.NOT_EMERGENCY_SERVICE
    accredit(cap=0)
    assert why_not_emergency() == Refusal.BEYOND_CAP
    accredit(end=5)
    assert why_not_emergency() == Refusal.GRANTEE_EXPIRED
    accredit(start=FOREVER - 1)
    assert why_not_emergency() == Refusal.GRANTEE_NOT_YET_VALID


def test_in_the_name_of_another_nobody_breaks_it(on_call, carry, break_glass, ambulance, mallory, anna):
    for stranger in (mallory, anna):
        with refused(RecordAccess, "RecordsInvalidSignature", ambulance.address):
            carry(break_glass().sign(stranger))


def test_no_emergency_is_longer_than_a_day(on_call, carry, break_glass, ambulance, why_not_emergency):
    for until in (0, now() - 1):
        with refused_until(until):
            carry(break_glass(until=until).sign(ambulance))
    for until in (now() + DAY + 60, FOREVER):
        with refused_until(until):
            carry(break_glass(until=until).sign(ambulance))
    carry(break_glass(until=now() + DAY).sign(ambulance))
    assert why_not_emergency() == Refusal.NOTHING


def test_no_more_than_the_quota_a_day(on_call, access, carry, break_glass, ambulance, anna, bo, cia):
    start_of_day()
    for count, patient in enumerate((anna, bo, anna), 1):
        version = 2 if count == 3 else 1
        carry(break_glass(patient=patient.address, version=version).sign(ambulance))
        assert access.brokenToday(ambulance.address) == count
    with refused(RecordAccess, "RecordsQuotaUsed", ambulance.address, 3):
        carry(break_glass(patient=cia.address).sign(ambulance))


def test_a_new_day_has_a_quota_of_its_own(accredit, access, carry, break_glass, ambulance, anna, bo):
    accredit(quota=1)
    start_of_day()
    pass_time(DAY - 660)  # ten minutes before midnight
    carry(break_glass().sign(ambulance))
    with refused(RecordAccess, "RecordsQuotaUsed", ambulance.address, 1):
        carry(break_glass(patient=bo.address).sign(ambulance))
    pass_time(601)
    assert access.brokenToday(ambulance.address) == 0
    carry(break_glass(patient=bo.address).sign(ambulance))
    with refused(RecordAccess, "RecordsQuotaUsed", ambulance.address, 1):
        carry(break_glass(version=2).sign(ambulance))


def test_without_a_quota_no_glass_is_broken(accredit, carry, break_glass, ambulance):
    accredit(quota=0)
    with refused(RecordAccess, "RecordsQuotaUsed", ambulance.address, 0):
        carry(break_glass().sign(ambulance))


def test_one_organisations_quota_is_not_anothers(
    accredit, registry, operator, access, carry, break_glass, ambulance, clinic
):
    accredit(quota=1)
    registry.accredit(clinic.address, role("emergency"), 1, 0, FOREVER, 1, {"from": operator})
    carry(break_glass().sign(ambulance))
    carry(break_glass(organisation=clinic.address).sign(clinic))
    assert access.brokenToday(clinic.address) == 1


def test_a_refused_one_counts_for_nothing(on_call, access, carry, break_glass, ambulance):
    with refused(RecordAccess, "RecordsInvalidReason", 0, KNOWN):
        carry(break_glass(reason=0).sign(ambulance))
    assert access.brokenToday(ambulance.address) == 0


def test_a_message_works_once(on_call, carry, break_glass, ambulance):
    signed = break_glass().sign(ambulance)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 3, 2):
        carry(break_glass(version=3).sign(ambulance))


def test_it_is_renewed_for_another_reason(on_call, carry, break_glass, ambulance, why_not_emergency):
    carry(break_glass().sign(ambulance))
    carry(break_glass(version=2, reason=purpose("BTG")).sign(ambulance))
    assert why_not_emergency() == Refusal.PURPOSE_NOT_GRANTED
    assert why_not_emergency(purpose=purpose("BTG")) == Refusal.NOTHING


def test_an_altered_message_is_refused(on_call, carry, break_glass, domain, ambulance, bo):
    signed = break_glass().sign(ambulance)
    for change in (
        {"patient": bo.address},
        {"reason": purpose("BTG")},
        {"until": signed.message.until + 1},
        {"version": 2},
        {"deadline": FOREVER - 1},
    ):
        with refused(RecordAccess, "RecordsInvalidSignature", ambulance.address):
            carry(Signed(replace(signed.message, **change), signed.signature))
    for other in ({"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}):
        elsewhere = replace(signed.message, domain=replace(domain, **other)).sign(ambulance)
        with refused(RecordAccess, "RecordsInvalidSignature", ambulance.address):
            carry(Signed(signed.message, elsewhere.signature))


def test_a_late_message_is_refused(on_call, carry, break_glass, ambulance, why_not_emergency):
    with refused_late(8):
        carry(break_glass(deadline=8).sign(ambulance))
    assert why_not_emergency() == Refusal.NO_EMERGENCY


def test_a_wallet_is_an_emergency_service(registry, operator, access, carry, break_glass, ambulance, mallory, anna):
    wallet = OwnedWallet.deploy(ambulance.address, {"from": operator})
    registry.accredit(wallet.address, role("emergency"), 1, 0, FOREVER, 1, {"from": operator})
    message = break_glass(organisation=wallet.address)
    with refused(RecordAccess, "RecordsInvalidSignature", wallet.address):
        carry(message.sign(mallory))
    carry(message.sign(ambulance))
    assert access.emergencies(wallet.address, anna.address)[2] == 1


# ------------------------------------------------------------------ the patient's word


def test_a_patient_refuses_beforehand(on_call, access, carry, break_glass, set_emergency, ambulance, anna, bo):
    assert access.emergencyOf(anna.address) == (True, 0)
    signed = set_emergency().sign(anna)
    event = carry(signed).events["EmergencySet"]
    assert (event["id"], event["allowed"], event["version"]) == (signed.id.to_0x_hex(), False, 1)
    assert access.emergencyOf(anna.address) == (False, 1)
    with refused(RecordAccess, "RecordsEmergencyRefused", anna.address):
        carry(break_glass().sign(ambulance))
    carry(break_glass(patient=bo.address).sign(ambulance))
    assert access.brokenToday(ambulance.address) == 1


def test_a_refusal_bites_on_an_emergency_that_runs(
    on_call, carry, break_glass, set_emergency, ambulance, anna, why_not_emergency
):
    carry(break_glass().sign(ambulance))
    carry(set_emergency().sign(anna))
    assert why_not_emergency() == Refusal.EMERGENCY_REFUSED
    carry(set_emergency(version=2, allowed=True).sign(anna))
    assert why_not_emergency() == Refusal.NOTHING


def test_nobody_else_speaks_for_the_patient(guarded, access, carry, set_emergency, anna, vera, mallory):
    for other in (vera, mallory):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(set_emergency().sign(other))
    assert access.emergencyOf(anna.address) == (True, 0)


def test_a_word_on_emergencies_works_once_in_time_and_here(access, carry, set_emergency, domain, anna):
    signed = set_emergency().sign(anna)
    carry(signed)
    carry(set_emergency(version=2, allowed=True).sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 1, 3):
        carry(signed)
    with refused_late(1):
        carry(set_emergency(version=3, deadline=1).sign(anna))
    elsewhere = set_emergency(version=3, domain=replace(domain, chain_id=1)).sign(anna)
    for message in (set_emergency(version=3), set_emergency(version=3, allowed=True)):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(Signed(message, elsewhere.signature))
    assert access.emergencyOf(anna.address) == (True, 2)


def test_a_word_on_emergencies_leaves_the_account_alone(recovered, access, carry, set_emergency, anna, nils):
    epoch = access.epochs(anna.address)
    carry(set_emergency().sign(nils))
    assert (access.actorOf(anna.address), access.epochs(anna.address)) == (nils.address, epoch)


def test_the_client_breaks_the_glass_and_is_refused(client, carrier, on_call, anna, ambulance):
    asked = (ambulance.address, anna.address, category("Observation"), purpose("BTG"))
    assert client.why_not_emergency(*asked) is Refusal.NO_EMERGENCY
    client.carry(client.break_glass(ambulance, anna.address, "BTG", now() + 3600), carrier)
    assert client.why_not_emergency(*asked) is Refusal.NOTHING
    assert client.emergency(ambulance.address, anna.address).version == 1
    assert client.broken_today(ambulance.address) == 1
    client.carry(client.set_emergency(anna, False), carrier)
    assert client.emergency_word(anna.address) == (False, 1)
    assert client.why_not_emergency(*asked) is Refusal.EMERGENCY_REFUSED
    assert client.why_not_emergency(*asked, block=client.w3.eth.block_number - 1) is Refusal.NOTHING
    with pytest.raises(UnknownName):
        client.break_glass(ambulance, anna.address, "TREAT", now() + 3600)
