"""IHE's Privacy Consent on FHIR, use case by use case: from the Consent over the ledger to what the gatekeeper shows.

The Consents have the shapes of PCF's examples and none of their text; `docs/consent.md` is the table of these tests.
"""

from __future__ import annotations

import copy
from datetime import datetime, timezone

import pytest

from liggare.errors import ConsentUnmappable
from liggare.records.categories import RESTRICTED
from liggare.records.consent import EVERYTHING, from_consent
from liggare.records.fhir import dump, parse
from tests.records.conftest import EVERYTHING as TYPES
from tests.records.conftest import organisation, role
from tests.support import FOREVER
from tests.web.gatekeeper.conftest import oauth_refusal
from tests.web.gatekeeper.test_find import bundle, names
from tests.web.gatekeeper.test_read import observation, put, seen
from tests.web.gatekeeper.test_restricted import doctor, label

__all__ = ["doctor"]

V3 = "http://terminology.hl7.org/CodeSystem/v3-"
SHOWN = {"Observation/f001", "Observation/early", "Observation/late"}


def coded(system, code):
    return {"system": system, "code": code}


def purposes(*codes):
    return [coded(V3 + "ActReason", code) for code in codes]


def levels(*codes):
    return [coded(V3 + "Confidentiality", code) for code in codes]


def recipient(reference="Organization/clinic"):
    return {"role": {"coding": [coded(V3 + "ParticipationType", "IRCP")]}, "reference": {"reference": reference}}


CLINIC = [recipient()]


def consent(kind="permit", *, top=None, **provision):
    """A Consent of PCF's shape, to treatment, payment and operations; any part can be changed, None takes it out."""
    rule = {"type": kind, "purpose": purposes("TREAT", "HPAYMT", "HOPERAT"), **provision}
    made = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")]},
        "category": [{"coding": [coded("http://loinc.org", "59284-0")]}],
        "patient": {"reference": "Patient/f001"},
        "dateTime": "2026-11-25",
        "performer": [{"reference": "Patient/f001"}],
        "organization": [{"reference": "Organization/hospital"}],
        "sourceReference": {"reference": "DocumentReference/paper"},
        "policy": [{"uri": "https://hospital.example/policies/1"}],
        "provision": {name: value for name, value in rule.items() if value is not None},
        **(top or {}),
    }
    assert parse(dump(made)) == made
    return made


def unmappable(made, reason):
    """Expect that no grant comes of a Consent, by this reason."""
    with pytest.raises(ConsentUnmappable) as caught:
        from_consent(made)
    assert caught.value.reason == reason


@pytest.fixture
def addresses(doctor, institute, hospital):
    """Whom the patient knows by which FHIR reference."""
    return {
        "Organization/clinic": doctor.address,
        "Organization/institute": institute.address,
        "Practitioner/psychiatrist": organisation("psychiatrist").address,
    }


@pytest.fixture
def agree(client, carrier, anna, addresses):
    """Make grants of a Consent and carry them: `agree(consent)` returns the shares in the order of its recipients."""
    salts = iter(range(1, 100))

    def agree(made, guardian=None):
        shares = []
        for granted in from_consent(made):
            words = addresses[granted.grantee], bytes([next(salts)]) * 32, granted.terms
            if guardian is None:
                signed, share = client.grant(anna, *words)
            else:
                signed, share = client.grant_for(guardian, anna.address, *words)
            client.carry(signed, carrier)
            shares.append(share)
        return shares

    return agree


@pytest.fixture
def chart(served):
    """Two more of Anna's observations, of 2022 and of 2025; and a restricted one."""
    put(served, **observation("early", effectiveDateTime="2022-06-13"))
    put(served, **observation("late", effectiveDateTime="2025-06-13"))
    put(served, **observation("secret", meta=label("R")))


@pytest.fixture
def psychiatrist(registry, operator, accredited):
    """A provider who reads restricted records too."""
    made = organisation("psychiatrist")
    registry.accredit(made.address, role("provider"), TYPES | RESTRICTED, 0, FOREVER, 0, {"from": operator})
    return made


@pytest.fixture
def crew(served, reader_of, registry, operator):
    """An emergency service that reads restricted records too."""
    made = organisation("ambulance")
    registry.accredit(made.address, role("emergency"), TYPES | RESTRICTED, 0, FOREVER, 3, {"from": operator})
    return reader_of(served, made)


def shown(reader):
    """Which observations a reader sees; the restricted one also by its id or not at all."""
    found = set(names(bundle(reader.get("Observation"))))
    secret, none = reader.get("Observation/secret"), reader.get("Observation/none")
    assert (seen(secret) != seen(none)) == ("Observation/secret" in found)
    return found


def sees(reader, shares, *words):
    """Sign in by these shares; return which observations are shown."""
    assert reader.sign_in(*words, shares=shares).status_code == 200
    return shown(reader)


# ---------------------------------------------------------------------- basic


def test_basic_treat(chart, reader, agree):
    """PCF's permits everybody of the community; a grant is for the recipients that it names."""
    unmappable(consent(), "grantee")
    shares = agree(consent(actor=CLINIC))
    assert sees(reader, shares) == SHOWN
    assert reader.get("Claim/100150").status_code == 200
    assert sees(reader, shares, "HOPERAT") == SHOWN
    oauth_refusal(reader.sign_in("HRESCH", shares=shares), "PurposeNotGranted")


def test_basic_treat_infant(chart, served, reader, reader_of, agree, client, carrier, anna, bo):
    """The mother (Bo) grants for the infant, whose pseudonym is Anna's here, and reads for it."""
    agreed = consent(actor=CLINIC, top={"performer": [{"reference": "RelatedPerson/mother"}]})
    client.carry(client.appoint(anna, anna.address, bo.address, ["grant", "read"], FOREVER), carrier)
    shares = agree(agreed, guardian=bo)
    assert [share.author for share in shares] == [bo.address]
    assert sees(reader, shares) == SHOWN
    mother = reader_of(served, bo)
    assert mother.sign_in("FAMRQT", patient=anna.address).status_code == 200
    assert shown(mother) == SHOWN | {"Observation/secret"}
    client.carry(client.dismiss(anna, anna.address, bo.address), carrier)
    reader.refused("Observation/f001", 403, "NotAuthor")
    mother.refused("Observation/f001", 403, "NotTheActor")


def test_basic_ink(chart, served, reader, agree, client, anna, doctor):
    """Paper is kept and grants nothing; what is granted is signed again by the patient's key."""
    paper = {"resourceType": "DocumentReference", "id": "paper", "status": "current"}
    attachment = {"contentType": "image/png", "data": "aW5r"}
    put(served, **paper, subject={"reference": "Patient/f001"}, content=[{"attachment": attachment}])
    agreed = consent(actor=CLINIC)
    unsigned = client.grant(anna, doctor.address, b"\x77" * 32, from_consent(agreed)[0].terms)[1]
    oauth_refusal(reader.sign_in(shares=[unsigned]), "NoGrant")
    assert sees(reader, agree(agreed)) == SHOWN
    assert reader.get("DocumentReference/paper").status_code == 200


def test_expired_treat(chart, reader, agree, clock):
    end = int(clock()) + 200
    written = datetime.fromtimestamp(end, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    shares = agree(consent(actor=CLINIC, period={"end": written}))
    assert shares[0].terms.expiry == end + 1
    assert sees(reader, shares) == SHOWN
    clock.ahead = 210
    reader.refused("Observation/f001", 403, "Expired")
    oauth_refusal(reader.sign_in(shares=shares), "Expired")


def test_basic_reject(chart, crew, reader, agree, client, carrier, anna, addresses):
    """Nothing is granted, what was is revoked, and the glass stays whole too."""
    shares = agree(consent(actor=CLINIC))
    assert sees(reader, shares) == SHOWN
    client.carry(client.break_glass(crew.account, anna.address, "BTG", client.now() + 3600), carrier)
    unmappable(consent("deny"), "deny")
    client.carry(client.revoke_all(anna), carrier)
    client.carry(client.set_emergency(anna, False), carrier)
    reader.refused("Observation/f001", 403, "AllRevoked")
    for purpose in ("TREAT", "HPAYMT", "HOPERAT"):
        oauth_refusal(reader.sign_in(purpose, shares=shares), "AllRevoked")
    oauth_refusal(crew.sign_in("BTG", emergency=anna.address), "EmergencyRefused")


def test_basic_research(chart, served, reader_of, reader, agree, institute):
    """For research, to the institute, within what a researcher is accredited for."""
    shares = agree(consent(purpose=purposes("HRESCH"), actor=[recipient("Organization/institute")]))
    researcher = reader_of(served, institute)
    assert sees(researcher, shares, "HRESCH") == SHOWN
    researcher.refused("Claim/100150", 403, "BeyondCap")
    oauth_refusal(researcher.sign_in("TREAT", shares=shares), "PurposeNotGranted")


# ---------------------------------------------------------------------- intermediate


def data(meaning, *references):
    return [{"meaning": meaning, "reference": {"reference": reference}} for reference in references]


def only_restricted_ones_left_out(served, reader, agree, identity):
    """The way round: the custodian labels what shall stay away, and all else is granted."""
    put(served, **observation(identity, effectiveDateTime="2022-06-13", meta=label("R")))
    assert sees(reader, agree(consent(actor=CLINIC))) == SHOWN - {f"Observation/{identity}"}


def test_intermediate_timeframe():
    unmappable(consent(actor=CLINIC, dataPeriod={"start": "2022-01-01", "end": "2022-12-31"}), "data-period")


def test_intermediate_not_timeframe(chart, served, reader, agree):
    exception = {"type": "deny", "dataPeriod": {"start": "2022-01-01", "end": "2022-12-31"}}
    unmappable(consent(actor=CLINIC, provision=[exception]), "nested")
    only_restricted_ones_left_out(served, reader, agree, "early")


def test_intermediate_authoredby():
    unmappable(consent(actor=CLINIC, data=data("authoredby", "Practitioner/1")), "data")


def test_intermediate_not_authoredby(chart, served, reader, agree):
    exception = {"type": "deny", "data": data("authoredby", "Practitioner/1")}
    unmappable(consent(actor=CLINIC, provision=[exception]), "nested")
    only_restricted_ones_left_out(served, reader, agree, "early")


def test_intermediate_encounter():
    unmappable(consent(actor=CLINIC, data=data("related", "Encounter/1")), "data")


def test_intermediate_not_encounter(chart, served, reader, agree):
    exception = {"type": "deny", "data": data("related", "Encounter/1")}
    unmappable(consent(actor=CLINIC, provision=[exception]), "nested")
    only_restricted_ones_left_out(served, reader, agree, "early")


def test_intermediate_data():
    unmappable(consent(actor=CLINIC, data=data("instance", "Observation/early", "Encounter/1")), "data")


def test_intermediate_not_data(chart, served, reader, agree):
    exception = {"type": "deny", "data": data("instance", "Observation/late")}
    unmappable(consent(actor=CLINIC, provision=[exception]), "nested")
    only_restricted_ones_left_out(served, reader, agree, "late")


def test_intermediate_purpose(chart, served, reader_of, agree, institute):
    """A purpose of a house's own is none; the research that it stands for is granted as research."""
    institutes = [recipient("Organization/institute")]
    unmappable(consent(purpose=[coded("https://hospital.example/purposes", "Heart")], actor=institutes), "purpose")
    shares = agree(consent(purpose=purposes("DSRCH"), actor=institutes))
    researcher = reader_of(served, institute)
    assert sees(researcher, shares, "DSRCH") == SHOWN
    oauth_refusal(researcher.sign_in("HRESCH", shares=shares), "PurposeNotGranted")


def test_dissent_break_glass(chart, crew, reader, client, carrier, anna, doctor):
    """Nothing is granted to anybody, and emergencies stay allowed: who breaks the glass reads, and nobody else."""
    exception = {"type": "permit", "purpose": purposes("BTG"), "actor": [recipient("Organization/ambulance")]}
    unmappable(consent("deny", purpose=None, provision=[exception]), "deny")
    oauth_refusal(crew.sign_in("BTG", emergency=anna.address), "NoEmergency")
    client.carry(client.break_glass(crew.account, anna.address, "BTG", client.now() + 3600), carrier)
    assert crew.sign_in("BTG", emergency=anna.address).status_code == 200
    assert shown(crew) == SHOWN | {"Observation/secret"}
    never_carried = client.grant(anna, doctor.address, b"\x77" * 32, from_consent(consent(actor=CLINIC))[0].terms)[1]
    oauth_refusal(reader.sign_in(shares=[never_carried]), "NoGrant")


# ---------------------------------------------------------------------- advanced


def test_advanced_normal(chart, reader, agree):
    shares = agree(consent(actor=CLINIC, securityLabel=levels("N")))
    assert shares[0].terms.categories == EVERYTHING
    assert sees(reader, shares) == SHOWN


def test_advanced_normal_not_restricted(chart, reader, agree):
    """The exception says nothing that the permission did not; without it it is a grant."""
    whole = consent(actor=CLINIC, securityLabel=levels("N"), provision=[{"type": "deny", "securityLabel": levels("R")}])
    unmappable(whole, "nested")
    plain = copy.deepcopy(whole)
    del plain["provision"]["provision"]
    assert sees(reader, agree(plain)) == SHOWN


def test_advanced_normal_restricted(chart, reader, agree):
    shares = agree(consent(actor=CLINIC, securityLabel=levels("N", "R")))
    assert shares[0].terms.categories == EVERYTHING | RESTRICTED
    assert sees(reader, shares) == SHOWN | {"Observation/secret"}


def focused(labels):
    """Normal records for the clinic, and more for one practitioner: one Consent, as PCF has it."""
    more = {"type": "permit", "securityLabel": labels, "actor": [recipient("Practitioner/psychiatrist")]}
    return consent(actor=CLINIC, securityLabel=levels("N"), provision=[more])


def as_two_consents_show(served, reader, reader_of, agree, psychiatrist):
    """The way round: one Consent for each of the two, and so two grants."""
    normal = agree(consent(actor=CLINIC, securityLabel=levels("N")))
    more = agree(consent(actor=[recipient("Practitioner/psychiatrist")], securityLabel=levels("N", "R")))
    assert sees(reader, normal) == SHOWN
    assert sees(reader_of(served, psychiatrist), more) == SHOWN | {"Observation/secret"}
    oauth_refusal(reader.sign_in(shares=more), "ShareOfAnother")


def test_advanced_normal_focused_restricted(chart, served, reader, reader_of, agree, psychiatrist):
    unmappable(focused(levels("R")), "nested")
    as_two_consents_show(served, reader, reader_of, agree, psychiatrist)


def test_advanced_normal_focused_psy(chart, served, reader, reader_of, agree, psychiatrist):
    """Of sensitivities a grant knows one: that there is any. So a psychiatric record is a restricted one."""
    unmappable(focused([coded(V3 + "ActCode", "PSY")]), "label")
    put(served, **observation("secret", meta={"security": [coded(V3 + "ActCode", "PSY")]}))
    as_two_consents_show(served, reader, reader_of, agree, psychiatrist)


def test_advanced_normal_focused_psy_or_sdv(chart, served, reader, reader_of, agree, psychiatrist):
    unmappable(focused([coded(V3 + "ActCode", code) for code in ("PSY", "SDV")]), "label")
    put(served, **observation("secret", meta={"security": [coded(V3 + "ActCode", "SDV")]}))
    as_two_consents_show(served, reader, reader_of, agree, psychiatrist)


def test_advanced_normal_break_glass_restricted(chart, crew, reader, agree, client, carrier, anna):
    """The grant is of normal records; whoever breaks the glass sees the restricted too, if accredited for them."""
    more = {
        "type": "permit",
        "purpose": purposes("BTG"),
        "securityLabel": levels("R"),
        "actor": [recipient("Organization/ambulance")],
    }
    unmappable(consent(actor=CLINIC, securityLabel=levels("N"), provision=[more]), "nested")
    shares = agree(consent(actor=CLINIC, securityLabel=levels("N")))
    assert sees(reader, shares) == SHOWN
    client.carry(client.break_glass(crew.account, anna.address, "BTG", client.now() + 3600), carrier)
    assert crew.sign_in("BTG", emergency=anna.address).status_code == 200
    assert shown(crew) == SHOWN | {"Observation/secret"}
    assert shown(reader) == SHOWN
