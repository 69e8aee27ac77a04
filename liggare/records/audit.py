"""What is written down of each release: a FHIR AuditEvent (IHE BALP), and the evidence for it.

    release -> AuditEvent + sign-in + shares + block -> entry of the log, with its number among the patient's own

An entry holds all that anyone needs to judge the release again: what the reader signed, the grants shown, and the block
at which the ledger let it. It also tells who reads whom, so it stays with the custodian; a patient sees its own.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple

from eth_typing import ChecksumAddress

from liggare.errors import DataError, LiggareError
from liggare.messages import address
from liggare.records.categories import PURPOSES
from liggare.records.messages import RECORD
from liggare.records.share import Share
from liggare.records.signin import digest

__all__ = ["FORM", "Logged", "Release", "audit_event", "entry", "index_entry", "opened"]

FORM = "access/1"

PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
DCM = "http://dicom.nema.org/resources/ontology/DCM"
ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
RESTFUL = "http://hl7.org/fhir/restful-interaction"
ADDRESS = "urn:liggare:address"
"""The identifier system of Ethereum addresses: organisations, pseudonyms, custodians."""

INTERACTIONS: dict[str, tuple[str, ...]] = {
    "read": ("read",),
    "vread": ("vread",),
    "search": ("search-type",),
    "everything": ("search", "operation"),  # BALP wants one code of a search; `operation` says which
}
"""How a release came about -> FHIR's codes of it."""
VERSIONED = re.compile(rf"({RECORD.pattern})(/_history/[A-Za-z0-9.-]{{1,64}})?")
HASH = re.compile(r"0x[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """One answer that shows a reader one patient's records, or that there are none.

    It stands on the patient's `shares`, or on a glass broken (`emergency`), or on neither: then the reader is the
    patient itself or a guardian. Making one raises DataError where it says what no release can be.
    """

    custodian: ChecksumAddress
    server: str
    """The gatekeeper's own public URL."""
    client: str
    """Where the request came from: an IP address or a host's name."""
    reader: ChecksumAddress
    patient: ChecksumAddress
    """The pseudonym."""
    purpose: str
    """A code of PURPOSES."""
    interaction: str
    """One of INTERACTIONS."""
    query: str
    """Of a search or `everything` the request as far as it is about this patient ("Observation?code=…"), else empty."""
    records: tuple[str, ...]
    """What was released: "Observation/f001", or with its version "Observation/f001/_history/2"."""
    time: int
    """Unix seconds."""
    block: int
    """The block whose state let it, and its hash, 0x…"""
    block_hash: str
    message: str
    """The sign-in as the reader signed it (ERC-4361), and the signature."""
    signature: bytes
    shares: tuple[Share, ...] = ()
    emergency: bool = False

    def __post_init__(self) -> None:
        for who in (self.custodian, self.reader, self.patient):
            if address(who) != who:
                raise DataError(f"a release names addresses with their checksum, not {who}")
        if self.purpose not in PURPOSES or self.interaction not in INTERACTIONS:
            raise DataError(
                f"a release is for a known purpose by a known way, not {self.purpose} by {self.interaction}"
            )
        one = self.interaction in ("read", "vread")
        if one is bool(self.query) or (one and len(self.records) != 1):
            raise DataError("a read releases one record and has no query, a search has one")
        if not all(VERSIONED.fullmatch(record) for record in self.records):
            raise DataError("a release names records by type and id, such as Observation/f001")
        if self.interaction == "vread" and "/_history/" not in self.records[0]:
            raise DataError("a read of a version names the version")
        if any((share.patient, share.grantee) != (self.patient, self.reader) for share in self.shares):
            raise DataError("a release stands on shares of its own patient and reader")
        if self.emergency and self.shares:
            raise DataError("a release stands on shares or on a glass broken, not on both")
        if not HASH.fullmatch(self.block_hash) or self.block < 0 or not 0 <= self.time < 2**36:
            raise DataError("a release names its time, and its block by number and hash")
        if not (self.server and self.client and self.message):
            raise DataError("a release says where it was asked for and served, and by which sign-in")

    @property
    def policies(self) -> list[str]:
        """What let the reader read, as in the sign-in."""
        if self.shares:
            return [f"urn:liggare:share:0x{digest(share).hex()}" for share in self.shares]
        return [f"urn:liggare:{'emergency' if self.emergency else 'patient'}:{self.patient}"]


def audit_event(release: Release) -> dict[str, Any]:
    """Return a release as a FHIR R4 AuditEvent, by BALP's PatientRead or PatientQuery.

    The two profiles name client and server the other way round: who asks is the source of a query.
    """
    query = release.interaction in ("search", "everything")
    asking, serving = (_source(), _destination()) if query else (_destination(), _source())
    purpose = [{"coding": [_coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", release.purpose)]}]
    custodian, reader = _identified(release.custodian), _identified(release.reader)
    agents = [
        {"type": asking, "who": reader, "requestor": False, "network": _network(release.client)},
        {
            "type": serving,
            "who": custodian,
            "requestor": False,
            "network": {"address": release.server, "type": "5"},
        },
        {
            "type": _concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
            "who": reader,
            "requestor": True,
            "policy": release.policies,
            "purposeOfUse": purpose,
        },
    ]
    patient = {
        "what": {**_identified(release.patient), "type": "Patient"},
        "type": _coding(ENTITY, "1"),
        "role": _coding(ROLE, "1"),
    }
    return {
        "resourceType": "AuditEvent",
        "meta": {"profile": [PROFILE + ("PatientQuery" if query else "PatientRead")]},
        "type": _coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
        "subtype": [_coding(RESTFUL, code) for code in INTERACTIONS[release.interaction]],
        "action": "E" if query else "R",
        "recorded": datetime.fromtimestamp(release.time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "outcome": "0",
        "purposeOfEvent": purpose,
        "agent": agents,
        "source": {
            "site": release.server,
            "observer": custodian,
            "type": [_coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4")],
        },
        "entity": [patient, *(_queried(release) if query else [_shown(release.records[0], _coding(ENTITY, "2"))])],
    }


def _queried(release: Release) -> list[dict[str, Any]]:
    """Return the query and what it found; the latter by other types than `2`, which stands for the query alone."""
    raw = base64.b64encode(release.query.encode()).decode()
    query = {"type": _coding(ENTITY, "2"), "role": _coding(ROLE, "24"), "query": raw}
    types = "http://hl7.org/fhir/resource-types"
    found = [_shown(record, _coding(types, record.partition("/")[0])) for record in release.records]
    return [query, *found]


def _shown(record: str, kind: dict[str, str]) -> dict[str, Any]:
    return {"what": {"reference": record}, "type": kind, "role": _coding(ROLE, "4")}


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": system, "code": code}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [_coding(system, code)]}


def _source() -> dict[str, Any]:
    return _concept(DCM, "110153")


def _destination() -> dict[str, Any]:
    return _concept(DCM, "110152")


def _identified(who: str) -> dict[str, Any]:
    return {"identifier": {"system": ADDRESS, "value": who}}


def _network(client: str) -> dict[str, str]:
    try:
        ipaddress.ip_address(client)
    except ValueError:
        return {"address": client, "type": "1"}
    return {"address": client, "type": "2"}


# ------------------------------------------------------------------ entries


class Logged(NamedTuple):
    """A release as it stands in the log: the patient's `serial`th, after the one whose leaf hash is `previous`."""

    release: Release
    serial: int
    previous: bytes


def entry(release: Release, serial: int, previous: bytes) -> dict[str, Any]:
    """Return what the log keeps of a release.

    `serial` counts the patient's entries from 1; `previous` is the leaf hash of the patient's entry before, 32 zero
    bytes for the first.
    """
    return {
        "liggare": FORM,
        "kind": "release",
        "patient": release.patient,
        "serial": serial,
        "previous": "0x" + previous.hex(),
        "block": release.block,
        "blockHash": release.block_hash,
        "event": audit_event(release),
        "signIn": {"message": release.message, "signature": "0x" + release.signature.hex()},
        "shares": [share.document() for share in release.shares],
    }


def index_entry(root: bytes) -> dict[str, Any]:
    """Return what the log keeps of its own index: the root over all entries before this one."""
    return {"liggare": FORM, "kind": "index", "root": "0x" + root.hex()}


def opened(kept: Mapping[str, Any]) -> Logged:
    """Return the release that an entry tells of. Raises DataError where it is not exactly as `entry` writes it."""
    try:
        event, signed = kept["event"], kept["signIn"]
        client, server, user = event["agent"]
        codes = tuple(coding["code"] for coding in event["subtype"])
        interaction = next(name for name, known in INTERACTIONS.items() if known == codes)
        entities = event["entity"][1:]
        queries = [one["query"] for one in entities if "query" in one]
        release = Release(
            address(event["source"]["observer"]["identifier"]["value"]),
            server["network"]["address"],
            client["network"]["address"],
            address(user["who"]["identifier"]["value"]),
            address(kept["patient"]),
            event["purposeOfEvent"][0]["coding"][0]["code"],
            interaction,
            base64.b64decode(queries[0], validate=True).decode() if queries else "",
            tuple(one["what"]["reference"] for one in entities if "what" in one),
            int(datetime.strptime(event["recorded"], "%Y-%m-%dT%H:%M:%S%z").timestamp()),
            kept["block"],
            kept["blockHash"],
            signed["message"],
            bytes.fromhex(signed["signature"][2:]),
            tuple(Share.from_document(share) for share in kept["shares"]),
            user["policy"][0].startswith("urn:liggare:emergency:"),
        )
        found = Logged(release, kept["serial"], bytes.fromhex(kept["previous"][2:]))
        same = entry(*found) == kept
    except (LiggareError, LookupError, TypeError, ValueError, AttributeError, StopIteration) as exc:
        raise DataError(f"no entry of the form {FORM}: {exc!r}") from None
    if not same or type(found.serial) is not int or type(release.block) is not int:
        raise DataError(f"the entry is not as an entry of the form {FORM} is written")
    return found
