"""Follow a chain block by block, so that no log is taken from a block that is not there and none is missed unnoticed.

    head -> headers, each naming the one before it by hash -> logs -> each in its block -> none left out

A node may be down, behind, on another chain, in the middle of a reorganisation, or sit behind a proxy that asks several
nodes that disagree. Whatever does not fit together is refused as a whole by LedgerUnavailable.

A header's bloom filter says what its block's logs are about, so a log that the node leaves out shows, but by chance in
blocks of hundreds of logs. Where headers have no such filter, blocks with logs are refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, cast

import requests
from eth_hash.auto import keccak
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from liggare.chain.deployments import Deployments
from liggare.errors import ChainError, LedgerError, LedgerUnavailable, LiggareError

__all__ = ["Block", "Feed", "Log", "answers_to", "assure", "bloom", "named", "read_header"]

Log = dict[str, Any]
"""A log as JSON-RPC has it."""

BATCH = 200
"""How many headers are asked for in one request."""


class Block(NamedTuple):
    """What matters of a block's header; hashes as 0x text, `time` in unix seconds."""

    number: int
    hash: str
    parent: str
    time: int
    bloom: int


class Feed:
    """Reads the blocks of one chain and the logs of some addresses. One thread at a time."""

    def __init__(self, w3: Web3, chain_id: int, addresses: Sequence[str]) -> None:
        """`addresses` in lower case. How long a request may take is `w3`'s own timeout."""
        self.w3, self.chain_id = w3, chain_id
        self.addresses = list(addresses)
        self._marks = [bloom([each]) for each in self.addresses]

    def head(self) -> Block:
        """Return the newest block. Raises LedgerUnavailable, also where the node still syncs or is on another chain."""
        with named():
            found, chain, syncing = self._batch(
                ("eth_getBlockByNumber", ["latest", False]), ("eth_chainId", []), ("eth_syncing", [])
            )
            if int(chain, 16) != self.chain_id:
                raise LedgerUnavailable(f"the node serves chain {int(chain, 16)}, not {self.chain_id}")
            if syncing:
                raise LedgerUnavailable("the node is still catching up with its chain")
            return read_header(found)

    def block(self, number: int) -> Block | None:
        """Return a block as the node has it now, or None where it has none. Raises LedgerUnavailable."""
        with named():
            (found,) = self._batch(("eth_getBlockByNumber", [hex(number), False]))
            if found is not None and int(found["number"], 16) != number:
                raise LedgerUnavailable("the node gave another block than was asked for")
            return None if found is None else read_header(found)

    def linked(self, after: Block, head: Block) -> tuple[list[Log], list[Block]] | None:
        """Return the logs of all blocks after one up to the head, in order, and these blocks.

        None where the head is not built on the one.

        Every header is asked for, so this is for the last stretch. Raises LedgerUnavailable where blocks and
        logs do not fit together.
        """
        with named():
            headers = [*self._headers(range(after.number + 1, head.number)), head]
            if headers[0].number != after.number + 1:
                raise LedgerUnavailable("the node gave another block than was asked for")
            for one, next_ in pairwise(headers):
                if (next_.number, next_.parent) != (one.number + 1, one.hash):
                    raise LedgerUnavailable("the chain changed while it was read")
            if headers[0].parent != after.hash:
                return None
            return self._complete(headers, self._logs(after.number + 1, head.number)), headers

    def stretch(self, first: int, last: int) -> tuple[list[Log], list[Block]]:
        """Return the logs of blocks `first` to `last`, in order, and the blocks that they are of, the last one too.

        Only headers of blocks with logs are asked for, so this is for long stretches that lie back; a
        block of which the node shows no log at all is not missed. Raises LedgerUnavailable.
        """
        with named():
            before = self.block(last)
            logs = self._logs(first, last)
            headers = self._headers([*sorted({int(log["blockNumber"], 16) for log in logs} - {last}), last])
            if before is None or headers[-1] != before:
                raise LedgerUnavailable("the chain changed while it was read")
            return self._complete(headers, logs), headers

    def transactions(self, hashes: Sequence[str]) -> list[dict[str, Any]]:
        """Return transactions as JSON-RPC has them. Raises LedgerUnavailable where the node does not show one.

        Its members are the node's word: who must be sure hashes them anew.
        """
        found: list[dict[str, Any]] = []
        with named():
            for start in range(0, len(hashes), BATCH):
                part = hashes[start : start + BATCH]
                found += self._batch(*[("eth_getTransactionByHash", [each]) for each in part])
            if [each["hash"] for each in found] != list(hashes):
                raise LedgerUnavailable("the node gave other transactions than were asked for")
        return found

    def _logs(self, first: int, last: int) -> list[Log]:
        words = {"fromBlock": hex(first), "toBlock": hex(last), "address": self.addresses}
        (logs,) = self._batch(("eth_getLogs", [words]))
        return cast(list[Log], logs)

    def _complete(self, headers: Sequence[Block], logs: Sequence[Log]) -> list[Log]:
        """Return the logs in order, each of one of these blocks, once, and none missing."""
        by_block: dict[int, list[Log]] = defaultdict(list)
        for log in logs:
            by_block[int(log["blockNumber"], 16)].append(log)
        known = {header.number: header for header in headers}
        if not known.keys() >= by_block.keys():
            raise LedgerUnavailable("the node gave logs of other blocks than were asked for")
        doubtful = []
        for header in headers:
            found = by_block[header.number]
            shown = _shown(header, found)
            if shown != header.bloom and any(mark & header.bloom == mark for mark in self._marks):
                doubtful.append(header)  # others' logs in the block, or ours left out
        for header, whole in zip(doubtful, self._whole(doubtful), strict=True):
            if _shown(header, whole) != header.bloom:
                raise LedgerUnavailable(f"the node leaves out logs of block {header.number}")
            by_block[header.number] = [log for log in whole if log["address"].lower() in self.addresses]
        ordered = []
        for header in headers:
            found = sorted(by_block[header.number], key=lambda log: int(log["logIndex"], 16))
            places = [int(log["logIndex"], 16) for log in found]
            if len(set(places)) != len(places):
                raise LedgerUnavailable(f"the node gave a log of block {header.number} twice")
            ordered += found
        return ordered

    def _whole(self, headers: Sequence[Block]) -> Iterator[list[Log]]:
        """Yield all logs of each of these blocks, whoever emitted them."""
        for start in range(0, len(headers), BATCH):
            part = headers[start : start + BATCH]
            yield from self._batch(*[("eth_getLogs", [{"blockHash": header.hash}]) for header in part])

    def _headers(self, numbers: Sequence[int]) -> list[Block]:
        found: list[Block] = []
        for start in range(0, len(numbers), BATCH):
            part = numbers[start : start + BATCH]
            answers = self._batch(*[("eth_getBlockByNumber", [hex(number), False]) for number in part])
            found += [read_header(answer) for answer in answers]
        if [header.number for header in found] != list(numbers):
            raise LedgerUnavailable("the node gave other blocks than were asked for")
        return found

    def _batch(self, *calls: tuple[str, list[Any]]) -> list[Any]:
        """Return the results of some calls, made in one request."""
        answers = answers_to(self.w3, calls)
        for answer, (name, _) in zip(answers, calls, strict=True):
            if answer.get("error") is not None or "result" not in answer:
                raise LedgerUnavailable(f"the node refuses {name}{_code(answer)}")
        return [answer["result"] for answer in answers]


def answers_to(w3: Web3, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
    """Return what a node answers to each of some calls, made in one request. Raises LedgerUnavailable for no answer."""
    answers = cast(Any, w3.provider).make_batch_request([(RPCEndpoint(name), words) for name, words in calls])
    if isinstance(answers, dict) or len(answers) != len(calls):
        code = _code(answers) if isinstance(answers, dict) else ""
        raise LedgerUnavailable(f"the node does not answer {calls[0][0]}{code}")
    return list(answers)


def _code(answer: Any) -> str:
    """Return a refusal's code in brackets, such as -32005 for too much at once; its text may be anything."""
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return f" ({code})" if isinstance(code, int) else ""


def assure(w3: Web3, deployments: Deployments) -> None:
    """Make sure that a node serves the chain and shows the contracts that are meant. Raises LedgerUnavailable."""
    try:
        deployments.check(w3)
    except requests.exceptions.RequestException as exc:
        raise LedgerUnavailable(f"the node does not answer ({type(exc).__name__})") from None
    except LiggareError as exc:
        raise LedgerUnavailable(str(exc)) from None
    except (Web3Exception, ValueError) as exc:
        raise LedgerUnavailable(f"the node does not show the contracts ({type(exc).__name__})") from None


def bloom(values: Sequence[str]) -> int:
    """Return the bloom filter of addresses and topics, given as 0x text, as headers have it."""
    bits = 0
    for value in values:
        bits |= _bits(value)
    return bits


@lru_cache(4096)
def _bits(value: str) -> int:
    hash_ = keccak(bytes.fromhex(value[2:]))
    bits = 0
    for place in (0, 2, 4):
        bits |= 1 << (int.from_bytes(hash_[place : place + 2], "big") & 2047)
    return bits


def _shown(header: Block, logs: Sequence[Log]) -> int:
    """Return the bloom filter of logs, each of which must be of this block and in its header's filter."""
    bits = 0
    for log in logs:
        if log["blockHash"] != header.hash or int(log["blockNumber"], 16) != header.number:
            raise LedgerUnavailable(
                f"the node names block {header.number} {log['blockHash']} in a log, {header.hash} elsewhere"
            )
        bits |= _bits(log["address"]) | bloom(log["topics"])
    if bits & ~header.bloom:
        raise LedgerUnavailable(f"the node gave a log that block {header.number} does not have")
    return bits


def read_header(found: Any) -> Block:
    """Return what matters of a header that is given as JSON-RPC has it."""
    return Block(
        int(found["number"], 16),
        found["hash"],
        found["parentHash"],
        int(found["timestamp"], 16),
        int(found["logsBloom"], 16),
    )


@contextmanager
def named() -> Iterator[None]:
    """Name what a node does wrong."""
    try:
        yield
    except LedgerUnavailable:
        raise
    except requests.exceptions.RequestException as exc:
        status = f"HTTP {exc.response.status_code}" if exc.response is not None else type(exc).__name__
        raise LedgerUnavailable(f"the node does not answer ({status})") from None
    except (ChainError, LedgerError, Web3Exception) as exc:
        raise LedgerUnavailable(f"the node refused: {type(exc).__name__}") from None
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as exc:
        raise LedgerUnavailable(f"the node gave an answer that is none ({type(exc).__name__})") from None
