"""The gatekeeper's refusals: which error is which HTTP status and name, and OAuth's form of them."""

from __future__ import annotations

from typing import Protocol

from fastapi import Response
from fastapi.responses import JSONResponse

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

__all__ = ["UNKEPT", "Refuse", "Refused", "named", "oauth"]

UNKEPT = {"Cache-Control": "no-store"}
"""Nobody on the way may keep an answer."""


class Refused(Exception):
    """A request that is no request of this server."""

    def __init__(self, status: int, name: str, words: str) -> None:
        super().__init__(words)
        self.status, self.name = status, name


class Refuse(Protocol):
    """Makes the answer that refuses."""

    def __call__(self, status: int, name: str, words: str, *, where: str = "") -> Response:
        """Return the response."""


def named(error: LiggareError | Refused) -> tuple[int, str, str]:
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


def oauth(status: int, name: str, words: str, *, where: str = "") -> Response:  # noqa: ARG001  as others have it
    """Return a refusal in OAuth's form (RFC 6749, 5.2)."""
    known = {"Malformed": "invalid_request", "ScopeUnknown": "invalid_scope", "ScopeMissing": "invalid_scope"}
    error = "temporarily_unavailable" if status == 503 else known.get(name, "invalid_grant")
    status = status if status >= 500 else 400
    headers = {**UNKEPT, **({"Retry-After": "5"} if status == 503 else {})}
    return JSONResponse({"error": error, "error_description": words, "name": name}, status, headers)
