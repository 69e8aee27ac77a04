"""The packed form of a batch of signed payments, as `payBatch` takes it; the manual is IZeroFeePayments.

    uint16 accounts | uint16 items | accounts x address, ascending | items
    item: head, 24 bytes | [long nonce] | signature | [bundle's payments, 10 bytes each]

`encode` and `decode` are each other's inverse. A message that has no packed form (a value of 2^64 or
more, a time of 2^32 or more) is refused here and goes by `transferWithAuthorization` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise

from eth_typing import ChecksumAddress

from liggare.errors import DataError
from liggare.messages import Domain, Signed, address, compact, expand
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization

__all__ = ["Item", "Outcome", "accounts", "decode", "decode_forms", "encode", "fits", "payments_of"]

Item = Signed[TransferWithAuthorization] | Signed[PaymentBundle]
"""What a batch is made of."""

LONG_NONCE, WALLET, BUNDLE = 1 << 159, 1 << 158, 1 << 143
HEAD = 24
"""The bytes of an item's head."""
MAX_ACCOUNTS, MAX_ITEMS, MAX_BUNDLE, MAX_SIGNATURE = 2**14, 2**16 - 1, 2**15 - 1, 8192
TIME, VALUE, SHORT = 2**32, 2**64, 2**32


class Outcome(IntEnum):
    """What became of an item; only PAID changed anything."""

    PAID = 0
    NOT_YET_VALID = 1
    EXPIRED = 2
    INVALID_RECEIVER = 3
    NONCE_USED = 4
    INVALID_SIGNATURE = 5
    INSUFFICIENT_BALANCE = 6


def payments_of(item: Item) -> list[tuple[str, int]]:
    """Return what an item pays: (payee, units), in order."""
    message = item.message
    if isinstance(message, PaymentBundle):
        return [(payment["to"], payment["value"]) for payment in message.payments]
    return [(message.to, message.value)]


def fits(item: Item) -> bool:
    """Tell whether the message has a packed form."""
    message = item.message
    return (
        0 <= message.valid_after < TIME
        and 0 <= message.valid_before < TIME
        and len(message.nonce) == 32
        and len(item.signature) <= MAX_SIGNATURE
        and 1 <= len(payments_of(item)) <= MAX_BUNDLE
        and all(0 <= value < VALUE for _, value in payments_of(item))
    )


def accounts(items: Sequence[Item]) -> list[int]:
    """Return the addresses that these items name as numbers, each once and ascending, as the batch lists them."""
    return sorted({int(who, 16) for item in items for who in (item.message.from_, *dict(payments_of(item)))})


def encode(items: Sequence[Item]) -> bytes:
    """Pack signed payments and bundles, in this order. Raises DataError for one that does not fit."""
    table = accounts(items)
    if len(table) > MAX_ACCOUNTS or len(items) > MAX_ITEMS:
        raise DataError(f"a batch has at most {MAX_ACCOUNTS} accounts and {MAX_ITEMS} items")
    place = {account: index for index, account in enumerate(table)}
    parts = [len(table).to_bytes(2, "big"), len(items).to_bytes(2, "big")]
    parts += [account.to_bytes(20, "big") for account in table]
    for number, item in enumerate(items):
        if not fits(item):
            raise DataError(f"item {number} has no packed form: a value, a time or its length is too great")
        parts += _encode_item(item, place)
    return b"".join(parts)


def _encode_item(item: Item, place: dict[int, int]) -> list[bytes]:
    message, payments = item.message, payments_of(item)
    nonce = int.from_bytes(message.nonce, "big")
    long = nonce >= SHORT
    head = message.valid_before << 160 | place[int(message.from_, 16)] << 144 | message.valid_after << 32
    head |= LONG_NONCE if long else nonce
    bundle = isinstance(message, PaymentBundle)
    if bundle:
        head |= BUNDLE | len(payments) << 128
    else:
        to, value = payments[0]
        head |= place[int(to, 16)] << 128 | value << 64
    signature = item.signature
    if len(signature) == 65 and signature[64] in (27, 28) and signature[32] < 0x80:
        packed = compact(signature)
    else:
        head |= WALLET
        packed = len(signature).to_bytes(32, "big") + signature + bytes(-len(signature) % 32)
    rest = [place[int(to, 16)].to_bytes(2, "big") + value.to_bytes(8, "big") for to, value in payments]
    return [head.to_bytes(HEAD, "big"), message.nonce if long else b"", packed, *(rest if bundle else [])]


class _Cursor:
    """Reads a batch from front to back."""

    def __init__(self, batch: bytes) -> None:
        self.batch, self.at = batch, 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises DataError where the batch ends before."""
        if self.at + size > len(self.batch):
            raise DataError(f"the batch is cut off at byte {len(self.batch)}")
        self.at += size
        return self.batch[self.at - size : self.at]

    def number(self, size: int) -> int:
        """Return the next `size` bytes as a number."""
        return int.from_bytes(self.take(size), "big")


def decode(batch: bytes, domain: Domain) -> list[Item]:
    """Unpack a batch: the messages as they were signed, with their signatures.

    Raises DataError wherever `payBatch` reverts with PaymentsBatchMalformed or …AccountsUnsorted.
    """
    return [item for item, _ in decode_forms(batch, domain)]


def decode_forms(batch: bytes, domain: Domain) -> list[tuple[Item, bool]]:
    """Unpack a batch as `decode` does, and tell of each item whether a contract wallet is asked for its signature."""
    cursor = _Cursor(batch)
    count, items = cursor.number(2), cursor.number(2)
    accounts = [address("0x" + cursor.take(20).hex()) for _ in range(count)]
    if any(int(one, 16) >= int(two, 16) for one, two in pairwise(accounts)):
        raise DataError("the batch's accounts do not ascend")
    found = [_decode_item(cursor, accounts, domain) for _ in range(items)]
    if cursor.at != len(batch):
        raise DataError(f"the batch goes on after its last item, at byte {cursor.at}")
    return found


def _decode_item(cursor: _Cursor, accounts: Sequence[ChecksumAddress], domain: Domain) -> tuple[Item, bool]:
    at = cursor.at
    head = cursor.number(HEAD)

    def account(place: int) -> ChecksumAddress:
        if place >= len(accounts):
            raise DataError(f"the batch has no account {place}, at byte {at}")
        return accounts[place]

    payer = account(head >> 144 & 0x3FFF)
    nonce = head % SHORT
    if head & LONG_NONCE and (nonce or (nonce := cursor.number(32)) < SHORT):
        raise DataError(f"a long nonce that is none, at byte {at}")
    by_wallet = bool(head & WALLET)
    if by_wallet:
        if (length := cursor.number(32)) > MAX_SIGNATURE:
            raise DataError(f"a signature of {length} bytes, at byte {at}")
        signature = cursor.take(length + -length % 32)[:length]
    else:
        signature = expand(cursor.take(64))
    times = (head >> 32 & TIME - 1, head >> 160, nonce.to_bytes(32, "big"))
    count = head >> 128 & 0x7FFF
    value = head >> 64 & VALUE - 1
    if not head & BUNDLE:
        return Signed(TransferWithAuthorization(domain, payer, account(count), value, *times), signature), by_wallet
    if count == 0 or value:
        raise DataError(f"a bundle of nothing, or with a value of its own, at byte {at}")
    payments = tuple({"to": account(cursor.number(2)), "value": cursor.number(8)} for _ in range(count))
    return Signed(PaymentBundle(domain, payer, payments, *times), signature), by_wallet
