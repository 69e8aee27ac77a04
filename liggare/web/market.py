"""`liggare serve market`: readings and messages in, what the chain says of slots and homes, and the figures.

The manual is served at /openapi.json.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path as FilePath
from typing import Annotated, Any

from eth_account.signers.local import LocalAccount
from fastapi import FastAPI, Path, Query, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Discriminator, Field, Tag
from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.energy.batches import Batch, due
from liggare.energy.book import Book, Moment, Outcome
from liggare.energy.client import Energy
from liggare.energy.feeds import CsvFeed, MqttFeed, Sink
from liggare.energy.figures import Figures
from liggare.energy.intake import Intake, Limits, Taken
from liggare.energy.messages import SLOT_SECONDS
from liggare.energy.operator import Operator, Pace
from liggare.energy.refusals import REFUSALS
from liggare.energy.store import Message, Store
from liggare.energy.wire import (
    Authorize,
    Placed,
    SignedDeposit,
    SignedOrder,
    SignedReadings,
    SignedWithdrawal,
    document,
)
from liggare.errors import MarketRefused, SettingsError
from liggare.messages import SignedMessage, address
from liggare.payments.client import Payments
from liggare.payments.messages import ReceiveWithAuthorization
from liggare.web.problems import Problem
from liggare.web.service import PROBLEM, Told, condition, refusal, serve

__all__ = ["Service", "application", "assemble", "authorization", "session_name"]

log = logging.getLogger(__name__)

MOST_PRICES = 1000
"""Slots in one answer."""

Id = Annotated[str, Path(pattern="^0x[0-9a-f]{64}$", description="The message's id: its EIP-712 digest.")]
Number = Annotated[int, Path(ge=0, le=2**24 - 1)]
Given = Annotated[
    Annotated[SignedReadings, Tag("one")] | Annotated[list[SignedReadings], Field(min_length=1), Tag("many")],
    Discriminator(lambda given: "many" if isinstance(given, list) else "one"),
]


class BatchState(Told):
    """A batch that is kept; `new` is false where it was before."""

    id: str
    home: int
    first_slot: int
    count: int
    new: bool


class BatchesTaken(Told):
    """What became of each batch of a request, in its order: kept, or the problem."""

    batches: list[BatchState | Problem]


class MessageState(Told):
    """Where a message is: `queued`, `sent`, then `done` or `failed` for good."""

    id: str
    kind: str
    home: int
    status: str
    reason: str | None = None
    transaction: str | None = None
    block: int | None = None
    accepted: float


class Market(Told):
    """Where the market is: the slot that runs, the next one to settle, and who has not been heard of it."""

    current: int
    next: int
    upto: int
    """Where the batch should end that begins with `next`."""
    slots: int
    cuts: list[int]
    opens: int
    missing_from: int
    closes: int
    missing: list[int]


class Slot(Told):
    """A slot: `running`, `waiting`, `cleared` or `closed`; prices are thousandths per kWh, volume is Wh."""

    slot: int
    state: str
    begins: int
    price: int | None = None
    lo: int | None = None
    hi: int | None = None
    volume: int | None = None
    missing: list[int] = Field(default=[])
    transaction: str | None = None
    block: int | None = None


class Prices(Told):
    """Settled slots, by number; `next` is where to go on."""

    slots: list[Slot]
    next: int


class Wish(Told):
    """The order in force: limits in thousandths per kWh, cap in Wh per slot."""

    seq: int
    from_slot: int
    until_slot: int
    buy_limit: int
    sell_limit: int
    cap: int


class DueReadings(Told):
    """The next batch that a home's meter should sign begins here, with these counters, Wh."""

    first_slot: int
    imported: int
    exported: int
    slots: int
    """Batches end at multiples of it."""
    cuts: list[int]
    """And at these."""


class HomeState(Told):
    """A home as the chain has it at `block`; money in units of 10^-6 as decimal text, counters in Wh."""

    home: int
    owner: str
    meter: str | None
    from_slot: int
    until_slot: int
    balance: str
    imported: int
    exported: int
    next_seq: int
    order: Wish | None
    block: int
    due: DueReadings
    contradictions: list[dict[str, Any]]
    """Pairs of signed batches, `kept` and `refused`, that can't both be true."""


class Service:
    """The operator's parts, put together once and shared by all requests."""

    def __init__(
        self, energy: Energy, store: Store, intake: Intake, operator: Operator, figures: Figures, history: Book
    ) -> None:
        self.energy, self.store, self.intake, self.operator = energy, store, intake, operator
        self.figures, self.history = figures, history
        self.feeds: list[CsvFeed | MqttFeed] = []
        self.stop = threading.Event()

    def sink(self) -> Sink:
        """Return what takes batches from elsewhere."""
        return Sink(self.intake, self.figures, self.operator.wake)

    def watch(self, path: FilePath) -> None:
        """Take batches from a CSV file too."""
        self.feeds.append(CsvFeed(path, self.energy.domain, self.sink()))

    def subscribe(self, url: str, name: str, password: str | None = None) -> None:
        """Take batches from an MQTT topic too. Raises SettingsError."""
        self.feeds.append(MqttFeed(url, name, self.sink(), password=password))


def assemble(
    w3: Web3, deployments: Deployments, account: LocalAccount, database: str, limits: Limits, pace: Pace
) -> Service:
    """Put a service together. Raises MarketUnavailable or SettingsError where the database is not to be had."""
    energy, payments, figures = Energy(w3, deployments), Payments(w3, deployments), Figures()
    if SLOT_SECONDS * (pace.slots - 1) + energy.grace > energy.timeout:
        words = f"batches of {pace.slots} slots end too late: the first slot may be closed {energy.timeout} s after it"
        raise SettingsError(words)
    store = Store(database, deployments.genesis, energy.contract.address)
    intake = Intake(energy, authorization(payments), store, account.address, limits)
    operator = Operator(energy, account, store, intake, pace, figures=figures)
    history = Book(w3, energy.contract, energy.domain, energy.first_block, outcomes=True)
    return Service(energy, store, intake, operator, figures, history)


def authorization(payments: Payments) -> Authorize:
    """Return what makes a payment into an account of the money's market."""

    def authorize(payer: str, to: str, value: int, valid_after: int, valid_before: int, nonce: bytes) -> SignedMessage:
        parties = (address(payer), address(to))
        return ReceiveWithAuthorization(payments.domain, *parties, value, valid_after, valid_before, nonce)

    return authorize


def session_name(account: LocalAccount, service: Service) -> str:
    """Return a name of this operator's MQTT session that is the same after a restart."""
    return hashlib.sha256(f"{service.energy.contract.address} {account.address}".encode()).hexdigest()


def application(service: Service) -> FastAPI:
    """Return the web application; its operator works for as long as it serves."""

    feeds = {f"feed {number}": feed.run for number, feed in enumerate(service.feeds)}
    app = serve(
        "Liggare market",
        "Takes readings and orders, and clears and settles the market's slots.",
        REFUSALS,
        {"operator": service.operator.run, **feeds},
        service.stop,
        service.operator.wake,
    )
    _take(app, service)
    _show(app, service)
    _watch(app, service)
    return app


_REFUSALS: dict[int | str, dict[str, Any]] = dict.fromkeys((404, 409, 413, 422), PROBLEM)


def _take(app: FastAPI, service: Service) -> None:
    @app.post("/v1/readings", responses={200: {"model": BatchState | BatchesTaken}, **_REFUSALS})
    def readings(body: Given) -> Response:
        """Take one batch that a meter signed, or a list of them.

        One is answered by its state, or refused by its problem. A list is answered in its order, each batch for itself.
        What was kept before is answered the same, so asking again is safe.
        """
        many = isinstance(body, list)
        taken = service.intake.readings(body if isinstance(body, list) else [body])
        for each in taken:
            _count(service, each, "http")
        if any(isinstance(each, Taken) and each.new for each in taken):
            service.operator.wake()
        if many:
            return JSONResponse({"batches": [_batch(each) for each in taken]})
        if isinstance(taken[0], MarketRefused):
            raise taken[0]
        return JSONResponse(_batch(taken[0]))

    def message(given: Placed) -> Response:
        try:
            row = service.intake.message(given)
        except MarketRefused as exc:
            service.figures.refused.labels(exc.reason).inc()
            raise
        service.figures.accepted.labels(row.kind).inc()
        service.operator.wake()
        return JSONResponse(_state(row), 202)

    responses = {202: {"model": MessageState}, 429: PROBLEM, **_REFUSALS}

    @app.post("/v1/orders", status_code=202, responses=responses)
    def order(body: SignedOrder) -> Response:
        """Take a home's signed order to the chain. Taken before, it is answered by where it is."""
        return message(body)

    @app.post("/v1/deposits", status_code=202, responses=responses)
    def deposit(body: SignedDeposit) -> Response:
        """Take a signed payment into a home's account to the chain."""
        return message(body)

    @app.post("/v1/withdrawals", status_code=202, responses=responses)
    def withdrawal(body: SignedWithdrawal) -> Response:
        """Take a home's signed withdrawal to the chain."""
        return message(body)

    @app.get("/v1/messages/{id}", response_model=MessageState, responses={404: PROBLEM})
    def show(id: Id) -> Any:
        """Tell where an order, a deposit or a withdrawal is."""
        row = service.store.message(id)
        if row is None:
            raise MarketRefused("MessageUnknown", f"the operator was never given message {id}")
        return _state(row)


def _show(app: FastAPI, service: Service) -> None:
    @app.get("/v1/slots", response_model=Market)
    def market() -> Any:
        """Tell which slot runs, which is next to be settled, until when its batch goes, and who is missing."""
        moment, upto = service.operator.wanted()
        times, first = service.intake.times, moment.next_slot
        kept = service.store.kept(first)
        heard = {home for home, batches in kept.items() if any(each.first <= first < each.end for each in batches)}
        heard |= {home for home, slots in moment.posted.items() if first in slots}
        return Market(
            current=times.ended(service.intake.now(moment)),
            next=first,
            upto=upto,
            slots=service.operator.pace.slots,
            cuts=_cuts(moment),
            opens=times.begins(upto) + times.gate,
            missing_from=times.begins(upto) + times.grace,
            closes=times.begins(first + 1) + times.timeout,
            missing=[each.number for each in moment.homes if each.takes_part(first) and each.number not in heard],
        )

    @app.get("/v1/slots/{slot}", response_model=Slot, responses={404: PROBLEM})
    def slot(slot: Number) -> Any:
        """Tell what became of a slot."""
        moment = service.history.look()
        current = service.intake.times.ended(service.intake.now(moment))
        if slot > current:
            raise MarketRefused("SlotUnknown", f"slot {current} runs", current=current)
        return _slot(service, moment.outcomes.get(slot), slot, current)

    @app.get("/v1/prices", response_model=Prices)
    def prices(
        since: Annotated[int, Query(ge=0, le=2**24 - 1)] = 0,
        most: Annotated[int, Query(ge=1, le=MOST_PRICES)] = 96,
    ) -> Any:
        """Tell the prices and volumes of settled slots from `since` on, by number."""
        moment = service.history.look()
        current = service.intake.times.ended(service.intake.now(moment))
        found = sorted(number for number in moment.outcomes if number >= since)[:most]
        upto = found[-1] + 1 if found else max(since, moment.next_slot)
        return Prices(slots=[_slot(service, moment.outcomes[each], each, current) for each in found], next=upto)

    @app.get("/v1/homes/{home}", response_model=HomeState, responses={404: PROBLEM})
    def home(home: Number) -> Any:
        """Tell what the chain says of a home, which readings it owes, and what its meter contradicted itself in."""
        moment = service.intake.moment()
        if not 0 < home <= len(moment.homes):
            raise MarketRefused("HomeUnknown", f"there is no home {home}", homes=len(moment.homes))
        return _home(service, moment, home)


def _home(service: Service, moment: Moment, number: int) -> HomeState:
    home, counters = moment.homes[number - 1], moment.start()[number]
    orders = moment.orders.get(number, ())
    order = moment.order(number, max(service.intake.times.ended(service.intake.now(moment)), moment.next_slot))
    kept = service.store.kept(moment.next_slot).get(number, [])
    first, counters = due(kept, max(moment.next_slot, home.from_slot), counters, moment.cuts())
    wanted = DueReadings(
        first_slot=first,
        imported=counters[0],
        exported=counters[1],
        slots=service.operator.pace.slots,
        cuts=_cuts(moment),
    )
    pairs = [
        {"kept": _signed(service, each.kept), "refused": _signed(service, each.refused)}
        for each in service.store.contradictions(number)
    ]
    return HomeState(
        home=number,
        owner=home.owner,
        meter=moment.meter(number, first),
        from_slot=home.from_slot,
        until_slot=home.until_slot,
        balance=str(moment.balances[number]),
        imported=moment.counters[number][0],
        exported=moment.counters[number][1],
        next_seq=max((each.seq for each in orders), default=0) + 1,
        order=None if order is None else Wish(**{name: getattr(order, name) for name in Wish.model_fields}),
        block=moment.block,
        due=wanted,
        contradictions=pairs,
    )


def _watch(app: FastAPI, service: Service) -> None:
    @app.get("/health", responses={503: {"description": "something that it needs is missing"}})
    def health() -> Response:
        """Tell whether node, database, broker and worker do their part; 503 where one does not."""
        brokers = [feed.connected for feed in service.feeds if isinstance(feed, MqttFeed)]
        others = {"broker": "ok" if all(brokers) else "not connected"} if brokers else {}
        asked = {"database": service.store.ping, "chain": service.energy.next_slot}
        return condition(asked, service.operator.ticked, **others)

    @app.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Tell the figures for Prometheus."""
        for what, count in service.store.counts().items():
            service.figures.stored.labels(what).set(count)
        return Response(generate_latest(service.figures.registry), media_type=CONTENT_TYPE_LATEST)


# ---------------------------------------------------------------------- answers


def _count(service: Service, taken: Taken | MarketRefused, source: str) -> None:
    if isinstance(taken, MarketRefused):
        service.figures.refused.labels(taken.reason).inc()
    elif taken.new:
        service.figures.batches.labels(source).inc()


def _batch(taken: Taken | MarketRefused) -> dict[str, Any]:
    if isinstance(taken, MarketRefused):
        return refusal(REFUSALS, taken)
    at = taken.batch
    return {"id": at.id, "home": at.home, "firstSlot": at.first, "count": at.count, "new": taken.new}


def _state(row: Message) -> dict[str, Any]:
    names = ("id", "kind", "home", "status", "reason", "transaction", "block", "accepted")
    return {name: getattr(row, name) for name in names}


def _cuts(moment: Moment) -> list[int]:
    return sorted(cut for cut in moment.cuts() if cut > moment.next_slot)


def _signed(service: Service, batch: Batch) -> dict[str, Any]:
    return document(batch.signed(service.energy.domain), service.energy.domain)


def _slot(service: Service, outcome: Outcome | None, slot: int, current: int) -> Slot:
    begins = service.intake.times.begins(slot)
    if outcome is None:
        return Slot(slot=slot, state="running" if slot == current else "waiting", begins=begins)
    return Slot(
        slot=slot,
        state="closed" if outcome.price is None else "cleared",
        begins=begins,
        price=outcome.price,
        lo=outcome.lo,
        hi=outcome.hi,
        volume=outcome.volume,
        missing=list(outcome.missing),
        transaction=outcome.transaction,
        block=outcome.block,
    )
