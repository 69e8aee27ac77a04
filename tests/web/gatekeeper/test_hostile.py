"""Hundreds of hostile requests, by a fixed seed: none breaks the gatekeeper, and none shows what is another's."""

from __future__ import annotations

import random
import re
import socket

import httpx
import pytest

from tests.web.gatekeeper.conftest import example, refusal
from tests.web.gatekeeper.test_read import observation, put
from tests.web.gatekeeper.test_write import send

SEED, REQUESTS = 20261125, 600
MARK = "Xylophone-of-another"
"""Stands in every record that the reader may not see."""
HIDDEN = re.compile(rf"{MARK}|Chalmers|blood-pressure|\"id\": ?\"example\"")

WORDS = [
    "f001", "example", "blood-pressure", "..", "%2e%2e", "%00", "", "'", '"', "' OR '1'='1",
    "x' UNION SELECT sealed FROM records--", "0", "-1", "1e999", "NaN", "true", "null", "None", "[]", "{}", "a" * 300,
    "ä", "☃", "\U0001f4a5", "%", "%zz", "%f0%28", "$everything", "_history", "_search", "*", "Patient/example",
    "Patient/f001", "http://127.0.0.1/fhir/Patient/example", "urn:uuid:0", "#p", "\\,", "|", "http://loinc.org|",
    "ge2013", "eq", "gt9999-12-31T23:59:60Z", "2013-02-30", "99999-01-01", "0000", "ap0001", "-date", "date,,date",
    "Observation:subject", "Claim:*", "Observation:subject:Patient", "Provenance:target", "Patient:link", "text",
    "count", "xml", "json", "9" * 40, "1" * 9, "0x" + "f" * 40,
]  # fmt: skip
KINDS = [
    "Observation", "Patient", "Condition", "Claim", "Group", "Practitioner", "AuditEvent", "Nope", "observation",
    "Bundle", "Parameters",
]  # fmt: skip
NAMES = [
    "_id", "code", "date", "patient", "subject", "status", "category", "_count", "_sort", "_include", "_revinclude",
    "_include:iterate", "_cursor", "_lastUpdated", "_summary", "_elements", "_format", "_has:Claim:patient:use",
    "subject:Patient.name", "code:not", "code:in", "date:missing", "_total", "_type", "_since", "_query", "_filter",
    "_contained", "", "ä", "patient:identifier", "_pretty", "_security", "_text", "_content", "_profile",
]  # fmt: skip
HEADERS = {
    "accept": ["application/fhir+json", "*/*", "text/html", "", "application/json;q=x", "a" * 2000],
    "prefer": ["handling=strict", "handling=lenient", "return=minimal", "handling=strict; x=\"y"],
    "if-match": ['W/"1"', '"1"', "*", "W/1", 'W/"99999999999"'],
    "if-none-match": ['W/"1"'],
    "content-type": ["application/fhir+json", "application/x-www-form-urlencoded", "application/json; charset=utf-16",
                     "multipart/form-data; boundary=x", "x"],
    "host": ["evil.example", "127.0.0.1", "", "a" * 200],
    "x-forwarded-for": ["10.0.0.1", "x, y", "::1"],
    "x-forwarded-host": ["evil.example"],
    "x-http-method-override": ["DELETE", "PUT"],
    "authorization": ["Bearer", "Bearer " + "0" * 64, "Basic eDp5", "bearer\tx", "Bearer é"],
    "cookie": ["session=1"],
    "expect": ["200-maybe"],
}  # fmt: skip
BODIES = [
    b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b"{}" * 1000, b'{"resourceType":"Observation"}', b"[" * 5000,
    b'{"a":1e400}', b"code=1&code=2", b"%zz=%zz", b"&&&", b"=", b"_cursor=AAAA", b"_count=-1", b'{"message":5}',
    b'{"address":"0x"}', b'{"address":[]}',
    b'{"resourceType":"Parameters","parameter":[{"name":"_count","valueQuantity":{"value":1}}]}',
    b'{"message":"x","signature":"0x","shares":[{}]}', b'{"message":"x","signature":"0x00","shares":[[[[]]]]}',
    b"\x00" * 100,
]  # fmt: skip


@pytest.fixture
def marked(served, signed_in):
    """The doctor, signed in by Anna's grant; what it may not read says so."""
    note = [{"text": MARK}]
    put(served, **observation("of-bo", "Patient/example", note=note))
    put(served, **observation("of-both", focus=[{"reference": "Patient/example"}], note=note))
    put(served, **observation("of-claim", contained=[{"resourceType": "Claim", "id": "c"}], note=note))
    put(
        served,
        **{**example("Claim-100150"), "id": "hers", "text": {"status": "generated", "div": f"<div>{MARK}</div>"}},
    )
    put(served, resourceType="Group", id="g", type="person", actual=True, name=MARK, member=[])
    return signed_in


def hostile(chance, cursor):
    """One request: method, path, parameters, headers, body."""
    word = lambda: chance.choice(WORDS)  # noqa: E731
    kind = chance.choice(KINDS) if chance.random() < 0.9 else word()
    path = chance.choice(
        [
            f"/fhir/{kind}",
            f"/fhir/{kind}/{word()}",
            f"/fhir/{kind}/{word()}/_history/{word()}",
            f"/fhir/{kind}/{word()}/{word()}",
            f"/fhir/Patient/{word()}/$everything",
            f"/fhir/{kind}/_search",
            f"/fhir/{word()}/{word()}/{word()}/{word()}",
            f"/log/{word()}",
            "/auth/nonce",
            "/auth/token",
            "/auth/revoke/",
            "/fhir/metadata",
            f"/{word()}",
        ]
    )
    pairs = [(chance.choice(NAMES), word()) for _ in range(chance.choice([0, 1, 1, 2, 3, 60]))]
    if chance.random() < 0.15:
        pairs = [("_cursor", chance.choice([cursor, cursor[:-4], cursor[::-1], "A" * 4000]))]
    headers = {
        name: chance.choice(values)
        for name, values in HEADERS.items()
        if chance.random() < (0.04 if name == "authorization" else 0.15)
    }
    method = chance.choice(["GET"] * 6 + ["POST"] * 3 + ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FOO"])
    return method, path, pairs, headers, chance.choice(BODIES)


def refusal_is_well_formed(method, path, answer):
    """Whether an answer that refuses is an OperationOutcome, or OAuth's where one signs in."""
    if method == "HEAD":
        return True
    body = answer.json()
    return (
        body.get("resourceType") == "OperationOutcome"
        or (path.startswith("/auth/") and "error" in body)
        or "name" in body
    )


def test_no_hostile_request_breaks_it_or_shows_what_is_anothers(served, marked):
    chance, answered = random.Random(SEED), {}
    cursor = re.search(r"_cursor=([\w=-]+)", marked.get("Patient/f001/$everything?_count=1").text)[1]
    for number in range(REQUESTS):
        method, path, pairs, headers, body = hostile(chance, cursor)
        request = marked.http.build_request(method, path, params=pairs, content=body)
        for name, value in headers.items():
            request.headers[name] = value
        answer = marked.http.send(request)
        told = f"request {number}: {method} {path[:80]!r} {headers} answered {answer.status_code} {answer.text[:300]}"
        assert answer.status_code < 500, told
        assert not HIDDEN.search(answer.text), told
        if answer.status_code >= 400:
            assert refusal_is_well_formed(method, path, answer), told
        answered[answer.status_code] = answered.get(answer.status_code, 0) + 1
    assert answered.keys() >= {200, 400, 401, 403, 404, 405, 406}  # it came past many doors
    assert marked.get("Observation/f001").status_code == 200  # and is well


RAW = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /fhir/Observation/f001 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"\x00\xff\r\n\r\n",
    b"GET  HTTP/9.9\r\n\r\n",
    b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /fhir/Observation HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /fhir/Observation/f001 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \x80\r\n\r\n",
    b"GET /fhir/Observation/f001?a=" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /fhir/Observation HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    b"GET http://evil.example/fhir/Observation/f001 HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_what_is_no_http_is_refused_and_the_next_is_served(served, raw):
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as line:
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        line.settimeout(10)
        answer = b""
        while part := line.recv(65_536):
            answer += part
    assert re.match(rb"(HTTP/1\.1 4\d\d |$)", answer), answer[:200]
    assert httpx.get(f"{served.url}/fhir/metadata").status_code == 200


def parameters(**members):
    return {"resourceType": "Parameters", "parameter": [members]}


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"{", 400, "ResourceInvalid"),
        (b'{"resourceType":"Observation","status":"final","code":{"text":"x"}}', 422, "ResourceInvalid"),
        (parameters(name="_count", valueQuantity={"value": 1}), 400, "SearchInvalid"),
        (parameters(name="_count", valueBoolean=True), 400, "SearchInvalid"),
        (parameters(name="start", valueDate="2013-01-01"), 400, "SearchInvalid"),
        (parameters(name="_type", valueString="Group"), 400, "SearchInvalid"),
    ],
)
def test_an_operations_parameters_are_plain_or_refused(signed_in, body, status, name):
    refusal(send(signed_in, "POST", "Patient/f001/$everything", body), status, name)
