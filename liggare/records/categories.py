"""The bits: which FHIR R4 resource type, which v3 PurposeOfUse code, role and right is which bit.

These tables are part of what patients sign and of what CareRegistry caps, so a bit never changes its meaning;
a new name takes a free bit. `CATEGORIES` are the types of FHIR R4's patient compartment but for Group, Person
and Schedule, which say nothing of one patient. The four first stand apart: 0 is the patient's own resource, 1 to 3 are
all that an insurer can ever be granted. Bit 63 is no type: `RESTRICTED` in a grant lets those of its types be read too
that are labelled higher than normal (`fhir.categories_in` says which); alone it lets nothing be read. `PURPOSES` are
taken one by one: a grant of HPAYMT does not cover COVAUTH, so the patient sees in full what is granted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from liggare.errors import UnknownName

__all__ = [
    "CATEGORIES",
    "EMERGENCIES",
    "GRANTABLE",
    "INSURER_CAP",
    "PURPOSES",
    "RESTRICTED",
    "RIGHTS",
    "ROLES",
    "category_of",
    "mask",
    "names",
]

CATEGORIES: dict[str, int] = {
    name: bit
    for bit, name in enumerate(
        """
        Patient Claim Coverage ExplanationOfBenefit
        Account AdverseEvent AllergyIntolerance Appointment AppointmentResponse AuditEvent Basic BodyStructure
        CarePlan CareTeam ChargeItem ClaimResponse ClinicalImpression Communication CommunicationRequest Composition
        Condition Consent CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue DeviceRequest
        DeviceUseStatement DiagnosticReport DocumentManifest DocumentReference Encounter EnrollmentRequest
        EpisodeOfCare FamilyMemberHistory Flag Goal ImagingStudy Immunization ImmunizationEvaluation
        ImmunizationRecommendation Invoice List MeasureReport Media MedicationAdministration MedicationDispense
        MedicationRequest MedicationStatement MolecularSequence NutritionOrder Observation Procedure Provenance
        QuestionnaireResponse RelatedPerson RequestGroup ResearchSubject RiskAssessment ServiceRequest Specimen
        SupplyDelivery SupplyRequest VisionPrescription
        """.split()  # noqa: SIM905 a table of 63 words
    )
}
"""FHIR R4 resource type -> bit."""

GRANTABLE: dict[str, int] = {**CATEGORIES, "RESTRICTED": 63}
"""What a grant, or an organisation's cap, may name -> bit: the types, and that restricted ones are meant too."""

RESTRICTED = 1 << GRANTABLE["RESTRICTED"]
"""The bit that is asked together with a type's for a record that is labelled higher than normal."""

PURPOSES: dict[str, int] = {
    name: bit
    for bit, name in enumerate(
        [
            "TREAT",  # treatment
            "ETREAT",  # emergency treatment
            "HPAYMT",  # healthcare payment
            "HRESCH",  # healthcare research
            "HOPERAT",  # healthcare operations
            "PUBHLTH",  # public health
            "PATRQT",  # patient requested
            "FAMRQT",  # family requested
            "COC",  # coordination of care
            "BTG",  # break the glass
            "CAREMGT",  # care management
            "CLMATTCH",  # claim attachment
            "COVAUTH",  # coverage authorization
            "COVERAGE",  # coverage under policy or program
            "ELIGDTRM",  # eligibility determination
            "ELIGVER",  # eligibility verification
            "ENROLLM",  # enrollment
            "REMITADV",  # remittance advice
            "BIORCH",  # biomedical research
            "CLINTRCH",  # clinical trial research
            "DSRCH",  # disease specific healthcare research
            "HQUALIMP",  # healthcare quality improvement
            "PATADMIN",  # patient administration
            "PATSFTY",  # patient safety
            "HLEGAL",  # legal
            "PWATRNY",  # power of attorney
            "SUPNWK",  # support network
            "DISASTER",  # disaster
            "THREAT",  # threat
        ]
    )
}
"""Code of HL7 v3 PurposeOfUse -> bit."""

ROLES: dict[str, int] = {"provider": 0, "insurer": 1, "research": 2, "emergency": 3}
"""Role of an organisation -> bit, as in CareRegistry."""

RIGHTS: dict[str, int] = {"grant": 0, "appoint": 1, "recover": 2, "read": 3}
"""Right of a guardian -> bit, as in IRecordAccess."""

EMERGENCIES: tuple[str, ...] = ("ETREAT", "BTG", "DISASTER", "THREAT")
"""The codes of PURPOSES for which the glass may be broken."""

INSURER_CAP = 0b1110
"""The most that an insurer can be granted: Claim, Coverage, ExplanationOfBenefit."""


def mask(table: Mapping[str, int], chosen: Iterable[str]) -> int:
    """Return the bits of these names. Raises UnknownName, naming the nearest that there is."""
    bits = 0
    for name in chosen:
        if name not in table:
            raise UnknownName(name, table)
        bits |= 1 << table[name]
    return bits


def names(table: Mapping[str, int], bits: int) -> tuple[str, ...]:
    """Return the names of the bits, in the order of the bits; a free bit reads `bit31`."""
    known = {bit: name for name, bit in table.items()}
    return tuple(known.get(bit, f"bit{bit}") for bit in range(bits.bit_length()) if bits >> bit & 1)


def category_of(record: str) -> int:
    """Return the category bit of a record's reference ("Observation/f001"). Raises UnknownName."""
    return mask(CATEGORIES, [record.partition("/")[0]])
