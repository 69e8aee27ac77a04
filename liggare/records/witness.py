"""The calls of the records, followed as CareRegistry and RecordAccess do (`liggare.ledger.witness`).

Each message is signed by whom it had to be at that moment: the patient, its actor, a guardian, an organisation; each
item of a batch of grants is carried out, or skipped for the first reason that holds at its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from liggare.chain.calls import CREATION, Call
from liggare.chain.deployments import Deployments
from liggare.ledger.signatures import Claim, Form
from liggare.ledger.witness import Told
from liggare.messages import SignedMessage, expand
from liggare.records.categories import RIGHTS
from liggare.records.messages import (
    Appoint,
    BreakGlass,
    Dismiss,
    Grant,
    GrantBundle,
    GrantFor,
    Recover,
    Revoke,
    RevokeAll,
    RevokeFor,
    SetEmergency,
    SetRecovery,
    StopRecovery,
    record_domain,
)
from liggare.records.rules import ACCESS, EXPIRED, INVALID_SIGNATURE, REGISTRY, WRONG_VERSION, RecordRules
from liggare.records.standing import ZERO

__all__ = ["RecordWitness"]

MESSAGES: dict[str, tuple[type[SignedMessage], str, str]] = {
    "grant": (Grant, "patient", "Granted"),
    "revoke": (Revoke, "patient", "Revoked"),
    "revokeAll": (RevokeAll, "actor", "AllRevoked"),
    "grantFor": (GrantFor, "author", "GrantedFor"),
    "revokeFor": (RevokeFor, "author or actor", "RevokedFor"),
    "appoint": (Appoint, "appointer", "GuardianAppointed"),
    "dismiss": (Dismiss, "by", "GuardianDismissed"),
    "setRecovery": (SetRecovery, "actor", "RecoverySet"),
    "stopRecovery": (StopRecovery, "actor", "RecoveryStopped"),
    "setEmergency": (SetEmergency, "actor", "EmergencySet"),
    "breakGlass": (BreakGlass, "organisation", "GlassBroken"),
}
"""By function: its message, who signs it (a member, or the patient's actor), and its event."""
TOLD = (
    *("patient", "author", "blinded", "guardian", "appointer", "by", "rights", "until", "version"),
    *("threshold", "delay", "allowed", "organisation", "reason"),
)
"""Members that an event tells as they were called."""
NOTHING = bytes(32)


class RecordWitness:
    """Follows the calls of RecordAccess and CareRegistry; `rules` hold the state at each place."""

    contracts: tuple[str, ...] = (REGISTRY, ACCESS)

    def __init__(self, deployments: Deployments, rules: RecordRules) -> None:
        self.domain, self.rules = record_domain(deployments), rules

    def follow(self, call: Call, told: Told) -> None:
        """Follow one call."""
        if call.contract == REGISTRY:
            self._registry(call, told)
        elif call.function in MESSAGES:
            self._message(call, told)
        elif call.function == "grantBatch":
            for number, item in enumerate(call.arguments["items"]):
                self._item(call, told, number, item)
        elif call.function == "grantBundle":
            self._bundle(call, told)
        elif call.function == "recover":
            self._recover(call, told)
        elif call.function == "completeRecovery":
            told.take(call, "Recovered", patient=call.arguments["patient"])
        elif call.function == "anchorRecord":
            told.take(call, "RecordAnchored", custodian=call.caller, **call.arguments)
        elif call.function == "postLogHead":
            told.take(call, "LogHeadPosted", custodian=call.caller, **call.arguments)

    # ------------------------------------------------------------------ organisations

    def _registry(self, call: Call, told: Told) -> None:
        given = call.arguments
        if call.function == CREATION:
            told.take(call, "AccreditorChanged", previousAccreditor=ZERO, newAccreditor=given["accreditor_"])
            return
        told.caller(call, self.rules.accreditor, "the accreditor")
        if call.function == "accredit":
            values = told.take(call, "Accredited", organisation=given["organisation"])
            shifts = {"categories": 121, "validFrom": 73, "validUntil": 25, "breakGlassQuota": 9, "roles": 1}
            asked = sum(given[name] << shift for name, shift in shifts.items())
            actual = int.from_bytes(values["slot"], "big") & ~1  # whether it is suspended is the rules' to check
            if actual != asked:
                told.off(call, "an event tells what was called for: slot of Accredited", f"{asked:#x}", f"{actual:#x}")
        elif call.function == "changeAccreditor":
            told.take(call, "AccreditorChanged", newAccreditor=given["newAccreditor"])
        else:
            event = {"suspend": "Suspended", "resume": "Resumed"}[call.function]
            told.take(call, event, organisation=given["organisation"])

    # ------------------------------------------------------------------ messages

    def _signers(self, given: Mapping[str, Any], who: str) -> tuple[str, ...]:
        actor = self.rules.standings.actor(given["patient"])
        return tuple(actor if each == "actor" else given[each] for each in who.split(" or "))

    def _message(self, call: Call, told: Told) -> None:
        kind, who, event = MESSAGES[call.function]
        given = call.arguments
        id_ = bytes(kind(self.domain, *(given[name] for name in kind.FIELDS)).id)
        told.signed(call, *self._signers(given, who), digest=id_, given=given)
        told.before(call, given["deadline"])
        values = {name: given[name] for name in TOLD if name in given}
        if "terms" in given:
            values |= {"slot": _slot(given, given["epoch"])}
            del values["version"]
        if event == "GlassBroken":
            had = self.rules.standings.emergency(given["organisation"], given["patient"]).version
            if values.pop("version") != had + 1:
                told.off(call, "each emergency names the version after its last", had + 1, given["version"])
        if event == "AllRevoked":
            had = self.rules.standings.account(given["patient"]).epoch
            if given["epoch"] != had:
                told.off(call, "a revoke-all names the epoch that ends", had, given["epoch"])
        told.take(call, event, id=id_, **values)

    def _bundle(self, call: Call, told: Told) -> None:
        given = call.arguments
        patient, epoch = given["patient"], given["epoch"]
        id_ = bytes(GrantBundle(self.domain, patient, tuple(given["items"]), epoch, given["deadline"]).id)
        told.signed(call, patient, digest=id_, given=given)
        told.before(call, given["deadline"])
        for item in given["items"]:
            self._granted(call, told, id_, {**item, "patient": patient}, epoch)

    def _granted(self, call: Call, told: Told, id_: bytes, item: Mapping[str, Any], epoch: int) -> None:
        values = {"id": id_, "patient": item["patient"], "blinded": item["blinded"]}
        if item["terms"] == NOTHING:
            told.take(call, "Revoked", **values, version=item["version"])
        else:
            told.take(call, "Granted", **values, slot=_slot(item, epoch))

    def _item(self, call: Call, told: Told, number: int, item: Mapping[str, Any]) -> None:
        kind: type[SignedMessage] = Revoke if item["terms"] == NOTHING else Grant
        id_ = bytes(kind(self.domain, *(item[name] for name in kind.FIELDS)).id)
        signature = expand(item["r"] + item["vs"])
        place = f"item {number} of {call.place}"
        claim = Claim(place, (item["patient"],), id_, signature, Form.KEY, call.block)
        row = told.next
        if row is None or (row.contract, row.event) != (ACCESS, "Skipped"):
            told.claim(claim)
            told.before(call, item["deadline"])
            self._granted(call, told, id_, item, item["epoch"])
            return
        due, actual = self._why_skipped(call, told, item, claim), row.arguments["reason"]
        if due is None:
            told.off(call, f"item {number}: only what can't be carried out is skipped", "carried out", actual)
        elif due != actual:
            told.off(call, f"item {number}: an item is skipped for the first reason that holds", due, actual)
        told.counts["items of grant batches skipped"] += 1
        told.take(call, "Skipped", index=number, id=id_)

    def _why_skipped(self, call: Call, told: Told, item: Mapping[str, Any], claim: Claim) -> bytes | None:
        if not told.signatures.holds(claim):
            return INVALID_SIGNATURE
        if call.timestamp > item["deadline"]:
            return EXPIRED
        patient = item["patient"]
        last = self.rules.standings.grant(patient, patient, item["blinded"]).version
        return None if item["version"] == last + 1 else WRONG_VERSION

    # ------------------------------------------------------------------ recovery

    def _recover(self, call: Call, told: Told) -> None:
        given, standings = call.arguments, self.rules.standings
        patient, successor, approvals = given["patient"], given["successor"], given["approvals"]
        id_ = bytes(Recover(self.domain, *(given[name] for name in Recover.FIELDS)).id)
        told.before(call, given["deadline"])
        threshold = standings.recovery(patient).threshold
        guardians = {approval["guardian"] for approval in approvals}
        if not threshold or len(guardians) < threshold:
            told.off(call, "as many guardians as the patient asked for approve a recovery", threshold, len(guardians))
        for approval in approvals:
            who = approval["guardian"]
            right = 1 << RIGHTS["recover"]
            if not standings.guardian(patient, who).rights & right or not standings.depth(patient, who, call.timestamp):
                told.off(call, "live guardians with the right approve a recovery", "such a guardian", who)
            told.signed(call, who, digest=id_, given=approval)
        version = given["version"]
        told.take(call, "RecoveryStarted", id=id_, patient=patient, successor=successor, version=version)


def _slot(item: Mapping[str, Any], epoch: int) -> bytes:
    """Return the word that a grant is stored as."""
    version: int = item["version"]
    return bytes(item["terms"][:22]) + epoch.to_bytes(5, "big") + version.to_bytes(5, "big")
