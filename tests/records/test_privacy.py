"""What the chain shows: nothing of two relationships of one patient agrees, and nothing names organisation or terms."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from liggare.ledger.reader import Reader
from liggare.records.categories import CATEGORIES, PURPOSES
from liggare.records.messages import Grant, Terms, blind
from liggare.records.pseudonyms import Pseudonyms, new_phrase
from tests.records.conftest import organisation
from tests.support import FOREVER

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


@pytest.fixture(scope="module")
def opened(domain, organisations):
    """1,000 random grants, of 100 patients to ten organisations: (patient, organisation, signed, salt, terms)."""
    dice = random.Random(1000)
    grants = []
    for number in range(100):
        person = Pseudonyms(new_phrase())
        for grantee in organisations[:10]:
            relationship = person.relationship(grantee)
            kinds = dice.sample(sorted(CATEGORIES), dice.randint(1, 6))
            purposes = dice.sample(sorted(PURPOSES), dice.randint(1, 3))
            terms = Terms.of(kinds, purposes, 0, 1_900_000_000 + 86_400 * dice.randrange(900))
            salt = relationship.salt()
            words = (blind(grantee, salt), terms.commitment(salt, 1), 0, 1, FOREVER)
            signed = Grant(domain, relationship.patient, *words).sign(relationship.account)
            grants.append((number, grantee, signed, salt, terms))
    random.Random(1).shuffle(grants)
    return grants


@pytest.fixture
def shown(client, carrier, opened, w3, deployments):
    """What the ledger shows of the 1,000, in order: the event's members, and the item as the transaction has it."""
    start = w3.eth.block_number + 1
    items = [words for _, _, signed, _, _ in opened for words in client.batch([signed]).arguments[0]]
    for first in range(0, len(opened), 100):
        _, skipped = client.carry_batch([signed for _, _, signed, _, _ in opened[first : first + 100]], carrier)
        assert skipped == []
    rows = [row.arguments for row in Reader(w3, deployments).rows(start) if row.event == "Granted"]
    assert len(rows) == 1000
    return list(zip(rows, items, strict=True))


def test_of_1000_grants_of_100_patients_no_field_repeats_and_none_can_be_told_from_noise(opened, shown):
    # no field of two relationships agrees, of one patient's nor of any, but for the counters that all share
    seen: Counter[bytes] = Counter()
    for row, (patient, blinded, terms, epoch, version, deadline, r, vs) in shown:
        assert (epoch, version, deadline) == (0, 1, FOREVER)
        assert (row["patient"], row["blinded"], row["slot"][:22]) == (patient, blinded, terms[:22])
        seen.update({bytes.fromhex(patient[2:]), blinded, terms, terms[:22], r, vs, row["id"]})
    assert set(seen.values()) == {1}
    # the holder of salt and terms knows each for what it is; whoever lacks the salt can't try organisations and terms
    organisations = sorted({grantee for _, grantee, *_ in opened})
    for (_, grantee, signed, salt, terms), (row, _) in zip(opened, shown, strict=True):
        assert row["blinded"] == blind(grantee, salt)
        assert row["slot"][:22] == terms.commitment(salt, 1)[:22]
        for guess in (bytes(32), bytes(signed.id), row["blinded"], bytes.fromhex(row["patient"][2:]).rjust(32, b"\0")):
            assert row["blinded"] not in {blind(organisation, guess) for organisation in organisations}
            assert row["slot"][:22] != terms.commitment(guess, 1)[:22]
    # each of the 432 bits is one in half of the grants: six sigma of 1,000 tosses are 95
    words = [int.from_bytes(row["blinded"] + row["slot"][:22], "big") for row, _ in shown]
    for bit in range(432):
        assert abs(sum(word >> bit & 1 for word in words) - 500) < 95
    # nor do equal bits tell that two grants are of one patient, to one organisation or in the same terms
    for member in (0, 1, 4):
        groups: dict[object, list[int]] = {}
        for told, word in zip(opened, words, strict=True):
            groups.setdefault(told[member], []).append(word)
        pairs = [pair for group in groups.values() for pair in pairwise(group)]
        distance = sum((one ^ other).bit_count() for one, other in pairs)
        assert abs(distance - 216 * len(pairs)) <= 6 * 10.4 * len(pairs) ** 0.5  # half of the bits differ
