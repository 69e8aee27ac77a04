"""A custodian's records: a folder of FHIR R4 resources, and which pseudonym is which of its patients.

    <folder>/Observation-f001.json    one resource each, named by type and id
    <folder>/pseudonyms.json          {"0x…": ["Patient/f001"]}

A patient has another pseudonym for each organisation that may read; the custodian, who knows the patient, links
them. Several charts under one pseudonym are one person's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from liggare.errors import DataError
from liggare.messages import address
from liggare.records.messages import RECORD

__all__ = ["Vault", "subjects"]

LINKS = "pseudonyms.json"
SUBJECT_MEMBERS = ("subject", "patient", "beneficiary", "individual")
"""Members by which FHIR R4's patient compartment names the patient, in the types that we have a category for."""


def subjects(resource: dict[str, Any]) -> set[str]:
    """Return the references of the patients that a resource is about."""
    if resource.get("resourceType") == "Patient":
        return {f"Patient/{resource.get('id')}"}
    named = (resource.get(member) for member in SUBJECT_MEMBERS)
    return {one["reference"] for one in named if isinstance(one, dict) and isinstance(one.get("reference"), str)}


class Vault:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def link(self, pseudonym: str, *charts: str) -> None:
        """Note that a pseudonym is the patient of these charts ("Patient/f001"); adds to what was noted."""
        links = self._links()
        for chart in charts:
            if not (RECORD.fullmatch(chart) and chart.startswith("Patient/")):
                raise DataError(f"{chart!r} is no chart, such as Patient/f001")
        key = address(pseudonym)
        links[key] = sorted({*links.get(key, []), *charts})
        partial = self.folder / f".{LINKS}.{os.getpid()}"
        partial.touch(mode=0o600)  # it tells who is who
        partial.write_text(json.dumps(links, indent=2, sort_keys=True) + "\n")
        partial.replace(self.folder / LINKS)

    def charts(self, pseudonym: str) -> frozenset[str]:
        """Return the charts of a pseudonym; empty for one that nobody linked."""
        return frozenset(self._links().get(address(pseudonym), []))

    def find(self, pseudonym: str, record: str) -> dict[str, Any] | None:
        """Return a record of this patient's, or None where there is none, or it is not about this patient alone."""
        if not RECORD.fullmatch(record):
            return None
        charts = self.charts(pseudonym)
        kind, _, identity = record.partition("/")
        try:
            resource = json.loads((self.folder / f"{kind}-{identity}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as exc:
            raise DataError(f"{record} is no JSON: {exc}") from None
        if not isinstance(resource, dict) or (resource.get("resourceType"), resource.get("id")) != (kind, identity):
            raise DataError(f"the file of {record} holds another resource")
        about = subjects(resource)
        return resource if about and about <= charts else None

    def _links(self) -> dict[str, list[str]]:
        try:
            links = json.loads((self.folder / LINKS).read_text())
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise DataError(f"{LINKS} is no JSON: {exc}") from None
        if not isinstance(links, dict):
            raise DataError(f"{LINKS} is no table of pseudonyms")
        return links
