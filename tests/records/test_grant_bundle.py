"""`grantBundle`: many grants of one patient by one signature, all or none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import OwnedWallet, RecordAccess

from liggare.messages import Signed
from liggare.records.client import Refusal
from liggare.records.messages import BundledGrant, GrantBundle, RevokeAll, Terms, blind
from tests.records.conftest import EVER, SALT, category, purpose, refused_late
from tests.support import FOREVER, refused

OTHER = b"\x02" * 32


def item(blinded, commitment, version):
    return BundledGrant(blinded=blinded, terms=commitment, version=version)


@pytest.fixture
def bundle(domain, anna, hospital, insurer, terms):
    """Anna grants to the hospital and to the insurer; any member can be changed."""
    grants = (
        item(blind(hospital.address, SALT), terms.commitment(SALT, 1), 1),
        item(blind(insurer.address, OTHER), terms.commitment(OTHER, 1), 1),
    )

    def bundle(**changes):
        members = {"domain": domain, "patient": anna.address, "grants": grants, "epoch": 0, "deadline": FOREVER}
        return GrantBundle(**{**members, **changes})

    return bundle


@pytest.fixture
def versions(access, bundle):
    """The versions that stand for the bundle's grants."""
    return lambda: [access.grants(bundle().patient, grant["blinded"])[2] for grant in bundle().grants]


def test_one_signature_makes_many_grants(accredited, carry, bundle, anna, why_not, versions):
    signed = bundle().sign(anna)
    events = carry(signed).events["Granted"]
    assert [event["id"] for event in events] == [signed.id.to_0x_hex()] * 2
    assert versions() == [1, 1]
    assert why_not() == Refusal.NOTHING


def test_a_bundle_changes_and_revokes_too(access, accredited, carry, bundle, anna, terms, why_not, versions):
    carry(bundle().sign(anna))
    first, second = bundle().grants
    narrow = Terms.of(["Condition"], ["TREAT"], 0, EVER)
    changed = (
        item(first["blinded"], bytes(32), 2),
        item(second["blinded"], narrow.commitment(OTHER, 2), 2),
        item(first["blinded"], terms.commitment(SALT, 3), 3),
    )
    events = carry(bundle(grants=changed[:2]).sign(anna)).events
    assert (len(events["Granted"]), len(events["Revoked"])) == (1, 1)
    assert why_not() == Refusal.REVOKED
    carry(bundle(grants=changed[2:]).sign(anna))
    assert why_not() == Refusal.NOTHING
    assert versions() == [3, 2]


def test_a_bundle_is_carried_out_whole_or_not_at_all(carry, bundle, anna, versions):
    first, second = bundle().grants
    with refused(RecordAccess, "RecordsWrongVersion", 2, 1):
        carry(bundle(grants=(first, dict(second, version=2))).sign(anna))
    assert versions() == [0, 0]


def test_a_bundle_works_once(carry, grant, bundle, anna, versions):
    signed = bundle().sign(anna)
    carry(signed)
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)
    assert versions() == [1, 1]


def test_a_bundle_of_which_one_grant_was_revoked_meanwhile_lands_no_more(carry, revoke, bundle, anna, versions):
    signed = bundle().sign(anna)
    carry(revoke(version=1).sign(anna))
    with refused(RecordAccess, "RecordsWrongVersion", 1, 2):
        carry(signed)
    assert versions() == [1, 0]


def test_an_altered_bundle_is_refused(carry, bundle, anna, bo, versions):
    signed = bundle().sign(anna)
    first, second = bundle().grants
    for altered in (
        bundle(grants=(first,)),
        bundle(grants=(second, first)),
        bundle(grants=(first, second, second)),
        bundle(grants=(first, dict(second, terms=b"\x01" * 32))),
        bundle(grants=(first, dict(second, blinded=b"\x01" * 32))),
        bundle(grants=(first, dict(second, version=2))),
        bundle(grants=()),
        bundle(epoch=1),
        bundle(deadline=FOREVER - 1),
    ):
        with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
            carry(Signed(altered, signed.signature))
    with refused(RecordAccess, "RecordsInvalidSignature", bo.address):
        carry(Signed(bundle(patient=bo.address), signed.signature))
    assert versions() == [0, 0]


@pytest.mark.parametrize("other", [{"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}])
def test_a_bundle_for_another_domain_is_refused(carry, bundle, domain, anna, other):
    signed = bundle(domain=replace(domain, **other)).sign(anna)
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(bundle(), signed.signature))


def test_a_single_grants_signature_is_no_bundles(carry, grant, bundle, anna):
    with refused(RecordAccess, "RecordsInvalidSignature", anna.address):
        carry(Signed(bundle(), grant().sign(anna).signature))


def test_a_late_bundle_is_refused(carry, bundle, anna, versions):
    with refused_late(77):
        carry(bundle(deadline=77).sign(anna))
    assert versions() == [0, 0]


def test_a_bundle_of_another_epoch_reads_nothing(accredited, carry, bundle, domain, anna, why_not):
    carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(anna))
    carry(bundle().sign(anna))
    assert why_not() == Refusal.ALL_REVOKED


def test_a_wallet_signs_a_bundle(access, carry, bundle, operator, anna, mallory):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    message = bundle(patient=wallet.address)
    with refused(RecordAccess, "RecordsInvalidSignature", wallet.address):
        carry(message.sign(mallory))
    carry(message.sign(anna))
    assert access.grants(wallet.address, message.grants[1]["blinded"])[2] == 1


def test_the_client_bundles_grants_and_revokes(client, carrier, accredited, anna, hospital, insurer, terms):
    claims = Terms.of(["Claim"], ["HPAYMT"], 0, EVER)
    wishes = [(hospital.address, SALT, terms), (insurer.address, OTHER, claims)]
    signed, shares = client.bundle(anna, wishes)
    client.carry(signed, carrier)
    assert client.may_read(shares[0], category("Observation"), purpose("TREAT"))
    assert client.may_read(shares[1], category("Claim"), purpose("HPAYMT"))
    signed, rest = client.bundle(anna, [(hospital.address, SALT, None), (hospital.address, SALT, claims)])
    assert [grant["version"] for grant in signed.message.grants] == [2, 3]
    client.carry(signed, carrier)
    assert client.why_not(shares[0], category("Observation"), purpose("TREAT")) is Refusal.OTHER_TERMS
    assert client.may_read(rest[0], category("Claim"), purpose("HPAYMT"))
