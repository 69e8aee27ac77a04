"""Patients, organisations and a custodian's door.

Anna and Bo are patients: keys without ether. Of the organisations, the hospital is an accredited provider, the insurer
and the institute (research) are accredited as such; the clinic is not. The ambulance is an emergency service where a
test asks for it. The operator is the accreditor. Vera, Olle and Ida are whom Anna trusts: guardians, where a test lets
her appoint them. Nils holds the key that comes after hers.
"""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from brownie import CareRegistry, RecordAccess
from brownie import accounts as brownie_accounts
from brownie.exceptions import VirtualMachineError
from eth_account import Account

from liggare.chain.sender import Sender
from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.records.categories import GRANTABLE, PURPOSES, ROLES, mask
from liggare.records.client import Records
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Recover,
    Revoke,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
    Terms,
    blind,
)
from liggare.records.rules import RecordRules
from tests.records.releases import Desk
from tests.support import FOREVER, ROOT, isolated, now, pass_time

SALT = bytes.fromhex("5a17" * 16)
EVER = 2**63
EVERYTHING = 2**63 - 1
FHIR = ROOT / "scripts" / "data" / "fhir"
GRANT, APPOINT, RECOVER, READ = 1, 2, 4, 8
DAY = 86_400
NOBODY = "0x" + "0" * 40


def role(*names):
    return mask(ROLES, names)


def category(*names):
    return mask(GRANTABLE, names)


def purpose(*names):
    return mask(PURPOSES, names)


def organisation(name):
    return Account.from_key(bytes(12) + name.encode().rjust(20, b"\2"))


@pytest.fixture(scope="session")
def hospital():
    """A provider, and the custodian of records."""
    return organisation("hospital")


@pytest.fixture(scope="session")
def insurer():
    """An insurer."""
    return organisation("insurer")


@pytest.fixture(scope="session")
def institute():
    """A research institute: Observation and Condition at most."""
    return organisation("institute")


@pytest.fixture(scope="session")
def clinic():
    """An organisation that nobody accredited."""
    return organisation("clinic")


@pytest.fixture(scope="session")
def client(w3, deployments):
    """The package's client of the records, with the chain's own time."""
    return Records(w3, deployments, clock=lambda: 0)


@pytest.fixture(scope="session")
def domain(client):
    """What the patients sign for."""
    return client.domain


@pytest.fixture(scope="session")
def access(deployments):
    """The grants, as Brownie sees them."""
    return RecordAccess.at(deployments.contracts["RecordAccess"].address)


@pytest.fixture(scope="session")
def registry(deployments):
    """The organisations, as Brownie sees them; none accredited yet."""
    return CareRegistry.at(deployments.contracts["CareRegistry"].address)


@pytest.fixture(scope="module")
def accredited(registry, operator, hospital, insurer, institute, carrier, hospital_sender):
    """The registry with hospital, insurer and institute accredited, from 1970 for ever; for a whole file of tests.

    The senders are asked for so that they get their ether outside, for the whole session.
    """
    cap = category("Observation", "Condition")
    with isolated():
        registry.accredit(hospital.address, role("provider"), EVERYTHING, 0, FOREVER, 3, {"from": operator})
        registry.accredit(insurer.address, role("insurer"), 0b1110, 0, FOREVER, 0, {"from": operator})
        registry.accredit(institute.address, role("research"), cap, 0, FOREVER, 0, {"from": operator})
        yield registry


@pytest.fixture(scope="session")
def terms():
    """Observation and Condition for treatment or research, for ever."""
    return Terms.of(["Observation", "Condition"], ["TREAT", "HRESCH"], 0, EVER)


@pytest.fixture(scope="session")
def grant(domain, anna, hospital, terms):
    """Make Anna's first grant to the hospital, valid for ever; any member can be changed."""

    def grant(**changes):
        version = changes.get("version", 1)
        members = {
            "domain": domain,
            "patient": anna.address,
            "blinded": blind(hospital.address, SALT),
            "terms": terms.commitment(SALT, version),
            "epoch": 0,
            "version": version,
            "deadline": FOREVER,
        }
        return Grant(**{**members, **changes})

    return grant


@pytest.fixture(scope="session")
def revoke(domain, anna, hospital):
    """Make Anna's revoke of her first grant to the hospital; any member can be changed."""

    def revoke(**changes):
        members = {
            "domain": domain,
            "patient": anna.address,
            "blinded": blind(hospital.address, SALT),
            "version": 2,
            "deadline": FOREVER,
        }
        return Revoke(**{**members, **changes})

    return revoke


@pytest.fixture(scope="session")
def carry(access, operator):
    """Carry a signed message with the operator's gas: `carry(signed)` returns Brownie's receipt.

    `carry(signed, signature)` carries it with other bytes as its signature.
    """

    def carry(signed, signature=None):
        message = signed.message
        verb = message.TYPE[0].lower() + message.TYPE[1:]
        values = list(message.values().values())
        if verb not in ("grant", "revoke", "revokeAll"):  # the others have one form, with bytes
            if isinstance(message, GrantBundle):
                values[1] = [tuple(each.values()) for each in values[1]]
            return getattr(access, verb)(*values, signature or signed.signature, {"from": operator})
        tail = "uint8,bytes32,bytes32" if signature is None else "bytes"
        method = getattr(access, verb)[",".join([*message.FIELDS.values(), tail])]
        r, s, v = signed.signature[:32], signed.signature[32:64], signed.signature[64]
        words = (v, r, s) if signature is None else (signature,)
        return method(*values, *words, {"from": operator})

    return carry


# ---------------------------------------------------------------- those who act for a patient


@pytest.fixture(scope="session")
def vera():
    """Whom Anna trusts; her guardian where a test says so."""
    return organisation("vera")


@pytest.fixture(scope="session")
def olle():
    """Whom Anna trusts, or Vera."""
    return organisation("olle")


@pytest.fixture(scope="session")
def ida():
    """Whom Anna trusts, or Olle."""
    return organisation("ida")


@pytest.fixture(scope="session")
def nils():
    """Anna's next key."""
    return organisation("nils")


def maker(kind, **defaults):
    """Return a function that makes such a message, any member changed."""
    return lambda **changes: kind(**{**defaults, **changes})


@pytest.fixture(scope="session")
def appoint(domain, anna, vera):
    """Anna appoints Vera, with all rights, for ever; any member can be changed."""
    who = {"patient": anna.address, "appointer": anna.address, "guardian": vera.address}
    return maker(Appoint, domain=domain, **who, rights=15, until=FOREVER, version=1, deadline=FOREVER)


@pytest.fixture(scope="session")
def dismiss(domain, anna, vera):
    """Anna dismisses Vera; any member can be changed."""
    who = {"patient": anna.address, "by": anna.address, "guardian": vera.address}
    return maker(Dismiss, domain=domain, **who, version=2, deadline=FOREVER)


@pytest.fixture(scope="session")
def grant_for(access, domain, anna, vera, hospital, terms):
    """Vera's first grant for Anna to the hospital, of the epoch that is hers now; any member can be changed."""

    def grant_for(**changes):
        members = {"patient": anna.address, "author": vera.address, "version": 1, "deadline": FOREVER, **changes}
        if "epoch" not in changes:
            members["epoch"] = access.epochOf(members["patient"], members["author"])
        members.setdefault("blinded", blind(hospital.address, SALT))
        members.setdefault("terms", terms.commitment(SALT, members["version"]))
        members.setdefault("domain", domain)
        return GrantFor(**members)

    return grant_for


@pytest.fixture(scope="session")
def revoke_for(domain, anna, vera, hospital):
    """The revoke of Vera's first grant for Anna; any member can be changed."""
    who = {"patient": anna.address, "author": vera.address, "blinded": blind(hospital.address, SALT)}
    return maker(RevokeFor, domain=domain, **who, version=2, deadline=FOREVER)


@pytest.fixture(scope="session")
def why_not_by(access, anna, vera, hospital, terms):
    """Ask: may the hospital read Anna's Observations to treat her by what Vera granted? Any word can be changed."""

    def why_not_by(**changes):
        words = {
            "patient": anna.address,
            "author": vera.address,
            "grantee": hospital.address,
            "salt": SALT,
            "terms": terms,
            "category": category("Observation"),
            "purpose": purpose("TREAT"),
            **changes,
        }
        words["terms"] = words["terms"].values()
        return access.whyNotBy(*words.values())

    return why_not_by


@pytest.fixture(scope="session")
def set_recovery(domain, anna):
    """Anna lets two guardians recover her key, after a day; any member can be changed."""
    return maker(SetRecovery, domain=domain, patient=anna.address, threshold=2, delay=DAY, version=1, deadline=FOREVER)


@pytest.fixture(scope="session")
def recover(domain, anna, nils):
    """Nils shall act for Anna; any member can be changed."""
    return maker(Recover, domain=domain, patient=anna.address, successor=nils.address, version=2, deadline=FOREVER)


@pytest.fixture(scope="session")
def stop_recovery(domain, anna):
    """Anna stops the recovery; any member can be changed."""
    return maker(StopRecovery, domain=domain, patient=anna.address, version=3, deadline=FOREVER)


@pytest.fixture(scope="session")
def begin(access, operator):
    """Carry a recovery: `begin(message, vera, olle)` with their approvals in order, or `approvals` as given."""

    def begin(message, *guardians, approvals=None):
        if approvals is None:
            people = sorted(guardians, key=lambda person: int(person.address, 16))
            approvals = [(person.address, message.sign(person).signature) for person in people]
        return access.recover(*message.values().values(), approvals, {"from": operator})

    return begin


@pytest.fixture
def guarded(carry, appoint, set_recovery, anna, vera, olle, ida):
    """Anna has Vera, Olle and Ida as guardians with all rights, two of whom recover her key after a day."""
    for guardian in (vera, olle, ida):
        carry(appoint(guardian=guardian.address).sign(anna))
    carry(set_recovery().sign(anna))


@pytest.fixture
def recovered(guarded, access, begin, recover, vera, olle, anna, operator):
    """Anna's key was lost, and Nils acts for her."""
    begin(recover(), vera, olle)
    pass_time(DAY)
    access.completeRecovery(anna.address, {"from": operator})


# ---------------------------------------------------------------- emergencies


@pytest.fixture(scope="session")
def ambulance():
    """An emergency service, where a test accredits it."""
    return organisation("ambulance")


@pytest.fixture
def on_call(registry, operator, ambulance):
    """The ambulance is accredited: Observation and Condition at most, three emergencies a day."""
    cap = category("Observation", "Condition")
    registry.accredit(ambulance.address, role("emergency"), cap, 0, FOREVER, 3, {"from": operator})


@pytest.fixture(scope="session")
def break_glass(domain, anna, ambulance):
    """The ambulance reads Anna's records for the next hours, in an emergency treatment; any member can be changed."""

    def break_glass(**changes):
        who = {"organisation": ambulance.address, "patient": anna.address}
        what = {"reason": purpose("ETREAT"), "until": now() + 8 * 3600, "version": 1, "deadline": FOREVER}
        return BreakGlass(**{"domain": domain, **who, **what, **changes})

    return break_glass


@pytest.fixture(scope="session")
def set_emergency(domain, anna):
    """Anna lets nobody break the glass; any member can be changed."""
    return maker(SetEmergency, domain=domain, patient=anna.address, allowed=False, version=1, deadline=FOREVER)


@pytest.fixture(scope="session")
def why_not_emergency(access, ambulance, anna):
    """Ask: may the ambulance read Anna's Observations in an emergency treatment? Any word can be changed."""

    def why_not_emergency(**changes):
        words = {
            "organisation": ambulance.address,
            "patient": anna.address,
            "category": category("Observation"),
            "purpose": purpose("ETREAT"),
            **changes,
        }
        return access.whyNotEmergency(*words.values())

    return why_not_emergency


@pytest.fixture(scope="session")
def why_not(access, anna, hospital, terms):
    """Ask the contract: may the hospital read Anna's Observations to treat her? Any word can be changed."""

    def why_not(**changes):
        words = {
            "patient": anna.address,
            "grantee": hospital.address,
            "salt": SALT,
            "terms": terms,
            "category": category("Observation"),
            "purpose": purpose("TREAT"),
            **changes,
        }
        words["terms"] = words["terms"].values()
        reason = access.whyNot(*words.values())
        assert access.mayRead(*words.values()) == (reason == 0)
        return reason

    return why_not


@contextmanager
def refused_late(deadline):
    """Expect RecordsExpired naming this deadline and the time of the refusal."""
    with pytest.raises(VirtualMachineError) as caught:
        yield
    name, _, words = caught.value.revert_msg.partition(": ")
    named, timestamp = (int(word) for word in words.split(", "))
    assert (name, named) == ("RecordsExpired", deadline)
    assert deadline < timestamp <= now() + 60


@pytest.fixture(scope="session")
def hospital_sender(w3, hospital):
    """The hospital's own ether, for anchors and log heads."""
    brownie_accounts[7].transfer(hospital.address, "5 ether")
    return Sender(w3, hospital)


@pytest.fixture(scope="session")
def desk(client, hospital):
    """Makes the hospital's releases, at the newest block."""
    return Desk(hospital.address, client.domain, client.newest)


@pytest.fixture(scope="session")
def give(client, carrier):
    """Let a patient grant and carry it: `give(anna, institute, terms)` returns the share."""

    def give(patient, grantee, terms, salt=SALT):
        signed, share = client.grant(patient, grantee.address, salt, terms)
        client.carry(signed, carrier)
        return share

    return give


@pytest.fixture(scope="session")
def replay(w3, deployments, client):
    """Replay the ledger under the records' rules: `replay(rows=None, logs=None)` returns the report."""

    def blocks(number):
        block = w3.eth.get_block(number)
        return block["hash"].to_0x_hex(), block["timestamp"]

    def replay(rows=None, logs=None):
        rules = RecordRules(logs, blocks, client.domain)
        state = ChainState(w3, deployments, w3.eth.block_number)
        return verify(Reader(w3, deployments).rows() if rows is None else rows, [rules], state)

    return replay


@pytest.fixture
def anchor(access, registry, operator):
    """Anchor a salted hash as a provider: an account of the node's that the operator accredits."""
    provider = brownie_accounts[6]
    registry.accredit(provider, role("provider"), EVERYTHING, 0, FOREVER, 0, {"from": operator})
    return lambda salted: access.anchorRecord(salted, {"from": provider})
