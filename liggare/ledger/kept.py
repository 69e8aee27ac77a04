"""What rules and witnesses know, as lines of plain JSON, and back.

    object -> its members -> [part, member, value] a line -> the members of a fresh object

JSON's own values stand for themselves; all else is a list that begins with what it is: `["bytes", "00ff"]`. Reading
makes the containers below and the classes that the reader names, nothing else: a line can't run anything.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import chain, islice
from typing import Any, cast

from immutables import Map

__all__ = ["Part", "lines", "take"]

LINE = 20_000
"""How many members of a set or a mapping stand in a line at most, so that no line is as large as all that is known."""
PLAIN = (int, str, bool, type(None))
MAPPINGS: dict[str, type[Any]] = {"dict": dict, "counter": Counter, "map": Map}


@dataclass(frozen=True)
class Part:
    """An object whose members are kept, but for those `anew`: they come of its making, and values may refer to them.

    `kinds` are the classes of its own that its members are made of.
    """

    whole: Any
    anew: Sequence[str] = ()
    kinds: Sequence[type[Any]] = ()

    @property
    def name(self) -> str:
        """What its lines are marked with."""
        return type(self.whole).__name__

    @property
    def members(self) -> dict[str, Any]:
        """What is kept of it."""
        return {name: value for name, value in vars(self.whole).items() if name not in self.anew}


def lines(parts: Iterable[Part]) -> Iterator[bytes]:
    """Yield all that the parts know, each line with its end. Raises TypeError for what there is no form of."""
    for part in parts:
        form = _Form(part)
        for name, value in part.members.items():
            for some in _split(value):
                words = [part.name, name, form.plain(some)]
                yield json.dumps(words, separators=(",", ":")).encode() + b"\n"


def take(parts: Iterable[Part], found: Iterable[bytes]) -> None:
    """Set the parts' members to what `lines` told of others of their kind.

    Raises ValueError where a line is of another form, or where the lines are not about all members of these parts.
    """
    forms = {part.name: _Form(part) for part in parts}
    due = {(name, member) for name, form in forms.items() for member in form.part.members}
    begun: set[tuple[str, str]] = set()
    try:
        for line in found:
            name, member, words = json.loads(line)
            form = forms[name]
            value = form.back(words)
            if (name, member) in begun:
                vars(form.part.whole)[member].update(value)
            else:
                vars(form.part.whole)[member] = value
                due.remove((name, member))
                begun.add((name, member))
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as exc:
        raise ValueError(f"a line is of another form ({type(exc).__name__})") from None
    if due:
        raise ValueError(f"nothing is told of {', '.join(sorted(map('.'.join, due)))}")


def _split(value: Any) -> Iterator[Any]:
    """Yield a large set or mapping in several, anything else as it is."""
    if type(value) not in (set, dict, Counter) or len(value) <= LINE:
        yield value
        return
    items = iter(value if isinstance(value, set) else value.items())
    while some := list(islice(items, LINE)):
        yield type(value)(some) if isinstance(value, set) else type(value)(dict(some))


class _Form:
    """How the values of one part are written."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._kinds = {kind.__name__: kind for kind in part.kinds}
        self._anew = {id(vars(part.whole)[name]): name for name in part.anew}
        self._texts: dict[str, str] = {}

    def plain(self, value: Any) -> Any:
        """Return a value as JSON has it."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if isinstance(value, bytes):
            return ["bytes", value.hex() if kind is bytes else bytes(value).hex()]
        if id(value) in self._anew:
            return ["anew", self._anew[id(value)]]
        if kind in (tuple, list, set):
            return [kind.__name__, *map(self.plain, value)]
        if kind is defaultdict and value.default_factory is set:
            return ["sets", *map(self.plain, chain.from_iterable(value.items()))]
        for name, each in MAPPINGS.items():
            if kind is each:
                return [name, *map(self.plain, chain.from_iterable(value.items()))]
        if self._kinds.get(kind.__name__) is kind:
            return [kind.__name__, *map(self.plain, _members(value))]
        raise TypeError(f"there is no form for the {kind.__name__} in {self.part.name}")

    def back(self, words: Any) -> Any:
        """Return the value that `plain` wrote."""
        if isinstance(words, str):
            return self._texts.setdefault(words, words)  # an address is told often and held once
        if not isinstance(words, list):
            return words
        kind = words[0]
        if kind == "bytes":
            return bytes.fromhex(words[1])
        if kind == "anew":
            (name,) = (each for each in self.part.anew if each == words[1])
            return vars(self.part.whole)[name]
        values = [self.back(each) for each in words[1:]]
        if kind == "list":
            return values
        if kind in ("tuple", "set"):
            return tuple(values) if kind == "tuple" else set(values)
        if kind in MAPPINGS or kind == "sets":
            pairs = dict(zip(values[::2], values[1::2], strict=True))
            return defaultdict(set, pairs) if kind == "sets" else MAPPINGS[kind](pairs)
        return _made(self._kinds[kind], values)


def _names(kind: type[Any]) -> Sequence[str] | None:
    """Return a class's members where the class says them by itself."""
    if is_dataclass(kind):
        return [each.name for each in fields(kind)]
    return cast("Sequence[str] | None", vars(kind).get("__slots__"))


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, Enum):
        return [value.value]
    if isinstance(value, tuple):
        return value
    names = _names(type(value))
    return [vars(value)] if names is None else [getattr(value, name) for name in names]


def _made(kind: type[Any], values: Sequence[Any]) -> Any:
    if is_dataclass(kind) or issubclass(kind, Enum | tuple):
        return kind(*values)
    names, made = _names(kind), object.__new__(kind)
    members: Mapping[str, Any] = values[0] if names is None else dict(zip(names, values, strict=True))
    for name, value in members.items():
        setattr(made, name, value)
    return made
