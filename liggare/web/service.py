"""What services that take signed messages have in common: the application and its workers, refusals, health."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import requests
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from web3.exceptions import Web3Exception

from liggare import __version__
from liggare.errors import (
    ChainError,
    IndexUnavailable,
    MarketRefused,
    MarketUnavailable,
    OutboxUnavailable,
    RelayRefused,
)
from liggare.web import problems
from liggare.web.problems import Measure, Problem, problem

__all__ = ["PROBLEM", "Refusals", "Told", "condition", "refusal", "serve"]

log = logging.getLogger(__name__)

Refusals = Mapping[str, tuple[int, str]]
"""A service's refusals by name: HTTP status and title."""
PROBLEM: dict[str, Any] = {"model": Problem, "content": {"application/problem+json": {}}}
"""How a refusal stands in the OpenAPI document."""
LARGEST = 4 * 2**20
"""Bytes of a request."""
STALE = 30.0
"""Seconds without a good tick after which a worker calls itself unwell."""
STORE_FAILS = (OutboxUnavailable, MarketUnavailable, IndexUnavailable)
CHAIN_FAILS = (requests.RequestException, Web3Exception, ChainError)


class Told(BaseModel):
    """What is told as JSON: members in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def serve(
    title: str,
    summary: str,
    refusals: Refusals,
    workers: Mapping[str, Callable[[threading.Event], None]],
    stop: threading.Event,
    wake: Callable[[], None],
) -> FastAPI:
    """Return an application whose workers, by thread name, run for as long as it serves.

    When it ends, `stop` is set and `wake` called, and every worker is waited for. Errors become problem+json with the
    status and title of `refusals`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threads = [threading.Thread(target=run, args=(stop,), name=name) for name, run in workers.items()]
        for thread in threads:
            thread.start()
        yield
        stop.set()
        wake()
        for thread in threads:
            thread.join()

    app = FastAPI(
        title=title,
        version=__version__,
        summary=summary,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages fetch their scripts from elsewhere
        redoc_url=None,
        responses={400: PROBLEM, 503: PROBLEM},
    )
    app.exception_handler(RequestValidationError)(problems.malformed)
    app.exception_handler(HTTPException)(problems.http_problem)
    _explain(app, refusals)
    app.add_middleware(Measure, most=LARGEST)
    return app


def refusal(refusals: Refusals, error: RelayRefused | MarketRefused) -> dict[str, Any]:
    """Return a refusal's document, for an answer that tells of several messages."""
    status, title = refusals[error.reason]
    return problems.body(error.reason, title, status, str(error), **error.values)


def condition(asked: Mapping[str, Callable[[], object]], ticked: float, **others: str) -> Response:
    """Tell whether all do their part; 503 where one does not.

    `asked` are called, `ticked` is when the worker did well last, `others` are told as they are: "ok" or what is wrong.
    """
    parts = {name: _try(ask) for name, ask in asked.items()}
    parts["worker"] = "ok" if time.time() - ticked < STALE else "no good tick for long"
    parts |= others
    well = all(part == "ok" for part in parts.values())
    return JSONResponse({"status": "ok" if well else "unwell", **parts}, 200 if well else 503)


def _try(ask: Callable[[], object]) -> str:
    try:
        ask()
    except (*CHAIN_FAILS, *STORE_FAILS) as exc:
        return type(exc).__name__
    return "ok"


def _explain(app: FastAPI, refusals: Refusals) -> None:
    """Answer errors by problems."""

    def answer(name: str, detail: str, **values: Any) -> JSONResponse:
        status, title = refusals[name]
        return problem(name, title, status, detail, **values)

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RelayRefused | MarketRefused)  # noqa: S101  registered for them
        return answer(error.reason, str(error), **error.values)

    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        return answer(type(error).__name__, str(error))

    async def chain_unavailable(_: Request, error: Exception) -> JSONResponse:
        log.warning("the chain is not there: %s", type(error).__name__)
        return answer("ChainUnavailable", "nothing was taken; ask again")

    async def faulty(_: Request, error: Exception) -> JSONResponse:
        log.error("a fault", exc_info=error)
        return answer("Faulty", "nothing was taken; the fault is written down")

    told = {(RelayRefused, MarketRefused): refused, STORE_FAILS: unavailable, CHAIN_FAILS: chain_unavailable}
    for kinds, handler in told.items():
        for kind in kinds:
            app.exception_handler(kind)(handler)
    app.exception_handler(Exception)(faulty)
