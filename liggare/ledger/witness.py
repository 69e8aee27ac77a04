"""What a transaction's calls say must have happened, held against what its events tell.

    call -> the domain's witness says, step by step, who had to sign and what had to be told -> each event, in order

A witness follows a call as the contract does, and decides by the replayed state at that very place. An event that no
call asked for, a call that its events do not tell, and a signature that is missing are findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from liggare.chain.calls import Call, Made
from liggare.ledger.rows import Finding, Row
from liggare.ledger.signatures import Claim, Form, Signatures

__all__ = ["Told", "Unexplained", "Witness", "Witnesses"]


class Unexplained(Exception):
    """The events are not those of the call; the finding is noted already."""


class Witness(Protocol):
    """A domain's witness of the calls of `contracts`."""

    contracts: tuple[str, ...]

    def follow(self, call: Call, told: Told) -> None:
        """Follow one call as the contract does: `told.take` each event, `told.signed` each signature."""


@dataclass
class Told:
    """The events of one transaction, taken one by one, each replayed under the rules as it is taken."""

    rows: Sequence[Row]
    witnesses: Mapping[str, Witness]
    signatures: Signatures
    replay: Callable[[Row], Iterable[Finding]]
    counts: Counter[str]
    findings: list[Finding] = field(default_factory=list)
    place: int = 0

    @property
    def next(self) -> Row | None:
        """The event that comes next; None where all are taken."""
        return self.rows[self.place] if self.place < len(self.rows) else None

    def follow(self, call: Call) -> None:
        """Follow a call, also one that a contract of ours makes within another."""
        self.witnesses[call.contract].follow(call, self)

    def within(self, call: Call, contract: str, function: str, by: str, **arguments: Any) -> None:
        """Follow what `by`, the contract called, calls in turn."""
        self.follow(Call(contract, function, arguments, by, call.block, call.timestamp, call.transaction))

    def take(self, call: Call, event: str, **values: Any) -> dict[str, Any]:
        """Take the next event, which must be this one of the contract called, with these values; return all of them.

        Raises Unexplained where another event or none comes.
        """
        row = self.next
        if row is None or (row.contract, row.event) != (call.contract, event):
            actual = "no event" if row is None else f"{row.contract}.{row.event}"
            self.off(call, "what a call does is told", f"{call.contract}.{event}", actual)
            raise Unexplained
        for name, value in values.items():
            if row.arguments[name] != value:
                rule = f"an event tells what was called for: {name} of {event}"
                self.findings.append(Finding(row.place, rule, _shown(value), _shown(row.arguments[name])))
        self.advance()
        return row.arguments

    def advance(self) -> None:
        """Take the next event, whatever it is."""
        self.findings.extend(self.replay(self.rows[self.place]))
        self.place += 1

    def off(self, call: Call, rule: str, expected: Any, actual: Any) -> None:
        """Note that something is off with a call."""
        self.findings.append(Finding(call.place, rule, _shown(expected), _shown(actual)))

    def signed(
        self, call: Call, *signers: str, digest: bytes, given: Mapping[str, Any], name: str = "signature"
    ) -> None:
        """Note that one of `signers` had to sign: by v, r and s among the arguments given, or by bytes of this name."""
        signature, form = signature_of(given, name)
        self.claim(Claim(call.place, signers, bytes(digest), signature, form, call.block))

    def claim(self, claim: Claim) -> None:
        """Note a claim."""
        self.findings.extend(self.signatures.add(claim))

    def caller(self, call: Call, expected: str, what: str) -> None:
        """Check who called."""
        self.counts["callers"] += 1
        if call.caller != expected:
            self.off(call, f"only {what} calls this", expected, call.caller)

    def before(self, call: Call, deadline: int) -> None:
        """Check that a message with an inclusive deadline landed in time."""
        if call.timestamp > deadline:
            self.off(call, "a signed message lands by its deadline", f"{deadline} at most", call.timestamp)


class Witnesses:
    """Holds the calls of transactions against their events."""

    def __init__(self, witnesses: Sequence[Witness], signatures: Signatures) -> None:
        self._by_contract = {name: each for each in witnesses for name in each.contracts}
        self.signatures = signatures
        self.counts: Counter[str] = Counter()
        self.unchecked: Counter[str] = Counter()
        """How many events no call was found for, by why."""

    def hear(self, rows: Sequence[Row], made: Made, replay: Callable[[Row], Iterable[Finding]]) -> list[Finding]:
        """Replay the events of one transaction along its calls; return what is off."""
        told = Told(rows, self._by_contract, self.signatures, replay, self.counts)
        if made.forged:
            rule = "an event's transaction is on the chain, at this place and time, as its hash says"
            at = f"{rows[0].transaction} in {rows[0].block_hash} at {rows[0].timestamp:#x}"
            told.findings.append(Finding(rows[0].place, rule, at, made.problem))
        elif made.problem is not None:
            self.unchecked[made.problem] += len(rows)
        else:
            self._follow(told, made.calls)
        while told.next is not None:
            told.advance()
        return told.findings

    def _follow(self, told: Told, calls: Sequence[Call]) -> None:
        try:
            for call in calls:
                told.follow(call)
                self.counts["calls"] += 1
        except Unexplained:
            return
        if told.next is not None:
            actual = f"{told.next.contract}.{told.next.event}"
            told.findings.append(Finding(told.next.place, "each event comes of a call", "no more events", actual))


def signature_of(given: Mapping[str, Any], name: str = "signature") -> tuple[bytes, Form]:
    """Return the signature among a call's arguments, as 65 bytes where it is v, r and s, and how it is taken."""
    if "v" in given:
        return given["r"] + given["s"] + bytes([given["v"]]), Form.KEY
    return given[name], Form.EITHER


def _shown(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value
