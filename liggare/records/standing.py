"""What stands on the records' ledger at one moment, in plain Python: the twin of RecordAccess and CareRegistry.

Fed with their events in order, it holds all that decides who may read and who may act, and decides as the contracts
do. It judges no event; the rules do (`liggare.records.rules`). Its maps share what they have in common, so that a copy
costs nothing: a moment can be kept while time goes on. What it holds grows with the grants, not with the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from eth_typing import ChecksumAddress
from immutables import Map

from liggare.records.categories import RIGHTS, ROLES
from liggare.records.client import EmergencyState, GrantState, Guardian, Organisation, Recovery, Refusal, Standing
from liggare.records.messages import Terms, blind, guardian_epoch

__all__ = ["DEEPEST", "Account", "Standings", "standing_of"]

ZERO = cast(ChecksumAddress, "0x" + "0" * 40)
GRANT, APPOINT = 1 << RIGHTS["grant"], 1 << RIGHTS["appoint"]
EMERGENCY = 1 << ROLES["emergency"]
DEEPEST = 4
"""How many guardians may stand in a chain below the actor."""
NO_TERMS = bytes(22)


class Account(NamedTuple):
    """What stands of a patient as a whole; `successor` is zero before a recovery, `serial` the actor's own."""

    successor: ChecksumAddress = ZERO
    epoch: int = 0
    serial: int = 0
    allowed: bool = True
    """Whether the glass may be broken."""
    emergency_version: int = 0


NOBODY = Organisation(0, 0, 0, 0, 0, False)
NOTHING = bytes(32)
PLAIN = Account()
NONE = Guardian(ZERO, 0, 0, 0, 0, 0)
UNSET = Recovery(0, 0, 0, 0, ZERO)
NEVER = EmergencyState(0, 0, 0)


class Standings:
    """The state of the records at one moment. Addresses are checksummed, times unix seconds."""

    __slots__ = ("_grants", "accounts", "emergencies", "guardians", "organisations", "recoveries")

    def __init__(self) -> None:
        self.organisations: Map[str, Organisation] = Map()
        self.accounts: Map[str, Account] = Map()
        self.guardians: Map[tuple[str, str], Guardian] = Map()
        """By patient and guardian."""
        self.recoveries: Map[str, Recovery] = Map()
        self.emergencies: Map[tuple[str, str], EmergencyState] = Map()
        """By organisation and patient."""
        self._grants: Map[bytes, bytes] = Map()

    def copy(self) -> Standings:
        """Return this moment, to keep: it does not follow what is applied later. Takes no time and next to no space."""
        made = Standings.__new__(Standings)
        for name in Standings.__slots__:
            setattr(made, name, getattr(self, name))
        return made

    def __len__(self) -> int:
        """How many grants it holds, live or not."""
        return len(self._grants)

    # ------------------------------------------------------------------ what events say

    def apply(self, contract: str, event: str, arguments: Mapping[str, Any]) -> bool:
        """Take an event in; `arguments` as `Row` and `LogDecoder` have them. Events that decide nothing change nothing.

        Returns False where the event is not the next one of the grant, guardian, recovery or patient that it is
        about: one before it is missing. It is taken in all the same.
        """
        if contract == "RecordAccess":
            if event in ("Granted", "GrantedFor"):
                return self._grant(arguments, arguments["slot"])
            if event in ("Revoked", "RevokedFor"):
                return self._grant(arguments, bytes(27) + (arguments["version"] % 2**40).to_bytes(5, "big"))
            return self._apply_access(event, arguments)
        if contract == "CareRegistry":
            return self._apply_registry(event, arguments)
        return True

    def _grant(self, values: Mapping[str, Any], slot: bytes) -> bool:
        patient = values["patient"]
        key = _key(patient, values.get("author", patient), values["blinded"])
        had = self._grants.get(key, NOTHING)
        self._grants = self._grants.set(key, slot)
        return _version(slot) == _version(had) + 1

    def _apply_registry(self, event: str, values: Mapping[str, Any]) -> bool:
        if event == "Accredited":
            self._organise(values["organisation"], Organisation.unpack(values["slot"]))
        elif event in ("Suspended", "Resumed"):
            had = self.organisation(values["organisation"])
            fresh = replace(had, suspended=event == "Suspended")
            self._organise(values["organisation"], fresh)
            return had.valid_until != 0 and had != fresh
        return True

    def _organise(self, organisation: str, fresh: Organisation) -> None:
        self.organisations = self.organisations.set(organisation, fresh)

    def _apply_access(self, event: str, values: Mapping[str, Any]) -> bool:
        if event in ("GuardianAppointed", "GuardianDismissed"):
            return self._guardian(values)
        if event in ("RecoverySet", "RecoveryStarted", "RecoveryStopped", "Recovered"):
            return self._recovery(event, values)
        if event == "GlassBroken":
            had = self.emergency(values["organisation"], values["patient"])
            fresh = EmergencyState(values["reason"], values["until"], had.version + 1)
            self.emergencies = self.emergencies.set((values["organisation"], values["patient"]), fresh)
        if event not in ("AllRevoked", "EmergencySet"):
            return True
        account = self.account(values["patient"])
        if event == "AllRevoked":
            self._account(values["patient"], account._replace(epoch=values["epoch"]))
            return True
        fresh_account = account._replace(allowed=values["allowed"], emergency_version=values["version"])
        self._account(values["patient"], fresh_account)
        return bool(values["version"] == account.emergency_version + 1)

    def _guardian(self, values: Mapping[str, Any]) -> bool:
        key = (values["patient"], values["guardian"])
        had = self.guardian(*key)
        fresh = replace(NONE, **{name: values[name] for name in vars(NONE) if name in values})
        self.guardians = self.guardians.set(key, fresh)
        return fresh.version == had.version + 1

    def _recovery(self, event: str, values: Mapping[str, Any]) -> bool:
        patient = values["patient"]
        had = self.recovery(patient)
        if event == "Recovered":
            account = self.account(patient)
            fresh = account._replace(successor=values["successor"], epoch=values["epoch"], serial=values["epoch"])
            self._account(patient, fresh)
            self.recoveries = self.recoveries.set(patient, replace(UNSET, version=had.version))
            return bool(had.successor == values["successor"])
        version = values["version"]
        if event == "RecoverySet":
            made = Recovery(values["threshold"], values["delay"], 0, version, ZERO)
        elif event == "RecoveryStarted":
            made = replace(had, ready_at=values["readyAt"], version=version, successor=values["successor"])
        else:
            made = replace(had, ready_at=0, version=version, successor=ZERO)
        self.recoveries = self.recoveries.set(patient, made)
        return bool(version == had.version + 1)

    def _account(self, patient: str, fresh: Account) -> None:
        self.accounts = self.accounts.set(patient, fresh)

    # ------------------------------------------------------------------ what stands

    def organisation(self, organisation: str) -> Organisation:
        """Return an organisation; all zero for one that never was accredited."""
        return self.organisations.get(organisation, NOBODY)

    def account(self, patient: str) -> Account:
        """Return what stands of a patient as a whole."""
        return self.accounts.get(patient, PLAIN)

    def guardian(self, patient: str, guardian: str) -> Guardian:
        """Return what was said last of a guardian."""
        return self.guardians.get((patient, guardian), NONE)

    def recovery(self, patient: str) -> Recovery:
        """Return how a patient's key is recovered, and the recovery on its way."""
        return self.recoveries.get(patient, UNSET)

    def emergency(self, organisation: str, patient: str) -> EmergencyState:
        """Return the last time that an organisation broke the glass for a patient."""
        return self.emergencies.get((organisation, patient), NEVER)

    def grant(self, patient: str, author: str, blinded: bytes) -> GrantState:
        """Return what stands under a blinded grantee of what `author` granted; the patient itself for its own."""
        return GrantState.unpack(self._grants.get(_key(patient, author, blinded), NOTHING))

    def actor(self, patient: str) -> ChecksumAddress:
        """Return who acts as the patient: its own key, after a recovery the successor's."""
        successor = self.account(patient).successor
        return cast(ChecksumAddress, patient) if successor == ZERO else successor

    def depth(self, patient: str, who: str, time: int) -> int:
        """Return how far below the actor a live guardian stands, 1 for the actor's own; 0 for one that is not live."""
        actor, serial = self.actor(patient), self.account(patient).serial
        guardian = self.guardian(patient, who)
        for depth in range(1, DEEPEST + 1):
            if not guardian.rights or time >= guardian.until:
                return 0
            if guardian.appointer == actor and guardian.under == serial:
                return depth
            above = self.guardian(patient, guardian.appointer)
            if not above.rights & APPOINT or above.serial != guardian.under:
                return 0
            guardian = above
        return 0

    def may_act(self, patient: str, who: str, rights: int, time: int) -> bool:
        """Tell whether `who` is the patient's actor, or a live guardian with all of these rights."""
        if who == self.actor(patient):
            return True
        return not rights & ~self.guardian(patient, who).rights and self.depth(patient, who, time) > 0

    def epoch_of(self, patient: str, author: str, time: int) -> int | None:
        """Return the epoch that an author's grants belong to, None for one who may not grant."""
        epoch = self.account(patient).epoch
        if author == self.actor(patient):
            return epoch
        if not self.may_act(patient, author, GRANT, time):
            return None
        return guardian_epoch(epoch, self.guardian(patient, author).serial)

    # ------------------------------------------------------------------ who may read

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
        """Return what RecordAccess.whyNotBy says in a block of this time.

        With `now`, a clock that may be ahead of the block: what begins waits for a block of its time, what ends has
        ended as soon as the clock says so.
        """
        now = time if now is None else max(time, now)
        epoch = self.epoch_of(patient, author, now)
        if epoch is None:
            return Refusal.KEY_REPLACED if author == patient else Refusal.NOT_AUTHOR
        slot = self._grants.get(_key(patient, author, blind(grantee, salt)), NOTHING)
        version, committed = _version(slot), slot[:22]
        if not version:
            return Refusal.NO_GRANT
        if committed == NO_TERMS:
            return Refusal.REVOKED
        if int.from_bytes(slot[22:27], "big") != epoch:
            return Refusal.ALL_REVOKED
        if committed != terms.commitment(salt, version)[:22]:
            return Refusal.OTHER_TERMS
        if time < terms.not_before:
            return Refusal.NOT_YET
        if now >= terms.expiry:
            return Refusal.EXPIRED
        if not category or category & ~terms.categories:
            return Refusal.CATEGORY_NOT_GRANTED
        if not purpose or purpose & ~terms.purposes:
            return Refusal.PURPOSE_NOT_GRANTED
        return self._why_not_eligible(self.organisation(grantee), category, time, now)

    def why_not_emergency(
        self, organisation: str, patient: str, category: int, purpose: int, time: int, now: int | None = None
    ) -> Refusal:
        """Return what RecordAccess.whyNotEmergency says in a block of this time; `now` as in `why_not`."""
        now = time if now is None else max(time, now)
        found, reader = self.emergency(organisation, patient), self.organisation(organisation)
        if not found.version:
            return Refusal.NO_EMERGENCY
        if now >= found.until:
            return Refusal.EMERGENCY_OVER
        if not self.account(patient).allowed:
            return Refusal.EMERGENCY_REFUSED
        if not category:
            return Refusal.CATEGORY_NOT_GRANTED
        if purpose != found.reason:
            return Refusal.PURPOSE_NOT_GRANTED
        problem = self._why_not_eligible(reader, category, time, now)
        if problem is Refusal.NOTHING and not reader.roles & EMERGENCY:
            return Refusal.NOT_EMERGENCY_SERVICE
        return problem

    @staticmethod
    def _why_not_eligible(reader: Organisation, category: int, time: int, now: int) -> Refusal:
        standing = standing_of(reader, time, now)
        if standing is not Standing.GOOD:
            return UNFIT[standing]
        return Refusal.BEYOND_CAP if category & ~reader.categories else Refusal.NOTHING


UNFIT = {
    Standing.NOT_ACCREDITED: Refusal.GRANTEE_NOT_ACCREDITED,
    Standing.SUSPENDED: Refusal.GRANTEE_SUSPENDED,
    Standing.NOT_YET_VALID: Refusal.GRANTEE_NOT_YET_VALID,
    Standing.EXPIRED: Refusal.GRANTEE_EXPIRED,
}


def standing_of(organisation: Organisation, time: int, now: int | None = None) -> Standing:
    """Return how an organisation stands, as CareRegistry says it; `now` as in `Standings.why_not`."""
    if not organisation.valid_until:
        return Standing.NOT_ACCREDITED
    if organisation.suspended:
        return Standing.SUSPENDED
    if time < organisation.valid_from:
        return Standing.NOT_YET_VALID
    ended = (time if now is None else now) >= organisation.valid_until
    return Standing.EXPIRED if ended else Standing.GOOD


def _key(patient: str, author: str, blinded: bytes) -> bytes:
    """Return where a grant is kept; as in the contract no author but the patient reaches the patient's own."""
    if author == patient:
        return bytes.fromhex(patient[2:]) + blinded
    return bytes.fromhex(patient[2:] + author[2:]) + blinded


def _version(slot: bytes) -> int:
    return int.from_bytes(slot[27:], "big")
