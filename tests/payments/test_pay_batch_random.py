"""Random batches against a plain-Python mirror, so that the loops in assembly have a readable twin that is run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import hypothesis.strategies as st
import pytest
from eth_account import Account
from hypothesis import HealthCheck, given, settings

from liggare.payments.codec import Item, Outcome, encode
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization, counter
from tests.support import isolated, now

MEMBERS = [Account.from_key(bytes([9] * 31 + [i])) for i in range(1, 5)]
NOBODY = "0x" + "0" * 40
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FUNDS = 1000


def twin(signature: bytes) -> bytes:
    """The signature's other form, with s in the upper half, which nobody may use."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@dataclass
class Mirror:
    """What `payBatch` promises, in the words of its manual."""

    money: str  # the contract's address
    time: int
    balances: dict[str, int]
    used: set[tuple[str, bytes]] = field(default_factory=set)
    highest: dict[str, int] = field(default_factory=dict)
    transfers: list[tuple[str, str, int]] = field(default_factory=list)

    def is_used(self, payer: str, nonce: bytes) -> bool:
        number = int.from_bytes(nonce, "big")
        behind = self.highest.get(payer, 0) - number
        return (payer, nonce) in self.used or (number < 2**64 and behind > 63)

    def pay(self, item: Item, is_signed: bool) -> Outcome:
        message = item.message
        payer, bundle = message.from_, isinstance(message, PaymentBundle)
        rows = [(row["to"], row["value"]) for row in message.payments] if bundle else [(message.to, message.value)]
        if any(to in (NOBODY, self.money) for to, _ in rows):
            return Outcome.INVALID_RECEIVER
        if self.time <= message.valid_after:
            return Outcome.NOT_YET_VALID
        if self.time >= message.valid_before:
            return Outcome.EXPIRED
        if self.is_used(payer, message.nonce):
            return Outcome.NONCE_USED
        if not is_signed:
            return Outcome.INVALID_SIGNATURE
        if self.balances[payer] < sum(value for _, value in rows):
            return Outcome.INSUFFICIENT_BALANCE
        self.used.add((payer, message.nonce))
        if (number := int.from_bytes(message.nonce, "big")) < 2**64:
            self.highest[payer] = max(self.highest.get(payer, 0), number)
        for to, value in rows:
            self.balances[payer] -= value
            self.balances[to] += value
            self.transfers.append((payer, to, value))
        return Outcome.PAID


places = st.integers(0, len(MEMBERS) - 1)
# the last two are the contract itself and the zero address
receivers = st.one_of(places, places, places, places, places, st.integers(0, len(MEMBERS) + 1))
values = st.one_of(st.integers(0, FUNDS // 3), st.sampled_from([0, FUNDS, FUNDS + 1, 2**64 - 1]))
nonces = st.one_of(
    st.integers(0, 12).map(counter),
    st.sampled_from([63, 64, 65, 128, 2**32 - 1, 2**32, 2**64 - 1]).map(counter),
    st.sampled_from([2**64, 2**255]).map(lambda number: number.to_bytes(32, "big")),
)
plans = st.tuples(
    places,
    st.lists(st.tuples(receivers, values), min_size=1, max_size=4),
    st.booleans(),  # one row alone: as a bundle?
    nonces,
    st.sampled_from(["good"] * 8 + ["early", "expired", "forged", "altered", "twin"]),
)


def item_of(domain, plan) -> Item:
    """Make a plan's item, signed as the plan says."""
    place, rows, as_bundle, nonce, way = plan
    payer = MEMBERS[place]
    known = [*(member.address for member in MEMBERS), domain.verifying_contract, NOBODY]
    paid = [(known[to], value) for to, value in rows]
    after, before = {"early": (now() + 5000, 2**32 - 1), "expired": (0, now())}.get(way, (0, 2**32 - 1))
    if as_bundle or len(paid) > 1:
        payments = tuple({"to": to, "value": value} for to, value in paid)
        message = PaymentBundle(domain, payer.address, payments, after, before, nonce)
    else:
        message = TransferWithAuthorization(domain, payer.address, *paid[0], after, before, nonce)
    if way == "altered":
        return replace(message.sign(payer), message=replace(message, valid_before=before - 1))
    signed = message.sign(MEMBERS[place - 1] if way == "forged" else payer)
    return replace(signed, signature=twin(signed.signature)) if way == "twin" else signed


# Brownie's own `given` sets the chain back between examples; `isolated` does so here
@pytest.mark.filterwarnings("ignore::brownie.exceptions.BrownieTestWarning")
def test_random_batches_do_what_the_mirror_says(payments, domain, operator):
    for member in MEMBERS:
        payments.mint(member.address, FUNDS, {"from": operator})

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=HealthCheck.all())
    @given(st.lists(plans, min_size=1, max_size=12))
    def agree(batch):
        items = [item_of(domain, plan) for plan in batch]
        mirror = Mirror(domain.verifying_contract, now() + 1, {member.address: FUNDS for member in MEMBERS})
        signed = [plan[4] not in ("forged", "altered", "twin") for plan in batch]
        expected = [mirror.pay(item, good) for item, good in zip(items, signed, strict=True)]
        packed = encode(items)
        assert list(bytes(payments.payBatch.call(packed, {"from": operator}))) == expected
        with isolated():
            tx = payments.payBatch(packed, {"from": operator})
            for account, balance in mirror.balances.items():
                assert payments.balanceOf(account) == balance
                assert payments.nonceState(account)[0] == mirror.highest.get(account, 0)
            for item in items:
                payer, nonce = item.message.from_, item.message.nonce
                assert payments.authorizationState(payer, nonce) == mirror.is_used(payer, nonce)
            events = tx.events["Transfer"] if "Transfer" in tx.events else []  # noqa: SIM401  it has no `get`
            assert [(event["from"], event["to"], event["value"]) for event in events] == mirror.transfers

    agree()
