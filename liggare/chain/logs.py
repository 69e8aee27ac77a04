"""Turn raw logs into events by the contracts' ABI, fast enough to read a ledger of millions.

A member of one word (numbers, addresses, bytes32 and shorter, bool) is read straight off its topic or its place in the
data; an event with a member of any length (bytes, string) by eth_abi. A log that its contract could not have emitted
in this form, to the bit, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_typing import ChecksumAddress
from eth_utils.abi import event_abi_to_log_topic

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.errors import DeploymentMissing, LedgerError
from liggare.messages import address

__all__ = ["Event", "LogDecoder"]

Read = Callable[[bytes], Any]
"""A word's 32 bytes -> its value. Raises ValueError where the word is not of the type."""


class Event(NamedTuple):
    """One event: the contract's and its own name, and its members by their Solidity names, as `Row` has them."""

    contract: str
    name: str
    arguments: dict[str, Any]


class Plan(NamedTuple):
    """How to read one event: its members of one word, each by where its word stands in topics and data, joined."""

    contract: str
    name: str
    topics: int
    """How many, the event's own among them."""
    words: int
    """In the data, where it is read by words."""
    members: tuple[tuple[str, int, Read], ...]
    """Name, where its word begins, and how to read it."""
    order: tuple[str, ...]
    """All members' names."""
    loose: tuple[tuple[str, str], ...]
    """Name and type of all members in the data, where one of them has any length; else empty."""


class LogDecoder:
    """Decodes the logs of some contracts of one deployment; `addresses` are theirs, in lower case."""

    def __init__(self, deployments: Deployments, contracts: Iterable[str]) -> None:
        """Raises DeploymentMissing where the record lacks a contract; ValueError for an event that is not read here."""
        self._plans: dict[tuple[str, str], Plan] = {}
        self.addresses: list[str] = []
        for contract in contracts:
            if contract not in deployments.contracts:
                raise DeploymentMissing(f"the record of chain {deployments.chain_id} has no {contract}")
            at = deployments.contracts[contract].address.lower()
            self.addresses.append(at)
            for item in artifact(contract).abi:
                if item["type"] == "event":
                    topic = "0x" + event_abi_to_log_topic(item).hex()  # type: ignore[arg-type]
                    self._plans[at, topic] = _plan(contract, item)

    def decode(self, log: Mapping[str, Any]) -> Event:
        """Return the event of one log, given as JSON-RPC has it.

        Raises LedgerError where the log is not of these contracts or not of the form that its event has.
        """
        try:
            topics, data = log["topics"], log["data"]
            plan = self._plans.get((log["address"].lower(), topics[0]))
            if plan is None:
                raise LedgerError(f"{log['address']} emitted an event that is not in its sources")
            if len(topics) != plan.topics or not (plan.loose or len(data) == 2 + 64 * plan.words):
                raise LedgerError(f"a log of {plan.name} has another form than its sources give it")
            words = b"".join([_bytes_of(topic, 32) for topic in topics[1:]])
            if not plan.loose:
                words += _bytes_of(data, 32 * plan.words)
            arguments = {name: read(words[at : at + 32]) for name, at, read in plan.members}
            if plan.loose:
                arguments.update(_loose(plan.loose, data))
                arguments = {name: arguments[name] for name in plan.order}
        except (
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
            ValueError,
            ArithmeticError,
            DecodingError,
            EncodingError,
        ) as exc:
            raise LedgerError(f"the node gave a log that is none: {exc!r}") from None
        return Event(plan.contract, plan.name, arguments)


def _plan(contract: str, item: Mapping[str, Any]) -> Plan:
    inputs = item["inputs"]
    topics = [each for each in inputs if each["indexed"]]
    data = [each for each in inputs if not each["indexed"]]
    free = any(each["type"] in ("bytes", "string") for each in data)
    places = {each["name"]: 32 * number for number, each in enumerate(topics if free else topics + data)}
    members = [(each["name"], places[each["name"]], _reader(each["type"])) for each in inputs if each["name"] in places]
    loose = [(each["name"], each["type"]) for each in data] if free else []
    for _, kind in loose:
        if kind not in ("bytes", "string"):
            _reader(kind)  # refuses what is not read here
    order = tuple(each["name"] for each in inputs)
    return Plan(contract, item["name"], 1 + len(topics), len(data), tuple(members), order, tuple(loose))


def _bytes_of(text: str, size: int | None = None) -> bytes:
    """Return what 0x text stands for; `size` bytes, to the digit."""
    made = bytes.fromhex(text[2:])
    if text[:2] != "0x" or len(text) != 2 + 2 * len(made) or size not in (None, len(made)):
        raise ValueError(f"no text of {'some' if size is None else size} bytes")
    return made


def _loose(members: tuple[tuple[str, str], ...], data: str) -> dict[str, Any]:
    """Return the members of data that has any length. It must be as the compiler packs it: one log, one form."""
    raw, kinds = _bytes_of(data), [kind for _, kind in members]
    values = decode(kinds, raw)
    if encode(kinds, values) != raw:
        raise ValueError("data of another form than the compiler gives it")
    return {
        name: address(value) if kind == "address" else value
        for (name, kind), value in zip(members, values, strict=True)
    }


def _reader(kind: str) -> Read:
    """Return how a word of this type is read."""
    if kind == "address":
        return _address
    if kind == "bool":
        return _bool
    matched = re.fullmatch(r"(uint|bytes)(\d+)", kind)
    if matched is None:
        raise ValueError(f"a member of type {kind} is not of one word, or not known here")
    size = int(matched[2])
    return _number(size) if matched[1] == "uint" else _bytes(size)


@lru_cache(65_536)
def _address(word: bytes) -> ChecksumAddress:
    if any(word[:12]):
        raise ValueError("a word that is no address")
    return address("0x" + word[12:].hex())


def _bool(word: bytes) -> bool:
    value = int.from_bytes(word, "big")
    if value > 1:
        raise ValueError("a word that is neither true nor false")
    return value == 1


def _number(bits: int) -> Read:
    def read(word: bytes) -> int:
        value = int.from_bytes(word, "big")
        if value >> bits:
            raise ValueError(f"a number of more than {bits} bits")
        return value

    return read


def _bytes(size: int) -> Read:
    def read(word: bytes) -> bytes:
        if any(word[size:]):
            raise ValueError(f"bytes{size} with more than {size} bytes")
        return word[:size]

    return read
