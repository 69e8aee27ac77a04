"""`liggare serve relay`: signed messages in, their way told, and the figures. The manual is at /openapi.json."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from eth_account.signers.local import LocalAccount
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Discriminator, Field, Tag
from sse_starlette import EventSourceResponse, ServerSentEvent

from liggare.chain.connection import now
from liggare.errors import InvalidAddress, OutboxUnavailable, RelayRefused
from liggare.messages import address
from liggare.payments.cargo import PaymentCargo
from liggare.payments.client import Payments
from liggare.payments.wire import SignedPayment
from liggare.records.cargo import RecordCargo
from liggare.records.client import Records
from liggare.records.wire import SignedRecord
from liggare.relay.cargo import Cargo
from liggare.relay.intake import Intake
from liggare.relay.metrics import Metrics
from liggare.relay.outbox import PAYMENT, Change, Outbox, Row
from liggare.relay.refusals import REFUSALS
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Limits, Pace
from liggare.web.problems import Problem
from liggare.web.service import PROBLEM, condition, refusal, serve

__all__ = ["Service", "application", "assemble"]

log = logging.getLogger(__name__)

Id = Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="The message's id: its EIP-712 digest.")]


Posted = Annotated[
    Annotated[SignedPayment, Tag("one")] | Annotated[list[SignedPayment], Field(min_length=1), Tag("many")],
    Discriminator(lambda given: "many" if isinstance(given, list) else "one"),
]


PostedRecords = Annotated[
    Annotated[SignedRecord, Tag("one")] | Annotated[list[SignedRecord], Field(min_length=1), Tag("many")],
    Discriminator(lambda given: "many" if isinstance(given, list) else "one"),
]


class PaymentState(BaseModel):
    """Where a payment is: `queued`, `sent`, `mined`, then `paid` or `failed` for good."""

    id: str
    status: str
    reason: str | None = None
    transaction: str | None = None
    block: int | None = None
    accepted: float


class Taken(BaseModel):
    """What became of each payment of a request, in its order: its state, or the problem."""

    payments: list[PaymentState | Problem]


class RecordState(PaymentState):
    """Where a message of the records is: `queued`, `sent`, `mined`, then `carried` or `failed` for good."""


class TakenRecords(BaseModel):
    """What became of each message of a request, in its order: its state, or the problem."""

    records: list[RecordState | Problem]


class AccountState(BaseModel):
    """An account as a payer: units as decimal text, and the counter nonce to sign next."""

    address: str
    balance: str
    free: str
    next_nonce: int = Field(serialization_alias="nextNonce")
    outstanding: int


class Service:
    """The relayer's parts, put together once and shared by all requests."""

    def __init__(
        self,
        outbox: Outbox,
        intake: Intake,
        relayer: Relayer,
        payments: Payments,
        metrics: Metrics,
        records: Intake | None = None,
    ) -> None:
        """`intake` takes payments, `records` the messages of the records, where the operator gives gas for them."""
        self.outbox, self.intake, self.relayer, self.payments = outbox, intake, relayer, payments
        self.metrics, self.records = metrics, records
        self.stop = threading.Event()


def assemble(
    payments: Payments,
    sponsor: LocalAccount,
    database: str,
    limits: Limits,
    pace: Pace,
    *,
    records: Records | None = None,
    record_limits: Limits | None = None,
) -> Service:
    """Put a service together; without `record_limits` it takes nothing of the `records`, and ends what it took before.

    Raises OutboxUnavailable or SettingsError where the database is not to be had.
    """
    outbox, metrics = Outbox(database), Metrics()
    cargoes: list[Cargo] = [PaymentCargo(payments), *([RecordCargo(records)] if records else [])]
    relayer = Relayer(payments.w3, sponsor, outbox, cargoes, pace, metrics=metrics)

    def intake(cargo: Cargo, given: Limits) -> Intake:
        return Intake(outbox, cargo, given, relayer.price, chain_time=lambda: now(payments.w3))

    of_records = intake(cargoes[1], record_limits) if records and record_limits else None
    return Service(outbox, intake(cargoes[0], limits), relayer, payments, metrics, of_records)


def application(service: Service) -> FastAPI:
    """Return the web application; its relayer works for as long as it serves."""

    app = serve(
        "Liggare relay",
        "Carries signed messages to the chain and pays the gas.",
        REFUSALS,
        {"relayer": service.relayer.run},
        service.stop,
        service.relayer.wake,
    )
    _payments(app, service)
    _records(app, service)
    _watch(app, service)
    return app


def _payments(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/payments",
        status_code=202,
        responses={
            202: {"model": PaymentState | Taken},
            409: PROBLEM,
            413: PROBLEM,
            422: PROBLEM,
            429: PROBLEM,
        },
    )
    def pay(body: Posted) -> Response:
        """Take one signed payment, or a list of them.

        One is answered by its state, or refused by its problem. A list is answered in its order, each payment for
        itself. A payment that was taken before is answered by its state, so asking again is safe.
        """
        return _take(service, service.intake, body, "payments")

    @app.get("/v1/payments/{id}", response_model=PaymentState, responses={404: PROBLEM})
    def show(id: Id) -> Any:
        """Tell where a payment is."""
        row = service.outbox.get(id, PAYMENT)
        if row is None:
            raise RelayRefused("PaymentUnknown", f"the relayer was never given payment {id}")
        return _state(row)

    @app.get("/v1/accounts/{account}", response_model=AccountState, responses={422: PROBLEM})
    def account(account: Annotated[str, Path(pattern="^0x[0-9a-fA-F]{40}$")]) -> Any:
        """Tell what an account has free, and which counter nonce to sign next."""
        try:
            who = address(account)
        except InvalidAddress as exc:
            raise RelayRefused("WrongChecksum", str(exc)) from None
        with service.outbox.read() as connection:
            rows = service.outbox.outstanding(connection, PAYMENT, [who])
        balance, state = service.payments.balance(who), service.payments.nonces(who)
        counters = [int(row.nonce, 16) for row in rows if int(row.nonce, 16) < 2**64]
        return AccountState(
            address=who,
            balance=str(balance),
            free=str(max(0, balance - sum(row.total for row in rows))),
            next_nonce=max([state.next(), *(number + 1 for number in counters)]),
            outstanding=len(rows),
        )

    @app.get("/v1/changes", response_class=EventSourceResponse, responses={200: {"content": {"text/event-stream": {}}}})
    async def follow(
        request: Request,
        id: Annotated[list[Annotated[str, Query(pattern="^0x[0-9a-f]{64}$")]] | None, Query(max_length=100)] = None,
        payer: Annotated[str | None, Query(pattern="^0x[0-9a-fA-F]{40}$")] = None,
        since: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    ) -> EventSourceResponse:
        """Stream every step of every payment as it happens (Server-Sent Events); of some, or one payer, if so asked.

        Without `since` the stream begins now; with `since=0` at the beginning. A client that comes back with
        `Last-Event-ID` misses nothing.
        """
        last = request.headers.get("last-event-id", "")
        begin = int(last) if last.isascii() and last.isdigit() else since
        if begin is None:
            begin = await run_in_threadpool(service.outbox.last_change)
        who = None if payer is None else address(payer.lower())
        return EventSourceResponse(_stream(service, begin, id or [], who), ping=15)


def _records(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/records",
        status_code=202,
        responses={
            202: {"model": RecordState | TakenRecords},
            403: PROBLEM,
            409: PROBLEM,
            413: PROBLEM,
            422: PROBLEM,
            429: PROBLEM,
        },
    )
    def carry(body: PostedRecords) -> Response:
        """Take one signed message of the records, or a list of them, as payments are taken.

        Of messages about one thing (a grant, a guardian, …) those that land before may be on their way still.
        """
        if service.records is None:
            raise RelayRefused("NotOffered", "this relayer carries payments; any carrier can carry the message")
        return _take(service, service.records, body, "records")

    @app.get("/v1/records/{id}", response_model=RecordState, responses={404: PROBLEM})
    def show_record(id: Id) -> Any:
        """Tell where a message of the records is."""
        row = service.outbox.get(id, RecordCargo.kind)
        if row is None:
            raise RelayRefused("RecordUnknown", f"the relayer was never given message {id}")
        return _state(row)


def _take(service: Service, intake: Intake, body: Any, plural: str) -> Response:
    """Take what was posted, one or a list, and answer in kind."""
    taken = intake.accept(body if isinstance(body, list) else [body])
    service.relayer.wake()
    for each in taken:
        if isinstance(each, RelayRefused):
            service.metrics.refused.labels(each.reason).inc()
        else:
            service.metrics.accepted.inc()
    if isinstance(body, list):
        return JSONResponse({plural: [_told(each) for each in taken]}, 202)
    if isinstance(taken[0], RelayRefused):
        raise taken[0]
    return JSONResponse(_state(taken[0]), 202)


async def _stream(service: Service, after: int, ids: list[str], payer: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield the changes after a number; the database is asked, so other relayers' changes come too."""
    while not service.stop.is_set():
        try:
            found = await run_in_threadpool(service.outbox.changes, after, 500, ids, payer)
        except OutboxUnavailable:
            found = []  # it comes back, and the stream goes on where it was
        for change in found:
            after = change.seq
            yield ServerSentEvent(json.dumps(_change(change)), event="change", id=str(change.seq))
        if not found:
            await asyncio.sleep(0.2)


def _watch(app: FastAPI, service: Service) -> None:
    @app.get("/health", responses={503: {"description": "something that it needs is missing"}})
    def health() -> Response:
        """Tell whether node, database and worker do their part; 503 where one does not."""
        asked = {"database": service.outbox.last_change, "chain": service.payments.supply}
        return condition(asked, service.relayer.ticked)

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Tell the figures for Prometheus."""
        for status, count in service.outbox.counts().items():
            service.metrics.queue.labels(status).set(count)
        oldest = service.outbox.oldest()
        service.metrics.oldest.set(0 if oldest is None else time.time() - oldest)
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _state(row: Row) -> dict[str, Any]:
    state = {"id": row.id, "status": row.status.value, "reason": row.reason, "transaction": row.transaction}
    return {**state, "block": row.block, "accepted": row.accepted}


def _change(change: Change) -> dict[str, Any]:
    told = {"id": change.id, "payer": change.account, "status": change.status.value, "reason": change.reason}
    return {**told, "transaction": change.transaction, "block": change.block, "at": change.at}


def _told(taken: Row | RelayRefused) -> dict[str, Any]:
    if isinstance(taken, Row):
        return _state(taken)
    return refusal(REFUSALS, taken)
