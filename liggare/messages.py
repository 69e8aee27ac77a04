"""Signed messages: one wish is one EIP-712 message, and its digest is its id everywhere.

A message class lists its EIP-712 fields; an instance knows its typed data, its id before
anything is sent, and how to be signed and checked. Each domain's `messages` module holds
its own classes; this one holds what they share.

    message -> typed data -> id (the digest) -> signature -> carried by anyone -> contract
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Generic, TypeVar

from coincurve import PrivateKey, PublicKey
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from liggare.digest import Types, digest, domain_separator
from liggare.errors import InvalidAddress, SignatureMalformed, WrongSigner

__all__ = ["Domain", "Signed", "SignedMessage", "address", "compact", "expand", "recover", "recover_key"]

HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""secp256k1's order halved: s above it is the malleable twin of a signature (EIP-2)."""


@lru_cache(65_536)
def address(text: str) -> ChecksumAddress:
    """Return the checksummed address; refuse mixed case with a wrong checksum (ERC-55)."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{40}", text):
        raise InvalidAddress(f"{text!r} is no address: 0x and 40 hexadecimal digits")
    checked = to_checksum_address(text)
    if text[2:] not in (checked[2:], text[2:].lower(), text[2:].upper()):
        raise InvalidAddress(f"{text} fails its checksum: a digit is wrong")
    return checked


@dataclass(frozen=True)
class Domain:
    """What an EIP-712 signature is bound to: a contract's name, version, chain and address."""

    name: str
    version: str
    chain_id: int
    verifying_contract: ChecksumAddress

    @property
    def separator(self) -> bytes:
        """The domain's hash."""
        return domain_separator(self.name, self.version, self.chain_id, self.verifying_contract)

    def typed(self) -> dict[str, Any]:
        """Return the domain as EIP-712 names it."""
        return {
            "name": self.name,
            "version": self.version,
            "chainId": self.chain_id,
            "verifyingContract": self.verifying_contract,
        }


DOMAIN_TYPE = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]


@lru_cache(1024)
def attribute(field: str) -> str:
    """Return the Python attribute of an EIP-712 field: `validAfter` -> `valid_after`, `from` -> `from_`."""
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", field).lower()
    return f"{snake}_" if keyword.iskeyword(snake) else snake


@dataclass(frozen=True)
class SignedMessage:
    """A typed message; subclasses are frozen dataclasses with one attribute per field.

    `TYPE` is the EIP-712 primary type, `FIELDS` its members in order as name -> type; `STRUCTS` names the
    members of further structs that fields are made of.
    """

    TYPE: ClassVar[str]
    FIELDS: ClassVar[dict[str, str]]
    STRUCTS: ClassVar[dict[str, dict[str, str]]] = {}

    domain: Domain

    def values(self) -> dict[str, Any]:
        """Return the message's members by their EIP-712 names."""
        return {name: getattr(self, attribute(name)) for name in self.FIELDS}

    def typed_data(self) -> dict[str, Any]:
        """Return the document that wallets take (`eth_signTypedData_v4`), ready for JSON."""
        types = {
            struct: [{"name": name, "type": kind} for name, kind in fields.items()]
            for struct, fields in {self.TYPE: self.FIELDS, **self.STRUCTS}.items()
        }
        return {
            "types": {"EIP712Domain": DOMAIN_TYPE, **types},
            "primaryType": self.TYPE,
            "domain": self.domain.typed(),
            "message": _plain(self.values()),
        }

    @classmethod
    def _types(cls) -> Types:
        """Return the message's own struct and those within it."""
        structs = {cls.TYPE: cls.FIELDS, **cls.STRUCTS}
        return tuple((name, tuple(fields.items())) for name, fields in structs.items())

    @cached_property
    def id(self) -> HexBytes:
        """The EIP-712 digest, 32 bytes: the same in output, outbox, event and explorer."""
        return HexBytes(digest(self.domain.separator, self.TYPE, self._types(), self.values()))

    def sign(self: M, account: LocalAccount) -> Signed[M]:
        """Sign with the account's key; deterministic (RFC 6979), s in the lower half."""
        # as eth-account does it, without its checks of what kind of thing is signed
        signature = PrivateKey(bytes(account.key)).sign_recoverable(bytes(self.id), hasher=None)
        return Signed(self, signature[:64] + bytes([signature[64] + 27]))


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: bytes as hexadecimal text, numbers that JavaScript can't hold as decimal text."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return str(value) if isinstance(value, int) and value >= 2**53 else value


M = TypeVar("M", bound=SignedMessage)


@dataclass(frozen=True)
class Signed(Generic[M]):
    """A message with a signature of 65 bytes: r, s, v."""

    message: M
    signature: bytes

    @property
    def id(self) -> HexBytes:
        """The message's id."""
        return self.message.id

    def signer(self) -> ChecksumAddress:
        """Return who signed. Raises SignatureMalformed."""
        return recover(self.id, self.signature)

    def check(self, expected: str) -> None:
        """Raise WrongSigner unless `expected` signed."""
        actual = self.signer()
        if actual != to_checksum_address(expected):
            raise WrongSigner(to_checksum_address(expected), actual)


def recover(hash_: bytes, signature: bytes) -> ChecksumAddress:
    """Return the signer of a digest, as strictly as the contracts do. Raises SignatureMalformed."""
    return address("0x" + recover_key(hash_, signature).hex())


def recover_key(hash_: bytes, signature: bytes) -> bytes:
    """Return the signer of a digest as the 20 bytes of an address, as strictly as the contracts do.

    Raises SignatureMalformed where length, v, r or s is not what a contract takes.
    """
    if len(signature) != 65:
        raise SignatureMalformed(f"a signature is 65 bytes, not {len(signature)}")
    s, v = int.from_bytes(signature[32:64], "big"), signature[64]
    if v not in (27, 28):
        raise SignatureMalformed(f"v is 27 or 28, not {v}")
    if s > HALF_ORDER:
        raise SignatureMalformed("s is in the upper half: the malleable twin of a signature")
    try:
        public = PublicKey.from_signature_and_message(signature[:64] + bytes([v - 27]), hash_, hasher=None)
    except Exception as exc:  # libsecp256k1 has no narrower one
        raise SignatureMalformed("no key makes this signature") from exc
    return bytes(keccak(public.format(compressed=False)[1:])[12:])


def compact(signature: bytes) -> bytes:
    """Return a signature of 65 bytes in EIP-2098's 64. Raises SignatureMalformed where it has no such form."""
    if len(signature) != 65 or signature[64] not in (27, 28) or signature[32] > 0x7F:
        raise SignatureMalformed("a signature is 65 bytes with v 27 or 28 and s in the lower half")
    s = int.from_bytes(signature[32:64], "big") | (signature[64] - 27) << 255
    return signature[:32] + s.to_bytes(32, "big")


def expand(signature: bytes) -> bytes:
    """Return EIP-2098's 64 bytes as r, s, v in 65."""
    s = int.from_bytes(signature[32:], "big")
    return signature[:32] + (s & (2**255 - 1)).to_bytes(32, "big") + bytes([27 + (s >> 255)])
