"""The calls of the money, the purchases and the vault, followed as their contracts do (`liggare.ledger.witness`).

Each payment is signed by its payer over exactly this payment, or sent by who pays; each item of a batch is paid, or
skipped for the first reason that holds at its place in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eth_utils.crypto import keccak

from liggare.chain.calls import CREATION, Call
from liggare.chain.deployments import Deployments
from liggare.errors import DataError
from liggare.ledger.signatures import Claim, Form
from liggare.ledger.witness import Told, Unexplained
from liggare.payments import purchase as words
from liggare.payments.codec import Item, Outcome, decode_forms, payments_of
from liggare.payments.escrow import escrow_domain
from liggare.payments.messages import (
    CancelAuthorization,
    Permit,
    ReceiveWithAuthorization,
    TransferWithAuthorization,
    money_domain,
)
from liggare.payments.purchase import NOBODY, Arbitration, Purchase, Refund, Release
from liggare.payments.rules import CONTRACT as MONEY
from liggare.payments.rules import ZERO, PaymentRules

__all__ = ["EscrowWitness", "MoneyWitness", "VaultWitness"]

UNLIMITED = 2**256 - 1
"""The allowance that never runs out."""


class MoneyWitness:
    """Follows the calls of ZeroFeePayments; `rules` hold the state at each place."""

    contracts: tuple[str, ...] = (MONEY,)

    def __init__(self, deployments: Deployments, rules: PaymentRules) -> None:
        self.domain, self.rules = money_domain(deployments), rules
        self.address = self.domain.verifying_contract
        self._functions: dict[str, Callable[[Call, Told], None]] = {
            CREATION: self._created,
            "transferWithAuthorization": self._carried,
            "receiveWithAuthorization": self._received,
            "cancelAuthorization": self._canceled,
            "payBatch": self._batch,
            "transfer": self._transfer,
            "transferFrom": self._transfer_from,
            "approve": self._approve,
            "permit": self._permit,
            "mint": self._mint,
            "burn": self._burn,
            "addVault": self._add_vault,
            "changeIssuer": self._change_issuer,
        }

    def follow(self, call: Call, told: Told) -> None:
        """Follow one call."""
        self._functions[call.function](call, told)

    # ------------------------------------------------------------------ signed payments

    def _carried(self, call: Call, told: Told, kind: type[Any] = TransferWithAuthorization) -> None:
        given = call.arguments
        times = (given["validAfter"], given["validBefore"])
        message = kind(self.domain, given["from"], given["to"], given["value"], *times, given["nonce"])
        self._in_time(call, told, *times)
        told.signed(call, given["from"], digest=message.id, given=given)
        told.take(call, "AuthorizationUsed", authorizer=given["from"], nonce=given["nonce"])
        told.take(call, "Transfer", **{"from": given["from"]}, to=given["to"], value=given["value"])

    def _received(self, call: Call, told: Told) -> None:
        told.caller(call, call.arguments["to"], "the payee")
        self._carried(call, told, ReceiveWithAuthorization)

    def _canceled(self, call: Call, told: Told) -> None:
        who, nonce = call.arguments["authorizer"], call.arguments["nonce"]
        told.signed(call, who, digest=CancelAuthorization(self.domain, who, nonce).id, given=call.arguments)
        told.take(call, "AuthorizationCanceled", authorizer=who, nonce=nonce)

    def _in_time(self, call: Call, told: Told, after: int, before: int) -> None:
        if not after < call.timestamp < before:
            told.off(call, "a payment is made within its time", f"after {after}, before {before}", call.timestamp)

    def _permit(self, call: Call, told: Told) -> None:
        given = call.arguments
        owner, terms = given["owner"], (given["spender"], given["value"])
        told.before(call, given["deadline"])
        message = Permit(self.domain, owner, *terms, self.rules.permits[owner], given["deadline"])
        self.rules.permits[owner] += 1
        told.signed(call, owner, digest=message.id, given=given)
        told.take(call, "Approval", owner=owner, spender=terms[0], value=terms[1])

    # ------------------------------------------------------------------ batches

    def _batch(self, call: Call, told: Told) -> None:
        try:
            items = decode_forms(call.arguments["batch"], self.domain)
        except DataError as exc:
            told.off(call, "a batch has the form that its manual draws", "a batch", str(exc))
            raise Unexplained from None
        for number, (item, by_wallet) in enumerate(items):
            message = item.message
            form = Form.WALLET if by_wallet else Form.KEY
            claim = Claim(
                f"item {number} of {call.place}", (message.from_,), message.id, item.signature, form, call.block
            )
            row = told.next
            if row is not None and (row.contract, row.event) == (MONEY, "PaymentSkipped"):
                self._skipped(call, told, number, item, claim)
                continue
            self._in_time(call, told, message.valid_after, message.valid_before)
            told.claim(claim)
            told.take(call, "AuthorizationUsed", authorizer=message.from_, nonce=message.nonce)
            for payee, value in payments_of(item):
                told.take(call, "Transfer", **{"from": message.from_}, to=payee, value=value)

    def _skipped(self, call: Call, told: Told, number: int, item: Item, claim: Claim) -> None:
        message, row = item.message, told.next
        assert row is not None  # noqa: S101  the caller has seen it
        due = self._outcome(call, told, item, claim)
        actual = Outcome(row.arguments["outcome"])
        if due is Outcome.PAID:
            told.off(call, f"item {number}: only what can't be paid is skipped", due.name, actual.name)
        elif due is not actual:
            told.off(call, f"item {number}: an item is skipped for the first reason that holds", due.name, actual.name)
        told.counts["items of payment batches skipped"] += 1
        told.take(call, "PaymentSkipped", **{"from": message.from_}, nonce=message.nonce, item=number)

    def _outcome(self, call: Call, told: Told, item: Item, claim: Claim) -> Outcome:
        """Return what becomes of an item, by the state at its place: the contract's checks in the contract's order."""
        message, payments = item.message, payments_of(item)
        if any(payee in (ZERO, self.address) for payee, _ in payments):
            return Outcome.INVALID_RECEIVER
        if call.timestamp <= message.valid_after:
            return Outcome.NOT_YET_VALID
        if call.timestamp >= message.valid_before:
            return Outcome.EXPIRED
        if self.rules.is_used(message.from_, message.nonce):
            return Outcome.NONCE_USED
        if not told.signatures.holds(claim):
            return Outcome.INVALID_SIGNATURE
        if self.rules.balances[message.from_] < sum(value for _, value in payments):
            return Outcome.INSUFFICIENT_BALANCE
        return Outcome.PAID

    # ------------------------------------------------------------------ ERC-20 and issuing

    def _created(self, call: Call, told: Told) -> None:
        told.take(call, "IssuerChanged", previousIssuer=ZERO, newIssuer=call.arguments["issuer_"])

    def _transfer(self, call: Call, told: Told) -> None:
        told.counts["transfers by their sender"] += 1
        self._told_transfer(call, told, call.caller, call.arguments["to"])

    def _told_transfer(self, call: Call, told: Told, payer: str, payee: str) -> None:
        told.take(call, "Transfer", **{"from": payer}, to=payee, value=call.arguments["value"])

    def _transfer_from(self, call: Call, told: Told) -> None:
        payer, value = call.arguments["from"], call.arguments["value"]
        allowed = self.rules.allowances[payer, call.caller]
        if allowed < value:
            told.off(call, "another's money is moved within an allowance", f"{value} at least", allowed)
        if allowed != UNLIMITED:
            self.rules.allowances[payer, call.caller] = allowed - value
        self._told_transfer(call, told, payer, call.arguments["to"])

    def _approve(self, call: Call, told: Told) -> None:
        given = call.arguments
        told.take(call, "Approval", owner=call.caller, spender=given["spender"], value=given["value"])

    def _minter(self, call: Call, told: Told) -> None:
        if call.caller not in self.rules.vaults:
            told.caller(call, self.rules.issuer, "the issuer or a vault")

    def _mint(self, call: Call, told: Told) -> None:
        self._minter(call, told)
        self._told_transfer(call, told, ZERO, call.arguments["to"])

    def _burn(self, call: Call, told: Told) -> None:
        self._minter(call, told)
        self._told_transfer(call, told, call.caller, ZERO)

    def _add_vault(self, call: Call, told: Told) -> None:
        told.caller(call, self.rules.issuer, "the issuer")
        told.take(call, "VaultAdded", vault=call.arguments["vault"])

    def _change_issuer(self, call: Call, told: Told) -> None:
        told.caller(call, self.rules.issuer, "the issuer")
        told.take(call, "IssuerChanged", newIssuer=call.arguments["newIssuer"])


class EscrowWitness:
    """Follows the calls of Escrow."""

    contracts: tuple[str, ...] = ("Escrow",)

    def __init__(self, deployments: Deployments) -> None:
        self.domain = escrow_domain(deployments)
        self.address = self.domain.verifying_contract

    def follow(self, call: Call, told: Told) -> None:
        """Follow one call."""
        if call.function == CREATION:
            return
        given = call.arguments
        terms = given["purchase"]
        purchase = Purchase(self.domain, *terms.values())
        if call.function == "fund":
            self._fund(call, told, purchase)
        elif call.function == "arbitrate":
            self._arbitrate(call, told, purchase)
        elif call.function == "reclaim":
            self._ends(call, told, purchase, "PurchaseReclaimed", purchase.buyer)
        else:
            kind, signer, event, payee = {
                "release": (Release, purchase.buyer, "PurchaseReleased", purchase.seller),
                "refund": (Refund, purchase.seller, "PurchaseRefunded", purchase.buyer),
                "claim": (words.Claim, purchase.seller, "PurchaseClaimed", purchase.seller),
            }[call.function]
            told.signed(call, signer, digest=kind(self.domain, purchase).id, given=given)
            self._ends(call, told, purchase, event, payee)

    def _fund(self, call: Call, told: Told, purchase: Purchase) -> None:
        given = call.arguments
        if purchase.arbiter != NOBODY:
            told.signed(call, purchase.seller, digest=purchase.id, given=given, name="offer")
        told.take(call, "PurchaseFunded", id=bytes(purchase.id), **given["purchase"])
        payment = {"from": purchase.buyer, "to": self.address, "value": purchase.value, "nonce": bytes(purchase.id)}
        rest = {name: given[name] for name in ("validAfter", "validBefore", "signature")}
        told.within(call, MONEY, "receiveWithAuthorization", self.address, **payment, **rest)

    def _arbitrate(self, call: Call, told: Told, purchase: Purchase) -> None:
        to_buyer, to_seller = call.arguments["toBuyer"], call.arguments["toSeller"]
        word = Arbitration(self.domain, purchase, to_buyer, to_seller)
        told.signed(call, purchase.arbiter, digest=word.id, given=call.arguments)
        told.take(call, "PurchaseArbitrated", id=bytes(purchase.id), toBuyer=to_buyer, toSeller=to_seller)
        for payee, value in ((purchase.buyer, to_buyer), (purchase.seller, to_seller)):
            if value:
                told.within(call, MONEY, "transfer", self.address, to=payee, value=value)

    def _ends(self, call: Call, told: Told, purchase: Purchase, event: str, payee: str) -> None:
        told.take(call, event, id=bytes(purchase.id))
        told.within(call, MONEY, "transfer", self.address, to=payee, value=purchase.value)


class VaultWitness:
    """Follows the calls of StablecoinVault; a signature of the token that it keeps is for that token to check."""

    contracts: tuple[str, ...] = ("StablecoinVault",)

    def __init__(self, deployments: Deployments) -> None:
        self.address = deployments.contracts["StablecoinVault"].address

    def follow(self, call: Call, told: Told) -> None:
        """Follow one call."""
        given = call.arguments
        if call.function == CREATION:
            return
        if call.function == "withdraw":
            names = ("from", "to", "value")
            told.take(call, "Withdrawn", **{name: given[name] for name in names})
            nonce = keccak(bytes(12) + bytes.fromhex(given["to"][2:]) + given["salt"])
            payment = {"from": given["from"], "to": self.address, "value": given["value"], "nonce": nonce}
            rest = {name: given[name] for name in ("validAfter", "validBefore", "signature")}
            told.within(call, MONEY, "receiveWithAuthorization", self.address, **payment, **rest)
            told.within(call, MONEY, "burn", self.address, value=given["value"])
        else:
            who = call.caller if call.function == "deposit" else given["from"]
            told.take(call, "Deposited", **{"from": who}, to=given["to"], value=given["value"])
            told.within(call, MONEY, "mint", self.address, to=given["to"], value=given["value"])
