"""Signing in: whom the gatekeeper lets in, and whom it does not, by name."""

from __future__ import annotations

import re
from dataclasses import replace

import httpx
import pytest
from brownie import OwnedWallet
from brownie import accounts as brownie_accounts

from liggare.messages import HALF_ORDER
from liggare.records.audit import opened
from liggare.records.messages import Terms
from liggare.records.signin import LONGEST
from tests.records.conftest import EVER, EVERYTHING, SALT, organisation, role
from tests.records.releases import signed
from tests.support import FOREVER, pass_time
from tests.web.gatekeeper.conftest import CLINICAL, logged, oauth_refusal, refusal

ORDER = 2 * HALF_ORDER + 1


def test_a_grant_lets_in_with_what_it_covers(reader, share, served):
    answer = reader.sign_in(shares=[share])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert set(told) == {"access_token", "token_type", "expires_in", "scope", "patient"}
    assert re.fullmatch("[0-9a-f]{64}", told["access_token"])
    assert 590 < told["expires_in"] <= 600
    assert told["scope"] == "patient/Patient.rs patient/Condition.rs patient/Observation.rs"
    assert reader.get(f"Patient/{told['patient']}").status_code in (200, 404)
    assert reader.get("Observation/f001").status_code == 200


def test_a_scope_wider_than_the_grant_is_narrowed_and_told(reader, share):
    asked = ["patient/Observation.cruds", "patient/Claim.rs", "patient/Condition.r", "user/Observation.rs"]
    told = reader.sign_in("TREAT", asked, shares=[share]).json()
    assert told["scope"] == "patient/Observation.rs patient/Condition.r"
    reader.refused("Claim/100150", 403, "CategoryNotGranted")
    reader.refused("Patient/f001", 403, "ScopeNotGranted")
    reader.refused("Condition", 403, "ScopeNotGranted")
    assert reader.get("Condition/f001").status_code == 200


def test_a_scope_of_smart_v1_is_taken(reader, share):
    assert (
        reader.sign_in("TREAT", ["patient/Observation.read"], shares=[share]).json()["scope"]
        == "patient/Observation.rs"
    )


def test_nothing_of_the_scope_granted_is_refused_by_the_ledgers_reason(reader, share):
    oauth_refusal(reader.sign_in("TREAT", ["patient/Claim.rs"], shares=[share]), "CategoryNotGranted")


def test_a_purpose_that_is_not_granted_is_refused(reader, share):
    oauth_refusal(reader.sign_in("HPAYMT", shares=[share]), "PurposeNotGranted")


# ---------------------------------------------------------------------- once, here and now


def test_a_replayed_sign_in_is_refused(reader, share):
    text = reader.message(shares=[share])
    assert reader.post(text, [share]).status_code == 200
    oauth_refusal(reader.post(text, [share]), "NonceUsed")


def test_a_sign_in_that_was_refused_does_not_use_its_nonce_up(reader, share, hospital):
    text = reader.message(shares=[share])
    oauth_refusal(reader.post(text, [share], account=hospital), "WrongSigner")
    assert reader.post(text, [share]).status_code == 200


def test_a_nonce_of_another_or_of_nobody_is_refused(reader, share, insurer):
    others = reader.nonce(insurer)
    own = reader.nonce()
    flipped = own[:-1] + ("0" if own[-1] != "0" else "1")
    for nonce in (others, flipped, "0" * 66, "0123456789abcdef", own.upper() + "A" * 3, "x" * 66):
        oauth_refusal(reader.sign_in(shares=[share], nonce=nonce), "NonceUnknown")


def test_a_nonce_gets_too_old(reader, share, clock):
    nonce = reader.nonce()
    clock.ahead += 301
    oauth_refusal(reader.sign_in(shares=[share], nonce=nonce), "NonceExpired")


def test_future_dated_expired_and_too_long_are_refused(reader, share):
    oauth_refusal(reader.sign_in(shares=[share], late=60), "NotYet")
    oauth_refusal(reader.sign_in(shares=[share], late=-700), "Expired")
    oauth_refusal(reader.sign_in(shares=[share], lasts=LONGEST + 1), "TooLong")
    assert reader.sign_in(shares=[share], late=20).status_code == 200


def test_for_another_door_is_refused(reader, share, insurer):
    for changed, name in (
        (replace(reader.door, url="http://127.0.0.1:1"), "WrongDomain"),
        (replace(reader.door, url=reader.door.url + "/fhir"), "WrongUri"),
        (replace(reader.door, url=reader.door.url.replace("http", "https")), "WrongUri"),
        (replace(reader.door, chain_id=1), "WrongChain"),
        (replace(reader.door, custodian=insurer.address), "WrongCustodian"),
    ):
        oauth_refusal(reader.sign_in(shares=[share], door=changed), name)


def test_the_host_header_decides_nothing(reader, share):
    """A sign-in for the evil host is refused also where the request says that it was sent there."""
    evil = replace(reader.door, url="http://evil.example")
    reader.http.headers["host"] = "evil.example"
    oauth_refusal(reader.sign_in(shares=[share], door=evil), "WrongDomain")
    answer = reader.sign_in(shares=[share])
    assert answer.status_code == 200
    assert "evil" not in reader.get("Observation").text
    assert "evil" not in reader.get("metadata").text
    assert reader.http.get("/fhir/").status_code == 404  # and no redirect to it


# ---------------------------------------------------------------------- the shares shown


def test_a_share_of_another_grantee_is_refused(reader, share, give, anna, insurer):
    others = give(anna, insurer, CLINICAL)
    oauth_refusal(reader.sign_in(shares=[others]), "ShareOfAnother")


def test_a_twisted_share_is_refused(reader, share):
    text = reader.message(shares=[share])
    document = share.document()
    document["terms"]["categories"].append("Claim")
    oauth_refusal(reader.post(text, [document]), "ShareMalformed")  # out of order
    document["terms"]["categories"] = ["Patient", "Claim"]
    oauth_refusal(reader.post(text, [document]), "ShareUnnamed")
    wider = replace(share, terms=Terms.of(["Patient", "Claim"], ["TREAT"], 0, EVER))
    oauth_refusal(reader.sign_in(shares=[wider]), "OtherTerms")  # signed for as it is twisted
    oauth_refusal(reader.sign_in(shares=[replace(share, salt=bytes(32))]), "NoGrant")


def test_shares_are_those_that_the_message_names(reader, share, give, anna, doctor):
    other = give(anna, doctor, CLINICAL, salt=bytes(32))
    text = reader.message(shares=[share])
    for shown in ([], [other], [share, other], [share, share]):
        oauth_refusal(reader.post(text, shown), "ShareUnnamed")
    oauth_refusal(reader.post(text, [{"liggare": "share/1"}]), "ShareMalformed")


def test_a_share_of_another_chain_is_refused(reader, share, anna):
    for foreign in (replace(share, chain_id=1), replace(share, contract=anna.address)):
        oauth_refusal(reader.sign_in(shares=[foreign]), "ShareForeign")


def test_shares_of_two_patients_are_refused(reader, share, give, bo, doctor):
    oauth_refusal(reader.sign_in(shares=[share, give(bo, doctor, CLINICAL)]), "SharesDiffer")


def test_two_shares_of_one_patient_add_up(reader, share, give, anna, doctor):
    other = give(anna, doctor, Terms.of(["Claim"], ["TREAT"], 0, EVER), salt=bytes(32))
    told = reader.sign_in(shares=[share, other]).json()
    assert told["scope"] == "patient/Patient.rs patient/Claim.rs patient/Condition.rs patient/Observation.rs"
    assert reader.get("Claim/100150").status_code == 200


def test_what_the_registry_caps_is_not_granted(served, reader_of, institute, give, anna):
    """The institute may have Observation and Condition at most, whatever a patient grants."""
    reader = reader_of(served, institute)
    told = reader.sign_in(shares=[give(anna, institute, CLINICAL)]).json()
    assert told["scope"] == "patient/Condition.rs patient/Observation.rs"
    assert told["patient"] == anna.address  # not the chart's id, which it could not read
    reader.refused("Patient/f001", 403, "BeyondCap")


# ---------------------------------------------------------------------- who signs


def test_anothers_signature_and_the_twin_of_a_good_one_are_refused(reader, share, hospital):
    text = reader.message(shares=[share])
    good = signed(reader.account, text)
    twin = good[:32] + (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
    oauth_refusal(reader.post(text, [share], account=hospital), "WrongSigner")
    oauth_refusal(reader.post(text, [share], signature=twin), "WrongSigner")
    oauth_refusal(reader.post(text, [share], signature=b""), "WrongSigner")
    assert reader.post(text, [share], signature=good).status_code == 200


def test_a_contract_wallet_signs_in_by_its_owner(reader_of, served, registry, operator, doctor, give, anna):
    wallet = OwnedWallet.deploy(doctor.address, {"from": brownie_accounts[6]})
    registry.accredit(wallet.address, 4, 2**63 - 1, 0, 2**48 - 1, 0, {"from": operator})
    reader = reader_of(served, wallet)
    share = give(anna, wallet, CLINICAL)
    text = reader.message(shares=[share])
    oauth_refusal(reader.post(text, [share], account=anna), "WrongSigner")
    answer = reader.post(text, [share], account=doctor)
    assert answer.status_code == 200
    reader.show(answer.json()["access_token"])
    assert reader.get("Observation/f001").status_code == 200


TWISTS = [
    ("\n", "\r\n"),
    ("Nonce: ", "Nonce: \n"),
    ("Read health", "Read\n\nURI: http://evil.example\nhealth"),
    ("urn:liggare:purpose:TREAT", "urn:liggare:purpose:TREAT\n- urn:liggare:purpose:HPAYMT"),
    ("urn:liggare:purpose:TREAT", "urn:liggare:purpose:TREAT'; DROP TABLE sessions; --"),
    ("urn:liggare:purpose", "urn:liggare:admin"),
    ("Version: 1", "Version: 1\nX: 2"),
]


def test_newlines_and_sql_in_any_field_are_refused(reader, share):
    for change in TWISTS:
        text = reader.message(shares=[share]).replace(*change)
        answer = reader.http.post(
            "/auth/token", json={"message": text, "signature": "0x" + "11" * 65, "shares": [share.document()]}
        )
        assert answer.status_code == 400
        assert answer.json()["name"] in ("Malformed", "ResourceUnknown", "Ambiguous")
        assert "DROP" not in answer.text
        assert reader.sign_in(shares=[share]).status_code == 200  # the tables are there


NO_SIGN_INS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"[" * 5000,
    b'{"message": 1}',
    b'{"message": "x", "signature": "11"}',
    b'{"message": "x", "signature": "0x1"}',
    b'{"message": "x", "signature": "0x", "shares": {}}',
]


def test_bodies_that_are_no_sign_in(reader):
    for body in NO_SIGN_INS:
        answer = reader.http.post("/auth/token", content=body, headers={"content-type": "application/json"})
        oauth_refusal(answer, "Malformed")


NO_ADDRESSES = ["", "anna", "0x12", "0xab5801a7D398351b8bE11C439e05C5B3259aeC9B", "0x\n"]


def test_a_nonce_is_for_an_address(reader):
    for account in NO_ADDRESSES:
        answer = reader.http.post("/auth/nonce", json={"address": account})
        oauth_refusal(answer, "InvalidAddress")


# ---------------------------------------------------------------------- patients, emergencies, staff


def test_a_patient_reads_its_own_records_and_log(served, reader_of, signed_in, anna):
    signed_in.get("Observation/f001")
    patient = reader_of(served, anna)
    told = patient.sign_in("PATRQT", patient=anna.address).json()
    assert "patient/Claim.rs" in told["scope"]
    assert patient.get("Claim/100150").status_code == 200
    entries = patient.http.get(f"/log/{anna.address}").json()["later"]
    assert [entry["event"]["entity"][1]["what"]["reference"] for entry in entries] == [
        "Observation/f001",
        "Claim/100150",
    ]
    refusal(signed_in.http.get(f"/log/{anna.address}"), 403, "NotThePatient")


def test_somebody_else_is_not_the_patient(served, reader_of, anna, bo):
    mallory = reader_of(served, bo)
    oauth_refusal(mallory.sign_in("PATRQT", patient=anna.address), "NotTheActor")
    oauth_refusal(mallory.sign_in("FAMRQT", patient=anna.address), "NotTheActor")
    oauth_refusal(mallory.sign_in("TREAT", patient=anna.address), "WrongPurpose")
    assert mallory.sign_in("PATRQT", patient=bo.address).status_code == 200
    refusal(mallory.http.get(f"/log/{anna.address}"), 403, "NotThePatient")


def test_a_guardian_who_may_read_reads_as_the_patient(served, reader_of, client, carrier, anna, bo):
    child, parent = reader_of(served, anna), reader_of(served, bo)
    oauth_refusal(parent.sign_in("FAMRQT", patient=anna.address), "NotTheActor")
    client.carry(client.appoint(anna, anna.address, bo.address, ["grant"], FOREVER), carrier)
    oauth_refusal(parent.sign_in("FAMRQT", patient=anna.address), "NotTheActor")  # may grant, not read
    client.carry(client.appoint(anna, anna.address, bo.address, ["read"], FOREVER), carrier)
    assert parent.sign_in("FAMRQT", patient=anna.address).status_code == 200
    assert parent.get("Claim/100150").status_code == 200
    assert parent.http.get(f"/log/{anna.address}").status_code == 200
    oauth_refusal(parent.sign_in("PATRQT", patient=anna.address), "NotTheActor")  # it is not the patient itself
    assert child.sign_in("PATRQT", patient=anna.address).status_code == 200
    client.carry(client.dismiss(anna, anna.address, bo.address), carrier)
    parent.refused("Claim/100150", 403, "NotTheActor")
    refusal(parent.http.get(f"/log/{anna.address}"), 403, "NotTheActor")


def test_a_grant_by_a_guardian_lets_in_until_the_guardian_is_dismissed(reader, client, carrier, anna, bo, doctor):
    client.carry(client.appoint(anna, anna.address, bo.address, ["grant"], FOREVER), carrier)
    signed_, share = client.grant_for(bo, anna.address, doctor.address, bytes(32), CLINICAL)
    client.carry(signed_, carrier)
    assert share.author == bo.address
    assert reader.sign_in(shares=[share]).status_code == 200
    assert reader.get("Observation/f001").status_code == 200
    client.carry(client.dismiss(anna, anna.address, bo.address), carrier)
    reader.refused("Observation/f001", 403, "NotAuthor")


@pytest.fixture
def ambulance(registry, operator):
    """An accredited emergency service, which may break the glass twice a day."""
    made = organisation("ambulance")
    registry.accredit(made.address, role("emergency"), EVERYTHING, 0, FOREVER, 2, {"from": operator})
    return made


def test_a_broken_glass_lets_in_and_is_written_down(served, reader_of, ambulance, client, carrier, anna):
    crew = reader_of(served, ambulance)
    oauth_refusal(crew.sign_in("ETREAT", emergency=anna.address), "NoEmergency")
    client.carry(client.break_glass(ambulance, anna.address, "ETREAT", client.now() + 3600), carrier)
    oauth_refusal(crew.sign_in("HPAYMT", emergency=anna.address), "WrongPurpose")
    oauth_refusal(crew.sign_in("BTG", emergency=anna.address), "PurposeNotGranted")  # for another reason
    assert crew.sign_in("ETREAT", emergency=anna.address).status_code == 200
    assert crew.get("Observation/f001").status_code == 200
    [entry] = logged(served)
    release = opened(entry).release
    assert (release.emergency, release.reader, release.patient) == (True, ambulance.address, anna.address)


def test_a_patient_who_wants_no_emergency_is_not_read(served, reader_of, ambulance, client, carrier, anna):
    client.carry(client.break_glass(ambulance, anna.address, "ETREAT", client.now() + 3600), carrier)
    crew = reader_of(served, ambulance)
    assert crew.sign_in("ETREAT", emergency=anna.address).status_code == 200
    client.carry(client.set_emergency(anna, False), carrier)
    crew.refused("Observation/f001", 403, "EmergencyRefused")


def test_a_suspended_service_reads_by_no_broken_glass(
    served, reader_of, ambulance, client, carrier, anna, registry, operator
):
    client.carry(client.break_glass(ambulance, anna.address, "ETREAT", client.now() + 3600), carrier)
    crew = reader_of(served, ambulance)
    assert crew.sign_in("ETREAT", emergency=anna.address).status_code == 200
    registry.suspend(ambulance.address, {"from": operator})
    crew.refused("Observation/f001", 403, "GranteeSuspended")


def test_the_staff_is_named_by_the_custodian(served, reader_of, hospital, insurer):
    assert reader_of(served, hospital).sign_in("HOPERAT", ["user/*.cu"]).status_code == 200
    oauth_refusal(reader_of(served, insurer).sign_in("HOPERAT", ["user/*.cu"]), "NotStaff")


def test_more_staff(serve, reader_of, insurer):
    with serve(staff=[insurer.address]) as served:
        assert reader_of(served, insurer).sign_in("HOPERAT", ["user/*.cu"]).status_code == 200


# ---------------------------------------------------------------------- tokens


GUESSES = ["", "x", "0" * 64, "00" * 31, "é" * 64, "' OR 1=1 --", "a b"]


def test_a_guessed_token_is_refused(signed_in):
    for shown in GUESSES:
        for header in (f"Bearer {shown}", f"Basic {shown}", shown):
            answer = signed_in.http.get("/fhir/Observation/f001", headers={"authorization": header.strip().encode()})
            refusal(answer, 401, "SessionEnded")
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_without_a_token_nothing_is_shown_and_a_url_may_not_hold_it(signed_in):
    token = signed_in.http.headers.pop("authorization").partition(" ")[2]
    for path in (
        "Observation/f001",
        "Observation",
        "Patient/f001/$everything",
        f"Observation/f001?access_token={token}",
    ):
        signed_in.refused(path, 401, "SessionEnded")


def test_a_token_ends_when_it_expires(signed_in, clock):
    clock.ahead += 599
    assert signed_in.get("Observation/f001").status_code == 200
    clock.ahead += 2
    signed_in.refused("Observation/f001", 401, "SessionEnded")
    signed_in.refused("Observation", 401, "SessionEnded")


def test_a_token_ends_when_its_reader_signs_out(signed_in, served):
    token = signed_in.http.headers["authorization"]
    assert signed_in.http.post("/auth/revoke").status_code == 200
    signed_in.refused("Observation/f001", 401, "SessionEnded")
    assert signed_in.http.post("/auth/revoke").status_code == 200  # twice is once
    answer = httpx.get(f"{served.url}/fhir/Observation/f001", headers={"authorization": token})
    refusal(answer, 401, "SessionEnded")


def test_a_session_is_found_after_a_restart_and_its_row_tells_nothing(serve, reader_of, share, doctor, anna, tmp_path):
    with serve() as served:
        reader = reader_of(served, doctor)
        assert reader.sign_in(shares=[share]).status_code == 200
        token = reader.http.headers["authorization"].partition(" ")[2]
        port = int(served.url.rpartition(":")[2])
    with serve(port=port, filled=False):
        assert reader.get("Observation/f001").status_code == 200
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("gatekeeper.db*"))
    assert bytes.fromhex(token) not in raw
    assert token.encode() not in raw


def refused_after(reader, open_page, name):
    """The next request is refused, for records, searches and pages that were open."""
    reader.refused("Observation/f001", 403, name)
    reader.refused("Observation", 403, name)
    reader.refused("Observation?_count=0", 403, name)
    refusal(reader.http.get(open_page), 403, name)
    reader.refused("Observation/there-is-none", 403, name)


@pytest.fixture
def open_page(signed_in):
    """A page that was asked for one by one; the link to the next."""
    answer = signed_in.get("Observation?_count=1&_sort=-date").json()
    assert [link["relation"] for link in answer["link"]] == ["self"], "Anna has one Observation"
    everything = signed_in.get("Patient/f001/$everything?_count=1").json()
    return next(link["url"] for link in everything["link"] if link["relation"] == "next")


def test_a_token_used_after_revoke(signed_in, open_page, client, carrier, anna, doctor, served):
    client.carry(client.revoke(anna, doctor.address, SALT), carrier)
    before = len(logged(served))
    refused_after(signed_in, open_page, "Revoked")
    assert len(logged(served)) == before


def test_a_token_used_after_everything_was_revoked(signed_in, open_page, client, carrier, anna):
    client.carry(client.revoke_all(anna), carrier)
    refused_after(signed_in, open_page, "AllRevoked")


def test_a_token_used_after_suspension(signed_in, open_page, registry, operator, doctor):
    registry.suspend(doctor.address, {"from": operator})
    refused_after(signed_in, open_page, "GranteeSuspended")


def test_a_token_used_after_the_grant_ended_in_mid_session(reader, give, anna, doctor, clock):
    until = int(clock()) + 300
    share = give(anna, doctor, Terms.of(["Patient", "Observation"], ["TREAT"], 0, until))
    assert reader.sign_in(shares=[share]).status_code == 200
    assert reader.get("Observation/f001").status_code == 200
    page = reader.get("Patient/f001/$everything?_count=1").json()["link"][1]["url"]
    clock.ahead += 301
    refused_after(reader, page, "Expired")


def test_a_token_used_after_the_terms_were_changed(signed_in, open_page, client, carrier, anna, doctor):
    signed, _ = client.grant(anna, doctor.address, SALT, Terms.of(["Claim"], ["TREAT"], 0, EVER))
    client.carry(signed, carrier)
    refused_after(signed_in, open_page, "OtherTerms")


def test_time_passes_on_the_chain_too(signed_in):
    pass_time(1200)
    signed_in.refused("Observation/f001", 401, "SessionEnded")
