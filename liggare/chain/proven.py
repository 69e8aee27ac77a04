"""Read the logs of a chain so that a node can leave out, add or alter none without forging the hashes of its blocks.

    headers, each hashed anew and naming the one before it
        -> its bloom filter names our contracts -> its transactions and receipts, each by its trie's root -> the logs

A filter has every address that a block's logs have, so a block that does not name ours needs no second look. What a
node can still do is show another chain as a whole, with another newest block than every other node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rlp
from eth_hash.auto import keccak
from trie import HexaryTrie
from web3 import Web3

from liggare.chain.calls import encoded, octets, quantity
from liggare.chain.feed import BATCH, Block, Feed, Log, named, read_header
from liggare.errors import LedgerForged, LedgerUnavailable

__all__ = ["Proven", "header_hash", "receipts_root", "transactions_root"]

NUMBERS = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas")
HEADER = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom", "difficulty"),
    *("number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas"),
    *("withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
)
"""A header's members in the order in which they are hashed; a chain has the later ones from some upgrade on."""


class Proven(Feed):
    """Reads the blocks of one chain, and of some addresses the logs, all of it proven by the blocks' hashes."""

    def __init__(self, w3: Web3, chain_id: int, addresses: Sequence[str]) -> None:
        """`addresses` in lower case."""
        super().__init__(w3, chain_id, addresses)
        self.last: Block | None = None
        """The last block of the last stretch: what is read next must be built on it, if it is the next block's."""

    def follow(self, number: int, hash_: str) -> bool:
        """Read on from a block; False where the chain has another there, or none. Raises as `stretch`."""
        with named():
            (found,) = self._batch(("eth_getBlockByNumber", [hex(number), False]))
            return found is not None and self._linked(found, number).hash == hash_

    def settled(self) -> Block:
        """Return the last block that was read, which the chain must have still. Raises LedgerUnavailable."""
        if self.last is None or self.block(self.last.number) != self.last:
            raise LedgerUnavailable("the chain changed while it was read")
        return self.last

    def stretch(self, first: int, last: int) -> tuple[list[Log], list[Block]]:
        """Return the logs of blocks `first` to `last`, in order, and the blocks with logs, among others.

        Raises LedgerForged where something is not as the hashes say, LedgerUnavailable where the node goes away.
        """
        logs, blocks = [], []
        with named():
            for number, found in enumerate(self._found(range(first, last + 1)), first):
                block = self._linked(found, number)
                if any(mark & block.bloom == mark for mark in self._marks):
                    logs += self._logs_of(block, found)
                blocks.append(block)
        return logs, blocks

    def _found(self, numbers: Sequence[int]) -> Iterator[Any]:
        for start in range(0, len(numbers), BATCH):
            part = numbers[start : start + BATCH]
            yield from self._batch(*[("eth_getBlockByNumber", [hex(number), False]) for number in part])

    def _linked(self, found: Any, number: int) -> Block:
        block, before = read_header(found), self.last
        if block.number != number:
            raise LedgerForged(f"block {block.number} is shown for block {number}")
        if header_hash(found) != block.hash:
            raise LedgerForged(f"the header of block {block.number} has another hash than the node says")
        if before is not None and before.number + 1 == block.number and before.hash != block.parent:
            raise LedgerForged(f"block {block.number} is not built on the block before it, or the chain changed")
        self.last = block
        return block

    def _logs_of(self, block: Block, found: Mapping[str, Any]) -> list[Log]:
        (whole,) = self._batch(("eth_getBlockByNumber", [hex(block.number), True]))
        transactions = whole["transactions"]
        if transactions_root(transactions) != found["transactionsRoot"]:
            raise LedgerForged(f"the transactions of block {block.number} are not those that its header commits to")
        hashes = [each["hash"] for each in transactions]
        receipts = self._batch(*[("eth_getTransactionReceipt", [hash_]) for hash_ in hashes])
        if receipts_root(receipts) != found["receiptsRoot"]:
            raise LedgerForged(f"the receipts of block {block.number} are not those that its header commits to")
        logs = []
        place = 0
        for hash_, receipt in zip(hashes, receipts, strict=True):
            for log in receipt["logs"]:
                if log["address"].lower() in self.addresses:
                    # by its place, which is proven; not by what the node says beside it
                    own = {"blockNumber": hex(block.number), "blockHash": block.hash, "transactionHash": hash_}
                    logs.append({**log, **own, "logIndex": hex(place)})
                place += 1
        return logs


def header_hash(found: Mapping[str, Any]) -> str:
    """Return the hash of a header, given as JSON-RPC has it."""
    present = [(name, found[name]) for name in HEADER if found.get(name) is not None]
    return "0x" + keccak(rlp.encode([quantity(v) if name in NUMBERS else octets(v) for name, v in present])).hex()


def transactions_root(transactions: Sequence[Mapping[str, Any]]) -> str:
    """Return the root of the trie of a block's transactions, each of which must have the hash that it is shown with."""
    return _root([encoded(each, each["hash"]) for each in transactions])


def receipts_root(receipts: Sequence[Mapping[str, Any]]) -> str:
    """Return the root of the trie of a block's receipts."""
    return _root([_receipt(each) for each in receipts])


def _receipt(found: Mapping[str, Any]) -> bytes:
    logs = [
        [octets(log["address"]), [octets(topic) for topic in log["topics"]], octets(log["data"])]
        for log in found["logs"]
    ]
    words = [quantity(found["status"]), quantity(found["cumulativeGasUsed"]), octets(found["logsBloom"]), logs]
    kind = quantity(found.get("type") or "0x0")
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode(words))


def _root(items: Sequence[bytes]) -> str:
    trie = HexaryTrie({})
    for number, item in enumerate(items):
        trie[rlp.encode(number)] = item
    return "0x" + bytes(trie.root_hash).hex()
