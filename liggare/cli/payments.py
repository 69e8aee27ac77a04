"""`liggare pay`, `mint`: the money."""

from __future__ import annotations

from typing import Annotated

import typer

from liggare.chain.connection import now
from liggare.chain.sender import Sender
from liggare.cli.options import Carrier, Json, Key, Session, carried, tell
from liggare.messages import address
from liggare.payments.client import LIFETIME, Payments, amount, random_nonce, text

__all__ = ["register"]


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
    signed = payments.pay(
        payer,
        payee,
        value,
        nonce=None if in_order else random_nonce(),
        valid_before=now(session.w3) + valid,
    )
    receipt = payments.carry(signed, session.sender(payer, carrier))
    result = {"id": signed.id, "from": payer.address, "to": payee, "value": value, **carried(receipt)}
    symbol = payments.symbol
    words = (
        f"paid {text(value)} {symbol} to {payee}: it arrived whole in block {result['block']}\n"
        f"id           {signed.id.to_0x_hex()}\n"
        f"transaction  {result['transaction']}\n"
        f"gas          {result['gas']:,}, paid by {result['carrier']}"
    )
    tell(result, words, as_json=as_json)


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
