"""A custodian's gatekeeper, from outside: sign in, read, search, and ask who has read.

    connect -> sign in with Ethereum -> Visit -> read, search, everything, accesses -> end

Nothing that the other side says of itself is taken on trust: one signs in for the URL and the custodian that one means,
and for nothing else. Any FHIR client can do the same with the token; see docs/gatekeeper.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from liggare.errors import AccessError, GatekeeperRefused, GatekeeperUnreachable
from liggare.messages import address
from liggare.records.accesses import Accesses, check_accesses
from liggare.records.client import Records
from liggare.records.fhir import load
from liggare.records.seal import SEAL_USE, new_private_key, open_sealed, public_key
from liggare.records.share import Share
from liggare.records.signin import Door, build, parse
from liggare.records.tree import Head

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
        nonce = self._told("/auth/nonce", {"address": reader.address}, "nonce")["nonce"]
        if not re.fullmatch(r"[A-Za-z0-9]{8,256}", nonce):
            raise self._none()
        now = self.records.now()
        secret = new_private_key() if sealed else None
        message = build(
            self.door,
            reader.address,
            purpose,
            scopes,
            nonce,
            now,
            now + lifetime,
            shares=shares,
            patient=patient,
            emergency=emergency,
            seal=None if secret is None else public_key(secret),
        )
        signature = bytes(reader.sign_message(encode_defunct(text=message)).signature)
        body = {"message": message, "signature": "0x" + signature.hex(), "shares": [each.document() for each in shares]}
        given = self._told("/auth/token", body, "access_token", "scope")
        if not re.fullmatch(r"[\x21-\x7e]{1,4096}", given["access_token"]):
            raise self._none()
        use = SEAL_USE + parse(message).hash
        scopes = tuple(given["scope"].split())
        return Visit(self, given["access_token"], scopes, given.get("patient"), secret or b"", use)

    def _told(self, path: str, body: dict[str, Any], *members: str) -> dict[str, Any]:
        """Post and return an answer that has these members, as text. Raises as `ask`."""
        answer = self.ask("POST", path, json=body)
        try:
            told = answer.json()
        except ValueError:
            raise self._none() from None
        if not isinstance(told, dict) or not all(isinstance(told.get(member), str) for member in members):
            raise self._none()
        return told

    def _none(self, status: str = "") -> GatekeeperUnreachable:
        return GatekeeperUnreachable(f"what answers at {self.door.url} is no gatekeeper{status}")

    def ask(self, method: str, path: str, **words: Any) -> httpx.Response:
        """Return a good answer. Raises GatekeeperRefused where it is a refusal, GatekeeperUnreachable."""
        try:
            answer = self._http.request(method, path, **words)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise GatekeeperUnreachable(f"no gatekeeper answers at {self.door.url} ({type(exc).__name__})") from None
        if answer.is_success:
            return answer
        try:
            document = answer.json()
            if "issue" in document:
                issue = document["issue"][0]["details"]
                name, told = issue["coding"][0]["code"], issue["text"]
            else:
                name, told = document["name"], document["error_description"]
        except (ValueError, LookupError, TypeError):
            raise self._none(f" (HTTP {answer.status_code})") from None
        raise GatekeeperRefused(_printable(name), _printable(told), answer.status_code)


@dataclass(frozen=True)
class Visit:
    """A session at a gatekeeper; it ends with its sign-in, by `end`, or with the block of `with gate.sign_in(…)`."""

    gatekeeper: Gatekeeper
    token: str = field(repr=False)
    """What any FHIR client shows as its bearer token."""
    scopes: tuple[str, ...]
    """What the ledger let when the session began."""
    patient: str | None
    """What to search by: a chart's id, or the pseudonym where the patient's own resource may not be read."""
    _key: bytes = field(repr=False)
    _use: bytes = field(repr=False)

    def __enter__(self) -> Visit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(AccessError):  # it ends by itself, and what went wrong before tells more
            self.end()

    def read(self, record: str) -> dict[str, Any]:
        """Return a record ("Observation/f001"), or a version of it ("Observation/f001/_history/2")."""
        return self._get(f"/fhir/{record}")

    def search(self, kind: str, parameters: Iterable[tuple[str, str]] = ()) -> Iterator[dict[str, Any]]:
        """Yield the records of a type that match FHIR's search parameters, page after page. A name may come again."""
        yield from self._pages(f"/fhir/{kind}", list(parameters))

    def everything(self, chart: str) -> Iterator[dict[str, Any]]:
        """Yield all of a chart ("f001") that may be read."""
        yield from self._pages(f"/fhir/Patient/{chart}/$everything", [])

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

    def _pages(self, path: str, parameters: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        bundle = self._get(path, parameters)
        while True:
            try:
                found = [entry["resource"] for entry in bundle.get("entry", [])]
                following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
            except (LookupError, TypeError):
                raise GatekeeperUnreachable("the answer to the search is no Bundle of FHIR") from None
            yield from found
            if not following:
                return
            base = self.gatekeeper.door.url
            if not str(following[0]).startswith(f"{base}/fhir/"):  # a token goes to nobody else
                raise GatekeeperUnreachable(f"the next page is not at {base}")
            bundle = self._get(following[0])

    def _get(self, path: str, parameters: list[tuple[str, str]] | None = None) -> dict[str, Any]:
        answer = self.gatekeeper.ask("GET", path, params=parameters, headers=self._headers)
        content = answer.content
        sealed = answer.headers.get("content-type", "").startswith(SEALED)
        if sealed and self._key:
            content = open_sealed(self._key, content, self._use)
        elif sealed:
            raise GatekeeperUnreachable("the release is sealed, though the sign-in did not ask for it")
        elif self._key:
            raise GatekeeperUnreachable("the release is not sealed, though the sign-in asked for it")
        try:
            return dict(load(content))
        except (ValueError, TypeError, RecursionError):
            raise GatekeeperUnreachable("the answer is no resource of FHIR") from None


def _printable(words: Any) -> str:
    """Return what the other side says as one line that does nothing to a terminal."""
    return "".join(each if each.isprintable() else " " for each in str(words)[:500])
