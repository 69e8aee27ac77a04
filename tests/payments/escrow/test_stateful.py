"""Random histories of purchases against a plain-Python mirror that was written from the promises alone.

A history is a list of actions of at least a dozen: Hypothesis' own machine begins with histories of one or two steps,
and with as few histories as there is time for here it would see no others.
"""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from brownie.exceptions import VirtualMachineError
from eth_account import Account
from hypothesis import HealthCheck, given, settings

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.escrow import State
from liggare.payments.escrow_rules import EscrowRules
from liggare.payments.purchase import NOBODY, Arbitration, Claim, Purchase, Refund, Release
from liggare.payments.rules import PaymentRules
from tests.support import isolated, now

MEMBERS = [Account.from_key(bytes([9] * 31 + [i])) for i in range(1, 5)]
STEP = 10_000
"""Deadlines are whole steps from the start, and the clock stands half a step beside them: no second decides."""

member = st.integers(0, len(MEMBERS) - 1)
who = st.sampled_from([None, None, None, None, *range(len(MEMBERS))])  # None: the rightful one
people = st.tuples(member, member, st.sampled_from([None, 0, 1, 2, 3]))  # buyer, seller, arbiter
times = st.tuples(st.integers(0, 3), st.integers(0, 3))  # steps from now
known = st.integers(0, 99)  # a purchase that was thought of, counted round
actions = st.one_of(
    st.tuples(st.just("buy"), people, st.integers(0, 300), times),
    st.tuples(st.just("think_of"), people, st.integers(0, 1500), times, st.booleans()),
    st.tuples(st.just("fund"), known, who, who),
    st.tuples(st.just("end"), known, who, st.sampled_from([Release, Refund, Claim])),
    st.tuples(st.just("reclaim"), known),
    st.tuples(st.just("arbitrate"), known, who, st.integers(0, 300), st.sampled_from([0, 0, 0, -1, 1])),
    st.tuples(st.just("give"), st.integers(0, 50)),
    st.tuples(st.just("wait"), st.integers(1, 3)),
)


class History:
    """What happens, to the escrow and in the plainest words: who has what, and where each purchase stands."""

    def __init__(self, shop, seen: Counter) -> None:
        self.shop, self.seen = shop, seen
        self.start, self.step, self.count = now(), 1, 0
        shop.go_to(self.now())
        self.money = {each.address: 1000 for each in MEMBERS}
        for each in MEMBERS:
            shop.money.mint(each.address, 1000, {"from": shop.operator})
        self.gifts = 0
        self.known: list[Purchase] = []
        self.states: dict[bytes, State] = {}
        self.buy((0, 1, 2), 100, (1, 1))

    # ------------------------------------------------------------------ the mirror

    def now(self) -> int:
        return self.start + self.step * STEP - STEP // 2

    def state(self, purchase) -> State:
        return self.states.get(bytes(purchase.id), State.NONE)

    def open_value(self) -> int:
        found = {bytes(purchase.id): purchase.value for purchase in self.known}
        return sum(found[id_] for id_, state in self.states.items() if state == State.OPEN)

    def finish(self, purchase, state: State, to_seller: int) -> None:
        self.seen[state.name] += 1
        self.states[bytes(purchase.id)] = state
        self.money[purchase.seller] += to_seller
        self.money[purchase.buyer] += purchase.value - to_seller

    def signer(self, rightful: str, other):
        """Who signs, and whether it is the rightful one."""
        account = next(each for each in MEMBERS if each.address == rightful) if other is None else MEMBERS[other]
        return account, account.address == rightful

    def happens(self, error: str | None, action) -> bool:
        """Act; expect this error by its name, or success, and tell which."""
        if error is None:
            action()
        else:
            self.seen[error] += 1
            with pytest.raises(VirtualMachineError, match=f"{error}: "):
                action()
        return error is None

    # ------------------------------------------------------------------ actions

    def think_of(self, people, value, times, again) -> None:
        """Any terms, also such as can't be meant; sometimes with the same number again."""
        self.count += not again
        self.known.append(self.terms(people, value, self.step + times[0], self.step + times[1]))

    def buy(self, people, value, times) -> None:
        """As two who mean it: the deadlines ahead and in order, paid by the buyer, offered by the seller."""
        self.count += 1
        self.known.append(self.terms(people, value, self.step + times[0], self.step + sum(times)))
        self.fund(len(self.known) - 1, None, None)

    def terms(self, people, value, claim_step, reclaim_step) -> Purchase:
        buyer, seller, arbiter = people
        return self.shop.terms(
            buyer=MEMBERS[buyer].address,
            seller=MEMBERS[seller].address,
            arbiter=NOBODY if arbiter is None else MEMBERS[arbiter].address,
            value=value,
            claim_after=self.start + claim_step * STEP,
            reclaim_after=self.start + reclaim_step * STEP,
            order_hash=self.count.to_bytes(32, "big"),
        )

    def fund(self, which, payer, offered) -> None:
        purchase = self.known[which % len(self.known)]
        account, paid = self.signer(purchase.buyer, payer)
        seller, named = self.signer(purchase.seller, offered)
        offer = purchase.sign(seller).signature if purchase.arbiter != NOBODY else b""
        error = None
        if purchase.claim_after > purchase.reclaim_after:
            error = "EscrowBadDeadlines"
        elif self.now() > purchase.claim_after:
            error = "EscrowTooLate"
        elif self.state(purchase) != State.NONE:
            error = "EscrowFundedBefore"
        elif purchase.arbiter != NOBODY and not named:
            error = "EscrowInvalidSignature"
        elif not paid:
            error = "PaymentsInvalidSignature"
        elif self.money[purchase.buyer] < purchase.value:
            error = "PaymentsInsufficientBalance"
        if self.happens(error, lambda: self.shop.fund(purchase, account, offer)):
            self.seen["OPEN"] += 1
            self.states[bytes(purchase.id)] = State.OPEN
            self.money[purchase.buyer] -= purchase.value

    def end(self, which, other, word) -> None:
        purchase = self.known[which % len(self.known)]
        signer, rightful = self.signer(purchase.buyer if word is Release else purchase.seller, other)
        error = None
        if word is Claim and self.now() <= purchase.claim_after:
            error = "EscrowTooEarly"
        elif word is Claim and self.now() > purchase.reclaim_after:
            error = "EscrowClaimOver"
        elif not rightful:
            error = "EscrowInvalidSignature"
        elif self.state(purchase) != State.OPEN:
            error = "EscrowNotOpen"
        if self.happens(error, lambda: self.shop.end(word(purchase.domain, purchase), signer)):
            state = {Release: State.RELEASED, Refund: State.REFUNDED, Claim: State.CLAIMED}[word]
            self.finish(purchase, state, 0 if word is Refund else purchase.value)

    def reclaim(self, which) -> None:
        purchase = self.known[which % len(self.known)]
        error = None
        if self.now() <= purchase.reclaim_after:
            error = "EscrowTooEarly"
        elif self.state(purchase) != State.OPEN:
            error = "EscrowNotOpen"
        if self.happens(error, lambda: self.shop.reclaim(purchase)):
            self.finish(purchase, State.RECLAIMED, 0)

    def arbitrate(self, which, other, part, off) -> None:
        purchase = self.known[which % len(self.known)]
        to_seller = min(part, purchase.value)
        to_buyer = max(purchase.value - to_seller + off, 0)
        signer, rightful = MEMBERS[other or 0], False
        if purchase.arbiter != NOBODY:
            signer, rightful = self.signer(purchase.arbiter, other)
        error = None
        if to_buyer + to_seller != purchase.value:
            error = "EscrowBadSplit"
        elif purchase.arbiter == NOBODY:
            error = "EscrowNoArbiter"
        elif not rightful:
            error = "EscrowInvalidSignature"
        elif self.state(purchase) != State.OPEN:
            error = "EscrowNotOpen"
        word = Arbitration(purchase.domain, purchase, to_buyer, to_seller)
        if self.happens(error, lambda: self.shop.end(word, signer)):
            self.finish(purchase, State.ARBITRATED, to_seller)

    def give(self, value) -> None:
        self.shop.money.mint(self.shop.contract, value, {"from": self.shop.operator})
        self.gifts += value

    def wait(self, steps) -> None:
        self.step += steps
        self.shop.go_to(self.now())

    # ------------------------------------------------------------------ what always holds

    def check(self) -> None:
        """The escrow holds what open purchases and gifts make; who has what, and where purchases stand."""
        assert self.shop.held() == self.open_value() + self.gifts
        for account, money in self.money.items():
            assert self.shop.money.balanceOf(account) == money
        for id_, state in self.states.items():
            assert self.shop.contract.stateOf(id_) == state


# Brownie's own `given` sets the chain back between examples; `isolated` does so here
@pytest.mark.filterwarnings("ignore::brownie.exceptions.BrownieTestWarning")
def test_random_histories_agree_with_the_mirror(shop, w3, deployments):
    seen: Counter[str] = Counter()

    @settings(max_examples=14, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck.all())
    @given(st.lists(actions, min_size=12, max_size=14))
    def replay(history):
        with isolated():
            world = History(shop, seen)
            for verb, *words in history:
                getattr(world, verb)(*words)
                world.check()
            state = ChainState(w3, deployments, w3.eth.block_number)
            report = verify(Reader(w3, deployments).rows(), [PaymentRules(), EscrowRules(deployments)], state)
            assert report.findings == []

    replay()
    assert seen["OPEN"] >= 10
    assert {state.name for state in State} & set(seen) - {"OPEN"}, "no purchase ever ended"
