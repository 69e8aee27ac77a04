"""The market's service by HTTP: its manual holds, refusals have names, and what it tells is the chain's."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
import time

import httpx
import pytest
import uvicorn

from liggare import accounts
from liggare.chain.connection import connect
from liggare.cli.main import main
from liggare.energy.intake import Limits
from liggare.energy.operator import Pace
from liggare.energy.post import Post, split
from liggare.energy.wire import Deposit
from liggare.errors import MarketRefused, MarketUnreachable
from liggare.web.market import application, assemble
from scripts.nodes import free_port, hang_up
from tests.energy.operator.process import prepare
from tests.energy.operator.town import ANNA, BO, CIA, SUN
from tests.nodes import KRONA, funded
from tests.support import ROOT

SCHEMATHESIS = ROOT / ".toolchain" / "schemathesis" / "bin" / "schemathesis"


class Served:
    """A service that runs in a thread."""

    def __init__(self, service) -> None:
        self.service = service
        self.url = f"http://127.0.0.1:{free_port()}"
        config = uvicorn.Config(
            application(service), port=int(self.url.rsplit(":")[-1]), log_config=None, timeout_graceful_shutdown=3
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self):
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(self, *_) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the service does not stop"
        self.service.store.close()
        hang_up(self.service.energy.w3)


@pytest.fixture
def serve(town, tmp_path):
    """Make a service: `with serve(per_day=3) as served:`."""

    def serve(pace=None, **limits):
        database = f"sqlite:///{tmp_path}/market.db"
        w3 = connect(town.node.url)
        return Served(assemble(w3, town.record, funded(1), database, Limits(**limits), pace or Pace(settle_in=0)))

    return serve


@pytest.fixture
def served(serve):
    """A service with ordinary limits."""
    with serve() as made:
        yield made


@pytest.fixture
def http(served):
    """A client of it."""
    with httpx.Client(base_url=served.url, timeout=20) as made:
        yield made


def until(http, path: str, done) -> dict:
    deadline = time.monotonic() + 20
    while not done(told := http.get(path).json()):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    return told


def hand_in(http, here, slot: int, **changes):
    here.end_of(slot)
    time.sleep(1.1)  # the service looks at the chain once in a second
    return http.post("/v1/readings", json=here.documents(here.read(slot, **changes)))


def test_readings_in_and_a_cleared_slot_out(http, town):
    answer = hand_in(http, town, town.first)
    assert answer.status_code == 200
    assert [(each["home"], each["firstSlot"], each["new"]) for each in answer.json()["batches"]] == [
        (home, town.first, True) for home in SUN
    ]
    told = until(http, f"/v1/slots/{town.first}", lambda told: told["state"] == "cleared")
    event = town.cleared()[town.first]
    assert {name: told[name] for name in ("price", "lo", "hi", "volume")} == {
        name: event[name] for name in ("price", "lo", "hi", "volume")
    }
    assert told["missing"] == []
    assert http.get("/v1/prices").json() == {"slots": [told], "next": town.first + 1}
    time.sleep(1.1)
    market = http.get("/v1/slots").json()
    assert (market["next"], market["missing"]) == (town.first + 1, [ANNA, BO, CIA])


def test_a_home_as_the_chain_has_it(http, town):
    hand_in(http, town, town.first)
    until(http, f"/v1/slots/{town.first}", lambda told: told["state"] == "cleared")
    time.sleep(1.1)
    told = http.get(f"/v1/homes/{BO}").json()
    assert told["balance"] == str(town.energy.balance(BO))
    assert (told["owner"], told["meter"]) == (town.owners[BO].address, town.meters[BO].address)
    assert (told["imported"], told["exported"]) == (500, 0)
    assert (told["order"]["buyLimit"], told["nextSeq"]) == (2_000, 2)
    assert told["due"] == {"firstSlot": town.first + 1, "imported": 500, "exported": 0, "slots": 1, "cuts": []}
    assert told["contradictions"] == []


def test_asked_again_the_answer_is_the_same(http, town):
    town.end_of(town.first)
    document = town.documents(town.read(town.first, homes=(ANNA,)))[0]
    first, second = (http.post("/v1/readings", json=document).json() for _ in range(2))
    assert (first.pop("new"), second.pop("new")) == (True, False)
    assert first == second


def test_a_meter_that_lies_is_refused_and_both_batches_are_shown_to_anyone(http, town):
    """The second signature over the same slot is the evidence; the first batch stays."""
    hand_in(http, town, town.first, homes=(ANNA,))
    town.meters[ANNA].exported -= 900
    lie = town.documents(town.read(town.first, homes=(ANNA,), changes={ANNA: (0, 9_000)}))[0]
    answer = http.post("/v1/readings", json=lie)
    assert (answer.status_code, answer.json()["name"]) == (409, "Contradiction")
    (pair,) = http.get(f"/v1/homes/{ANNA}").json()["contradictions"]
    assert pair["refused"] == lie
    assert pair["kept"]["readings"]["deltas"] != lie["readings"]["deltas"]
    assert answer.json()["kept"]
    http.post("/v1/readings", json=town.documents(town.read(town.first, homes=(BO, CIA))))
    told = until(http, f"/v1/slots/{town.first}", lambda told: told["state"] == "cleared")
    assert told["volume"] == 800


def test_many_batches_each_for_itself(http, town):
    town.end_of(town.first)
    documents = town.documents(town.read(town.first))
    documents[1]["readings"]["imported"] = 7
    first, second, third = http.post("/v1/readings", json=documents).json()["batches"]
    assert (first["new"], third["new"]) == (True, True)
    assert (second["name"], second["status"]) == ("ForeignMeter", 422)
    assert second["expected"] == town.meters[BO].address


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        ({"chainId": 1}, "WrongChain", 422),
        ({"contract": "0x" + "11" * 20}, "WrongContract", 422),
        ({"signature": "0x" + "00" * 65}, "ForeignMeter", 422),
        ({"home": 0}, "HomeUnknown", 404),
        ({"home": 4}, "HomeUnknown", 404),
        ({"firstSlot": 2**24 - 2}, "Future", 422),
        ({"firstSlot": 0}, "HomeAbsent", 422),
        ({"deltas": "0x"}, "Malformed", 400),
        ({"deltas": "0x0011"}, "Malformed", 400),
        ({"imported": -1}, "Malformed", 400),
        ({"imported": 2**48}, "Malformed", 400),
        ({"slot": 5}, "Malformed", 400),
    ],
)
def test_a_batch_is_refused_as_problem_json(http, town, change, name, status):
    town.end_of(town.first)
    document = town.documents(town.read(town.first, homes=(ANNA,)))[0]
    for key, value in change.items():
        (document if key in document else document["readings"])[key] = value
    answer = http.post("/v1/readings", json=document)
    assert (answer.status_code, answer.json()["name"]) == (status, name)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:liggare:{name}"


def test_a_future_reading_is_refused(http, town):
    town.go_to(town.first, 899)
    time.sleep(1.1)
    answer = http.post("/v1/readings", json=town.documents(town.read(town.first, homes=(ANNA,)))[0])
    assert (answer.status_code, answer.json()["name"]) == (422, "Future")
    assert answer.json()["current"] == town.first


def test_messages_are_carried_for_members_without_ether(http, served, town):
    with Post(served.url, town.energy.domain) as post:
        order = town.wish(CIA, buy=2_400)
        salt, paid = town.payment(CIA, 50 * KRONA, salt=bytes([9]) * 32)
        out = town.energy.withdrawal(town.owners[BO], BO, 20 * KRONA)
        told = [post.message(item) for item in (order, Deposit(CIA, salt, paid), out)]
        for each in told:
            until(http, f"/v1/messages/{each['id']}", lambda told: told["status"] == "done")
        assert post.message(out)["status"] == "done"
        assert [each["id"] for each in told] == [item.id.to_0x_hex() for item in (order, paid, out)]
    assert town.energy.balance(CIA) == 1_050 * KRONA
    assert town.payments.balance(town.owners[BO].address) == 20 * KRONA
    assert town.energy.order_of(CIA, town.first).buy_limit == 2_400


def test_a_message_that_the_contract_refuses_tells_its_word(served, town):
    with Post(served.url, town.energy.domain) as post, pytest.raises(MarketRefused) as caught:
        post.message(town.energy.withdrawal(town.owners[BO], BO, 5_000 * KRONA))
    assert (caught.value.name, caught.value.values["word"]) == ("NotCarriable", "EnergyInsufficientBalance")


def test_who_is_over_quota_is_told_until_when(serve, town):
    with serve(per_day=1) as served, httpx.Client(base_url=served.url) as http:
        bodies = [town.documents([town.energy.withdrawal(town.owners[BO], BO, KRONA)])[0] for _ in range(2)]
        assert http.post("/v1/withdrawals", json=bodies[0]).status_code == 202
        answer = http.post("/v1/withdrawals", json=bodies[1])
        assert (answer.status_code, answer.json()["name"]) == (429, "QuotaExceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400


def test_a_request_of_too_many(serve, town):
    with serve(per_request=2) as served, httpx.Client(base_url=served.url) as http:
        answer = http.post("/v1/readings", json=town.documents(town.read(town.first)))
        assert (answer.status_code, answer.json()["name"]) == (413, "TooMany")


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/v1/messages/0x" + "00" * 32, 404, "MessageUnknown"),
        ("GET", "/v1/messages/12", 400, "Malformed"),
        ("GET", "/v1/homes/0", 404, "HomeUnknown"),
        ("GET", "/v1/homes/4", 404, "HomeUnknown"),
        ("GET", "/v1/homes/anna", 400, "Malformed"),
        ("GET", "/v1/slots/16777215", 404, "SlotUnknown"),
        ("GET", "/v1/prices?since=-1", 400, "Malformed"),
        ("GET", "/nowhere", 404, "NotServed"),
        ("DELETE", "/v1/readings", 405, "NotServed"),
    ],
)
def test_bad_requests_have_names_too(http, method, path, status, name):
    answer = http.request(method, path)
    assert (answer.status_code, answer.json()["name"]) == (status, name)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"[[]]", b"\xff", b'{"chainId": NaN}', b"[" * 5000]
)
@pytest.mark.parametrize("path", ["/v1/readings", "/v1/orders"])
def test_bodies_that_are_none(http, path, body):
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["name"]) == (400, "Malformed")


def test_a_body_beyond_all_measure_is_refused_before_it_is_read(served):
    def endless():
        while True:
            yield b"[" + b" " * 65_536

    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{served.url}/v1/readings", content=endless(), headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["name"]) == (413, "TooLarge")


def test_the_figures(http, town):
    hand_in(http, town, town.first)
    until(http, f"/v1/slots/{town.first}", lambda told: told["state"] == "cleared")
    http.post("/v1/readings", json={**town.documents(town.read(town.first, homes=(ANNA,)))[0], "chainId": 5})
    time.sleep(0.7)
    text = http.get("/metrics").text
    figures = dict(re.findall(r"^(liggare_market_[^ ]+) ([0-9.e+-]+)$", text, re.MULTILINE))
    assert float(figures['liggare_market_batches_total{source="http"}']) == 3
    assert float(figures['liggare_market_refused_total{reason="WrongChain"}']) == 1
    assert float(figures["liggare_market_slots_cleared_total"]) == 1
    assert float(figures['liggare_market_stored{what="readings"}']) == 3
    assert float(figures["liggare_market_slots_behind"]) == 0
    assert float(figures["liggare_market_wei_total"]) > 10**12


def test_health_says_what_is_missing(served, http, town, monkeypatch):
    until(http, "/health", lambda told: told["worker"] == "ok")
    assert http.get("/health").json() == {"status": "ok", "database": "ok", "chain": "ok", "worker": "ok"}
    with monkeypatch.context() as patch:
        patch.setattr(served.service.energy.w3.provider, "endpoint_uri", f"http://127.0.0.1:{free_port()}")
        answer = http.get("/health")
        assert (answer.status_code, answer.json()["chain"]) == (503, "ConnectionError")
        answer = http.get(f"/v1/slots/{town.first}")
        assert (answer.status_code, answer.json()["name"]) == (503, "ChainUnavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert http.get("/health").json()["chain"] == "ok"


def test_the_manual_holds(http, served, town, tmp_path):
    """Schemathesis asks what the OpenAPI document allows, and much that it does not; every answer is as documented."""
    if not SCHEMATHESIS.exists():
        pytest.skip("there is no schemathesis here")
    hand_in(http, town, town.first)
    config = tmp_path / "schemathesis.toml"
    # 400 is for what the document forbids, 422 for what only signatures and the chain can tell
    config.write_text("[checks.positive_data_acceptance]\nexpected-statuses = ['2xx', 404, 409, 422, 429]\n")
    command = [SCHEMATHESIS, "--config-file", config, "run", f"{served.url}/openapi.json"]
    command += ["--max-examples", "30", "--seed", "1", "--checks", "all", "--request-timeout", "10", "--no-color"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=ROOT / ".toolchain")
    assert ran.returncode == 0, ran.stdout[-6000:]


def test_what_is_no_operator_is_told_apart(town):
    nobody = Post(f"http://127.0.0.1:{free_port()}", town.energy.domain, timeout=1)
    with nobody, pytest.raises(MarketUnreachable):
        nobody.home(1)


def test_a_meters_table_is_handed_over_by_the_command(serve, town, tmp_path, capsys, monkeypatch):
    """`liggare energy readings … --post`: signed in the batches that the operator asks for."""
    prepare(town, tmp_path)
    accounts.write(tmp_path / "meter.json", town.meters[BO].account, "correct horse", iterations=2)
    (tmp_path / "table.csv").write_text("imported,exported\n" + "500,0\n" * 5)
    town.end_of(town.first + 4)
    common = [
        "--rpc",
        town.node.url,
        "--deployments",
        tmp_path / "deployments",
        "--password-file",
        tmp_path / "password",
    ]
    with serve(pace=Pace(settle_in=10**6, slots=2)) as served:
        words = [
            "energy",
            "readings",
            BO,
            tmp_path / "table.csv",
            "--key",
            tmp_path / "meter.json",
            "--post",
            served.url,
        ]
        monkeypatch.setattr(sys, "argv", ["liggare", *map(str, [*common, *words, "--json"])])
        with contextlib.suppress(SystemExit):
            main()
        told = json.loads(capsys.readouterr().out)
        assert (told["firstSlot"], told["count"]) == (town.first, 5)
        kept = served.service.store.kept(town.first)[BO]
        assert sorted((each.first, each.count) for each in kept) == split(town.first, 5, 2, ())
        assert sorted(each.id for each in kept) == sorted(told["batches"])
        due = httpx.get(f"{served.url}/v1/homes/{BO}").json()["due"]
        assert (due["firstSlot"], due["imported"]) == (town.first + 5, 2_500)
