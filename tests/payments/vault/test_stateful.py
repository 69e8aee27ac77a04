"""Random histories of the vault, with a token that turns odd and back, against a plain-Python mirror."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from brownie.exceptions import VirtualMachineError
from eth_account import Account
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.rules import PaymentRules
from liggare.payments.vault_rules import VaultRules
from tests.payments.vault.bank import Mood
from tests.support import isolated

MEMBERS = [Account.from_key(bytes([8] * 31 + [i])) for i in range(1, 4)]
members = st.integers(0, len(MEMBERS) - 1)
WORKS = (Mood.PLAIN, Mood.RETURNS_NOTHING)


def machine_of(bank, w3, deployments):
    class Deposits(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.world = isolated()
            self.world.__enter__()
            self.money = {each.address: 0 for each in MEMBERS}
            self.tokens = {each.address: 0 for each in MEMBERS}  # in units of the token
            self.issued = 0
            self.held = 0  # in units of the token
            self.own = 0  # money in the vault's own account
            self.salt = 0
            self.mood = Mood.PLAIN
            self.outside = 0  # money of the issuer's

        def teardown(self):
            self.world.__exit__(None, None, None)

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

        def expect(self, error, action):
            if error is None:
                action()
            else:
                with pytest.raises(VirtualMachineError, match=error):
                    action()

        @rule(mood=st.sampled_from([*Mood, Mood.PLAIN, Mood.PLAIN, Mood.PLAIN]))
        def change_mood(self, mood):
            bank.set_mood(mood)
            self.mood = mood

        @rule(to=members, value=st.integers(0, 1000))
        def deposit(self, to, value):
            amount = value * bank.scale
            bank.token.mint(bank.dan, 2 * amount, {"from": bank.dan})  # more than enough for a fee on top
            bank.token.approve(bank.contract, amount, {"from": bank.dan})
            error = self.trouble(amount, out=False)
            if self.held < self.issued * bank.scale:
                error = "VaultUncovered"
            to = MEMBERS[to].address
            self.expect(error, lambda: bank.contract.deposit(to, value, {"from": bank.dan}))
            if error is None:
                self.money[to] += value
                self.issued += value
                self.held += amount

        @rule(owner=members, to=members, value=st.integers(0, 1200))
        def withdraw(self, owner, to, value):
            self.salt += 1
            amount = value * bank.scale
            owner, to = MEMBERS[owner], MEMBERS[to]
            wish = bank.wish(owner, value, to=to, salt=self.salt.to_bytes(32, "big"))
            error = self.trouble(amount, out=True)
            if self.money[owner.address] < value:
                error = "PaymentsInsufficientBalance"
            if value > self.issued:
                error = "VaultExhausted"
            if self.held < self.issued * bank.scale:
                error = "VaultUncovered"
            self.expect(error, lambda: bank.withdraw(wish))
            if error is None:
                self.money[owner.address] -= value
                self.tokens[to.address] += amount
                self.issued -= value
                self.held -= amount

        @rule(amount=st.integers(1, 10**15))
        def send_tokens_to_the_vault(self, amount):
            bank.token.mint(bank.contract, amount, {"from": bank.dan})
            self.held += amount

        @rule(value=st.integers(1, 500))
        def send_money_to_the_vault(self, value):
            bank.money.mint(bank.contract, value, {"from": bank.operator})
            self.own += value

        @rule(to=members, value=st.integers(1, 500))
        def issue_against_something_else(self, to, value):
            bank.money.mint(MEMBERS[to].address, value, {"from": bank.operator})
            self.money[MEMBERS[to].address] += value
            self.outside += value

        @rule(part=st.integers(1, 100))
        def shrink(self, part):
            lost = self.held * part // 10_000
            bank.token.shrink(bank.contract, lost, {"from": bank.dan})
            self.held -= lost

        @rule()
        def cover(self):
            missing = max(self.issued * bank.scale - self.held, 0)
            bank.token.mint(bank.contract, missing, {"from": bank.dan})
            self.held += missing

        @invariant()
        def the_vault_stands_as_the_mirror_says(self):
            assert bank.contract.issued() == self.issued
            assert bank.contract.held() == self.held
            assert bank.money.balanceOf(bank.contract) == self.own

        @invariant()
        def everybody_has_what_the_mirror_says(self):
            for account in self.money:
                assert bank.money.balanceOf(account) == self.money[account]
                assert bank.token.balanceOf(account) == self.tokens[account]

        @invariant()
        def all_money_is_the_vaults_or_the_issuers(self):
            assert bank.money.totalSupply() == sum(self.money.values()) + self.own
            assert bank.money.totalSupply() == self.issued + self.own + self.outside

        @invariant()
        def the_replay_of_the_events_finds_what_is_uncovered_and_nothing_else(self):
            state = ChainState(w3, deployments, w3.eth.block_number)
            report = verify(Reader(w3, deployments).rows(), [PaymentRules(), VaultRules(deployments)], state)
            uncovered = self.held < self.issued * bank.scale
            expected = ["the vault holds tokens for all that it issued"] if uncovered else []
            assert [finding.rule for finding in report.findings] == expected

    return Deposits


def test_random_histories_agree_with_the_mirror(empty_bank, w3, deployments):
    run_state_machine_as_test(
        machine_of(empty_bank, w3, deployments),
        settings=settings(
            max_examples=10, stateful_step_count=16, deadline=None, suppress_health_check=HealthCheck.all()
        ),
    )
