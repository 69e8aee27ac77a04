"""A gatekeeper from outside: a good one, and one that lies; what it gets to see, and what it can make one believe.

The good one is the service as it runs (`tests/cli/test_records_*.py` too); the liar is an HTTP server of this file.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from eth_account import Account

from liggare.errors import (
    GatekeeperRefused,
    GatekeeperUnreachable,
    LiggareError,
    SealBroken,
    SettingsError,
    SignInRefused,
)
from liggare.records.seal import new_private_key, public_key, seal
from liggare.records.visit import SEALED, Gatekeeper
from tests.web.gatekeeper.conftest import CLINICAL, clock, doctor, serve, served

__all__ = ["clock", "doctor", "serve", "served"]

TOKEN = "f00d" * 16
NONCE = "ab" * 16


class Liar:
    """A server that answers as it is told: `says[path] = (status, type, body)`; keeps what it was asked."""

    def __init__(self):
        self.says = {
            "/auth/nonce": (200, "application/json", {"nonce": NONCE}),
            "/auth/token": (200, "application/json", {"access_token": TOKEN, "scope": "patient/Observation.rs"}),
            "/auth/revoke": (200, "application/json", {}),
        }
        self.asked = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("content-length", 0))
                liar.asked.append((self.path, dict(self.headers), self.rfile.read(length)))
                status, kind, body = liar.says.get(self.path.partition("?")[0], (404, "text/plain", b"what?"))
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/fhir/Observation")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@pytest.fixture
def liar():
    """A server that lies when told to."""
    made = Liar()
    yield made
    made.close()


@pytest.fixture
def gate(liar, hospital, client):
    """The liar, taken for the hospital's gatekeeper."""
    with Gatekeeper(liar.url, hospital.address, client, timeout=5) as made:
        yield made


@pytest.fixture
def visit(gate, institute):
    """The institute, signed in at the liar's."""
    return gate.sign_in(institute, "TREAT", ["patient/Observation.rs"])


def bundle(*resources, following=None):
    links = [{"relation": "self", "url": "x"}, *([{"relation": "next", "url": following}] if following else [])]
    return {"resourceType": "Bundle", "link": links, "entry": [{"resource": each} for each in resources]}


# ---------------------------------------------------------------------- a good one


def test_a_visit_reads_searches_and_ends(served, hospital, client, give, anna, institute):
    share = give(anna, institute, CLINICAL)
    with Gatekeeper(served.url + "/", hospital.address, client) as gate:
        with gate.sign_in(institute, "HRESCH", ["patient/Observation.rs"], shares=[share]) as visit:
            assert visit.scopes == ("patient/Observation.rs",)
            assert visit.patient == anna.address
            assert visit.read("Observation/f001")["id"] == "f001"
            assert visit.read("Observation/f001/_history/1")["id"] == "f001"
            pages = list(visit.search("Observation", [("_count", "1")]))
            assert "f001" in {each["id"] for each in pages}
            with pytest.raises(GatekeeperRefused) as refusal:
                visit.read("Condition/f001")
            assert (refusal.value.name, refusal.value.status) == ("ScopeNotGranted", 403)
        with pytest.raises(GatekeeperRefused) as refusal:
            visit.read("Observation/f001")
        assert refusal.value.name == "SessionEnded"


def test_a_sealed_visit_reads_what_only_it_can_open(served, hospital, client, give, anna, doctor):
    share = give(anna, doctor, CLINICAL)
    with Gatekeeper(served.url, hospital.address, client) as gate:
        visit = gate.sign_in(doctor, "HRESCH", ["patient/*.rs"], shares=[share], sealed=True)
        assert visit.read("Observation/f001")["id"] == "f001"
        assert {each["resourceType"] for each in visit.everything("f001")} == {"Patient", "Observation", "Condition"}


def test_one_never_signs_for_another_custodian(served, client, insurer, institute):
    with Gatekeeper(served.url, insurer.address, client) as gate, pytest.raises(GatekeeperRefused) as refusal:
        gate.sign_in(institute, "TREAT", ["patient/*.rs"])
    assert refusal.value.name == "WrongCustodian"


# ---------------------------------------------------------------------- a liar


def test_what_is_signed_names_the_url_and_custodian_that_one_means(visit, liar, hospital, client):
    body = json.loads(next(body for path, _, body in liar.asked if path == "/auth/token"))
    assert f"URI: {liar.url}\n" in body["message"]
    assert f"urn:liggare:custodian:{hospital.address}" in body["message"]
    assert f"Chain ID: {client.domain.chain_id}\n" in body["message"]


@pytest.mark.parametrize(
    "nonce",
    ["short", "a" * 500, "ab12cd34\nResources:", "ab12 cd34", 7, None, "a\u00e5" * 8],
)
def test_a_nonce_that_would_change_what_is_signed_is_not_signed(gate, liar, institute, nonce):
    liar.says["/auth/nonce"] = (200, "application/json", {"nonce": nonce})
    with pytest.raises(GatekeeperUnreachable, match="is no gatekeeper"):
        gate.sign_in(institute, "TREAT", ["patient/*.rs"])
    assert [path for path, _, _ in liar.asked] == ["/auth/nonce"]


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"5", b"{}", {"access_token": "x\r\ny", "scope": ""}, {"scope": "x"}]
)
def test_what_is_no_sign_in_is_named(gate, liar, institute, body):
    for path in ("/auth/token", "/auth/nonce"):
        liar.says[path] = (200, "application/json", body)
        with pytest.raises(GatekeeperUnreachable, match="is no gatekeeper"):
            gate.sign_in(institute, "TREAT", ["patient/*.rs"])


@pytest.mark.parametrize(
    "following",
    [
        "http://127.0.0.1:1/fhir/Observation?_cursor=x",
        "{url}.evil.example/fhir/Observation",
        "{url}@evil.example/fhir/Observation",
        "/fhir/Observation",
        "{url}/log/x",
        5,
    ],
)
def test_the_token_goes_to_nobody_else(visit, liar, following):
    following = following.format(url=liar.url) if isinstance(following, str) else following
    first = {"resourceType": "Observation", "id": "1"}
    liar.says["/fhir/Observation"] = (200, "application/fhir+json", bundle(first, following=following))
    found = visit.search("Observation")
    assert next(found) == first
    before = len(liar.asked)
    with pytest.raises(GatekeeperUnreachable, match="the next page is not at"):
        next(found)
    assert len(liar.asked) == before


def test_a_next_page_that_is_no_url_is_one_line(visit, liar):
    page = bundle(following=f"{liar.url}/fhir/Observation\x00?_cursor=x")
    liar.says["/fhir/Observation"] = (200, "application/fhir+json", page)
    with pytest.raises(GatekeeperUnreachable):
        list(visit.search("Observation"))


def test_a_redirect_is_not_followed(visit, liar):
    liar.says["/fhir/Observation/1"] = (302, "text/plain", b"")
    with pytest.raises(GatekeeperUnreachable, match="HTTP 302"):
        visit.read("Observation/1")


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[1]", b"5", b"null", b"[" * 100_000])
def test_what_is_no_resource_is_named(visit, liar, body):
    liar.says["/fhir/Observation/1"] = (200, "application/fhir+json", body)
    with pytest.raises(GatekeeperUnreachable, match="no resource of FHIR"):
        visit.read("Observation/1")


@pytest.mark.parametrize("body", [{}, {"link": 5}, {"link": [], "entry": [{}]}, {"link": [{}], "entry": []}])
def test_what_is_no_bundle_is_named(visit, liar, body):
    liar.says["/fhir/Observation"] = (200, "application/fhir+json", body)
    with pytest.raises(GatekeeperUnreachable, match="no Bundle"):
        list(visit.search("Observation"))


def test_a_release_in_clear_or_sealed_for_another_is_not_taken(gate, liar, institute):
    """Somebody between could have read it, or made it."""
    visit = gate.sign_in(institute, "TREAT", ["patient/Observation.rs"], sealed=True)
    liar.says["/fhir/Observation/1"] = (200, "application/fhir+json", {"resourceType": "Observation"})
    with pytest.raises(GatekeeperUnreachable, match="not sealed, though"):
        visit.read("Observation/1")
    other = seal(public_key(new_private_key()), b"{}")
    liar.says["/fhir/Observation/1"] = (200, SEALED, other)
    with pytest.raises(SealBroken):
        visit.read("Observation/1")


def test_a_seal_that_nobody_asked_for(visit, liar):
    liar.says["/fhir/Observation/1"] = (200, SEALED, b"x" * 100)
    with pytest.raises(GatekeeperUnreachable, match="did not ask"):
        visit.read("Observation/1")


def test_a_refusal_does_nothing_to_a_terminal(visit, liar):
    told = {"issue": [{"details": {"coding": [{"code": "X\x1b[2J"}], "text": "no\x1b]0;owned\x07\n" * 1000}}]}
    liar.says["/fhir/Observation/1"] = (403, "application/fhir+json", told)
    with pytest.raises(GatekeeperRefused) as refusal:
        visit.read("Observation/1")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 1100


@pytest.mark.parametrize("body", [b"no", {"issue": []}, {"issue": [{}]}, {"name": "X"}, [], 5])
def test_a_refusal_without_a_name_is_no_gatekeepers(visit, liar, body):
    liar.says["/fhir/Observation/1"] = (500, "application/json", body)
    with pytest.raises(GatekeeperUnreachable, match=r"is no gatekeeper \(HTTP 500\)"):
        visit.read("Observation/1")


def test_a_session_that_cannot_be_ended_hides_nothing(visit, liar):
    liar.says["/auth/revoke"] = (500, "text/plain", b"")
    with pytest.raises(KeyError), visit:
        raise KeyError("what went wrong")


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://", "http://x/?y", "http://a b"])
def test_a_url_that_is_none(hospital, client, url):
    with pytest.raises(SettingsError):
        Gatekeeper(url, hospital.address, client)


def test_nothing_is_signed_that_no_custodian_would_take(gate, liar, institute):
    with pytest.raises(SignInRefused):
        gate.sign_in(institute, "TREAT", ["system/*.read"])
    assert [path for path, _, _ in liar.asked] == ["/auth/nonce"]


# ---------------------------------------------------------------------- secrets


def test_no_token_and_no_key_shows(gate, visit, liar, institute):
    sealed = gate.sign_in(institute, "TREAT", ["patient/*.rs"], sealed=True)
    told = [repr(visit), repr(sealed), str(sealed)]
    liar.says["/fhir/Observation/1"] = (500, "text/plain", TOKEN.encode())
    liar.says["/fhir/Observation/2"] = (200, "application/fhir+json", TOKEN.encode())
    for record in ("Observation/1", "Observation/2", "Observation/3"):
        with pytest.raises(LiggareError) as caught:
            sealed.read(record)
        told += [str(caught.value), repr(caught.value)]
    for text in told:
        assert TOKEN not in text
        assert sealed._key.hex() not in text
        assert str(sealed._key) not in text
    assert Account.from_key(institute.key).address == institute.address
    assert institute.key.hex() not in "".join(told)
