"""The package's client: what the `liggare` command and the demo call, start to end, on the chain's own time."""

from __future__ import annotations

import time

import pytest
from brownie import OwnedWallet
from brownie import accounts as brownie_accounts

from liggare.chain.sender import Sender
from liggare.errors import ContractRefused, InvalidTerms, UnknownName
from liggare.records.categories import CATEGORIES, category_of, mask
from liggare.records.client import GrantState, Organisation, Records, Refusal, Standing
from liggare.records.messages import Grant, Terms, blind
from liggare.records.pseudonyms import Pseudonyms
from liggare.records.share import Share
from tests.records.conftest import SALT, category, organisation, purpose
from tests.support import FOREVER, now


@pytest.fixture
def accreditor(registry, operator, w3):
    """A Sender that holds the accrediting role."""
    account = organisation("accreditor")
    brownie_accounts[7].transfer(account.address, "1 ether")
    registry.changeAccreditor(account.address, {"from": operator})
    return Sender(w3, account)


def test_a_patient_grants_by_a_derived_pseudonym_and_the_share_opens_it(client, accredited, carrier, insurer):
    relationship = Pseudonyms("test test test test test test test test test test test junk").relationship(
        insurer.address
    )
    terms = Terms.of(["Claim"], ["HPAYMT"], 0, now() + 1000)
    signed, share = client.grant(relationship.account, insurer.address, relationship.salt(), terms)
    assert not client.may_read(share, category("Claim"), purpose("HPAYMT"))
    receipt = client.carry(signed, carrier)
    assert receipt["from"] == carrier.account.address
    share = Share.from_json(share.to_json())
    assert client.may_read(share, category("Claim"), purpose("HPAYMT"))
    assert client.why_not(share, category_of("Coverage/1"), purpose("HPAYMT")) is Refusal.CATEGORY_NOT_GRANTED
    assert (
        client.why_not(share, category("Claim"), purpose("HPAYMT"), block=receipt["blockNumber"] - 1)
        is Refusal.NO_GRANT
    )
    assert client.w3.eth.get_balance(relationship.patient) == 0


def test_versions_follow_the_chain(client, carrier, anna, hospital, terms):
    for version in (1, 2):
        signed, _ = client.grant(anna, hospital.address, SALT, terms)
        assert signed.message.version == version
        client.carry(signed, carrier)
    revoke = client.revoke(anna, hospital.address, SALT)
    assert revoke.message.version == 3
    client.carry(revoke, carrier)
    assert client.state(anna.address, blind(hospital.address, SALT)) == GrantState(bytes(22), 0, 3)


def test_a_second_message_before_the_first_landed_names_its_version(client, carrier, anna, hospital, terms):
    first, _ = client.grant(anna, hospital.address, SALT, terms)
    second = client.revoke(anna, hospital.address, SALT, version=2)
    client.carry(first, carrier)
    client.carry(second, carrier)
    assert client.version(anna.address, blind(hospital.address, SALT)) == 2


def test_a_refusal_comes_by_its_name_before_anything_is_sent(client, carrier, anna, hospital, terms):
    signed, _ = client.grant(anna, hospital.address, SALT, terms, version=7)
    sent = client.w3.eth.get_transaction_count(carrier.account.address)
    with pytest.raises(ContractRefused) as caught:
        client.carry(signed, carrier)
    assert caught.value.name == "RecordsWrongVersion"
    assert caught.value.arguments == {"version": 7, "expected": 1}
    assert client.w3.eth.get_transaction_count(carrier.account.address) == sent


def test_after_revoke_all_grants_name_the_new_epoch(client, carrier, accredited, give, anna, hospital, terms):
    share = give(anna, hospital, terms)
    client.carry(client.revoke_all(anna), carrier)
    asked = (category("Observation"), purpose("TREAT"))
    assert client.why_not(share, *asked) is Refusal.ALL_REVOKED
    give(anna, hospital, terms)
    assert client.epoch(anna.address) != 0
    assert client.may_read(share, *asked)


def test_a_wallets_patient_is_carried_by_bytes(client, carrier, operator, anna, hospital, terms):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    commitment = terms.commitment(SALT, 1)
    message = Grant(client.domain, wallet.address, blind(hospital.address, SALT), commitment, 0, 1, FOREVER)
    client.carry(message.sign(anna), carrier)
    assert client.version(wallet.address, message.blinded) == 1


def test_deadlines_are_full_hours_so_that_they_link_nobody(client):
    assert client.deadline() % 3600 == 0
    assert 3600 < client.deadline() - client.now() <= 7200


def test_time_is_the_clocks_or_the_chains_where_that_is_ahead(w3, deployments):
    assert Records(w3, deployments, clock=lambda: 5).now() == now()
    ahead = time.time() + 10**6
    assert Records(w3, deployments, clock=lambda: ahead).now() == int(ahead)


def test_a_salt_has_32_bytes(client, anna, hospital, terms):
    with pytest.raises(InvalidTerms, match="32 bytes, not 3"):
        client.grant(anna, hospital.address, b"abc", terms)


def test_the_accreditor_accredits_suspends_and_resumes(client, accreditor, clinic):
    client.accredit(accreditor, clinic.address, ["provider", "emergency"], ["Patient", "Observation"], 0, FOREVER, 5)
    bits = mask(CATEGORIES, ["Patient", "Observation"])
    assert client.organisation(clinic.address) == Organisation(bits, 0, FOREVER, 5, 0b1001, False)
    assert client.standing(clinic.address) is Standing.GOOD
    client.suspend(accreditor, clinic.address)
    assert client.standing(clinic.address) is Standing.SUSPENDED
    client.resume(accreditor, clinic.address)
    assert client.standing(clinic.address) is Standing.GOOD
    with pytest.raises(ContractRefused) as caught:
        client.accredit(accreditor, clinic.address, ["insurer"], ["Observation"], 0, FOREVER)
    assert caught.value.name == "CareBeyondInsurerCap"


def test_an_unknown_role_is_named(client, carrier, clinic):
    with pytest.raises(UnknownName, match="is 'insurer' meant"):
        client.accredit(carrier, clinic.address, ["insurers"], ["Claim"], 0, FOREVER)


def test_the_log_head_follows_the_one_that_stands(client, hospital_sender, hospital):
    for size in (2, 5):
        client.post_log_head(hospital_sender, size, bytes([size]) * 32)
        assert client.log_head(hospital.address) == bytes([size]) * 24 + size.to_bytes(8, "big")
