"""A custodian's gatekeeper, from outside: sign in, read, search, and ask who has read.

    connect -> sign in with Ethereum -> Visit -> read, search, everything, accesses -> end

Nothing that the other side says of itself is taken on trust: one signs in for the URL and the custodian that one means,
and for nothing else. Any FHIR client can do the same with the token; see docs/gatekeeper.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from liggare.errors import GatekeeperRefused, GatekeeperUnreachable, UsageError
from liggare.messages import address
from liggare.records.accesses import Accesses, check_accesses
from liggare.records.client import Records
from liggare.records.desk import SEAL_USE
from liggare.records.fhir import load
from liggare.records.log import Head
from liggare.records.seal import new_private_key, open_sealed, public_key
from liggare.records.share import Share
from liggare.records.signin import Door, build, parse

__all__ = ["Gatekeeper", "Visit"]

LIFETIME = 600
"""How long a sign-in is for unless the reader says otherwise, in seconds."""
SEALED = "application/vnd.liggare.sealed"


class Gatekeeper:
    """A custodian's gatekeeper at its public URL; `with Gatekeeper(…)` closes its connections."""

    def __init__(self, url: str, custodian: str, records: Records, *, timeout: float = 30) -> None:
        """`timeout` is per request, in seconds. Raises SettingsError where the URL is none."""
        self.door = Door(url.rstrip("/"), records.domain.chain_id, address(custodian))
        self.records = records
        self._http = httpx.Client(base_url=self.door.url, timeout=timeout)

    def __enter__(self) -> Gatekeeper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def sign_in(
        self,
        reader: LocalAccount,
        purpose: str,
        scopes: Iterable[str],
        *,
        shares: Sequence[Share] = (),
        patient: str | None = None,
        emergency: str | None = None,
        sealed: bool = False,
        lifetime: int = LIFETIME,
    ) -> Visit:
        """Sign in: with shares that patients handed over, as a patient or its guardian, or by a broken glass.

        With `sealed` whatever is released can be opened by this visit alone (HPKE). Raises GatekeeperRefused by the
        other side's reason, GatekeeperUnreachable.
        """
        told = self.ask("POST", "/auth/nonce", json={"address": reader.address}).json()
        now = self.records.now()
        secret = new_private_key() if sealed else None
        message = build(
            self.door,
            reader.address,
            purpose,
            scopes,
            str(told.get("nonce") if isinstance(told, dict) else None),
            now,
            now + lifetime,
            shares=shares,
            patient=patient,
            emergency=emergency,
            seal=None if secret is None else public_key(secret),
        )
        signature = bytes(reader.sign_message(encode_defunct(text=message)).signature)
        body = {"message": message, "signature": "0x" + signature.hex(), "shares": [each.document() for each in shares]}
        given = self.ask("POST", "/auth/token", json=body).json()
        try:
            token, scope = str(given["access_token"]), str(given["scope"])
        except (KeyError, TypeError):
            raise GatekeeperUnreachable(f"what answers at {self.door.url} is no gatekeeper") from None
        key = b"" if secret is None else secret
        return Visit(self, token, tuple(scope.split()), given.get("patient"), key, SEAL_USE + parse(message).hash)

    def ask(self, method: str, path: str, **words: Any) -> httpx.Response:
        """Return a good answer. Raises GatekeeperRefused where it is a refusal, GatekeeperUnreachable."""
        try:
            answer = self._http.request(method, path, **words)
        except httpx.HTTPError as exc:
            raise GatekeeperUnreachable(f"no gatekeeper answers at {self.door.url} ({type(exc).__name__})") from None
        if answer.is_success:
            return answer
        try:
            document = answer.json()
            if "issue" in document:
                issue = document["issue"][0]["details"]
                raise GatekeeperRefused(str(issue["coding"][0]["code"]), str(issue["text"]), answer.status_code)
            raise GatekeeperRefused(str(document["name"]), str(document["error_description"]), answer.status_code)
        except (ValueError, LookupError, TypeError):
            words_ = f"what answers at {self.door.url} is no gatekeeper (HTTP {answer.status_code})"
            raise GatekeeperUnreachable(words_) from None


@dataclass(frozen=True)
class Visit:
    """A session at a gatekeeper; it ends with its sign-in, or by `end`."""

    gatekeeper: Gatekeeper
    token: str = field(repr=False)
    """What any FHIR client shows as its bearer token."""
    scopes: tuple[str, ...]
    """What the ledger let when the session began."""
    patient: str | None
    """What to search by: a chart's id, or the pseudonym where the patient's own resource may not be read."""
    _key: bytes = field(repr=False)
    _use: bytes = field(repr=False)

    def read(self, record: str) -> dict[str, Any]:
        """Return a record ("Observation/f001"), or a version of it ("Observation/f001/_history/2")."""
        return self._get(f"/fhir/{record}")

    def search(self, kind: str, parameters: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the records of a type that match FHIR's search parameters, page after page."""
        yield from self._pages(f"/fhir/{kind}", dict(parameters or {}))

    def everything(self, chart: str) -> Iterator[dict[str, Any]]:
        """Yield all of a chart ("f001") that may be read."""
        yield from self._pages(f"/fhir/Patient/{chart}/$everything", {})

    def accesses(self, pseudonym: str, seen: Head | None = None) -> Accesses:
        """Return who has read under a pseudonym, all of it checked against the chain; `seen` is the head seen before.

        Raises an AuditError by kind where anything is left out, altered or unproven.
        """
        since = {"since": str(seen.size)} if seen else {}
        gate = self.gatekeeper
        answer = gate.ask("GET", f"/log/{address(pseudonym)}", params=since, headers=self._headers)
        try:
            document = answer.json()
        except ValueError:
            document = None
        return check_accesses(document, gate.records, gate.door.custodian, pseudonym, seen)

    def end(self) -> None:
        """End the session; the token is none from then on."""
        self.gatekeeper.ask("POST", "/auth/revoke", headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _pages(self, path: str, parameters: dict[str, str]) -> Iterator[dict[str, Any]]:
        bundle = self._get(path, parameters)
        while True:
            for entry in bundle.get("entry", []):
                yield entry["resource"]
            following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
            if not following:
                return
            base = self.gatekeeper.door.url
            if not str(following[0]).startswith(f"{base}/fhir/"):  # a token goes to nobody else
                raise GatekeeperUnreachable(f"the next page is not at {base}")
            bundle = self._get(following[0])

    def _get(self, path: str, parameters: dict[str, str] | None = None) -> dict[str, Any]:
        answer = self.gatekeeper.ask("GET", path, params=parameters, headers=self._headers)
        content = answer.content
        if answer.headers.get("content-type", "").startswith(SEALED):
            content = open_sealed(self._key, content, self._use)
        elif self._key:
            raise GatekeeperUnreachable("the release is not sealed, though the sign-in asked for it")
        try:
            return dict(load(content))
        except (ValueError, UsageError):
            raise GatekeeperUnreachable("the answer is no resource of FHIR") from None
