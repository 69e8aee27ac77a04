"""Attacks on the money, each tried on every way by which a payment can land; docs/attacks.md lists them.

A way signs a payment to the shop and lands it. What it says is None where the payment was made, else the
contract's reason without its prefix: `NonceUsed` is the error PaymentsNonceUsed, or the outcome of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from brownie import OwnedWallet, ThievingWallet
from brownie import accounts as brownie_accounts
from brownie.exceptions import VirtualMachineError
from eth_account import Account

from liggare.messages import Signed, compact
from liggare.payments.codec import Outcome, encode
from liggare.payments.messages import (
    CancelAuthorization,
    PaymentBundle,
    ReceiveWithAuthorization,
    TransferWithAuthorization,
    counter,
)
from tests.payments.conftest import KRONA, vrs
from tests.support import now

LATER = 2**32 - 1
RANDOM = b"\xab" * 32
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
BYTES = "address,address,uint256,uint256,uint256,bytes32,bytes"
SINGLE = ["words", "bytes", "compact", "receive words", "receive bytes", "wallet"]
BATCHES = ["batch alone", "batch in company", "bundle", "wallet in batch"]


@dataclass
class Way:
    """One way to pay: the message's type, whose money, who signs, and how it is landed."""

    kind: type
    payer: str
    signer: Any
    shop: str
    domain: Any
    submit: Callable[[Signed], str | None]

    def message(self, **changes):
        """The payment of 120 to the shop with some members changed."""
        members = {"domain": self.domain, "from_": self.payer, "valid_after": 0, "valid_before": LATER}
        to, value = changes.pop("to", self.shop), changes.pop("value", 120 * KRONA)
        if self.kind is PaymentBundle:
            members["payments"] = ({"to": to, "value": value},)
        else:
            members |= {"to": to, "value": value}
        return self.kind(**{**members, "nonce": counter(1), **changes})

    def sign(self, **changes) -> Signed:
        return self.message(**changes).sign(self.signer)


def reason(error: VirtualMachineError) -> str:
    """The name of the custom error, without its prefix."""
    return str(error.revert_msg).split(":")[0].removeprefix("Payments")


@pytest.fixture(params=[*SINGLE, *BATCHES])
def way(request, payments, operator, domain, anna, cia):
    name = request.param
    shop = brownie_accounts[3]
    payer = anna.address
    if name.startswith("wallet"):
        payer = OwnedWallet.deploy(anna.address, {"from": operator}).address
        payments.mint(payer, 1000 * KRONA, {"from": operator})
    company = iter(range(10**6))  # Cia's nonces

    def single(method, form, caller):
        def submit(signed):
            values, (to, *_) = signed.message.values().values(), [signed.message.to]
            try:
                method(*values, *form(signed.signature), {"from": caller or to})
            except VirtualMachineError as error:
                return reason(error)
            return None

        return submit

    def batch(signed):
        alone = name == "batch alone"
        others = [
            TransferWithAuthorization(domain, cia.address, operator.address, 1, 0, LATER, counter(next(company)))
            for _ in range(0 if alone else 2)
        ]
        items = [signed] if alone else [others[0].sign(cia), signed, others[1].sign(cia)]
        if name == "wallet in batch":
            # a key's form of signature is a key's: in the contract wallet's form it has one byte more
            items[1] = replace(signed, signature=signed.signature + b"\0")
            packed = encode(items).replace((66).to_bytes(32, "big"), (65).to_bytes(32, "big"))
        else:
            packed = encode(items)
        before = payments.balanceOf(cia.address)
        tx = payments.payBatch(packed, {"from": operator})
        assert before - payments.balanceOf(cia.address) == len(others), "the company is paid whatever happens"
        if "PaymentSkipped" not in tx.events:
            return None
        (skipped,) = tx.events["PaymentSkipped"]
        return "".join(word.capitalize() for word in Outcome(skipped["outcome"]).name.split("_"))

    transfer, receive = payments.transferWithAuthorization, payments.receiveWithAuthorization
    submits = {
        "words": single(transfer, vrs, operator),
        "bytes": single(transfer[BYTES], lambda one: [one], operator),
        "compact": single(transfer[BYTES], lambda one: [compact(one) if one[32] < 128 else one[:64]], operator),
        "receive words": single(receive, vrs, None),
        "receive bytes": single(receive[BYTES], lambda one: [one], None),
        "wallet": single(transfer[BYTES], lambda one: [one], operator),
    }
    kind = ReceiveWithAuthorization if "receive" in name else TransferWithAuthorization
    kind = PaymentBundle if name == "bundle" else kind
    return Way(kind, payer, anna, shop.address, domain, submits.get(name, batch))


@pytest.fixture
def shops(payments):
    """What the shop has."""
    return lambda: payments.balanceOf(brownie_accounts[3])


# ------------------------------------------------------------------ replay


@pytest.mark.parametrize("nonce", [counter(1), counter(2**40), RANDOM], ids=["counter", "long", "random"])
def test_a_payment_replayed_is_refused(way, shops, nonce):
    signed = way.sign(nonce=nonce)
    assert [way.submit(signed), way.submit(signed)] == [None, "NonceUsed"]
    assert shops() == 120 * KRONA


@pytest.mark.parametrize(
    "change",
    [{"chain_id": 1}, {"verifying_contract": "0x" + "11" * 20}, {"version": "2"}, {"name": "Krone"}],
    ids=["chain", "contract", "version", "name"],
)
def test_a_payment_replayed_from_elsewhere_is_refused(way, shops, change):
    elsewhere = way.sign(domain=replace(way.domain, **change))
    assert way.submit(replace(elsewhere, message=way.message())) == "InvalidSignature"
    assert shops() == 0


@pytest.mark.parametrize("nonce", [counter(1), RANDOM], ids=["counter", "random"])
def test_a_payment_replayed_after_its_cancel_is_refused(way, shops, payments, operator, nonce):
    signed = way.sign(nonce=nonce)
    cancel = CancelAuthorization(way.domain, way.payer, nonce).sign(way.signer)
    payments.cancelAuthorization["address,bytes32,bytes"](way.payer, nonce, cancel.signature, {"from": operator})
    assert way.submit(signed) == "NonceUsed"
    assert shops() == 0


def test_a_signature_of_one_kind_does_not_pay_as_another(way, shops, domain):
    """Transfer, receive and bundle have the same members, or nearly: each is signed under its own name."""
    plain = {"domain": domain, "from_": way.payer, "valid_after": 0, "valid_before": LATER, "nonce": counter(1)}
    one = {**plain, "to": way.shop, "value": 120 * KRONA}
    others = {
        TransferWithAuthorization: TransferWithAuthorization(**one),
        ReceiveWithAuthorization: ReceiveWithAuthorization(**one),
        PaymentBundle: PaymentBundle(**plain, payments=({"to": way.shop, "value": 120 * KRONA},)),
    }
    del others[way.kind]
    for other in others.values():
        assert way.submit(Signed(way.message(), other.sign(way.signer).signature)) == "InvalidSignature"
    assert shops() == 0


# ------------------------------------------------------------------ altered


@pytest.mark.parametrize(
    "change",
    [
        {"value": 121 * KRONA},
        {"value": 0},
        {"to": "a stranger"},
        {"valid_before": LATER - 1},
        {"valid_after": 1},
        {"nonce": counter(2)},
        {"nonce": RANDOM},
    ],
    ids=["amount", "nothing", "payee", "expiry", "start", "nonce", "nonce made random"],
)
def test_an_altered_payment_is_refused_on_every_way(way, shops, stranger, payments, change):
    change = {**change, "to": stranger.address} if "to" in change else change
    assert way.submit(replace(way.sign(), message=way.message(**change))) == "InvalidSignature"
    assert (shops(), payments.balanceOf(stranger)) == (0, 0)
    assert payments.balanceOf(way.payer) == 1000 * KRONA


def test_anothers_money_cannot_be_named(way, shops, bo):
    """Anna's signature under a payment from Bo."""
    assert way.submit(replace(way.sign(), message=way.message(from_=bo.address))) == "InvalidSignature"
    assert shops() == 0


@pytest.mark.parametrize("byte", [0, 31, 33, 63, 64], ids=["r", "r's end", "s", "s's end", "v"])
def test_an_altered_signature_is_refused(way, shops, byte):
    signed = way.sign()
    broken = bytearray(signed.signature)
    broken[byte] = 55 - broken[byte] if byte == 64 else broken[byte] ^ 1
    assert way.submit(replace(signed, signature=bytes(broken))) == "InvalidSignature"
    assert shops() == 0


def test_the_high_s_twin_is_refused_on_every_way(way, shops):
    signed = way.sign()
    s = ORDER - int.from_bytes(signed.signature[32:64], "big")
    twin = signed.signature[:32] + s.to_bytes(32, "big") + bytes([55 - signed.signature[64]])
    assert way.submit(replace(signed, signature=twin)) == "InvalidSignature"
    assert shops() == 0


def test_a_payment_out_of_its_time_is_refused(way, shops):
    assert way.submit(way.sign(valid_before=now())) == "Expired"
    assert way.submit(way.sign(valid_after=now() + 1000)) == "NotYetValid"
    assert shops() == 0


# ------------------------------------------------------------------ nonces


@pytest.mark.parametrize(("behind", "answer"), [(62, None), (63, None), (64, "NonceUsed"), (65, "NonceUsed")])
def test_the_window_ends_63_behind_the_highest(way, behind, answer):
    assert way.submit(way.sign(nonce=counter(100), value=1)) is None
    assert way.submit(way.sign(nonce=counter(100 - behind), value=1)) == answer
    assert way.submit(way.sign(nonce=counter(100 - behind), value=1)) == "NonceUsed"


@pytest.mark.parametrize("step", [1, 63, 64, 65, 2**40])
def test_sliding_the_window_frees_no_used_nonce(way, step):
    for number in (100, 99):
        assert way.submit(way.sign(nonce=counter(number), value=1)) is None
    assert way.submit(way.sign(nonce=counter(100 + step), value=1)) is None
    for number in (100, 99, 100 + step):
        assert way.submit(way.sign(nonce=counter(number), value=1)) == "NonceUsed"


@pytest.mark.parametrize("number", [2**32, 2**64, 2**64 + 7, 7 << 192], ids=["2^32", "2^64", "2^64+7", "7<<192"])
def test_a_counter_cannot_be_sent_as_a_random_nonce_nor_the_reverse(way, shops, number):
    """Numbers that would be one nonce to a reader who cuts them to 32 or 64 bits, or turns them round."""
    long, cut = number.to_bytes(32, "big"), counter(number % 2**32)
    assert way.submit(replace(way.sign(nonce=long), message=way.message(nonce=cut))) == "InvalidSignature"
    assert way.submit(replace(way.sign(nonce=cut), message=way.message(nonce=long))) == "InvalidSignature"
    assert shops() == 0


# ------------------------------------------------------------------ amounts


def test_more_than_the_balance_moves_nothing_and_keeps_the_nonce(way, shops, payments):
    assert way.submit(way.sign(value=1000 * KRONA + 1)) == "InsufficientBalance"
    assert shops() == 0
    assert not payments.authorizationState(way.payer, counter(1))


def test_the_greatest_amount_does_not_overflow(way, shops, payments):
    greatest = 2**64 - 1 if way.submit.__name__ == "batch" else 2**256 - 1
    assert way.submit(way.sign(value=greatest)) == "InsufficientBalance"
    if greatest > 2**64:
        for value in (2**128, 2**128 + 120 * KRONA):
            assert way.submit(way.sign(value=value)) == "InsufficientBalance"
    assert (shops(), payments.balanceOf(way.payer)) == (0, 1000 * KRONA)


def test_a_bundles_sum_does_not_overflow(payments, operator, domain, anna):
    """Sums that a reader of 64 bits, or of 16 rows, would take for little."""
    for rows in ([2**63, 2**63], [2**64 - 1, 1], [2**64 - 1] * 3000):
        to = tuple({"to": operator.address, "value": value} for value in rows)
        bundle = PaymentBundle(domain, anna.address, to, 0, LATER, counter(1)).sign(anna)
        assert list(bytes(payments.payBatch.call(encode([bundle]), {"from": operator}))) == [
            Outcome.INSUFFICIENT_BALANCE
        ]


@pytest.mark.parametrize("value", [0, 1, 999 * KRONA, 1000 * KRONA])
def test_a_payment_to_oneself_makes_nothing_on_every_way(way, payments, operator, value):
    if way.kind is ReceiveWithAuthorization:  # the payee has to call, so it is one with ether
        way.signer = Account.from_mnemonic("test " * 11 + "junk", account_path="m/44'/60'/0'/0/6")
        way.payer = way.signer.address
        payments.mint(way.payer, 1000 * KRONA, {"from": operator})
    supply = payments.totalSupply()
    assert way.submit(way.sign(to=way.payer, value=value)) is None
    assert (payments.balanceOf(way.payer), payments.totalSupply()) == (1000 * KRONA, supply)
    assert way.submit(way.sign(to=way.payer, value=1000 * KRONA + 1, nonce=counter(2))) == "InsufficientBalance"


def test_a_payment_of_nothing_moves_nothing_and_uses_its_nonce(way, shops, payments):
    assert way.submit(way.sign(value=0)) is None
    assert (shops(), payments.balanceOf(way.payer)) == (0, 1000 * KRONA)
    assert way.submit(way.sign()) == "NonceUsed"


def test_money_cannot_be_sent_where_nobody_could_move_it(way, payments):
    nobody = "0x" + "0" * 40
    for to in [payments.address, nobody] if way.kind is not ReceiveWithAuthorization else []:
        assert way.submit(way.sign(to=to)) == "InvalidReceiver"
    assert payments.balanceOf(way.payer) == 1000 * KRONA


def test_money_cannot_be_spent_twice_inside_one_batch(payments, operator, domain, anna, stranger):
    """600 by a payment, by a bundle and by a bundle of several, of the 1,000 that Anna has."""

    def pay(nonce):
        payment = TransferWithAuthorization(
            domain, anna.address, stranger.address, 600 * KRONA, 0, LATER, counter(nonce)
        )
        return payment.sign(anna)

    def bundle(nonce, *kronor):
        rows = tuple({"to": stranger.address, "value": each * KRONA} for each in kronor)
        return PaymentBundle(domain, anna.address, rows, 0, LATER, counter(nonce)).sign(anna)

    short = Outcome.INSUFFICIENT_BALANCE
    for items in (
        [pay(1), bundle(2, 600), bundle(3, 300, 300), pay(4)],
        [bundle(1, 600), pay(2), bundle(3, 200, 200, 200)],
        [bundle(1, 200, 200, 200), bundle(2, 600), pay(3)],
    ):
        outcomes = list(bytes(payments.payBatch.call(encode(items), {"from": operator})))
        assert outcomes == [Outcome.PAID] + [short] * (len(items) - 1)


# ------------------------------------------------------------------ between dry run and block


def test_a_balance_moved_between_dry_run_and_block_burns_nothing(way, shops, payments, operator, domain):
    """The payer spends the money elsewhere after the carrier looked: the payment fails, its nonce is free."""
    signed = way.sign(value=900 * KRONA, nonce=counter(2))
    elsewhere = TransferWithAuthorization(domain, way.payer, operator.address, 950 * KRONA, 0, LATER, counter(1)).sign(
        way.signer
    )
    payments.transferWithAuthorization[BYTES](
        *elsewhere.message.values().values(), elsewhere.signature, {"from": operator}
    )
    assert way.submit(signed) == "InsufficientBalance"
    assert shops() == 0
    assert not payments.authorizationState(way.payer, counter(2))
    payments.mint(way.payer, 850 * KRONA, {"from": operator})
    assert way.submit(signed) is None, "it can still be paid once there is money"


@pytest.mark.parametrize("way", [one for one in BATCHES if one != "bundle"], indirect=True)
def test_an_item_landed_first_by_a_stranger_is_skipped(way, shops, payments, stranger):
    signed = way.sign()
    payments.transferWithAuthorization[BYTES](*signed.message.values().values(), signed.signature, {"from": stranger})
    assert way.submit(signed) == "NonceUsed"
    assert shops() == 120 * KRONA


def test_a_bundle_landed_first_by_a_stranger_is_skipped(payments, operator, stranger, domain, anna):
    rows = ({"to": stranger.address, "value": KRONA},)
    bundle = PaymentBundle(domain, anna.address, rows, 0, LATER, counter(1)).sign(anna)
    after = TransferWithAuthorization(domain, anna.address, stranger.address, KRONA, 0, LATER, counter(2)).sign(anna)
    payments.payBatch(encode([bundle]), {"from": stranger})
    tx = payments.payBatch(encode([bundle, after]), {"from": operator})
    assert [each["outcome"] for each in tx.events["PaymentSkipped"]] == [Outcome.NONCE_USED]
    assert payments.balanceOf(stranger) == 2 * KRONA


# ------------------------------------------------------------------ a wallet that re-enters


@pytest.fixture
def thief(payments, operator):
    """A contract wallet with 1,000 that takes every signature, and what it tries when it is asked."""
    wallet = ThievingWallet.deploy({"from": operator})
    payments.mint(wallet, 1000 * KRONA, {"from": operator})
    return wallet


@pytest.mark.parametrize("in_batch", [False, True], ids=["single", "batch"])
@pytest.mark.parametrize("again", ["transfer", "payBatch"])
def test_a_wallet_that_re_enters_spends_once(payments, operator, stranger, domain, anna, thief, in_batch, again):
    def paid_by_thief(nonce):
        message = TransferWithAuthorization(
            domain, thief.address, operator.address, 1000 * KRONA, 0, LATER, counter(nonce)
        )
        return Signed(message, b"\1" * 40)

    if again == "transfer":
        planned = payments.transfer.encode_input(stranger, 1000 * KRONA)
    else:  # a good payment of Anna's: what it writes would be lost under what the outer batch writes back
        inner = TransferWithAuthorization(domain, anna.address, thief.address, KRONA, 0, LATER, counter(1)).sign(anna)
        planned = payments.payBatch.encode_input(encode([inner]))
    thief.plan(payments, planned, {"from": operator})
    assert thief.act.call({"from": operator}), "outside, the call gets through"
    signed = paid_by_thief(1)
    if in_batch:
        tx = payments.payBatch(encode([signed]), {"from": operator})
        assert "PaymentSkipped" not in tx.events
    else:
        values = signed.message.values().values()
        payments.transferWithAuthorization[BYTES](*values, signed.signature, {"from": operator})
    assert payments.balanceOf(operator) == 1000 * KRONA
    assert payments.balanceOf(thief) == payments.balanceOf(stranger) == 0
    assert payments.balanceOf(anna.address) == 1000 * KRONA
