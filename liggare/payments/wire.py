"""Signed payments as JSON, in the words of ERC-3009: what the relayer takes and tells.

    {"chainId": 1337, "contract": "0x…", "authorization": {"from", "to", "value", "validAfter", "validBefore",
     "nonce"}, "signature": "0x…"}

or, with `bundle` for `authorization`, many payments of one payer: `{"from", "payments": [{"to", "value"}, …],
"validAfter", "validBefore", "nonce"}`. Amounts are in units of 10^-6, as decimal text or as numbers.
"""

from __future__ import annotations

from typing import Annotated, Any

from eth_typing import ChecksumAddress
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from liggare.errors import InvalidAddress
from liggare.messages import Domain, Signed, address, expand
from liggare.payments.codec import Item
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization

__all__ = ["SignedPayment", "document"]

MOST = 500
"""Payments in a bundle that a relayer takes."""


def _number(given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ValueError("a whole number, or one as decimal text")  # noqa: TRY004  pydantic takes no other
    if isinstance(given, str) and not (given.isascii() and given.isdigit() and len(given) <= 30):
        raise ValueError("not decimal text")
    return int(given)


def _address(given: str) -> ChecksumAddress:
    try:
        return address(given)
    except InvalidAddress as exc:
        raise ValueError(str(exc)) from None


def _whole(most: int, example: str) -> WithJsonSchema:
    """Return the schema of a number up to `most`, given as a number or, since JSON's are not exact, as text."""
    number = {"type": "integer", "minimum": 0, "maximum": min(most, 2**53)}
    text = {"type": "string", "pattern": r"^[0-9]{1,24}$"}
    return WithJsonSchema({"anyOf": [number, text], "examples": [example]}, mode="validation")


_Number = BeforeValidator(_number)
ChainId = Annotated[int, _Number, Field(ge=0, le=2**63 - 1), _whole(2**63 - 1, "1337")]
Value = Annotated[int, _Number, Field(ge=0, le=2**80 - 1), _whole(2**80 - 1, "120000000")]
Time = Annotated[int, _Number, Field(ge=0, le=2**40 - 1), _whole(2**40 - 1, "1796083200")]
Address = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$"), AfterValidator(_address)]
Word = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{64}$")]
Signature = Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2}){64,8192}$")]
STRICT = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


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


class SignedPayment(BaseModel):
    """A payment or a bundle with its payer's signature."""

    model_config = STRICT
    chain_id: ChainId = Field(alias="chainId")
    contract: Address
    authorization: Authorization | None = None
    bundle: Bundle | None = None
    signature: Signature

    @model_validator(mode="after")
    def _one(self) -> SignedPayment:
        if (self.authorization is None) == (self.bundle is None):
            raise ValueError("either an authorization or a bundle")
        return self

    def item(self, domain: Domain) -> Item:
        """Return the signed message, bound to `domain`; whether that is this one's, the caller checks."""
        message = self.authorization or self.bundle
        assert message is not None  # noqa: S101  by _one
        times = (message.valid_after, message.valid_before, bytes.fromhex(message.nonce[2:]))
        signature = _plain(bytes.fromhex(self.signature[2:]))
        if isinstance(message, Authorization):
            payment = TransferWithAuthorization(
                domain, address(message.from_), address(message.to), message.value, *times
            )
            return Signed(payment, signature)
        rows = tuple({"to": row.to, "value": row.value} for row in message.payments)
        return Signed(PaymentBundle(domain, address(message.from_), rows, *times), signature)


def _plain(signature: bytes) -> bytes:
    """Return a key's signature in its 65 bytes with v 27 or 28; wallets also give v as 0 or 1, or EIP-2098's form."""
    if len(signature) == 64:
        return expand(signature)
    if len(signature) == 65 and signature[64] < 2:
        return signature[:64] + bytes([signature[64] + 27])
    return signature


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
