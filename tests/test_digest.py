"""Our digests are those of eth-account's general encoder, on random messages of every kind."""

from __future__ import annotations

import random

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_keys.datatypes import Signature

from liggare.digest import struct_hash
from liggare.energy import messages as energy
from liggare.messages import Domain, SignedMessage, attribute, recover
from liggare.payments import messages as payments
from liggare.records import messages as records

CLASSES = sorted(
    (
        kind
        for module in (payments, records, energy)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, SignedMessage) and hasattr(kind, "TYPE")
    ),
    key=lambda kind: kind.TYPE,
)


def value(kind: str, structs: dict, chance: random.Random):
    """A random value of an EIP-712 type; now and then its least or greatest."""
    if kind.endswith("[]"):
        return [value(kind[:-2], structs, chance) for _ in range(chance.randrange(4))]
    if kind in structs:
        return {name: value(each, structs, chance) for name, each in structs[kind].items()}
    if kind.startswith(("uint", "int")):
        size = int(kind.removeprefix("u")[3:])
        low, high = (0, 2**size - 1) if kind.startswith("u") else (-(2 ** (size - 1)), 2 ** (size - 1) - 1)
        return chance.choice([low, high, chance.randint(low, high)])
    if kind.startswith("bytes"):
        return chance.randbytes(int(kind[5:] or 6 * chance.randrange(1, 20)))  # readings are six bytes each
    if kind == "string":
        return "".join(chr(chance.choice([0x20, 0x61, 0xE5, 0x2603, 0x1F600])) for _ in range(chance.randrange(40)))
    return chance.random() < 0.5 if kind == "bool" else "0x" + chance.randbytes(20).hex()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.TYPE)
def test_a_digest_is_the_general_encoders(kind):
    chance = random.Random(kind.TYPE)
    for _ in range(25):
        place = value("string", {}, chance), "1", chance.randint(1, 2**63), value("address", {}, chance)
        members = {attribute(name): value(each, kind.STRUCTS, chance) for name, each in kind.FIELDS.items()}
        message = kind(Domain(*place), **members)
        assert message.id == _hash_eip191_message(encode_typed_data(full_message=message.typed_data()))


def test_every_message_is_covered():
    assert len(CLASSES) >= 10


@pytest.mark.parametrize("seed", range(30))
def test_every_kind_of_member(seed):
    kinds = ["int8", "int256", "uint8", "bytes1", "bytes31", "bytes", "string", "bool", "Inner", "Inner[]", "uint64[]"]
    inner = {"note": "string", "deep": "Deep"}
    structs = {"Outer": {f"m{n}": kind for n, kind in enumerate(kinds)}, "Inner": inner, "Deep": {"x": "bytes4"}}
    given = value("Outer", structs, random.Random(seed))
    types = tuple((name, tuple(fields.items())) for name, fields in structs.items())
    document = {
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}],
            **{name: [{"name": n, "type": t} for n, t in fields.items()] for name, fields in structs.items()},
        },
        "primaryType": "Outer",
        "domain": {"name": "x"},
        "message": given,
    }
    assert struct_hash("Outer", types, given) == encode_typed_data(full_message=document).body


@pytest.mark.parametrize(
    ("kind", "given"),
    [("uint8", 256), ("uint8", -1), ("int8", 128), ("bytes4", b"12345"), ("bytes4", b"1"), ("real", 1)],
)
def test_what_a_type_does_not_hold_is_refused(kind, given):
    with pytest.raises((ValueError, OverflowError)):
        struct_hash("S", (("S", (("a", kind),)),), {"a": given})


def test_signing_agrees_with_eth_account():
    account = Account.from_key(b"\x05" * 32)
    chance = random.Random(3)
    for number in range(20):
        nonce = chance.randbytes(32)
        domain = Domain("x", "1", 1, account.address)
        message = payments.TransferWithAuthorization(domain, account.address, account.address, number, 0, 1, nonce)
        theirs = account.sign_message(encode_typed_data(full_message=message.typed_data())).signature
        assert message.sign(account).signature == theirs


def test_recovering_agrees_with_eth_keys():
    account = Account.from_key(b"\x05" * 32)
    for number in range(50):
        hash_ = number.to_bytes(32, "big")
        signature = bytes(account.unsafe_sign_hash(hash_).signature)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        public = Signature(vrs=(signature[64] - 27, r, s)).recover_public_key_from_msg_hash(hash_)
        assert recover(hash_, signature) == public.to_checksum_address() == account.address
