"""Random histories of purchases against a plain-Python mirror that was written from the promises alone."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from brownie.exceptions import VirtualMachineError
from eth_account import Account
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.escrow import State
from liggare.payments.escrow_rules import EscrowRules
from liggare.payments.purchase import NOBODY, Arbitration, Claim, Purchase, Refund, Release
from liggare.payments.rules import PaymentRules
from tests.support import isolated

MEMBERS = [Account.from_key(bytes([9] * 31 + [i])) for i in range(1, 5)]
STEP = 1000
"""Deadlines are whole steps from the start, and the clock stands half a step beside them: no second decides."""
member = st.integers(0, len(MEMBERS) - 1)
who = st.sampled_from([None, *range(len(MEMBERS))])  # None: the rightful one


class Mirror:
    """Purchases in the plainest words: who has what, and where each purchase stands."""

    def __init__(self, money: int) -> None:
        self.money = {each.address: money for each in MEMBERS}
        self.gifts = 0
        self.states: dict[bytes, State] = {}
        self.terms: dict[bytes, Purchase] = {}

    def open_value(self) -> int:
        return sum(self.terms[id_].value for id_, state in self.states.items() if state == State.OPEN)

    def end(self, purchase: Purchase, state: State, to_seller: int) -> None:
        self.states[bytes(purchase.id)] = state
        self.money[purchase.seller] += to_seller
        self.money[purchase.buyer] += purchase.value - to_seller


def test_random_histories_agree_with_the_mirror(shop, w3, deployments):
    start = shop.start

    class Purchases(RuleBasedStateMachine):
        known = Bundle("known")

        @initialize(target=known)
        def begin(self):
            self.world = isolated()
            self.world.__enter__()
            self.mirror, self.step, self.count = Mirror(1000), 0, 0
            for each in MEMBERS:
                shop.money.mint(each.address, 1000, {"from": shop.operator})
            return shop.terms(buyer=MEMBERS[0].address, seller=MEMBERS[1].address, value=1)

        def teardown(self):
            if hasattr(self, "world"):
                self.world.__exit__(None, None, None)

        def signer(self, rightful: str, other):
            """Who signs, and whether it is the rightful one."""
            account = next(each for each in MEMBERS if each.address == rightful) if other is None else MEMBERS[other]
            return account, account.address == rightful

        def expect(self, error, action):
            """Act, and expect this error by its name, or success."""
            if error is None:
                action()
            else:
                with pytest.raises(VirtualMachineError, match=f"{error}: "):
                    action()

        @rule(
            target=known,
            people=st.tuples(member, member, st.sampled_from([None, 0, 1, 2, 3])),
            value=st.integers(0, 700),
            times=st.tuples(st.integers(0, 4), st.integers(0, 4)),
            again=st.booleans(),
        )
        def make_terms(self, people, value, times, again):
            buyer, seller, arbiter = people
            self.count += not again
            return shop.terms(
                buyer=MEMBERS[buyer].address,
                seller=MEMBERS[seller].address,
                arbiter=NOBODY if arbiter is None else MEMBERS[arbiter].address,
                value=value,
                claim_after=start + (self.step + times[0]) * STEP,
                reclaim_after=start + (self.step + times[1]) * STEP,
                order_hash=self.count.to_bytes(32, "big"),
            )

        @rule(purchase=known, payer=who, offered=who)
        def fund(self, purchase, payer, offered):
            account, paid = self.signer(purchase.buyer, payer)
            seller, named = self.signer(purchase.seller, offered)
            offer = purchase.sign(seller).signature if purchase.arbiter != NOBODY else b""
            id_, error = bytes(purchase.id), None
            if purchase.claim_after > purchase.reclaim_after:
                error = "EscrowBadDeadlines"
            elif self.now() > purchase.claim_after:
                error = "EscrowTooLate"
            elif id_ in self.mirror.states:
                error = "EscrowFundedBefore"
            elif purchase.arbiter != NOBODY and not named:
                error = "EscrowInvalidSignature"
            elif not paid:
                error = "PaymentsInvalidSignature"
            elif self.mirror.money[purchase.buyer] < purchase.value:
                error = "PaymentsInsufficientBalance"
            self.expect(error, lambda: shop.fund(purchase, account, offer))
            if error is None:
                self.mirror.states[id_], self.mirror.terms[id_] = State.OPEN, purchase
                self.mirror.money[purchase.buyer] -= purchase.value

        def state(self, purchase):
            return self.mirror.states.get(bytes(purchase.id), State.NONE)

        def now(self):
            return start + self.step * STEP - STEP // 2

        @rule(purchase=known, other=who, word=st.sampled_from([Release, Refund, Claim]))
        def end(self, purchase, other, word):
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
            self.expect(error, lambda: shop.end(word(purchase.domain, purchase), signer))
            if error is None:
                state = {Release: State.RELEASED, Refund: State.REFUNDED, Claim: State.CLAIMED}[word]
                self.mirror.end(purchase, state, 0 if word is Refund else purchase.value)

        @rule(purchase=known)
        def reclaim(self, purchase):
            error = None
            if self.now() <= purchase.reclaim_after:
                error = "EscrowTooEarly"
            elif self.state(purchase) != State.OPEN:
                error = "EscrowNotOpen"
            self.expect(error, lambda: shop.reclaim(purchase))
            if error is None:
                self.mirror.end(purchase, State.RECLAIMED, 0)

        @rule(purchase=known, other=who, part=st.integers(0, 700), off=st.sampled_from([0, 0, 0, -1, 1]))
        def arbitrate(self, purchase, other, part, off):
            to_seller = min(part, purchase.value)
            to_buyer = max(purchase.value - to_seller + off, 0)
            rightful = False
            signer = MEMBERS[other or 0]
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
            self.expect(error, lambda: shop.end(word, signer))
            if error is None:
                self.mirror.end(purchase, State.ARBITRATED, to_seller)

        @rule(value=st.integers(0, 50))
        def give(self, value):
            shop.money.mint(shop.contract, value, {"from": shop.operator})
            self.mirror.gifts += value

        @rule(steps=st.integers(1, 3))
        def wait(self, steps):
            self.step += steps
            shop.go_to(self.now())

        @invariant()
        def the_escrow_holds_what_open_purchases_and_gifts_make(self):
            if hasattr(self, "mirror"):
                assert shop.held() == self.mirror.open_value() + self.mirror.gifts

        @invariant()
        def everybody_has_what_the_mirror_says(self):
            if hasattr(self, "mirror"):
                for account, money in self.mirror.money.items():
                    assert shop.money.balanceOf(account) == money

        @invariant()
        def purchases_stand_where_the_mirror_says(self):
            if hasattr(self, "mirror"):
                for id_, state in self.mirror.states.items():
                    assert shop.contract.stateOf(id_) == state

        @invariant()
        def the_replay_of_the_events_finds_nothing_off(self):
            if hasattr(self, "mirror"):
                state = ChainState(w3, deployments, w3.eth.block_number)
                rules = [PaymentRules(), EscrowRules(deployments)]
                assert verify(Reader(w3, deployments).rows(), rules, state).findings == []

    run_state_machine_as_test(
        Purchases,
        settings=settings(
            max_examples=10, stateful_step_count=16, deadline=None, suppress_health_check=HealthCheck.all()
        ),
    )
