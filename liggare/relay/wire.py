"""What signed messages of every kind have in common as JSON: numbers, addresses, words, the envelope.

Numbers are decimal text or JSON's own, which are exact up to 2^53 only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from liggare.messages import expand

__all__ = ["STRICT", "Address", "ChainId", "Envelope", "Signature", "Word", "form", "plain_signature", "whole"]


def _digits(most: int) -> int:
    """Return how many decimal digits a text may have so that it is certainly small enough."""
    return len(str(most)) - 1


def whole(bits: int) -> BeforeValidator:
    """Return what takes a number below 2^bits, given as a number or, since JSON's are not exact, as text."""
    most = 2**bits - 1

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


def form(bits: int, example: str) -> WithJsonSchema:
    """Return how the manual describes such a number."""
    most = 2**bits - 1
    number = {"type": "integer", "minimum": 0, "maximum": min(most, 2**53)}
    text = {"type": "string", "pattern": f"^[0-9]{{1,{_digits(most)}}}$"}
    return WithJsonSchema({"anyOf": [number, text], "examples": [example]}, mode="validation")


@lru_cache(65_536)
def _address(given: str) -> ChecksumAddress:
    return to_checksum_address(given)


ChainId = Annotated[int, whole(63), form(63, "1337")]
Address = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$"), AfterValidator(_address)]
"""In any case of its letters: that it is the one that was signed, the signature tells."""
Word = Annotated[str, Field(pattern="^0x[0-9a-fA-F]{64}$")]
Signature = Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2}){64,8192}$")]
STRICT = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


class Envelope(BaseModel):
    """What a signed message is for."""

    model_config = STRICT
    chain_id: ChainId = Field(alias="chainId")
    contract: Address


def plain_signature(given: str) -> bytes:
    """Return a key's signature in its 65 bytes with v 27 or 28, a wallet's as it is.

    Wallets also give v as 0 or 1, or EIP-2098's 64 bytes.
    """
    signature = bytes.fromhex(given[2:])
    if len(signature) == 64:
        return expand(signature)
    if len(signature) == 65 and signature[64] < 2:
        return signature[:64] + bytes([signature[64] + 27])
    return signature
