"""Searching by FHIR R4's rules, over resources that are in memory and may already be shown.

    "Observation?code=15074-8&date=ge2013&_sort=-date&_count=10" -> Query -> matches, in order, page by page

Nothing here knows of others' records, so no answer can tell of them: totals count what is given in. A value that can't
be meant raises SearchInvalid; a parameter that is not served is left out and told by `Query.link`, or refused where the
client asked for that.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from liggare.errors import SearchInvalid
from liggare.records.parameters import COMMON, PARAMETERS, Parameter, values

__all__ = ["LARGEST_PAGE", "Include", "Pairs", "Query", "interval", "parse", "references"]

PAGE = 20
"""Resources on a page, unless the client says otherwise."""
LARGEST_PAGE = 200
MOST = 50
"""Parameters of one search, and alternatives of one parameter."""
PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
IGNORED = frozenset({"_format", "_pretty", "_total"})
"""What says nothing of the search itself: totals are always counted, answers are always JSON."""
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = 10**6

Pairs = Sequence[tuple[str, str]]
Span = tuple[float, float]
"""From a microsecond on, until before another; infinite where there is no end."""
Position = list[str | float | None]
"""Where a resource stands in a query's order: what it is sorted by, then its type and id."""


@dataclass(frozen=True)
class Include:
    """What comes along: `Observation:encounter`, of the matches or, reversed, of those that point at matches."""

    kind: str
    path: str
    target: str | None


@dataclass(frozen=True)
class Query:
    """A search of one type, understood."""

    kind: str
    tests: tuple[Callable[[dict[str, Any]], bool], ...]
    sort: tuple[tuple[Parameter, bool], ...]
    """What to sort by, and whether downward."""
    count: int
    """Resources on a page; 0 for the total alone."""
    includes: tuple[Include, ...]
    reverse_includes: tuple[Include, ...]
    pairs: Pairs = field(repr=False)
    """What was understood, as it was given."""

    @property
    def text(self) -> str:
        """The search as a relative URL, with all that was understood and nothing else."""
        return f"{self.kind}?{urlencode(self.pairs)}" if self.pairs else self.kind

    def matches(self, resource: dict[str, Any]) -> bool:
        """Tell whether a resource of the type is found."""
        return all(test(resource) for test in self.tests)

    def page(
        self, resources: Iterable[dict[str, Any]], after: Position | None = None
    ) -> tuple[int, list[dict[str, Any]], Position | None]:
        """Return how many match, those of one page, and where the next page goes on, if there is one.

        A page goes on where the one before ended, also where resources came or went in between.
        """
        found = [(self._position(each), each) for each in resources if self.matches(each)]
        total = len(found)
        if not self.count:
            return total, [], None
        order = functools.cmp_to_key(self._compare)
        found.sort(key=lambda each: order(each[0]))
        if after is not None:
            found = [each for each in found if self._compare(each[0], after) > 0]
        shown = found[: self.count]
        following = shown[-1][0] if len(found) > self.count else None
        return total, [resource for _, resource in shown], following

    def _position(self, resource: dict[str, Any]) -> Position:
        keys = [_sort_key(resource, parameter, downward) for parameter, downward in self.sort]
        return [*keys, str(resource.get("resourceType")), str(resource.get("id"))]

    def _compare(self, left: Position, right: Position) -> int:
        if len(right) != len(left):
            raise SearchInvalid("_cursor", "the page is of another search")
        for one, other, downward in zip(left, right, [*(down for _, down in self.sort), False, False], strict=True):
            if one != other:
                if one is None or other is None:  # what has nothing to sort by comes last, either way
                    return 1 if one is None else -1
                return (1 if one > other else -1) * (-1 if downward else 1)  # type: ignore[operator]
        return 0


def parse(
    kind: str, pairs: Pairs, *, base: str, pseudonym: str, charts: frozenset[str], now: float, strict: bool = False
) -> Query:
    """Read a search's parameters.

    `base` is the FHIR server's own URL; a pseudonym in place of a patient's id stands for its charts ("Patient/f001").
    `now` is for the prefix `ap`. Raises SearchInvalid naming the parameter.
    """
    if len(pairs) > MOST:
        raise SearchInvalid("", f"{MOST} parameters are the most")
    known = {parameter.name: parameter for parameter in (*COMMON, *PARAMETERS.get(kind, {}).values())}
    reading = _Reading(base, pseudonym, charts, now, known)
    tests: list[Callable[[dict[str, Any]], bool]] = []
    understood = []
    for name, value in pairs:
        word, _, modifier = name.partition(":")
        if name in reading.OPTIONS:
            taken = reading.option(kind, name, value)
        elif word in known:
            tests.append(reading.test(known[word], modifier, value))
            taken = True
        else:
            taken = name in IGNORED
        if taken:
            understood.append((name, value))
        elif strict:
            raise SearchInvalid(word[:64], "this parameter is not served for this type")
    return Query(
        kind,
        tuple(tests),
        tuple(reading.sort),
        0 if reading.alone else reading.count,
        tuple(reading.includes),
        tuple(reading.reverse_includes),
        tuple(understood),
    )


def references(resource: dict[str, Any], path: str, base: str) -> list[str]:
    """Return the references that a resource has at a path, to this server: "Encounter/f001"."""
    found = []
    for value in values(resource, path):
        reference = value.get("reference") if isinstance(value, dict) else None
        if isinstance(reference, str):
            relative = reference.removeprefix(f"{base}/")
            if plain := re.fullmatch(r"([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64})(/_history/[A-Za-z0-9.-]{1,64})?", relative):
                found.append(plain[1])
    return found


class _Reading:
    """What is gathered while parameters are read."""

    OPTIONS = frozenset({"_count", "_sort", "_summary", "_include", "_revinclude"})

    def __init__(
        self, base: str, pseudonym: str, charts: frozenset[str], now: float, known: dict[str, Parameter]
    ) -> None:
        self.base, self.pseudonym, self.charts, self.now, self.known = base, pseudonym, charts, now, known
        self.sort: list[tuple[Parameter, bool]] = []
        self.count, self.alone = PAGE, False
        self.includes: list[Include] = []
        self.reverse_includes: list[Include] = []

    def option(self, kind: str, name: str, value: str) -> bool:
        """Take what is said of the answer's form; False for what is not served."""
        if name == "_count":
            if not re.fullmatch(r"[0-9]{1,9}", value):
                raise SearchInvalid(name, "a count is a whole number")
            self.count = min(int(value), LARGEST_PAGE)
        elif name == "_summary":
            if value not in ("true", "false", "text", "data", "count"):
                raise SearchInvalid(name, "a summary is count, or one of FHIR's others, which are not served")
            self.alone = value == "count"
            return value in ("count", "false")
        elif name == "_sort":
            self.sort = [self._order(word) for word in value.split(",")]
        else:
            self._include(kind, name, value)
        return True

    def _order(self, word: str) -> tuple[Parameter, bool]:
        parameter = self.known.get(word.removeprefix("-"))
        if parameter is None or parameter.kind == "reference":
            raise SearchInvalid("_sort", "one sorts by a token or a date that the type is searched by")
        return parameter, word.startswith("-")

    def _include(self, kind: str, name: str, value: str) -> None:
        source, _, rest = value.partition(":")
        word, _, target = rest.partition(":")
        parameter = PARAMETERS.get(source, {}).get(word)
        if parameter is None or parameter.kind != "reference" or (name == "_include" and source != kind):
            raise SearchInvalid(name, "one includes by a type and its reference, such as Observation:encounter")
        include = Include(source, parameter.path, target or None)
        (self.includes if name == "_include" else self.reverse_includes).append(include)

    def test(self, parameter: Parameter, modifier: str, value: str) -> Callable[[dict[str, Any]], bool]:
        """Return what a resource must be."""
        name, path = parameter.name, parameter.path
        if modifier == "missing":
            if value not in ("true", "false"):
                raise SearchInvalid(name, "something is missing, true or false")
            return lambda resource: (value == "true") is (next(values(resource, path), None) is None)
        if parameter.kind == "reference" and re.fullmatch(r"[A-Z][A-Za-z]*", modifier):
            value = ",".join(f"{modifier}/{each}" for each in _split(name, value))
        elif modifier and (parameter.kind, modifier) != ("token", "not"):
            raise SearchInvalid(name, "this modifier is not served")
        if parameter.kind == "token":
            wanted = [_token(name, each) for each in _split(name, value)]
            negated = bool(modifier)

            def found(resource: dict[str, Any]) -> bool:
                return negated is not any(_is(code, each) for code in _codes(resource, path) for each in wanted)

            return found
        if parameter.kind == "date":
            spans = [_prefixed(name, each, self.now) for each in _split(name, value)]
            return lambda resource: any(
                matcher(span) for span in map(interval, values(resource, path)) if span for matcher in spans
            )
        pointed = frozenset(each for one in _split(name, value) for each in self._pointed(name, one))
        base = self.base
        return lambda resource: any(
            reference in pointed or reference.partition("/")[2] in pointed
            for reference in references(resource, path, base)
        )

    def _pointed(self, name: str, value: str) -> frozenset[str]:
        """Return what a value may point at: an id alone means any type's, or the patient's by its pseudonym."""
        plain = value.removeprefix(f"{self.base}/")
        if not re.fullmatch(r"([A-Z][A-Za-z]{0,63}/)?[A-Za-z0-9.-]{1,64}", plain):
            # an outside URL is well-formed, and nothing here points at it
            if re.fullmatch(r"(https?|urn):[^\s]{1,500}", value):
                return frozenset()
            raise SearchInvalid(name, "a reference is a type and an id, such as Patient/f001, or the id alone")
        own = plain.removeprefix("Patient/").lower() == self.pseudonym.lower()
        return self.charts if own else frozenset({plain})


def _split(name: str, value: str) -> list[str]:
    """Return the alternatives of a value."""
    parts = _parts(value, ",")
    if "" in parts or len(parts) > MOST:
        raise SearchInvalid(name, "a value is missing, or there are too many")
    return parts


def _parts(text: str, mark: str) -> list[str]:
    """Part a text at a mark; a backslash takes the meaning of what follows it away."""
    parts = [""]
    for letter in re.findall(r"\\.|.", text, re.DOTALL):
        if letter == mark:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


# ------------------------------------------------------------------ tokens

Code = tuple[str | None, str | None]
"""System and code; None: any, the empty system: none."""


def _token(name: str, text: str) -> Code:
    """Read `code`, `system|code`, `|code` or `system|`; the code in lower case, since systems differ in it."""
    parts = [re.sub(r"\\(.)", r"\1", part) for part in _parts(text, "|")]
    if len(parts) == 1:
        return None, parts[0].lower()
    if len(parts) != 2 or parts == ["", ""]:
        raise SearchInvalid(name, "a token is a code, or a system and a code parted by |")
    return parts[0], parts[1].lower() or None


def _codes(resource: dict[str, Any], path: str) -> Iterable[Code]:
    """Yield systems and codes of CodeableConcept, Coding, Identifier, or a plain code, whose system goes unsaid."""
    for value in values(resource, path):
        if isinstance(value, dict):
            for coding in value["coding"] if isinstance(value.get("coding"), list) else [value]:
                code = coding.get("code", coding.get("value"))
                yield str(coding.get("system", "")), None if code is None else str(code).lower()
        elif isinstance(value, bool):
            yield None, "true" if value else "false"
        else:
            yield None, str(value).lower()


def _is(code: Code, wanted: Code) -> bool:
    system = code[0] is None or wanted[0] is None or code[0] == wanted[0]
    return system and (wanted[1] is None or code[1] == wanted[1])


# ------------------------------------------------------------------ dates

DATE = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?"
)


def _span(text: str) -> Span | None:
    """Return what a date or time covers, as precise as it is written; without a zone it is UTC's."""
    found = DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        begin = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), tzinfo=timezone.utc
        )
        if month is None:
            end = _moment(begin.replace(year=begin.year + 1)) if begin.year < 9999 else math.inf
        elif day is None:
            end = (
                _moment((begin.replace(day=28) + timedelta(days=4)).replace(day=1))
                if year + month != "999912"
                else math.inf
            )
        else:
            end = _moment(begin) + SECOND * (86_400 if hour is None else 60)
    except (ValueError, OverflowError):
        return None
    first = _moment(begin)
    if second is not None:
        if int(second) > 60:  # 60: a leap second
            return None
        first += int(second) * SECOND + int((fraction or "0").ljust(6, "0")[:6])
        end = first + (SECOND if fraction is None else max(1, 10 ** (6 - len(fraction))))
    if zone and zone != "Z":
        hours, minutes = int(zone[1:3]), int(zone[4:])
        if hours > 14 or minutes > 59:
            return None
        shift = (hours * 60 + minutes) * 60 * SECOND * (-1 if zone[0] == "+" else 1)
        first, end = first + shift, end + shift
    return first, end


def _moment(time: datetime) -> float:
    return (time - EPOCH) // timedelta(microseconds=1)


def interval(value: Any) -> Span | None:
    """Return what a date, a period or a timing covers; None for what is none of them."""
    if isinstance(value, str):
        return _span(value)
    if not isinstance(value, dict):
        return None
    if "start" in value or "end" in value:
        start, end = (_span(str(value[side])) if side in value else (-math.inf, math.inf) for side in ("start", "end"))
        return None if start is None or end is None else (start[0], end[1])
    moments = [interval(each) for each in value.get("event", [])]
    repeat = value.get("repeat")
    if isinstance(repeat, dict) and "boundsPeriod" in repeat:
        moments.append(interval(repeat["boundsPeriod"]))
    spans = [each for each in moments if each is not None]
    return (min(each[0] for each in spans), max(each[1] for each in spans)) if spans else None


def _prefixed(name: str, text: str, now: float) -> Callable[[Span], bool]:
    """Return whether a span is as a prefix and a date say (R4, 3.1.1.4.4)."""
    prefix, written = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    span = _span(written)
    if span is None:
        raise SearchInvalid(name, "a date is such as 2013, 2013-04, ge2013-04-02 or lt2013-04-02T09:30:00Z")
    low, high = span

    def within(it: Span) -> bool:
        return low <= it[0] and it[1] <= high

    if prefix == "ap":
        slack = max(abs(now * SECOND - (low + high) / 2) / 10, 0)
        return lambda it: it[0] < high + slack and it[1] > low - slack
    return {
        "eq": within,
        "ne": lambda it: not within(it),
        "gt": lambda it: it[1] > high,
        "lt": lambda it: it[0] < low,
        "ge": lambda it: it[1] > low,
        "le": lambda it: it[0] < high,
        "sa": lambda it: it[0] >= high,
        "eb": lambda it: it[1] <= low,
    }[prefix]


def _sort_key(resource: dict[str, Any], parameter: Parameter, downward: bool) -> str | float | None:
    """Return what a resource is sorted by: its first date or code, downward its last."""
    if parameter.kind == "date":
        spans = [span for span in map(interval, values(resource, parameter.path)) if span]
        moment = (
            max((each[1] for each in spans), default=None)
            if downward
            else min((each[0] for each in spans), default=None)
        )
        return None if moment is None else max(min(moment, 2.0**62), -(2.0**62))  # JSON has no infinity
    codes = sorted(code for _, code in _codes(resource, parameter.path) if code is not None)
    return (codes[-1] if downward else codes[0]) if codes else None
