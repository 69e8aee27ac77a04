"""`liggare serve relay|gatekeeper|market|explorer`: the services."""

from __future__ import annotations

import logging
import os
import signal
import socket
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from liggare.cli.custodian import Database, KeyringFolder, Master, master_of
from liggare.cli.options import Session, private
from liggare.errors import SettingsError, UsageError
from liggare.payments.client import Payments
from liggare.records.client import Records
from liggare.relay.terms import Limits, Pace

__all__ = ["register"]

serve = typer.Typer(help="The services; each runs until it is told to stop.", no_args_is_help=True)
ETHER = 10**18
PATIENCE = 5.0
"""Seconds that a node may take to answer the gatekeeper, or the explorer."""
RECORDS_PER_ACCOUNT = 20


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
    records_budget: Annotated[
        str | None,
        typer.Option(help="Ether for the gas of grants and other messages of the records in a day; without it none."),
    ] = None,
    records_per_account: Annotated[
        int, typer.Option(min=1, help="Messages of the records of one pseudonym in a day.")
    ] = RECORDS_PER_ACCOUNT,
    wait: Annotated[float, typer.Option(min=0, help="Seconds that a payment waits for company.")] = Pace.wait,
    most: Annotated[int, typer.Option(min=1, max=5000, help="Payments in one transaction.")] = Pace.most,
    gas: Annotated[int, typer.Option(min=100_000, help="Gas limit of one transaction.")] = Pace.gas,
    confirmations: Annotated[int, typer.Option(min=1, help="Blocks until a payment has ended.")] = Pace.confirmations,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds until a fee is raised.")] = Pace.patience,
) -> None:
    """Take signed payments, and messages of the records, over HTTP, carry them in batches and pay the gas."""
    import uvicorn  # here: every other command would start a second later

    from liggare.web.relay import application, assemble

    session: Session = context.obj
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    limits = Limits(per_account=per_account, newcomers=newcomers, budget=None if budget is None else _wei(budget))
    record_limits = None
    if records_budget is not None:
        record_limits = Limits(per_account=records_per_account, budget=_wei(records_budget))
    pace = Pace(wait=wait, most=most, gas=gas, confirmations=confirmations, patience=patience)
    url = session.database(database)
    sponsor = session.account(key)
    with _listen(host, port) as listener:
        service = assemble(
            Payments(session.w3, session.deployments),
            sponsor,
            url,
            limits,
            pace,
            records=_records(session, wanted=record_limits is not None),
            record_limits=record_limits,
        )
        server = uvicorn.Server(uvicorn.Config(application(service), log_config=None, timeout_graceful_shutdown=5))
        typer.echo(f"relaying for chain {session.deployments.chain_id} at http://{host}:{listener.getsockname()[1]}")
        _run(server, listener)
        service.outbox.close()


@serve.command()
def gatekeeper(
    context: typer.Context,
    key: Annotated[Path, typer.Option("--key", help="Key file of the custodian, who pays for its log's heads.")],
    url: Annotated[
        str | None, typer.Option(help="Where readers reach it, such as https://hospital.example; sign-ins are for it.")
    ] = None,
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    staff: Annotated[list[str] | None, typer.Option(help="Address of who may create and update; repeat it.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8580,
    post_every: Annotated[int, typer.Option(min=1, help="Log entries until a head is posted.")] = 1000,
    post_seconds: Annotated[float, typer.Option(min=1, help="Seconds until a head is posted.")] = 600,
) -> None:
    """Release a custodian's FHIR records as their patients grant on the ledger, and write down each release."""
    import uvicorn  # here: every other command would start a second later

    from liggare.chain.connection import connect
    from liggare.chain.sender import Sender
    from liggare.web.gatekeeper import application, assemble

    session: Session = context.obj
    private()  # the access log tells who reads whom
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    master, where = master_of(master_key), session.database(database)
    with _listen(host, port) as listener:
        here = f"http://{host}:{listener.getsockname()[1]}"
        w3 = connect(session.settings.rpc_url, session.deployments.chain_id, timeout=PATIENCE)
        sender = Sender(w3, session.account(key))
        parts = (w3, session.deployments, sender, (url or here).rstrip("/"), where, keyring, master)
        service = assemble(*parts, staff=staff or (), every=post_every, seconds=post_seconds)
        # no access log: paths and queries name patients
        config = uvicorn.Config(
            application(service), log_config=None, access_log=False, timeout_graceful_shutdown=5, server_header=False
        )
        typer.echo(f"keeping the gate of {sender.account.address} for chain {session.deployments.chain_id} at {here}")
        _run(uvicorn.Server(config), listener)
        service.close()


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
    url = session.database(database)
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
        _run(server, listener)
        service.store.close()


@serve.command()
def explorer(
    context: typer.Context,
    database: Annotated[
        str | None, typer.Option(help="Where the index is kept, without a password in it. [LIGGARE_DATABASE_URL]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8600,
    confirmations: Annotated[int, typer.Option(min=0, help="Blocks that stand on one before it is shown.")] = 0,
    most: Annotated[int, typer.Option(min=1, help="Requests that are answered at a time.")] = 64,
) -> None:
    """Show the ledger as pages for everybody, and as a JSON API; whatever it shows can be checked in the browser."""
    import uvicorn  # here: every other command would start a second later

    from liggare.chain.connection import connect
    from liggare.web.explorer.app import explorer as pages
    from liggare.web.ledger import assemble

    session: Session = context.obj
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    with _listen(host, port) as listener:
        w3 = connect(session.settings.rpc_url, session.deployments.chain_id, timeout=PATIENCE)
        service = assemble(w3, session.deployments, session.database(database), confirmations=confirmations)
        # no access log: an invoice, which is in its page's query, says what it is for
        config = uvicorn.Config(
            pages(service, most=most),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        here = f"http://{host}:{listener.getsockname()[1]}"
        typer.echo(f"showing the ledger of chain {session.deployments.chain_id} at {here}")
        _run(uvicorn.Server(config), listener)
        service.close()


def _run(server: Any, listener: socket.socket) -> None:
    """Serve until told to stop."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)  # uvicorn hands it on when it has stopped: that was the order
    server.run(sockets=[listener])


def _records(session: Session, *, wanted: bool) -> Records | None:
    """Return the records where they are deployed. Raises DeploymentMissing where they are not and must be."""
    if "RecordAccess" not in session.deployments.contracts and not wanted:
        return None
    return Records(session.w3, session.deployments)


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
