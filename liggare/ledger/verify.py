"""Replay the ledger from its events and check every rule; then compare with the chain's own state.

    rows -> by transaction -> along the calls that it made, each signature claimed -> under every domain's rules
         -> state compared -> signatures checked -> report

Each domain gives its rules as a `Rules` object: a plain-Python twin of its contract that is fed every row and says what
is off; and a `Witness` that follows what was called. This module runs them and keeps the account of what was checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from math import inf
from typing import Any, Protocol

from web3 import Web3

from liggare.chain.calls import Caller, Place
from liggare.chain.deployments import Deployments
from liggare.ledger.rows import Finding, Row
from liggare.ledger.witness import Witnesses

__all__ = ["ChainState", "KeptRules", "Report", "Rules", "State", "verify"]


class State(Protocol):
    """What the chain itself holds at the block up to which the ledger was replayed."""

    def call(self, contract: str, function: str, *arguments: Any) -> Any:
        """Return the result of a view function."""


class Rules(Protocol):
    """A domain's rules. `contracts` names the contracts whose rows it wants."""

    contracts: tuple[str, ...]

    def apply(self, row: Row) -> Iterable[Finding]:
        """Replay one row and yield what is off with it. Rows come in chain order."""

    def compare(self, state: State) -> Iterable[Finding]:
        """Yield where the replayed world differs from the chain's own state."""

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked, by words for a person."""


class KeptRules(Rules, Protocol):
    """Rules that a checkpoint can keep."""

    anew: tuple[str, ...]
    """Members that come of how it is made, or that only access logs need; all others are what a checkpoint keeps."""
    kinds: tuple[type[Any], ...]
    """Classes of what it keeps."""


class ChainState:
    """State as a node tells it, pinned to one block."""

    def __init__(self, w3: Web3, deployments: Deployments, block: int) -> None:
        self.block = block
        self._contracts = {name: deployments.contract(w3, name) for name in deployments.contracts}

    def call(self, contract: str, function: str, *arguments: Any) -> Any:
        """Return the result of a view function at the block."""
        return self._contracts[contract].get_function_by_name(function)(*arguments).call(block_identifier=self.block)


@dataclass
class Report:
    """What a verification checked and found."""

    rows: int = 0
    events: Counter[str] = field(default_factory=Counter)
    checked: dict[str, int] = field(default_factory=dict)
    unchecked: dict[str, int] = field(default_factory=dict)
    """How many events could not be held against what was called and signed, by why."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True where nothing is off."""
        return not self.findings


TRANSACTIONS = 500
"""How many transactions are looked up at a time."""


def verify(
    rows: Iterable[Row],
    rules: Sequence[Rules],
    state: State | None = None,
    calls: tuple[Caller, Witnesses] | None = None,
    *,
    report: Report | None = None,
    after: int = -1,
) -> Report:
    """Replay `rows` under `rules`; with `state`, compare the result with the chain's own.

    With `calls`, hold each event against its transaction too: what was called, and who had to sign. Rows must be the
    whole history in chain order: a gap or a repeat is itself a finding. Where rules and witnesses know it up to the end
    of the block `after`, `report` is what they had to report by then, and rows are those that came later.
    Raises LedgerUnavailable where a node does not answer.
    """
    report = Report() if report is None else report
    wanting: dict[str, list[Rules]] = {}
    for one in rules:
        for name in one.contracts:
            wanting.setdefault(name, []).append(one)

    def replay(row: Row) -> Iterator[Finding]:
        report.rows += 1
        report.events[f"{row.contract}.{row.event}"] += 1
        for one in wanting.get(row.contract, ()):
            yield from one.apply(row)

    ordered = _in_order(rows, report, after)
    if calls is None:
        for row in ordered:
            report.findings.extend(replay(row))
        report.unchecked["signatures and senders were not asked for"] = report.rows
    else:
        caller, witnesses = calls
        groups = (list(group) for _, group in groupby(ordered, key=_place))
        while part := list(islice(groups, TRANSACTIONS)):
            made = caller.made([_place(group[0]) for group in part])
            for group, each in zip(part, made, strict=True):
                report.findings.extend(witnesses.hear(group, each, replay))
        report.findings.extend(witnesses.signatures.close())
        report.unchecked.update(witnesses.unchecked)
        report.checked.update(witnesses.counts + witnesses.signatures.counts)
    for one in rules:
        if state is not None:
            report.findings.extend(one.compare(state))
        report.checked.update(one.checked())
    return report


def _place(row: Row) -> Place:
    return Place(row.transaction, row.block, row.block_hash, row.timestamp)


def _in_order(rows: Iterable[Row], report: Report, after: int) -> Iterator[Row]:
    """Pass the rows on, noting any that stands before or at its predecessor's place."""
    last: tuple[float, float] = (after, inf)
    for row in rows:
        here = (row.block, row.log_index)
        if here <= last:
            rule = "each event follows the one before it, once"
            report.findings.append(Finding(row.place, rule, f"after block {last[0]} log {last[1]}", here))
        last = max(last, here)
        yield row
