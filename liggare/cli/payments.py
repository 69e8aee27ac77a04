"""`liggare pay`, `mint`, `account`: the money."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liggare import accounts
from liggare.chain.connection import now
from liggare.chain.sender import Sender
from liggare.cli.options import Carrier, Json, Key, Session, carried, tell
from liggare.messages import address
from liggare.payments.client import LIFETIME, Payments, amount, random_nonce, text

__all__ = ["register"]

account = typer.Typer(help="Accounts in encrypted key files.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the domain's commands."""
    app.command()(pay)
    app.command()(mint)
    app.add_typer(account, name="account")


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


@account.command("new")
def account_new(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The key file to write; an existing one is never replaced.")],
    as_json: Json = False,
) -> None:
    """Make a key and write it, encrypted, to a key file."""
    session: Session = context.obj
    made = accounts.create(path, session.password(path, new=True))
    tell({"address": made.address, "path": path}, f"{made.address} in {path}", as_json=as_json)


@account.command("show")
def account_show(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The key file.")],
    as_json: Json = False,
) -> None:
    """Open a key file and show its address and its money."""
    session: Session = context.obj
    found = session.account(path)
    payments = Payments(session.w3, session.deployments)
    balance = payments.balance(found.address)
    words = f"{found.address} has {text(balance)} {payments.symbol}"
    tell({"address": found.address, "balance": balance}, words, as_json=as_json)
