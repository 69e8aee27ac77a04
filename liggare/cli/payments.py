"""`liggare pay`, `mint`: the money."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from eth_account.signers.local import LocalAccount

from liggare.chain.connection import now
from liggare.chain.sender import Sender
from liggare.cli.options import Carrier, Json, Key, RelayUrl, Session, carried, tell
from liggare.errors import UsageError
from liggare.messages import Signed, address
from liggare.payments.client import LIFETIME, Payments, amount, random_nonce, text
from liggare.payments.messages import TransferWithAuthorization, counter
from liggare.payments.relay import Relay

__all__ = ["carry", "paid", "register", "way_of"]


def register(app: typer.Typer) -> None:
    """Add the domain's commands."""
    app.command()(pay)
    app.command()(mint)


def pay(
    context: typer.Context,
    to: Annotated[str, typer.Argument(help="The payee's address.")],
    sum_: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the currency, such as 12.50.")],
    key: Key,
    carrier: Carrier = None,
    relay: RelayUrl = None,
    in_order: Annotated[
        bool, typer.Option(help="Use the account's next counter nonce (cheaper) instead of a random one.")
    ] = True,
    valid: Annotated[int, typer.Option(min=1, help="Seconds until the payment expires unpaid.")] = LIFETIME,
    as_json: Json = False,
) -> None:
    """Pay somebody. The amount arrives whole; only who carries it pays gas."""
    session: Session = context.obj
    value = amount(sum_)
    payee = address(to)
    payments = Payments(session.w3, session.deployments)
    payer = session.account(key)
    way = way_of(session, carrier, relay)
    signed = payments.pay(
        payer,
        payee,
        value,
        nonce=next_nonce(payments, payer, way) if in_order else random_nonce(),
        valid_before=now(session.w3) + valid,
    )
    result = carry(session, payments, signed, payer, way)
    tell(result, paid(result, payments.symbol), as_json=as_json)


@dataclass(frozen=True)
class Way:
    """How a signed payment gets to the chain: by a relayer's URL, else by a carrier's key file, else by the payer."""

    relay: str | None
    carrier: Path | None


def way_of(session: Session, carrier: Path | None, relay: str | None) -> Way:
    """Return the way that the options choose; LIGGARE_RELAY_URL counts where neither is given. Raises UsageError."""
    if carrier and relay:
        raise UsageError("either --carrier or --relay: one of them takes the payment to the chain")
    return Way(None if carrier else relay or session.settings.relay_url, carrier)


def next_nonce(payments: Payments, payer: LocalAccount, way: Way) -> bytes | None:
    """Return the payer's next counter as the relayer knows it, payments on their way included; else None."""
    if way.relay is None:
        return None
    with Relay(way.relay, payments) as relay:
        return counter(relay.purse(payer.address).next_nonce)


def carry(
    session: Session,
    payments: Payments,
    signed: Signed[TransferWithAuthorization],
    payer: LocalAccount,
    way: Way,
) -> dict[str, Any]:
    """Take a signed payment to the chain, as every command that pays does; return what became of it."""
    message = signed.message
    if way.relay is None:
        receipt = payments.carry(signed, session.sender(payer, way.carrier))
    else:
        with Relay(way.relay, payments) as relay:
            receipt = relay.carry(signed)
    return {"id": signed.id, "from": payer.address, "to": message.to, "value": message.value, **carried(receipt)}


def paid(result: dict[str, Any], symbol: str) -> str:
    """Tell what `carry` returned in words."""
    return (
        f"paid {text(result['value'])} {symbol} to {result['to']}: it arrived whole in block {result['block']}\n"
        f"id           {result['id'].to_0x_hex()}\n"
        f"transaction  {result['transaction']}\n"
        f"gas          {result['gas']:,}, paid by {result['carrier']}"
    )


def mint(
    context: typer.Context,
    to: Annotated[str, typer.Argument(help="Who gets the new money.")],
    sum_: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the currency, such as 12.50.")],
    key: Key,
    as_json: Json = False,
) -> None:
    """Issue money against a deposit outside. Only the issuer may."""
    session: Session = context.obj
    value, payee = amount(sum_), address(to)
    payments = Payments(session.w3, session.deployments)
    receipt = payments.mint(payee, value, Sender(session.w3, session.account(key)))
    result = {"to": payee, "value": value, **carried(receipt)}
    tell(result, f"issued {text(value)} {payments.symbol} to {payee} in block {result['block']}", as_json=as_json)
