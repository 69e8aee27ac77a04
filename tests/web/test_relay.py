"""The relay's service by HTTP: its manual holds, refusals have names, and every step is told."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time

import httpx
import pytest

from liggare.errors import PaymentFailed, PaymentUncertain, RelayLied, RelayRefused, RelayUnreachable
from liggare.payments.relay import Relay, State
from liggare.payments.wire import document
from liggare.records import wire
from liggare.relay.refusals import REFUSALS
from liggare.relay.terms import Pace
from tests.nodes import KRONA, wallet
from tests.support import ROOT

SCHEMATHESIS = ROOT / ".toolchain" / "schemathesis" / "bin" / "schemathesis"


def until_final(http, id_: str) -> dict:
    deadline = time.monotonic() + 20
    while (told := http.get(f"/v1/payments/{id_}").json())["status"] not in ("paid", "failed"):
        assert time.monotonic() < deadline, told
        time.sleep(0.02)
    return told


def test_a_payment(http, client, pay):
    item = pay(0, 1, 5)
    answer = http.post("/v1/payments", json=document(item))
    assert answer.status_code == 202
    assert answer.json()["id"] == item.id.to_0x_hex()
    told = until_final(http, item.id.to_0x_hex())
    assert (told["status"], told["reason"]) == ("paid", None)
    assert client.find(item)["transactionHash"].to_0x_hex() == told["transaction"]
    assert client.balance(wallet(1).address) == 1005 * KRONA


def test_many_payments_each_for_itself(http, client, pay):
    items = [pay(0, 1, 5, 0), pay(0, 1, 5000, 1), pay(1, 2, 7, 0)]
    answer = http.post("/v1/payments", json=[document(item) for item in items])
    assert answer.status_code == 202
    first, second, third = answer.json()["payments"]
    assert (first["status"], third["status"]) == ("queued", "queued")
    assert (second["name"], second["status"]) == ("BalanceShort", 422)
    assert until_final(http, items[2].id.to_0x_hex())["status"] == "paid"


def test_a_refusal_is_problem_json(http, pay):
    given = document(pay(0, 1, 5))
    given["chainId"] = 1
    answer = http.post("/v1/payments", json=given)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:liggare:WrongChain"
    assert (problem["name"], problem["title"]) == ("WrongChain", REFUSALS["WrongChain"][1])
    assert (problem["given"], problem["served"]) == (1, 31337)


def test_who_is_over_quota_is_told_until_when(serve, pay):
    with serve(per_account=1) as served, httpx.Client(base_url=served.url) as http:
        assert http.post("/v1/payments", json=document(pay(0, 1, 5, 0))).status_code == 202
        answer = http.post("/v1/payments", json=document(pay(0, 1, 5, 1)))
        assert (answer.status_code, answer.json()["name"]) == (429, "QuotaExceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
    served.service.outbox.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/v1/payments/0x" + "00" * 32, 404, "PaymentUnknown"),
        ("GET", "/v1/payments/12", 400, "Malformed"),
        ("GET", "/v1/accounts/anna", 400, "Malformed"),
        ("GET", "/v1/accounts/0xab5801a7D398351b8bE11C439e05C5B3259aeC9B", 422, "WrongChecksum"),
        ("GET", "/nowhere", 404, "NotServed"),
        ("DELETE", "/v1/payments", 405, "NotServed"),
        ("GET", "/v1/changes?since=-1", 400, "Malformed"),
    ],
)
def test_bad_requests_have_names_too(http, method, path, status, name):
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["name"]) == (status, name)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"[[]]", b"\xff", b'{"chainId": NaN}', b"[" * 5000]
)
def test_bodies_that_are_none(http, body):
    answer = http.post("/v1/payments", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["name"]) == (400, "Malformed")


def test_a_body_beyond_all_measure_is_refused_before_it_is_read(served):
    def endless():
        while True:
            yield b"[" + b" " * 65_536

    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{served.url}/v1/payments", content=endless(), headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["name"]) == (413, "TooLarge")
    answer = httpx.post(f"{served.url}/v1/payments", content=b" " * 20_000_000, headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["name"]) == (413, "TooLarge")


def test_an_account_tells_what_is_free_and_the_next_nonce(serve, pay):
    with serve(pace=Pace(wait=60)) as served, httpx.Client(base_url=served.url) as http:
        anna = wallet(0).address
        assert http.get(f"/v1/accounts/{anna}").json() == {
            "address": anna,
            "balance": str(1000 * KRONA),
            "free": str(1000 * KRONA),
            "nextNonce": 0,
            "outstanding": 0,
        }
        http.post("/v1/payments", json=[document(pay(0, 1, 5, 0)), document(pay(0, 1, 7, 1))])
        told = http.get(f"/v1/accounts/{anna.lower()}").json()
        assert (told["free"], told["nextNonce"], told["outstanding"]) == (str(988 * KRONA), 2, 2)
    served.service.outbox.close()


def read_events(http, path, enough, headers=None) -> list[dict]:
    """Follow a stream until `enough` says so; return its events with their numbers."""
    found, number = [], None
    with http.stream("GET", path, headers=headers or {}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("id:"):
                number = int(line[3:])
            elif line.startswith("data:"):
                found.append({"seq": number, **json.loads(line[5:])})
                if enough(found):
                    return found
    raise AssertionError("the stream ended")


def test_the_stream_tells_every_step_and_goes_on_where_it_was(http, pay):
    items = [pay(0, 1, 5, 0), pay(1, 2, 5, 0)]
    http.post("/v1/payments", json=[document(item) for item in items])
    told = read_events(http, "/v1/changes?since=0", lambda found: len(found) == 6)
    assert [each["seq"] for each in told] == sorted(each["seq"] for each in told)
    for item in items:
        steps = [each["status"] for each in told if each["id"] == item.id.to_0x_hex()]
        assert steps == ["queued", "sent", "paid"]
    rest = read_events(
        http, "/v1/changes?since=0", lambda found: len(found) == 4, {"Last-Event-ID": str(told[1]["seq"])}
    )
    assert rest == told[2:]
    mine = read_events(http, f"/v1/changes?since=0&payer={wallet(1).address}", lambda found: len(found) == 3)
    assert {each["payer"] for each in mine} == {wallet(1).address}
    one = read_events(http, f"/v1/changes?since=0&id={items[0].id.to_0x_hex()}", lambda found: len(found) == 3)
    assert {each["id"] for each in one} == {items[0].id.to_0x_hex()}


def test_a_stream_that_begins_now_tells_what_comes(http, served, pay):
    told: list[dict] = []
    ready = threading.Event()

    def follow():
        with httpx.Client(base_url=served.url, timeout=20) as other, other.stream("GET", "/v1/changes") as stream:
            ready.set()
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    told.append(json.loads(line[5:]))
                    if told[-1]["status"] == "paid":
                        return

    until_final(http, http.post("/v1/payments", json=document(pay(0, 1, 5, 0))).json()["id"])
    thread = threading.Thread(target=follow)
    thread.start()
    ready.wait(10)
    later = pay(0, 1, 6, 1)
    http.post("/v1/payments", json=document(later))
    thread.join(20)
    assert {each["id"] for each in told} == {later.id.to_0x_hex()}


def test_the_figures(http, pay):
    items = [pay(0, 1, 5, 0), pay(1, 2, 5, 0), pay(0, 1, 5000, 1)]
    http.post("/v1/payments", json=[document(item) for item in items])
    until_final(http, items[1].id.to_0x_hex())
    text = http.get("/metrics").text
    figures = dict(re.findall(r"^(liggare_relay_[^ ]+) ([0-9.e+-]+)$", text, re.MULTILINE))
    assert float(figures["liggare_relay_accepted_total"]) == 2
    assert float(figures['liggare_relay_refused_total{reason="BalanceShort"}']) == 1
    assert float(figures['liggare_relay_finished_total{status="paid"}']) == 2
    assert float(figures['liggare_relay_queue{status="paid"}']) == 2
    assert float(figures["liggare_relay_sponsor_wei_total"]) > 10**12
    assert float(figures["liggare_relay_latency_seconds_count"]) == 2
    assert 5_000 < float(figures["liggare_relay_gas_per_payment_sum"]) < 100_000


def test_health_says_what_is_missing(serve, anvil):
    with serve() as served, httpx.Client(base_url=served.url) as http:
        time.sleep(0.3)
        assert http.get("/health").json() == {"status": "ok", "database": "ok", "chain": "ok", "worker": "ok"}
        served.service.outbox.last_change = _unavailable
        answer = http.get("/health")
        assert answer.status_code == 503
        assert answer.json()["database"] == "OutboxUnavailable"
        del served.service.outbox.last_change
    served.service.outbox.close()


def _unavailable():
    from liggare.errors import OutboxUnavailable

    raise OutboxUnavailable("gone")


@pytest.mark.parametrize(
    "words",
    [
        ["--exclude-path-regex", "/v1/(changes|records.*)", "--max-examples", "40"],
        # thirteen forms of message in one: generated at random, without each boundary of each of them
        ["--include-path-regex", "/v1/records", "--max-examples", "20", "--phases", "examples,fuzzing,stateful"],
    ],
    ids=["payments", "records"],
)
def test_the_manual_holds(http, served, pay, grant, tmp_path, words):
    """Schemathesis asks what the OpenAPI document allows, and much that it does not; every answer is as documented."""
    if not SCHEMATHESIS.exists():
        pytest.skip("there is no schemathesis here")
    http.post("/v1/payments", json=document(pay(0, 1, 5, 0)))
    http.post("/v1/records", json=wire.document(grant(0, 1)))
    config = tmp_path / "schemathesis.toml"
    # 400 is for what the document forbids, 422 for what only signatures and the chain can tell
    config.write_text("[checks.positive_data_acceptance]\nexpected-statuses = ['2xx', 404, 409, 422, 429]\n")
    command = [
        SCHEMATHESIS,
        "--config-file",
        config,
        "run",
        f"{served.url}/openapi.json",
        "--seed",
        "1",
    ]
    command += [*words, "--checks", "all", "--request-timeout", "10", "--no-color"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT / ".toolchain")
    assert ran.returncode == 0, ran.stdout[-6000:]


# ---------------------------------------------------------------------- the client


@pytest.fixture
def relay(served, client):
    """A client of the service."""
    with Relay(served.url, client) as made:
        yield made


def test_the_client_carries_and_believes_the_chain_alone(relay, client, pay):
    item = pay(0, 1, 5, relay.purse(wallet(0).address).next_nonce)
    receipt = relay.carry(item)
    assert receipt["status"] == 1
    assert receipt == client.find(item)
    assert relay.purse(wallet(0).address).next_nonce == 1
    assert relay.purse(wallet(0).address).free == 995 * KRONA


def test_the_client_tells_refusals_by_name(relay, client, pay):
    with pytest.raises(RelayRefused) as caught:
        relay.carry(pay(0, 1, 5000))
    assert caught.value.name == "BalanceShort"
    assert caught.value.values == {"free": str(1000 * KRONA), "needed": str(5000 * KRONA)}
    with pytest.raises(RelayRefused) as caught:
        relay.show("0x" + "00" * 32)
    assert caught.value.name == "PaymentUnknown"


def test_a_relayer_that_says_paid_and_did_not_pay_is_found_out(relay, client, pay):
    item = pay(0, 1, 5)
    with pytest.raises(RelayLied, match="does not show it"):
        relay.check(item, State(item.id.to_0x_hex(), "paid", None, "0x" + "11" * 32, 7))


def test_a_relayer_that_paid_somebody_else_in_the_payers_name_is_found_out(relay, client, pay):
    """It names a real transaction of the payer, only not this payment's."""
    other = relay.carry(pay(0, 2, 5, 0))
    item = pay(0, 1, 5, 1)
    state = State(item.id.to_0x_hex(), "paid", None, other["transactionHash"].to_0x_hex(), other["blockNumber"])
    with pytest.raises(RelayLied):
        relay.check(item, state)


def test_a_relayer_that_says_failed_and_paid_is_found_out(relay, client, pay):
    """Whoever believed it would pay twice."""
    item = pay(0, 1, 5)
    relay.carry(item)
    with pytest.raises(RelayLied, match="shows it paid"):
        relay.check(item, State(item.id.to_0x_hex(), "failed", "Expired", None, None))


def test_a_relayer_that_answers_about_another_payment_is_found_out(relay, client, pay, monkeypatch):
    old, item = pay(0, 1, 5, 0), pay(0, 1, 5, 1)
    relay.carry(old)
    state = {**relay.show(old.id.to_0x_hex()).__dict__, "accepted": 0.0}
    monkeypatch.setattr(relay, "_ask", lambda *_, **__: {"payments": [state]})
    with pytest.raises(RelayLied, match="other payments"):
        relay.post([item])


def test_a_payment_that_failed_says_why(relay, client, pay):
    item = pay(0, 1, 5)
    with pytest.raises(PaymentFailed) as caught:
        relay.check(item, State(item.id.to_0x_hex(), "failed", "Expired", None, None))
    assert caught.value.reason == "Expired"


def test_a_relayer_that_never_ends_leaves_the_payer_with_a_true_word(serve, client, pay):
    with (
        serve(pace=Pace(wait=60)) as served,
        Relay(served.url, client) as relay,
        pytest.raises(PaymentUncertain, match="don't pay again"),
    ):
        relay.carry(pay(0, 1, 5), timeout=0.5)
    served.service.outbox.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[", "nonsense"])
def test_a_relayer_that_is_none(url, client, pay):
    def carry():
        with Relay(url, client) as relay:
            relay.carry(pay(0, 1, 5))

    with pytest.raises(RelayUnreachable):
        carry()


def test_something_else_at_the_url(anvil, client, pay):
    with Relay(anvil.url, client) as relay, pytest.raises(RelayUnreachable, match="no relayer"):
        relay.carry(pay(0, 1, 5))
