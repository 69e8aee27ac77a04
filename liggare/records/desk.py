"""The desk: what a custodian does for each request, from the token to the record and the line in the access log.

    session -> the ledger's newest block -> Permit -> store -> Permit, resource by resource -> access log -> answer

Nothing is shown before it is written down, and where the ledger, the store or the log does not answer nothing is shown.
A record that may not be shown can't be told from one that there is not. The parts are given by who makes a desk; the
web (`liggare.web.gatekeeper`) only puts words around it.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from liggare.errors import (
    AccessRefused,
    DataError,
    RecordUnavailable,
    ResourceInvalid,
    SearchInvalid,
    SessionEnded,
    SignInRefused,
    UsageError,
)
from liggare.messages import Domain, address
from liggare.records.audit import Release
from liggare.records.categories import CATEGORIES
from liggare.records.fhir import SHARED, Resource, charts_in, parse
from liggare.records.release import KINDS, Ledger, Permit, View, staff_may
from liggare.records.seal import SEAL_USE, seal
from liggare.records.search import Include, Pairs, Position, Query, references
from liggare.records.search import parse as parse_search
from liggare.records.sessions import Session, Sessions
from liggare.records.share import Share
from liggare.records.signin import Door, Wallet, check, check_signature, digest
from liggare.records.signin import parse as parse_signin
from liggare.records.store import Stored

__all__ = ["Archive", "Book", "Desk", "Found", "Token"]

MOST_INCLUDED = 1000
"""Resources that come along with one page."""
TELLING_LITTLE = ("ScopeNotGranted", "CategoryNotGranted")
"""Reasons that say little where nothing of many types is let: any other says better why."""
MOST_SHARES = 100
"""Shares of one sign-in."""


class Archive(Protocol):
    """Where records are kept (`liggare.records.store.Store`)."""

    def put(self, resource: Resource, *, expected_version: int | None = None) -> Stored:
        """Keep a resource as the next version of its record."""

    def get(self, chart: str | None, kind: str, identity: str, version: int | None = None) -> Resource | None:
        """Return a record of a chart."""

    def newest(self, chart: str | None, kinds: Iterable[str] | None = None) -> list[Resource]:
        """Return the newest version of each record of these types."""

    def shared(self, kind: str, identity: str, version: int | None = None) -> Resource | None:
        """Return a resource that is of no patient."""

    def charts(self, pseudonym: str) -> frozenset[str]:
        """Return the charts of a pseudonym."""


class Book(Protocol):
    """Where releases are written down (`liggare.records.log.AccessLog`)."""

    def append(self, releases: Sequence[Release]) -> list[int]:
        """Write releases down; they are on the disk when it returns."""

    def proof(self, patient: str, remembered: int = 0) -> dict[str, Any]:
        """Return all of a pseudonym's entries with what proves them."""


@dataclass(frozen=True)
class Token:
    """What a sign-in gives: `scopes` are those that the ledger lets now, `patient` what to search by."""

    token: str = field(repr=False)
    lifetime: int
    scopes: tuple[str, ...]
    patient: str | None


@dataclass(frozen=True)
class Found:
    """One page of what was found."""

    text: str
    """The search as it was understood, a relative URL."""
    total: int
    matches: list[Resource] = field(repr=False)
    included: list[Resource] = field(repr=False)
    cursor: str | None
    """Where the next page goes on, if there is one."""


class Desk:
    """One custodian's desk. For many threads; time is the ledger's (`View.time`)."""

    def __init__(
        self,
        door: Door,
        domain: Domain,
        ledger: Ledger,
        archive: Archive,
        book: Book,
        sessions: Sessions,
        wallet: Wallet,
        staff: Iterable[str] = (),
    ) -> None:
        """`domain` is the records' on the chain; `staff` may create and update, as the custodian's own key may."""
        self.door, self.domain, self.base = door, domain, f"{door.url}/fhir"
        self.ledger, self.archive, self.book, self.sessions = ledger, archive, book, sessions
        self.staff = frozenset({door.custodian, *map(address, staff)})
        self._wallet = wallet

    def at(self, ledger: Ledger, book: Book) -> Desk:
        """Return the same desk with another ledger and another book, for one request."""
        other = copy(self)
        other.ledger, other.book = ledger, book
        return other

    # ------------------------------------------------------------------ signing in

    def sign_in(self, text: str, signature: bytes, shares: Sequence[Any]) -> Token:
        """Take a signed sign-in and the documents of its shares.

        Raises SignInRefused; AccessRefused where the ledger lets nothing of it; LedgerUnavailable, ChainError and
        SessionsUnavailable where something that is needed does not answer.
        """
        signin = parse_signin(text)
        view = self.ledger.fresh()
        now = view.time  # the chain's clock may be ahead of ours
        check(signin, self.door, now)
        self.sessions.check_nonce(signin.nonce, signin.reader)
        opened = self._open_shares(signin.reader, signin.shares, shares)
        if signin.seal is not None:
            try:
                seal(signin.seal, b"")
            except UsageError:
                raise SignInRefused("SealUnusable", "what is released can't be sealed for this key") from None
        check_signature(signin, signature, self._wallet)
        if signin.kind == "staff":
            if signin.reader not in self.staff:
                raise SignInRefused("NotStaff", "the sign-in names nothing to read, and the reader is not of the staff")
            token, _ = self.sessions.begin(signin, signature, opened)
            return Token(token, max(0, signin.expiry - now), tuple(map(str, signin.scopes)), None)
        permit = self._permit(Session(signin, signature, opened), view)
        scopes = self._scopes(permit)  # raises where there is none
        token, _ = self.sessions.begin(signin, signature, opened)
        charts = sorted(permit.charts) if permit.allows("Patient", "r") else []
        patient = charts[0].partition("/")[2] if len(charts) == 1 else permit.session.pseudonym
        return Token(token, max(0, signin.expiry - now), scopes, patient)

    def session(self, token: str | None) -> Session:
        """Return the session of a token. Raises SessionEnded where there is none (any more)."""
        found = self.sessions.find(token) if token else None
        if found is None:
            raise SessionEnded("nobody is signed in by this token (any more)")
        return found

    def _open_shares(self, reader: str, named: Sequence[bytes], given: Sequence[Any]) -> tuple[Share, ...]:
        """Return the shares in the order of the sign-in. Raises SignInRefused unless they are those that it names."""
        if len(given) > MOST_SHARES:
            raise SignInRefused("ShareMalformed", f"{MOST_SHARES} shares are the most")
        try:
            shares = {digest(share): share for share in map(Share.from_document, given)}
        except DataError:
            raise SignInRefused("ShareMalformed", "a share is not of its form") from None
        if len(shares) != len(given) or shares.keys() != set(named):
            raise SignInRefused("ShareUnnamed", "the shares shown are not those that the sign-in names")
        opened = tuple(shares[name] for name in named)
        here = self.domain.chain_id, self.domain.verifying_contract
        if any((share.chain_id, share.contract) != here for share in opened):
            raise SignInRefused("ShareForeign", "a share is for another chain or contract")
        if any(share.grantee != reader for share in opened):
            raise SignInRefused("ShareOfAnother", "a share is for another reader")
        if len({share.patient for share in opened}) > 1:
            raise SignInRefused("SharesDiffer", "one signs in for one patient at a time")
        return opened

    def _scopes(self, permit: Permit) -> tuple[str, ...]:
        """Return the scopes asked for, narrowed to what the ledger lets now. Raises AccessRefused for none."""
        found: dict[str, None] = {}
        refusal = AccessRefused("ScopeNotGranted", "the sign-in's scopes do not cover any record")
        for scope in permit.session.signin.scopes:
            for kind in CATEGORIES if scope.kind == "*" else [scope.kind]:
                letters = ""
                for letter in "rs":
                    try:
                        if kind in KINDS and letter in scope.letters and scope.context == "patient":
                            permit.check(kind, letter)
                            letters += letter
                    except AccessRefused as exc:
                        if refusal.reason in TELLING_LITTLE:
                            refusal = exc
                if letters:
                    found[f"patient/{kind}.{letters}"] = None
        if not found:
            raise refusal
        return tuple(found)

    # ------------------------------------------------------------------ reading

    def read(self, session: Session, kind: str, identity: str, client: str, version: int | None = None) -> Resource:
        """Return a record, or one version of it.

        Raises AccessRefused for the whole type, whatever the id; RecordUnavailable where there is none to be shown.
        """
        if session.signin.kind == "staff":
            return self._read_shared(session, kind, identity, version)
        permit = self._permit(session)
        permit.check(kind, "r")
        resource = self._find(permit, kind, identity, "r", version)
        if resource is None:
            raise RecordUnavailable("there is no such record here for this reader")
        name = f"{kind}/{identity}" + ("" if version is None else f"/_history/{version}")
        self._write_down(permit, "read" if version is None else "vread", "", [resource], client, name)
        return resource

    def search(
        self,
        session: Session,
        kind: str,
        pairs: Pairs,
        client: str,
        *,
        strict: bool = False,
        cursor: str | None = None,
    ) -> Found:
        """Return a page of the patient's records of a type. Raises AccessRefused; SearchInvalid."""
        if session.signin.kind == "staff":
            raise AccessRefused("StaffReadsNobody", "the staff searches by a sign-in like any other reader")
        permit = self._permit(session)
        permit.check(kind, "s")
        after: Position | None = None
        if cursor is not None:
            pairs, after = _unseal(session, cursor, kind)
        query = self._query(permit, kind, pairs, strict)
        total, matches, following = query.page(self._newest(permit, [kind]), after)
        included = self._include(permit, query, matches)
        self._write_down(permit, "search", query.text, [*matches, *included], client)
        sealed = None if following is None else _seal(session, kind, query.pairs, following)
        return Found(query.text, total, matches, included, sealed)

    def everything(
        self, session: Session, identity: str, pairs: Pairs, client: str, *, cursor: str | None = None
    ) -> Found:
        """Return a page of all of a chart's records that may be shown. `_type`, `_since` and `_count` are served.

        Raises AccessRefused where the patient's own resource may not be shown, RecordUnavailable for another's chart.
        """
        permit = self._permit(session)
        permit.check("Patient", "s")
        where = f"Patient/{identity}/$everything"
        after: Position | None = None
        if cursor is not None:
            pairs, after = _unseal(session, cursor, where)
        kinds, inner = _everything(pairs)
        chart = f"Patient/{identity}"
        if chart not in permit.charts or self._find(permit, "Patient", identity, "s") is None:
            raise RecordUnavailable("there is no such record here for this reader")
        allowed = [kind for kind in permit.kinds("s") if kinds is None or kind in kinds]
        query = self._query(permit, "", inner, False)
        resources = (each for each in self.archive.newest(chart, allowed) if permit.releases(each, "s"))
        total, matches, following = query.page(resources, after)
        given = Query(where, (), (), 0, (), (), pairs).text
        self._write_down(permit, "everything", given, matches, client)
        sealed = None if following is None else _seal(session, where, pairs, following)
        return Found(given, total, matches, [], sealed)

    def accesses(self, session: Session, pseudonym: str, remembered: int) -> dict[str, Any]:
        """Return every access to a patient's records with its proofs, to the patient or a guardian who may read.

        Raises AccessRefused for everybody else.
        """
        signin = session.signin
        if signin.patient is None or signin.patient.lower() != pseudonym.lower():
            raise AccessRefused("NotThePatient", "the access log is shown to the patient whom it is about")
        permit = self._permit(session)
        if not permit.live:
            raise AccessRefused("NotTheActor", "the reader does not act for this patient (any more)")
        return self.book.proof(signin.patient, remembered)

    # ------------------------------------------------------------------ writing

    def create(self, session: Session, kind: str, text: bytes) -> Stored:
        """Keep a new record; it gets an id of ours. Raises AccessRefused, ResourceInvalid."""
        resource = self._written(session, kind, "c", text)
        resource.pop("id", None)
        return self.archive.put(resource, expected_version=0)

    def update(self, session: Session, kind: str, identity: str, text: bytes, expected: int | None) -> Stored:
        """Keep a record's next version, or its first under an id of theirs where `expected` is None.

        Raises VersionConflict where the record is at another version; AccessRefused, ResourceInvalid.
        """
        resource = self._written(session, kind, "u", text)
        if resource.get("id") != identity:
            raise ResourceInvalid(f"{kind}.id", "it is not the id of the request")
        return self.archive.put(resource, expected_version=expected or 0)

    def _written(self, session: Session, kind: str, letter: str, text: bytes) -> Resource:
        if not staff_may(session, kind, letter):
            raise AccessRefused("StaffOnly", "the custodian's staff writes records, by a scope such as user/*.cu")
        resource = parse(text)
        if resource["resourceType"] != kind:
            raise ResourceInvalid("resourceType", "it is not the type of the request")
        return resource

    def sealed(self, session: Session, text: bytes) -> bytes | None:
        """Return what is released as only the reader can open it; None where it asked for no seal."""
        key = session.signin.seal
        return None if key is None else seal(key, text, SEAL_USE + session.signin.hash)

    # ------------------------------------------------------------------ inside

    def _permit(self, session: Session, view: View | None = None) -> Permit:
        """Decide anew, by the ledger's newest block; who has just asked for it gives the `view`."""
        if session.pseudonym is None:
            raise AccessRefused("StaffReadsNobody", "the staff reads by a sign-in like any other reader")
        view = self.ledger.fresh() if view is None else view
        if view.time >= session.signin.expiry:
            raise SessionEnded("the sign-in has expired")
        return Permit(session, view, self.archive.charts(session.pseudonym))

    def _read_shared(self, session: Session, kind: str, identity: str, version: int | None) -> Resource:
        """Let the staff read what is of no patient."""
        if not (kind in SHARED and staff_may(session, kind, "r")):
            raise AccessRefused("StaffReadsNobody", "the staff reads by a sign-in like any other reader")
        resource = self.archive.shared(kind, identity, version)
        if resource is None or charts_in(resource):
            raise RecordUnavailable("there is no such record here for this reader")
        return resource

    def _find(
        self, permit: Permit, kind: str, identity: str, letter: str, version: int | None = None
    ) -> Resource | None:
        """Return a record that may be shown, or None: there is none, or it may not be.

        A version may be shown where the newest may too: what is restricted today was not labelled so from the first.
        """
        wanted = [version] if version is None else [version, None]
        for chart in [None] if kind in SHARED else sorted(permit.charts):
            found = [self._look(chart, kind, identity, each) for each in wanted]
            if all(each is not None and permit.releases(each, letter) for each in found):
                return found[0]
        return None

    def _look(self, chart: str | None, kind: str, identity: str, version: int | None) -> Resource | None:
        if chart is None:
            return self.archive.shared(kind, identity, version)
        return self.archive.get(chart, kind, identity, version)

    def _newest(self, permit: Permit, kinds: Sequence[str]) -> list[Resource]:
        """Return all records of these types that may be shown."""
        shared = [kind for kind in kinds if kind in SHARED]
        own = [kind for kind in kinds if kind not in SHARED]
        found = self.archive.newest(None, shared) if shared else []
        for chart in sorted(permit.charts) if own else []:
            found = [*found, *self.archive.newest(chart, own)]
        return [each for each in found if permit.releases(each, "s")]

    def _query(self, permit: Permit, kind: str, pairs: Pairs, strict: bool) -> Query:
        pseudonym = permit.session.pseudonym or ""
        words = {"base": self.base, "pseudonym": pseudonym, "charts": permit.charts, "now": float(permit.view.time)}
        return parse_search(kind, pairs, strict=strict, **words)  # type: ignore[arg-type]

    def _include(self, permit: Permit, query: Query, matches: list[Resource]) -> list[Resource]:
        """Return what comes along with a page, each once and none that is on it."""
        found: dict[str, Resource] = {}
        shown = {_name(each) for each in matches}
        for include in query.includes:
            for name in dict.fromkeys(name for each in matches for name in references(each, include.path, self.base)):
                kind, _, identity = name.partition("/")
                if name in shown or name in found or not _wanted(include, kind) or not permit.allows(kind, "s"):
                    continue
                resource = self._find(permit, kind, identity, "s")
                if resource is not None:
                    found[name] = resource
        for include in query.reverse_includes if matches else ():
            if not _wanted(include, query.kind) or not permit.allows(include.kind, "s"):
                continue
            for resource in self._newest(permit, [include.kind]):
                name = _name(resource)
                if name not in shown and shown.intersection(references(resource, include.path, self.base)):
                    found[name] = resource
        if len(found) > MOST_INCLUDED:
            raise SearchInvalid("_include", f"more than {MOST_INCLUDED} resources come along: ask for smaller pages")
        return list(found.values())

    def _write_down(
        self,
        permit: Permit,
        interaction: str,
        query: str,
        resources: Sequence[Resource],
        client: str,
        name: str | None = None,
    ) -> None:
        """Write a release into the access log; only when this returns may anything go out."""
        session, view = permit.session, permit.view
        names = [_name(each) for each in resources] if name is None else [name]
        self.book.append(
            [
                Release(
                    self.door.custodian,
                    self.door.url,
                    client,
                    session.reader,
                    session.pseudonym,  # type: ignore[arg-type]  # there is one, else there would be no permit
                    session.signin.purpose,
                    interaction,
                    query,
                    tuple(names),
                    view.time,
                    view.number,
                    view.block_hash,
                    session.signin.text,
                    session.signature,
                    permit.grounds(resources, query.partition("?")[0].partition("/")[0]),
                    session.signin.emergency is not None,
                )
            ]
        )


def _name(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _wanted(include: Include, kind: str) -> bool:
    return kind in KINDS and include.target in (None, kind)


def _everything(pairs: Pairs) -> tuple[frozenset[str] | None, Pairs]:
    """Return the types that are asked for, and the rest as a search of all types."""
    kinds, inner = None, []
    for name, value in pairs:
        if name == "_type":
            kinds = frozenset(value.split(","))
            if not kinds <= CATEGORIES.keys():
                raise SearchInvalid("_type", "one of the types is not served")
        elif name == "_since":
            inner.append(("_lastUpdated", f"ge{value}"))
        elif name == "_count":
            inner.append((name, value))
        elif name not in ("_format", "_pretty"):
            raise SearchInvalid(name[:64], "this parameter is not served for $everything")
    return kinds, inner or [("_count", "200")]


# ------------------------------------------------------------------ where a page goes on


def _seal(session: Session, what: str, pairs: Pairs, after: Position) -> str:
    """Return a cursor that only this session can use, and only for the same search."""
    nonce = secrets.token_bytes(12)
    body = json.dumps([list(pairs), after]).encode()
    return base64.urlsafe_b64encode(nonce + AESGCM(session.key).encrypt(nonce, body, what.encode())).decode()


def _unseal(session: Session, cursor: str, what: str) -> tuple[Pairs, Position]:
    """Return the search's parameters and where to go on. Raises SearchInvalid for what is no cursor of this session."""
    try:
        sealed = base64.b64decode(cursor.encode(), b"-_", validate=True)
        pairs, after = json.loads(AESGCM(session.key).decrypt(sealed[:12], sealed[12:], what.encode()))
    except (binascii.Error, ValueError, InvalidTag):
        raise SearchInvalid("_cursor", "it is no page of this session") from None
    return [(name, value) for name, value in pairs], after
