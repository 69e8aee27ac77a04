"""Random histories of the vault, with a token that turns odd and back, against a plain-Python mirror.

A history is a list of actions of at least a dozen, for the reason that tests/payments/escrow/test_stateful.py gives.
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
from liggare.payments.rules import PaymentRules
from liggare.payments.vault_rules import VaultRules
from tests.payments.vault.bank import Mood
from tests.support import isolated

MEMBERS = [Account.from_key(bytes([8] * 31 + [i])) for i in range(1, 4)]
members = st.integers(0, len(MEMBERS) - 1)
actions = st.one_of(
    st.tuples(st.just("change_mood"), st.sampled_from([*Mood, Mood.PLAIN, Mood.PLAIN, Mood.PLAIN])),
    st.tuples(st.just("deposit"), members, st.integers(0, 1000)),
    st.tuples(st.just("withdraw"), members, members, st.integers(0, 1200)),
    st.tuples(st.just("send_tokens_to_the_vault"), st.integers(1, 10**15)),
    st.tuples(st.just("send_money_to_the_vault"), st.integers(1, 500)),
    st.tuples(st.just("issue_against_something_else"), members, st.integers(1, 500)),
    st.tuples(st.just("shrink"), st.integers(1, 100)),
    st.tuples(st.just("cover")),
)


class History:
    """What happens, to the vault and in the plainest words: who has what, and what the vault owes and holds."""

    def __init__(self, bank, seen: Counter) -> None:
        self.bank, self.seen = bank, seen
        self.money = {each.address: 0 for each in MEMBERS}
        self.tokens = {each.address: 0 for each in MEMBERS}  # in units of the token
        self.issued = 0
        self.held = 0  # in units of the token
        self.own = 0  # money in the vault's own account
        self.salt = 0
        self.mood = Mood.PLAIN
        self.outside = 0  # money of the issuer's

    def trouble(self, amount: int, *, out: bool) -> str | None:
        """Why the token's part of an action fails, if it does."""
        if self.mood in (Mood.RETURNS_FALSE, Mood.RETURNS_HALF_A_WORD, Mood.PAUSED):
            return "VaultTokenRefused"
        if self.mood == Mood.MOVES_NOTHING and amount:
            return "VaultAmountDiffers"
        if self.mood == Mood.KEEPS_FROM_RECEIVER and amount // 100:
            return "VaultAmountDiffers"
        if self.mood == Mood.TAKES_MORE_FROM_SENDER and out and amount // 100:
            # what it takes on top may not even be there; then the token refuses
            return "VaultTokenRefused|VaultAmountDiffers"
        return None

    def happens(self, error: str | None, action) -> bool:
        """Act; expect one of these errors by its name, or success, and tell which."""
        self.seen[error] += 1
        if error is None:
            action()
        else:
            with pytest.raises(VirtualMachineError, match=error):
                action()
        return error is None

    def change_mood(self, mood) -> None:
        self.bank.set_mood(mood)
        self.mood = mood

    def deposit(self, to, value) -> None:
        amount = value * self.bank.scale
        self.bank.token.mint(self.bank.dan, 2 * amount, {"from": self.bank.dan})  # more than enough for a fee on top
        self.bank.token.approve(self.bank.contract, amount, {"from": self.bank.dan})
        error = self.trouble(amount, out=False)
        if self.held < self.issued * self.bank.scale:
            error = "VaultUncovered"
        to = MEMBERS[to].address
        if self.happens(error, lambda: self.bank.contract.deposit(to, value, {"from": self.bank.dan})):
            self.money[to] += value
            self.issued += value
            self.held += amount

    def withdraw(self, owner, to, value) -> None:
        self.salt += 1
        amount = value * self.bank.scale
        owner, to = MEMBERS[owner], MEMBERS[to]
        wish = self.bank.wish(owner, value, to=to, salt=self.salt.to_bytes(32, "big"))
        error = self.trouble(amount, out=True)
        if self.money[owner.address] < value:
            error = "PaymentsInsufficientBalance"
        if value > self.issued:
            error = "VaultExhausted"
        if self.held < self.issued * self.bank.scale:
            error = "VaultUncovered"
        if self.happens(error, lambda: self.bank.withdraw(wish)):
            self.money[owner.address] -= value
            self.tokens[to.address] += amount
            self.issued -= value
            self.held -= amount

    def send_tokens_to_the_vault(self, amount) -> None:
        self.bank.token.mint(self.bank.contract, amount, {"from": self.bank.dan})
        self.held += amount

    def send_money_to_the_vault(self, value) -> None:
        self.bank.money.mint(self.bank.contract, value, {"from": self.bank.operator})
        self.own += value

    def issue_against_something_else(self, to, value) -> None:
        self.bank.money.mint(MEMBERS[to].address, value, {"from": self.bank.operator})
        self.money[MEMBERS[to].address] += value
        self.outside += value

    def shrink(self, part) -> None:
        lost = self.held * part // 10_000
        self.bank.token.shrink(self.bank.contract, lost, {"from": self.bank.dan})
        self.held -= lost

    def cover(self) -> None:
        missing = max(self.issued * self.bank.scale - self.held, 0)
        self.bank.token.mint(self.bank.contract, missing, {"from": self.bank.dan})
        self.held += missing

    def check(self) -> None:
        """The vault stands as the mirror says, everybody has what it says, all money is the vault's or the issuer's."""
        bank = self.bank
        assert (bank.contract.issued(), bank.contract.held()) == (self.issued, self.held)
        assert bank.money.balanceOf(bank.contract) == self.own
        for account in self.money:
            assert bank.money.balanceOf(account) == self.money[account]
            assert bank.token.balanceOf(account) == self.tokens[account]
        assert bank.money.totalSupply() == sum(self.money.values()) + self.own
        assert bank.money.totalSupply() == self.issued + self.own + self.outside


# Brownie's own `given` sets the chain back between examples; `isolated` does so here
@pytest.mark.filterwarnings("ignore::brownie.exceptions.BrownieTestWarning")
def test_random_histories_agree_with_the_mirror(empty_bank, w3, deployments):
    seen: Counter[str | None] = Counter()

    @settings(max_examples=14, derandomize=True, deadline=None, database=None, suppress_health_check=HealthCheck.all())
    @given(st.lists(actions, min_size=12, max_size=14))
    def replay(history):
        with isolated():
            world = History(empty_bank, seen)
            world.deposit(0, 800)
            for verb, *words in history:
                getattr(world, verb)(*words)
                world.check()
            state = ChainState(w3, deployments, w3.eth.block_number)
            report = verify(Reader(w3, deployments).rows(), [PaymentRules(), VaultRules(deployments)], state)
            uncovered = world.held < world.issued * empty_bank.scale
            expected = ["the vault holds tokens for all that it issued"] if uncovered else []
            assert [finding.rule for finding in report.findings] == expected

    replay()
    assert seen[None] >= 15
    assert len(seen) >= 3, "hardly anything was ever refused"
