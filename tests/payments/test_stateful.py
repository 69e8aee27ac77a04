"""Random histories of the money against a plain-Python mirror that was written from the promises alone."""

from __future__ import annotations

import hypothesis.strategies as st
from brownie import ZeroFeePayments
from brownie import accounts as brownie_accounts
from eth_account import Account
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from liggare.ledger.reader import Reader
from liggare.ledger.verify import ChainState, verify
from liggare.payments.messages import CancelAuthorization, TransferWithAuthorization, counter
from liggare.payments.rules import PaymentRules
from tests.payments.conftest import vrs
from tests.support import FOREVER, isolated, refused

MEMBERS = [Account.from_key(bytes([7] * 31 + [i])) for i in range(1, 4)]
members = st.integers(0, len(MEMBERS) - 1)
nonces = st.one_of(
    st.integers(0, 200).map(counter),
    st.sampled_from([2**64 - 1, 2**64 - 2, 2**64, 2**255]).map(lambda n: n.to_bytes(32, "big")),
)


def machine_of(domain, w3, deployments):
    contract = ZeroFeePayments.at(domain.verifying_contract)
    operator = brownie_accounts[0]

    class Money(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.world = isolated()
            self.world.__enter__()
            self.balances = {member.address: 0 for member in MEMBERS}
            self.used = set()  # (payer, nonce)
            self.highest = {}  # payer -> highest counter used

        def teardown(self):
            self.world.__exit__(None, None, None)

        def is_used(self, payer, nonce):
            number = int.from_bytes(nonce, "big")
            behind = self.highest.get(payer, 0) - number
            return (payer, nonce) in self.used or (number < 2**64 and behind > 63)

        def use(self, payer, nonce):
            self.used.add((payer, nonce))
            number = int.from_bytes(nonce, "big")
            if number < 2**64:
                self.highest[payer] = max(self.highest.get(payer, 0), number)

        @rule(to=members, value=st.integers(0, 1000))
        def mint(self, to, value):
            contract.mint(MEMBERS[to].address, value, {"from": operator})
            self.balances[MEMBERS[to].address] += value

        @rule(payer=members, to=members, value=st.integers(0, 1500), nonce=nonces)
        def pay(self, payer, to, value, nonce):
            payer, to = MEMBERS[payer], MEMBERS[to].address
            message = TransferWithAuthorization(domain, payer.address, to, value, 0, FOREVER, nonce)
            words = (*message.values().values(), *vrs(message.sign(payer).signature), {"from": operator})
            have = self.balances[payer.address]
            if self.is_used(payer.address, nonce):
                with refused(ZeroFeePayments, "PaymentsNonceUsed", payer.address, nonce):
                    contract.transferWithAuthorization(*words)
            elif have < value:
                with refused(ZeroFeePayments, "PaymentsInsufficientBalance", payer.address, have, value):
                    contract.transferWithAuthorization(*words)
            else:
                contract.transferWithAuthorization(*words)
                self.use(payer.address, nonce)
                self.balances[payer.address] -= value
                self.balances[to] += value

        @rule(payer=members, nonce=nonces)
        def cancel(self, payer, nonce):
            payer = MEMBERS[payer]
            signed = CancelAuthorization(domain, payer.address, nonce).sign(payer)
            words = (payer.address, nonce, *vrs(signed.signature), {"from": operator})
            if self.is_used(payer.address, nonce):
                with refused(ZeroFeePayments, "PaymentsNonceUsed", payer.address, nonce):
                    contract.cancelAuthorization(*words)
            else:
                contract.cancelAuthorization(*words)
                self.use(payer.address, nonce)

        @invariant()
        def everybody_has_what_their_payments_make(self):
            for account, balance in self.balances.items():
                assert contract.balanceOf(account) == balance

        @invariant()
        def all_balances_are_the_supply(self):
            assert contract.totalSupply() == sum(self.balances.values())

        @invariant()
        def a_used_nonce_stays_used(self):
            for payer, nonce in self.used:
                assert contract.authorizationState(payer, nonce)

        @invariant()
        def the_replay_of_the_events_finds_nothing_off(self):
            state = ChainState(w3, deployments, w3.eth.block_number)
            report = verify(Reader(w3, deployments).rows(), [PaymentRules()], state)
            assert report.findings == []

    return Money


def test_random_histories_agree_with_the_mirror(domain, w3, deployments):
    run_state_machine_as_test(
        machine_of(domain, w3, deployments),
        settings=settings(
            max_examples=8, stateful_step_count=10, deadline=None, suppress_health_check=HealthCheck.all()
        ),
    )
