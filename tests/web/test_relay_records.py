"""The records through the relay's service: by HTTP, and by the client that believes the chain alone."""

from __future__ import annotations

import time

import httpx
import pytest

from liggare.chain.sender import Sender
from liggare.errors import MessageFailed, MessageUncertain, RelayLied, RelayRefused, RelayUnreachable
from liggare.payments.wire import document as paid
from liggare.records.landings import Landing
from liggare.records.relay import Relay, State
from liggare.records.wire import Approved, document
from liggare.relay.refusals import REFUSALS
from liggare.relay.terms import Limits, Pace
from tests.nodes import funded, wallet
from tests.relay.conftest import PATIENT, RECORD_LIMITS

SLOW = Pace(wait=60)


def until_final(http, id_: str) -> dict:
    deadline = time.monotonic() + 20
    while (told := http.get(f"/v1/records/{id_}").json())["status"] not in ("carried", "failed"):
        assert time.monotonic() < deadline, told
        time.sleep(0.02)
    return told


# ---------------------------------------------------------------------- by HTTP


def test_a_grant(http, records, grant):
    item = grant(0, 1)
    answer = http.post("/v1/records", json=document(item))
    assert answer.status_code == 202
    assert answer.json()["id"] == item.id.to_0x_hex()
    told = until_final(http, item.id.to_0x_hex())
    assert (told["status"], told["reason"]) == ("carried", None)
    assert records.version(item.message.patient, item.message.blinded) == 1


def test_many_messages_each_for_itself(http, grant, revoke, records):
    forged = grant(1, 1).message.sign(wallet(3))
    items = [grant(0, 1), forged, revoke(0, 1, version=2), records.set_emergency(wallet(PATIENT + 2), False)]
    answer = http.post("/v1/records", json=[document(item) for item in items])
    assert answer.status_code == 202
    told = answer.json()["records"]
    assert [each.get("name", each["status"]) for each in told] == ["queued", "WrongSigner", "queued", "queued"]
    for item in (items[0], items[2], items[3]):
        assert until_final(http, item.id.to_0x_hex())["status"] == "carried"


def test_a_refusal_is_problem_json(http, grant):
    given = document(grant(0, 1))
    given["chainId"] = 1
    answer = http.post("/v1/records", json=given)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert (answer.json()["name"], answer.json()["title"]) == ("WrongChain", REFUSALS["WrongChain"][1])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"[[]]", b'{"type": "Transfer"}', b"[" * 5000])
def test_bodies_that_are_none(http, body):
    answer = http.post("/v1/records", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["name"]) == (400, "Malformed")


def test_without_a_budget_of_their_own_records_are_not_carried(serve, grant, pay):
    with serve() as served, httpx.Client(base_url=served.url) as http:
        answer = http.post("/v1/records", json=document(grant(0, 1)))
        assert (answer.status_code, answer.json()["name"]) == (403, "NotOffered")
        assert "any carrier" in answer.json()["detail"]
    served.service.outbox.close()


def test_what_was_taken_before_the_operator_ended_it_is_still_carried(serve, grant):
    item = grant(0, 1)
    with serve(records=RECORD_LIMITS, pace=SLOW) as served, httpx.Client(base_url=served.url) as http:
        assert http.post("/v1/records", json=document(item)).status_code == 202
    served.service.outbox.close()
    with serve() as served, httpx.Client(base_url=served.url) as http:
        assert until_final(http, item.id.to_0x_hex())["status"] == "carried"
    served.service.outbox.close()


def test_payments_and_records_are_not_found_under_each_other(http, grant, pay):

    payment, item = pay(0, 1, 5), grant(0, 1)
    http.post("/v1/payments", json=paid(payment))
    http.post("/v1/records", json=document(item))
    assert http.get(f"/v1/payments/{item.id.to_0x_hex()}").json()["name"] == "PaymentUnknown"
    assert http.get(f"/v1/records/{payment.id.to_0x_hex()}").json()["name"] == "RecordUnknown"


def test_the_figures_count_records_apart_from_payments(http, grant):
    items = [grant(number, 1) for number in range(3)]
    http.post("/v1/records", json=[document(item) for item in items])
    until_final(http, items[2].id.to_0x_hex())
    text = http.get("/metrics").text
    assert 'liggare_relay_finished_total{status="carried"} 3.0' in text
    assert "liggare_relay_gas_per_message_count 1.0" in text
    assert "liggare_relay_gas_per_payment_count 0.0" in text


# ---------------------------------------------------------------------- the client


@pytest.fixture
def relay(served, records):
    """A client of the service."""
    with Relay(served.url, records) as made:
        yield made


def test_the_client_carries_and_believes_the_chain_alone(relay, records, grant, revoke):
    assert relay.carry(grant(0, 1))["status"] == 1
    receipt = relay.carry(revoke(0, 1, version=2))
    assert receipt["from"] == funded(1).address
    assert records.state(grant(0, 1).message.patient, grant(0, 1).message.blinded).terms == bytes(22)


def test_the_client_carries_a_recovery(relay, records):
    patient, friend = wallet(PATIENT), wallet(701)
    relay.carry(records.appoint(patient, patient.address, friend.address, ["recover"], 2**40))
    relay.carry(records.set_recovery(patient, 1, 86_400))
    relay.carry(Approved.of([records.recover(friend, patient.address, wallet(702).address)]))
    assert records.recovery(patient.address).successor == wallet(702).address


def test_what_landed_before_is_told_though_it_is_out_of_its_turn(relay, records, grant, anvil):
    item = grant(0, 1)
    receipt = records.carry(item, Sender(anvil.w3, funded(5)))
    assert relay.carry(item)["transactionHash"] == receipt["transactionHash"]


def test_the_client_tells_refusals_by_name(relay, grant):
    with pytest.raises(RelayRefused) as caught:
        relay.carry(grant(0, 1, version=7))
    assert (caught.value.name, caught.value.values) == ("OutOfTurn", {"outcome": "RecordsWrongVersion"})
    with pytest.raises(RelayRefused) as caught:
        relay.show("0x" + "00" * 32)
    assert caught.value.name == "RecordUnknown"


def said(item, status_, reason=None) -> State:
    return State(item.id.to_0x_hex(), status_, reason, "0x" + "11" * 32, 7)


def test_a_relayer_that_says_revoked_and_carried_nothing_is_found_out(relay, revoke):
    item = revoke(0, 1)
    with pytest.raises(RelayLied, match="does not show it"):
        relay.check(item, said(item, "carried"))


def test_a_relayer_that_names_another_message_of_the_patient_is_found_out(relay, grant, revoke):
    relay.carry(grant(0, 2))
    item = revoke(0, 1)
    with pytest.raises(RelayLied):
        relay.check(item, said(item, "carried"))


def test_a_relayer_that_says_failed_and_carried_it_is_found_out(relay, grant):
    item = grant(0, 1)
    relay.carry(item)
    with pytest.raises(RelayLied, match="landed in block"):
        relay.check(item, said(item, "failed", "RecordsExpired"))


def test_a_relayer_that_says_failed_of_what_the_chain_would_take_is_found_out(relay, revoke):
    """It would keep the signature and could carry it whenever it likes, the patient believing that it is dead."""
    item = revoke(0, 1)
    with pytest.raises(RelayLied, match="would take it"):
        relay.check(item, said(item, "failed", "RecordsExpired"))


def test_what_failed_as_the_chain_bears_out_says_why(relay, grant, revoke):
    relay.carry(revoke(0, 1))
    with pytest.raises(MessageFailed) as caught:
        relay.check(grant(0, 1), said(grant(0, 1), "failed", "RecordsWrongVersion"))
    assert caught.value.reason == "RecordsWrongVersion"


def test_an_event_that_says_something_else_than_was_signed_is_found_out(relay, grant, monkeypatch):
    item = grant(0, 1)
    relay.carry(item)
    assert relay._landings.find(item.message).as_signed
    assert not relay._landings.find_all([_Claimed(item, grant(0, 2).message)])[bytes(item.id)].as_signed
    monkeypatch.setattr(relay._landings, "find", lambda _: Landing("0x" + "11" * 32, 7, as_signed=False))
    with pytest.raises(RelayLied, match="something else"):
        relay.check(item, said(item, "carried"))


class _Claimed:
    """A message that claims another's id."""

    def __new__(cls, item, other):
        made = object.__new__(type(other))
        made.__dict__.update(vars(other))
        made.__dict__["id"] = item.id
        return made


def test_a_relayer_that_answers_about_another_message_is_found_out(relay, grant, revoke, monkeypatch):
    relay.carry(grant(0, 1))
    state = {**relay.show(grant(0, 1).id.to_0x_hex()).__dict__, "accepted": 0.0}
    monkeypatch.setattr(relay, "_ask", lambda *_, **__: {"records": [state]})
    with pytest.raises(RelayLied, match="other records"):
        relay.post([revoke(0, 2)])
    monkeypatch.setattr(relay, "_ask", lambda *_, **__: state)
    with pytest.raises(RelayLied, match="answers about"):
        relay.show(revoke(0, 2).id.to_0x_hex())


def test_a_relayer_that_delays_a_revoke_is_told_of_and_any_carrier_takes_the_same_message(
    serve, records, grant, revoke, anvil
):
    """It never says revoked while it is not; what the patient then has carried by another ends the waiting."""
    stranger = Sender(anvil.w3, funded(5))
    records.carry(grant(0, 1), stranger)
    end, heard = revoke(0, 1, version=2), []

    def late(state):
        heard.append((state.status, records.state(end.message.patient, end.message.blinded).terms != bytes(22)))
        records.carry(end, stranger)

    with serve(records=RECORD_LIMITS, pace=SLOW) as served, Relay(served.url, records) as relay:
        receipt = relay.carry(end, patience=0.3, timeout=20, late=late)
    assert heard == [("queued", True)]  # once, and the grant still stood
    assert receipt["from"] == stranger.account.address
    served.service.outbox.close()


def test_a_relayer_that_never_ends_leaves_the_patient_with_a_true_word(serve, records, revoke):
    with (
        serve(records=RECORD_LIMITS, pace=SLOW) as served,
        Relay(served.url, records) as relay,
        pytest.raises(MessageUncertain, match="nothing has changed yet"),
    ):
        relay.carry(revoke(0, 1), timeout=0.5)
    served.service.outbox.close()


def test_a_relayer_that_falls_silent_leaves_the_patient_with_a_true_word(serve, records, revoke, monkeypatch):
    monkeypatch.setattr("liggare.relay.client.PAUSE", 0.01)
    with serve(records=RECORD_LIMITS, pace=SLOW) as served, Relay(served.url, records) as relay:
        post = relay.post

        def post_and_die(items):
            answer = post(items)
            relay._http.close()
            relay._http = httpx.Client(base_url="http://127.0.0.1:1")
            return answer

        monkeypatch.setattr(relay, "post", post_and_die)
        with pytest.raises(MessageUncertain):
            relay.carry(revoke(0, 1))
    served.service.outbox.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[", "nonsense"])
def test_a_relayer_that_is_none(url, records, revoke):
    def carry():
        with Relay(url, records) as relay:
            relay.carry(revoke(0, 1))

    with pytest.raises(RelayUnreachable):
        carry()


def test_who_is_over_quota_is_told_until_when(serve, grant):
    with serve(records=Limits(per_account=1, budget=10**18)) as served, httpx.Client(base_url=served.url) as http:
        assert http.post("/v1/records", json=document(grant(0, 1))).status_code == 202
        answer = http.post("/v1/records", json=document(grant(0, 2)))
        assert (answer.status_code, answer.json()["name"]) == (429, "QuotaExceeded")
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
    served.service.outbox.close()
