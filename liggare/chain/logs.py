"""Turn raw logs into events by the contracts' ABI, fast enough to read a ledger of millions.

An event whose members all have one word of fixed form (numbers, addresses, bytes32 and shorter, bool) is read straight
off its topics and data. That is every event of the records. Of others there is no reading here; `ledger.reader` has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from eth_utils.abi import event_abi_to_log_topic

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.errors import DeploymentMissing, LedgerError
from liggare.messages import address

__all__ = ["Event", "LogDecoder"]

Read = Callable[[str], Any]
"""A word's 64 hexadecimal digits -> its value. Raises ValueError where the word is not of the type."""


class Event(NamedTuple):
    """One event: the contract's and its own name, and its members by their Solidity names, as `Row` has them."""

    contract: str
    name: str
    arguments: dict[str, Any]


class Plan(NamedTuple):
    """How to read one event: its members in order, each by where its word stands."""

    contract: str
    name: str
    topics: int
    words: int
    members: tuple[tuple[str, bool, int, Read], ...]
    """Name, whether it is a topic, which topic or word, and how to read it."""


class LogDecoder:
    """Decodes the logs of some contracts of one deployment; `addresses` are theirs, in lower case."""

    def __init__(self, deployments: Deployments, contracts: Iterable[str]) -> None:
        """Raises DeploymentMissing where the record lacks a contract; ValueError for an event of no fixed form."""
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
            if len(topics) != plan.topics or len(data) != 2 + 64 * plan.words:
                raise LedgerError(f"a log of {plan.name} has another form than its sources give it")
            arguments = {
                name: read(topics[place][2:] if indexed else data[2 + 64 * place : 66 + 64 * place])
                for name, indexed, place, read in plan.members
            }
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as exc:
            raise LedgerError(f"the node gave a log that is none: {exc!r}") from None
        return Event(plan.contract, plan.name, arguments)


def _plan(contract: str, item: Mapping[str, Any]) -> Plan:
    members = []
    topics, words = 1, 0
    for each in item["inputs"]:
        read = _reader(each["type"])
        if each["indexed"]:
            members.append((each["name"], True, topics, read))
            topics += 1
        else:
            members.append((each["name"], False, words, read))
            words += 1
    return Plan(contract, item["name"], topics, words, tuple(members))


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


def _word(text: str) -> str:
    if len(text) != 64:
        raise ValueError(f"a word has 64 digits, not {len(text)}")
    return text


def _address(text: str) -> str:
    if not _word(text).startswith("0" * 24):
        raise ValueError("a word that is no address")
    return address("0x" + text[24:])


def _bool(text: str) -> bool:
    value = int(_word(text), 16)
    if value > 1:
        raise ValueError("a word that is neither true nor false")
    return value == 1


def _number(bits: int) -> Read:
    def read(text: str) -> int:
        value = int(_word(text), 16)
        if value >> bits:
            raise ValueError(f"a number of more than {bits} bits")
        return value

    return read


def _bytes(size: int) -> Read:
    def read(text: str) -> bytes:
        value = bytes.fromhex(_word(text))
        if any(value[size:]):
            raise ValueError(f"bytes{size} with more than {size} bytes")
        return value[:size]

    return read
