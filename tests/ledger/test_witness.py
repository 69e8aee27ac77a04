"""Calls that another contract makes, signatures in other processes, code: what the drill has no room for."""

from __future__ import annotations

import pytest
from brownie import ThievingWallet

from liggare.chain.artifacts import artifact
from liggare.chain.sender import Sender
from liggare.cli.ledger import all_calls
from liggare.ledger import signatures
from liggare.ledger.code import differs
from liggare.ledger.reader import Reader
from liggare.ledger.signatures import Claim, Form, Signatures
from liggare.ledger.verify import ChainState, verify
from liggare.payments.client import Payments
from liggare.payments.messages import counter
from liggare.payments.rules import PaymentRules
from scripts.nodes import KRONA, funded, wallet
from tests.nodes import node

NO_TRACE = "another contract was called, and the node has no callTracer to tell what that one called"


def carried_by_a_contract(chain):
    """Let a contract carry a signed payment, twice: the second time it fails, and nothing of it counts."""
    deployments, sender = chain.deploy(), Sender(chain.w3, funded(0))
    money, (anna, bo) = Payments(chain.w3, deployments), (wallet(1), wallet(2))
    money.mint(anna.address, KRONA, sender)
    made = chain.w3.eth.contract(abi=ThievingWallet.abi, bytecode=ThievingWallet.bytecode)
    receipt = sender.send(made.constructor())
    contract = chain.w3.eth.contract(receipt["contractAddress"], abi=ThievingWallet.abi)
    signed = money.pay(anna, bo.address, 5, nonce=counter(1), valid_before=2**32 - 1)
    method = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
    function = money.contract.get_function_by_signature(method)(*signed.message.values().values(), signed.signature)
    sender.send(contract.functions.plan(money.contract.address, function._encode_transaction_data()))
    for _ in range(2):
        # an estimate would be of the least gas, with which the inner call fails and the outer one does not
        sent = contract.functions.act().transact({"from": sender.account.address, "gas": 500_000})
        chain.w3.eth.wait_for_transaction_receipt(sent)
    return deployments, money.balance(bo.address)


@pytest.mark.parametrize(("kind", "unchecked"), [("anvil", {}), ("ganache", {NO_TRACE: 2})])
def test_a_call_by_another_contract_is_followed_where_the_node_can_tell_it(kind, unchecked):
    with node(kind) as chain:
        deployments, balance = carried_by_a_contract(chain)
        assert balance == 5
        rules = [PaymentRules()]
        with all_calls(chain.w3, deployments, rules) as calls:
            rows = Reader(chain.w3, deployments, proven=True).rows()
            report = verify(rows, rules, ChainState(chain.w3, deployments, chain.w3.eth.block_number), calls)
    assert report.findings == []
    assert report.unchecked == unchecked
    assert report.checked.get("signatures", 0) == (0 if unchecked else 1)


def test_signatures_in_other_processes_are_checked_like_those_here(monkeypatch):
    monkeypatch.setattr(signatures, "FEW", 0)
    monkeypatch.setattr(signatures, "CHUNK", 10)
    anna, bo = wallet(1), wallet(2)
    digests = [number.to_bytes(32, "big") for number in range(1, 46)]
    claims = [
        Claim(f"{number}", ((bo if number == 17 else anna).address,), digest, sign(anna, digest), Form.KEY, 1)
        for number, digest in enumerate(digests)
    ]
    with Signatures(lambda _: lambda *__: False, processes=1) as checked:
        findings = [found for claim in claims for found in checked.add(claim)] + list(checked.close())
    assert [(found.place, found.expected) for found in findings] == [("17", bo.address)]
    assert checked.counts["signatures"] == 45


def sign(account, digest):
    signed = account.unsafe_sign_hash(digest)
    return signed.r.to_bytes(32, "big") + signed.s.to_bytes(32, "big") + bytes([signed.v])


def test_a_wallet_is_asked_before_and_after_and_only_where_a_wallet_may_sign():
    asked = []
    anna = wallet(1).address
    wallets = lambda block: lambda *words: asked.append((block, *words)) or block == 9  # noqa: E731
    for form, holds in ((Form.KEY, False), (Form.EITHER, True), (Form.WALLET, True)):
        claim = Claim("", (anna,), b"\1" * 32, b"\2" * 65, form, 9)
        assert Signatures(wallets).holds(claim) is holds
    assert asked == [(block, anna, b"\1" * 32, b"\2" * 65) for block in (8, 9, 8, 9)]


def test_code_differs_by_any_byte_but_immutable_values(w3, deployments):
    at, creation = deployments.contracts["EnergyMarket"].address, artifact("EnergyMarket").bytecode
    code = bytes(w3.eth.get_code(at))
    assert differs(creation, code) is None
    assert differs(creation, b"") == 0
    assert differs(creation, code[:1000] + bytes([code[1000] ^ 1]) + code[1001:]) == 1000
    assert differs(creation, code[:-1]) is not None
