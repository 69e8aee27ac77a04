"""Grants as FHIR R4 Consent resources, and back.

    share -> to_consent -> Consent: permit these recipients, for these purposes, these types, in this period
    Consent -> from_consent -> (grantee, Terms) of each recipient, or ConsentUnmappable by name

What is written is a Consent as IHE's Privacy Consent on FHIR (PCF) profiles it, with one thing beside it: PCF has no
element for the types of records, R4 has (`provision.class`), so a grant of less than all types says them there and does
not claim the profile.

A grant is a permission and nothing else, so a Consent that denies, excepts, or permits by what records say (codes,
authors, dates) can't be one: it is refused rather than widened or narrowed in silence. Where a Consent and a grant
would differ, the grant gives less: a purpose covers itself and not those below it in v3 ActReason, and no label at all
means normal records.

Of labels a grant knows those of v3 Confidentiality, as R4 reads them: a high-water mark, so that R is R or lower. One
that names N or none gives no restricted record; one that names R or V is a grant with RESTRICTED, which has no middle:
with R go the very restricted. Any other label is refused. docs/consent.md goes through PCF's use cases one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from liggare.errors import ConsentUnmappable, InvalidTerms, ResourceInvalid, UnknownName, UsageError
from liggare.messages import address
from liggare.records.categories import CATEGORIES, PURPOSES, RESTRICTED, mask, names
from liggare.records.fhir import Resource
from liggare.records.messages import Terms, grant_key
from liggare.records.share import Share

__all__ = ["FOREVER", "Granted", "from_consent", "to_consent"]

FOREVER = 2**53 - 1
"""The expiry of a grant without end, the largest that every reader of JSON keeps to the digit; what ends after the year
9999 is written as without end too."""
LAST_DATE = 253_402_300_799
EVERYTHING = mask(CATEGORIES, CATEGORIES)

PROFILE = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentBasic"
ADVANCED = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF.consentAdvanced"
POLICY = "urn:liggare:policy:grants-only"
"""The policy that the patient agrees to: nothing is read but what is granted."""
SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
LOINC = "http://loinc.org"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
TYPES = "http://hl7.org/fhir/resource-types"
URIS = "urn:ietf:rfc:3986"

_ACCOUNT = re.compile(r"did:pkh:eip155:[1-9][0-9]*:(0x[0-9a-fA-F]{40})")
_TIME = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d))?)?)?")

_LEVELS = "ULMNRV"
"""Codes of v3 Confidentiality, from unrestricted over normal to very restricted."""
_UNMAPPED = {
    "code": ("code", "a grant does not look at codes of records"),
    "data": ("data", "a grant is of whole types, not of single records or their authors"),
    "dataPeriod": ("data-period", "a grant does not look at when records were made"),
    "provision": ("nested", "a grant has no exceptions"),
}


class Granted(NamedTuple):
    """What a Consent gives one recipient."""

    grantee: str
    """An address, or a FHIR reference such as "Organization/f001" whose address the patient must know."""
    terms: Terms


def to_consent(
    share: Share, made: int, *, organization: str, patient: str | None = None, performer: str | None = None
) -> Resource:
    """Return the grant of a share as a Consent; `made` is when it was agreed, in unix seconds.

    `organization` is the FHIR reference of the custodian that obeys it, `patient` that of the patient there and
    `performer` that of whoever agreed, by default the patient; without `patient` the pseudonym stands for it.
    Raises ConsentUnmappable where the terms have bits without a meaning.
    """
    terms = share.terms
    if terms.purposes & ~mask(PURPOSES, PURPOSES):
        raise ConsentUnmappable("terms", "Consent.provision", "the grant has bits without a meaning")
    account = f"did:pkh:eip155:{share.chain_id}:"
    whose = {"reference": patient} if patient else _logical("Patient", account + share.patient)
    number = f"urn:liggare:grant:0x{grant_key(share.patient, share.blinded).hex()}"
    provision: dict[str, Any] = {"type": "permit"}
    period = {
        "start": _written(terms.not_before) if 0 < terms.not_before <= LAST_DATE else None,
        "end": _written(terms.expiry - 1) if terms.expiry - 1 <= LAST_DATE else None,  # FHIR's end is still within
    }
    if any(period.values()):
        provision["period"] = {name: value for name, value in period.items() if value}
    recipient = {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]}
    provision["actor"] = [{"role": recipient, "reference": _logical("Organization", account + share.grantee)}]
    provision["purpose"] = [{"system": ACT_REASON, "code": code} for code in terms.purpose_names]
    kinds, profile = terms.categories & ~RESTRICTED, PROFILE
    if terms.categories & RESTRICTED:
        profile = ADVANCED
        provision["securityLabel"] = [{"system": CONFIDENTIALITY, "code": code} for code in "NRV"]
    if kinds != EVERYTHING:
        provision["class"] = [{"system": TYPES, "code": name} for name in names(CATEGORIES, kinds)]
    return {
        "resourceType": "Consent",
        **({} if "class" in provision else {"meta": {"profile": [profile]}}),
        "identifier": [{"system": URIS, "value": number}],
        "status": "active",
        "scope": {"coding": [{"system": SCOPES, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": whose,
        "dateTime": _written(made),
        "performer": [{"reference": performer} if performer else whose],
        "organization": [{"reference": organization}],
        "sourceAttachment": {"title": "The patient's signed grant", "url": number},
        "policy": [{"uri": POLICY}],
        "provision": provision,
    }


def from_consent(consent: Resource, *, purposes: Iterable[str] = ()) -> list[Granted]:
    """Return what a Consent gives, one for each of its recipients.

    `purposes` stand in where the Consent names none, which in FHIR means any. A Consent that names no types is of all;
    one whose period has no end is for ever; its dates are days of UTC. It is taken to be valid: `parse` says so.
    Raises ConsentUnmappable where no grant could say the same, ResourceInvalid where it is no Consent.
    """
    if consent.get("resourceType") != "Consent":
        raise ResourceInvalid("resourceType", "it is no Consent")
    provision = consent.get("provision")
    for path, part in (("Consent", consent), ("Consent.provision", provision or {})):
        if "modifierExtension" in part or "implicitRules" in part:
            raise ConsentUnmappable("modifier", path, "it has an extension that changes what it means")
    if consent.get("status") != "active":
        raise ConsentUnmappable("status", "Consent.status", "it is not active")
    if not _codes(consent.get("scope"), SCOPES) == ["patient-privacy"]:
        raise ConsentUnmappable("scope", "Consent.scope", "it is about something else than privacy")
    if any(each.get("verified") is False for each in consent.get("verification", [])):
        raise ConsentUnmappable("verification", "Consent.verification", "it was not verified")
    if not provision:
        raise ConsentUnmappable("policy", "Consent.provision", "it only names a policy")
    _check_rule(consent, provision)
    _check_labels(provision, "Consent.provision")
    for name, (reason, words) in _UNMAPPED.items():
        if name in provision:
            raise ConsentUnmappable(reason, f"Consent.provision.{name}", words)
    for action in provision.get("action", []):
        if _codes(action, ACTIONS) != ["access"]:
            raise ConsentUnmappable("action", "Consent.provision.action", "a grant is to read, and nothing else")
    categories = _bits(CATEGORIES, provision.get("class"), TYPES, "class") or EVERYTHING
    if any(label["code"] in "RV" for label in provision.get("securityLabel", [])):
        categories |= RESTRICTED
    reasons = _bits(PURPOSES, provision.get("purpose"), ACT_REASON, "purpose") or mask(PURPOSES, purposes)
    if not reasons:
        raise ConsentUnmappable("purpose", "Consent.provision.purpose", "it names no purpose; a grant does")
    start, end = _period(provision.get("period", {}))
    try:
        terms = Terms(categories, reasons, start, end)
    except InvalidTerms:
        raise ConsentUnmappable("period", "Consent.provision.period", "it ends before it begins") from None
    return [Granted(grantee, terms) for grantee in _grantees(consent, provision)]


def _check_rule(consent: Resource, provision: dict[str, Any]) -> None:
    """Refuse what is not: nobody may but whom the provision permits."""
    kind, rule = provision.get("type"), consent.get("policyRule")
    if kind == "deny":
        raise ConsentUnmappable("deny", "Consent.provision.type", "a grant permits and can't deny")
    if rule is not None and _codes(rule, ACT_CODE) != ["OPTOUT"]:
        words = "its rule permits what the provision does not speak of"
        raise ConsentUnmappable("policy", "Consent.policyRule", words)
    if kind != "permit" and rule is None:  # R4 leaves the type out at the root, as an exception to the rule
        raise ConsentUnmappable("type", "Consent.provision.type", "it does not say whether it permits or denies")


def _check_labels(provision: dict[str, Any], path: str) -> None:
    """Refuse labels that are no level of confidentiality, wherever they stand, and a level below the normal."""
    labels = provision.get("securityLabel", [])
    codes = [each.get("code", "") if each.get("system") == CONFIDENTIALITY else "" for each in labels]
    if any(len(code) != 1 or code not in _LEVELS for code in codes):
        words = "of labels a grant knows the levels of v3 Confidentiality alone"
        raise ConsentUnmappable("label", f"{path}.securityLabel", words)
    if codes and max(map(_LEVELS.index, codes)) < _LEVELS.index("N"):
        raise ConsentUnmappable("label", f"{path}.securityLabel", "a grant lets normal records be read at least")
    for inner in provision.get("provision", []):
        _check_labels(inner, f"{path}.provision")


def _grantees(consent: Resource, provision: dict[str, Any]) -> list[str]:
    custodians = [each.get("reference") for each in consent.get("organization", [])]
    found: list[str] = []
    for actor in provision.get("actor", []):
        roles, who = _codes(actor.get("role"), PARTICIPATION), actor.get("reference", {})
        if roles == ["CST"] and who.get("reference") in custodians:
            continue  # that this custodian is meant goes without saying
        if roles not in (["IRCP"], ["PRCP"]):
            words = "a grant names recipients, and no other custodian or role"
            raise ConsentUnmappable("role", "Consent.provision.actor.role", words)
        grantee = _grantee(who)
        if grantee not in found:
            found.append(grantee)
    if not found:
        raise ConsentUnmappable("grantee", "Consent.provision.actor", "it is for everybody; a grant is for one")
    return found


def _grantee(who: dict[str, Any]) -> str:
    value = who.get("identifier", {}).get("value")
    account = _ACCOUNT.fullmatch(value) if isinstance(value, str) else None
    if account:
        try:
            return address(account[1])
        except UsageError:
            raise ConsentUnmappable("grantee", "Consent.provision.actor.reference", "the address is none") from None
    reference = who.get("reference")
    if not isinstance(reference, str) or reference.startswith("#"):
        raise ConsentUnmappable("grantee", "Consent.provision.actor.reference", "it does not say who the recipient is")
    return reference


def _logical(kind: str, value: str) -> dict[str, Any]:
    """Return a reference to an account of a chain, by its DID (did:pkh)."""
    return {"type": kind, "identifier": {"system": URIS, "value": value}}


def _codes(concept: Any, system: str) -> list[str]:
    """Return the codes of a concept; those of other systems stand as what no code is."""
    codings = (concept or {}).get("coding", [])
    return [each.get("code", "") if each.get("system") == system else "" for each in codings]


def _bits(table: dict[str, int], codings: list[dict[str, Any]] | None, system: str, name: str) -> int:
    bits = 0
    for each in codings or []:
        try:
            bits |= mask(table, [each.get("code", "") if each.get("system") == system else ""])
        except UnknownName:
            words = "a grant has no such one; those that there are: " + ", ".join(names(table, mask(table, table)))
            raise ConsentUnmappable(name, f"Consent.provision.{name}", words) from None
    return bits


def _period(period: dict[str, Any]) -> tuple[int, int]:
    """Return the seconds from and until before which a period lasts."""
    start, end = period.get("start"), period.get("end")
    return (_span(start)[0] if start else 0), (_span(end)[1] if end else FOREVER)


def _span(text: str) -> tuple[int, int]:
    """Return the first whole second of a FHIR dateTime, and the first after it: a day lasts until its end."""
    matched = _TIME.fullmatch(text)
    if matched is None:
        raise ConsentUnmappable("period", "Consent.provision.period", "its dates are none")
    year, month, day, clock, fraction, zone = matched.groups()
    try:
        first = datetime.fromisoformat(f"{year}-{month or '01'}-{day or '01'}T00:00:00+00:00")
        if clock:
            at = datetime.fromisoformat(f"{year}-{month}-{day}T{clock}{'+00:00' if zone == 'Z' else zone}")
            second = int(at.timestamp())
            return max(second + (1 if fraction and fraction.strip("0") else 0), 0), max(second + 1, 0)
    except (ValueError, OverflowError):
        raise ConsentUnmappable("period", "Consent.provision.period", "its dates are none") from None
    try:
        if day:
            after = first + timedelta(days=1)
        elif month:
            after = (first + timedelta(days=32)).replace(day=1)
        else:
            after = first.replace(year=first.year + 1)
    except (ValueError, OverflowError):  # the end of the calendar, by which people mean for ever
        return max(int(first.timestamp()), 0), FOREVER
    return max(int(first.timestamp()), 0), max(int(after.timestamp()), 0)


def _written(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
