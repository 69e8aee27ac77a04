"""`liggare serve gatekeeper`: a custodian's records over HL7 FHIR R4, released as their patients grant on the ledger.

    POST /auth/nonce, /auth/token, /auth/revoke     sign in with Ethereum, sign out
    GET  /fhir/metadata                             what is served; all else under /fhir wants a token
    GET  /log/<pseudonym>                           a patient's accesses, with their proofs
    GET  /health, /metrics

Every refusal has a stable name: an OperationOutcome, or OAuth's form where one signs in. The rules are the desk's
(`liggare.records.desk`). Nothing of a request is logged but what kind of answer it got.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from liggare import __version__
from liggare.errors import (
    AccessRefused,
    ChainError,
    InvalidAddress,
    LiggareError,
    LogUnavailable,
    RecordUnavailable,
    ResourceInvalid,
    SearchInvalid,
    SessionEnded,
    SessionsUnavailable,
    SignInRefused,
    StoreUnavailable,
    VersionConflict,
)
from liggare.messages import address
from liggare.records.desk import Desk
from liggare.records.fhir import Resource
from liggare.records.poster import Poster
from liggare.records.release import KINDS
from liggare.records.sessions import NONCE_LIFETIME, Session
from liggare.records.signin import LONGEST, STATEMENT
from liggare.records.store import Stored
from liggare.web import fhir
from liggare.web.fhir import answer, outcome
from liggare.web.problems import Measure

__all__ = ["Service", "application"]

log = logging.getLogger(__name__)

LARGEST = 4 * 2**20
"""Bytes of a request."""
TYPES = ("application/fhir+json", "application/json")
SEALED = "application/vnd.liggare.sealed"
"""The type of a sealed release (`liggare.records.seal`)."""
UNKEPT = {"Cache-Control": "no-store"}


class Service:
    """The gatekeeper's parts, put together once and shared by all requests; without a poster no heads are posted."""

    def __init__(self, desk: Desk, poster: Poster | None = None) -> None:
        self.desk, self.poster = desk, poster
        self.registry = CollectorRegistry()
        words: dict[str, Any] = {"registry": self.registry, "namespace": "liggare", "subsystem": "gatekeeper"}
        self.answers = Counter("answers", "Answers by what was asked and HTTP status.", ["asked", "status"], **words)
        self.refused = Counter("refused", "Refusals by their names.", ["reason"], **words)
        self.seconds = Histogram("seconds", "Seconds until the answer.", ["asked"], **words)
        self.waiting = Gauge("log_waiting", "Entries of the access log that no posted head covers.", **words)

    def serve(self, asked: str, work: Callable[[], Response], refuse: Refuse = outcome) -> Response:
        """Do the work of one request; whatever goes wrong becomes a refusal."""
        began = time.perf_counter()
        try:
            response = work()
        except (LiggareError, Refused) as exc:
            status, name, words = _named(exc)
            self.refused.labels(name).inc()
            if status >= 500:
                log.warning("%s was answered by %s", asked, name)
            response = refuse(status, name, words, where=getattr(exc, "path", ""))
        except Exception as exc:  # its text may tell of a patient: only where it happened is written down
            log.error("a fault: %s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))  # noqa: TRY400
            response = refuse(500, "Faulty", "nothing was shown; the fault is written down")
        self.answers.labels(asked, str(response.status_code)).inc()
        self.seconds.labels(asked).observe(time.perf_counter() - began)
        return response


class Refused(Exception):
    """A request that is no request of this server."""

    def __init__(self, status: int, name: str, words: str) -> None:
        super().__init__(words)
        self.status, self.name = status, name


class Refuse(Protocol):
    """Makes the answer that refuses."""

    def __call__(self, status: int, name: str, words: str, *, where: str = "") -> Response:
        """Return the response."""


def _named(error: LiggareError | Refused) -> tuple[int, str, str]:
    """Return status, name and words of a refusal."""
    words = str(error)
    match error:
        case Refused():
            return error.status, error.name, words
        case SessionEnded():
            return 401, error.name, words
        case SignInRefused():
            return 400, error.reason, words
        case AccessRefused():
            return 403, error.reason, words
        case RecordUnavailable():
            return 404, error.name, words
        case SearchInvalid() | InvalidAddress():
            return 400, error.name, words
        case ResourceInvalid():
            return 422 if error.path else 400, error.name, words
        case VersionConflict():
            return 412, error.name, "the record is at another version"
        case StoreUnavailable() | SessionsUnavailable() | LogUnavailable():
            return 503, error.name, "a database does not answer: nothing was shown, ask again"
        case ChainError():
            return 503, "LedgerUnavailable", "the ledger can't be asked: nothing was shown, ask again"
        case _:
            return 500, error.name, "nothing was shown; the fault is written down"


def application(service: Service) -> FastAPI:
    """Return the web application; its poster works for as long as it serves."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if service.poster is not None:
            service.poster.start()
        yield
        if service.poster is not None:
            await run_in_threadpool(service.poster.stop)

    app = FastAPI(
        title="Liggare gatekeeper",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # /fhir/metadata is the manual
        redirect_slashes=False,  # a redirect would go wherever the Host header says
    )
    app.exception_handler(HTTPException)(_http_outcome)
    app.exception_handler(RequestValidationError)(_malformed)
    app.add_middleware(Measure, most=LARGEST, refusal=_too_large)
    _sign_in(app, service)
    _say(app, service)
    _read(app, service)
    _write(app, service)
    _watch(app, service)
    return app


async def _body(request: Request) -> bytes:
    return await request.body()


Raw = Annotated[bytes, Depends(_body)]


# ------------------------------------------------------------------ signing in


class NonceRequest(BaseModel):
    """Who wants to sign in."""

    address: Annotated[str, Field(max_length=42)]


class TokenRequest(BaseModel):
    """A signed sign-in, and the documents of the shares that it names."""

    message: Annotated[str, Field(max_length=20_000)]
    signature: Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2}){0,4096}$")]
    shares: list[dict[str, Any]] = []


def _sign_in(app: FastAPI, service: Service) -> None:
    desk = service.desk

    @app.post("/auth/nonce")
    def nonce(asked: NonceRequest) -> Response:
        """Give a nonce to one reader, and all that its sign-in has to say of this custodian."""

        def work() -> Response:
            door = desk.door
            return JSONResponse(
                {
                    "nonce": desk.sessions.nonce(address(asked.address)),
                    "expires_in": NONCE_LIFETIME,
                    "domain": door.domain,
                    "uri": door.url,
                    "chainId": door.chain_id,
                    "custodian": door.custodian,
                    "statement": STATEMENT,
                    "longest": LONGEST,
                },
                headers=UNKEPT,
            )

        return service.serve("nonce", work, _oauth)

    @app.post("/auth/token")
    def token(given: TokenRequest) -> Response:
        """Take a sign-in and give a token for as long as it says, with the scopes that the ledger lets."""

        def work() -> Response:
            made = desk.sign_in(given.message, bytes.fromhex(given.signature[2:]), given.shares)
            answer = {
                "access_token": made.token,
                "token_type": "Bearer",
                "expires_in": made.lifetime,
                "scope": " ".join(made.scopes),
            }
            return JSONResponse({**answer, **({"patient": made.patient} if made.patient else {})}, headers=UNKEPT)

        return service.serve("token", work, _oauth)

    @app.post("/auth/revoke")
    def revoke(request: Request) -> Response:
        """End the session of the token that is shown; one that is none has ended already."""

        def work() -> Response:
            desk.sessions.end(_token(request) or "")
            return Response(status_code=200, headers=UNKEPT)

        return service.serve("revoke", work, _oauth)


def _oauth(status: int, name: str, words: str, *, where: str = "") -> Response:
    """Return a refusal in OAuth's form (RFC 6749, 5.2)."""
    known = {"Malformed": "invalid_request", "ScopeUnknown": "invalid_scope", "ScopeMissing": "invalid_scope"}
    error = "temporarily_unavailable" if status == 503 else known.get(name, "invalid_grant")
    status = status if status >= 500 else 400
    headers = {**UNKEPT, **({"Retry-After": "5"} if status == 503 else {})}
    return JSONResponse({"error": error, "error_description": words, "name": name}, status, headers)


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


# ------------------------------------------------------------------ what the server says of itself


def _say(app: FastAPI, service: Service) -> None:
    desk = service.desk
    started = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    statement = fhir.capability_statement(desk.base, desk.door.url, started)
    configuration = fhir.smart_configuration(desk.door.url)

    @app.get("/fhir/metadata")
    async def metadata() -> Response:
        """Tell what is served."""
        return answer(statement)

    @app.get("/.well-known/smart-configuration")
    @app.get("/fhir/.well-known/smart-configuration")
    async def smart() -> Response:
        """Tell where one signs in."""
        return JSONResponse(configuration)


# ------------------------------------------------------------------ reading


def _read(app: FastAPI, service: Service) -> None:
    desk = service.desk

    @app.get("/fhir/Patient/{identity}/$everything")
    def everything(request: Request, identity: str) -> Response:
        """Show all of a chart that may be shown, page by page."""

        def work() -> Response:
            session = _enter(desk, request)
            pairs, cursor = _pairs(request.query_params.multi_items())
            found = desk.everything(session, _identity(identity), pairs, _client(request), cursor=cursor)
            return _released(desk, session, fhir.bundle(desk.base, found))

        return service.serve("everything", work)

    @app.get("/fhir/{kind}/{identity}/_history/{version}")
    def vread(request: Request, kind: str, identity: str, version: str) -> Response:
        """Show one version of a record."""

        def work() -> Response:
            session = _enter(desk, request, kind)
            number = int(version) if re.fullmatch("[0-9]{1,9}", version) else 0
            resource = desk.read(session, kind, _identity(identity), _client(request), number)
            return _released(desk, session, resource, _stamps(resource))

        return service.serve("vread", work)

    @app.get("/fhir/{kind}/{identity}")
    def read(request: Request, kind: str, identity: str) -> Response:
        """Show a record."""

        def work() -> Response:
            session = _enter(desk, request, kind)
            resource = desk.read(session, kind, _identity(identity), _client(request))
            return _released(desk, session, resource, _stamps(resource))

        return service.serve("read", work)

    @app.get("/fhir/{kind}")
    def search(request: Request, kind: str) -> Response:
        """Show a page of what is found."""
        return service.serve("search", lambda: _found(desk, request, kind, request.query_params.multi_items()))

    @app.post("/fhir/{kind}/_search")
    def post_search(request: Request, kind: str, body: Raw) -> Response:
        """Show a page of what is found, by parameters that stand in no URL."""

        def work() -> Response:
            if _media_type(request) != "application/x-www-form-urlencoded":
                raise Refused(415, "MediaTypeUnknown", "a search is posted as a form")
            try:
                form = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=100)
            except ValueError:
                raise Refused(400, "Malformed", "the body is no form") from None
            return _found(desk, request, kind, [*request.query_params.multi_items(), *form])

        return service.serve("search", work)

    @app.get("/log/{pseudonym}")
    def accesses(request: Request, pseudonym: str) -> Response:
        """Show a patient every access to its records, with proofs; `since` is the size of the head it saw last."""

        def work() -> Response:
            session = desk.session(_token(request))
            since = request.query_params.get("since", "0")
            if not re.fullmatch("[0-9]{1,15}", since):
                raise Refused(400, "Malformed", "since is the size of a log")
            return JSONResponse(desk.accesses(session, pseudonym, int(since)), headers=UNKEPT)

        return service.serve("log", work)


def _found(desk: Desk, request: Request, kind: str, given: list[tuple[str, str]]) -> Response:
    session = _enter(desk, request, kind)
    pairs, cursor = _pairs(given)
    strict = "handling=strict" in request.headers.get("prefer", "").replace(" ", "").lower()
    found = desk.search(session, kind, pairs, _client(request), strict=strict, cursor=cursor)
    return _released(desk, session, fhir.bundle(desk.base, found))


def _enter(desk: Desk, request: Request, kind: str | None = None) -> Session:
    """Return the session of a request for a type that is served, whose answer the client understands."""
    session = desk.session(_token(request))
    if kind is not None and kind not in KINDS:
        raise Refused(404, "NotServed", "there are no resources of this type here")
    asked = request.query_params.get("_format") or request.headers.get("accept", "*/*")
    if not any(word in asked for word in ("json", "*/*", "application/*")):
        raise Refused(406, "NotAcceptable", "answers are JSON")
    return session


def _identity(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,64}", text):
        raise RecordUnavailable("there is no such record here for this reader")
    return text


def _pairs(given: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], str | None]:
    """Return the parameters, and the cursor, which stands for all of them."""
    cursors = [value for name, value in given if name == "_cursor"]
    if cursors and len(given) > 1:
        raise Refused(400, "SearchInvalid", "_cursor: a page is asked for by its cursor alone")
    return ([], cursors[0]) if cursors else (given, None)


def _client(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _released(
    desk: Desk, session: Session, document: Resource, headers: Mapping[str, str] | None = None, status: int = 200
) -> Response:
    """Return what may be shown, sealed where the reader asked for it."""
    response = answer(document, status, headers)
    sealed = desk.sealed(session, bytes(response.body))
    return response if sealed is None else Response(sealed, status, UNKEPT, media_type=SEALED)


def _stamps(resource: Resource) -> dict[str, str]:
    """Return a record's version and time as headers."""
    meta = resource["meta"]
    changed = datetime.fromisoformat(meta["lastUpdated"].replace("Z", "+00:00"))
    return {"ETag": f'W/"{meta["versionId"]}"', "Last-Modified": format_datetime(changed, usegmt=True)}


# ------------------------------------------------------------------ writing


def _write(app: FastAPI, service: Service) -> None:
    desk = service.desk

    @app.post("/fhir/{kind}")
    def create(request: Request, kind: str, body: Raw) -> Response:
        """Keep a new record."""

        def work() -> Response:
            session = _enter_to_write(desk, request, kind)
            return _stored(desk, request, desk.create(session, kind, body))

        return service.serve("create", work)

    @app.put("/fhir/{kind}/{identity}")
    def update(request: Request, kind: str, identity: str, body: Raw) -> Response:
        """Keep a record's next version; If-Match names the one before, for a new record there is none."""

        def work() -> Response:
            session = _enter_to_write(desk, request, kind)
            match = request.headers.get("if-match")
            known = re.fullmatch(r'(W/)?"([0-9]{1,9})"', match or "")
            if match is not None and known is None:
                raise Refused(400, "Malformed", 'If-Match is a version, such as W/"3"')
            try:
                stored = desk.update(session, kind, _identity(identity), body, int(known[2]) if known else None)
            except VersionConflict:
                if match is None:
                    words = "there is such a record: name the version that it was changed from by If-Match"
                    raise Refused(428, "VersionMissing", words) from None
                raise
            return _stored(desk, request, stored)

        return service.serve("update", work)


def _enter_to_write(desk: Desk, request: Request, kind: str) -> Session:
    session = _enter(desk, request, kind)
    if _media_type(request) not in TYPES:
        raise Refused(415, "MediaTypeUnknown", "a resource is application/fhir+json")
    return session


def _stored(desk: Desk, request: Request, stored: Stored) -> Response:
    status = 201 if stored.created else 200
    where = f"{desk.base}/{stored.reference}/_history/{stored.version}"
    headers = {**UNKEPT, **_stamps(stored.resource), "Location": where}
    if "return=minimal" in request.headers.get("prefer", "").replace(" ", "").lower():
        return Response(status_code=status, headers=headers)
    return answer(stored.resource, status, headers)


# ------------------------------------------------------------------ health and figures


def _watch(app: FastAPI, service: Service) -> None:
    desk = service.desk

    @app.get("/health")
    def health() -> Response:
        """Tell whether ledger and databases do their part, and whether heads are posted; 503 where one does not."""
        parts = {"ledger": _try(desk.ledger.fresh), "sessions": _try(lambda: desk.sessions.find("0" * 64))}
        if service.poster is not None:
            parts["log"] = _try(service.poster.waiting)
            parts["poster"] = type(service.poster.trouble).__name__ if service.poster.trouble else "ok"
        well = all(part == "ok" for part in parts.values())
        return JSONResponse({"status": "ok" if well else "unwell", **parts}, 200 if well else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        """Tell the figures for Prometheus."""
        if service.poster is not None and _try(service.poster.waiting) == "ok":
            service.waiting.set(service.poster.waiting())
        return Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)


def _try(ask: Callable[[], Any]) -> str:
    try:
        ask()
    except LiggareError as exc:
        return exc.name
    return "ok"


async def _http_outcome(request: Request, error: Exception) -> Response:
    """Say what the server itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it
    if error.status_code == 400:  # the body is no JSON, nor even text
        return await _malformed(request, error)
    return outcome(error.status_code, "NotServed", "there is no such thing here", headers=error.headers)


async def _malformed(_: Request, error: Exception) -> Response:
    """Refuse what is no sign-in at all; what was given is not repeated."""
    return _oauth(400, "Malformed", "the request is not of its form")


def _too_large(most: int) -> Response:
    return outcome(413, "TooLarge", f"{most} bytes are the most")
