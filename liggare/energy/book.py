"""The market as its events tell it, kept between two looks: homes, wishes, posted readings, what became of slots.

newest block -> events since the last look -> homes, orders, changes, posted readings -> balances and counters -> Moment

A look asks for the new events only, and for what no event tells in one request, all at one block. A chain that was set
back is read anew from the beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from eth_abi.abi import decode
from eth_typing import ChecksumAddress
from eth_utils.abi import event_abi_to_log_topic, function_abi_to_4byte_selector
from eth_utils.address import to_checksum_address
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3RPCError
from web3.types import RPCEndpoint

from liggare.chain.raw import ask
from liggare.energy.codec import unpack
from liggare.energy.messages import NEVER, UTILITY, Order
from liggare.energy.settlement import in_force
from liggare.messages import Domain

__all__ = ["Book", "Home", "MeterChange", "Moment", "Outcome", "Posted"]

WISHES = ("HomeRegistered", "MeterReplaced", "HomeMovedOut", "OrderPlaced", "ReadingsPosted")
"""What a proposal needs."""
OUTCOMES = ("SlotCleared", "SlotsClosed", "ReadingMissing")
"""What became of slots."""
CALLS = 1000
"""Calls in one request."""


@dataclass(frozen=True)
class Home:
    """A registered home; it takes part in slots `from_slot` to `until_slot` - 1.

    `meter` is the one in force at the last clearing; `Energy.changes` tells what is to come.
    """

    number: int
    owner: ChecksumAddress
    meter: ChecksumAddress
    from_slot: int
    until_slot: int = NEVER

    def takes_part(self, slot: int) -> bool:
        """Tell whether the home is measured in a slot."""
        return self.from_slot <= slot < self.until_slot


@dataclass(frozen=True)
class MeterChange:
    """A home's meter replaced from `from_slot` on, or its leave where `meter` is None.

    `counters` are the new meter's, `last` the old one's: Wh imported and exported.
    """

    home: int
    from_slot: int
    meter: ChecksumAddress | None
    counters: tuple[int, int]
    last: tuple[int, int]


class Posted(NamedTuple):
    """A reading of one slot that its home posted: counters at its beginning, and what was counted, Wh."""

    start: tuple[int, int]
    pair: tuple[int, int]


@dataclass(frozen=True)
class Outcome:
    """What became of a slot: cleared at `price` in [`lo`, `hi`] with `volume` Wh, or closed where these are None."""

    slot: int
    block: int
    transaction: str
    price: int | None = None
    lo: int | None = None
    hi: int | None = None
    volume: int | None = None
    missing: tuple[int, ...] = ()


@dataclass(frozen=True)
class Moment:
    """The market at one block. Home 0 is the utility; `homes` are in order, each with its meter of the beginning."""

    block: int
    timestamp: int
    next_slot: int
    debt: int
    balances: Mapping[int, int]
    counters: Mapping[int, tuple[int, int]]
    homes: tuple[Home, ...]
    changes: tuple[MeterChange, ...]
    """Those that are not in force yet, in the order in which they come into force."""
    history: tuple[MeterChange, ...]
    """All that ever were."""
    orders: Mapping[int, tuple[Order, ...]]
    posted: Mapping[int, Mapping[int, Posted]]
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)

    def cuts(self) -> set[int]:
        """Return the slots in which a home joins or a meter changes: no batch goes across them."""
        return {home.from_slot for home in self.homes} | {change.from_slot for change in self.changes}

    def meter(self, home: int, slot: int) -> ChecksumAddress | None:
        """Return who measures a home in a slot, None where it takes no part."""
        known = self.homes[home - 1] if 0 < home <= len(self.homes) else None
        if known is None or not known.takes_part(slot):
            return None
        meter: ChecksumAddress | None = known.meter
        for change in self.history:
            if change.home == home and change.from_slot <= slot:
                meter = change.meter
        return meter

    def start(self) -> dict[int, tuple[int, int]]:
        """Return the counters that the next slot begins with: those of the chain, or of meters that are new in it."""
        found = dict(self.counters)
        for change in self.changes:
            if change.from_slot <= self.next_slot:
                found[change.home] = change.counters
        return found

    def order(self, home: int, slot: int) -> Order | None:
        """Return the order of a home that is in force in a slot, None without one."""
        return in_force(self.orders.get(home, ()), slot)


class Book:
    """Follows one market. Any number of threads may look."""

    def __init__(self, w3: Web3, contract: Contract, domain: Domain, block: int, *, outcomes: bool = False) -> None:
        """`block` is the contract's first; with `outcomes` what became of every slot is kept too."""
        self._w3, self._contract, self._domain, self._first = w3, contract, domain, block
        self._events = {}
        for name in WISHES + (OUTCOMES if outcomes else ()):
            abi = next(item for item in contract.abi if item["type"] == "event" and item["name"] == name)
            self._events["0x" + event_abi_to_log_topic(cast(Any, abi)).hex()] = (name, abi["inputs"])
        self._selectors = {
            name: "0x" + function_abi_to_4byte_selector(contract.get_function_by_name(name).abi).hex()
            for name in ("nextSlot", "debt", "changesApplied", "balanceOf", "countersOf")
        }
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._block, self._hash = self._first - 1, ""
        self._homes: list[Home] = []
        self._changes: list[MeterChange] = []
        self._orders: dict[int, tuple[Order, ...]] = {}
        self._posted: dict[int, dict[int, Posted]] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._missing: dict[int, list[int]] = {}

    def look(self) -> Moment:
        """Return the market at the newest block. Raises what the connection raises."""
        with self._lock:
            head = self._follow()
            block = int(head["number"], 16)
            numbers = range(1, len(self._homes) + 1)
            words: list[tuple[str, int | None]] = [(name, None) for name in ("nextSlot", "debt", "changesApplied")]
            words += [("balanceOf", home) for home in (UTILITY, *numbers)]
            words += [("countersOf", home) for home in numbers]
            found = self._call(words, block)
            next_slot, debt, applied = (_number(each) for each in found[:3])
            for slots in self._posted.values():
                for slot in [slot for slot in slots if slot < next_slot]:
                    del slots[slot]
            balances = [_signed(each) for each in found[3 : 4 + len(numbers)]]
            counters = [(_number(each[:32]), _number(each[32:])) for each in found[4 + len(numbers) :]]
            return Moment(
                block,
                int(head["timestamp"], 16),
                next_slot,
                debt,
                dict(enumerate(balances)),
                dict(zip(numbers, counters, strict=True)),
                tuple(self._homes),
                tuple(self._changes[applied:]),
                tuple(self._changes),
                dict(self._orders),
                {home: dict(slots) for home, slots in self._posted.items()},
                dict(self._outcomes),
            )

    # ------------------------------------------------------------------ events

    def _follow(self) -> Any:
        """Take in the events up to the newest block, and return that block."""
        requests: list[tuple[str, list[Any]]] = [("eth_getBlockByNumber", ["latest", False])]
        if self._hash:
            requests.append(("eth_getBlockByNumber", [hex(self._block), False]))
        head, *known = self._batch(requests)
        if self._hash and (known[0] is None or known[0]["hash"] != self._hash):
            self._forget()
        block = int(head["number"], 16)
        if block > self._block:
            where = {"address": self._contract.address, "topics": [list(self._events)]}
            blocks = {"fromBlock": hex(self._block + 1), "toBlock": head["number"]}
            for log in ask(self._w3, "eth_getLogs", {**where, **blocks}):
                self._take(log)
        self._block, self._hash = block, head["hash"]
        return head

    def _take(self, log: Any) -> None:
        name, inputs = self._events[log["topics"][0]]
        indexed = [each for each in inputs if each["indexed"]]
        plain = [each for each in inputs if not each["indexed"]]
        values = decode([each["type"] for each in plain], bytes.fromhex(log["data"][2:]))
        at = {each["name"]: value for each, value in zip(plain, values, strict=True)}
        for each, topic in zip(indexed, log["topics"][1:], strict=True):
            at[each["name"]] = decode([each["type"]], bytes.fromhex(topic[2:]))[0]
        if name == "HomeRegistered":
            parties = (to_checksum_address(at["owner"]), to_checksum_address(at["meter"]))
            self._homes.append(Home(at["home"], *parties, at["fromSlot"]))
        elif name in ("MeterReplaced", "HomeMovedOut"):
            self._change(at)
        elif name == "OrderPlaced":
            terms = (at["untilSlot"], at["buyLimit"], at["sellLimit"], at["cap"])
            order = Order(self._domain, at["home"], at["seq"], at["fromSlot"], *terms)
            earlier = (each for each in self._orders.get(order.home, ()) if each.from_slot < order.from_slot)
            self._orders[order.home] = (*earlier, order)
        elif name == "ReadingsPosted":
            self._post(at)
        else:
            self._settle(name, at, int(log["blockNumber"], 16), log["transactionHash"])

    def _change(self, at: dict[str, Any]) -> None:
        counters, last = (divmod(at.get(name, 0), 2**48) for name in ("counters", "last"))
        meter = to_checksum_address(at["meter"]) if "meter" in at else None
        self._changes.append(MeterChange(at["home"], at["fromSlot"], meter, counters, last))
        if meter is None:
            self._homes[at["home"] - 1] = replace(self._homes[at["home"] - 1], until_slot=at["fromSlot"])

    def _post(self, at: dict[str, Any]) -> None:
        imported, exported = at["imported"], at["exported"]
        slots = self._posted.setdefault(at["home"], {})
        for slot, pair in enumerate(unpack(at["deltas"]), at["firstSlot"]):
            slots[slot] = Posted((imported, exported), pair)
            imported, exported = imported + pair[0], exported + pair[1]

    def _settle(self, name: str, at: dict[str, Any], block: int, transaction: str) -> None:
        if name == "ReadingMissing":  # comes before the SlotCleared of its slots
            for slot in range(at["firstSlot"], at["firstSlot"] + at["count"]):
                self._missing.setdefault(slot, []).append(at["home"])
        elif name == "SlotCleared":
            prices = (at["price"], at["lo"], at["hi"], at["volume"])
            missing = tuple(self._missing.pop(at["slot"], ()))
            self._outcomes[at["slot"]] = Outcome(at["slot"], block, transaction, *prices, missing)
        else:
            for slot in range(at["firstSlot"], at["nextSlot"]):
                self._outcomes[slot] = Outcome(slot, block, transaction)

    # ------------------------------------------------------------------ requests

    def _call(self, words: Iterable[tuple[str, int | None]], block: int) -> list[bytes]:
        requests: list[tuple[str, list[Any]]] = []
        for name, home in words:
            data = self._selectors[name] + ("" if home is None else home.to_bytes(32, "big").hex())
            requests.append(("eth_call", [{"to": self._contract.address, "data": data}, hex(block)]))
        found: list[bytes] = []
        for start in range(0, len(requests), CALLS):
            found += [bytes.fromhex(each[2:]) for each in self._batch(requests[start : start + CALLS])]
        return found

    def _batch(self, requests: list[tuple[str, list[Any]]]) -> list[Any]:
        answers = cast(Any, self._w3.provider).make_batch_request([(RPCEndpoint(name), at) for name, at in requests])
        if not isinstance(answers, list):  # the node refuses the whole
            raise Web3RPCError(str(answers), rpc_response=answers)
        for answer in answers:
            if answer.get("error") is not None:
                raise Web3RPCError(str(answer["error"]), rpc_response=answer)
        return [answer["result"] for answer in answers]


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _signed(word: bytes) -> int:
    return int.from_bytes(word, "big", signed=True)
