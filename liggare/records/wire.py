"""Signed messages of the records as JSON, in EIP-712's words: what the relayer takes and tells.

    {"chainId": 1337, "contract": "0x…", "type": "Grant", "message": {"patient", "blinded", "terms", "epoch",
     "version", "deadline"}, "signature": "0x…"}

Of a Recover there are several signatures: `"approvals": [{"guardian", "signature"}, …]` stands for `"signature"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from pydantic import BaseModel, Field, StrictBool, TypeAdapter, ValidationError, create_model
from web3.contract.contract import ContractFunction

from liggare.errors import DataError, UsageError
from liggare.messages import Domain, Signed, SignedMessage, address, attribute
from liggare.records.client import Records
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    BundledGrant,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Recover,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
)
from liggare.relay.wire import STRICT, Address, Envelope, Signature, Word, form, plain_signature, whole

__all__ = ["MESSAGES", "Approved", "Item", "SignedRecord", "document", "function", "item", "read"]

MESSAGES: dict[str, type[SignedMessage]] = {
    kind.TYPE: kind
    for kind in (
        Grant,
        Revoke,
        GrantBundle,
        GrantFor,
        RevokeFor,
        RevokeAll,
        Appoint,
        Dismiss,
        SetRecovery,
        Recover,
        StopRecovery,
        SetEmergency,
        BreakGlass,
    )
}
"""What can be carried, by its name in EIP-712."""
MOST = 100
"""Grants in a bundle that a relayer takes."""
MOST_APPROVALS = 16


@dataclass(frozen=True)
class Approved:
    """A recovery with its guardians' signatures, ascending by guardian."""

    message: Recover
    approvals: tuple[tuple[ChecksumAddress, bytes], ...]

    @classmethod
    def of(cls, approvals: Sequence[Signed[Recover]]) -> Approved:
        """Gather the approvals of guardians who hold keys. Raises UsageError where they approve different messages."""
        if len({approval.id for approval in approvals}) != 1:
            raise UsageError("the approvals of one recovery are of one and the same message")
        pairs = [(each.signer(), each.signature) for each in approvals]
        return cls(approvals[0].message, tuple(sorted(pairs, key=lambda pair: int(pair[0], 16))))

    @property
    def id(self) -> HexBytes:
        """The message's id."""
        return self.message.id

    @property
    def signature(self) -> bytes:
        """All signatures, one after the other."""
        return b"".join(signature for _, signature in self.approvals)


Item = Signed[Any] | Approved
"""What can be carried."""

_TYPES: dict[str, Any] = {
    "address": Address,
    "bytes32": Word,
    "bool": StrictBool,
    "uint8": Annotated[int, whole(8), form(8, "3")],
    "uint32": Annotated[int, whole(32), form(32, "86400")],
    "uint40": Annotated[int, whole(40), form(40, "1")],
    "uint48": Annotated[int, whole(48), form(48, "1796083200")],
}


def _members(name: str, fields: dict[str, str], inner: dict[str, Any] | None = None) -> type[BaseModel]:
    """Return the model of a struct by its EIP-712 fields."""
    types = {**_TYPES, **(inner or {})}
    made: dict[str, Any] = {attribute(field): (types[kind], Field(alias=field)) for field, kind in fields.items()}
    return create_model(name, __config__=STRICT, **made)


_Bundled = _members("BundledGrant", GrantBundle.STRUCTS["BundledGrant"])
_LISTS = {"BundledGrant[]": Annotated[list[_Bundled], Field(min_length=1, max_length=MOST)]}  # type: ignore[valid-type]


class Approval(BaseModel):
    """One guardian's signature of a recovery."""

    model_config = STRICT
    guardian: Address
    signature: Signature


def _envelope(kind: type[SignedMessage]) -> type[Envelope]:
    """Return the model of a signed message of this kind."""
    members = _members(kind.TYPE, kind.FIELDS, _LISTS)
    signed: dict[str, Any] = {"type": (Literal[kind.TYPE], ...), "message": (members, ...)}
    if kind is Recover:
        many = Annotated[list[Approval], Field(min_length=1, max_length=MOST_APPROVALS)]
        return create_model(f"Signed{kind.TYPE}", __base__=Envelope, **signed, approvals=(many, ...))
    return create_model(f"Signed{kind.TYPE}", __base__=Envelope, **signed, signature=(Signature, ...))


_ENVELOPES = tuple(map(_envelope, MESSAGES.values()))
SignedRecord: Any = Annotated[reduce(or_, _ENVELOPES), Field(discriminator="type")]
"""A signed message as the web takes it."""
_adapter: TypeAdapter[Any] = TypeAdapter(SignedRecord)


def read(given: Any) -> Any:
    """Return the model of a JSON document. Raises DataError naming the member that is off."""
    if isinstance(given, _ENVELOPES):
        return given
    try:
        return _adapter.validate_python(given)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"][1:])) or "type"
        raise DataError(f"{where}: {first['msg']}") from None


def item(model: Any, domain: Domain) -> Item:
    """Return the signed message of a model, bound to `domain`; whether that is this one's, the caller checks."""
    kind = MESSAGES[model.type]
    members = {attribute(name): _value(getattr(model.message, attribute(name)), of) for name, of in kind.FIELDS.items()}
    message: Any = kind(domain, **members)
    if isinstance(message, Recover):
        pairs = ((address(each.guardian), plain_signature(each.signature)) for each in model.approvals)
        return Approved(message, tuple(pairs))
    return Signed(message, plain_signature(model.signature))


def _value(given: Any, kind: str) -> Any:
    if kind == "bytes32":
        return bytes.fromhex(given[2:])
    if kind == "BundledGrant[]":
        return tuple(
            BundledGrant(
                blinded=bytes.fromhex(row.blinded[2:]), terms=bytes.fromhex(row.terms[2:]), version=row.version
            )
            for row in given
        )
    return address(given) if kind == "address" else given


def document(signed: Item) -> dict[str, Any]:
    """Return the JSON form of a signed message."""
    message = signed.message
    told: dict[str, Any] = {
        "chainId": message.domain.chain_id,
        "contract": message.domain.verifying_contract,
        "type": message.TYPE,
        "message": message.typed_data()["message"],
    }
    if isinstance(signed, Approved):
        pairs = [{"guardian": who, "signature": "0x" + signature.hex()} for who, signature in signed.approvals]
        return {**told, "approvals": pairs}
    return {**told, "signature": "0x" + signed.signature.hex()}


def function(records: Records, signed: Item) -> ContractFunction:
    """Return the contract call that carries a signed message by itself."""
    if isinstance(signed, Approved):
        words = [*signed.message.values().values(), list(signed.approvals)]
        call: ContractFunction = records.contract.functions.recover(*words)
        return call
    return records.function(signed)
