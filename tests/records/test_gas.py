"""What records cost, by name in gas.json, and the most that they may cost."""

from __future__ import annotations

import pytest

from liggare.records.messages import RevokeAll
from tests.records.conftest import EVERYTHING, role
from tests.support import FOREVER

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
