"""`liggare purchase`, `liggare vault`: buy without a middleman; turn tokens into money and back."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from web3.types import TxReceipt

from liggare.chain.connection import now
from liggare.cli.options import Carrier, Json, Key, Session, carried, tell
from liggare.errors import UsageError
from liggare.messages import address
from liggare.payments.client import LIFETIME, amount, text
from liggare.payments.escrow import Escrow
from liggare.payments.purchase import NOBODY, Arbitration, Claim, Offer, Refund, Release, hash_order
from liggare.payments.vault import Vault

__all__ = ["register"]

DAY = 86_400
MOST_DAYS = 36_500
"""A hundred years: what is later is mistyped."""
purchase = typer.Typer(help="Purchases whose money waits until both are content.", no_args_is_help=True)
vault = typer.Typer(help="Tokens of another currency into money and back.", no_args_is_help=True)

OfferFile = Annotated[Path, typer.Argument(metavar="OFFER", help="The seller's offer (`liggare purchase offer`).")]
Sum = Annotated[str, typer.Argument(metavar="AMOUNT", help="In the currency, such as 12.50.")]
Valid = Annotated[int, typer.Option(min=1, help="Seconds until what is signed expires.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(purchase, name="purchase")
    app.add_typer(vault, name="vault")


# ---------------------------------------------------------------------- purchases


@purchase.command()
def offer(
    context: typer.Context,
    buyer: Annotated[str, typer.Argument(help="Who may take the offer.")],
    sum_: Sum,
    path: Annotated[Path, typer.Argument(help="The file to write; an existing one is never replaced.")],
    order: Annotated[str, typer.Option(help="What is sold, in words; the chain sees a salted hash.")],
    key: Key,
    arbiter: Annotated[str, typer.Option(help="Who may divide the money; by default nobody.")] = NOBODY,
    claim_days: Annotated[
        float,
        typer.Option(min=0, max=MOST_DAYS, help="Days until the seller may take the money if the buyer is silent."),
    ] = 14,
    reclaim_days: Annotated[
        float, typer.Option(min=0, max=MOST_DAYS, help="Days until the money goes back if nobody has said anything.")
    ] = 28,
    as_json: Json = False,
) -> None:
    """As the seller, sign the terms of a purchase into a file for the buyer. Nothing is sent."""
    session: Session = context.obj
    value, who, judge = amount(sum_), address(buyer), address(arbiter)
    if not claim_days <= reclaim_days:  # nor NaN
        raise UsageError(f"--claim-days {claim_days:g} is not before --reclaim-days {reclaim_days:g}")
    escrow, salt, start = Escrow(session.w3, session.deployments), secrets.token_bytes(32), now(session.w3)
    signed = escrow.offer(
        session.account(key),
        who,
        value,
        hash_order(order, salt),
        claim_after=start + int(claim_days * DAY),
        reclaim_after=start + int(reclaim_days * DAY),
        arbiter=judge,
    )
    Offer(signed, order, salt).write(path)
    words = f"offered for {text(value)} {escrow.payments.symbol}, in {path}\nid           {signed.id.to_0x_hex()}"
    tell({"id": signed.id, **signed.message.values(), "path": path}, words, as_json=as_json)


@purchase.command()
def fund(
    context: typer.Context,
    path: OfferFile,
    key: Key,
    carrier: Carrier = None,
    valid: Valid = LIFETIME,
    as_json: Json = False,
) -> None:
    """As the buyer, take an offer: the money waits in the escrow."""
    session: Session = context.obj
    escrow, found = _read(session, path)
    buyer = session.account(key)
    payment = escrow.payment(buyer, found.purchase, valid_before=now(session.w3) + valid)
    receipt = escrow.fund(found.signed, payment, session.sender(buyer, carrier))
    _told(escrow, found, receipt, as_json)


@purchase.command()
def release(context: typer.Context, path: OfferFile, key: Key, carrier: Carrier = None, as_json: Json = False) -> None:
    """As the buyer, give the money to the seller."""
    _end(context.obj, Release, path, key, carrier, as_json)


@purchase.command()
def refund(context: typer.Context, path: OfferFile, key: Key, carrier: Carrier = None, as_json: Json = False) -> None:
    """As the seller, give the money back."""
    _end(context.obj, Refund, path, key, carrier, as_json)


@purchase.command()
def claim(context: typer.Context, path: OfferFile, key: Key, carrier: Carrier = None, as_json: Json = False) -> None:
    """As the seller, take the money while the buyer is silent, between the two deadlines."""
    _end(context.obj, Claim, path, key, carrier, as_json)


@purchase.command()
def reclaim(
    context: typer.Context,
    path: OfferFile,
    key: Annotated[Path, typer.Option("--key", help="Key file of who carries it and pays the gas; anyone may.")],
    as_json: Json = False,
) -> None:
    """After the last deadline, send the money back to the buyer. Nobody's word is needed."""
    session: Session = context.obj
    escrow, found = _read(session, path)
    receipt = escrow.reclaim(found.purchase, session.sender(session.account(key), None))
    _told(escrow, found, receipt, as_json)


@purchase.command()
def arbitrate(
    context: typer.Context,
    path: OfferFile,
    to_seller: Annotated[str, typer.Argument(metavar="TO_SELLER", help="The seller's part; the rest goes back.")],
    key: Key,
    carrier: Carrier = None,
    as_json: Json = False,
) -> None:
    """As the arbiter whom both named, divide the money."""
    session: Session = context.obj
    part = amount(to_seller)
    escrow, found = _read(session, path)
    value = found.purchase.value
    if part > value:
        raise UsageError(f"the seller's part is at most {text(value)}")
    signer = session.account(key)
    word = Arbitration(escrow.domain, found.purchase, value - part, part).sign(signer)
    _told(escrow, found, escrow.carry(word, session.sender(signer, carrier)), as_json)


@purchase.command()
def show(context: typer.Context, path: OfferFile, as_json: Json = False) -> None:
    """Show the terms of an offer, checked, and where the purchase stands."""
    session: Session = context.obj
    escrow, found = _read(session, path)
    terms = found.purchase
    result = _result(escrow, found) | {"order": found.order} | terms.values()
    lines = [
        f"order        {found.order}",
        f"value        {text(terms.value)} {escrow.payments.symbol}",
        f"buyer        {terms.buyer}",
        f"seller       {terms.seller}",
        f"arbiter      {'nobody' if terms.arbiter == NOBODY else terms.arbiter}",
        f"claim from   {_time(terms.claim_after)}, if the buyer is silent",
        f"back after   {_time(terms.reclaim_after)}, if nobody has said anything",
        f"state        {result['state']}",
        f"id           {terms.id.to_0x_hex()}",
    ]
    tell(result, "\n".join(lines), as_json=as_json)


def _read(session: Session, path: Path) -> tuple[Escrow, Offer]:
    escrow = Escrow(session.w3, session.deployments)
    return escrow, Offer.read(path, escrow.domain)


def _end(
    session: Session, kind: type[Release | Refund | Claim], path: Path, key: Path, carrier: Path | None, as_json: bool
) -> None:
    """End a purchase by one signed word of who may say it."""
    escrow, found = _read(session, path)
    signer = session.account(key)
    word = kind(escrow.domain, found.purchase).sign(signer)
    _told(escrow, found, escrow.carry(word, session.sender(signer, carrier)), as_json)


def _result(escrow: Escrow, found: Offer) -> dict[str, Any]:
    return {"id": found.purchase.id, "state": escrow.state(found.purchase).name.lower(), "value": found.purchase.value}


def _told(escrow: Escrow, found: Offer, receipt: TxReceipt, as_json: bool) -> None:
    """Tell where a purchase stands after what was carried."""
    result = _result(escrow, found) | carried(receipt)
    words = (
        f"the purchase of {text(result['value'])} {escrow.payments.symbol} is {result['state']} in block"
        f" {result['block']}\nid           {found.purchase.id.to_0x_hex()}\ntransaction  {result['transaction']}\n"
        f"gas          {result['gas']:,}, paid by {result['carrier']}"
    )
    tell(result, words, as_json=as_json)


def _time(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return f"unix time {seconds}"


# ---------------------------------------------------------------------- vault


@vault.command()
def deposit(
    context: typer.Context,
    sum_: Sum,
    key: Key,
    to: Annotated[str | None, typer.Option(help="Who gets the money; by default the signer.")] = None,
    carrier: Carrier = None,
    as_json: Json = False,
) -> None:
    """Turn tokens into money. With --carrier by one signature, where the token takes one (ERC-3009)."""
    session: Session = context.obj
    value = amount(sum_)
    payee = address(to) if to else None
    keeper, owner = Vault(session.w3, session.deployments), session.account(key)
    payee = payee or owner.address
    if carrier:
        signed = keeper.authorization(owner, payee, value)
        receipt = keeper.deposit_by_authorization(signed, session.sender(owner, carrier))
    else:
        receipt = keeper.deposit(payee, value, session.sender(owner, None))
    result = {"from": owner.address, "to": payee, "value": value, **carried(receipt)}
    tell(result, f"turned tokens into {text(value)} {keeper.payments.symbol} of {payee}", as_json=as_json)


@vault.command()
def withdraw(
    context: typer.Context,
    sum_: Sum,
    key: Key,
    to: Annotated[str | None, typer.Option(help="Who gets the tokens; by default the signer.")] = None,
    carrier: Carrier = None,
    valid: Valid = LIFETIME,
    as_json: Json = False,
) -> None:
    """Turn money into tokens again, by one signature."""
    session: Session = context.obj
    value = amount(sum_)
    payee = address(to) if to else None
    keeper, owner = Vault(session.w3, session.deployments), session.account(key)
    payee = payee or owner.address
    wish = keeper.withdrawal(owner, payee, value, valid_before=now(session.w3) + valid)
    receipt = keeper.withdraw(wish, session.sender(owner, carrier))
    result = {"id": wish.signed.id, "from": owner.address, "to": payee, "value": value, **carried(receipt)}
    tell(result, f"turned {text(value)} {keeper.payments.symbol} into tokens of {payee}", as_json=as_json)
