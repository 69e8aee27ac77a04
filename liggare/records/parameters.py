"""Which search parameters there are for which types, as HL7 FHIR R4 defines them, and where they look.

A path names members, one after another; a list counts for each of its items, `effective[x]` for whichever form it has,
`a|b` for both. Only parameters that look at one resource alone are here: no chains, nothing of other resources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from liggare.records.categories import CATEGORIES

__all__ = ["COMMON", "PARAMETERS", "Parameter", "values"]


@dataclass(frozen=True)
class Parameter:
    """One search parameter of one type: `kind` is token, date or reference."""

    name: str
    kind: str
    path: str


COMMON = (Parameter("_id", "token", "id"), Parameter("_lastUpdated", "date", "meta.lastUpdated"))
"""What every type has."""

# name kind: types=path …
TABLE = """
patient reference:
    Account,AdverseEvent,Basic,CarePlan,CareTeam,ChargeItem,ClinicalImpression,Communication,CommunicationRequest=subject
    Composition,Condition,DeviceRequest,DiagnosticReport,DocumentManifest,DocumentReference,Encounter,Flag=subject
    Goal,ImagingStudy,Invoice,List,MeasureReport,Media,MedicationAdministration,MedicationDispense=subject
    MedicationRequest,MedicationStatement,Observation,Procedure,QuestionnaireResponse,RequestGroup=subject
    RiskAssessment,ServiceRequest,Specimen,DeviceUseStatement=subject
    AllergyIntolerance,BodyStructure,Claim,ClaimResponse,Consent,CoverageEligibilityRequest=patient
    CoverageEligibilityResponse,DetectedIssue,EpisodeOfCare,ExplanationOfBenefit,FamilyMemberHistory=patient
    Immunization,ImmunizationEvaluation,ImmunizationRecommendation,MolecularSequence,NutritionOrder=patient
    RelatedPerson,SupplyDelivery,VisionPrescription=patient
    Coverage=beneficiary  EnrollmentRequest=candidate  ResearchSubject=individual  Provenance=target
    Appointment=participant.actor  AppointmentResponse=actor  AuditEvent=agent.who|entity.what
subject reference:
    Account,AdverseEvent,Basic,CarePlan,CareTeam,ChargeItem,ClinicalImpression,Communication,CommunicationRequest=subject
    Composition,Condition,DeviceRequest,DiagnosticReport,DocumentManifest,DocumentReference,Encounter,Flag=subject
    Goal,ImagingStudy,Invoice,List,MeasureReport,Media,MedicationAdministration,MedicationDispense=subject
    MedicationRequest,MedicationStatement,Observation,Procedure,QuestionnaireResponse,RequestGroup=subject
    RiskAssessment,ServiceRequest,Specimen=subject  EnrollmentRequest=candidate
beneficiary reference: Coverage=beneficiary
individual reference: ResearchSubject=individual
encounter reference:
    CarePlan,CareTeam,ClinicalImpression,Communication,CommunicationRequest,Composition,Condition,DeviceRequest=encounter
    DiagnosticReport,Flag,List,Media,MedicationRequest,NutritionOrder,Observation,Procedure=encounter
    QuestionnaireResponse,RequestGroup,RiskAssessment,ServiceRequest,VisionPrescription=encounter
    ChargeItem=context  DocumentReference=context.encounter  ImagingStudy=encounter
    Claim,ExplanationOfBenefit=item.encounter
performer reference:
    DiagnosticReport,Observation,ServiceRequest=performer  Procedure,MedicationAdministration=performer.actor
    Immunization,MedicationDispense=performer.actor  CarePlan=activity.detail.performer
requester reference: MedicationRequest,ServiceRequest,DeviceRequest,CommunicationRequest,SupplyRequest=requester
asserter reference: AllergyIntolerance,Condition=asserter
recorder reference: AllergyIntolerance=recorder
author reference: Composition,DocumentManifest,DocumentReference,QuestionnaireResponse,RequestGroup=author
practitioner reference: Encounter=participant.individual
participant reference: Encounter=participant.individual  CareTeam=participant.member
service-provider reference: Encounter=serviceProvider
location reference: Encounter=location.location  Immunization,Procedure=location
medication reference:
    MedicationAdministration,MedicationDispense,MedicationRequest,MedicationStatement=medicationReference
result reference: DiagnosticReport=result
specimen reference: DiagnosticReport,Observation,ServiceRequest=specimen
has-member reference: Observation=hasMember
derived-from reference: Observation=derivedFrom
based-on reference: DiagnosticReport,Observation,Procedure,CarePlan,ServiceRequest,ImagingStudy=basedOn
part-of reference: Observation,Procedure,Encounter,Communication=partOf
reason-reference reference: Encounter,Procedure=reasonReference
diagnosis reference: Encounter=diagnosis.condition
condition reference: CarePlan=addresses  Encounter=diagnosis.condition
goal reference: CarePlan=goal
entry reference: Composition=section.entry
item reference: List=entry.item
target reference: Provenance=target
source reference: Consent=sourceReference  QuestionnaireResponse=source
general-practitioner reference: Patient=generalPractitioner
organization reference: Patient,EpisodeOfCare=managingOrganization  Consent=organization
payor reference: Coverage=payor
provider reference: Claim,ExplanationOfBenefit=provider
insurer reference: Claim,ClaimResponse=insurer
claim reference: ExplanationOfBenefit=claim
coverage reference: ExplanationOfBenefit=insurance.coverage
request reference: ClaimResponse=request
prescription reference: MedicationDispense=authorizingPrescription
identifier token:
    Account,AllergyIntolerance,Appointment,AppointmentResponse,Basic,BodyStructure,CarePlan,CareTeam=identifier
    ChargeItem,Claim,ClaimResponse,ClinicalImpression,Communication,CommunicationRequest,Composition=identifier
    Condition,Consent,Coverage,CoverageEligibilityRequest,CoverageEligibilityResponse,DetectedIssue=identifier
    DeviceRequest,DeviceUseStatement,DiagnosticReport,DocumentManifest,DocumentReference,Encounter=identifier
    EnrollmentRequest,EpisodeOfCare,ExplanationOfBenefit,FamilyMemberHistory,Flag,Goal,ImagingStudy=identifier
    Immunization,ImmunizationEvaluation,ImmunizationRecommendation,Invoice,List,MeasureReport,Media=identifier
    MedicationAdministration,MedicationDispense,MedicationRequest,MedicationStatement=identifier
    MolecularSequence,NutritionOrder,Observation,Patient,Procedure,QuestionnaireResponse,RelatedPerson=identifier
    RequestGroup,ResearchSubject,RiskAssessment,ServiceRequest,Specimen,SupplyDelivery,SupplyRequest=identifier
    VisionPrescription,Practitioner,PractitionerRole,Organization,Location,Medication,Device=identifier
code token:
    Basic,ChargeItem,Condition,DetectedIssue,DiagnosticReport,List,Observation,Procedure,ServiceRequest=code
    AllergyIntolerance=code|reaction.substance  DeviceRequest=codeCodeableConcept  FamilyMemberHistory=condition.code
    MedicationAdministration,MedicationDispense,MedicationRequest,MedicationStatement=medicationCodeableConcept
    Medication=code
combo-code token: Observation=code|component.code
component-code token: Observation=component.code
vaccine-code token: Immunization=vaccineCode
category token:
    AdverseEvent,AllergyIntolerance,CarePlan,CareTeam,Communication,CommunicationRequest,Composition=category
    Condition,Consent,DiagnosticReport,DocumentReference,Goal,MedicationRequest,MedicationStatement=category
    Observation,Procedure,ServiceRequest,SupplyRequest=category
type token:
    Account,Composition,Coverage,DocumentManifest,DocumentReference,Encounter,EpisodeOfCare,Invoice=type
    Specimen,Organization,Location=type
class token: Encounter=class
status token:
    Account,Appointment,CarePlan,CareTeam,Claim,ClaimResponse,ClinicalImpression,Communication=status
    CommunicationRequest,Composition,Consent,Coverage,CoverageEligibilityRequest=status
    CoverageEligibilityResponse,DeviceRequest,DiagnosticReport,DocumentManifest,DocumentReference,Encounter=status
    EnrollmentRequest,EpisodeOfCare,ExplanationOfBenefit,FamilyMemberHistory,ImagingStudy,Immunization=status
    ImmunizationEvaluation,Invoice,List,MeasureReport,Media,MedicationAdministration,MedicationDispense=status
    MedicationRequest,MedicationStatement,NutritionOrder,Observation,Procedure,QuestionnaireResponse=status
    RequestGroup,ResearchSubject,ServiceRequest,Specimen,SupplyDelivery,SupplyRequest,VisionPrescription=status
intent token: CarePlan,DeviceRequest,MedicationRequest,RequestGroup,ServiceRequest=intent
use token: Claim=use
clinical-status token: AllergyIntolerance,Condition=clinicalStatus
verification-status token: AllergyIntolerance,Condition=verificationStatus
lifecycle-status token: Goal=lifecycleStatus
gender token: Patient,RelatedPerson,Practitioner=gender
birthdate date: Patient,RelatedPerson=birthDate
date date:
    AllergyIntolerance=recordedDate  AdverseEvent,ClinicalImpression,Composition,FamilyMemberHistory=date
    DocumentReference,ImmunizationEvaluation,ImmunizationRecommendation,Invoice,List,MeasureReport=date
    Appointment=start  AuditEvent=recorded  Consent=dateTime  SupplyRequest=authoredOn
    CarePlan,CareTeam,Encounter,EpisodeOfCare,Flag,ResearchSubject=period  DiagnosticReport,Observation=effective[x]
    Immunization,RiskAssessment=occurrence[x]  Procedure=performed[x]  MedicationRequest=dosageInstruction.timing
period date: Account=servicePeriod
onset-date date: Condition=onset[x]
recorded-date date: Condition=recordedDate
created date: Claim,ClaimResponse,CoverageEligibilityRequest,CoverageEligibilityResponse,DocumentManifest=created
    ExplanationOfBenefit=created  Media=created[x]
authoredon date: MedicationRequest=authoredOn
authored date: ServiceRequest=authoredOn  QuestionnaireResponse=authored
authored-on date: DeviceRequest=authoredOn
occurrence date: ServiceRequest=occurrence[x]
effective date: MedicationStatement=effective[x]
effective-time date: MedicationAdministration=effective[x]
whenhandedover date: MedicationDispense=whenHandedOver
whenprepared date: MedicationDispense=whenPrepared
collected date: Specimen=collection.collected[x]
started date: ImagingStudy=started
sent date: Communication=sent
received date: Communication=received
datetime date: NutritionOrder=dateTime
datewritten date: VisionPrescription=dateWritten
recorded date: Provenance=recorded
identified date: DetectedIssue=identified[x]
entered-date date: ChargeItem=enteredDate
start-date date: Goal=startDate
target-date date: Goal=target.dueDate
issued date: DiagnosticReport=issued
"""


def _read(table: str) -> dict[str, dict[str, Parameter]]:
    found: dict[str, dict[str, Parameter]] = {kind: {} for kind in CATEGORIES}
    name = kind = ""
    for line in table.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            name, kind, words = words[0], words[1].rstrip(":"), words[2:]
        for word in words:
            types, _, path = word.partition("=")
            for each in types.split(","):
                found.setdefault(each, {})[name] = Parameter(name, kind, path)
    return found


PARAMETERS = _read(TABLE)
"""Type -> name -> parameter, beside COMMON."""


def values(resource: dict[str, Any], path: str) -> Iterator[Any]:
    """Yield what a resource has at a path."""
    for way in path.split("|"):
        yield from _walk(resource, way.split("."))


def _walk(value: Any, steps: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _walk(each, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict):
        step, rest = steps[0], steps[1:]
        if step.endswith("[x]"):
            stem = step[:-3]
            for name, each in value.items():
                if name.startswith(stem) and name[len(stem) :][:1].isupper():
                    yield from _walk(each, rest)
        elif step in value:
            yield from _walk(value[step], rest)
