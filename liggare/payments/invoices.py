"""Invoices: a payee's signed request for a payment, which is then paid at most once by each payer.

    make -> URI or QR code -> parse -> state -> pay -> carried by anyone -> state

The invoice is an EIP-712 message in the money's own domain. Its id is the nonce of the payment (ERC-3009), and
nonces are the payer's: the contract itself refuses that one payer pays one invoice twice. An invoice that names its
payer is therefore paid once at all. One that names nobody is paid once by all who look first, as `pay` does; two
who pay in the same moment both pay, and the payee owes one of them the money back.

What the payment is for stays off the chain: the message holds the hash of a salt and the text, the chain
the hash of the message. The URI holds both, in the spirit of ERC-681:

    liggare:pay-<payee>@<chain id>/<contract>?v=1&value=<units>&before=<unix time>
        [&from=<payer>][&for=<percent-encoded text>]&salt=<base64url>&sig=<base64url, EIP-2098>

An invoice has exactly one URI: any other spelling is refused.
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar
from urllib.parse import quote, unquote_to_bytes

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from web3 import Web3

from liggare.chain.connection import now
from liggare.chain.deployments import Deployments
from liggare.errors import (
    InvalidAddress,
    InvalidAmount,
    InvoiceExpired,
    InvoiceForAnother,
    InvoiceForeign,
    InvoiceMalformed,
    InvoicePaid,
    InvoiceVoid,
    SignatureMalformed,
    WrongChain,
)
from liggare.messages import Domain, Signed, SignedMessage, address, compact, expand
from liggare.payments.client import LIFETIME, Payments
from liggare.payments.messages import TransferWithAuthorization

__all__ = ["Found", "Invoice", "Invoices", "PaymentRequest", "State", "parse"]

ANYONE = address("0x" + "00" * 20)
DUE = 30 * 86_400
"""How long an invoice may be paid unless the payee says otherwise, in seconds."""
SALT, LONGEST_TEXT, LONGEST_URI = 16, 200, 1_200
"""Bytes of salt; most bytes of text in UTF-8; most characters of a URI."""
COUNTER, VALUE, TIME = 2**64, 2**128, 2**40

PATTERN = re.compile(
    r"liggare:pay-(?P<payee>0x[0-9a-fA-F]{40})@(?P<chain>[1-9][0-9]{0,18})/(?P<contract>0x[0-9a-fA-F]{40})"
    r"\?v=1&value=(?P<value>[1-9][0-9]{0,38})&before=(?P<before>[1-9][0-9]{0,12})"
    r"(&from=(?P<payer>0x[0-9a-fA-F]{40}))?(&for=(?P<text>[A-Za-z0-9_.~%-]+))?"
    r"&salt=(?P<salt>[A-Za-z0-9_-]{22})&sig=(?P<signature>[A-Za-z0-9_-]{86})"
)


@dataclass(frozen=True)
class Invoice(SignedMessage):
    """What the payee signs: `value` units from `payer` (the zero address: from anyone), before a unix time.

    `reference` is keccak256 of the salt and the text, so that the message shows neither.
    """

    TYPE: ClassVar[str] = "Invoice"
    FIELDS: ClassVar[dict[str, str]] = {
        "payee": "address",
        "payer": "address",
        "value": "uint256",
        "validBefore": "uint256",
        "reference": "bytes32",
    }

    payee: ChecksumAddress
    payer: ChecksumAddress
    value: int
    valid_before: int
    reference: bytes

    @property
    def nonce(self) -> bytes:
        """The payment's nonce: the invoice's id. Raises InvoiceMalformed where it would be a counter nonce."""
        return _random(self.id)


def _random(digest: bytes) -> bytes:
    """Return a digest that is a random nonce; below 2^64, one in 2^192, it could be taken for a counter and used."""
    if int.from_bytes(digest, "big") < COUNTER:
        raise InvoiceMalformed("the invoice's id is below 2^64 and can't be a nonce of its own; make another")
    return bytes(digest)


@dataclass(frozen=True)
class PaymentRequest:
    """A signed invoice with the salt and the text (UTF-8) that only those who hold its URI know."""

    signed: Signed[Invoice]
    salt: bytes
    text: str

    @property
    def invoice(self) -> Invoice:
        """The invoice itself."""
        return self.signed.message

    def check(self) -> None:
        """Raise WrongSigner or SignatureMalformed unless the payee signed exactly this."""
        self.signed.check(self.invoice.payee)

    def uri(self) -> str:
        """Return the one URI of this request."""
        invoice = self.invoice
        payer = "" if invoice.payer == ANYONE else f"&from={invoice.payer}"
        text = f"&for={quote(self.text, safe='')}" if self.text else ""
        return (
            f"liggare:pay-{invoice.payee}@{invoice.domain.chain_id}/{invoice.domain.verifying_contract}"
            f"?v=1&value={invoice.value}&before={invoice.valid_before}{payer}{text}"
            f"&salt={_encode(self.salt)}&sig={_encode(compact(self.signed.signature))}"
        )


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _decode(words: str) -> bytes:
    return urlsafe_b64decode(words + "=" * (-len(words) % 4))


def _checked(text: str) -> str:
    """Return the text, or raise InvoiceMalformed where it is too long or would do more on a screen than be read."""
    if len(text.encode(errors="replace")) > LONGEST_TEXT:
        raise InvoiceMalformed(f"what the payment is for takes {LONGEST_TEXT} bytes at most")
    if not text.isprintable():
        raise InvoiceMalformed("what the payment is for has characters that can't be printed")
    return text


def _reference(salt: bytes, text: str) -> bytes:
    return bytes(keccak(salt + text.encode()))


def parse(uri: str, domain: Domain) -> PaymentRequest:
    """Read a URI; `domain` is that of the money here. Whether the payee signed, `check` tells.

    Raises InvoiceMalformed, WrongChain where it asks for a payment on another chain, InvoiceForeign where in
    another money.
    """
    if len(uri) > LONGEST_URI:
        raise InvoiceMalformed(f"an invoice's URI has {LONGEST_URI} characters at most, not {len(uri)}")
    if (version := re.match(r"liggare:[^?]*\?v=([0-9]+)", uri)) and version[1] != "1":
        raise InvoiceMalformed(f"the invoice is of version {version[1]}; this release knows version 1")
    if not (match := PATTERN.fullmatch(uri)):
        raise InvoiceMalformed("no invoice: liggare:pay-<payee>@<chain>/<contract>?v=1&value=…&before=…&salt=…&sig=…")
    part = match.groupdict()
    if int(part["chain"]) != domain.chain_id:
        raise WrongChain(int(part["chain"]), domain.chain_id)
    try:
        payee, payer, contract = (address(part[name] or ANYONE) for name in ("payee", "payer", "contract"))
        text = _checked(unquote_to_bytes(part["text"] or "").decode())
        signature = expand(_decode(part["signature"]))
    except (InvalidAddress, UnicodeDecodeError) as exc:
        raise InvoiceMalformed(f"no invoice: {exc}") from None
    if contract != domain.verifying_contract:
        raise InvoiceForeign(contract, domain.verifying_contract)
    value, before, salt = int(part["value"]), int(part["before"]), _decode(part["salt"])
    if value >= VALUE or before >= TIME:
        raise InvoiceMalformed("the invoice's value or its time is out of range")
    invoice = Invoice(domain, payee, payer, value, before, _reference(salt, text))
    request = PaymentRequest(Signed(invoice, signature), salt, text)
    try:
        written = request.uri()
    except SignatureMalformed as exc:
        raise InvoiceMalformed(f"no invoice: {exc}") from None
    if written != uri:
        raise InvoiceMalformed("the URI is not spelled as an invoice's one URI is")
    return request


class State(Enum):
    """What became of an invoice."""

    OPEN = "open"
    PAID = "paid"
    EXPIRED = "expired"
    VOID = "void"
    """The payer that it names canceled its nonce or used it otherwise: it can't be paid any more."""


@dataclass(frozen=True)
class Found:
    """An invoice's state by the chain; who paid it, in which transaction and block, where it is paid."""

    state: State
    payer: ChecksumAddress | None = None
    transaction: str | None = None
    block: int | None = None


class Invoices:
    """Invoices in the money on one chain."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self.payments = Payments(w3, deployments)

    def make(
        self,
        payee: LocalAccount,
        value: int,
        *,
        payer: str | None = None,
        text: str = "",
        valid_before: int | None = None,
        salt: bytes | None = None,
    ) -> PaymentRequest:
        """Sign a request for `value` units from `payer`, or from anyone; nothing is sent.

        `text` says what for, in 200 bytes at most. Raises InvalidAmount for nothing or too much, InvoiceMalformed
        for a text or a time that no invoice has.
        """
        if not 0 < value < VALUE:
            raise InvalidAmount("an invoice asks for more than nothing, and less than 2^128 units")
        before = now(self.w3) + DUE if valid_before is None else valid_before
        if not 0 < before < TIME:
            raise InvoiceMalformed(f"an invoice's time is below 2^40, not {before}")
        salt = secrets.token_bytes(SALT) if salt is None else salt
        invoice = Invoice(
            self.payments.domain,
            payee.address,
            ANYONE if payer is None else address(payer),
            value,
            before,
            _reference(salt, _checked(text)),
        )
        _random(invoice.id)
        return PaymentRequest(invoice.sign(payee), salt, text)

    def parse(self, uri: str) -> PaymentRequest:
        """Read a URI, as the function `parse`."""
        return parse(uri, self.payments.domain)

    def state(self, request: PaymentRequest) -> Found:
        """Tell what became of the invoice. Raises LedgerError where the node does not show its events.

        Paid is what moved exactly its value to its payee under its nonce. Anybody who knows the nonce can use it
        for a payment of another kind; that does not count.
        """
        invoice = request.invoice
        named = invoice.payer != ANYONE
        used = named and self.is_used(invoice.payer, invoice)
        if used or not named:
            for use in self.payments.uses.find(invoice.nonce, invoice.payer if named else None):
                if (invoice.payee, invoice.value) in use.transfers:
                    return Found(State.PAID, use.payer, use.transaction, use.block)
        if used:
            return Found(State.VOID)
        return Found(State.EXPIRED if now(self.w3) >= invoice.valid_before else State.OPEN)

    def is_used(self, payer: str, invoice: Invoice) -> bool:
        """Tell whether this payer can't pay the invoice any more: it did, or gave its nonce up."""
        return bool(self.payments.contract.functions.authorizationState(address(payer), invoice.nonce).call())

    def pay(self, payer: LocalAccount, request: PaymentRequest) -> Signed[TransferWithAuthorization]:
        """Sign the payment of an invoice that is right, due and unpaid; `Payments.carry` takes it to the chain.

        Raises WrongSigner or SignatureMalformed, InvoiceForAnother, InvoicePaid, InvoiceVoid, InvoiceExpired.
        """
        invoice = request.invoice
        request.check()
        if invoice.payer not in (ANYONE, payer.address):
            raise InvoiceForAnother(invoice.payer, payer.address)
        found = self.state(request)
        if found.state is State.PAID:
            raise InvoicePaid(str(found.payer), str(found.transaction))
        if found.state is State.EXPIRED:
            raise InvoiceExpired(invoice.valid_before, now(self.w3))
        if found.state is State.VOID or self.is_used(payer.address, invoice):
            raise InvoiceVoid(payer.address)
        before = min(invoice.valid_before, now(self.w3) + LIFETIME)
        return self.payments.pay(payer, invoice.payee, invoice.value, nonce=invoice.nonce, valid_before=before)
