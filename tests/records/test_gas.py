"""What records cost, by name in gas.json, and the most that they may cost."""

from __future__ import annotations

import pytest
from eth_account import Account

from liggare.records.messages import BundledGrant, GrantBundle, RevokeAll, blind
from tests.records.conftest import DAY, EVERYTHING, role
from tests.support import FOREVER, pass_time

pytestmark = pytest.mark.gas

HEAD = bytes.fromhex("e1" * 32)


def test_gas_of_a_new_grant(gas, carry, grant, anna):
    used = carry(grant().sign(anna)).gas_used
    assert used <= 55_000
    gas("records.grant.new", used)


def test_gas_of_a_changed_grant(gas, carry, grant, anna):
    carry(grant().sign(anna))
    used = carry(grant(version=2).sign(anna)).gas_used
    assert used <= 37_000
    gas("records.grant.change", used)


def test_gas_of_a_revoke(gas, carry, grant, revoke, anna):
    carry(grant().sign(anna))
    used = carry(revoke().sign(anna)).gas_used
    assert used <= 37_000
    gas("records.grant.revoke", used)


def test_gas_of_a_revoke_of_everything(gas, access, carry, domain, anna):
    used = carry(RevokeAll(domain, anna.address, 0, FOREVER).sign(anna)).gas_used
    assert used <= 55_000
    gas("records.grant.revokeAll", used)


def test_gas_of_a_grant_among_fifty_relayed(gas, client, access, operator, grant, hospital):
    people = [Account.from_key(bytes([3] * 31 + [number])) for number in range(50)]
    signed = [
        grant(patient=person.address, blinded=blind(hospital.address, person.key), terms=person.key[::-1]).sign(person)
        for person in people
    ]
    used = access.grantBatch(client.batch(signed).arguments[0], {"from": operator}).gas_used
    assert access.grants(people[-1].address, blind(hospital.address, people[-1].key))[2] == 1
    assert used <= 50 * 34_000
    gas("records.grant.relayed50", -(-used // 50))


def test_gas_of_a_grant_in_a_bundle_of_ten(gas, access, carry, domain, anna, terms, hospital):
    salts = [bytes([number]) * 32 for number in range(1, 11)]
    grants = tuple(
        BundledGrant(blinded=blind(hospital.address, salt), terms=terms.commitment(salt, 1), version=1)
        for salt in salts
    )
    used = carry(GrantBundle(domain, anna.address, grants, 0, FOREVER).sign(anna)).gas_used
    assert used <= 10 * 34_000
    gas("records.grant.bundle10", -(-used // 10))


def steady(used, signed, number):
    """Gas as if no byte of the signature and of this number were zero: they differ from run to run."""
    return used + 12 * (signed.signature + number.to_bytes(6, "big")).count(0)


def test_gas_of_a_guardians_grant(gas, carry, appoint, grant_for, anna, vera):
    gas("records.guardian.appoint", carry(appoint().sign(anna)).gas_used)
    signed = grant_for().sign(vera)
    gas("records.grant.for.new", steady(carry(signed).gas_used, signed, signed.message.epoch))


def test_gas_of_a_dismissal(gas, carry, appoint, dismiss, anna):
    carry(appoint().sign(anna))
    gas("records.guardian.dismiss", carry(dismiss().sign(anna)).gas_used)


def test_gas_of_a_recovery(gas, guarded, access, begin, recover, anna, vera, olle, operator):
    gas("records.recovery.start", begin(recover(), vera, olle).gas_used)
    pass_time(DAY)
    gas("records.recovery.complete", access.completeRecovery(anna.address, {"from": operator}).gas_used)


def test_gas_of_setting_and_stopping_a_recovery(gas, carry, set_recovery, stop_recovery, anna):
    gas("records.recovery.set", carry(set_recovery().sign(anna)).gas_used)
    gas("records.recovery.stop", carry(stop_recovery(version=2).sign(anna)).gas_used)


def test_gas_of_breaking_the_glass(gas, carry, on_call, break_glass, ambulance):
    signed = break_glass().sign(ambulance)
    gas("records.breakGlass", steady(carry(signed).gas_used, signed, signed.message.until))


def test_gas_of_refusing_emergencies(gas, carry, set_emergency, anna):
    gas("records.emergency.set", carry(set_emergency().sign(anna)).gas_used)


def test_gas_of_an_accreditation(gas, registry, operator, hospital):
    words = (hospital.address, role("provider"), EVERYTHING, 1_700_000_000, 1_900_000_000, 3)
    used = registry.accredit(*words, {"from": operator}).gas_used
    assert used <= 50_000
    gas("records.accredit", used)


def test_gas_of_an_anchor(gas, anchor):
    gas("records.anchor", anchor(bytes.fromhex("c3" * 32)).gas_used)


def test_gas_of_a_log_head(gas, access, operator):
    access.postLogHead(bytes(32), 1000, HEAD, {"from": operator})
    used = access.postLogHead(access.logHeads(operator), 2000, HEAD[::-1], {"from": operator}).gas_used
    assert used <= 31_000
    gas("records.log.head", used)
