"""Invoices: a payee's signed request, its one URI, and a payment that can't happen twice."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from brownie.test import given
from hypothesis import strategies as st
from web3.exceptions import Web3RPCError

from liggare.errors import (
    ContractRefused,
    InvalidAddress,
    InvalidAmount,
    InvoiceExpired,
    InvoiceForAnother,
    InvoiceForeign,
    InvoiceMalformed,
    InvoicePaid,
    InvoiceVoid,
    LedgerError,
    LiggareError,
    SignatureMalformed,
    WrongChain,
    WrongSigner,
)
from liggare.messages import Domain, Signed, address
from liggare.payments.client import random_nonce
from liggare.payments.invoices import DUE, Invoices, PaymentRequest, State, _random, parse
from tests.payments.conftest import KRONA
from tests.support import now, outsider, pass_time

pytestmark = pytest.mark.usefixtures("payments")
LATER = 2**32 - 1


@pytest.fixture
def invoices(w3, deployments):
    """Invoices in the money of this chain."""
    return Invoices(w3, deployments)


@pytest.fixture
def ask(invoices, bo):
    """Bo asks for 30 for a ladder; any word can be changed."""
    return lambda **words: invoices.make(bo, **{"value": 30 * KRONA, "text": "a ladder", **words})


# ------------------------------------------------------------------ paying


def test_an_invoice_is_paid_whole_under_its_own_id(invoices, client, carrier, ask, anna, bo):
    request = invoices.parse(ask().uri())
    assert invoices.state(request).state is State.OPEN
    signed = invoices.pay(anna, request)
    assert signed.message.nonce == request.invoice.id
    receipt = client.carry(signed, carrier)
    assert client.balance(bo.address) == 1030 * KRONA
    found = invoices.state(request)
    assert (found.state, found.payer, found.block) == (State.PAID, anna.address, receipt["blockNumber"])
    assert found.transaction == receipt["transactionHash"].to_0x_hex()


def test_one_payer_cannot_pay_one_invoice_twice(invoices, client, carrier, ask, anna, bo):
    request = ask()
    first, second = invoices.pay(anna, request), invoices.pay(anna, request)
    client.carry(first, carrier)
    with pytest.raises(ContractRefused, match="PaymentsNonceUsed"):
        client.carry(second, carrier)
    with pytest.raises(InvoicePaid, match=anna.address):
        invoices.pay(anna, request)
    assert client.balance(bo.address) == 1030 * KRONA


def test_an_invoice_for_anyone_that_somebody_paid_is_refused_to_all(invoices, client, carrier, ask, anna, cia):
    request = ask()
    client.carry(invoices.pay(anna, request), carrier)
    with pytest.raises(InvoicePaid) as caught:
        invoices.pay(cia, request)
    assert caught.value.payer == anna.address


def test_an_invoice_that_names_its_payer_is_for_nobody_else(invoices, client, carrier, ask, anna, cia):
    request = ask(payer=anna.address)
    with pytest.raises(InvoiceForAnother):
        invoices.pay(cia, request)
    client.carry(invoices.pay(anna, request), carrier)
    assert invoices.state(request).payer == anna.address


def test_what_a_stranger_does_under_the_nonce_of_a_named_payers_invoice_is_nothing(
    invoices, client, carrier, ask, anna, bo, cia
):
    request = ask(payer=anna.address)
    client.carry(client.pay(cia, bo.address, 30 * KRONA, nonce=request.invoice.nonce), carrier)
    assert invoices.state(request).state is State.OPEN
    client.carry(invoices.pay(anna, request), carrier)
    assert invoices.state(request).payer == anna.address


def test_a_bundle_under_the_invoices_nonce_pays_it(invoices, client, carrier, ask, anna, cia, bo):
    request = ask()
    rows = [(cia.address, KRONA), (bo.address, 30 * KRONA)]
    bundle = client.bundle(anna, rows, nonce=request.invoice.nonce, valid_before=LATER)
    client.carry_batch([bundle], carrier)
    assert invoices.state(request).state is State.PAID


def test_an_invoice_is_paid_out_of_a_batch_beside_others(invoices, client, carrier, ask, anna, cia):
    one, two = ask(), ask(text="two ladders")
    client.carry_batch([invoices.pay(anna, one), invoices.pay(cia, two)], carrier)
    assert [invoices.state(each).payer for each in (one, two)] == [anna.address, cia.address]


def test_a_payment_waits_no_longer_than_the_invoice(invoices, ask, anna):
    assert invoices.pay(anna, ask(valid_before=now() + 600)).message.valid_before <= now() + 600
    assert invoices.pay(anna, ask()).message.valid_before < now() + DUE


# ------------------------------------------------------------------ attacks


def test_a_small_payment_under_the_nonce_does_not_pass_for_the_invoices(invoices, client, carrier, ask, cia, bo, anna):
    request = ask()
    client.carry(client.pay(cia, bo.address, 30 * KRONA - 1, nonce=request.invoice.nonce), carrier)
    assert invoices.state(request).state is State.OPEN
    client.carry(invoices.pay(anna, request), carrier)
    assert invoices.state(request).payer == anna.address


def test_a_payment_to_oneself_under_the_nonce_does_not_pass_for_the_invoices(invoices, client, carrier, ask, cia):
    request = ask()
    client.carry(client.pay(cia, cia.address, 30 * KRONA, nonce=request.invoice.nonce), carrier)
    assert invoices.state(request).state is State.OPEN


def test_another_payment_in_the_same_batch_does_not_pass_for_the_invoices(
    invoices, client, carrier, ask, anna, bo, cia
):
    """Cia uses the nonce for nothing, right before Anna, or Cia herself, pays Bo the same sum for something else."""
    request = ask()
    decoy = client.pay(cia, cia.address, 1, nonce=request.invoice.nonce)
    others = [client.pay(each, bo.address, 30 * KRONA, nonce=random_nonce()) for each in (anna, cia)]
    _, outcomes = client.carry_batch([decoy, *others], carrier)
    assert outcomes == [0, 0, 0]
    assert invoices.state(request).state is State.OPEN


def test_a_named_payer_who_wastes_the_nonce_voids_the_invoice(invoices, client, carrier, ask, anna, cia):
    request = ask(payer=anna.address)
    client.carry(client.pay(anna, cia.address, 1, nonce=request.invoice.nonce), carrier)
    assert invoices.state(request).state is State.VOID
    with pytest.raises(InvoiceVoid):
        invoices.pay(anna, request)


def test_a_payer_who_canceled_can_pay_no_more(invoices, client, carrier, ask, anna, cia):
    request = ask()
    client.carry_cancel(client.cancel(anna, request.invoice.nonce), carrier)
    with pytest.raises(InvoiceVoid):
        invoices.pay(anna, request)
    client.carry(invoices.pay(cia, request), carrier)  # others still can
    assert invoices.state(request).payer == cia.address


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (r"value=\d+", "value=1"),
        (r"before=\d+", "before=4102444800"),
        (r"for=[^&]+", "for=two%20ladders"),
        (r"&for=[^&]+", ""),
        (r"salt=[^&]+", "salt=AAAAAAAAAAAAAAAAAAAAAA"),
        (r"&for", "&from={mallory}&for"),
        (r"pay-0x\w{40}", "pay-{mallory}"),
    ],
)
def test_an_altered_invoice_is_not_its_payees(invoices, ask, anna, mallory, part, other):
    uri = ask().uri()
    altered = re.sub(part, other.format(mallory=mallory.address), uri, count=1)
    assert altered != uri
    with pytest.raises((WrongSigner, SignatureMalformed)):
        invoices.pay(anna, invoices.parse(altered))


def test_a_named_payer_cannot_be_taken_out(invoices, ask, anna):
    uri = re.sub(r"&from=\w+", "", ask(payer=anna.address).uri())
    with pytest.raises((WrongSigner, SignatureMalformed)):
        invoices.pay(anna, invoices.parse(uri))


def test_somebody_elses_signature_is_refused(invoices, ask, anna, mallory):
    request = ask()
    forged = replace(request, signed=request.invoice.sign(mallory))
    with pytest.raises(WrongSigner) as caught:
        invoices.pay(anna, invoices.parse(forged.uri()))
    assert caught.value.actual == mallory.address


def test_an_expired_invoice_is_refused(invoices, ask, anna):
    request = ask(valid_before=now() + 3600)
    pass_time(3600)
    assert invoices.state(request).state is State.EXPIRED
    with pytest.raises(InvoiceExpired):
        invoices.pay(anna, request)


def test_an_invoice_paid_in_time_stays_paid(invoices, client, carrier, ask, anna):
    request = ask(valid_before=now() + 3600)
    client.carry(invoices.pay(anna, request), carrier)
    pass_time(3600)
    assert invoices.state(request).state is State.PAID


def test_an_invoice_of_another_chain_or_money_is_refused(invoices, ask, bo):
    uri = ask().uri()
    with pytest.raises(WrongChain):
        invoices.parse(uri.replace("@1337/", "@1/"))
    with pytest.raises(InvoiceForeign):
        invoices.parse(re.sub(r"/0x\w{40}", f"/{bo.address}", uri))


def test_an_invoice_is_no_payment_and_a_payment_no_invoice(invoices, client, carrier, ask, anna, bo):
    """Bo's signature over an invoice moves nothing of Bo's."""
    request = ask()
    payment = client.pay(bo, anna.address, 30 * KRONA, nonce=request.invoice.nonce).message
    with pytest.raises(ContractRefused, match="PaymentsInvalidSignature"):
        client.carry(Signed(payment, request.signed.signature), carrier)


def test_an_id_that_could_be_a_counter_is_refused():
    with pytest.raises(InvoiceMalformed, match="below 2\\^64"):
        _random((2**64 - 1).to_bytes(32, "big"))
    assert _random((2**64).to_bytes(32, "big")) == (2**64).to_bytes(32, "big")


def test_what_an_invoice_is_for_is_nowhere_on_the_chain(invoices, client, carrier, ask, anna, w3):
    request = ask(text="a very private matter")
    receipt = client.carry(invoices.pay(anna, request), carrier)
    sent = w3.eth.get_transaction(receipt["transactionHash"])["input"]
    for secret in (b"a very private matter", request.salt, request.invoice.reference):
        assert secret not in bytes(sent)
        assert all(secret not in bytes(log["data"]) for log in receipt["logs"])


def test_equal_wishes_make_different_invoices(ask):
    one, two = ask(), ask()
    assert one.invoice.id != two.invoice.id
    assert one.invoice.reference != two.invoice.reference


# ------------------------------------------------------------------ a node that shows little


def test_a_node_that_shows_short_ranges_only_is_asked_for_them(invoices, client, carrier, ask, anna, monkeypatch):
    request = ask()
    client.carry(invoices.pay(anna, request), carrier)
    whole = invoices.w3.eth.get_logs

    def short(asked):
        if asked["toBlock"] - asked["fromBlock"] > 2:
            raise Web3RPCError("block range is too wide")
        return whole(asked)

    monkeypatch.setattr(invoices.w3.eth, "get_logs", short)
    assert invoices.state(request).payer == anna.address


def test_a_node_that_shows_nothing_lets_nothing_be_concluded(invoices, ask, anna, monkeypatch):
    def nothing(w3, method, *parameters):
        raise Web3RPCError("no logs here")

    monkeypatch.setattr("liggare.payments.uses.ask", nothing)
    with pytest.raises(LedgerError):
        invoices.pay(anna, ask())


# ------------------------------------------------------------------ making


@pytest.mark.parametrize("value", [0, -1, 2**128])
def test_a_sum_that_nobody_can_pay_is_refused(ask, value):
    with pytest.raises(InvalidAmount):
        ask(value=value)


@pytest.mark.parametrize("words", [{"text": "x" * 201}, {"text": "å" * 101}, {"text": "a\x1b[2Jb"}, {"text": "a\nb"}])
def test_a_text_that_is_too_long_or_acts_on_a_screen_is_refused(ask, words):
    with pytest.raises(InvoiceMalformed):
        ask(**words)


def test_a_time_or_a_payer_that_is_none_is_refused(ask):
    with pytest.raises(InvoiceMalformed):
        ask(valid_before=2**40)
    with pytest.raises(InvalidAddress):
        ask(payer="anna")


def test_ethers_makes_the_same_id_and_finds_the_payee(ask, bo, anna):
    request = ask(payer=anna.address)
    item = {"typedData": request.invoice.typed_data(), "signature": "0x" + request.signed.signature.hex()}
    assert outsider([item]) == [{"digest": request.invoice.id.to_0x_hex(), "signer": bo.address}]


# ------------------------------------------------------------------ the URI

DOMAIN = Domain("Liggare Krona", "1", 1337, address("0x" + "cc" * 20))
PRINTABLE = st.text(st.characters(whitelist_categories=("L", "N", "P", "S")) | st.just(" "), max_size=50)


@given(
    payer=st.none() | st.binary(min_size=20, max_size=20).filter(any),
    value=st.integers(1, 2**128 - 1),
    before=st.integers(1, LATER),
    text=PRINTABLE,
    salt=st.binary(min_size=16, max_size=16),
)
def test_every_invoice_comes_back_from_its_uri(payer, value, before, text, salt):
    request = made(payer, value, before, text, salt)
    uri = request.uri()
    assert uri.isascii()
    assert parse(uri, DOMAIN) == request
    assert parse(uri, DOMAIN).uri() == uri
    parse(uri, DOMAIN).check()


def made(payer, value, before, text, salt) -> PaymentRequest:
    """A request by the key 7, without a chain."""
    from eth_account import Account
    from eth_utils import keccak

    from liggare.payments.invoices import ANYONE, Invoice

    payee = Account.from_key(b"\7" * 32)
    who = address("0x" + payer.hex()) if payer else ANYONE
    invoice = Invoice(DOMAIN, payee.address, who, value, before, keccak(salt + text.encode()))
    return PaymentRequest(invoice.sign(payee), salt, text)


GOOD = made(b"\1" * 20, 12_500_000, 1_800_000_000, "a ladder", b"\2" * 16).uri()


@given(place=st.integers(0, len(GOOD) - 1), char=st.characters(max_codepoint=0x2FF))
def test_a_uri_with_one_character_off_is_refused_by_a_named_error(place, char):
    other = GOOD[:place] + char + GOOD[place + 1 :]
    if other == GOOD:
        return
    with pytest.raises(LiggareError):
        parse(other, DOMAIN).check()


@given(st.text(max_size=400) | st.text("liggare:pay-0x@?v=1&%", max_size=60).map(GOOD.__add__))
def test_no_text_at_all_does_anything_but_be_refused(words):
    if words == GOOD:
        return
    with pytest.raises(LiggareError):
        parse(words, DOMAIN)


@pytest.mark.parametrize(
    ("part", "other", "says"),
    [
        ("liggare:", "LIGGARE:", "no invoice"),
        ("liggare:", "ethereum:", "no invoice"),
        ("v=1", "v=2", "version 2"),
        ("v=1&", "", "no invoice"),
        ("value=", "value=0", "no invoice"),
        ("value=12500000", "value=1e7", "no invoice"),
        ("value=12500000", f"value={2**128}", "out of range"),
        ("before=1800000000", f"before={2**40}", "out of range"),
        ("for=a%20ladder", "for=a+ladder", "no invoice"),
        ("for=a%20ladder", "for=%61%20ladder", "not spelled"),
        ("for=a%20ladder", "for=a%1B%5B2J", "printed"),
        ("for=a%20ladder", "for=%E2%80%AEreddal", "printed"),
        ("for=a%20ladder", "for=a%0Aladder", "printed"),
        ("for=a%20ladder", "for=%FF", "no invoice"),
        ("for=a%20ladder", "for=a%2", "not spelled"),
        ("for=a%20ladder", "for=" + "x" * 201, "200 bytes"),
        ("for=a%20ladder", "for=" + "x" * 2000, "1200 characters"),
        ("for=a%20ladder&", "for=a&for=b&", "no invoice"),
        ("for=a%20ladder&", "", None),
        ("&salt=", "&extra=1&salt=", "no invoice"),
        ("from=0x" + "01" * 20, "from=0x" + "00" * 20, "not spelled"),
        ("0xCcCC", "0xCccc", "checksum"),
        ("Ag&sig", "Ah&sig", "not spelled"),
    ],
)
def test_a_hostile_uri_is_refused_and_told_why(part, other, says):
    assert part in GOOD
    with pytest.raises(LiggareError, match=says):
        parse(GOOD.replace(part, other, 1), DOMAIN).check()


def test_a_uri_with_spaces_or_lines_around_it_is_refused():
    for words in (GOOD + "\n", " " + GOOD, GOOD + "#x", GOOD + "&"):
        with pytest.raises(InvoiceMalformed):
            parse(words, DOMAIN)
