"""The index over HTTP: it tells what the chain has, says what is off, and does not drown."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from liggare.chain.connection import connect
from liggare.errors import IndexUnavailable
from liggare.web.ledger import application, assemble
from scripts.nodes import hang_up
from tests.ledger.conftest import Chain, chain
from tests.ledger.test_follower import until
from tests.nodes import wallet
from tests.support import ROOT
from tests.web.conftest import Served

__all__ = ["Chain", "chain"]

SCHEMATHESIS = ROOT / ".toolchain" / "schemathesis" / "bin" / "schemathesis"


@pytest.fixture
def serve(chain, tmp_path):
    """Serve the chain's ledger: `with serve(most=4) as http:`."""

    @contextmanager
    def serve(**words):
        w3 = connect(chain.proxy.url, timeout=2)
        service = assemble(w3, chain.record, f"sqlite:///{tmp_path}/index.db")
        with Served(service, application(service, **words)) as served, httpx.Client(base_url=served.url) as http:
            http.service = service
            yield http
        service.close()
        hang_up(w3)

    return serve


@pytest.fixture
def http(serve, chain):
    """A client of a service that has read what there was."""
    with serve() as http:
        read(http, chain)
        yield http


def read(http, chain):
    """Wait until the service has read the chain."""
    until(lambda: http.get("/health").json()["block"] == chain.node.w3.eth.block_number)


def of_chain(chain):
    """Return the chain's events as the service should tell them, newest first."""
    told = []
    for row in reversed(chain.rows()):
        arguments = {
            name: "0x" + value.hex() if isinstance(value, bytes) else value if isinstance(value, bool) else str(value)
            for name, value in row.arguments.items()
        }
        place = {"block": row.block, "blockHash": row.block_hash, "time": row.timestamp}
        place |= {"transaction": row.transaction, "logIndex": row.log_index}
        told.append({**place, "contract": row.contract, "event": row.event, "arguments": arguments})
    return told


def test_everything_is_told_page_by_page(http, chain):
    for member in range(5):
        chain.mint(member, 2**100)
    read(http, chain)
    told, before = [], None
    while True:
        found = http.get("/v1/events", params={"most": 2} | ({} if before is None else {"before": before})).json()
        assert 0 < len(found["events"]) <= 2
        told += found["events"]
        before = found["next"]
        if before is None:
            break
    assert told == of_chain(chain)
    about = http.get("/v1/ledger").json()
    assert about["totals"]["ZeroFeePayments.Transfer"] == {"count": 5, "value": str(5 * 2**100)}
    assert about["contracts"] == {name: item.address for name, item in chain.record.contracts.items()}


def test_an_account_is_found_in_any_spelling_but_a_wrong_one(http, chain):
    chain.mint(3)
    chain.mint(4)
    read(http, chain)
    who = wallet(3).address
    expected = [event for event in of_chain(chain) if who in event["arguments"].values()]
    for words in (who, who.lower(), "0x" + who[2:].upper()):
        assert http.get("/v1/events", params={"about": words}).json()["events"] == expected
    wrong = who[:-1] + who[-1].swapcase() if who[-1].isalpha() else who.replace(who[2:], who[2:].swapcase())
    answer = http.get("/v1/events", params={"about": wrong})
    assert (answer.status_code, answer.json()["name"]) == (422, "InvalidAddress")
    both = http.get("/v1/events", params={"about": [who, "event:ZeroFeePayments.Transfer"]}).json()["events"]
    assert both == [event for event in expected if event["event"] == "Transfer"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?about=<script>alert(1)</script>",
        "/v1/events?about=slot:-1",
        "/v1/events?about=slot:1%00",
        "/v1/events?about=' OR 1=1 --",
        "/v1/events?about=event:%25.%25",
        "/v1/events?about=" + "0x" + "1" * 5000,
        "/v1/events?most=501",
        "/v1/events?before=-1",
        "/v1/events?before=99999999999999999999",
        "/v1/transactions/0x12",
        "/v1/payments/0x" + "1" * 64 + "/x",
        "/v1/log-heads/home:3",
        "/v1/log-heads/0x" + "g" * 40,
        "/v1/events?about=home:1&about=home:1&about=home:1&about=home:1&about=home:1",
    ],
)
def test_what_makes_no_sense_is_refused_by_name(http, path):
    answer = http.get(path)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "<script>" not in answer.text


def test_what_is_not_there_is_said_to_be_unknown(http):
    nothing = "0x" + "ab" * 32
    for path in (f"/v1/transactions/{nothing}", f"/v1/payments/{nothing}/0"):
        answer = http.get(path)
        assert (answer.status_code, answer.json()["name"]) == (404, "Unknown")
    assert http.get("/v1/events", params={"about": nothing}).json() == {"events": [], "next": None}
    assert http.get("/v1/prices").json() == {"events": [], "next": None}
    assert http.get("/v1/grants").json() == {"events": [], "next": None}
    assert http.post("/v1/events").status_code == 405


def test_a_payment_is_told_with_its_authorization(http, chain):
    receipt = chain.mint(3)
    read(http, chain)
    place = receipt["transactionHash"].to_0x_hex(), receipt["logs"][0]["logIndex"]
    found = http.get(f"/v1/payments/{place[0]}/{place[1]}").json()
    assert found["authorization"] is None
    assert found["transfer"]["arguments"]["to"] == wallet(3).address
    assert http.get(f"/v1/payments/{place[0]}/{place[1] + 1}").status_code == 404


def test_an_answer_that_has_not_changed_is_not_sent_again(http, chain):
    first = http.get("/v1/events")
    again = http.get("/v1/events", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    chain.mint()
    read(http, chain)
    assert http.get("/v1/events", headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_stream_tells_each_block_once_and_goes_on_after_a_break(http, chain):
    def messages(stream, count):
        found = []
        for line in stream.iter_lines():
            if line.startswith("id:"):
                found.append([line[4:]])
            elif line.startswith("event:"):
                found[-1].append(line[7:])
            elif line.startswith("data:"):
                found[-1].append(json.loads(line[6:]))
                if len(found) == count:
                    return found
        raise AssertionError("the stream ended")

    def later(*members):
        threading.Timer(0.7, lambda: [chain.mint(member) for member in members]).start()

    with http.stream("GET", "/v1/changes", timeout=10) as stream:
        later(1, 2)
        told = messages(stream, 2)
    assert [each[1] for each in told] == ["block", "block"]
    chain.mint(3)
    read(http, chain)
    mark = chain.node.rpc("evm_snapshot")
    with http.stream("GET", "/v1/changes", timeout=10, headers={"Last-Event-ID": told[0][0]}) as stream:
        (second, third) = messages(stream, 2)
    assert second == told[1]
    assert [event for each in (told[0], second, third) for event in each[2]["events"]] == of_chain(chain)[2::-1]
    chain.mint(4)
    read(http, chain)
    with http.stream("GET", "/v1/changes", timeout=10) as stream:
        chain.node.rpc("evm_revert", mark)
        chain.mine()
        later(5)
        assert messages(stream, 1)[0][1] == "turned"


def test_a_chain_that_is_down_is_told_and_what_is_indexed_stays(http, chain):
    chain.mint(3)
    read(http, chain)
    before = http.get("/v1/events").json()
    chain.proxy.status = 503
    until(lambda: http.get("/health").status_code == 503)
    assert "HTTP 503" in http.get("/health").json()["trouble"]
    assert http.get("/v1/events").json() == before
    chain.proxy.status = 200
    until(lambda: http.get("/health").status_code == 200)


def test_a_database_that_goes_away_is_named(http, monkeypatch):
    def gone():
        raise IndexUnavailable("OperationalError")

    monkeypatch.setattr(http.service.ledger, "health", gone)
    answer = http.get("/v1/events")
    assert (answer.status_code, answer.json()["name"]) == (503, "IndexUnavailable")
    assert answer.headers["retry-after"] == "5"


def test_a_crowd_is_refused_in_part_and_the_service_lives(serve, chain):
    """2,000 requests by 200 at a time; 10,000 in the benchmark of the pages."""
    with serve(most=2) as http:
        read(http, chain)
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)
        with httpx.Client(base_url=http.base_url, limits=limits, timeout=30) as crowd, ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(lambda _: crowd.get("/v1/events"), range(2000)))
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) == {200, 429}
        assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {"1"}
        assert http.get("/v1/events").status_code == 200


def test_the_manual_holds_against_whatever_is_thrown_at_it(http, chain, tmp_path):
    if not SCHEMATHESIS.exists():
        pytest.skip("there is no schemathesis here")
    chain.mint(3)
    config = tmp_path / "schemathesis.toml"
    # 422 is for what the document can't forbid: a wrong checksum
    config.write_text("[checks.positive_data_acceptance]\nexpected-statuses = ['2xx', 304, 404, 422]\n")
    command = [SCHEMATHESIS, "--config-file", config, "run", f"{http.base_url}/openapi.json", "--checks", "all"]
    command += ["--exclude-path", "/v1/changes", "--max-examples", "30", "--seed", "1", "--no-color"]
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=110, cwd=ROOT / ".toolchain")
    assert ran.returncode == 0, ran.stdout[-6000:]
