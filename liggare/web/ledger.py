"""The ledger's index over HTTP, read-only: what happened, to whom and where. The manual is at /openapi.json.

    request -> how far the index is (its answer's ETag) -> one bounded page -> JSON

Numbers of the chain's own types are decimal text, since they may exceed what JSON's readers hold; bytes are 0x text.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import groupby
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Block
from liggare.errors import IndexUnavailable, UsageError
from liggare.ledger.follower import Follower
from liggare.ledger.index import Index
from liggare.ledger.queries import MOST, TERM, Health, Ledger, Page, term
from liggare.ledger.rows import Row
from liggare.payments.ids import PaymentIds
from liggare.web.crowd import Crowd
from liggare.web.problems import problem
from liggare.web.service import PROBLEM, Told, serve

__all__ = ["Service", "application", "assemble", "stream"]

REFUSALS = {
    "IndexUnavailable": (503, "the index's database does not answer"),
    "ChainUnavailable": (503, "the chain can't be asked"),
    "Faulty": (500, "a fault of this server"),
}
PAUSE = 0.25
"""Seconds between two looks of a stream."""
STREAM = "/v1/changes"

Transaction = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{64}$")]
Account = Annotated[
    str, Path(pattern="^0x[0-9a-fA-F]{40}$", description="An address; in mixed case its checksum must be right.")
]
Most = Annotated[int, Query(ge=1, le=MOST, description="Rows of a page.")]
Before = Annotated[int | None, Query(ge=0, lt=2**63, description="Go on where a page said `next`.")]


class Event(Told):
    """One event: `arguments` by their Solidity names, numbers as decimal text, bytes as 0x text; `time` is unix."""

    block: int
    block_hash: str
    time: int
    transaction: str
    log_index: int
    contract: str
    event: str
    arguments: dict[str, str | bool]


class Events(Told):
    """A page, newest first; `next` is the `before` of the next one, null on the last."""

    events: list[Event]
    next: int | None


class PaymentFound(Told):
    """Money that moved, and the use of the authorization by which it did; null where the payer sent it directly.

    `id` is the signed message's; null where there is none, or where another contract's message stands for it.
    """

    transfer: Event
    authorization: Event | None
    id: str | None


class Sum(Told):
    """How many events there are of a kind, and the sum of their values, units of 10^-6 where they are money."""

    count: int
    value: str


class About(Told):
    """Which ledger this is, and what is in it, by `Contract.Event`."""

    chain_id: int
    genesis: str
    contracts: dict[str, str]
    totals: dict[str, Sum]


class Standing(Told):
    """Where the index stands: `current`, `behind`, `stuck` (`trouble` says why), `stopped` or `empty`."""

    state: str
    block: int | None
    block_hash: str | None
    time: int | None
    head: int | None
    trouble: str | None


class Service:
    """An index, what follows the chain into it, and what answers from it; shared by all requests."""

    def __init__(self, w3: Web3, deployments: Deployments, index: Index, follower: Follower) -> None:
        self.w3, self.deployments, self.index, self.follower = w3, deployments, index, follower
        self.ledger = Ledger(index, follower.ledger)
        self.stop = threading.Event()

    def close(self) -> None:
        """Let go of the database."""
        self.index.close()


def assemble(w3: Web3, deployments: Deployments, database: str, *, confirmations: int = 0) -> Service:
    """Put a service together. Raises IndexUnavailable or SettingsError where the database is not to be had."""
    index = Index(database)
    ids = PaymentIds(deployments)
    return Service(w3, deployments, index, Follower(w3, deployments, index, confirmations=confirmations, ids=ids))


def application(
    service: Service,
    *,
    most: int = 64,
    streams: frozenset[str] = frozenset(),
    workers: Mapping[str, Callable[[threading.Event], None]] | None = None,
) -> FastAPI:
    """Return the web application; it follows the chain for as long as it serves.

    At most `most` requests are answered at a time; `streams` are the paths of further streams, `workers` run beside the
    follower.
    """
    workers = {"follower": service.follower.run, **(workers or {})}
    words = "Tells what is on the ledger, from an index of it; `liggare verify` checks it without one."
    app = serve("Liggare ledger", words, REFUSALS, workers, service.stop, lambda: None)
    app.exception_handler(UsageError)(_wrong_use)
    app.add_middleware(Crowd, most=most, streams=streams | {STREAM})
    _tell(app, service)
    _find(app, service)
    _stream(app, service)
    return app


def _tell(app: FastAPI, service: Service) -> None:
    @app.get("/v1/ledger", response_model=About)
    def ledger(request: Request) -> Response:
        """Tell which ledger this is and how much there is of everything."""

        def about() -> dict[str, Any]:
            record = service.deployments
            totals = service.ledger.totals().items()
            return {
                "chainId": record.chain_id,
                "genesis": record.genesis,
                "contracts": {name: item.address for name, item in record.contracts.items()},
                "totals": {name: {"count": total.count, "value": str(total.value)} for name, total in totals},
            }

        return _kept(service, request, about)

    @app.get("/health", response_model=Standing, responses={503: {"model": Standing}})
    def health() -> Response:
        """Tell where the index stands; 503 where it does not follow the chain."""
        standing = _standing(service.ledger.health())
        return JSONResponse(standing, 200 if standing["state"] in ("current", "behind") else 503)

    @app.get("/v1/events", response_model=Events, responses={422: PROBLEM})
    def events(
        request: Request,
        about: Annotated[
            list[Annotated[str, Query(pattern=TERM)]] | None,
            Query(
                max_length=4,
                description="An address, an id of 32 bytes, `slot:2880`, `home:3` or `event:Contract.Event`;"
                " several: about all of them, the rarest first.",
            ),
        ] = None,
        most: Most = 50,
        before: Before = None,
    ) -> Response:
        """Tell the newest events, or those about something."""
        terms = [term(each) for each in about or []]

        def ask() -> dict[str, Any]:
            found = service.ledger.about(*terms, most=most, before=before) if terms else None
            return page(found or service.ledger.latest(most, before))

        return _kept(service, request, ask)

    @app.get("/v1/prices", response_model=Events)
    def prices(request: Request, most: Most = 96, before: Before = None) -> Response:
        """Tell the newest cleared slots: prices in thousandths per kWh, volumes in Wh."""
        return _kept(service, request, lambda: page(service.ledger.prices(most, before)))

    @app.get("/v1/grants", response_model=Events)
    def grants(request: Request, most: Most = 50, before: Before = None) -> Response:
        """Tell the newest changes of the register of grants: keys and commitments, no name and no terms."""
        return _kept(service, request, lambda: page(service.ledger.grants(most, before)))


def _find(app: FastAPI, service: Service) -> None:
    @app.get("/v1/transactions/{transaction}", response_model=Events, responses={404: PROBLEM})
    def transaction(request: Request, transaction: Transaction) -> Response:
        """Tell all events of a transaction, in their order."""
        rows = service.ledger.transaction(transaction)
        if not rows:
            return _unknown(f"the index has no event of transaction {transaction.lower()}")
        return _kept(service, request, lambda: page(Page(rows, None)))

    @app.get("/v1/payments/{transaction}/{log_index}", response_model=PaymentFound, responses={404: PROBLEM})
    def payment(
        request: Request, transaction: Transaction, log_index: Annotated[int, Path(ge=0, lt=2**20)]
    ) -> Response:
        """Tell a payment by the place of its `Transfer`."""
        found = service.ledger.payment(transaction, log_index)
        if found is None:
            return _unknown(f"log {log_index} of transaction {transaction.lower()} is no payment that the index has")
        used = None if found.authorization is None else plain(found.authorization)
        return _kept(service, request, lambda: {"transfer": plain(found.row), "authorization": used, "id": found.id})

    @app.get("/v1/log-heads/{custodian}", response_model=Events, responses={422: PROBLEM})
    def log_heads(request: Request, custodian: Account, most: Most = 50, before: Before = None) -> Response:
        """Tell the newest heads of a custodian's access log."""
        return _kept(service, request, lambda: page(service.ledger.log_heads(custodian, most, before)))


def _stream(app: FastAPI, service: Service) -> None:
    @app.get(STREAM, response_class=EventSourceResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def changes(request: Request) -> EventSourceResponse:
        """Stream the events of each block from now on, as it is indexed (Server-Sent Events).

        `block` has the block and its events, and an id by which a client that comes back (`Last-Event-ID`) misses none.
        `turned` says that the chain left blocks that were told: ask again for what is shown of them.
        """
        return stream(service, request, plain)


def stream(service: Service, request: Request, tell: Callable[[Row], dict[str, Any]]) -> EventSourceResponse:
    """Answer by a stream of blocks, each event as `tell` has it; it goes on where the client says it was."""
    number, _, hash_ = request.headers.get("last-event-id", "").partition(" ")
    known = None
    if re.fullmatch(r"\d{1,14}", number, re.ASCII):
        known = Block(int(number), hash_, "", 0, 0)
    return EventSourceResponse(_follow(service, known, tell), ping=15)


async def _follow(
    service: Service, known: Block | None, tell: Callable[[Row], dict[str, Any]]
) -> AsyncIterator[ServerSentEvent]:
    """Yield the blocks with events behind the one that is known (None: behind the one that is read now)."""
    ledger = service.ledger
    while not service.stop.is_set():
        try:
            read = (await run_in_threadpool(ledger.health)).read
            if read is None or (known and read.hash == known.hash):
                await asyncio.sleep(PAUSE)
                continue
            kept = await run_in_threadpool(ledger.block, known.number) if known else read
            if known and (kept is None or kept.hash != known.hash):
                yield ServerSentEvent(
                    json.dumps({"block": read.number}), event="turned", id=f"{read.number} {read.hash}"
                )
            elif known:
                blocks = groupby(ledger.rows(known.number + 1, read.number), key=lambda row: row.block)
                async for told in iterate_in_threadpool(_block(list(rows), tell) for _, rows in blocks):
                    yield told
            known = read
        except IndexUnavailable:
            await asyncio.sleep(PAUSE)  # it may be back at the next look


def _block(rows: list[Row], tell: Callable[[Row], dict[str, Any]]) -> ServerSentEvent:
    """Return the message of a block with these rows, which are all that it has."""
    told = {"block": rows[0].block, "time": rows[0].timestamp, "events": [tell(row) for row in rows]}
    return ServerSentEvent(json.dumps(told), event="block", id=f"{rows[0].block} {rows[0].block_hash}")


# ---------------------------------------------------------------------- answers


def plain(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it."""
    return {
        "block": row.block,
        "blockHash": row.block_hash,
        "time": row.timestamp,
        "transaction": row.transaction,
        "logIndex": row.log_index,
        "contract": row.contract,
        "event": row.event,
        "arguments": {name: _text(value) for name, value in row.arguments.items()},
    }


def page(found: Page) -> dict[str, Any]:
    """Return a page as JSON has it."""
    return {"events": [plain(row) for row in found.rows], "next": found.next}


def _text(value: Any) -> str | bool:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return value if isinstance(value, bool) else str(value)


def _standing(health: Health) -> dict[str, Any]:
    read = health.read
    return {
        "state": health.state,
        "block": read and read.number,
        "blockHash": read and read.hash,
        "time": read and read.time,
        "head": health.head,
        "trouble": health.trouble,
    }


def _kept(service: Service, request: Request, ask: Callable[[], dict[str, Any]]) -> Response:
    """Answer, or say that nothing has changed: what is asked for by its address changes with the index alone."""
    read = service.ledger.health().read
    tag = f'W/"{read.hash[2:] if read else "empty"}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", "").split(", "):
        return Response(status_code=304, headers=headers)
    return JSONResponse(ask(), headers=headers)


def _unknown(words: str) -> Response:
    return problem("Unknown", "there is no such thing on this ledger", 404, words)


async def _wrong_use(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UsageError)  # noqa: S101  registered for it
    return problem(error.name, "the request can't be meant", 422, str(error))
