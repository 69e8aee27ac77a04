"""The gatekeeper's documents in FHIR's forms: outcomes, bundles, and what the server says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import Response

from liggare import __version__
from liggare.errors import ResourceInvalid, SearchInvalid
from liggare.records.desk import Found
from liggare.records.fhir import Resource, dump, parse
from liggare.records.parameters import COMMON, PARAMETERS
from liggare.records.release import KEPT, KINDS

__all__ = ["JSON", "answer", "bundle", "capability_statement", "outcome", "parameters", "smart_configuration"]

JSON = "application/fhir+json"
OUTCOMES: dict[int, str] = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    409: "conflict",
    412: "conflict",
    413: "too-long",
    415: "not-supported",
    422: "invalid",
    428: "required",
    500: "exception",
    503: "transient",
}
"""HTTP status -> FHIR's kind of issue."""


def answer(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a document as a response; nobody on the way may keep it."""
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(dump(dict(document)), status, kept, media_type=JSON)


def outcome(
    status: int, name: str, words: str, *, where: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """Return a refusal as an OperationOutcome: a stable name, words for a person, and the element that is off."""
    issue: dict[str, Any] = {
        "severity": "error",
        "code": OUTCOMES[status],
        "details": {"coding": [{"system": "urn:liggare:refusal", "code": name}], "text": words},
    }
    if where:
        issue["expression"] = [where]
    own = {401: {"WWW-Authenticate": 'Bearer realm="fhir"'}, 503: {"Retry-After": "5"}}.get(status, {})
    return answer({"resourceType": "OperationOutcome", "issue": [issue]}, status, {**own, **(headers or {})})


def bundle(base: str, found: Found) -> dict[str, Any]:
    """Return a page as a searchset; `next` where there is more."""
    links = [{"relation": "self", "url": f"{base}/{found.text}"}]
    if found.cursor is not None:
        path = found.text.partition("?")[0]
        links.append({"relation": "next", "url": f"{base}/{path}?_cursor={found.cursor}"})
    entries = [(each, "match") for each in found.matches] + [(each, "include") for each in found.included]
    made: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": found.total, "link": links}
    if entries:
        made["entry"] = [_entry(base, resource, mode) for resource, mode in entries]
    return made


def _entry(base: str, resource: Resource, mode: str) -> dict[str, Any]:
    url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": mode}}


def parameters(body: bytes) -> list[tuple[str, str]]:
    """Return an operation's parameters from a Parameters resource, as a query has them.

    Raises ResourceInvalid; SearchInvalid where one has no plain value.
    """
    resource = parse(body)
    if resource["resourceType"] != "Parameters":
        raise ResourceInvalid("resourceType", "an operation takes Parameters")
    pairs = []
    for each in resource.get("parameter", []):
        values = [value for name, value in each.items() if name.startswith("value")]
        if len(values) != 1 or type(values[0]) not in (str, int):
            raise SearchInvalid(str(each["name"])[:64], "it has no plain value")
        pairs.append((str(each["name"]), str(values[0])))
    return pairs


def capability_statement(base: str, url: str, started: str) -> dict[str, Any]:
    """Return what the server can do; `started` is when it began to, as FHIR's dateTime."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": started,
        "kind": "instance",
        "software": {"name": "Liggare gatekeeper", "version": __version__},
        "implementation": {"description": "Records, released as their patients grant on the ledger", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "service": [
                        {
                            "coding": [
                                {
                                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                                    "code": "SMART-on-FHIR",
                                }
                            ],
                            "text": "Sign-in with Ethereum (ERC-4361) for a SMART token",
                        }
                    ],
                    "extension": [
                        {
                            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                            "extension": [
                                {"url": "token", "valueUri": f"{url}/auth/token"},
                                {"url": "revoke", "valueUri": f"{url}/auth/revoke"},
                            ],
                        }
                    ],
                },
                "resource": [_resource(kind) for kind in sorted(KEPT)],
            }
        ],
    }


def _resource(kind: str) -> dict[str, Any]:
    if kind not in KINDS:
        return {"type": kind, "interaction": [{"code": code} for code in ("update", "create")], "updateCreate": True}
    parameters = (*COMMON, *PARAMETERS.get(kind, {}).values())
    made: dict[str, Any] = {
        "type": kind,
        "interaction": [{"code": code} for code in ("read", "vread", "update", "create", "search-type")],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalRead": "not-supported",
        "conditionalDelete": "not-supported",
        "searchParam": [{"name": each.name, "type": each.kind} for each in parameters],
    }
    pointing = [f"{kind}:{each.name}" for each in parameters if each.kind == "reference"]
    if pointing:
        made["searchInclude"] = pointing
    reverse = [
        f"{other}:{each.name}"
        for other, table in PARAMETERS.items()
        for each in table.values()
        if each.kind == "reference" and each.name in _POINTING_AT.get(kind, ())
    ]
    if reverse:
        made["searchRevInclude"] = sorted(reverse)
    if kind == "Patient":
        definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything"
        made["operation"] = [{"name": "everything", "definition": definition}]
    return made


_POINTING_AT = {"Patient": ("patient", "subject"), "Encounter": ("encounter",), "Observation": ("result", "has-member")}


def smart_configuration(url: str) -> dict[str, Any]:
    """Return where and how one signs in, as SMART's clients look for it."""
    return {
        "issuer": f"{url}/fhir",
        "token_endpoint": f"{url}/auth/token",
        "revocation_endpoint": f"{url}/auth/revoke",
        "nonce_endpoint": f"{url}/auth/nonce",
        "grant_types_supported": ["urn:liggare:sign-in-with-ethereum"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["patient/*.rs", "user/*.cru"],
        "response_types_supported": ["token"],
        "capabilities": [
            "permission-patient",
            "permission-user",
            "permission-v1",
            "permission-v2",
            "context-standalone-patient",
        ],
    }
