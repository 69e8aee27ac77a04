"""Take messages in: refusals from cheap to costly, a dry run, then the row.

read -> chain and contract -> time -> quota -> signer -> nonce -> room -> dry run -> row
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from liggare.errors import RelayRefused
from liggare.relay.cargo import WAITS, Cargo, Facts
from liggare.relay.outbox import Account, Entry, Outbox, Pending, Row
from liggare.relay.terms import Limits

__all__ = ["Intake"]

DAY = 86_400


class Intake:
    """Decides what the relayer takes of one kind of cargo.

    An account that gets its first money through the relayer draws on its payer's quota until the day ends, so
    splitting money over many accounts gains nothing. What then still can be drained is bounded by the budget.
    """

    def __init__(
        self,
        outbox: Outbox,
        cargo: Cargo,
        limits: Limits,
        price: Callable[[], int],
        clock: Callable[[], float] = time.time,
        chain_time: Callable[[], int] = lambda: 0,
    ) -> None:
        """`price` tells what a unit of gas costs now, in wei; `chain_time` the newest block's time."""
        self._outbox, self._cargo, self._limits, self._price = outbox, cargo, limits, price
        self._clock, self._chain_time = clock, chain_time

    def accept(self, documents: Sequence[Any]) -> list[Row | RelayRefused]:
        """Take each message, or say why not; each for itself. A message that was taken before is told again.

        Raises RelayRefused for the request as a whole, OutboxUnavailable, ChainError: then none is taken.
        """
        if len(documents) > self._limits.per_request:
            words = f"{len(documents)} messages in one request; {self._limits.per_request} are the most"
            raise RelayRefused("TooMany", words, most=self._limits.per_request)
        work = _Work(len(documents))
        for place, document in enumerate(documents):
            with work.at(place):
                work.take(place, self._cargo.read(document))
        with self._outbox.read() as connection:
            known = self._outbox.known(connection, {entry.id for entry in work.entries.values()})
        for place, entry in list(work.entries.items()):
            if entry.id in known:
                work.done(place, known[entry.id])
        self._check_times(work)
        price = self._price() if self._limits.budget is not None else 0
        with self._outbox.read() as connection:
            self._check_quotas(connection, work, frozenset(), price)
            before = self._outbox.outstanding(connection, self._cargo.kind, work.accounts())
        for place, entry in list(work.entries.items()):
            with work.at(place):
                self._cargo.check_signer(entry)
        if not work.entries:
            return work.results()
        facts = self._check_chain(work, before)
        return self._write(work, before, facts, price)

    def _check_times(self, work: _Work) -> None:
        now = max(int(self._clock()), self._chain_time())
        for place, entry in list(work.entries.items()):
            with work.at(place):
                self._cargo.check_time(entry, now)

    def _check_chain(self, work: _Work, before: Sequence[Pending]) -> dict[str, Facts]:
        """Refuse used nonces, then what the dry run shows; return what the chain says of the accounts."""
        places = list(work.entries)
        entries = [work.entries[place] for place in places]
        for place, entry, used in zip(places, entries, self._cargo.used(entries), strict=True):
            if used:
                with work.at(place):
                    raise RelayRefused("NonceUsed", f"nonce {entry.nonce} of {entry.account} can't be used any more")
        accounts = {entry.account for entry in entries}
        payees = {payee for entry in entries for payee in self._cargo.payees(entry)}
        with self._outbox.read() as connection:
            payees -= set(self._outbox.known_accounts(connection, payees))
        facts = dict(self._cargo.facts(accounts | payees))
        self._check_room(work, before, facts)
        places = list(work.entries)
        entries = [work.entries[place] for place in places]
        reasons = self._cargo.dry_run(entries, others=before) if entries else []
        for place, entry, reason in zip(places, entries, reasons, strict=True):
            if reason not in (None, WAITS):
                with work.at(place):
                    raise self._cargo.refused(entry, reason)
        return facts

    def _check_room(self, work: _Work, others: Iterable[Pending], facts: dict[str, Facts]) -> None:
        """Refuse what the account's other messages on their way leave no room for."""
        pending: dict[str, list[Pending]] = defaultdict(list)
        nonces: set[tuple[str, str]] = set()
        for row in others:
            pending[row.account].append(row)
            nonces.add((row.account, row.nonce))
        for place, entry in list(work.entries.items()):
            with work.at(place):
                if (entry.account, entry.nonce) in nonces:
                    words = f"another message with nonce {entry.nonce} of {entry.account} is on its way"
                    raise RelayRefused("NonceQueued", words)
                self._cargo.check_room(entry, facts, pending[entry.account])
                pending[entry.account].append(Pending(entry.id, entry.account, entry.nonce, entry.total))
                nonces.add((entry.account, entry.nonce))

    def _check_quotas(self, connection: Connection, work: _Work, fresh: frozenset[str], price: int) -> dict[str, str]:
        """Refuse what is over a quota or the budget; return on whose quota each account draws."""
        today, kind = int(self._clock() // DAY), self._cargo.kind
        accounts = work.accounts()
        known = self._outbox.known_accounts(connection, accounts)
        roots = {account: account for account in accounts}
        roots |= {account.address: account.root for account in known.values() if account.day == today}
        spent = self._outbox.spent_units(connection, kind, set(roots.values()), today)
        newcomers = self._outbox.newcomers(connection, set(roots.values()), today)
        met: set[str] = set()
        given = 0
        if self._limits.budget is not None:
            given = self._outbox.committed_cost(connection, kind, today)
            given += self._outbox.queued_gas(connection, kind) * price
        for place, entry in list(work.entries.items()):
            with work.at(place):
                root, allowed = roots[entry.account], self._cargo.allowance(entry, self._limits)
                count = spent.get(root, 0)
                if count + entry.units > allowed.units:
                    words = f"{root} has had {count} of its {allowed.units} messages of the day"
                    raise RelayRefused("QuotaExceeded", words, used=count, quota=allowed.units)
                new = fresh.intersection(self._cargo.payees(entry)) - met
                if newcomers.get(root, 0) + len(new) > self._limits.newcomers:
                    words = f"{root} has paid {newcomers.get(root, 0)} new accounts today"
                    raise RelayRefused("NewcomersExceeded", words, most=self._limits.newcomers)
                cost = entry.gas * price
                if allowed.budget is not None and given + cost > allowed.budget:
                    left = max(allowed.budget - given, 0)
                    words = f"the sponsor's budget of the day has {left} wei left, about {cost} are needed"
                    raise RelayRefused("BudgetSpent", words, left=str(left), needed=str(cost))
                spent[root] = count + entry.units
                newcomers[root] = newcomers.get(root, 0) + len(new)
                met |= new
                given += cost
        return roots

    def _write(
        self, work: _Work, before: Sequence[Pending], facts: dict[str, Facts], price: int
    ) -> list[Row | RelayRefused]:
        """Check once more what another request or relayer may have changed, under the lock, and write the rows."""
        now = self._clock()
        fresh = frozenset(address for address, fact in facts.items() if fact.fresh)
        with self._outbox.write() as connection:
            ids = {entry.id: place for place, entry in work.entries.items()}
            for id_, row in self._outbox.known(connection, ids).items():
                work.done(ids[id_], row)
            roots = self._check_quotas(connection, work, fresh, price)
            # what landed since counts too: the balances were read when it was still on its way
            now_there = self._outbox.outstanding(connection, self._cargo.kind, work.accounts())
            others = {row.id: row for row in (*before, *now_there)}
            self._check_room(work, others.values(), facts)
            entries = list(work.entries.values())
            self._outbox.put(connection, entries, roots, now)
            self._outbox.meet(connection, self._met(entries, roots, fresh, int(now // DAY)))
            rows = self._outbox.known(connection, [entry.id for entry in entries])
        for place, entry in list(work.entries.items()):
            work.done(place, rows[entry.id])
        return work.results()

    def _met(
        self, entries: Iterable[Entry], roots: dict[str, str], fresh: frozenset[str], today: int
    ) -> Iterable[Account]:
        """Yield the accounts that get their first money by these messages."""
        met: set[str] = set()
        for entry in entries:
            for payee in fresh.intersection(self._cargo.payees(entry)) - met:
                met.add(payee)
                yield Account(payee, roots[entry.account], today)


class _Work:
    """The messages of one request by their place in it: what is still in hand, and what is decided."""

    def __init__(self, count: int) -> None:
        self.entries: dict[int, Entry] = {}
        self._results: dict[int, Row | RelayRefused] = {}
        self._first: dict[str, int] = {}  # a message's first place
        self._twins: dict[int, int] = {}  # every further place -> the first
        self._count = count
        self._place = 0

    def accounts(self) -> set[str]:
        """Return in whose name those in hand speak."""
        return {entry.account for entry in self.entries.values()}

    def take(self, place: int, entry: Entry) -> None:
        """Take a message in hand; one that stands in the request twice is one message."""
        first = self._first.setdefault(entry.id, place)
        if first == place:
            self.entries[place] = entry
        else:
            self._twins[place] = first

    def at(self, place: int) -> _Work:
        """Open a block that decides about one message: a refusal in it ends that message only."""
        self._place = place
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if isinstance(error, RelayRefused):
            self._results[self._place] = error
            self.entries.pop(self._place, None)
            return True
        return False

    def done(self, place: int, row: Row) -> None:
        """Note what was taken."""
        self._results[place] = row
        self.entries.pop(place, None)

    def results(self) -> list[Row | RelayRefused]:
        """Return what was decided, in the order of the request."""
        return [self._results[self._twins.get(place, place)] for place in range(self._count)]
