"""What a transaction asked of the contracts: its sender and its calls, each bound to the transaction's hash.

    hash -> transaction, hashed and its sender recovered anew -> the call of one of our contracts
                                                              -> or, where another contract was called, its trace

A transaction's hash covers its calldata and its signature, so a node can alter neither without another hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import rlp
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector
from web3 import Web3

from liggare.chain.artifacts import artifact
from liggare.chain.deployments import Deployments
from liggare.chain.feed import answers_to, named
from liggare.errors import LedgerForged, LedgerUnavailable, LiggareError
from liggare.messages import address, recover

__all__ = ["CREATION", "Call", "Caller", "Made", "Place", "encoded", "octets", "quantity", "sender"]

BATCH = 100
"""How many transactions are asked for in one request."""
CREATION = "constructor"
"""The function of the call that makes a contract."""


@dataclass(frozen=True)
class Call:
    """One call of one of our contracts; `arguments` by their Solidity names, tuples as dictionaries."""

    contract: str
    function: str
    arguments: Mapping[str, Any]
    caller: str
    block: int
    timestamp: int
    transaction: str

    @property
    def place(self) -> str:
        """Where the call is, for a person to look up."""
        return f"{self.contract}.{self.function} in block {self.block}, {self.transaction}"


class Place(NamedTuple):
    """Where a transaction is said to be; the time is its block's."""

    transaction: str
    block: int
    block_hash: str
    timestamp: int


@dataclass(frozen=True)
class Made:
    """The outermost calls of our contracts that a transaction made, in order; `problem` says why they can't be told.

    `forged` is true where the node has no such transaction at this place.
    """

    calls: tuple[Call, ...] = ()
    problem: str | None = None
    forged: bool = False


@dataclass(frozen=True)
class _Function:
    contract: str
    name: str
    inputs: Sequence[Mapping[str, Any]]
    types: tuple[str, ...]

    def arguments(self, data: bytes) -> dict[str, Any]:
        return {
            item["name"]: _named(item, value) for item, value in zip(self.inputs, decode(self.types, data), strict=True)
        }


class Caller:
    """Tells the calls of transactions of one deployment. One thread at a time."""

    def __init__(self, w3: Web3, deployments: Deployments) -> None:
        self.w3 = w3
        self._names = {item.address.lower(): name for name, item in deployments.contracts.items()}
        self._made = {
            item.transaction: (name, _creation(name, item.arguments)) for name, item in deployments.contracts.items()
        }
        self._functions: dict[tuple[str, bytes], _Function] = {}
        for name in deployments.contracts:
            for item in cast(Any, artifact(name).abi):
                if item["type"] == "function" and item["stateMutability"] not in ("view", "pure"):
                    types = tuple(collapse_if_tuple(each) for each in item["inputs"])
                    selector = bytes(function_abi_to_4byte_selector(item))
                    self._functions[name, selector] = _Function(name, item["name"], item["inputs"], types)

    def made(self, transactions: Sequence[Place]) -> Iterator[Made]:
        """Yield what each transaction made. Raises LedgerUnavailable where the node does not answer."""
        for start in range(0, len(transactions), BATCH):
            part = transactions[start : start + BATCH]
            blocks = sorted({place.block for place in part})
            asked: list[tuple[str, list[Any]]] = [("eth_getTransactionByHash", [place.transaction]) for place in part]
            asked += [("eth_getBlockByNumber", [hex(block), False]) for block in blocks]
            found = self._ask(asked)
            headers = dict(zip(blocks, found[len(part) :], strict=True))
            for place, answer in zip(part, found, strict=False):
                header = headers[place.block] or {}
                told = (place.block_hash, hex(place.timestamp), place.block_hash)
                actual = (header.get("hash"), header.get("timestamp"), (answer or {}).get("blockHash"))
                if answer is not None and told != actual:
                    yield Made(problem=f"the chain has it at {', '.join(map(str, actual[:2]))}", forged=True)
                else:
                    yield self._one(answer, place)

    def _ask(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Return each call's result, None where the node refuses it."""
        with named():
            return [answer.get("result") for answer in answers_to(self.w3, calls)]

    def _one(self, found: Any, place: Place) -> Made:
        hash_ = place.transaction
        if found is None:
            return Made(problem="the node shows no such transaction", forged=True)
        try:
            who = sender(found, hash_)
            to, data = cast(str | None, found["to"]), bytes.fromhex(found["input"][2:])
        except (LiggareError, KeyError, TypeError, ValueError, AttributeError) as exc:
            return Made(problem=str(exc) or type(exc).__name__, forged=True)
        where = (place.block, place.timestamp, hash_)
        if to is None:
            if hash_ not in self._made:
                return self._traced(hash_, where)
            made, arguments = self._made[hash_]
            return Made((Call(made, CREATION, arguments, who, *where),))
        if (name := self._names.get(to.lower())) is not None:
            return self._decoded([(name, who, data)], where)
        return self._traced(hash_, where)

    def _decoded(self, given: Sequence[tuple[str, str, bytes]], where: tuple[int, int, str]) -> Made:
        calls = []
        for name, who, data in given:
            function = self._functions.get((name, data[:4]))
            if function is None:
                continue  # a view, which does nothing
            try:
                calls.append(Call(name, function.name, function.arguments(data[4:]), who, *where))
            except (DecodingError, OverflowError, ValueError) as exc:
                return Made(problem=f"its calldata is not of the form of {name}.{function.name} ({type(exc).__name__})")
        return Made(tuple(calls))

    def _traced(self, hash_: str, where: tuple[int, int, str]) -> Made:
        """Find calls that another contract made, where the node can tell them."""
        (trace,) = self._ask([("debug_traceTransaction", [hash_, {"tracer": "callTracer"}])])
        if not isinstance(trace, dict) or "from" not in trace:
            return Made(
                problem="another contract was called, and the node has no callTracer to tell what that one called"
            )
        return self._decoded(list(self._outermost(trace)), where)

    def _outermost(self, trace: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
        """Yield the calls of our contracts by others that were not undone: contract, caller, calldata."""
        if trace.get("error"):
            return
        name = self._names.get(str(trace.get("to")).lower())
        if name is not None and trace.get("type") == "CALL":
            yield name, address(trace["from"]), bytes.fromhex(trace["input"][2:])
            return
        for inner in trace.get("calls", ()):
            yield from self._outermost(inner)


def _named(item: Mapping[str, Any], value: Any) -> Any:
    """Return a value with structs as dictionaries and addresses checksummed."""
    kind = item["type"]
    if kind.endswith("[]"):
        return [_named({**item, "type": kind[:-2]}, each) for each in value]
    if kind == "tuple":
        return {part["name"]: _named(part, each) for part, each in zip(item["components"], value, strict=True)}
    return address(value) if kind == "address" else value


def _creation(name: str, arguments: Sequence[Any]) -> dict[str, Any]:
    inputs: Sequence[Any] = next((i["inputs"] for i in cast(Any, artifact(name).abi) if i["type"] == "constructor"), ())
    return {item["name"]: value for item, value in zip(inputs, arguments, strict=True)}


# ------------------------------------------------------------------ who sent it


def encoded(found: Mapping[str, Any], hash_: str) -> bytes:
    """Return a transaction, given as JSON-RPC has it, as it is hashed. Knows the types 0, 1 and 2.

    Raises LedgerForged where its members do not make this hash.
    """
    head, unsigned, _ = _unsigned(found)
    return _whole(found, hash_, head, unsigned)


def sender(found: Mapping[str, Any], hash_: str) -> str:
    """Return who signed a transaction. Raises as `encoded`, and SignatureMalformed."""
    head, unsigned, parity = _unsigned(found)
    _whole(found, hash_, head, unsigned)
    signature = b"".join(quantity(found[name]).to_bytes(32, "big") for name in "rs") + bytes([27 + parity])
    return recover(keccak(head + rlp.encode(unsigned)), signature)


def _whole(found: Mapping[str, Any], hash_: str, head: bytes, unsigned: Sequence[Any]) -> bytes:
    members = unsigned if head else unsigned[:6]
    whole = head + bytes(rlp.encode([*members, *(quantity(found[name]) for name in "vrs")]))
    if "0x" + keccak(whole).hex() != hash_:
        raise LedgerForged("a transaction that the node shows has another hash than the one asked for")
    return whole


def _unsigned(found: Mapping[str, Any]) -> tuple[bytes, list[Any], int]:
    """Return a transaction's type as it is hashed, the members that were signed, and the signature's parity."""
    kind = quantity(found.get("type") or "0x0")
    if kind not in ENCODE:
        raise LedgerUnavailable(f"there is a transaction of type {kind}, which is not known here")
    return bytes([kind]) if kind else b"", *ENCODE[kind](found, quantity(found["v"]))


def quantity(text: str) -> int:
    """Return a quantity of JSON-RPC's."""
    return int(text, 16)


def octets(text: str | None) -> bytes:
    """Return bytes of JSON-RPC's; none for null."""
    return bytes.fromhex(text[2:]) if text else b""


def _legacy(found: Mapping[str, Any], v: int) -> tuple[list[Any], int]:
    fields: list[Any] = [*map(quantity, (found["nonce"], found["gasPrice"], found["gas"]))]
    fields += [octets(found["to"]), quantity(found["value"]), octets(found["input"])]
    if v in (27, 28):
        return fields, v - 27
    return [*fields, (v - 35) // 2, 0, 0], (v - 35) % 2


def _typed(found: Mapping[str, Any], prices: Sequence[str]) -> list[Any]:
    fields: list[Any] = [
        *map(quantity, (found["chainId"], found["nonce"], *(found[name] for name in prices), found["gas"]))
    ]
    fields += [octets(found["to"]), quantity(found["value"]), octets(found["input"])]
    accesses = found.get("accessList") or []
    return [*fields, [[octets(each["address"]), [octets(key) for key in each["storageKeys"]]] for each in accesses]]


ENCODE: dict[int, Callable[[Mapping[str, Any], int], tuple[list[Any], int]]] = {
    0: _legacy,
    1: lambda found, v: (_typed(found, ["gasPrice"]), v),
    2: lambda found, v: (_typed(found, ["maxPriorityFeePerGas", "maxFeePerGas"]), v),
}
"""By type of transaction: its members as they are signed, and the parity of its signature."""
