"""Signing in: what a message must say, and what is refused, by name."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime, timezone

import pytest
import requests
from brownie import HostileWallet, OwnedWallet
from brownie import accounts as brownie_accounts
from brownie.test import given
from eth_account.messages import encode_defunct
from hypothesis import strategies as st
from siwe import SiweMessage

from liggare.chain.connection import connect
from liggare.errors import ChainUnreachable, SettingsError, SignInRefused
from liggare.messages import HALF_ORDER
from liggare.records.signin import (
    LONGEST,
    SKEW,
    Door,
    Scope,
    SignIn,
    ask_wallet,
    build,
    check,
    check_signature,
    digest,
    parse,
)

NOW = 1_800_000_000
NONCE = "0123456789abcdef"
ORDER = 2 * HALF_ORDER + 1


@pytest.fixture(scope="module")
def door(client, hospital):
    return Door("https://hospital.example/fhir-door", client.domain.chain_id, hospital.address)


@pytest.fixture(scope="module")
def share(client, anna, insurer, terms):
    return client.share(anna.address, insurer.address, bytes(32), terms)


@pytest.fixture(scope="module")
def written(door, insurer, share):
    """Write a message that is taken; any member can be changed."""

    def written(**changes):
        members = {
            "door": door,
            "reader": insurer.address,
            "purpose": "TREAT",
            "scopes": ["patient/Observation.rs"],
            "nonce": NONCE,
            "issued_at": NOW,
            "expiry": NOW + 600,
            "shares": [share],
        }
        return build(**{**members, **changes})

    return written


def refused_for(reason):
    return pytest.raises(SignInRefused, check=lambda error: error.name == reason)


def never(*_):
    """A wallet that is nobody's."""
    return False


def test_what_is_written_is_read_back(written, door, insurer, share, hospital):
    text = written(scopes=["patient/Observation.read", "patient/*.rs"], seal=bytes(range(32)))
    found = parse(text)
    assert found == SignIn(
        text,
        insurer.address,
        "hospital.example",
        door.url,
        door.chain_id,
        NONCE,
        NOW,
        NOW + 600,
        hospital.address,
        "TREAT",
        (Scope("patient", "Observation", "rs"), Scope("patient", "*", "rs")),
        (digest(share),),
        None,
        None,
        bytes(range(32)),
    )
    assert found.kind == "grants"
    check(found, door, NOW)


def test_the_kinds_of_readers(written, anna):
    assert parse(written(shares=[], patient=anna.address)).kind == "patient"
    assert parse(written(shares=[], emergency=anna.address)).kind == "emergency"
    assert parse(written(shares=[])).kind == "staff"


def test_the_library_takes_what_we_write_and_we_what_a_wallet_signs(written, insurer):
    text = written()
    signature = insurer.sign_message(encode_defunct(text=text)).signature
    message = SiweMessage.from_message(text, abnf=True)
    message.verify("0x" + signature.hex(), timestamp=datetime.fromtimestamp(NOW, timezone.utc))
    assert message.prepare_message() == text
    check_signature(parse(text), signature, never)
    assert parse(text).reader == insurer.address


# ---------------------------------------------------------------------- for this door


def test_of_another_domain_url_chain_or_custodian_is_refused(written, door, anna):
    for changed, reason in (
        (replace(door, url="https://evil.example/fhir-door"), "WrongDomain"),
        (replace(door, url="https://hospital.example"), "WrongUri"),
        (replace(door, url="http://hospital.example/fhir-door"), "WrongUri"),
        (replace(door, url="https://hospital.example:8443/fhir-door"), "WrongDomain"),
        (replace(door, chain_id=1), "WrongChain"),
        (replace(door, custodian=anna.address), "WrongCustodian"),
    ):
        with refused_for(reason):
            check(parse(written(door=changed)), door, NOW)


@pytest.mark.parametrize(
    "url", ["", "hospital.example", "ftp://x", "https://", "https://a/", "https://a b", "https://a\nb"]
)
def test_a_door_has_a_url(door, url):
    with pytest.raises(SettingsError):
        replace(door, url=url)


# ---------------------------------------------------------------------- in its time


@pytest.mark.parametrize(
    ("issued_at", "expiry", "now", "reason"),
    [
        (NOW, NOW + 600, NOW + 600, "Expired"),
        (NOW, NOW + 600, NOW + 10**6, "Expired"),
        (NOW, NOW, NOW, "Expired"),
        (NOW + 10, NOW, NOW - 5, "Expired"),
        (NOW, NOW + LONGEST + 1, NOW, "TooLong"),
        (NOW, NOW + 10 * 365 * 86_400, NOW, "TooLong"),
        (NOW, NOW + 600, NOW - SKEW - 1, "NotYet"),
        (NOW + 86_400, NOW + 86_400 + 600, NOW, "NotYet"),
    ],
)
def test_expired_too_long_or_future_dated_is_refused(written, door, issued_at, expiry, now, reason):
    found = parse(written(issued_at=issued_at, expiry=expiry))
    with refused_for(reason):
        check(found, door, now)


@pytest.mark.parametrize(("now", "expiry"), [(NOW, NOW + LONGEST), (NOW - SKEW, NOW + 1), (NOW + 599, NOW + 600)])
def test_the_edges_are_taken(written, door, now, expiry):
    check(parse(written(expiry=expiry)), door, now)
    assert parse(written(expiry=expiry)).expiry == expiry


def test_without_an_end_is_refused(written):
    text = written()
    with refused_for("TooLong"):
        parse(re.sub(r"\nExpiration Time: .*", "", text))


@pytest.mark.parametrize(
    "times",
    [
        "2027-02-30T08:00:00Z",
        "2027-13-01T08:00:00Z",
        "2027-01-15T25:00:00Z",
        "2027-01-15T08:00:60Z",
        "99999-01-15T08:00:00Z",
    ],
)
def test_times_that_there_are_not(written, times):
    with refused_for("Malformed"):
        parse(re.sub(r"Issued At: .*", f"Issued At: {times}", written()))


@pytest.mark.parametrize("same", ["2027-01-15T09:00:00+01:00", "2027-01-15T08:00:00.000Z", "2027-01-15T08:00:00.999Z"])
def test_a_time_may_be_written_in_its_ways(written, same):
    assert parse(re.sub(r"Issued At: .*", f"Issued At: {same}", written())).issued_at == NOW


# ---------------------------------------------------------------------- one clear meaning


def test_another_resource_is_refused(written):
    text = written()
    for line in (
        "urn:liggare:admin:0x01",
        "urn:liggare",
        "urn:other:purpose:TREAT",
        "https://hospital.example/fhir",
        "ipfs://x",
        "URN:liggare:scope:patient/Claim.rs",
    ):
        with refused_for("ResourceUnknown"):
            parse(f"{text}\n- {line}")


@pytest.mark.parametrize(
    "line",
    [
        "urn:liggare:purpose:HPAYMT",
        "urn:liggare:purpose:TREAT",
        "urn:liggare:custodian:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "urn:liggare:scope:patient/Observation.rs",
        "urn:liggare:patient:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "urn:liggare:emergency:0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    ],
)
def test_two_purposes_two_custodians_or_two_ways_to_read_are_refused(written, line):
    with refused_for("Ambiguous"):
        parse(f"{written()}\n- {line}")


def test_a_share_named_twice_is_refused(written, share):
    with refused_for("Ambiguous"):
        written(shares=[share, share])


@pytest.mark.parametrize("missing", ["custodian", "purpose"])
def test_a_custodian_and_a_purpose_have_to_be_named(written, missing):
    with refused_for(f"{missing.capitalize()}Missing"):
        parse(re.sub(rf"\n- urn:liggare:{missing}:.*", "", written()))


def test_a_scope_has_to_be_named(written, door):
    with refused_for("ScopeMissing"):
        check(parse(written(scopes=[])), door, NOW)


def test_a_purpose_that_there_is_not(written, door):
    with refused_for("PurposeUnknown"):
        check(parse(written(purpose="PROFIT")), door, NOW)


@pytest.mark.parametrize(("way", "purpose"), [("patient", "TREAT"), ("emergency", "HPAYMT"), ("emergency", "PATRQT")])
def test_a_purpose_belongs_to_its_way(written, door, anna, way, purpose):
    found = parse(written(shares=[], purpose=purpose, **{way: anna.address}))
    with refused_for("WrongPurpose"):
        check(found, door, NOW)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("patient/Observation.rs", "rs"),
        ("patient/Observation.r", "r"),
        ("patient/Observation.read", "rs"),
        ("patient/Observation.*", "cruds"),
        ("user/*.cu", "cu"),
        ("user/Patient.write", "cud"),
    ],
)
def test_scopes_of_smart(text, letters):
    assert Scope.parse(text).letters == letters


@pytest.mark.parametrize(
    "text",
    [
        "patient/Observation.",
        "patient/Observation",
        "patient/Observation.sr",
        "patient/Observation.rsx",
        "patient/observation.rs",
        "system/Observation.rs",
        "patient/Observation.rs?category=laboratory",
        "openid",
        "launch",
        "",
        "patient/Observation.rs\n",
    ],
)
def test_scopes_that_are_none_here(text):
    with refused_for("ScopeUnknown"):
        Scope.parse(text)


# ---------------------------------------------------------------------- written in one way only


@pytest.mark.parametrize(
    "inserted",
    ["\n", "\r\n", "\nURI: https://evil.example", "\n- urn:liggare:purpose:HPAYMT", "\x00", "\t", "å", "\u2028"],
)
def test_newlines_in_any_field_are_refused(written, inserted):
    """Header injection: each line, cut anywhere, with something between."""
    text = written()
    for place in range(0, len(text), 7):
        with pytest.raises(SignInRefused):
            parse(text[:place] + inserted + text[place:])


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("statement", "Read.\n\nURI: https://evil.example"),
        ("statement", "Read.\r"),
        ("nonce", "abcdefgh\nIssued At: 2020-01-01T00:00:00Z"),
        ("nonce", "short"),
        ("purpose", "TREAT\n- urn:liggare:purpose:HPAYMT"),
        ("scopes", ["patient/Claim.rs\n- urn:liggare:scope:patient/*.rs"]),
        ("scopes", ["patient/Claim.rs'; DROP TABLE sessions; --"]),
    ],
)
def test_newlines_and_sql_can_not_be_written_in(written, member, value):
    with pytest.raises(SignInRefused):
        written(**{member: value})


def test_more_lines_than_mean_something_are_refused(written):
    text = written()
    for changed in (
        text + "\n",
        "\n" + text,
        text.replace("\nResources:", "\nRequest ID: 7\nResources:"),
        text.replace("\nResources:", "\nRequest ID: \nResources:"),
        text.replace("\nResources:", "\nNot Before: 2027-01-15T08:00:00Z\nResources:"),
        "https://" + text,
        text.replace("Version: 1", "Version: 2"),
        text.replace("Chain ID: 1337", "Chain ID: 01337"),
        text.replace("Chain ID: 1337", "Chain ID: 0x539"),
        text.replace("Chain ID: 1337", "Chain ID: 0"),
    ):
        assert changed != text
        with refused_for("Malformed"):
            parse(changed)


def test_an_address_fails_its_checksum(written, insurer, hospital):
    text = written()
    for account in (insurer.address, hospital.address):
        with refused_for("Malformed"):
            parse(text.replace(account, account[:2] + account[2:].swapcase()))


@given(st.text(max_size=200))
def test_any_text_is_none(text):
    with pytest.raises(SignInRefused):
        parse(text)


def test_a_long_text_is_refused_at_once(written):
    """The library's grammar would need minutes for the first of these."""
    head, tail = written().split("URI: ")
    for text in ("x" * 16_000, "x" * 10**6, f"{head}URI: {'a:/?#' * 3000}\n{tail}", "a://" * 4000 + written()[:300]):
        began = time.perf_counter()
        with refused_for("Malformed"):
            parse(text)
        assert time.perf_counter() - began < 1


# ---------------------------------------------------------------------- signed by the reader


def test_anothers_signature_is_refused(written, insurer, hospital):
    found = parse(written())
    for account in (hospital, insurer):
        signature = bytearray(account.unsafe_sign_hash(found.hash).signature)
        if account is insurer:
            signature[5] ^= 1
        with refused_for("WrongSigner"):
            check_signature(found, bytes(signature), never)


def test_the_twin_of_a_signature_is_refused(written, insurer):
    found = parse(written())
    good = insurer.unsafe_sign_hash(found.hash).signature
    check_signature(found, good, never)
    twin = good[:32] + (ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big") + bytes([55 - good[64]])
    with refused_for("WrongSigner"):
        check_signature(found, twin, never)


@pytest.mark.parametrize("signature", [b"", b"\x00", bytes(65), bytes(64), b"\xff" * 65, bytes(10_000)])
def test_bytes_that_sign_nothing(written, signature, w3):
    with refused_for("WrongSigner"):
        check_signature(parse(written()), signature, ask_wallet(w3))


def test_a_change_of_the_text_needs_another_signature(written, insurer):
    signature = insurer.unsafe_sign_hash(parse(written()).hash).signature
    for changed in (written(purpose="HPAYMT"), written(expiry=NOW + 601), written(scopes=["patient/*.rs"])):
        with refused_for("WrongSigner"):
            check_signature(parse(changed), signature, never)


def test_a_contract_wallet_signs_by_its_owner(written, insurer, hospital, w3):
    wallet = OwnedWallet.deploy(insurer.address, {"from": brownie_accounts[6]})
    found = parse(written(reader=wallet.address, shares=[]))
    check_signature(found, insurer.unsafe_sign_hash(found.hash).signature, ask_wallet(w3))
    with refused_for("WrongSigner"):
        check_signature(found, hospital.unsafe_sign_hash(found.hash).signature, ask_wallet(w3))


@pytest.mark.parametrize("mood", range(4))
def test_a_hostile_wallet_signs_nothing(written, w3, mood):
    wallet = HostileWallet.deploy(mood, {"from": brownie_accounts[6]})
    found = parse(written(reader=wallet.address, shares=[]))
    with refused_for("WrongSigner"):
        check_signature(found, bytes(65), ask_wallet(w3))


def test_a_wallet_can_not_be_asked_without_a_chain(written, rpc_url):
    gone = connect(rpc_url)
    gone.provider.endpoint_uri = "http://127.0.0.1:1"
    with pytest.raises(ChainUnreachable) as caught:
        check_signature(parse(written()), bytes(65), ask_wallet(gone))
    assert not isinstance(caught.value, requests.RequestException)
