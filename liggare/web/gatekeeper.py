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
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.exceptions import HTTPException
from web3 import Web3

from liggare import __version__
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.errors import LiggareError, RecordUnavailable, VersionConflict
from liggare.records.cache import AccessCache
from liggare.records.client import Records
from liggare.records.desk import Archive, Book, Desk
from liggare.records.fhir import Resource
from liggare.records.keyring import Keyring, MasterKey
from liggare.records.log import AccessLog
from liggare.records.poster import Poster
from liggare.records.release import KEPT, KINDS, Ledger
from liggare.records.rotation import Rotator
from liggare.records.sessions import Session, Sessions
from liggare.records.signin import Door, ask_wallet
from liggare.records.store import Store, Stored
from liggare.web import auth, fhir
from liggare.web.auth import shown_token
from liggare.web.fhir import answer, outcome
from liggare.web.problems import Measure
from liggare.web.refusals import UNKEPT, Refuse, Refused, named, oauth
from liggare.web.together import Held, Together

__all__ = ["Service", "application", "assemble"]

log = logging.getLogger(__name__)

LARGEST = 4 * 2**20
"""Bytes of a request."""
TYPES = ("application/fhir+json", "application/json")
SEALED = "application/vnd.liggare.sealed"
"""The type of a sealed release (`liggare.records.seal`)."""


class Service:
    """The gatekeeper's parts, put together once and shared by all requests; without a poster no heads are posted."""

    def __init__(
        self,
        desk: Desk,
        poster: Poster | None = None,
        rotator: Rotator | None = None,
        together: Together | None = None,
        opened: ExitStack | None = None,
    ) -> None:
        """`opened` is what `close` lets go of; without `together` each read asks and writes by itself."""
        self.desk, self.poster, self.rotator, self.together = desk, poster, rotator, together
        self._opened = opened or ExitStack()
        self.registry = CollectorRegistry()
        words: dict[str, Any] = {"registry": self.registry, "namespace": "liggare", "subsystem": "gatekeeper"}
        self.answers = Counter("answers", "Answers by what was asked and HTTP status.", ["asked", "status"], **words)
        self.refused = Counter("refused", "Refusals by their names.", ["reason"], **words)
        self.seconds = Histogram("seconds", "Seconds until the answer.", ["asked"], **words)
        self.waiting = Gauge("log_waiting", "Entries of the access log that no posted head covers.", **words)

    def close(self) -> None:
        """Let go of databases and chain."""
        self._opened.close()

    def serve(self, asked: str, work: Callable[[], Response], refuse: Refuse = outcome) -> Response:
        """Do the work of one request; whatever goes wrong becomes a refusal."""
        began = time.perf_counter()
        return self._count(asked, began, self._try(asked, work, refuse))

    async def show(self, asked: str, work: Callable[[Desk], Response]) -> Response:
        """Do the work of one read at the desk that it is given; what it releases is written down before it is shown."""
        began = time.perf_counter()
        if self.together is None:
            response = await run_in_threadpool(self._try, asked, lambda: work(self.desk))
            return self._count(asked, began, response)
        held = Held(await self.together.ask())
        desk = self.desk.at(held, held)
        response = await run_in_threadpool(self._try, asked, lambda: work(desk))
        if held.releases:
            failure = await self.together.write(held.releases)
            if failure is not None:
                response = self._refuse(asked, failure)
        return self._count(asked, began, response)

    def _try(self, asked: str, work: Callable[[], Response], refuse: Refuse = outcome) -> Response:
        try:
            return work()
        except Exception as exc:
            return self._refuse(asked, exc, refuse)

    def _refuse(self, asked: str, error: Exception, refuse: Refuse = outcome) -> Response:
        try:
            raise error  # noqa: TRY301  to tell its kind
        except (LiggareError, Refused) as exc:
            status, name, words = named(exc)
            self.refused.labels(name).inc()
            if status >= 500:
                log.warning("%s was answered by %s", asked, name)
            return refuse(status, name, words, where=getattr(exc, "path", ""))
        except Exception as exc:  # its text may tell of a patient: only where it happened is written down
            log.error("a fault: %s\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))  # noqa: TRY400
            return refuse(500, "Faulty", "nothing was shown; the fault is written down")

    def _count(self, asked: str, began: float, response: Response) -> Response:
        self.answers.labels(asked, str(response.status_code)).inc()
        self.seconds.labels(asked).observe(time.perf_counter() - began)
        return response


def assemble(
    w3: Web3,
    deployments: Deployments,
    sender: Sender,
    url: str,
    database: str,
    keyring: Path,
    master: MasterKey,
    *,
    staff: Iterable[str] = (),
    every: int = 1000,
    seconds: float = 600.0,
    ledger: Ledger | None = None,
    archive: Archive | None = None,
    book: Book | None = None,
    clock: Callable[[], float] = time.time,
) -> Service:
    """Put a service together; `sender` is the custodian, who also pays for the heads of its access log.

    Other parts than the real ones are for measuring what those cost. Raises SettingsError, StoreError, AuditError,
    SessionsUnavailable or LedgerUnavailable where something can't be had.
    """
    records = Records(w3, deployments, clock=clock)
    door = Door(url, records.domain.chain_id, sender.account.address)
    with ExitStack() as opened:
        asked = None
        if ledger is None:
            cache = AccessCache(w3, deployments, clock=clock)
            opened.callback(cache.close)
            cache.sync()
            ledger = asked = cache
        rotator = None
        if archive is None:
            archive = store = opened.enter_context(closing(Store(database, Keyring(keyring, master), clock=clock)))
            rotator = Rotator(w3, deployments, store)
        poster = None
        if book is None:
            book = access_log = opened.enter_context(AccessLog(database, door.custodian, records.domain, master.key))
            poster = Poster(access_log, records, sender, every=every, seconds=seconds)
        sessions = opened.enter_context(closing(Sessions(database, master.key, clock=clock)))
        desk = Desk(door, records.domain, ledger, archive, book, sessions, ask_wallet(w3), staff)
        together = None
        if asked is not None and poster is not None:
            together = Together(asked, book)
            opened.callback(together.close)
        return Service(desk, poster, rotator, together, opened.pop_all())


def application(service: Service) -> FastAPI:
    """Return the web application; poster and rotator work for as long as it serves."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        workers = [worker for worker in (service.poster, service.rotator) if worker is not None]
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            await run_in_threadpool(worker.stop)

    desk = service.desk
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
    auth.routes(app, desk, service.serve)
    _say(app, desk)
    _read(app, service)
    _write(app, service)
    _watch(app, service)
    return app


async def _body(request: Request) -> bytes:
    return await request.body()


Raw = Annotated[bytes, Depends(_body)]


# ------------------------------------------------------------------ what the server says of itself


def _say(app: FastAPI, desk: Desk) -> None:
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
    @app.get("/fhir/Patient/{identity}/$everything")
    async def everything(request: Request, identity: str) -> Response:
        """Show all of a chart that may be shown, page by page."""

        def work(desk: Desk) -> Response:
            session = _enter(desk, request)
            pairs, cursor = _pairs(request.query_params.multi_items())
            found = desk.everything(session, _identity(identity), pairs, _client(request), cursor=cursor)
            return _released(desk, session, fhir.bundle(desk.base, found))

        return await service.show("everything", work)

    @app.post("/fhir/Patient/{identity}/$everything")
    async def post_everything(request: Request, identity: str, body: Raw) -> Response:
        """Show the same; clients post an operation, with its parameters in a Parameters resource, if with any."""

        def work(desk: Desk) -> Response:
            session = _enter(desk, request)
            pairs = [*request.query_params.multi_items(), *(fhir.parameters(body) if body else ())]
            found = desk.everything(session, _identity(identity), pairs, _client(request))
            return _released(desk, session, fhir.bundle(desk.base, found))

        return await service.show("everything", work)

    @app.get("/fhir/{kind}/{identity}/_history/{version}")
    async def vread(request: Request, kind: str, identity: str, version: str) -> Response:
        """Show one version of a record."""

        def work(desk: Desk) -> Response:
            session = _enter(desk, request, kind)
            number = int(version) if re.fullmatch("[0-9]{1,9}", version) else 0
            resource = desk.read(session, kind, _identity(identity), _client(request), number)
            return _released(desk, session, resource, _stamps(resource))

        return await service.show("vread", work)

    @app.get("/fhir/{kind}/{identity}")
    async def read(request: Request, kind: str, identity: str) -> Response:
        """Show a record."""

        def work(desk: Desk) -> Response:
            session = _enter(desk, request, kind)
            resource = desk.read(session, kind, _identity(identity), _client(request))
            return _released(desk, session, resource, _stamps(resource))

        return await service.show("read", work)

    @app.get("/fhir/{kind}")
    async def search(request: Request, kind: str) -> Response:
        """Show a page of what is found."""
        return await service.show(
            "search", lambda desk: _found(desk, request, kind, request.query_params.multi_items())
        )

    @app.post("/fhir/{kind}/_search")
    async def post_search(request: Request, kind: str, body: Raw) -> Response:
        """Show a page of what is found, by parameters that stand in no URL."""

        def work(desk: Desk) -> Response:
            if _media_type(request) != "application/x-www-form-urlencoded":
                raise Refused(415, "MediaTypeUnknown", "a search is posted as a form")
            try:
                form = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=100)
            except ValueError:
                raise Refused(400, "Malformed", "the body is no form") from None
            return _found(desk, request, kind, [*request.query_params.multi_items(), *form])

        return await service.show("search", work)

    @app.get("/log/{pseudonym}")
    def accesses(request: Request, pseudonym: str) -> Response:
        """Show a patient every access to its records, with proofs; `since` is the size of the head it saw last."""

        def work() -> Response:
            desk = service.desk
            session = desk.session(shown_token(request))
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


def _enter(desk: Desk, request: Request, kind: str | None = None, served: Collection[str] = KINDS) -> Session:
    """Return the session of a request for a type that is served, whose answer the client understands."""
    session = desk.session(shown_token(request))
    if kind is not None and kind not in served:
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
    session = _enter(desk, request, kind, KEPT)
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
        for name, worker in (("poster", service.poster), ("rotator", service.rotator)):
            if worker is not None:
                parts[name] = type(worker.trouble).__name__ if worker.trouble else "ok"
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


async def _malformed(_: Request, __: Exception) -> Response:
    """Refuse what is no sign-in at all; what was given is not repeated."""
    return oauth(400, "Malformed", "the request is not of its form")


def _too_large(most: int) -> Response:
    return outcome(413, "TooLarge", f"{most} bytes are the most")
