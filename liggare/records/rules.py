"""The rules of the records: each event is judged by what stood before it, as a plain-Python twin has it (`standing`).

Versions go up by one, a message lands once, accreditation follows its transitions, a record is anchored once by
a provider in good standing, log heads chain and grow. Guardians are within their appointers' rights and times, in no
circle and not too deep; they grant only while they may; a key is replaced only after its delay and by as many guardians
as the patient asked for; the glass is broken only by emergency services, within quota and hours, for no patient who
refused it. At the end all that stands equals the chain's own. With a custodian's access log in hand, every entry must
have been covered when it was written, and the log must have the roots that were posted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from eth_utils.abi import function_signature_to_4byte_selector

from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State
from liggare.messages import Domain, address
from liggare.records.categories import EMERGENCIES, INSURER_CAP, PURPOSES, RIGHTS, ROLES, mask
from liggare.records.client import EmergencyState, GrantState, Guardian, Organisation, Recovery, Standing
from liggare.records.log_rules import Blocks, LogRules
from liggare.records.signin import Wallet
from liggare.records.standing import DEEPEST, ZERO, Account, Standings, standing_of

__all__ = ["RecordRules"]

ACCESS, REGISTRY = "RecordAccess", "CareRegistry"
PROVIDER, INSURER, EMERGENCY = (1 << ROLES[name] for name in ("provider", "insurer", "emergency"))
APPOINT, RECOVER = 1 << RIGHTS["appoint"], 1 << RIGHTS["recover"]
REASONS = mask(PURPOSES, EMERGENCIES)
DAY = 86_400
"""Both the least delay of a recovery and the most that the glass may stay broken, in seconds; and a quota's day."""
SKIPS = INVALID_SIGNATURE, EXPIRED, WRONG_VERSION = tuple(
    bytes(function_signature_to_4byte_selector(error))
    for error in (
        "RecordsInvalidSignature(address)",
        "RecordsExpired(uint256,uint256)",
        "RecordsWrongVersion(uint256,uint256)",
    )
)
"""Why an item of a batch may be skipped."""


Words = tuple[str, Any, Any]
"""What is off: the rule in words, what was expected, what was found."""


Question = tuple[Any, ...]
"""A view of the chain's: contract, function, arguments."""


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
    anew: tuple[str, ...] = ("logs", "blocks", "domain", "wallets", "_judges", "_blocks", "_ends")
    kinds: tuple[type[Any], ...] = (Account, EmergencyState, Guardian, Head, Organisation, Recovery, Standings)

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
        self.accreditor: str = ZERO
        self.anchors: dict[bytes, tuple[str, int]] = {}
        self.heads: dict[str, list[Head]] = {}
        self.standings = Standings()
        self._blocks: list[int] = [-1]
        self._ends: list[Standings] = [self.standings]
        """What stood at the end of each block with events; the last one is still being written."""
        self._grants: set[tuple[str, str, bytes]] = set()
        """Patient, author and blinded grantee of all grants that were told of."""
        self._guardians: defaultdict[str, set[str]] = defaultdict(set)
        """All who ever were guardians, by patient."""
        self._serials: set[tuple[str, int]] = set()
        self._broken: Counter[tuple[str, int]] = Counter()
        """How often the glass was broken, by organisation and day."""
        self._landed: dict[bytes, tuple[str, str] | None] = {}
        """Messages by id; where it may be a bundle its transaction and patient."""
        self._counts: Counter[str] = Counter()
        self._judges: dict[tuple[str, str], Callable[[Row], Iterator[Words]]] = {
            (REGISTRY, "AccreditorChanged"): self._accreditor_changed,
            (REGISTRY, "Accredited"): self._accredited,
            (REGISTRY, "Suspended"): self._suspended,
            (REGISTRY, "Resumed"): self._suspended,
            (ACCESS, "Granted"): self._granted,
            (ACCESS, "Revoked"): self._revoked,
            (ACCESS, "GrantedFor"): self._granted_for,
            (ACCESS, "RevokedFor"): self._revoked,
            (ACCESS, "AllRevoked"): self._all_revoked,
            (ACCESS, "Skipped"): self._skipped,
            (ACCESS, "GuardianAppointed"): self._appointed,
            (ACCESS, "GuardianDismissed"): self._dismissed,
            (ACCESS, "RecoverySet"): self._recovery_set,
            (ACCESS, "RecoveryStarted"): self._recovery_started,
            (ACCESS, "RecoveryStopped"): self._recovery_stopped,
            (ACCESS, "Recovered"): self._recovered,
            (ACCESS, "EmergencySet"): self._emergency_set,
            (ACCESS, "GlassBroken"): self._glass_broken,
            (ACCESS, "RecordAnchored"): self._anchored,
            (ACCESS, "LogHeadPosted"): self._head_posted,
        }

    def at(self, block: int) -> Standings:
        """Return what stood at the end of a block."""
        return self._ends[bisect_right(self._blocks, block) - 1]

    # ------------------------------------------------------------------ replay

    def apply(self, row: Row) -> Iterator[Finding]:
        """Replay one event."""
        if row.block != self._blocks[-1]:
            self.standings = self.standings.copy()
            self._blocks.append(row.block)
            self._ends.append(self.standings)
        judge = self._judges.get((row.contract, row.event))
        if judge is not None:
            # by what stood before
            yield from (Finding(row.place, *words) for words in judge(row))
            self.standings.apply(row.contract, row.event, row.arguments)

    # ------------------------------------------------------------------ organisations

    def _accreditor_changed(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        if values["previousAccreditor"] != self.accreditor:
            yield "the accreditor hands the role on", self.accreditor, values["previousAccreditor"]
        self.accreditor = values["newAccreditor"]

    def _accredited(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        had = self.standings.organisation(values["organisation"])
        fresh = Organisation.unpack(values["slot"])
        if not 0 < fresh.roles < 1 << len(ROLES):
            yield "an organisation has a role, and only known ones", "1 to 15", fresh.roles
        if fresh.valid_from >= fresh.valid_until:
            yield "an accreditation ends after it begins", f"after {fresh.valid_from}", fresh.valid_until
        if had.roles & INSURER & ~fresh.roles:
            yield "an insurer stays one", had.roles, fresh.roles
        if fresh.roles & INSURER and fresh.categories & ~INSURER_CAP:
            rule = "an insurer's cap is claims, coverage and explanation of benefit at most"
            yield rule, INSURER_CAP, fresh.categories
        if fresh.suspended != had.suspended:
            yield "a renewal leaves a suspension as it is", had.suspended, fresh.suspended
        self._counts["accreditations"] += 1

    def _suspended(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        had = self.standings.organisation(values["organisation"])
        after = row.event == "Suspended"
        if had == Organisation(0, 0, 0, 0, 0, False):
            yield "only an accredited organisation is suspended or resumed", "accredited", "never was"
        if had.suspended == after:
            yield "a suspension begins once and ends once", not after, had.suspended
        self._counts["suspensions and their ends"] += 1

    # ------------------------------------------------------------------ grants

    def _message(self, row: Row) -> Iterator[Words]:
        """Note the id of the signed message that an event tells of; only a bundle's is told of several times."""
        id_ = row.arguments["id"]
        here = (row.transaction, row.arguments["patient"]) if row.event in ("Granted", "Revoked") else None
        if id_ in self._landed and (here is None or self._landed[id_] != here):
            yield "a signed message lands once", "a new id", "0x" + id_.hex()
        self._landed.setdefault(id_, here)

    def _step(self, had: int, version: int, what: str) -> Iterator[Words]:
        if version != had + 1:
            yield f"each message about {what} names the version after its last", had + 1, version

    def _grant_step(self, values: dict[str, Any], version: int) -> Iterator[Words]:
        key = values["patient"], values.get("author", values["patient"]), values["blinded"]
        self._grants.add(key)
        yield from self._step(self.standings.grant(*key).version, version, "a grant")

    def _granted(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        yield from self._message(row)
        yield from self._grant_step(values, GrantState.unpack(values["slot"]).version)
        self._counts["grants made and changed"] += 1

    def _granted_for(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        patient, author, fresh = values["patient"], values["author"], GrantState.unpack(values["slot"])
        yield from self._message(row)
        yield from self._grant_step(values, fresh.version)
        epoch = self.standings.epoch_of(patient, author, row.timestamp)
        if author == patient or epoch is None:
            yield "in a patient's stead grant its successor and its guardians with the right", "one of them", author
        elif fresh.epoch != epoch:
            yield "a grant in a patient's stead is of its author's epoch", epoch, fresh.epoch
        self._counts["grants made and changed in a patient's stead"] += 1

    def _revoked(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        yield from self._message(row)
        yield from self._grant_step(values, values["version"])
        self._counts["grants revoked"] += 1

    def _all_revoked(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        yield from self._message(row)
        yield from self._epoch(values)
        self._counts["grants revoked, all at once"] += 1

    def _epoch(self, values: dict[str, Any]) -> Iterator[Words]:
        had = self.standings.account(values["patient"]).epoch
        if values["epoch"] == had:
            yield "a revoke-all or a recovery begins another epoch", f"not {had}", values["epoch"]

    def _skipped(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        if values["reason"] not in SKIPS:
            yield "an item of a batch is skipped for a reason that there is", "one of 3", "0x" + values["reason"].hex()
        self._counts["items of batches skipped"] += 1

    # ------------------------------------------------------------------ guardians

    def _appointed(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        patient, who, appointer = values["patient"], values["guardian"], values["appointer"]
        before = self.standings
        had, actor = before.guardian(patient, who), before.actor(patient)
        yield from self._message(row)
        yield from self._step(had.version, values["version"], "a guardian")
        if who in (ZERO, patient, actor):
            yield "a guardian is another than the patient and its actor", "another", who
        if not 0 < values["rights"] < 1 << len(RIGHTS):
            yield "a guardian has a right, and only known ones", "1 to 15", values["rights"]
        if values["until"] <= row.timestamp:
            yield "a guardian's time lies ahead", f"after {row.timestamp}", values["until"]
        if (patient, values["serial"]) in self._serials:
            yield "each appointment has a serial of its own", "a new one", values["serial"]
        if appointer == actor:
            under = before.account(patient).serial
        else:
            under = before.guardian(patient, appointer).serial
            yield from self._delegated(values, had, row.timestamp)
        if values["under"] != under:
            yield "an appointment stands under its appointer's serial", under, values["under"]
        self._serials.add((patient, values["serial"]))
        self._guardians[patient].add(who)
        self._counts["guardians appointed"] += 1

    def _delegated(self, values: dict[str, Any], had: Guardian, time: int) -> Iterator[Words]:
        """Judge an appointment by a guardian."""
        patient, who, appointer = values["patient"], values["guardian"], values["appointer"]
        before = self.standings
        above, depth = before.guardian(patient, appointer), before.depth(patient, appointer, time)
        if not depth or not above.rights & APPOINT:
            yield "the actor appoints, and live guardians with the right", "one of them", appointer
        if depth >= DEEPEST:
            yield f"at most {DEEPEST} guardians stand in a chain", DEEPEST, depth + 1
        if values["rights"] & RECOVER:
            yield "only the actor gives the right to recover", "without", values["rights"]
        if values["rights"] & ~above.rights:
            yield "a guardian gives no right that it lacks", above.rights, values["rights"]
        if values["until"] > above.until:
            yield "a guardian gives no time beyond its own", f"{above.until} at most", values["until"]
        if had.appointer != appointer and before.depth(patient, who, time):
            yield "a live guardian is appointed anew by its appointer or the actor only", had.appointer, appointer

    def _dismissed(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        patient, who = values["patient"], values["guardian"]
        had = self.standings.guardian(patient, who)
        yield from self._message(row)
        yield from self._step(had.version, values["version"], "a guardian")
        if values["by"] not in (who, self.standings.actor(patient), had.appointer):
            rule = "the actor, the appointer and the guardian itself end a guardianship"
            yield rule, "one of them", values["by"]
        self._guardians[patient].add(who)
        self._counts["guardians dismissed"] += 1

    # ------------------------------------------------------------------ recovery

    def _recovery(self, row: Row) -> Iterator[Words]:
        had = self.standings.recovery(row.arguments["patient"])
        yield from self._message(row)
        yield from self._step(had.version, row.arguments["version"], "a recovery")

    def _recovery_set(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        yield from self._recovery(row)
        if values["threshold"] and values["delay"] < DAY:
            yield "a recovery takes a day at least", DAY, values["delay"]
        self._counts["recoveries set"] += 1

    def _recovery_started(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        patient, before = values["patient"], self.standings
        had = before.recovery(patient)
        yield from self._recovery(row)
        if values["successor"] in (ZERO, patient, before.actor(patient)):
            yield "a successor is another than the patient and its actor", "another", values["successor"]
        voters = [
            who
            for who in self._guardians[patient]
            if before.guardian(patient, who).rights & RECOVER and before.depth(patient, who, row.timestamp)
        ]
        if not had.threshold or len(voters) < had.threshold:
            rule = "as many guardians as the patient asked for begin a recovery"
            yield rule, had.threshold or "a threshold", f"{len(voters)} who may"
        if values["readyAt"] != row.timestamp + had.delay:
            yield "a recovery is ready after its delay", row.timestamp + had.delay, values["readyAt"]
        self._counts["recoveries begun"] += 1

    def _recovery_stopped(self, row: Row) -> Iterator[Words]:
        yield from self._recovery(row)
        self._counts["recoveries stopped"] += 1

    def _recovered(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        had = self.standings.recovery(values["patient"])
        if had.successor == ZERO or values["successor"] != had.successor:
            yield "a recovery is completed that is on its way", had.successor, values["successor"]
        if row.timestamp < had.ready_at:
            yield "a recovery is completed after its delay", f"from {had.ready_at} on", row.timestamp
        yield from self._epoch(values)
        self._counts["recoveries completed"] += 1

    # ------------------------------------------------------------------ emergencies

    def _emergency_set(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        yield from self._message(row)
        had = self.standings.account(values["patient"]).emergency_version
        yield from self._step(had, values["version"], "emergencies")
        self._counts["words on emergencies"] += 1

    def _glass_broken(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        who, reason = values["organisation"], values["reason"]
        yield from self._message(row)
        organisation = self.standings.organisation(who)
        if standing_of(organisation, row.timestamp) is not Standing.GOOD or not organisation.roles & EMERGENCY:
            yield "emergency services in good standing break the glass", "such a service", who
        if not reason & REASONS or reason & (reason - 1):
            yield "the glass is broken for one known reason", f"one bit of {REASONS}", reason
        if not row.timestamp < values["until"] <= row.timestamp + DAY:
            yield "broken glass is mended within a day", f"{row.timestamp} and {DAY} at most", values["until"]
        if not self.standings.account(values["patient"]).allowed:
            yield "the glass is not broken for a patient who refused it", "none", values["patient"]
        self._broken[who, row.timestamp // DAY] += 1
        if (count := self._broken[who, row.timestamp // DAY]) > organisation.break_glass_quota:
            rule = "the glass is broken within the organisation's quota of the day"
            yield rule, organisation.break_glass_quota, count
        self._counts["emergencies"] += 1

    # ------------------------------------------------------------------ custodians

    def _anchored(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        custodian, salted = values["custodian"], values["saltedHash"]
        if salted in self.anchors:
            yield "a record is anchored once", "new", f"by {self.anchors[salted][0]} before"
        organisation = self.standings.organisation(custodian)
        if standing_of(organisation, row.timestamp) is not Standing.GOOD or not organisation.roles & PROVIDER:
            yield "providers in good standing anchor", "such a provider", custodian
        self.anchors[salted] = (custodian, row.timestamp)
        self._counts["records anchored"] += 1

    def _head_posted(self, row: Row) -> Iterator[Words]:
        values = row.arguments
        heads = self.heads.setdefault(values["custodian"], [])
        word, size = (heads[-1].word, heads[-1].size) if heads else (bytes(32), 0)
        if values["predecessor"] != word:
            yield "a log head names the one before it", "0x" + word.hex(), "0x" + values["predecessor"].hex()
        if values["size"] <= size:
            yield "a log only grows", f"above {size}", values["size"]
        heads.append(Head(row.place, row.block, values["size"], values["head"]))
        self._counts["log heads"] += 1

    # ------------------------------------------------------------------ compare with the chain

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare all that stands with the chain's own state; check the access logs given."""
        for place, rule, expected, (contract, function, *words) in self._expected():
            found = _plain(state.call(contract, function, *words))
            if found != expected:
                yield Finding(place, rule, _shown(expected), _shown(found))
        self._counts["grants"] = len(self._grants)
        self._counts["organisations"] = len(self.standings.organisations)
        self._counts["guardians"] = sum(map(len, self._guardians.values()))
        for custodian, lines in self.logs.items():
            yield from self.check_log(custodian, lines)

    def _expected(self) -> Iterator[tuple[str, str, Any, Question]]:
        """Yield what must stand on the chain: place, rule, value, and the question to the contracts."""
        now = self.standings
        yield REGISTRY, "the accreditor is the last one named", self.accreditor, (REGISTRY, "accreditor")
        for who, organisation in now.organisations.items():
            place = f"{REGISTRY} organisation {who}"
            yield place, "it is as accredited last", astuple(organisation), (REGISTRY, "organisations", who)
        for patient, author, blinded in self._grants:
            place = f"{ACCESS} grant {patient}" + ("" if author == patient else f" by {author}") + f" 0x{blinded.hex()}"
            grant = astuple(now.grant(patient, author, blinded))
            yield place, "it is as its last message says", grant, (ACCESS, "grantsBy", patient, author, blinded)
        for patient in {*now.accounts, *self._guardians, *now.recoveries, *(key[0] for key in self._grants)}:
            yield from self._expected_of(patient)
        for (who, patient), emergency in now.emergencies.items():
            place = f"{ACCESS} emergency {who} {patient}"
            yield place, "it is as told last", astuple(emergency), (ACCESS, "emergencies", who, patient)
        for salted, anchor in self.anchors.items():
            yield f"{ACCESS} anchor 0x{salted.hex()}", "it is as put down", anchor, (ACCESS, "anchors", salted)
        for custodian in {*self.heads, *now.organisations, *self.logs}:
            heads = self.heads.get(custodian)
            word = heads[-1].word if heads else bytes(32)
            place = f"{ACCESS} log of {custodian}"
            yield place, "the head is the last one posted", word, (ACCESS, "logHeads", custodian)

    def _expected_of(self, patient: str) -> Iterator[tuple[str, str, Any, Question]]:
        now, place = self.standings, f"{ACCESS} patient {patient}"
        account = now.account(patient)
        yield place, "the epoch is the last one begun", account.epoch, (ACCESS, "epochs", patient)
        yield place, "its actor is its last successor", now.actor(patient), (ACCESS, "actorOf", patient)
        word = account.allowed, account.emergency_version
        yield place, "its word on emergencies is the last one", word, (ACCESS, "emergencyOf", patient)
        recovery = astuple(now.recovery(patient))
        yield place, "its recovery is as said last", recovery, (ACCESS, "recoveries", patient)
        for who in self._guardians.get(patient, ()):
            guardian = astuple(now.guardian(patient, who))
            place = f"{ACCESS} guardian {who} of {patient}"
            yield place, "it is as said last", guardian, (ACCESS, "guardians", patient, who)

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)

    # ------------------------------------------------------------------ a custodian's access log

    def check_log(self, custodian: str, lines: Sequence[bytes]) -> Iterator[Finding]:
        """Check a custodian's access log, line by line, against the replayed ledger and the heads posted.

        Findings name entries by number and request id, never what was read.
        """
        custodian = address(custodian)
        if self.blocks is None or self.domain is None:
            raise ValueError("an access log can only be checked with the chain's blocks and domain at hand")
        rules = LogRules(custodian, self.domain, self.blocks, self.at, self.wallets)
        yield from rules.check(lines, self.heads.get(custodian, []))
        self._counts.update(rules.counts)


def _plain(value: Any) -> Any:
    """Return what the chain holds as the twin has it: structs as tuples, bytes as bytes."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return bytes(value) if isinstance(value, bytes) else value


def _shown(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value
