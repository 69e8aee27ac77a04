"""`payBatch`: many payments in one transaction, each on its own; a bad one is skipped, never burnt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from brownie import HostileWallet, OwnedWallet, ZeroFeePayments
from brownie.exceptions import VirtualMachineError
from eth_account import Account

from liggare.errors import DataError
from liggare.payments.codec import Outcome, decode, encode
from liggare.payments.messages import CancelAuthorization, PaymentBundle, counter
from tests.payments.conftest import KRONA, vrs
from tests.support import isolated, now, refused

LATER = 2**32 - 1
RANDOM = b"\xab" * 32


@pytest.fixture
def item(payment):
    """Make a payment that has a packed form."""
    return lambda **changes: payment(**{"valid_before": LATER, **changes})


@pytest.fixture
def bundle(domain, anna, bo, cia):
    """Make Anna's bundle: 10 to Bo, 20 to Cia, 5 to Bo."""

    def bundle(**changes):
        sums = ((bo, 10), (cia, 20), (bo, 5))
        members = {
            "domain": domain,
            "from_": anna.address,
            "payments": tuple({"to": to.address, "value": kronor * KRONA} for to, kronor in sums),
            "valid_after": 0,
            "valid_before": LATER,
            "nonce": counter(1),
        }
        return PaymentBundle(**{**members, **changes})

    return bundle


@pytest.fixture
def carry_batch(payments, operator):
    """Carry signed items in one batch; return the outcomes and Brownie's receipt."""

    def carry_batch(*items, **extra):
        tx = payments.payBatch(encode(items), {"from": operator, **extra})
        skipped = (
            {event["item"]: Outcome(event["outcome"]) for event in tx.events["PaymentSkipped"]}
            if ("PaymentSkipped" in tx.events)
            else {}
        )
        return [skipped.get(number, Outcome.PAID) for number in range(len(items))], tx

    return carry_batch


def balances(payments, *people):
    return [payments.balanceOf(person.address) // KRONA for person in people]


def test_each_payment_of_a_batch_arrives_whole(payments, carry_batch, item, anna, bo, cia):
    outcomes, tx = carry_batch(
        item(value=100 * KRONA).sign(anna),
        item(from_=bo.address, to=cia.address, value=50 * KRONA).sign(bo),
        item(from_=cia.address, to=anna.address, value=1 * KRONA, nonce=RANDOM).sign(cia),
    )
    assert outcomes == [Outcome.PAID] * 3
    assert balances(payments, anna, bo, cia) == [901, 1050, 1049]
    assert [event["value"] for event in tx.events["Transfer"]] == [100 * KRONA, 50 * KRONA, KRONA]
    assert len(tx.events["AuthorizationUsed"]) == 3
    assert payments.authorizationState(cia.address, RANDOM)


def test_money_can_be_passed_on_within_a_batch(payments, carry_batch, item, anna, bo, cia):
    outcomes, _ = carry_batch(
        item(value=1000 * KRONA).sign(anna),
        item(from_=bo.address, to=cia.address, value=2000 * KRONA).sign(bo),
    )
    assert outcomes == [Outcome.PAID] * 2
    assert balances(payments, anna, bo, cia) == [0, 0, 3000]


def test_a_payment_to_oneself_makes_nothing(payments, carry_batch, item, anna):
    outcomes, _ = carry_batch(item(to=anna.address, value=1000 * KRONA).sign(anna))
    assert outcomes == [Outcome.PAID]
    assert balances(payments, anna) == [1000]


def test_overspending_inside_a_batch_skips_the_later_item(payments, carry_batch, item, anna, bo):
    outcomes, _ = carry_batch(item(value=600 * KRONA).sign(anna), item(value=600 * KRONA, nonce=counter(2)).sign(anna))
    assert outcomes == [Outcome.PAID, Outcome.INSUFFICIENT_BALANCE]
    assert balances(payments, anna, bo) == [400, 1600]
    assert not payments.authorizationState(anna.address, counter(2))


def test_one_item_twice_in_a_batch_pays_once(payments, carry_batch, item, anna, bo):
    for nonce in (counter(1), RANDOM):
        with isolated():
            signed = item(nonce=nonce).sign(anna)
            outcomes, _ = carry_batch(signed, signed)
            assert outcomes == [Outcome.PAID, Outcome.NONCE_USED]
            assert balances(payments, anna, bo) == [880, 1120]


def test_every_bad_item_is_skipped_by_its_reason_and_the_good_ones_paid(
    payments, carry_batch, item, operator, domain, anna, bo, cia, mallory
):
    start = now()
    cancel = CancelAuthorization(domain, cia.address, RANDOM).sign(cia)
    payments.cancelAuthorization(cia.address, RANDOM, *vrs(cancel.signature), {"from": operator})
    good = item(value=KRONA).sign(anna)
    bad = {
        Outcome.NOT_YET_VALID: item(valid_after=start + 1000, nonce=counter(2)).sign(anna),
        Outcome.EXPIRED: item(valid_before=start, nonce=counter(3)).sign(anna),
        Outcome.INVALID_RECEIVER: item(to=payments.address, nonce=counter(4)).sign(anna),
        Outcome.NONCE_USED: item(from_=cia.address, nonce=RANDOM).sign(cia),
        Outcome.INVALID_SIGNATURE: item(nonce=counter(5)).sign(mallory),
        Outcome.INSUFFICIENT_BALANCE: item(value=1000 * KRONA, nonce=counter(6)).sign(anna),
    }
    nobody = item(to="0x" + "0" * 40, nonce=counter(7)).sign(anna)
    outcomes, _ = carry_batch(good, *bad.values(), nobody, item(value=KRONA, nonce=counter(8)).sign(anna))
    assert outcomes == [Outcome.PAID, *bad, Outcome.INVALID_RECEIVER, Outcome.PAID]
    assert balances(payments, anna, bo) == [998, 1002]
    assert payments.nonceState(anna.address) == (8, 0b10000001)


def test_the_same_outcomes_come_back_to_a_dry_run(payments, item, operator, anna, mallory):
    batch = encode([item().sign(anna), item(nonce=counter(2)).sign(mallory)])
    assert bytes(payments.payBatch.call(batch, {"from": operator})) == bytes([0, Outcome.INVALID_SIGNATURE])


@pytest.mark.parametrize(
    "change", [{"value": 1}, {"valid_after": 1}, {"valid_before": LATER - 1}, {"nonce": counter(9)}]
)
def test_an_altered_item_is_skipped(payments, carry_batch, item, anna, bo, change):
    signed = item().sign(anna)
    outcomes, _ = carry_batch(replace(signed, message=item(**change)))
    assert outcomes == [Outcome.INVALID_SIGNATURE]
    assert balances(payments, anna, bo) == [1000, 1000]


def test_an_item_for_another_contract_or_chain_is_skipped(payments, carry_batch, item, domain, anna):
    for elsewhere in (replace(domain, chain_id=1), replace(domain, verifying_contract="0x" + "11" * 20)):
        signed = item(domain=elsewhere).sign(anna)
        assert carry_batch(replace(signed, message=item()))[0] == [Outcome.INVALID_SIGNATURE]


def test_nobody_signs_for_the_zero_address(payments, carry_batch, item, anna):
    forged = replace(item(from_="0x" + "0" * 40, value=0).sign(anna), signature=bytes(64) + b"\x1b")
    assert carry_batch(forged)[0] == [Outcome.INVALID_SIGNATURE]


def test_an_item_landed_by_a_stranger_first_is_skipped_and_the_rest_paid(payments, carry, carry_batch, item, anna, bo):
    first, second = item().sign(anna), item(nonce=counter(2)).sign(anna)
    carry(first)
    assert carry_batch(first, second)[0] == [Outcome.NONCE_USED, Outcome.PAID]
    assert balances(payments, anna, bo) == [760, 1240]


# ------------------------------------------------------------------ bundles


def test_a_bundle_pays_all_of_its_payments_under_one_signature(payments, carry_batch, bundle, anna, bo, cia):
    outcomes, tx = carry_batch(bundle().sign(anna))
    assert outcomes == [Outcome.PAID]
    assert balances(payments, anna, bo, cia) == [965, 1015, 1020]
    assert len(tx.events["AuthorizationUsed"]) == 1
    assert len(tx.events["Transfer"]) == 3


def test_a_bundle_works_once(carry_batch, bundle, anna):
    signed = bundle(nonce=RANDOM).sign(anna)
    assert carry_batch(signed, signed)[0] == [Outcome.PAID, Outcome.NONCE_USED]


def test_a_bundle_beyond_the_balance_pays_nothing_of_it(payments, carry_batch, bundle, anna, bo, cia):
    great = bundle(payments=tuple({"to": to.address, "value": 400 * KRONA} for to in (bo, cia, bo)))
    assert carry_batch(great.sign(anna))[0] == [Outcome.INSUFFICIENT_BALANCE]
    assert balances(payments, anna, bo, cia) == [1000, 1000, 1000]
    assert not payments.authorizationState(anna.address, counter(1))


def test_a_bundle_with_one_bad_receiver_pays_nothing_of_it(payments, carry_batch, bundle, anna, bo):
    spoilt = bundle(payments=({"to": bo.address, "value": 1}, {"to": payments.address, "value": 1}))
    assert carry_batch(spoilt.sign(anna))[0] == [Outcome.INVALID_RECEIVER]
    assert balances(payments, anna, bo) == [1000, 1000]


def test_an_altered_bundle_is_skipped(payments, carry_batch, bundle, anna, bo, cia, mallory):
    signed = bundle().sign(anna)
    rows = signed.message.payments
    for altered in (
        (rows[1], rows[0], rows[2]),
        rows[:2],
        (*rows, rows[0]),
        ({**rows[0], "to": mallory.address}, *rows[1:]),
        ({**rows[0], "value": 11 * KRONA}, *rows[1:]),
    ):
        message = replace(signed.message, payments=altered)
        assert carry_batch(replace(signed, message=message))[0] == [Outcome.INVALID_SIGNATURE]
    assert balances(payments, anna, bo, cia) == [1000, 1000, 1000]


# ------------------------------------------------------------------ contract wallets


def test_a_wallet_pays_in_a_batch(payments, carry_batch, item, operator, anna, bo):
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, 50 * KRONA, {"from": operator})
    signed = item(from_=wallet.address, value=20 * KRONA).sign(anna)
    plain = carry_batch(signed)[0]
    assert plain == [Outcome.INVALID_SIGNATURE], "a key's form of signature is a key's"
    batch = bytearray(encode([signed]))
    head = 4 + 2 * 20
    batch[head + 4] |= 0x40
    body = (65).to_bytes(32, "big") + signed.signature + bytes(31)
    tx = payments.payBatch(bytes(batch[: head + 24]) + body, {"from": operator})
    assert "PaymentSkipped" not in tx.events
    assert balances(payments, wallet, bo) == [30, 1020]


@pytest.mark.parametrize("mood", range(4), ids=["burns gas", "floods", "answers short", "reverts"])
def test_a_hostile_wallet_costs_the_others_nothing(payments, carry_batch, item, operator, anna, bo, mood):
    wallet = HostileWallet.deploy(mood, {"from": operator})
    hostile = replace(item(from_=wallet.address, value=0).sign(anna), signature=b"\x01" * 40)
    outcomes, tx = carry_batch(hostile, item().sign(anna))
    assert outcomes == [Outcome.INVALID_SIGNATURE, Outcome.PAID]
    assert tx.gas_used < 260_000


# ------------------------------------------------------------------ malformed batches


def test_accounts_that_do_not_ascend_are_refused(payments, item, operator, anna, bo):
    batch = encode([item().sign(anna)])
    low, high = sorted((anna.address, bo.address), key=lambda one: int(one, 16))
    swapped = batch[:4] + batch[24:44] + batch[4:24] + batch[44:]
    doubled = batch[:4] + batch[4:24] + batch[4:24] + batch[44:]
    with refused(ZeroFeePayments, "PaymentsBatchAccountsUnsorted", high, low):
        payments.payBatch(swapped, {"from": operator})
    with refused(ZeroFeePayments, "PaymentsBatchAccountsUnsorted", low, low):
        payments.payBatch(doubled, {"from": operator})


def test_a_batch_cut_off_anywhere_is_refused_and_moves_nothing(payments, item, bundle, operator, domain, anna, bo):
    batch = encode([item(nonce=RANDOM).sign(anna), bundle().sign(anna)])
    for size in [*range(0, 60, 7), *range(60, len(batch), 13), len(batch) - 1]:
        with pytest.raises(Exception, match="PaymentsBatchMalformed"):
            payments.payBatch.call(batch[:size], {"from": operator})
        with pytest.raises(DataError):
            decode(batch[:size], domain)


def test_a_batch_that_goes_on_too_long_is_refused(payments, item, operator, domain, anna):
    batch = encode([item().sign(anna)])
    with refused(ZeroFeePayments, "PaymentsBatchMalformed", len(batch)):
        payments.payBatch(batch + b"\0", {"from": operator})
    with pytest.raises(DataError):
        decode(batch + b"\0", domain)


def test_good_payments_beyond_the_batchs_end_are_refused(payments, item, operator, anna):
    """As further items than it says that it has, and behind the batch in calldata."""
    whole = encode([item(nonce=counter(number)).sign(anna) for number in (1, 2, 3)])
    short = whole[:2] + (2).to_bytes(2, "big") + whole[4:]
    with refused(ZeroFeePayments, "PaymentsBatchMalformed", len(whole)):
        payments.payBatch(short, {"from": operator})
    cut = len(whole) - 88
    for batch in (short[:cut], whole[:cut]):
        calldata = payments.payBatch.encode_input(batch)[: 2 + 2 * (4 + 64 + cut)] + whole[cut:].hex()
        with refused(ZeroFeePayments, "PaymentsBatchMalformed", cut):
            operator.transfer(payments, data=calldata, gas_limit=1_000_000)


def test_a_place_that_no_account_has_is_refused(payments, item, operator, anna):
    batch = bytearray(encode([item().sign(anna)]))
    for offset in (48, 50):  # the payer's and the payee's place: the head begins at 44
        broken = bytearray(batch)
        broken[offset + 1] = 2
        with refused(ZeroFeePayments, "PaymentsBatchMalformed", 44):
            payments.payBatch(bytes(broken), {"from": operator})


def test_a_counter_nonce_has_one_form_only(payments, item, operator, anna):
    """A counter nonce sent as a random one would otherwise live in two places, and pay twice."""
    batch = encode([item(nonce=counter(1)).sign(anna)])
    for nonce in (1, 2**32 - 1):
        as_long = batch[44:48] + bytes([batch[48] | 0x80]) + batch[49:64] + bytes(4) + counter(nonce) + batch[68:]
        with refused(ZeroFeePayments, "PaymentsBatchMalformed", 68):
            payments.payBatch(batch[:44] + as_long, {"from": operator})
    both = batch[:48] + bytes([batch[48] | 0x80]) + batch[49:68] + RANDOM + batch[68:]
    with refused(ZeroFeePayments, "PaymentsBatchMalformed", 44):
        payments.payBatch(both, {"from": operator})


def test_a_bundle_of_nothing_is_refused(payments, bundle, operator, anna):
    batch = bytearray(encode([bundle(payments=({"to": anna.address, "value": 1},)).sign(anna)]))
    head = 24
    batch[head + 7] = 0
    with pytest.raises(Exception, match="PaymentsBatchMalformed"):
        payments.payBatch(bytes(batch[:-10]), {"from": operator})


def test_an_endless_signature_is_refused(payments, item, operator, anna):
    signed = replace(item().sign(anna), signature=b"\1" * 40)
    batch = encode([signed])
    endless = batch[:68] + (2**256 - 1).to_bytes(32, "big") + batch[100:]
    with refused(ZeroFeePayments, "PaymentsBatchMalformed", 68):
        payments.payBatch(endless, {"from": operator})


def test_a_message_without_a_packed_form_is_refused_by_the_codec(item, anna):
    for change in ({"value": 2**64}, {"valid_before": 2**32}, {"valid_after": 2**32}):
        with pytest.raises(DataError, match="no packed form"):
            encode([item(**change).sign(anna)])


def test_packing_and_unpacking_are_inverse(item, bundle, domain, anna, bo):
    items = [
        item().sign(anna),
        bundle(nonce=RANDOM).sign(anna),
        item(from_=bo.address, nonce=b"\xfe" * 32).sign(bo),
        item(nonce=counter(2**32 - 1), value=2**64 - 1).sign(anna),
        item(nonce=counter(2**32)).sign(anna),
        replace(item(nonce=counter(2**64 - 1)).sign(anna), signature=b"wallet"),
    ]
    assert decode(encode(items), domain) == items


# ------------------------------------------------------------------ gas


def swept(payments, operator, batch, expected, limits):
    """Try the batch with each gas limit: carried out as expected, or reverted. Return which of these was seen."""
    seen = set()
    for limit in limits:
        try:
            outcome = payments.payBatch.call(batch, {"from": operator, "gas_limit": limit})
        except (VirtualMachineError, ValueError):
            seen.add("reverted")
        else:
            assert list(bytes(outcome)) == expected, limit
            seen.add("whole")
    return seen


def test_a_batch_short_of_gas_reverts_whole_and_never_skips(payments, item, operator, anna, bo):
    """Swept over 200 limits: paid whole or reverted, never a starved skip."""
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, 50 * KRONA, {"from": operator})
    from_wallet = item(from_=wallet.address, value=KRONA).sign(anna)
    items = [item(value=1, nonce=counter(number)).sign(anna) for number in range(4)]
    batch = encode([*items, replace(from_wallet, signature=from_wallet.signature + b"\0")])
    expected = [Outcome.PAID] * 4 + [Outcome.INVALID_SIGNATURE]
    limits = range(60_000, 460_000, 2_000)
    assert swept(payments, operator, batch, expected, limits) == {"reverted", "whole"}


def test_a_mixed_batch_short_of_gas_reverts_whole_and_never_skips(payments, item, bundle, operator, anna, cia, mallory):
    """Swept over 300 limits, in both loops and the readable way, a paying wallet amidst and a forgery at the end."""
    wallet = OwnedWallet.deploy(anna.address, {"from": operator})
    payments.mint(wallet, 50 * KRONA, {"from": operator})
    from_wallet = item(from_=wallet.address, value=KRONA).sign(anna)
    items = [
        item(value=1, nonce=counter(9)).sign(anna),
        item(value=1, nonce=counter(3)).sign(anna),
        bundle(nonce=counter(10)).sign(anna),
        replace(from_wallet, signature=from_wallet.signature + b"\0"),
        item(value=1, nonce=RANDOM).sign(anna),
        bundle(nonce=RANDOM, from_=cia.address).sign(cia),
        item(value=1, nonce=counter(11)).sign(mallory),
    ]
    batch = encode(items).replace((66).to_bytes(32, "big"), (65).to_bytes(32, "big"))
    expected = [Outcome.PAID] * 6 + [Outcome.INVALID_SIGNATURE]
    limits = range(50_000, 650_000, 2_000)
    assert swept(payments, operator, batch, expected, limits) == {"reverted", "whole"}


def people(count, seed):
    return [Account.from_key(bytes([seed]) * 28 + (i + 1).to_bytes(4, "big")) for i in range(count)]


@pytest.fixture
def mint_all(payments, carry_batch, bundle, operator):
    """Give many people money in two transactions: to a bank, and on by one bundle."""

    def mint_all(who):
        (bank,) = people(1, 4)
        payments.mint(bank.address, 10**12 * len(who), {"from": operator})
        rows = tuple({"to": person.address, "value": 10**12} for person in who)
        assert carry_batch(bundle(from_=bank.address, payments=rows).sign(bank))[0] == [Outcome.PAID]

    return mint_all


@pytest.fixture
def carry_as_sent(client, carrier):
    """Carry items as the package does, with its access list; return the gas used."""

    def carry_as_sent(items):
        receipt, outcomes = client.carry_batch(items, carrier)
        assert set(outcomes) == {Outcome.PAID}
        return receipt["gasUsed"]

    return carry_as_sent


@pytest.mark.gas
def test_gas_of_a_batch_of_distinct_accounts(gas, mint_all, carry_as_sent, item):
    payers, payees = people(100, 1), people(100, 2)
    mint_all([*payers, *payees])

    def round_of(nonce):
        pairs = zip(payers, payees, strict=True)
        return [item(from_=a.address, to=b.address, nonce=counter(nonce)).sign(a) for a, b in pairs]

    carry_as_sent(round_of(1))
    gas("payments.batch.distinct.n100", carry_as_sent(round_of(2)) // 100)


@pytest.mark.gas
@pytest.mark.parametrize("count", [100, 1000])
def test_gas_of_members_paying_each_other(gas, mint_all, carry_as_sent, item, count):
    members = people(100, 3)
    mint_all(members)
    carry_as_sent([item(from_=m.address, to=members[0].address, value=1).sign(m) for m in members])
    used = carry_as_sent(
        [
            item(
                from_=members[i % 100].address,
                to=members[(i * 7 + 1 + i // 100) % 100].address,
                nonce=counter(2 + i // 100),
            ).sign(members[i % 100])
            for i in range(count)
        ]
    )
    if count == 100:
        gas("payments.batch.members100.n100", used // count)
    else:
        gas("payments.batch.members100.n1000", used // count)


@pytest.mark.gas
@pytest.mark.parametrize(("count", "size"), [(100, 10), (20, 50), (60, 50), (100, 50)])
def test_gas_of_bundles(gas, mint_all, carry_as_sent, bundle, count, size):
    """By 100 members, `count` of whom sign a bundle: the accounts' storage is spread over `count * size` payments."""
    members = people(100, 3)
    mint_all(members)

    def round_of(nonce):
        return [
            bundle(
                from_=members[i].address,
                payments=tuple(
                    {"to": members[(i * size + j + 1) % 100].address, "value": 120 * KRONA} for j in range(size)
                ),
                nonce=counter(nonce),
            ).sign(members[i])
            for i in range(count)
        ]

    carry_as_sent(round_of(1))
    used = carry_as_sent(round_of(2)) // (count * size)
    if size == 10:
        gas("payments.bundle.k10", used)
    elif count == 20:
        gas("payments.bundle.k50.bundles20", used)
    elif count == 60:
        gas("payments.bundle.k50.bundles60", used)
    else:
        gas("payments.bundle.k50", used)
