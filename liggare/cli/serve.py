"""`liggare serve relay|market`: the services."""

from __future__ import annotations

import logging
import os
import signal
import socket
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from liggare.cli.options import Session
from liggare.errors import SettingsError, UsageError
from liggare.payments.client import Payments
from liggare.relay.terms import Limits, Pace

__all__ = ["register"]

serve = typer.Typer(help="The services; each runs until it is told to stop.", no_args_is_help=True)
ETHER = 10**18


@serve.callback()
def services() -> None:
    """The services; each runs until it is told to stop."""


def register(app: typer.Typer) -> None:
    """Add the services' commands."""
    app.add_typer(serve, name="serve")


@serve.command()
def relay(
    context: typer.Context,
    key: Annotated[Path, typer.Option("--key", help="Key file of the sponsor, who pays the gas.")],
    database: Annotated[
        str | None, typer.Option(help="Where payments are kept, without a password in it. [LIGGARE_DATABASE_URL]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8570,
    per_account: Annotated[int, typer.Option(min=1, help="Payments of one account in a day.")] = Limits.per_account,
    newcomers: Annotated[int, typer.Option(min=0, help="New accounts that one may pay in a day.")] = Limits.newcomers,
    budget: Annotated[
        str | None, typer.Option(help="Ether for gas in a day, such as 0.5; without it no limit.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds that a payment waits for company.")] = Pace.wait,
    most: Annotated[int, typer.Option(min=1, max=5000, help="Payments in one transaction.")] = Pace.most,
    gas: Annotated[int, typer.Option(min=100_000, help="Gas limit of one transaction.")] = Pace.gas,
    confirmations: Annotated[int, typer.Option(min=1, help="Blocks until a payment has ended.")] = Pace.confirmations,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds until a fee is raised.")] = Pace.patience,
) -> None:
    """Take signed payments over HTTP, carry them in batches and pay the gas."""
    import uvicorn  # here: every other command would start a second later

    from liggare.web.relay import application, assemble

    session: Session = context.obj
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = Limits(per_account=per_account, newcomers=newcomers, budget=None if budget is None else _wei(budget))
    pace = Pace(wait=wait, most=most, gas=gas, confirmations=confirmations, patience=patience)
    url = session.settings.database_url if database is None else _without_password(database)
    sponsor = session.account(key)
    with _listen(host, port) as listener:
        service = assemble(Payments(session.w3, session.deployments), sponsor, url, limits, pace)
        server = uvicorn.Server(uvicorn.Config(application(service), log_config=None, timeout_graceful_shutdown=5))
        typer.echo(f"relaying for chain {session.deployments.chain_id} at http://{host}:{listener.getsockname()[1]}")
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: None)  # uvicorn hands it on when it has stopped: that was the order
        server.run(sockets=[listener])
        service.outbox.close()


@serve.command()
def market(
    context: typer.Context,
    key: Annotated[Path, typer.Option("--key", help="Key file of the operator, who pays the gas.")],
    database: Annotated[
        str | None, typer.Option(help="Where readings are kept, without a password in it. [LIGGARE_DATABASE_URL]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8590,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Take signed batches from this CSV file too; it may grow.")
    ] = None,
    mqtt: Annotated[
        str | None,
        typer.Option(help="And from this topic: mqtt(s)://[user@]host[:port]/topic. [LIGGARE_MQTT_PASSWORD]"),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, max=96, help="Slots of a batch that meters are asked for.")] = 1,
    settle_in: Annotated[
        float, typer.Option(min=0, help="Seconds after the start in which no home is marked as missing.")
    ] = 30.0,
    per_day: Annotated[int, typer.Option(min=1, help="Messages of one home in a day.")] = 50,
    confirmations: Annotated[int, typer.Option(min=1, help="Blocks until a transaction has ended.")] = 1,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds until a fee is raised.")] = 30.0,
    lease: Annotated[float, typer.Option(min=1, help="Seconds that another operator has for what it began.")] = 30.0,
) -> None:
    """Take readings and orders, and clear and settle a market's slots as they are due."""
    import uvicorn  # here: every other command would start a second later

    from liggare.energy.intake import Limits as MarketLimits
    from liggare.energy.operator import Pace as MarketPace
    from liggare.web.market import application, assemble, session_name

    session: Session = context.obj
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    pace = MarketPace(slots=slots, settle_in=settle_in, confirmations=confirmations, patience=patience, lease=lease)
    url = session.settings.database_url if database is None else _without_password(database)
    operator = session.account(key)
    with _listen(host, port) as listener:
        limits = MarketLimits(per_day=per_day)
        service = assemble(session.w3, session.deployments, operator, url, limits, pace)
        if table is not None:
            service.watch(table)
        if mqtt is not None:
            service.subscribe(mqtt, session_name(operator, service), os.environ.get("LIGGARE_MQTT_PASSWORD"))
        server = uvicorn.Server(uvicorn.Config(application(service), log_config=None, timeout_graceful_shutdown=5))
        where = f"http://{host}:{listener.getsockname()[1]}"
        typer.echo(f"operating the market of chain {session.deployments.chain_id} at {where}")
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: None)  # uvicorn hands it on when it has stopped: that was the order
        server.run(sockets=[listener])
        service.store.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as exc:
        raise SettingsError(f"can't listen on {host}:{port}: {exc.strerror}") from None


def _wei(ether: str) -> int:
    try:
        wei = Decimal(ether) * ETHER
    except InvalidOperation:
        raise UsageError(f"{ether!r} is no amount of ether") from None
    if not wei.is_finite() or wei < 0:
        raise UsageError(f"{ether!r} is no amount of ether")
    return int(wei)


def _without_password(url: str) -> str:
    """Refuse a password among the arguments, where every user of the machine reads it."""
    if urlsplit(url).password is not None:
        raise UsageError("a password among the arguments can be read by others: give the URL by LIGGARE_DATABASE_URL")
    return url
