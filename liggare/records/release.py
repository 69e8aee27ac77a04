"""The one filter: may this resource be shown to this session, as the ledger stands now?

    session + view of the newest block + the patient's charts -> Permit -> releases(resource)? for every way out

Read, version, search, include, contained resources, `$everything`, totals and pages all ask `Permit.releases`, and are
blind to whatever it refuses. Why a *type* is refused depends on the session and the ledger alone, never on the records
that there are, so it may be told.

What it takes to see a resource are its `needs`: sets of bits, each of which one and the same grant must have. There is
one for its type and one for each type that it contains; if it is restricted, RESTRICTED is in all of them. So a grant
of Observation and another of Condition with RESTRICTED do not add up to restricted Observations.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from eth_typing import ChecksumAddress

from liggare.errors import AccessRefused
from liggare.records.categories import CATEGORIES, PURPOSES, RESTRICTED, RIGHTS, names
from liggare.records.client import REASONS, Refusal
from liggare.records.fhir import SHARED, categories_in, charts_in
from liggare.records.share import Share
from liggare.records.signin import Scope

if TYPE_CHECKING:
    from liggare.records.sessions import Session

__all__ = ["KEPT", "KINDS", "Ledger", "Permit", "View"]

KINDS = frozenset(CATEGORIES) | SHARED
"""The types that are shown at all."""
KEPT = KINDS | frozenset(
    """
    Contract DeviceMetric EnrollmentResponse Group GuidanceResponse Linkage PaymentNotice PaymentReconciliation Person
    Schedule Slot Subscription Task VerificationResult
    """.split()  # noqa: SIM905 a table of words
)
"""What the staff may write: also types that tell of patients and not of one alone, which are shown to nobody."""
ACTOR_ONLY = "PATRQT"
"""The purpose for which the patient itself reads; guardians read for FAMRQT."""


class View(Protocol):
    """Who may read at one block (`liggare.records.cache.View`)."""

    @property
    def number(self) -> int:
        """The block's number."""

    @property
    def block_hash(self) -> str:
        """The block's hash, 0x…"""

    @property
    def time(self) -> int:
        """Unix seconds: the clock's, or the block's where that is ahead."""

    def why_not(self, share: Share, category: int, purpose: int, *, reader: str) -> Refusal:
        """Return why a share does not let its reader read."""

    def why_not_emergency(self, organisation: str, pseudonym: str, category: int, purpose: int) -> Refusal:
        """Return why a broken glass does not let an organisation read."""

    def actor(self, pseudonym: str) -> ChecksumAddress:
        """Return who acts as a patient."""

    def may_act(self, pseudonym: str, who: str, rights: int) -> bool:
        """Tell whether somebody is a patient's actor or a guardian with these rights."""


class Ledger(Protocol):
    """Where views come from (`liggare.records.cache.AccessCache`)."""

    def fresh(self) -> View:
        """Return the view of the newest block. Raises LedgerUnavailable."""


class Permit:
    """What one session may be shown at one view. `charts` are those of its pseudonym here."""

    def __init__(self, session: Session, view: View, charts: frozenset[str]) -> None:
        self.session, self.view, self.charts = session, view, charts
        self._purpose = 1 << PURPOSES[session.signin.purpose]
        self._decided: dict[int, Refusal | None] = {}
        self._grounds: dict[int, Share] = {}

    def check(self, kind: str, letter: str) -> None:
        """Raise AccessRefused where nothing of this type may be shown; `letter` is SMART's: r to read, s to search."""
        if not _in_scope(self.session.signin.scopes, kind, letter, "patient"):
            raise AccessRefused("ScopeNotGranted", "the sign-in's scopes do not cover this")
        if kind in CATEGORIES:
            refusal = self._refusal(1 << CATEGORIES[kind])
            if refusal is None:
                raise AccessRefused("NotTheActor", "the reader does not act for this patient (any more)")
            if refusal is not Refusal.NOTHING:
                raise AccessRefused(refusal.solidity, REASONS[refusal])
        elif not self.live:
            raise AccessRefused("NothingGranted", "nothing is granted (any more) that this could go along with")

    def allows(self, kind: str, letter: str) -> bool:
        """Tell whether something of this type may be shown."""
        try:
            self.check(kind, letter)
        except AccessRefused:
            return False
        return True

    def kinds(self, letter: str) -> list[str]:
        """Return the types of the patient's compartment of which something may be shown."""
        return [kind for kind in CATEGORIES if self.allows(kind, letter)]

    def releases(self, resource: dict[str, Any], letter: str) -> bool:
        """Tell whether a resource may be shown: it, all that it contains, and everybody whom it names."""
        kind, bits = str(resource.get("resourceType")), categories_in(resource)
        if bits is None or not self.allows(kind, letter):
            return False
        if not all(self.allows(inner, letter) for inner in names(CATEGORIES, bits & ~RESTRICTED)):
            return False
        if not all(self._refusal(need) is Refusal.NOTHING for need in _needs(bits)):
            return False
        named = charts_in(resource)
        if kind in SHARED:
            return not named
        return bool(named) and named <= self.charts

    @property
    def live(self) -> bool:
        """Whether anything of the patient's may be shown at all."""
        return self._refusal(0) is Refusal.NOTHING

    def grounds(self, resources: Iterable[dict[str, Any]], kind: str) -> tuple[Share, ...]:
        """Return the shares on which these resources are shown, each once, in the order of the sign-in.

        Where there is none, those on which it may be known that there is none of this type.
        """
        needs = {need for each in resources for need in _needs(categories_in(each) or 0)}
        needs = needs or {1 << CATEGORIES[kind] if kind in CATEGORIES else 0}
        if needs != {0}:
            needs.discard(0)  # what is of no patient goes along with what else is shown
        used = [self._grounds[need] for need in needs if need in self._grounds]
        return tuple(share for share in self.session.shares if share in used)

    def _refusal(self, need: int) -> Refusal | None:
        """Return why what has these bits is refused, `NOTHING` if it is not; None where the reader may not act.

        A need without a type, 0 or RESTRICTED alone, is met together with any type.
        """
        if need not in self._decided:
            self._decided[need] = self._decide(need) if need & ~RESTRICTED else self._decide_any(need)
        return self._decided[need]

    def _decide_any(self, need: int) -> Refusal | None:
        for bit in CATEGORIES.values():
            refusal = self._refusal(need | 1 << bit)
            if refusal is Refusal.NOTHING:
                if need | 1 << bit in self._grounds:
                    self._grounds[need] = self._grounds[need | 1 << bit]
                break
        return refusal

    def _decide(self, need: int) -> Refusal | None:
        signin, view = self.session.signin, self.view
        if signin.kind == "grants":
            first = Refusal.NO_GRANT
            for number, share in enumerate(self.session.shares):
                refusal = view.why_not(share, need, self._purpose, reader=signin.reader)
                if refusal is Refusal.NOTHING:
                    self._grounds[need] = share
                    return refusal
                if not number or first is Refusal.CATEGORY_NOT_GRANTED:
                    first = refusal  # the share that would cover it says why best
            return first
        if signin.patient:
            if signin.purpose == ACTOR_ONLY:
                may = view.actor(signin.patient) == signin.reader
            else:
                may = view.may_act(signin.patient, signin.reader, 1 << RIGHTS["read"])
            return Refusal.NOTHING if may else None
        if signin.emergency:
            return view.why_not_emergency(signin.reader, signin.emergency, need, self._purpose)
        return None  # the staff, who read nobody's records


def _needs(bits: int) -> list[int]:
    """Return what it takes to see what has these bits: each type's, with the label's; without a type the label's."""
    label = bits & RESTRICTED
    return [1 << bit | label for bit in CATEGORIES.values() if bits >> bit & 1] or [label]


def _in_scope(scopes: Iterable[Scope], kind: str, letter: str, context: str) -> bool:
    return any(scope.context == context and scope.kind in ("*", kind) and letter in scope.letters for scope in scopes)


def staff_may(session: Session, kind: str, letter: str) -> bool:
    """Tell whether a staff session's scopes cover an action: c to create, u to update, r and s of what is nobody's."""
    return session.signin.kind == "staff" and _in_scope(session.signin.scopes, kind, letter, "user")
