"""Buy without a middleman, from Python: offer, fund, and end purchases.

offer (seller) -> payment (buyer) -> fund -> release | refund | claim | reclaim | arbitrate
"""

from __future__ import annotations

from enum import IntEnum

from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.contract.contract import ContractFunction
from web3.types import TxReceipt

from liggare.chain.connection import now
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.messages import Domain, Signed, address
from liggare.payments.client import LIFETIME, Payments
from liggare.payments.messages import ReceiveWithAuthorization
from liggare.payments.purchase import NOBODY, Arbitration, Claim, Purchase, Refund, Release

__all__ = ["Escrow", "State", "Word", "escrow_domain"]

Word = Signed[Release] | Signed[Refund] | Signed[Claim] | Signed[Arbitration]
"""What ends a purchase by a signature."""


class State(IntEnum):
    """Where a purchase stands; as in IEscrow."""

    NONE = 0
    OPEN = 1
    RELEASED = 2
    REFUNDED = 3
    CLAIMED = 4
    RECLAIMED = 5
    ARBITRATED = 6


def escrow_domain(deployments: Deployments) -> Domain:
    """Return what purchases are signed for."""
    return Domain("Liggare Escrow", "1", deployments.chain_id, deployments.contracts["Escrow"].address)


class Escrow:
    """The purchases on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.contract = deployments.contract(w3, "Escrow")
        self.domain = escrow_domain(deployments)
        self.payments = Payments(w3, deployments)

    def offer(
        self,
        seller: LocalAccount,
        buyer: str,
        value: int,
        order_hash: bytes,
        *,
        claim_after: int,
        reclaim_after: int,
        arbiter: str = NOBODY,
    ) -> Signed[Purchase]:
        """Sign the terms as the seller; nothing is sent. Who wins when somebody is silent: see IEscrow."""
        people = (address(buyer), seller.address, address(arbiter))
        return Purchase(self.domain, *people, value, claim_after, reclaim_after, order_hash).sign(seller)

    def payment(
        self, buyer: LocalAccount, purchase: Purchase, *, valid_before: int | None = None
    ) -> Signed[ReceiveWithAuthorization]:
        """Sign the payment of a purchase as the buyer; its nonce binds all terms. Nothing is sent."""
        before = now(self.w3) + LIFETIME if valid_before is None else valid_before
        return self.payments.receive(
            buyer, self.contract.address, purchase.value, nonce=bytes(purchase.id), valid_before=before
        )

    def fund(self, offer: Signed[Purchase], payment: Signed[ReceiveWithAuthorization], sender: Sender) -> TxReceipt:
        """Take the payment of an offer to the chain; anyone may. Raises ContractRefused by the contracts' names."""
        message = payment.message
        terms = _terms(offer.message)
        validity = (message.valid_after, message.valid_before)
        return sender.send(self.contract.functions.fund(terms, *validity, payment.signature, offer.signature))

    def carry(self, signed: Word, sender: Sender) -> TxReceipt:
        """Take a word that ends a purchase to the chain; anyone may. Raises ContractRefused."""
        return sender.send(self._ending(signed))

    def reclaim(self, purchase: Purchase, sender: Sender) -> TxReceipt:
        """Send the money back to the buyer after the last deadline; anyone may. Raises ContractRefused."""
        return sender.send(self.contract.functions.reclaim(_terms(purchase)))

    def state(self, purchase: Purchase) -> State:
        """Return where the purchase stands."""
        return State(self.contract.functions.stateOf(purchase.id).call())

    def _ending(self, signed: Word) -> ContractFunction:
        message, functions = signed.message, self.contract.functions
        terms = _terms(message.purchase)
        if isinstance(message, Arbitration):
            return functions.arbitrate(terms, message.to_buyer, message.to_seller, signed.signature)
        name = {Release: "release", Refund: "refund", Claim: "claim"}[type(message)]
        return functions[name](terms, signed.signature)


def _terms(purchase: Purchase) -> tuple[object, ...]:
    return tuple(purchase.values().values())
