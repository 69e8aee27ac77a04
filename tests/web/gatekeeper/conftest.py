"""The gatekeeper as it runs, over loopback, with this run's chain behind it and the FHIR examples in its store.

The hospital is the custodian. Of the examples Anna's are the charts f001, 1, pat1 and 4, Bo's is the chart example.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from liggare.errors import LogUnavailable
from liggare.records.keyring import MasterKey
from liggare.records.messages import Terms
from liggare.records.signin import Door, build, parse
from liggare.web.gatekeeper import application, assemble
from scripts.nodes import free_port
from tests.conftest import isolation
from tests.records.conftest import (
    EVER,
    EVERYTHING,
    FHIR,
    SALT,
    access,
    accredited,
    carry,
    client,
    clinic,
    domain,
    give,
    hospital,
    hospital_sender,
    institute,
    insurer,
    organisation,
    registry,
    role,
)
from tests.records.releases import signed
from tests.support import FOREVER, now
from tests.web.conftest import Served

__all__ = [
    "access",
    "accredited",
    "carry",
    "client",
    "clinic",
    "domain",
    "give",
    "hospital",
    "hospital_sender",
    "institute",
    "insurer",
    "isolation",
    "registry",
]  # fmt: skip

MASTER = MasterKey(bytes(range(32)))
CHARTS = {"anna": ("Patient/f001", "Patient/1", "Patient/pat1", "Patient/4"), "bo": ("Patient/example",)}
CLINICAL = Terms.of(["Patient", "Observation", "Condition"], ["TREAT", "HRESCH"], 0, EVER)


def example(name):
    """One of HL7's examples."""
    return json.loads((FHIR / f"{name}.json").read_text())


EXAMPLES = sorted(path.stem for path in FHIR.glob("*.json"))


class Clock:
    """The time of chain and gatekeeper; `ahead` lets the gatekeeper's run ahead."""

    def __init__(self):
        self.begin = max(time.time(), now()) - time.monotonic()
        self.ahead = 0

    def __call__(self):
        return self.begin + time.monotonic() + self.ahead


class Reader:
    """Somebody with a key and an HTTP client."""

    def __init__(self, url, account, door, clock):
        self.http = httpx.Client(base_url=url, timeout=20)
        self.account, self.door, self.clock = account, door, clock

    def nonce(self, account=None):
        """A nonce of the server's."""
        answer = self.http.post("/auth/nonce", json={"address": (account or self.account).address})
        assert answer.status_code == 200, answer.text
        return answer.json()["nonce"]

    def message(
        self, purpose="TREAT", scopes=("patient/*.rs",), *, reader=None, nonce=None, lasts=600, late=0, **words
    ):
        """The text of a sign-in that is taken; any member can be changed."""
        issued = int(self.clock()) + late
        door = words.pop("door", self.door)
        reader = reader or self.account.address
        return build(door, reader, purpose, scopes, nonce or self.nonce(), issued, issued + lasts, **words)

    def post(self, text, shares=(), signature=None, account=None):
        """Bring a sign-in."""
        signature = signed(account or self.account, text) if signature is None else signature
        documents = [share if isinstance(share, dict) else share.document() for share in shares]
        body = {"message": text, "signature": "0x" + signature.hex(), "shares": documents}
        return self.http.post("/auth/token", json=body)

    def sign_in(self, *words, shares=(), **more):
        """Sign in; return what the server answers, and show the token from now on."""
        answer = self.post(self.message(*words, shares=shares, **more), shares)
        if answer.status_code == 200:
            self.show(answer.json()["access_token"])
        return answer

    def show(self, token):
        """Show this token from now on."""
        self.http.headers["authorization"] = f"Bearer {token}"

    def get(self, path, **words):
        """Ask for something under /fhir."""
        return self.http.get(f"/fhir/{path}", **words)

    def refused(self, path, status, name):
        """Ask, and expect this refusal; return it."""
        return refusal(self.get(path), status, name)

    def close(self):
        self.http.close()


def refusal(answer, status, name):
    """Expect an OperationOutcome of this status and name; return the answer."""
    assert (answer.status_code, refusal_name(answer)) == (status, name), answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    return answer


def refusal_name(answer):
    """The name of a refusal."""
    body = answer.json()
    return body["issue"][0]["details"]["coding"][0]["code"] if body.get("resourceType") == "OperationOutcome" else None


def oauth_refusal(answer, name, status=400):
    """Expect a refusal in OAuth's form."""
    assert (answer.status_code, answer.json().get("name")) == (status, name), answer.text
    assert answer.json()["error"]
    return answer


@pytest.fixture
def clock():
    """The gatekeeper's clock."""
    return Clock()


@pytest.fixture
def serve(w3, deployments, hospital_sender, accredited, anna, bo, clock, tmp_path):
    """Make a gatekeeper with the examples in it: `with serve() as served:`; words change its parts."""

    @contextmanager
    def serve(database=None, port=None, filled=True, **words):
        port = port or free_port()
        url = words.pop("url", f"http://127.0.0.1:{port}")
        sqlite = f"sqlite:///{tmp_path}/gatekeeper.db"
        parts = words.pop("w3", w3), deployments, hospital_sender, url, database or sqlite, tmp_path / "keyring", MASTER
        service = assemble(*parts, **{"clock": clock, "seconds": 3600.0, **words})
        try:
            if filled:
                for name in EXAMPLES:
                    service.desk.archive.put(example(name))
                service.desk.archive.link(anna.address, *CHARTS["anna"])
                service.desk.archive.link(bo.address, *CHARTS["bo"])
            with Served(service, application(service), port) as made:
                yield made
        finally:
            service.close()

    return serve


@pytest.fixture
def served(serve):
    """A gatekeeper with the examples in it."""
    with serve() as made:
        yield made


@pytest.fixture
def reader_of(clock):
    """Make a reader of a gatekeeper: `reader_of(served, insurer)`."""
    with ExitStack() as opened:

        def reader_of(served, account):
            made = Reader(served.url, account, served.service.desk.door, clock)
            opened.callback(made.close)
            return made

        yield reader_of


@pytest.fixture
def doctor(registry, operator, accredited):
    """A provider that reads at the hospital; accredited for everything."""
    made = organisation("doctor")
    registry.accredit(made.address, role("provider"), EVERYTHING, 0, FOREVER, 0, {"from": operator})
    return made


@pytest.fixture
def reader(served, reader_of, doctor):
    """The doctor, not signed in."""
    return reader_of(served, doctor)


@pytest.fixture
def share(give, anna, doctor):
    """Anna's grant to the doctor: Patient, Observation, Condition for treatment or research."""
    return give(anna, doctor, CLINICAL)


@pytest.fixture
def signed_in(reader, share):
    """The doctor, signed in by Anna's grant."""
    assert reader.sign_in(shares=[share]).status_code == 200
    return reader


@pytest.fixture
def staff(served, reader_of, hospital):
    """The custodian itself, signed in to write."""
    made = reader_of(served, hospital)
    assert made.sign_in("HOPERAT", ["user/*.cru"]).status_code == 200
    return made


def logged(served):
    """What is in the gatekeeper's access log."""
    return [json.loads(line) for line in served.service.desk.book.lines()]


def unavailable(*_, **__):
    """Stand in for a log that can't be written."""
    raise LogUnavailable("gone")


__all__ += ["SALT", "Door", "organisation", "parse"]
