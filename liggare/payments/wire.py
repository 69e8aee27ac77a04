"""Signed payments as JSON, in the words of ERC-3009: what the relayer takes and tells.

    {"chainId": 1337, "contract": "0x…", "authorization": {"from", "to", "value", "validAfter", "validBefore",
     "nonce"}, "signature": "0x…"}

or, with `bundle` for `authorization`, many payments of one payer: `{"from", "payments": [{"to", "value"}, …],
"validAfter", "validBefore", "nonce"}`. Amounts are in units of 10^-6, as decimal text or as numbers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from liggare.errors import DataError
from liggare.messages import Domain, Signed, address, expand
from liggare.payments.codec import Item
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization

__all__ = ["SignedPayment", "document", "read"]

MOST = 500
"""Payments in a bundle that a relayer takes."""


def _digits(most: int) -> int:
    """Return how many decimal digits a text may have so that it is certainly small enough."""
    return len(str(most)) - 1


def _whole(most: int) -> BeforeValidator:
    """Return what takes a number up to `most`, given as a number or, since JSON's are not exact, as text."""

    def number(given: Any) -> int:
        if isinstance(given, float) and given.is_integer():
            given = int(given)
        if isinstance(given, bool) or not isinstance(given, int | str):
            raise ValueError("a whole number, or one as decimal text")  # noqa: TRY004  pydantic takes no other
        if isinstance(given, str) and not (given.isascii() and given.isdigit() and len(given) <= _digits(most)):
            raise ValueError(f"not decimal text of at most {_digits(most)} digits")
        if isinstance(given, int) and not 0 <= given <= min(most, 2**53):
            raise ValueError(f"not between 0 and {min(most, 2**53)}; beyond 2^53 only text is exact")
        return int(given)

    return BeforeValidator(number)


def _form(most: int, example: str) -> WithJsonSchema:
    """Return how the manual describes it."""
    number = {"type": "integer", "minimum": 0, "maximum": min(most, 2**53)}
    text = {"type": "string", "pattern": f"^[0-9]{{1,{_digits(most)}}}$"}
    return WithJsonSchema({"anyOf": [number, text], "examples": [example]}, mode="validation")


ChainId = Annotated[int, _whole(2**63 - 1), _form(2**63 - 1, "1337")]
Value = Annotated[int, _whole(2**64 - 1), _form(2**64 - 1, "120000000")]
Time = Annotated[int, _whole(2**32 - 1), _form(2**32 - 1, "1796083200")]


@lru_cache(65_536)
def _address(given: str) -> ChecksumAddress:
    return to_checksum_address(given)


Address = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$"), AfterValidator(_address)]
"""In any case of its letters: that it is the one that was signed, the signature tells."""
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


class _Signed(BaseModel):
    model_config = STRICT
    chain_id: ChainId = Field(alias="chainId")
    contract: Address
    signature: Signature

    def signature_bytes(self) -> bytes:
        """Return a key's signature in its 65 bytes with v 27 or 28.

        Wallets also give v as 0 or 1, or EIP-2098's 64 bytes.
        """
        signature = bytes.fromhex(self.signature[2:])
        if len(signature) == 64:
            return expand(signature)
        if len(signature) == 65 and signature[64] < 2:
            return signature[:64] + bytes([signature[64] + 27])
        return signature


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
