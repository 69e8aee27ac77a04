"""Pay, from Python: make the message, let anyone carry it, look at accounts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes
from web3 import Web3
from web3.logs import DISCARD
from web3.types import TxReceipt

from liggare.chain.connection import now
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.errors import InvalidAmount
from liggare.messages import Domain, Signed, SignedMessage, address
from liggare.payments.codec import Item, Outcome, encode, payments_of
from liggare.payments.messages import (
    CancelAuthorization,
    PaymentBundle,
    ReceiveWithAuthorization,
    TransferWithAuthorization,
    counter,
)
from liggare.payments.storage import access_list
from liggare.payments.uses import Use, Uses

__all__ = ["NonceState", "Payments", "amount", "random_nonce", "text"]

UNIT = 10**6
LIFETIME = 3600
"""How long a payment may wait for its block unless the payer says otherwise, in seconds."""


def amount(words: str) -> int:
    """Return an amount given in the currency ("12.50") in units of 10^-6; nothing is rounded."""
    try:
        units = Decimal(words) * UNIT
    except InvalidOperation:
        raise InvalidAmount(f"{words!r} is no amount, such as 12.50") from None
    if not units.is_finite() or units != units.to_integral_value() or not 0 <= units < 2**128:
        raise InvalidAmount(f"{words!r} is no amount: not negative, six decimals at most, below 2^128 units")
    return int(units)


def text(units: int) -> str:
    """Return an amount in units of 10^-6 as the currency writes it: 12500000 -> "12.50"."""
    sign, rest = ("-" if units < 0 else ""), abs(units)
    decimals = f"{rest % UNIT:06}".rstrip("0").ljust(2, "0")
    return f"{sign}{rest // UNIT}.{decimals}"


@dataclass(frozen=True)
class NonceState:
    """An account's window of counter nonces: `base` the highest used, bit i of `window`: base - i is used."""

    base: int
    window: int

    def next(self) -> int:
        """Return the lowest counter nonce above every used one."""
        return 0 if self.window == 0 else self.base + 1

    def is_used(self, number: int) -> bool:
        """Tell whether a counter nonce is used or has fallen out of the window."""
        return number <= self.base and (self.base - number > 63 or self.window >> (self.base - number) & 1 == 1)


class Payments:
    """The money on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.contract = deployments.contract(w3, "ZeroFeePayments")
        self.uses = Uses(w3, deployments)
        self.domain = Domain(self.contract.functions.name().call(), "1", deployments.chain_id, self.contract.address)

    def pay(
        self,
        payer: LocalAccount,
        to: str,
        value: int,
        *,
        nonce: bytes | None = None,
        valid_after: int = 0,
        valid_before: int | None = None,
    ) -> Signed[TransferWithAuthorization]:
        """Sign a payment of `value` units; nothing is sent.

        Without a nonce the payer's next counter is taken as the chain shows it: for several payments
        that are not on the chain yet, pass nonces, or `random_nonce()`.
        """
        message = TransferWithAuthorization(
            self.domain,
            payer.address,
            address(to),
            value,
            valid_after,
            now(self.w3) + LIFETIME if valid_before is None else valid_before,
            counter(self.nonces(payer.address).next()) if nonce is None else nonce,
        )
        return message.sign(payer)

    def carry(self, signed: Signed[TransferWithAuthorization], sender: Sender) -> TxReceipt:
        """Take a signed payment to the chain; the sender pays the gas, the payer nothing.

        Raises ContractRefused by the contract's names (`PaymentsNonceUsed`, …).
        """
        method = "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
        function = self.contract.get_function_by_signature(method)
        return sender.send(function(*signed.message.values().values(), signed.signature))

    def bundle(
        self,
        payer: LocalAccount,
        payments: Iterable[tuple[str, int]],
        *,
        nonce: bytes | None = None,
        valid_after: int = 0,
        valid_before: int | None = None,
    ) -> Signed[PaymentBundle]:
        """Sign many payments (payee, units) at once: all of them happen, or none. Nothing is sent."""
        message = PaymentBundle(
            self.domain,
            payer.address,
            tuple({"to": address(to), "value": value} for to, value in payments),
            valid_after,
            now(self.w3) + LIFETIME if valid_before is None else valid_before,
            counter(self.nonces(payer.address).next()) if nonce is None else nonce,
        )
        return message.sign(payer)

    def carry_batch(self, items: Sequence[Item], sender: Sender) -> tuple[TxReceipt, list[Outcome]]:
        """Take signed payments and bundles to the chain in one transaction; tell what became of each.

        A bad item is skipped with nothing of it done, and the others are paid. Raises DataError for an item
        that has no packed form (`codec.fits`): that one goes by `carry`.
        """
        function = self.contract.functions.payBatch(encode(items))
        receipt = sender.send(function, access_list=access_list(self.contract.address, items))
        outcomes = [Outcome.PAID] * len(items)
        for log in self.contract.events.PaymentSkipped().process_receipt(receipt, DISCARD):
            outcomes[log["args"]["item"]] = Outcome(log["args"]["outcome"])
        return receipt, outcomes

    def receive(
        self, payer: LocalAccount, to: str, value: int, *, nonce: bytes, valid_before: int
    ) -> Signed[ReceiveWithAuthorization]:
        """Sign a payment that only the contract `to` can collect, as part of what it does with it."""
        message = ReceiveWithAuthorization(self.domain, payer.address, address(to), value, 0, valid_before, nonce)
        return message.sign(payer)

    def cancel(self, payer: LocalAccount, nonce: bytes) -> Signed[CancelAuthorization]:
        """Sign that a nonce is given up; nothing is sent."""
        return CancelAuthorization(self.domain, payer.address, nonce).sign(payer)

    def carry_cancel(self, signed: Signed[CancelAuthorization], sender: Sender) -> TxReceipt:
        """Take a cancellation to the chain."""
        function = self.contract.get_function_by_signature("cancelAuthorization(address,bytes32,bytes)")
        return sender.send(function(*signed.message.values().values(), signed.signature))

    def mint(self, to: str, value: int, issuer: Sender) -> TxReceipt:
        """Issue `value` units to `to`. Only the issuer may: else ContractRefused."""
        return issuer.send(self.contract.functions.mint(address(to), value))

    def find(self, item: Item) -> TxReceipt | None:
        """Return the receipt of the transaction that made exactly this payment or bundle, whoever carried it.

        None where its nonce is unused, was canceled, or was used by a payment that differs in any way.
        """
        use = self.find_all([item]).get(item.id)
        return None if use is None else self.w3.eth.get_transaction_receipt(HexBytes(use.transaction))

    def find_all(self, items: Sequence[Item]) -> dict[HexBytes, Use]:
        """Return those of the items that were made exactly so, by id, and where. Raises LedgerError."""
        uses = self.uses.find_all([(item.message.from_, item.message.nonce) for item in items])
        found = {}
        for item in items:
            use = uses.get((item.message.from_, item.message.nonce))
            if use is not None and list(use.transfers) == payments_of(item):
                found[item.id] = use
        return found

    @cached_property
    def symbol(self) -> str:
        """The currency's symbol."""
        return str(self.contract.functions.symbol().call())

    def balance(self, account: str) -> int:
        """Return the account's money in units of 10^-6."""
        return int(self.contract.functions.balanceOf(address(account)).call())

    def supply(self) -> int:
        """Return all money that exists, in units of 10^-6."""
        return int(self.contract.functions.totalSupply().call())

    def nonces(self, account: str) -> NonceState:
        """Return the account's window of counter nonces."""
        return NonceState(*self.contract.functions.nonceState(address(account)).call())

    def is_used(self, signed: Signed[SignedMessage]) -> bool:
        """Tell whether the message's nonce is used, canceled or fallen out of the window."""
        values = signed.message.values()
        payer = values.get("from", values.get("authorizer"))
        return bool(self.contract.functions.authorizationState(payer, values["nonce"]).call())


def random_nonce() -> bytes:
    """Return 32 random bytes: a nonce that needs no look at the chain and no order."""
    return secrets.token_bytes(32)
