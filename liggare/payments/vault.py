"""Turn an ERC-20 into our money and back, from Python.

deposit: approve -> deposit, or one signature that anyone carries (ERC-3009, where the token takes it)
withdraw: one signature that anyone carries
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import TxReceipt

from liggare.chain.connection import now
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.errors import UsageError
from liggare.messages import Domain, Signed, address
from liggare.payments.client import LIFETIME, Payments
from liggare.payments.messages import ReceiveWithAuthorization

__all__ = ["Payout", "Vault"]


def _view(name: str, output: str, *inputs: str) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "stateMutability": "view",
        "inputs": [{"name": "", "type": kind} for kind in inputs],
        "outputs": [{"name": "", "type": output}],
    }


TOKEN = [
    _view("name", "string"),
    _view("symbol", "string"),
    _view("version", "string"),
    _view("DOMAIN_SEPARATOR", "bytes32"),
    _view("balanceOf", "uint256", "address"),
    _view("allowance", "uint256", "address", "address"),
    # no outputs, as some tokens return nothing: it is sent, never read
    {**_view("approve", "bool", "address", "uint256"), "stateMutability": "nonpayable", "outputs": []},
]
"""What is asked of the token; `version` and `DOMAIN_SEPARATOR` for signed deposits only."""

DOMAIN_TYPEHASH = keccak(text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")


@dataclass(frozen=True)
class Payout:
    """A signed payment to the vault, and who gets its other side: `to`, which the payment's nonce binds."""

    signed: Signed[ReceiveWithAuthorization]
    to: ChecksumAddress
    value: int
    salt: bytes


class Vault:
    """The vault of one chain and its token."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.contract = deployments.contract(w3, "StablecoinVault")
        self.payments = Payments(w3, deployments)
        self.scale = int(self.contract.functions.scale().call())
        """How many units of the token are one unit of our money."""
        self.token = w3.eth.contract(address=self.contract.functions.token().call(), abi=TOKEN)

    # ------------------------------------------------------------------ in

    def deposit(self, to: str, value: int, sender: Sender) -> TxReceipt:
        """Give the sender's own tokens for `value` units of our money to `to`: an approval, if needed, and a deposit.

        Raises ContractRefused by the vault's names, or the token's own refusal as ChainError; an approval that was
        sent before stays.
        """
        amount, owner = value * self.scale, sender.account.address
        allowed = int(self.token.functions.allowance(owner, self.contract.address).call())
        if allowed < amount:
            if allowed:  # USDT changes an approval only from or to zero
                sender.send(self.token.functions.approve(self.contract.address, 0))
            sender.send(self.token.functions.approve(self.contract.address, amount))
        return sender.send(self.contract.functions.deposit(address(to), value))

    def authorization(
        self,
        owner: LocalAccount,
        to: str,
        value: int,
        *,
        salt: bytes | None = None,
        valid_before: int | None = None,
    ) -> Payout:
        """Sign a deposit of the owner's tokens; nothing is sent.

        Raises UsageError where the token takes no signed deposits (ERC-3009).
        """
        return self._payout(owner, self._token_domain(), value * self.scale, to, value, salt, valid_before)

    def deposit_by_authorization(self, deposit: Payout, sender: Sender) -> TxReceipt:
        """Take a signed deposit to the chain; anyone may. Raises ContractRefused."""
        message, signature = deposit.signed.message, deposit.signed.signature
        terms = (message.from_, deposit.to, deposit.value, message.valid_after, message.valid_before, deposit.salt)
        vrs = (signature[64], signature[:32], signature[32:64])
        return sender.send(self.contract.functions.depositWithAuthorization(*terms, *vrs))

    # ------------------------------------------------------------------ out

    def withdrawal(
        self,
        owner: LocalAccount,
        to: str,
        value: int,
        *,
        salt: bytes | None = None,
        valid_before: int | None = None,
    ) -> Payout:
        """Sign that `value` units of the owner's money become tokens of `to`; nothing is sent."""
        return self._payout(owner, self.payments.domain, value, to, value, salt, valid_before)

    def withdraw(self, withdrawal: Payout, sender: Sender) -> TxReceipt:
        """Take a signed withdrawal to the chain; anyone may. Raises ContractRefused."""
        message = withdrawal.signed.message
        terms = (message.from_, withdrawal.to, message.value, message.valid_after, message.valid_before)
        function = self.contract.functions.withdraw(*terms, withdrawal.salt, withdrawal.signed.signature)
        return sender.send(function)

    # ------------------------------------------------------------------ views

    def issued(self) -> int:
        """Return what stands against deposits, in units of our money."""
        return int(self.contract.functions.issued().call())

    def held(self) -> int:
        """Return what the vault holds, in units of the token."""
        return int(self.contract.functions.held().call())

    # ------------------------------------------------------------------ internal

    def _payout(
        self,
        owner: LocalAccount,
        domain: Domain,
        amount: int,
        to: str,
        value: int,
        salt: bytes | None,
        valid_before: int | None,
    ) -> Payout:
        receiver, salt = address(to), secrets.token_bytes(32) if salt is None else salt
        before = now(self.w3) + LIFETIME if valid_before is None else valid_before
        nonce = bytes(keccak(encode(["address", "bytes32"], [receiver, salt])))
        vault = self.contract.address
        message = ReceiveWithAuthorization(domain, owner.address, vault, amount, 0, before, nonce)
        return Payout(message.sign(owner), receiver, value, salt)

    def _token_domain(self) -> Domain:
        """Return what the token's messages are signed for, once the token itself bears it out."""
        chain, token = self.w3.eth.chain_id, self.token
        try:
            name, separator = token.functions.name().call(), token.functions.DOMAIN_SEPARATOR().call()
        except (Web3Exception, ValueError):
            raise UsageError(f"the token {token.address} takes no signed deposits (ERC-3009)") from None
        for version in ("1", "2", self._version()):
            domain = Domain(str(name), version, chain, token.address)
            if _separator(domain) == bytes(separator):
                return domain
        raise UsageError(f"the token {token.address} signs in a way that is not known here")

    def _version(self) -> str:
        try:
            return str(self.token.functions.version().call())
        except (Web3Exception, ValueError):
            return "1"


def _separator(domain: Domain) -> bytes:
    """Return the domain's hash (EIP-712)."""
    words = (DOMAIN_TYPEHASH, keccak(text=domain.name), keccak(text=domain.version))
    kinds = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    return bytes(keccak(encode(kinds, [*words, domain.chain_id, domain.verifying_contract])))
