"""EIP-712 digests of the types that our messages are made of, ten times as fast as the general encoder.

`typed_data()` with eth-account's encoder gives the same (tests/test_digest.py, on random messages); here the type
and the domain are hashed once, and a member is turned into its word without looking at the whole document again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from eth_hash.auto import keccak

__all__ = ["digest", "domain_separator", "struct_hash"]

Types = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Structs by name with their members as (name, type), in order; hashable."""

DOMAIN: Types = (
    (
        "EIP712Domain",
        (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address")),
    ),
)


@lru_cache(4096)
def domain_separator(name: str, version: str, chain_id: int, contract: str) -> bytes:
    """Return the domain's hash."""
    values = {"name": name, "version": version, "chainId": chain_id, "verifyingContract": contract}
    return struct_hash("EIP712Domain", DOMAIN, values)


def digest(separator: bytes, struct: str, types: Types, values: Mapping[str, Any]) -> bytes:
    """Return what is signed, 32 bytes. Raises ValueError or OverflowError for a value that its type does not hold."""
    return keccak(b"\x19\x01" + separator + struct_hash(struct, types, values))


def struct_hash(struct: str, types: Types, values: Mapping[str, Any]) -> bytes:
    """Return a struct's hash."""
    members = _members(struct, types)
    assert members is not None  # noqa: S101  callers name structs that are there
    words = [_word(kind, types, values[name]) for name, kind in members]
    return keccak(b"".join([_type_hash(struct, types), *words]))


@lru_cache(1024)
def _members(struct: str, types: Types) -> tuple[tuple[str, str], ...] | None:
    return dict(types).get(struct)


@lru_cache(1024)
def _type_hash(struct: str, types: Types) -> bytes:
    """Return the hash of `Struct(type name,…)` with the structs that it refers to after it, by name."""
    found, open_ = {struct}, [struct]
    while open_:
        for _, kind in _members(open_.pop(), types) or ():
            inner = kind.removesuffix("[]")
            if _members(inner, types) is not None and inner not in found:
                found.add(inner)
                open_.append(inner)
    order = [struct, *sorted(found - {struct})]
    words = [f"{name}({','.join(f'{kind} {each}' for each, kind in _members(name, types) or ())})" for name in order]
    return keccak("".join(words).encode())


def _word(kind: str, types: Types, value: Any) -> bytes:
    """Return a member's 32 bytes."""
    if kind.endswith("[]"):
        return keccak(b"".join(_word(kind[:-2], types, each) for each in value))
    if kind == "string":
        return keccak(value.encode())
    if kind == "bytes":
        return keccak(bytes(value))
    if kind == "address":
        return bytes.fromhex(value[2:]).rjust(32, b"\0")
    if kind == "bool":
        return int(value).to_bytes(32, "big")
    if _members(kind, types) is not None:
        return struct_hash(kind, types, value)
    return _sized(kind, value)


def _sized(kind: str, value: Any) -> bytes:
    """Return the word of a number or of bytes of fixed length."""
    family, size = _family(kind)
    if family == "bytes":
        if len(value) != size:
            raise ValueError(f"{kind} is {size} bytes, not {len(value)}")
        return bytes(value).ljust(32, b"\0")
    low, high = (0, 2**size) if family == "uint" else (-(2 ** (size - 1)), 2 ** (size - 1))
    if not low <= value < high:
        raise OverflowError(f"{value} is no {kind}")
    return int(value).to_bytes(32, "big", signed=family == "int")


@lru_cache(256)
def _family(kind: str) -> tuple[str, int]:
    matched = re.fullmatch(r"(uint|int|bytes)(\d+)", kind)
    if matched is None:
        raise ValueError(f"EIP-712 has no type {kind!r} that is known here")
    return matched[1], int(matched[2])
