"""What the chain shows: nothing of two relationships of one patient agrees, and nothing names organisation or terms."""

from __future__ import annotations

import random

import pytest

from liggare.ledger.reader import Reader
from liggare.records.categories import CATEGORIES, PURPOSES
from liggare.records.messages import Terms
from liggare.records.pseudonyms import Pseudonyms
from tests.records.conftest import organisation

WORDS = "test test test test test test test test test test test junk"


@pytest.fixture(scope="module")
def organisations():
    """Twelve organisations."""
    return [organisation(f"organisation {number}").address for number in range(12)]


def fields(signed):
    """What a grant shows: its members and signature; not the small counters that all grants share."""
    values = signed.message.values()
    shared = {"version", "epoch", "deadline"}
    parts = [value for name, value in values.items() if name not in shared]
    return {str(part) for part in [*parts, signed.signature[:32], signed.signature[32:64], bytes(signed.id)]}


def test_no_field_is_shared_by_two_relationships_of_one_patient(client, organisations):
    """Also where all is granted alike: same patient, same terms, same moment."""
    person = Pseudonyms(WORDS)
    terms = Terms.of(["Observation"], ["TREAT"], 0, 2_000_000_000)
    seen: set[str] = set()
    for address in organisations:
        relationship = person.relationship(address)
        for number in range(2):
            signed, _ = client.grant(relationship.account, address, relationship.salt(number), terms)
            own = {relationship.patient} if number else set()
            assert not seen & (fields(signed) - own)
            seen |= fields(signed)
    assert len({client.deadline() for _ in organisations}) == 1  # what is shared, all people's grants share


def test_a_grants_changes_share_no_commitment(client, organisations):
    relationship = Pseudonyms(WORDS).relationship(organisations[0])
    terms = Terms.of(["Observation"], ["TREAT"], 0, 2_000_000_000)
    words = (relationship.account, organisations[0], relationship.salt(), terms)
    assert len({client.grant(*words, version=version)[0].message.terms for version in range(1, 9)}) == 8


def test_the_ledger_names_neither_reader_nor_terms(client, give, anna, bo, hospital, insurer, w3, deployments):
    """Nowhere in transactions and events: the grantees' addresses, the salts, the terms as they are encoded."""
    start = w3.eth.block_number + 1
    dice = random.Random(7)
    secrets = []
    for patient in (anna, bo):
        for grantee in (hospital, insurer):
            salt = dice.randbytes(32)
            kinds, purposes = dice.sample(sorted(CATEGORIES), 5), dice.sample(sorted(PURPOSES), 3)
            terms = Terms.of(kinds, purposes, 1_700_000_003, 1_900_000_007)
            give(patient, grantee, terms, salt)
            secrets += [grantee.address[2:].lower(), salt.hex(), f"{terms.categories:x}", f"{terms.expiry:x}"]
    shown = ""
    for number in range(start, w3.eth.block_number + 1):
        for transaction in w3.eth.get_block(number, full_transactions=True)["transactions"]:
            shown += transaction["input"].hex() + transaction["from"] + transaction["to"]
    rows = list(Reader(w3, deployments).rows(start))
    assert [row.event for row in rows] == ["Granted"] * 4
    shown += "".join(
        str(value.hex() if isinstance(value, bytes) else value) for row in rows for value in row.arguments.values()
    )
    assert not [secret for secret in secrets if secret in shown.lower()]
