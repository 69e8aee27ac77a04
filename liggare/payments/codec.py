"""The packed form of a batch of signed payments, as `payBatch` takes it; the manual is IZeroFeePayments.

    uint16 accounts | uint16 items | accounts x address, ascending | items
    item: head word | [random nonce] | signature | [bundle's payments, 12 bytes each]

`encode` and `decode` are each other's inverse. A message that has no packed form (a value of 2^80 or
more, a time of 2^40 or more) is refused here and goes by `transferWithAuthorization` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise

from eth_typing import ChecksumAddress

from liggare.errors import DataError
from liggare.messages import Domain, Signed, address, compact, expand
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization

__all__ = ["Item", "Outcome", "decode", "encode", "fits"]

Item = Signed[TransferWithAuthorization] | Signed[PaymentBundle]
"""What a batch is made of."""

RANDOM_NONCE, WALLET, BUNDLE = 1 << 255, 1 << 254, 1 << 239
MAX_ACCOUNTS, MAX_ITEMS, MAX_BUNDLE, MAX_SIGNATURE = 2**14, 2**16 - 1, 2**15 - 1, 8192
TIME, VALUE, COUNTER = 2**40, 2**80, 2**64


class Outcome(IntEnum):
    """What became of an item; only PAID changed anything."""

    PAID = 0
    NOT_YET_VALID = 1
    EXPIRED = 2
    INVALID_RECEIVER = 3
    NONCE_USED = 4
    INVALID_SIGNATURE = 5
    INSUFFICIENT_BALANCE = 6


def _payments(item: Item) -> list[tuple[str, int]]:
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
        and 1 <= len(_payments(item)) <= MAX_BUNDLE
        and all(0 <= value < VALUE for _, value in _payments(item))
    )


def encode(items: Sequence[Item]) -> bytes:
    """Pack signed payments and bundles, in this order. Raises DataError for one that does not fit."""
    accounts = sorted({int(who, 16) for item in items for who in (item.message.from_, *dict(_payments(item)))})
    if len(accounts) > MAX_ACCOUNTS or len(items) > MAX_ITEMS:
        raise DataError(f"a batch has at most {MAX_ACCOUNTS} accounts and {MAX_ITEMS} items")
    place = {account: index for index, account in enumerate(accounts)}
    parts = [len(accounts).to_bytes(2, "big"), len(items).to_bytes(2, "big")]
    parts += [account.to_bytes(20, "big") for account in accounts]
    for number, item in enumerate(items):
        if not fits(item):
            raise DataError(f"item {number} has no packed form: a value, a time or its length is too great")
        parts += _encode_item(item, place)
    return b"".join(parts)


def _encode_item(item: Item, place: dict[int, int]) -> list[bytes]:
    message, payments = item.message, _payments(item)
    nonce = int.from_bytes(message.nonce, "big")
    random = nonce >= COUNTER
    head = place[int(message.from_, 16)] << 240 | message.valid_after << 104 | message.valid_before << 64
    head |= RANDOM_NONCE if random else nonce
    bundle = isinstance(message, PaymentBundle)
    if bundle:
        head |= BUNDLE | len(payments) << 224
    else:
        to, value = payments[0]
        head |= place[int(to, 16)] << 224 | value << 144
    signature = item.signature
    if len(signature) == 65 and signature[64] in (27, 28) and signature[32] < 0x80:
        packed = compact(signature)
    else:
        head |= WALLET
        packed = len(signature).to_bytes(32, "big") + signature + bytes(-len(signature) % 32)
    rest = [place[int(to, 16)].to_bytes(2, "big") + value.to_bytes(10, "big") for to, value in payments]
    return [head.to_bytes(32, "big"), message.nonce if random else b"", packed, *(rest if bundle else [])]


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
    cursor = _Cursor(batch)
    count, items = cursor.number(2), cursor.number(2)
    accounts = [address("0x" + cursor.take(20).hex()) for _ in range(count)]
    if any(int(one, 16) >= int(two, 16) for one, two in pairwise(accounts)):
        raise DataError("the batch's accounts do not ascend")
    found = [_decode_item(cursor, accounts, domain) for _ in range(items)]
    if cursor.at != len(batch):
        raise DataError(f"the batch goes on after its last item, at byte {cursor.at}")
    return found


def _decode_item(cursor: _Cursor, accounts: Sequence[ChecksumAddress], domain: Domain) -> Item:
    at = cursor.at
    head = cursor.number(32)

    def account(place: int) -> ChecksumAddress:
        if place >= len(accounts):
            raise DataError(f"the batch has no account {place}, at byte {at}")
        return accounts[place]

    payer = account(head >> 240 & 0x3FFF)
    nonce = head % COUNTER
    if head & RANDOM_NONCE and (nonce or (nonce := cursor.number(32)) < COUNTER):
        raise DataError(f"a random nonce that is none, at byte {at}")
    if head & WALLET:
        if (length := cursor.number(32)) > MAX_SIGNATURE:
            raise DataError(f"a signature of {length} bytes, at byte {at}")
        signature = cursor.take(length + -length % 32)[:length]
    else:
        signature = expand(cursor.take(64))
    times = (head >> 104 & TIME - 1, head >> 64 & TIME - 1, nonce.to_bytes(32, "big"))
    count = head >> 224 & 0x7FFF
    value = head >> 144 & VALUE - 1
    if not head & BUNDLE:
        return Signed(TransferWithAuthorization(domain, payer, account(count), value, *times), signature)
    if count == 0 or value:
        raise DataError(f"a bundle of nothing, or with a value of its own, at byte {at}")
    payments = tuple({"to": account(cursor.number(2)), "value": cursor.number(10)} for _ in range(count))
    return Signed(PaymentBundle(domain, payer, payments, *times), signature)
