"""Refusals as problem+json (RFC 9457): one form for every service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Measure", "Problem", "http_problem", "malformed", "problem"]


class Problem(BaseModel):
    """Why a request was refused; `name` is stable, further members are what was compared."""

    type: str
    title: str
    status: int
    detail: str
    name: str


def problem(name: str, title: str, status: int, detail: str, **values: Any) -> JSONResponse:
    """Return the response."""
    # a quota begins anew at midnight, UTC; a node or a database may be back at once
    waits = {429: str(int(86_400 - time.time() % 86_400)), 503: "5"}
    headers = {"Retry-After": waits[status]} if status in waits else {}
    return JSONResponse(body(name, title, status, detail, **values), status, headers, "application/problem+json")


def body(name: str, title: str, status: int, detail: str, **values: Any) -> dict[str, Any]:
    """Return the document."""
    return {"type": f"urn:liggare:{name}", "title": title, "status": status, "detail": detail, "name": name, **values}


async def malformed(_: Request, error: Exception) -> JSONResponse:
    """Say where a request is not of its form; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for it
    where = [".".join(map(str, each["loc"])) for each in error.errors()]
    first = error.errors()[0]
    return problem("Malformed", "the request is not of its form", 400, f"{where[0]}: {first['msg']}", at=where)


async def http_problem(_: Request, error: Exception) -> JSONResponse:
    """Say what the server itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it
    if error.status_code == 400:  # the body is no JSON, nor even text
        return problem("Malformed", "the request is not of its form", 400, str(error.detail), at=["body"])
    response = problem("NotServed", "there is no such thing here", error.status_code, str(error.detail))
    response.headers.update(error.headers or {})
    return response


def too_large(most: int) -> Response:
    """Return the refusal of a body beyond `most` bytes."""
    return problem("TooLarge", "the request is too long", 413, f"{most} bytes are the most")


class Measure:
    """Refuses a request's body beyond `most` bytes, before it is read whole; `refusal` makes the answer."""

    def __init__(self, app: ASGIApp, most: int, refusal: Callable[[int], Response] = too_large) -> None:
        self._app, self._most, self._refusal = app, most, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting its body."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        told = Headers(scope=scope).get("content-length", "0")
        if not told.isdigit() or int(told) > self._most:
            return await self._refuse(scope, receive, send)
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > self._most:
                raise _TooLarge
            return message

        try:
            await self._app(scope, counted, send)
        except _TooLarge:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(self._most)
        refusal.headers["connection"] = "close"  # else the server would read on to the end
        await refusal(scope, receive, send)


class _TooLarge(BaseException):
    """Passes by those who catch every Exception."""
