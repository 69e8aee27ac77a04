"""What the pages share: the parts they ask, the language of a request, templates, errors as pages, strict headers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liggare.errors import IndexUnavailable, UsageError
from liggare.ledger.queries import Health, Page
from liggare.ledger.rows import Row
from liggare.messages import address
from liggare.web.explorer import shown
from liggare.web.explorer.market import Market
from liggare.web.explorer.sentences import link, sentence
from liggare.web.explorer.words import LANGUAGES, chosen, say
from liggare.web.ledger import Service
from liggare.web.service import CHAIN_FAILS

__all__ = ["Guard", "NotHere", "Site"]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        # a check asks a node of the reader's choice: any by https, or one on the reader's own machine
        "connect-src 'self' https: http://localhost:* http://127.0.0.1:*",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
Before = Annotated[int | None, Query(ge=0, lt=2**63)]
"""Where a list goes on, as the page before it said."""
LONGEST = 80
"""Characters of what a reader asked for that an error repeats."""
YEAR = 31_536_000
YOUNG = 5
"""Seconds for which the index may be behind without a word: a block has just come."""


class NotHere(Exception):
    """What was asked for is not there, or makes no sense: a page says so with these words."""

    def __init__(self, key: str, status: int = 404, **values: Any) -> None:
        super().__init__(key)
        self.key, self.status, self.values = key, status, values


class Site:
    """All that pages ask, and how they are written; shared by all requests."""

    def __init__(self, service: Service) -> None:
        self.service, self.ledger, self.deployments = service, service.ledger, service.deployments
        has_market = "EnergyMarket" in self.deployments.contracts
        self._market = Market(service.ledger, service.deployments) if has_market else None
        self.symbol = str(self.deployments.contracts["ZeroFeePayments"].arguments[1])
        self.names: dict[str, str] = {item.address: name for name, item in self.deployments.contracts.items()}
        self._money = self.deployments.contract(service.w3, "ZeroFeePayments")
        self._templates = Environment(
            loader=PackageLoader("liggare.web.explorer"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @property
    def market(self) -> Market:
        """The energy market. Raises NotHere where the ledger has none."""
        if self._market is None:
            raise NotHere("error.market")
        return self._market

    @property
    def followers(self) -> dict[str, Any]:
        """What runs beside the index's follower, by thread name."""
        return {} if self._market is None else {"market": self._market.run}

    def language(self, request: Request) -> str:
        """Return the language of a request."""
        words = request.query_params.get("lang"), request.cookies.get("lang")
        return chosen(*words, request.headers.get("accept-language", ""))

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """Write a page."""
        lang = self.language(request)

        def other(name: str) -> str:
            query = [(key, each) for key, each in request.query_params.multi_items() if key != "lang"]
            return f"{request.url.path}?{urlencode([*query, ('lang', name)])}"

        def t(key: str, **words: Any) -> str:
            return say(lang, key, **words)

        try:
            health = values.pop("health", None) or self.ledger.health()
        except IndexUnavailable:
            health = None
        words = {
            "t": t,
            "lang": lang,
            "languages": [(name, label, other(name)) for name, label in LANGUAGES.items()],
            "path": request.url.path,
            "health": health,
            "banner": self._banner(health, lang),
            "chain": self.deployments.chain_id,
            "contracts": {name: item.address for name, item in self.deployments.contracts.items()},
            "symbol": self.symbol,
            "has_market": self._market is not None,
            "findings": self._market.findings if self._market else [],
            "money": lambda units: shown.money(units, lang),
            "number": lambda digits: shown.number(digits, lang),
            "price": lambda thousandths: shown.price(thousandths, lang),
            "energy": lambda wh: shown.energy(wh, lang),
            "when": shown.when,
            "short": shown.short,
            "query": request.query_params.get("q", "")[:LONGEST],
        }
        text = self._templates.get_template(template).render(**words, **values)
        headers = {"Cache-Control": "no-cache", "Content-Language": lang, "Vary": "Accept-Language, Cookie"}
        if status == 503:
            headers["Retry-After"] = "5"
        response = HTMLResponse(text, status, headers)
        if request.query_params.get("lang") in LANGUAGES:
            response.set_cookie("lang", lang, max_age=YEAR, httponly=True, samesite="lax")
        return response

    def _banner(self, health: Health | None, lang: str) -> str | None:
        """Return what readers must know of the index; None where it follows the chain."""
        if health is None:
            return say(lang, "error.database")
        read = health.read
        if health.state == "current" or (
            health.state == "behind" and read and (health.head or 0) - read.number <= YOUNG
        ):
            return None
        block, head = (shown.number(each or 0, lang) for each in (read and read.number, health.head))
        return say(lang, f"state.{health.state}", block=block, head=head, trouble=health.trouble)

    def events(self, page: Page, lang: str) -> list[dict[str, Any]]:
        """Return rows as templates list them."""
        return [self.event(row, lang) for row in page.rows]

    def event(self, row: Row, lang: str) -> dict[str, Any]:
        """Return a row as a list of events shows it."""
        parts = [[part.text, part.href] for part in sentence(row, lang, self.names)]
        return {"when": shown.when(row.timestamp), "parts": parts, "href": link(row)}

    def balance(self, account: str, health: Health) -> int | None:
        """Return an account's money by the chain, at the block that is read; None where the chain can't be asked."""
        if health.read is None or health.state in ("stuck", "stopped"):
            return None
        try:
            return int(self._money.functions.balanceOf(address(account)).call(block_identifier=health.read.number))
        except (*CHAIN_FAILS, ValueError):
            return None

    def now(self, health: Health) -> int:
        """Return the time: this machine's, or the chain's where that is ahead."""
        return max(int(time.time()), health.read.time if health.read else 0)


def known_address(given: str) -> str:
    """Return an address in its right spelling. Raises NotHere."""
    try:
        return str(address(given))
    except UsageError:
        raise NotHere("error.address", 400, given=given[:LONGEST]) from None


def known_hash(given: str) -> str:
    """Return 32 bytes as 0x text in lower case. Raises NotHere."""
    if not re.fullmatch(r"0x[0-9a-fA-F]{64}", given):
        raise NotHere("error.term", 400, given=given[:LONGEST])
    return given.lower()


def known_number(given: str, most: int = 2**24 - 2) -> int:
    """Return a number of a slot or a home. Raises NotHere."""
    if not re.fullmatch(r"\d{1,8}", given, re.ASCII) or int(given) > most:
        raise NotHere("error.term", 400, given=given[:LONGEST])
    return int(given)


# ---------------------------------------------------------------------- errors and headers


def explain(app: FastAPI, site: Site) -> None:
    """Answer errors by pages."""

    def error(request: Request, status: int, words: str) -> Response:
        title = say(site.language(request), f"error.{status}")
        return site.page(request, "error.html", status, title=title, words=words)

    async def not_here(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, NotHere)  # noqa: S101  registered for it
        return error(request, exc.status, say(site.language(request), exc.key, **exc.values))

    async def wrong(request: Request, _: Exception) -> Response:
        given = request.url.query or request.url.path
        return error(request, 400, say(site.language(request), "error.term", given=given[:LONGEST]))

    async def http(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)  # noqa: S101  registered for it
        status = exc.status_code if exc.status_code in (400, 404, 405) else 400
        return error(request, status, say(site.language(request), "error.405" if status == 405 else "error.page"))

    async def unavailable(request: Request, _: Exception) -> Response:
        return error(request, 503, say(site.language(request), "error.database"))

    async def faulty(request: Request, _: Exception) -> Response:
        lang = site.language(request)
        response = error(request, 500, say(lang, "error.fault"))
        response.headers.update(HEADERS)  # it goes out past the guard
        return response

    app.exception_handler(NotHere)(not_here)
    app.exception_handler(RequestValidationError)(wrong)
    app.exception_handler(UsageError)(wrong)
    app.exception_handler(HTTPException)(http)
    app.exception_handler(IndexUnavailable)(unavailable)
    app.exception_handler(Exception)(faulty)


class Guard:
    """Sets on every answer what a browser may do with it: no script but the site's own, no frame, no referrer."""

    def __init__(self, app: ASGIApp, headers: Iterable[tuple[str, str]] = tuple(HEADERS.items())) -> None:
        self._app, self._headers = app, list(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(dict(self._headers))
            await send(message)

        await self._app(scope, receive, guarded)
