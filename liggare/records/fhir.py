"""FHIR R4 resources as plain dicts: read strictly, written as they came, and whose record each one is.

    text -> parse -> dict -> chart_of (whose), charts_in (whom it names), categories_in (what reading it takes) -> dump

A *chart* is a reference to one of the custodian's patients, such as "Patient/f001". `COMPARTMENT` is R4's patient
compartment; nothing is released that names another patient too, however it does. All here are pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias
from urllib.parse import unquote

import simplejson
from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.resource import Resource as Model
from pydantic import ValidationError

from liggare.errors import ResourceInvalid
from liggare.records.categories import CATEGORIES, RESTRICTED

__all__ = ["COMPARTMENT", "SHARED", "Resource", "categories_in", "chart_of", "charts_in", "dump", "load", "parse"]

Resource: TypeAlias = dict[str, Any]
"""A resource; its decimals are `Decimal`, so that 1.50 comes out as 1.50."""

LARGEST = 4 * 2**20
"""Bytes of a resource at most; the largest of HL7's examples has a quarter of it."""
DEEPEST = 64
"""Levels of nesting at most."""
FARTHEST = 400
"""Decimal places of a number at most, to either side: more would take memory, not precision."""

COMPARTMENT: dict[str, tuple[tuple[str, ...], ...]] = {
    line.split()[0]: tuple(tuple(group.split("+")) for group in line.split()[1:])
    for line in """
    Account subject
    AdverseEvent subject
    AllergyIntolerance patient recorder asserter
    Appointment participant.actor
    AppointmentResponse actor
    AuditEvent agent.who+entity.what
    Basic subject author
    BodyStructure patient
    CarePlan subject activity.detail.performer
    CareTeam subject participant.member
    ChargeItem subject
    Claim patient payee.party
    ClaimResponse patient
    ClinicalImpression subject
    Communication subject sender recipient
    CommunicationRequest subject sender recipient requester
    Composition subject author attester.party
    Condition subject asserter
    Consent patient
    Coverage beneficiary policyHolder subscriber payor
    CoverageEligibilityRequest patient
    CoverageEligibilityResponse patient
    DetectedIssue patient
    DeviceRequest subject performer
    DeviceUseStatement subject
    DiagnosticReport subject
    DocumentManifest subject author recipient
    DocumentReference subject author
    Encounter subject
    EnrollmentRequest candidate
    EpisodeOfCare patient
    ExplanationOfBenefit patient payee.party
    FamilyMemberHistory patient
    Flag subject
    Goal subject
    Group member.entity
    ImagingStudy subject
    Immunization patient
    ImmunizationEvaluation patient
    ImmunizationRecommendation patient
    Invoice subject recipient
    List subject source
    MeasureReport subject
    Media subject
    MedicationAdministration subject performer.actor
    MedicationDispense subject receiver
    MedicationRequest subject
    MedicationStatement subject
    MolecularSequence patient
    NutritionOrder patient
    Observation subject performer
    Patient link.other
    Person link.target
    Procedure subject performer.actor
    Provenance target
    QuestionnaireResponse subject author
    RelatedPerson patient
    RequestGroup subject action.participant
    ResearchSubject individual
    RiskAssessment subject
    Schedule actor
    ServiceRequest subject performer
    Specimen subject
    SupplyDelivery patient
    SupplyRequest deliverTo
    VisionPrescription patient
    """.strip().splitlines()
}
"""Type -> the elements by which R4's patient compartment takes it in; the first that is there says whose it is."""

SHARED = frozenset(
    """
    ActivityDefinition CapabilityStatement ChargeItemDefinition CodeSystem CompartmentDefinition ConceptMap Device
    DeviceDefinition Endpoint EventDefinition Evidence EvidenceVariable ExampleScenario GraphDefinition
    HealthcareService ImplementationGuide InsurancePlan Library Location Measure Medication MedicationKnowledge
    MessageDefinition NamingSystem ObservationDefinition OperationDefinition Organization OrganizationAffiliation
    PlanDefinition Practitioner PractitionerRole Questionnaire ResearchDefinition ResearchElementDefinition
    ResearchStudy SearchParameter SpecimenDefinition StructureDefinition StructureMap Substance
    TerminologyCapabilities ValueSet
    """.split()  # noqa: SIM905 a table of words
)
"""Types that are about no patient, and go along with a record that needs them; one that names a patient does not.

Not here though they are in no compartment: what carries other resources (Bundle, Parameters, Binary), what may be about
a patient (Contract, Task, GuidanceResponse, …) and what tells of those that are (Slot, Subscription, Linkage, …).
"""

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_NOT_HIGHER = {
    _CONFIDENTIALITY: frozenset({"U", "L", "M", "N"}),  # unrestricted, low, moderate, normal
    "http://terminology.hl7.org/CodeSystem/v3-ActReason": None,  # what it may be used for, such as HTEST
    "http://terminology.hl7.org/CodeSystem/v3-ObservationValue": None,  # how whole it is, such as SUBSETTED
}
"""Code system -> its labels that are no higher than normal, None for all. Any other label restricts, also one that
nobody here knows: the sensitivities of v3-ActCode (PSY, HIV, …), a house's own, one without a system."""
_LABELS = {"AuditEvent": "entity.securityLabel", "DocumentReference": "securityLabel"}
"""Type -> where labels stand beside `meta.security`: those of the document or the record that it speaks of."""

_ELEMENT = re.compile(r"_?[a-z][A-Za-z0-9]*")
_IDENTITY = re.compile(r"[A-Za-z0-9.-]{1,64}")
_RELATIVE = re.compile(r"([A-Z][A-Za-z]*)/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?")
_ABSOLUTE = re.compile(r"https?://\S+/([A-Z][A-Za-z]*)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?")
_TO_PATIENT = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://\S+/|/)?Patient[/?]\S+")
_LINK = re.compile(r"""(?:href|src)\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)
_REFERENCE = {"id", "extension", "reference", "_reference", "type", "_type", "identifier", "display", "_display"}
_WORDS = {"display", "text"}
"""Elements that hold words for people to read, which name nobody."""


# ---------------------------------------------------------------------- reading and writing


def parse(text: bytes) -> Resource:
    """Read a resource of FHIR R4 from JSON, taking nothing for granted.

    Raises ResourceInvalid, naming the element that is off but never its value, which may tell of a patient.
    """
    if len(text) > LARGEST:
        raise ResourceInvalid("", f"it has more than {LARGEST:,} bytes")
    try:
        resource = simplejson.loads(
            text.decode("utf-8"), use_decimal=True, object_pairs_hook=_object, parse_constant=_no_number
        )
    except UnicodeDecodeError:
        raise ResourceInvalid("", "it is no UTF-8") from None
    except RecursionError:
        raise ResourceInvalid("", f"it nests deeper than {DEEPEST} levels") from None
    except ValueError as exc:  # their texts may quote
        where = f" (line {exc.lineno}, column {exc.colno})" if isinstance(exc, simplejson.JSONDecodeError) else ""
        raise ResourceInvalid("", f"it is no JSON{where}") from None
    if not isinstance(resource, dict):
        raise ResourceInvalid("", "it is no object")
    kind = resource.get("resourceType")
    if not isinstance(kind, str) or not _is_type(kind):
        raise ResourceInvalid("resourceType", "it names no resource type of FHIR R4")
    _check_values(resource, kind, 1)
    _check_model(resource, kind)
    return resource


def load(text: bytes) -> Resource:
    """Read what `dump` wrote, without looking at it again."""
    resource: Resource = simplejson.loads(text.decode(), use_decimal=True)
    return resource


def dump(resource: Resource) -> bytes:
    """Return the resource as compact JSON, elements in their order, numbers with the digits that they came with."""
    text: str = simplejson.dumps(resource, use_decimal=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _object(pairs: list[tuple[str, Any]]) -> Resource:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ResourceInvalid(twice if _ELEMENT.fullmatch(twice) else "", "it is there twice")
    return made


def _no_number(_: str) -> Any:
    raise ResourceInvalid("", "it has a number that is none (NaN or Infinity)")


@lru_cache(None)
def _is_type(kind: str) -> bool:
    try:
        model = get_fhir_model_class(kind)
    except (KeyError, ValueError, LookupError, ImportError):
        return False
    return issubclass(model, Model) and kind not in ("Resource", "DomainResource")


def _are_resources(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and _is_type(str(each.get("resourceType"))) for each in value
    )


def _check_values(value: Any, path: str, depth: int) -> None:
    """Refuse what the models let through or can't stand: nulls, empty things, odd names, endless numbers."""
    if depth > DEEPEST:
        raise ResourceInvalid("", f"it nests deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _ELEMENT.fullmatch(name):  # Python's names of elements would pass too, such as class_fhir
                raise ResourceInvalid(path, "it has a member that is no element")
            if inner is None or inner in ("", [], {}):
                raise ResourceInvalid(f"{path}.{name}", "it is empty")
            if name == "contained" and not _are_resources(inner):
                raise ResourceInvalid(f"{path}.{name}", "one of them names no resource type of FHIR R4")
            _check_values(inner, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_values(inner, f"{path}[{number}]", depth + 1)
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ResourceInvalid(path, "it has half a character")
    elif isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or abs(exponent) > FARTHEST or abs(value.adjusted()) > FARTHEST:
            raise ResourceInvalid(path, "the number is too large or too fine")
    elif isinstance(value, int) and value.bit_length() > 4 * FARTHEST:
        raise ResourceInvalid(path, "the number is too large")


def _check_model(resource: Resource, kind: str) -> None:
    """Let the models of `fhir.resources` judge. They turn "true" into true and 5 into a date: find that out too."""
    try:
        model = get_fhir_model_class(kind).model_validate(resource)
        made = simplejson.loads(model.model_dump_json(), use_decimal=True)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        raise ResourceInvalid(
            _path(kind, first["loc"]), _PROBLEMS.get(first["type"], "it is not of its form")
        ) from None
    except (KeyError, LookupError, ValueError, TypeError, ArithmeticError):
        raise ResourceInvalid(kind, "something in it is not of its form") from None
    odd = next(_differences(resource, made, kind), None)
    if odd is not None:
        raise ResourceInvalid(odd, "it is not of its JSON type")


_PROBLEMS = {
    "extra_forbidden": "there is no such element",
    "model_field_validation.missing": "it is required",
    "missing": "it is required",
    "string_type": "it is text",
}


def _path(kind: str, location: Iterable[int | str]) -> str:
    return kind + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


def _differences(given: Any, made: Any, path: str) -> Iterator[str]:
    """Yield where two JSON values differ in form; in numbers and texts, forms may differ in value."""
    if isinstance(given, dict) and isinstance(made, dict):
        for name in [*given, *made]:
            if name not in given or name not in made:
                yield f"{path}.{name}"
            else:
                yield from _differences(given[name], made[name], f"{path}.{name}")
    elif isinstance(given, list) and isinstance(made, list):
        if len(given) != len(made):
            yield path
        for number, (one, other) in enumerate(zip(given, made, strict=False)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif _form(given) != _form(made):
        yield path


def _form(value: Any) -> type:
    number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    return Decimal if number else type(value)


# ---------------------------------------------------------------------- whose it is, and whom it names


def chart_of(resource: Resource) -> str | None:
    """Return the chart of the one patient whose record this is, or None where it is nobody's or not one's alone.

    In the compartment, the first element of `COMPARTMENT` that is there decides: an Observation of a group is nobody's,
    though a patient performed it. Outside of it, it is the one patient whom the resource names at all, if any.
    """
    kind = resource.get("resourceType")
    if kind == "Patient":
        identity = resource.get("id")
        return f"Patient/{identity}" if isinstance(identity, str) and _IDENTITY.fullmatch(identity) else None
    if kind not in COMPARTMENT:
        return _only(charts_in(resource))
    for group in COMPARTMENT[kind]:
        there = [value for path in group for value in _at(resource, path.split("."))]
        if there:
            named = (value.get("reference") for value in there if isinstance(value, dict))
            return _only({text for text in named if isinstance(text, str) and _is_patient(text)})
    return None


def charts_in(resource: Resource) -> frozenset[str]:
    """Return every patient whom the resource names, in whatever way.

    Those of this custodian as charts; all others, such as a contained Patient, one at an absolute address, one named
    by an identifier, or a reference that can't be understood where a patient may stand, as something that is no chart
    of anybody. Prose is not read: a name in a narrative's text stays unseen, a link in it does not.
    """
    kind = resource.get("resourceType")
    contained: dict[str, str] = {}
    for inner in _resources(resource):
        identity = inner.get("id")
        if inner is not resource and isinstance(identity, str) and contained.get(identity) != "Patient":
            contained[identity] = str(inner.get("resourceType"))  # of two with one id the Patient counts
    found: set[str] = set()
    if kind == "Patient":
        found.add(chart_of(resource) or "Patient without id")
    _collect(resource, "", kind if isinstance(kind, str) else "", contained, found, root=True)
    return frozenset(found)


def categories_in(resource: Resource) -> int | None:
    """Return the category bits that it takes to read the resource with all that it contains, 0 for a shared one.

    RESTRICTED is among them where it, or something in it, is labelled higher than normal: a Confidentiality of R or V,
    a sensitivity, or a label that is not known to be no higher.
    None where it is never released: a type without a bit that is not shared, such as Group, Person, Schedule or Bundle.
    """
    bits = 0
    for inner in _resources(resource):
        kind = inner.get("resourceType")
        if _is_restricted(inner):
            bits |= RESTRICTED
        if kind in CATEGORIES:
            bits |= 1 << CATEGORIES[kind]
        elif kind not in SHARED:
            return None
    return bits


def _is_restricted(resource: Resource) -> bool:
    """Tell whether a resource by itself is labelled higher than normal."""
    kind = resource["resourceType"]
    labels = _at(resource, ["meta", "security"])
    if kind in _LABELS:
        for concept in _at(resource, _LABELS[kind].split(".")):
            labels += (isinstance(concept, dict) and concept.get("coding")) or [None]  # one in words alone is unknown
    if kind == "Composition":
        codes = _at(resource, ["confidentiality"])
        labels += [{"system": _CONFIDENTIALITY, "code": code} for code in codes]
    return not all(_is_no_higher(label) for label in labels)


def _is_no_higher(label: Any) -> bool:
    system = label.get("system") if isinstance(label, dict) else None
    if system not in _NOT_HIGHER:
        return False
    codes = _NOT_HIGHER[system]
    return codes is None or label.get("code") in codes


def _only(names: Iterable[str]) -> str | None:
    charts = {_chart(name) for name in names}
    return charts.pop() if len(charts) == 1 else None


def _chart(reference: str) -> str | None:
    matched = _RELATIVE.fullmatch(reference)
    return f"Patient/{matched[2]}" if matched and matched[1] == "Patient" else None


def _is_patient(reference: str) -> bool:
    """Tell whether a reference at an element that says whose record it is names a patient of any place."""
    matched = _RELATIVE.fullmatch(reference) or _ABSOLUTE.fullmatch(reference)
    return not matched or matched[1] == "Patient"


def _at(value: Any, path: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for each in value for found in _at(each, path)]
    if not path:
        return [value]
    return _at(value[path[0]], path[1:]) if isinstance(value, dict) and path[0] in value else []


def _resources(value: Any) -> list[Resource]:
    """Return the resource and all that stand in it, contained or as entries, in no certain order."""
    found, left = [], [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if isinstance(each.get("resourceType"), str):
                found.append(each)
            left += [inner for inner in each.values() if isinstance(inner, (dict, list))]
        elif isinstance(each, list):
            left += each
    return found


def _collect(
    value: Any, name: str, kind: str, contained: dict[str, str], found: set[str], *, root: bool = False
) -> None:
    if isinstance(value, list):
        for inner in value:
            _collect(inner, name, kind, contained, found)
    elif isinstance(value, dict):
        inside = value.get("resourceType")
        if isinstance(inside, str) and not root:
            kind = inside
            if inside == "Patient":
                found.add(f"#{value.get('id')}")
        if _REFERENCE.issuperset(value):
            named = _named(value, name, kind, contained)
            if named is not None:
                found.add(named)
        for inner_name, inner in value.items():
            if not isinstance(inner, str) or "Patient" in inner or inner_name == "div":  # most say nothing
                _collect(inner, inner_name, kind, contained, found)
    elif isinstance(value, str):
        if name == "div":
            links = [link for link in _LINK.findall(value) if _TO_PATIENT.fullmatch(unquote(link))]
            found.update(_chart(link) or link for link in links)
        elif name not in _WORDS and "Patient" in value and _TO_PATIENT.fullmatch(value):
            found.add(_chart(value) or value)


def _named(reference: Resource, name: str, kind: str, contained: dict[str, str]) -> str | None:
    """Return whom a Reference names, if that is a patient or can't be known."""
    target, stated = reference.get("reference"), reference.get("type")
    stated = stated.rpartition("/")[2] if isinstance(stated, str) else None
    unsure = stated is None and _may_name_patient(kind, name)
    if not isinstance(target, str):
        logical = isinstance(reference.get("identifier"), dict)
        return "a patient named otherwise" if stated == "Patient" or (logical and unsure) else None
    if target.startswith("#"):
        held = contained.get(target[1:])
        return target if held == "Patient" or (held is None and target != "#" and unsure) else None
    text = unquote(target)
    matched = _RELATIVE.fullmatch(text)
    if matched:
        return _chart(text)
    if "patient" in text.lower():
        return text
    if _ABSOLUTE.fullmatch(text):
        return None
    return text if stated == "Patient" or unsure else None


@lru_cache(None)
def _may_name_patient(kind: str, name: str) -> bool:
    """Tell whether a reference at elements of this name, in resources of this type, may be to a Patient."""
    return not _is_type(kind) or name in _naming(kind) or name in _naming("Element")


@lru_cache(None)
def _naming(kind: str) -> frozenset[str]:
    """Return the names of a type's elements whose references may be to a Patient; of the data types for Element."""
    modules = (
        [kind] if kind != "Element" else ["annotation", "dataRequirement", "extension", "signature", "usageContext"]
    )
    names = set()
    for module in modules:
        for item in vars(import_module(f"fhir.resources.R4B.{module.lower()}")).values():
            for field, about in getattr(item, "model_fields", {}).items():
                extra = about.json_schema_extra
                targets = extra.get("enum_reference_types") if isinstance(extra, dict) else None
                if targets is not None and (not targets or {"Patient", "Resource", "Any"} & set(targets)):
                    names.add(about.alias or field)
    return frozenset(names)
