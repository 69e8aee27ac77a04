"""The rules of the records, as a plain-Python twin of CareRegistry and RecordAccess fed by their events.

Versions go up by one, a message lands once, accreditation follows its transitions, a record is anchored once by
a provider in good standing, log heads chain and grow. At the end grants, epochs, organisations, anchors and heads
equal the chain's own. With a custodian's access log in hand, every entry must have been covered by a grant when it
was written, and the log must have the roots that were posted.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from liggare.errors import LiggareError, UnknownName
from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State
from liggare.messages import Domain, Signed, address
from liggare.records.categories import INSURER_CAP, PURPOSES, ROLES, category_of, mask
from liggare.records.client import GrantState, Organisation, Refusal, Standing
from liggare.records.log_rules import Blocks, LogRules
from liggare.records.messages import ReadRequest, Terms, blind
from liggare.records.share import Share
from liggare.records.signin import Wallet
from liggare.records.tree import Tree

__all__ = ["RecordRules"]

ZERO = "0x" + "0" * 40
ACCESS, REGISTRY = "RecordAccess", "CareRegistry"
PROVIDER, INSURER = 1 << ROLES["provider"], 1 << ROLES["insurer"]
NOBODY = Organisation(0, 0, 0, 0, 0, False)
NOTHING = GrantState(bytes(22), 0, 0)


class History:
    """A value that changes with the blocks; what it is at the end of any."""

    def __init__(self, first: Any) -> None:
        self._blocks: list[int] = [-1]
        self._values: list[Any] = [first]

    @property
    def last(self) -> Any:
        """The newest value."""
        return self._values[-1]

    def put(self, block: int, value: Any) -> None:
        """Set the value from this block on."""
        self._blocks.append(block)
        self._values.append(value)

    def at(self, block: int) -> Any:
        """Return the value at the end of a block."""
        return self._values[bisect_right(self._blocks, block) - 1]


@dataclass(frozen=True)
class Head:
    """A posted log head."""

    place: str
    block: int
    size: int
    root: bytes

    @property
    def word(self) -> bytes:
        """The head as the contract stores it."""
        return self.root[:24] + self.size.to_bytes(8, "big")


class RecordRules:
    """Replays the records."""

    contracts: tuple[str, ...] = (REGISTRY, ACCESS)

    def __init__(
        self,
        logs: Mapping[str, Sequence[bytes]] | None = None,
        blocks: Blocks | None = None,
        domain: Domain | None = None,
        wallets: Callable[[int], Wallet] | None = None,
    ) -> None:
        """`logs` are custodians' access logs by address, as lines; `compare` checks them.

        They need `blocks` and `domain` (the client's); `wallets` asks contract wallets at a block for their signatures.
        """
        self.logs = {address(custodian): lines for custodian, lines in (logs or {}).items()}
        self.blocks, self.domain, self.wallets = blocks, domain, wallets
        self.accreditor = ZERO
        self.organisations: dict[str, History] = {}
        self.grants: dict[tuple[str, bytes], History] = {}
        self.epochs: dict[str, History] = {}
        self.anchors: dict[bytes, tuple[str, int]] = {}
        self.heads: dict[str, list[Head]] = {}
        self._ids: set[bytes] = set()
        self._counts: Counter[str] = Counter()

    # ------------------------------------------------------------------ replay

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event."""
        handlers: dict[tuple[str, str], Callable[[Row], Iterator[Finding]]] = {
            (REGISTRY, "AccreditorChanged"): self._accreditor_changed,
            (REGISTRY, "Accredited"): self._accredited,
            (REGISTRY, "Suspended"): self._suspended,
            (REGISTRY, "Resumed"): self._suspended,
            (ACCESS, "Granted"): self._granted,
            (ACCESS, "Revoked"): self._revoked,
            (ACCESS, "AllRevoked"): self._all_revoked,
            (ACCESS, "RecordAnchored"): self._anchored,
            (ACCESS, "LogHeadPosted"): self._head_posted,
        }
        handler = handlers.get((row.contract, row.event))
        if handler:
            yield from handler(row)

    def _accreditor_changed(self, row: Row) -> Iterator[Finding]:
        if row.arguments["previousAccreditor"] != self.accreditor:
            rule = "the accreditor hands the role on"
            yield Finding(row.place, rule, self.accreditor, row.arguments["previousAccreditor"])
        self.accreditor = row.arguments["newAccreditor"]

    def _accredited(self, row: Row) -> Iterator[Finding]:
        history = self.organisations.setdefault(row.arguments["organisation"], History(NOBODY))
        had: Organisation = history.last
        fresh = Organisation.unpack(row.arguments["slot"])
        if not 0 < fresh.roles < 1 << len(ROLES):
            yield Finding(row.place, "an organisation has a role, and only known ones", "1 to 15", fresh.roles)
        if fresh.valid_from >= fresh.valid_until:
            rule = "an accreditation ends after it begins"
            yield Finding(row.place, rule, f"after {fresh.valid_from}", fresh.valid_until)
        if had.roles & INSURER & ~fresh.roles:
            yield Finding(row.place, "an insurer stays one", had.roles, fresh.roles)
        if fresh.roles & INSURER and fresh.categories & ~INSURER_CAP:
            rule = "an insurer's cap is claims, coverage and explanation of benefit at most"
            yield Finding(row.place, rule, INSURER_CAP, fresh.categories)
        if fresh.suspended != had.suspended:
            yield Finding(row.place, "a renewal leaves a suspension as it is", had.suspended, fresh.suspended)
        history.put(row.block, fresh)
        self._counts["accreditations"] += 1

    def _suspended(self, row: Row) -> Iterator[Finding]:
        history = self.organisations.setdefault(row.arguments["organisation"], History(NOBODY))
        had: Organisation = history.last
        after = row.event == "Suspended"
        if had == NOBODY:
            yield Finding(
                row.place, "only an accredited organisation is suspended or resumed", "accredited", "never was"
            )
        if had.suspended == after:
            yield Finding(row.place, "a suspension begins once and ends once", not after, had.suspended)
        history.put(row.block, replace(had, suspended=after))
        self._counts["suspensions and their ends"] += 1

    def _message(self, row: Row) -> Iterator[Finding]:
        """Note the id of the signed message that an event tells of."""
        if row.arguments["id"] in self._ids:
            yield Finding(row.place, "a signed message lands once", "a new id", "0x" + row.arguments["id"].hex())
        self._ids.add(row.arguments["id"])

    def _step(self, row: Row) -> Iterator[Finding]:
        values = row.arguments
        had: GrantState = self._history(values["patient"], values["blinded"]).last
        version = values["version"] if row.event == "Revoked" else GrantState.unpack(values["slot"]).version
        if version != had.version + 1:
            rule = "each message about a grant names the version after its last"
            yield Finding(row.place, rule, had.version + 1, version)

    def _history(self, patient: str, blinded: bytes) -> History:
        return self.grants.setdefault((patient, blinded), History(NOTHING))

    def _granted(self, row: Row) -> Iterator[Finding]:
        yield from self._message(row)
        yield from self._step(row)
        values = row.arguments
        fresh = GrantState.unpack(values["slot"])
        self._history(values["patient"], values["blinded"]).put(row.block, fresh)
        self._counts["grants made and changed"] += 1

    def _revoked(self, row: Row) -> Iterator[Finding]:
        yield from self._message(row)
        yield from self._step(row)
        values = row.arguments
        fresh = GrantState(bytes(22), 0, values["version"])
        self._history(values["patient"], values["blinded"]).put(row.block, fresh)
        self._counts["grants revoked"] += 1

    def _all_revoked(self, row: Row) -> Iterator[Finding]:
        yield from self._message(row)
        history = self.epochs.setdefault(row.arguments["patient"], History(0))
        if row.arguments["epoch"] == history.last:
            yield Finding(row.place, "a revoke-all begins another epoch", f"not {history.last}", row.arguments["epoch"])
        history.put(row.block, row.arguments["epoch"])
        self._counts["grants revoked, all at once"] += 1

    def _anchored(self, row: Row) -> Iterator[Finding]:
        custodian, salted = row.arguments["custodian"], row.arguments["saltedHash"]
        if salted in self.anchors:
            yield Finding(row.place, "a record is anchored once", "new", f"by {self.anchors[salted][0]} before")
        organisation = self.organisations.get(custodian, History(NOBODY)).last
        if self.standing(organisation, row.timestamp) is not Standing.GOOD or not organisation.roles & PROVIDER:
            yield Finding(row.place, "providers in good standing anchor", "such a provider", custodian)
        self.anchors[salted] = (custodian, row.timestamp)
        self._counts["records anchored"] += 1

    def _head_posted(self, row: Row) -> Iterator[Finding]:
        values = row.arguments
        heads = self.heads.setdefault(values["custodian"], [])
        word, size = (heads[-1].word, heads[-1].size) if heads else (bytes(32), 0)
        if values["predecessor"] != word:
            rule = "a log head names the one before it"
            yield Finding(row.place, rule, "0x" + word.hex(), "0x" + values["predecessor"].hex())
        if values["size"] <= size:
            yield Finding(row.place, "a log only grows", f"above {size}", values["size"])
        heads.append(Head(row.place, row.block, values["size"], values["head"]))
        self._counts["log heads"] += 1

    # ------------------------------------------------------------------ who could read

    @staticmethod
    def standing(organisation: Organisation, time: int) -> Standing:
        """Return how an organisation stands at a time, as CareRegistry says it."""
        if not organisation.valid_until:
            return Standing.NOT_ACCREDITED
        if organisation.suspended:
            return Standing.SUSPENDED
        if time < organisation.valid_from:
            return Standing.NOT_YET_VALID
        return Standing.EXPIRED if time >= organisation.valid_until else Standing.GOOD

    def why_not(
        self,
        patient: str,
        grantee: str,
        salt: bytes,
        terms: Terms,
        category: int,
        purpose: int,
        block: int,
        time: int,
    ) -> Refusal:
        """Return what RecordAccess.whyNot said at the end of a block of this time."""
        state: GrantState = self.grants.get((patient, blind(grantee, salt)), History(NOTHING)).at(block)
        organisation = self.organisations.get(grantee, History(NOBODY)).at(block)
        standing = self.standing(organisation, time)
        refusals = {
            Refusal.NO_GRANT: state.version == 0,
            Refusal.REVOKED: state.terms == bytes(22),
            Refusal.ALL_REVOKED: state.epoch != self.epochs.get(patient, History(0)).at(block),
            Refusal.OTHER_TERMS: state.terms != terms.commitment(salt, state.version)[:22],
            Refusal.NOT_YET: time < terms.not_before,
            Refusal.EXPIRED: time >= terms.expiry,
            Refusal.CATEGORY_NOT_GRANTED: not category or bool(category & ~terms.categories),
            Refusal.PURPOSE_NOT_GRANTED: not purpose or bool(purpose & ~terms.purposes),
            Refusal.GRANTEE_NOT_ACCREDITED: standing is Standing.NOT_ACCREDITED,
            Refusal.GRANTEE_SUSPENDED: standing is Standing.SUSPENDED,
            Refusal.GRANTEE_NOT_YET_VALID: standing is Standing.NOT_YET_VALID,
            Refusal.GRANTEE_EXPIRED: standing is Standing.EXPIRED,
            Refusal.BEYOND_CAP: bool(category & ~organisation.categories),
        }
        return next((refusal for refusal, holds in refusals.items() if holds), Refusal.NOTHING)

    # ------------------------------------------------------------------ compare with the chain

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare all that stands with the chain's own state; check the access logs given."""
        accreditor = state.call(REGISTRY, "accreditor")
        if accreditor != self.accreditor:
            yield Finding(REGISTRY, "the accreditor is the last one named", self.accreditor, accreditor)
        for organisation, history in self.organisations.items():
            found = Organisation(*state.call(REGISTRY, "organisations", organisation))
            if found != history.last:
                place = f"{REGISTRY} organisation {organisation}"
                yield Finding(place, "it is as accredited last", history.last, found)
        for (patient, blinded), history in self.grants.items():
            grant = GrantState(*state.call(ACCESS, "grants", patient, blinded))
            if grant != history.last:
                place = f"{ACCESS} grant {patient} 0x{blinded.hex()}"
                yield Finding(place, "it is as its last message says", history.last, grant)
        for patient in {*self.epochs, *(patient for patient, _ in self.grants)}:
            expected = self.epochs.get(patient, History(0)).last
            epoch = state.call(ACCESS, "epochs", patient)
            if epoch != expected:
                yield Finding(f"{ACCESS} patient {patient}", "the epoch is the last one begun", expected, epoch)
        for salted, anchor in self.anchors.items():
            found_anchor = tuple(state.call(ACCESS, "anchors", salted))
            if found_anchor != anchor:
                yield Finding(f"{ACCESS} anchor 0x{salted.hex()}", "it is as put down", anchor, found_anchor)
        for custodian in {*self.heads, *self.organisations, *self.logs}:
            heads = self.heads.get(custodian)
            posted = heads[-1].word if heads else bytes(32)
            word = bytes(state.call(ACCESS, "logHeads", custodian))
            if word != posted:
                place = f"{ACCESS} log of {custodian}"
                yield Finding(place, "the head is the last one posted", "0x" + posted.hex(), "0x" + word.hex())
        self._counts["grants"] = len(self.grants)
        self._counts["organisations"] = len(self.organisations)
        for custodian, lines in self.logs.items():
            yield from self.check_log(custodian, lines)

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)

    # ------------------------------------------------------------------ a custodian's access log

    def check_log(self, custodian: str, lines: Sequence[bytes]) -> Iterator[Finding]:
        """Check a custodian's access log, line by line, against the replayed ledger and the heads posted.

        Findings name entries by number and request id, never what was read.
        """
        custodian = address(custodian)
        if not lines or b'"request"' not in lines[0]:  # else a log of the gatekeeper that goes away
            if self.blocks is None or self.domain is None:
                raise ValueError("an access log can only be checked with the chain's blocks and domain at hand")
            rules = LogRules(custodian, self.domain, self.blocks, lambda block: _Moment(self, block), self.wallets)
            yield from rules.check(lines, self.heads.get(custodian, []))
            self._counts.update(rules.counts)
            return
        tree = Tree(lines)
        for head in self.heads.get(custodian, []):
            if head.size > len(tree):
                rule = "the access log has every entry that its posted heads count"
                yield Finding(f"access log of {custodian}", rule, head.size, len(tree))
            elif tree.root(head.size) != head.root:
                rule = f"the access log's first {head.size} entries have the root posted in block {head.block}"
                found = "0x" + tree.root(head.size).hex()
                yield Finding(f"access log of {custodian}", rule, "0x" + head.root.hex(), found)
            self._counts["log roots"] += 1
        seen: set[bytes] = set()
        for number, line in enumerate(lines):
            place = f"access log of {custodian}, entry {number}"
            try:
                entry = json.loads(line)
                signed, share = _opened(entry)
                signed.check(signed.message.grantee)
                block, time = int(entry["block"]), int(entry["time"])
            except (LiggareError, KeyError, TypeError, ValueError, AttributeError) as exc:
                yield Finding(place, "an entry holds a request, signed by its grantee", "such a request", repr(exc))
                continue
            place = f"{place}, request {signed.id.to_0x_hex()}"
            if bytes(signed.id) in seen or entry["id"] != signed.id.to_0x_hex():
                yield Finding(place, "a request is served once, under its own id", signed.id.to_0x_hex(), entry["id"])
            seen.add(bytes(signed.id))
            yield from self._check_entry(place, custodian, signed, share, block, entry["blockHash"], time)
            self._counts["reads in access logs"] += 1

    def _check_entry(
        self,
        place: str,
        custodian: str,
        signed: Signed[ReadRequest],
        share: Share,
        block: int,
        block_hash: str,
        time: int,
    ) -> Iterator[Finding]:
        """Check that a release was what was asked for, here, then, and that a grant covered it."""
        request = signed.message
        if self.blocks is None:
            raise ValueError("an access log can only be checked with the chain's blocks at hand")
        actual_hash, timestamp = self.blocks(block)
        if block_hash != actual_hash:
            yield Finding(place, "an entry names a block of this chain", actual_hash, block_hash)
        if self.domain is not None and request.domain != self.domain:
            yield Finding(place, "a request is for this chain and contract", self.domain, request.domain)
        if request.custodian != custodian:
            yield Finding(place, "a request is for the custodian who serves it", request.custodian, custodian)
        if (request.grantee, request.patient) != (share.grantee, share.patient):
            yield Finding(place, "the share shown is the request's own", request.grantee, share.grantee)
        if not max(timestamp, request.issued_at - 30) <= time < request.expiry:
            rule = "a request is served in its lifetime, at the block's time or after"
            yield Finding(place, rule, f"{request.issued_at} to {request.expiry}, from {timestamp}", time)
        try:
            asked = category_of(request.record), mask(PURPOSES, [request.purpose])
        except UnknownName:
            asked = (0, 0)
        values = (share.patient, share.grantee, share.salt, share.terms)
        reason = self.why_not(*values, *asked, block, timestamp)
        if reason is Refusal.NOTHING and time >= share.terms.expiry:
            reason = Refusal.EXPIRED
        if reason is not Refusal.NOTHING:
            yield Finding(
                place, "every read is covered by a grant at its block", "a grant that lets it", reason.solidity
            )


@dataclass(frozen=True)
class _Moment:
    """Who could read at the end of a block."""

    rules: RecordRules
    block: int

    def why_not(
        self,
        patient: str,
        author: str,
        grantee: str,
        salt: bytes,
        terms: Terms,
        category: int,
        purpose: int,
        time: int,
        now: int | None = None,
    ) -> Refusal:
        if author != patient:
            return Refusal.NO_GRANT
        found = self.rules.why_not(patient, grantee, salt, terms, category, purpose, self.block, time)
        return Refusal.EXPIRED if found is Refusal.NOTHING and (now or time) >= terms.expiry else found

    def why_not_emergency(self, *_: Any) -> Refusal:
        return Refusal.NO_GRANT  # nobody can break the glass yet

    def actor(self, patient: str) -> str:
        return patient

    def may_act(self, patient: str, who: str, *_: int) -> bool:
        return who == patient  # there are no guardians yet


def _opened(entry: dict[str, Any]) -> tuple[Signed[ReadRequest], Share]:
    """Return an entry's signed request, bound to the chain and contract of its share, and the share."""
    share, values = Share.from_document(entry["share"]), entry["request"]
    message = ReadRequest(
        Domain("Liggare Records", "1", share.chain_id, share.contract),
        address(values["grantee"]),
        address(values["custodian"]),
        address(values["patient"]),
        values["record"],
        values["purpose"],
        int(values["issuedAt"]),
        int(values["expiry"]),
        bytes.fromhex(values["nonce"].removeprefix("0x")),
    )
    return Signed(message, bytes.fromhex(entry["signature"].removeprefix("0x"))), share
