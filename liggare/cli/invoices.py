"""`liggare invoice`: ask for a payment by a `liggare:` URI or its QR code, look at one, pay it."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import segno
import typer

from liggare.chain.connection import now
from liggare.cli.options import Carrier, Json, Key, RelayUrl, Session, tell
from liggare.cli.payments import carry, paid, way_of
from liggare.errors import SignatureError, UsageError
from liggare.payments.client import amount, text
from liggare.payments.invoices import ANYONE, DUE, Found, Invoices, PaymentRequest, State

__all__ = ["register"]

invoice = typer.Typer(help="Requests for a payment, signed by the payee.", no_args_is_help=True)

Uri = Annotated[str, typer.Argument(metavar="URI", help="The invoice: liggare:pay-…, in quotes.")]
Qr = Annotated[bool, typer.Option("--qr", help="Show the QR code on the terminal.")]
QrFile = Annotated[Path | None, typer.Option("--qr-file", help="Write the QR code to this .svg or .png file.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(invoice, name="invoice")


@invoice.command()
def new(
    context: typer.Context,
    sum_: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the currency, such as 12.50.")],
    key: Key,
    payer: Annotated[
        str | None, typer.Option(help="Who is to pay: then it can be paid once only, else once by each who pays.")
    ] = None,
    what: Annotated[str, typer.Option("--for", help="What for; it is in the URI and never on the chain.")] = "",
    valid: Annotated[int, typer.Option(min=1, help="Seconds until the invoice can't be paid any more.")] = DUE,
    qr: Qr = False,
    qr_file: QrFile = None,
    as_json: Json = False,
) -> None:
    """Ask for a payment: sign an invoice and print its URI. Nothing is sent."""
    session: Session = context.obj
    value = amount(sum_)
    _check_suffix(qr_file)
    invoices = Invoices(session.w3, session.deployments)
    before = now(session.w3) + valid
    request = invoices.make(session.account(key), value, payer=payer, text=what, valid_before=before)
    result = {"uri": request.uri(), **_described(request)}
    tell(result, request.uri() + _drawn(request.uri(), qr, qr_file), as_json=as_json)


@invoice.command()
def show(context: typer.Context, uri: Uri, qr: Qr = False, qr_file: QrFile = None, as_json: Json = False) -> None:
    """Tell what an invoice asks and of whom, whether the payee signed it, and whether it is paid."""
    session: Session = context.obj
    _check_suffix(qr_file)
    invoices = Invoices(session.w3, session.deployments)
    request = invoices.parse(uri)
    try:
        request.check()
        signature = "good"
    except SignatureError as exc:
        signature = str(exc)
    found = invoices.state(request)
    state = {"payer": found.payer, "transaction": found.transaction, "block": found.block}
    result = {**_described(request), "signature": signature, "state": found.state.value, "paid": state}
    lines = _lines(request, invoices.payments.symbol)
    lines["signature"] = "the payee's own" if signature == "good" else f"WRONG, do not pay: {signature}"
    lines["state"] = _told(found)
    words = "\n".join(f"{name:9}  {value}" for name, value in lines.items())
    tell(result, words + _drawn(uri, qr, qr_file), as_json=as_json)
    if signature != "good":
        raise typer.Exit(1)


@invoice.command()
def pay(
    context: typer.Context,
    uri: Uri,
    key: Key,
    carrier: Carrier = None,
    relay: RelayUrl = None,
    as_json: Json = False,
) -> None:
    """Pay an invoice that the payee signed, that is due and that nobody paid. The amount arrives whole."""
    session: Session = context.obj
    invoices = Invoices(session.w3, session.deployments)
    request = invoices.parse(uri)
    payer = session.account(key)
    way = way_of(session, carrier, relay)
    signed = invoices.pay(payer, request)
    result = {"invoice": request.invoice.id, **carry(session, invoices.payments, signed, payer, way)}
    tell(result, paid(result, invoices.payments.symbol), as_json=as_json)


def _described(request: PaymentRequest) -> dict[str, Any]:
    asked = request.invoice
    return {
        "id": asked.id,
        "payee": asked.payee,
        "payer": None if asked.payer == ANYONE else asked.payer,
        "value": asked.value,
        "validBefore": asked.valid_before,
        "for": request.text,
    }


def _lines(request: PaymentRequest, symbol: str) -> dict[str, str]:
    asked = request.invoice
    due = datetime.fromtimestamp(asked.valid_before, tz=timezone.utc) if asked.valid_before < 2**37 else None
    return {
        "asks": f"{text(asked.value)} {symbol}",
        "to": asked.payee,
        "from": "anyone" if asked.payer == ANYONE else asked.payer,
        "for": request.text or "(nothing said)",
        "before": f"{due:%Y-%m-%d %H:%M} UTC" if due else str(asked.valid_before),
        "id": asked.id.to_0x_hex(),
    }


def _told(found: Found) -> str:
    return {
        State.OPEN: "not paid",
        State.PAID: f"paid by {found.payer} in block {found.block}, transaction {found.transaction}",
        State.EXPIRED: "expired unpaid",
        State.VOID: "void: its payer gave the nonce up or used it otherwise",
    }[found.state]


def _check_suffix(path: Path | None) -> None:
    if path and path.suffix not in (".svg", ".png"):
        raise UsageError(f"--qr-file is an .svg or a .png file, not {path}")


def _drawn(uri: str, qr: bool, path: Path | None) -> str:
    """Draw the QR code to the file, if one is named; return it for the terminal, if it is wanted."""
    code = segno.make_qr(uri, error="l")  # boosted as far as its size allows
    if path:
        try:
            code.save(str(path), scale=4)
        except OSError as exc:
            raise UsageError(f"{path} can't be written: {exc.strerror}") from None
    drawn = io.StringIO()
    if qr:
        drawn.write("\n")
        code.terminal(drawn, compact=True)
    return drawn.getvalue().rstrip("\n")
