"""`liggare serve gatekeeper`: a custodian's records over HL7 FHIR R4, released as their patients grant on the ledger.

    POST /auth/nonce, /auth/token, /auth/revoke     sign in with Ethereum, sign out
    GET  /fhir/metadata                             what is served; all else under /fhir wants a token
    GET  /log/<pseudonym>                           a patient's accesses, with their proofs
    GET  /health, /metrics

Every refusal has a stable name: an OperationOutcome, or OAuth's form where one signs in. The rules are the desk's
(`liggare.records.desk`). Nothing of a request is logged but what kind of answer it got.
"""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.exceptions import HTTPException

from liggare.errors import (
    AccessRefused,
    AuditError,
    ChainError,
    DataError,
    KeyringDamaged,
    LiggareError,
    LogUnavailable,
    RecordUnavailable,
    ResourceInvalid,
    SearchInvalid,
    SessionEnded,
    SessionsUnavailable,
    SignInRefused,
    StoreUnavailable,
    UsageError,
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


class Service:
    """The gatekeeper's parts, put together once and shared by all requests; without a poster no heads are posted."""

    def __init__(self, desk: Desk, poster: Poster | None = None) -> None:
        self.desk, self.poster = desk, poster
        self.registry = CollectorRegistry()
        words = {"registry": self.registry, "namespace": "liggare", "subsystem": "gatekeeper"}
        self.answers = Counter("answers", "Answers by what was asked and HTTP status.", ["asked", "status"], **words)
        self.refused = Counter("refused", "Refusals by their names.", ["reason"], **words)
        self.seconds = Histogram("seconds", "Seconds until the answer.", ["asked"], **words)

    def serve(self, asked: str, work: Callable[[], Response]) -> Response:
        """Do the work of one request; whatever goes wrong becomes a refusal."""
        began = time.perf_counter()
        try:
            response = work()
        except LiggareError as exc:
            response = self._refusal(exc)
        except Exception as exc:  # its text may tell of a patient: only where it happened is written down
            where = "".join(traceback.format_tb(exc.__traceback__))
            log.error("a fault: %s\n%s", type(exc).__name__, where)  # noqa: TRY400
            response = outcome(500, "Faulty", "nothing was shown; the fault is written down")
        self.answers.labels(asked, str(response.status_code)).inc()
        self.seconds.labels(asked).observe(time.perf_counter() - began)
        return response

    def _refusal(self, error: LiggareError) -> Response:
        status, name, words = _named(error)
        self.refused.labels(name).inc()
        if status >= 500:
            log.warning("%s", name)
        if isinstance(error, SignInRefused):
            return _oauth(name, words)
        where = error.path if isinstance(error, ResourceInvalid) else ""
        headers = {"WWW-Authenticate": 'Bearer realm="fhir"'} if status == 401 else {}
        return outcome(status, name, words, where=where, headers=headers)


def _named(error: LiggareError) -> tuple[int, str, str]:
    """Return status, name and words of a refusal."""
    match error:
        case SessionEnded():
            return 401, "SessionEnded", str(error)
        case AccessRefused():
            return 403, error.reason, str(error)
        case RecordUnavailable():
            return 404, "RecordUnavailable", str(error)
        case SearchInvalid() | NotAcceptable():
            return error.status if isinstance(error, NotAcceptable) else 400, error.name, str(error)
        case ResourceInvalid():
            return 422 if error.path else 400, "ResourceInvalid", str(error)
        case VersionConflict():
            return 412, "VersionConflict", "the record is at another version"
        case SignInRefused():
            return 400, error.reason, str(error)
        case StoreUnavailable() | SessionsUnavailable() | LogUnavailable():
            return 503, error.name, "a database does not answer: nothing was shown, ask again"
        case ChainError():
            return 503, "LedgerUnavailable", "the ledger can't be asked: nothing was shown, ask again"
        case _:
            return 500, error.name, "nothing was shown; the fault is written down"
