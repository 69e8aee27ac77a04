"""Signed payments as JSON, in the words of ERC-3009: what the relayer takes and tells.

    {"chainId": 1337, "contract": "0x…", "authorization": {"from", "to", "value", "validAfter", "validBefore",
     "nonce"}, "signature": "0x…"}

or, with `bundle` for `authorization`, many payments of one payer: `{"from", "payments": [{"to", "value"}, …],
"validAfter", "validBefore", "nonce"}`. Amounts are in units of 10^-6, as decimal text or as numbers.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Discriminator, Field, Tag, TypeAdapter, ValidationError

from liggare.errors import DataError
from liggare.messages import Domain, Signed, address
from liggare.payments.codec import Item
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization
from liggare.relay.wire import STRICT, Address, Envelope, Signature, Word, form, plain_signature, whole

__all__ = ["SignedPayment", "document", "read"]

MOST = 500
"""Payments in a bundle that a relayer takes."""

Value = Annotated[int, whole(64), form(64, "120000000")]
Time = Annotated[int, whole(32), form(32, "1796083200")]


class Payment(BaseModel):
    """One payment of a bundle."""

    model_config = STRICT
    to: Address
    value: Value


class Authorization(BaseModel):
    """A TransferWithAuthorization (ERC-3009)."""

    model_config = STRICT
    from_: Address = Field(alias="from")
    to: Address
    value: Value
    valid_after: Time = Field(alias="validAfter")
    valid_before: Time = Field(alias="validBefore")
    nonce: Word


class Bundle(BaseModel):
    """A PaymentBundle: all of its payments happen, or none."""

    model_config = STRICT
    from_: Address = Field(alias="from")
    payments: Annotated[list[Payment], Field(min_length=1, max_length=MOST)]
    valid_after: Time = Field(alias="validAfter")
    valid_before: Time = Field(alias="validBefore")
    nonce: Word


class _Signed(Envelope):
    signature: Signature

    def signature_bytes(self) -> bytes:
        """Return a key's signature in its 65 bytes with v 27 or 28."""
        return plain_signature(self.signature)


class SignedTransfer(_Signed):
    """A payment with its payer's signature."""

    authorization: Authorization

    def item(self, domain: Domain) -> Item:
        """Return the signed message, bound to `domain`; whether that is this one's, the caller checks."""
        given = self.authorization
        message = TransferWithAuthorization(
            domain,
            address(given.from_),
            address(given.to),
            given.value,
            given.valid_after,
            given.valid_before,
            bytes.fromhex(given.nonce[2:]),
        )
        return Signed(message, self.signature_bytes())


class SignedBundle(_Signed):
    """A bundle with its payer's signature."""

    bundle: Bundle

    def item(self, domain: Domain) -> Item:
        """Return the signed message, bound to `domain`; whether that is this one's, the caller checks."""
        given = self.bundle
        message = PaymentBundle(
            domain,
            address(given.from_),
            tuple({"to": row.to, "value": row.value} for row in given.payments),
            given.valid_after,
            given.valid_before,
            bytes.fromhex(given.nonce[2:]),
        )
        return Signed(message, self.signature_bytes())


def _kind(given: Any) -> str:
    bundle = "bundle" in given if isinstance(given, dict) else isinstance(given, SignedBundle)
    return "bundle" if bundle else "authorization"


SignedPayment = Annotated[
    Annotated[SignedTransfer, Tag("authorization")] | Annotated[SignedBundle, Tag("bundle")], Discriminator(_kind)
]
_adapter: TypeAdapter[SignedTransfer | SignedBundle] = TypeAdapter(SignedPayment)


def read(given: Any) -> SignedTransfer | SignedBundle:
    """Return the model of a JSON document. Raises DataError naming the member that is off."""
    if isinstance(given, _Signed):
        return given  # type: ignore[return-value]
    try:
        return _adapter.validate_python(given)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise DataError(f"{'.'.join(map(str, first['loc'][1:])) or 'payment'}: {first['msg']}") from None


def document(item: Item) -> dict[str, Any]:
    """Return the JSON form of a signed payment or bundle; amounts as text, times as numbers."""
    message = item.message
    times = {
        "validAfter": message.valid_after,
        "validBefore": message.valid_before,
        "nonce": "0x" + message.nonce.hex(),
    }
    body: dict[str, Any]
    if isinstance(message, PaymentBundle):
        rows = [{"to": payment["to"], "value": str(payment["value"])} for payment in message.payments]
        body = {"bundle": {"from": message.from_, "payments": rows, **times}}
    else:
        body = {"authorization": {"from": message.from_, "to": message.to, "value": str(message.value), **times}}
    return {
        "chainId": message.domain.chain_id,
        "contract": message.domain.verifying_contract,
        **body,
        "signature": "0x" + item.signature.hex(),
    }
