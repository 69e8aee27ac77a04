"""The rules of a patient's private side: what the ledger tells of its pseudonyms, held against what its own words make.

    seed phrase -> relationships -> their events, replayed -> made by the phrase, or told by a share? all of them there?
    shares -> terms in clear -> committed to by the ledger?    access logs -> the patient's own accesses

They go beside `RecordRules` in one replay and judge what only the patient can: that a grant in its name is one that its
words make. Who signed it, and whether a guardian might, the rules for everybody judge.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from liggare.errors import DataError
from liggare.ledger.rows import Finding, Row
from liggare.ledger.verify import State
from liggare.messages import address
from liggare.records.accesses import Access
from liggare.records.audit import opened
from liggare.records.client import GrantState, Records
from liggare.records.grants import SALTS, Held, grants_of, relationships, search
from liggare.records.log_rules import LogRules
from liggare.records.messages import blind
from liggare.records.pseudonyms import Pseudonyms
from liggare.records.rules import RecordRules
from liggare.records.share import Share

__all__ = ["Own", "PatientRules"]

ACCESS = "RecordAccess"
GRANTED, REVOKED = ("Granted", "GrantedFor"), ("Revoked", "RevokedFor")
Key = tuple[str, str, bytes]
"""Patient, author, blinded grantee."""


@dataclass(frozen=True)
class Own:
    """One access to the patient's records, and at which custodian."""

    custodian: ChecksumAddress
    access: Access


class PatientRules:
    """Judges the ledger as one patient, known by its seed phrase alone."""

    contracts: tuple[str, ...] = (ACCESS,)

    def __init__(
        self,
        records: Records,
        pseudonyms: Pseudonyms,
        replayed: RecordRules,
        shares: Iterable[Share] = (),
        asked: Collection[str] = (),
    ) -> None:
        """`replayed` are the rules for everybody, which see each row first. `shares` tell the terms.

        `asked` are custodians whose gatekeepers are asked for the accesses (`hear`), so that no log is missed.
        """
        self.records, self.pseudonyms, self.replayed = records, pseudonyms, replayed
        self.shares, self._asked = list(shares), asked
        self.known, _ = search(records, pseudonyms)
        self.grants: list[Held] = []
        """All that was granted, as `liggare records list` has it."""
        self.accesses: list[Own] = []
        self.unchecked: Counter[str] = Counter()
        """How many of what could not be checked, and why."""
        self._told: defaultdict[Key, list[GrantState]] = defaultdict(list)
        """All that was told of each grant, in order."""
        self._used: set[str] = set()
        self._words: dict[str, frozenset[bytes]] = {}
        self._counts: Counter[str] = Counter()

    @property
    def used(self) -> list[str]:
        """The pseudonyms under which something was granted."""
        return [patient for patient in self.known if patient in self._used]

    # ------------------------------------------------------------------ replay

    def apply(self, row: Row) -> Iterator[Finding]:
        """Judge one event, where it is about one of the patient's grants."""
        values = row.arguments
        if row.event not in GRANTED + REVOKED or values["patient"] not in self.known:
            return
        patient, blinded = values["patient"], values["blinded"]
        author = values.get("author", patient)
        fresh = GrantState.unpack(values["slot"]) if "slot" in values else GrantState(bytes(22), 0, values["version"])
        self._told[patient, author, blinded].append(fresh)
        if row.event in GRANTED:
            self._used.add(patient)
        if author != patient:
            self._counts["words of who acts for the patient about its grants"] += 1
            return
        self._counts["the patient's own words about its grants"] += 1
        if blinded not in self._makes(patient):
            rule = "a grant in the patient's name is to whom its words, or a share, make it"
            yield Finding(row.place, rule, "such a grantee", "0x" + blinded.hex())

    def _makes(self, patient: str) -> frozenset[bytes]:
        """Return all blinded grantees that the patient's words make under a pseudonym, or its shares tell."""
        if patient not in self._words:
            made = self.known[patient]
            salts = [made.salt(number) for number in range(SALTS)]
            organisations = {each.organisation for each in self.known.values()}
            words = {blind(organisation, salt) for organisation in organisations for salt in salts}
            words |= {share.blinded for share in self.shares if share.author == patient}
            self._words[patient] = frozenset(words)
        return self._words[patient]

    # ------------------------------------------------------------------ comparison

    def compare(self, state: State) -> Iterator[Finding]:
        """Compare what was told with what the patient's words find on the chain, with its shares, and with the logs."""
        yield from self._compare_search()
        yield from self._compare_state(state)
        yield from self._compare_shares()
        self.grants = grants_of(self.records, self.pseudonyms, self.shares)
        self._counts["the patient's relationships"] = len(self._used)
        for custodian, lines in self.replayed.logs.items():
            self._read_log(custodian, lines)
        if missed := self.replayed.heads.keys() - self.replayed.logs.keys() - set(self._asked):
            self.unchecked["access logs of custodians that were not at hand"] = len(missed)

    def _compare_search(self) -> Iterator[Finding]:
        """Find again from the ledger which pseudonyms there are, in case the node's search left one out."""
        organisations = self.replayed.standings.organisations
        found = relationships(self.pseudonyms, organisations, lambda patients: self._used.intersection(patients))
        for patient in found.keys() - self.known.keys():
            rule = "a search on the node finds each relationship that the ledger has"
            yield Finding(f"{ACCESS} patient {patient}", rule, "found", "left out")

    def _compare_state(self, state: State) -> Iterator[Finding]:
        """Ask the chain for each grant that the words make: none may stand that was not told."""
        for patient, made in self.known.items():
            for number in range(SALTS if patient in self._used else 1):
                blinded = blind(made.organisation, made.salt(number))
                told = self._told.get((patient, patient, blinded))
                stands = GrantState(*state.call(ACCESS, "grantsBy", patient, patient, blinded)).version
                self._counts["grants that the patient's words make, asked for on the chain"] += 1
                if stands != (version := told[-1].version if told else 0):
                    rule = "everything that the patient's words granted is told, and nothing more"
                    yield Finding(f"{ACCESS} grant {patient} 0x{blinded.hex()}", rule, version, stands)

    def _compare_shares(self) -> Iterator[Finding]:
        """Hold each share against all that was told of its grant; and note the grants that no share opens."""
        clear: set[Key] = set()
        here = self.records.domain.chain_id, self.records.contract.address
        for share in self.shares:
            if (share.chain_id, share.contract) != here or share.patient not in self.known:
                self.unchecked["shares of another chain or of no pseudonym of the patient's"] += 1
                continue
            key = share.patient, share.author, share.blinded
            told = self._told.get(key, [])
            fits = [each.terms == share.terms.commitment(share.salt, each.version)[:22] for each in told]
            self._counts["the patient's shares"] += 1
            if not any(fits):
                place = f"share of {share.patient} for {share.grantee}"
                found = f"{len(told)} words of other terms" if told else "nothing"
                yield Finding(place, "what a share grants was granted on the ledger", "a grant of its terms", found)
            elif fits[-1]:
                clear.add(key)
        standing = {key for key, told in self._told.items() if any(told[-1].terms)}
        self._counts["the patient's grants in clear"] = len(clear)
        if closed := len(standing - clear):
            self.unchecked["terms of grants that no share here tells"] = closed

    # ------------------------------------------------------------------ accesses

    def _read_log(self, custodian: str, lines: Sequence[bytes]) -> None:
        """Pick the patient's own accesses out of a log; the rules for everybody judge each of its lines."""
        heads = self.replayed.heads.get(custodian, [])
        posted = heads[-1].size if heads else 0
        for number, line in enumerate(lines):
            try:
                kept = json.loads(line)
                if kept["kind"] == "index" or kept["patient"] not in self.known:
                    continue
                logged = opened(kept)
            except (DataError, LookupError, TypeError, ValueError):
                continue  # no entry, which is a finding already
            self._take(custodian, Access(logged.serial, logged.release, number < posted))

    def hear(self, custodian: str, accesses: Iterable[Access], block: int) -> Iterator[Finding]:
        """Judge what a custodian's gatekeeper answered, up to the block of the replay, and keep it.

        That it is all of it, and under the posted head, `check_accesses` has checked.
        """
        replayed = self.replayed
        if replayed.domain is None or replayed.blocks is None:
            raise ValueError("an access can only be judged with the chain's blocks and domain at hand")
        rules = LogRules(address(custodian), replayed.domain, replayed.blocks, replayed.at, replayed.wallets)
        for access in accesses:
            self._take(custodian, access)
            if access.release.block > block:
                self.unchecked["accesses after the block verified up to"] += 1
                continue
            place = f"access {access.serial} of {access.release.patient} at {custodian}"
            for words in rules.check_release(access.release):
                yield Finding(place, *words)

    def _take(self, custodian: str, access: Access) -> None:
        self.accesses.append(Own(address(custodian), access))
        self._counts["accesses to the patient's records"] += 1

    def checked(self) -> dict[str, int]:
        """Return how many of what were checked."""
        return dict(self._counts)

    def document(self) -> dict[str, Any]:
        """Return grants and accesses as plain values, ready for JSON."""
        accesses = [
            {
                "custodian": own.custodian,
                "patient": own.access.release.patient,
                "serial": own.access.serial,
                "time": own.access.time,
                "organisation": own.access.organisation,
                "purpose": own.access.purpose,
                "records": list(own.access.records),
                "onLedger": own.access.on_ledger,
            }
            for own in self.accesses
        ]
        return {"grants": [held.document() for held in self.grants], "accesses": accesses}
