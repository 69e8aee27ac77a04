"""`liggare energy …`: the market. Its older words `order`, `clear`, `measure`, `deposit`, `withdraw`, `register` also
work without `energy`.
"""

from __future__ import annotations

import csv
import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from liggare.chain.connection import now
from liggare.chain.sender import Sender
from liggare.cli import study
from liggare.cli.options import Carrier, Json, Key, Session, carried, price, tell
from liggare.energy.client import Energy
from liggare.energy.messages import NEVER_BUY, NEVER_SELL, Readings
from liggare.energy.meter import Meter
from liggare.energy.post import Post, split
from liggare.errors import DataError, MarketRefused, UsageError
from liggare.messages import Domain, Signed, address
from liggare.payments.client import LIFETIME, Payments, amount, text

__all__ = ["register"]

Home = Annotated[int, typer.Argument(min=1, help="The home's number.")]


def register(app: typer.Typer) -> None:
    """Add the domain's commands."""
    group = typer.Typer(help="The neighbourhood's market.", no_args_is_help=True)
    for commands in (app, group):
        for command in (order, clear, deposit, withdraw):
            commands.command()(command)
        commands.command("register")(register_home)
    app.command()(measure)
    group.command()(readings)
    study.register(group)
    app.add_typer(group, name="energy")


def order(
    context: typer.Context,
    home: Home,
    key: Key,
    cap: Annotated[int, typer.Option(min=0, help="Most energy per slot, in Wh; 0 withdraws the order.")],
    buy: Annotated[str | None, typer.Option(help="Highest price to buy at, per kWh, such as 1.90.")] = None,
    sell: Annotated[str | None, typer.Option(help="Lowest price to sell at, per kWh, such as 0.80.")] = None,
    carrier: Carrier = None,
    as_json: Json = False,
) -> None:
    """State a home's standing wish: buy up to one price, sell from another on, from the next slot."""
    session: Session = context.obj
    limits = (price(buy) if buy else NEVER_BUY, price(sell) if sell else NEVER_SELL)
    energy = Energy(session.w3, session.deployments)
    owner = session.account(key)
    signed = energy.order(owner, home, buy=limits[0], sell=limits[1], cap=cap)
    receipt = energy.carry_order(signed, session.sender(owner, carrier))
    first = signed.message.from_slot
    result = {"id": signed.id, "home": home, "fromSlot": first, "seq": signed.message.seq, **carried(receipt)}
    words = f"the order of home {home} holds from slot {first} on\nid           {signed.id.to_0x_hex()}"
    tell(result, words, as_json=as_json)


def write_readings(signed: Signed[Readings]) -> str:
    """Return a signed reading as one line of JSON."""
    message = signed.message
    document = {
        "home": message.home,
        "firstSlot": message.first_slot,
        "imported": message.imported,
        "exported": message.exported,
        "deltas": "0x" + message.deltas.hex(),
        "signature": "0x" + signed.signature.hex(),
    }
    return json.dumps(document)


def read_readings(path: Path, domain: Domain) -> dict[int, Signed[Readings] | None]:
    """Read signed readings, one a line, by home. Raises DataError naming the first line that is off."""
    found: dict[int, Signed[Readings] | None] = {}
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"the readings {path} can't be read: {exc}") from None
    for number, line in enumerate(lines, 1):
        try:
            document: dict[str, Any] = json.loads(line)
            home, first, imported, exported = (
                int(document[name]) for name in ("home", "firstSlot", "imported", "exported")
            )
            deltas = bytes.fromhex(document["deltas"].removeprefix("0x"))
            message = Readings(domain, home, first, imported, exported, deltas)
            signature = bytes.fromhex(document["signature"].removeprefix("0x"))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise DataError(f"{path}, line {number}: no signed reading ({exc!r})") from None
        if message.home in found:
            raise DataError(f"{path}, line {number}: a second reading of home {message.home}")
        found[message.home] = Signed(message, signature)
    return found


def measure(
    context: typer.Context,
    home: Home,
    table: Annotated[Path, typer.Argument(help="CSV with the columns imported and exported: Wh, a row per slot.")],
    key: Annotated[Path, typer.Option("--key", help="Key file of the home's meter.")],
    out: Annotated[Path, typer.Option(help="Append the signed reading to this file.")],
    first: Annotated[int | None, typer.Option(help="First slot measured; else the one that is due.")] = None,
    as_json: Json = False,
) -> None:
    """Sign what a meter counted in consecutive slots, continuing from its counters on the chain."""
    session: Session = context.obj
    energy = Energy(session.w3, session.deployments)
    rows = _rows(table)
    imported, exported = energy.contract.functions.countersOf(home).call()
    meter = Meter(session.account(key), home, energy.domain, imported=imported, exported=exported)
    signed = meter.read(energy.next_slot() if first is None else first, rows)
    with out.open("a") as file:
        file.write(write_readings(signed) + "\n")
    result = {"id": signed.id, "home": home, "firstSlot": signed.message.first_slot, "count": len(rows), "path": out}
    tell(result, f"signed {len(rows)} slots of home {home} into {out}", as_json=as_json)


def _rows(table: Path) -> list[tuple[int, int]]:
    try:
        with table.open(newline="") as file:
            return [(int(row["imported"]), int(row["exported"])) for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as exc:
        raise DataError(f"{table} is no table of imported and exported Wh: {exc!r}") from None


def _post(session: Session, home: int, table: Path, key: Path, url: str, first: int | None, as_json: bool) -> None:
    """Sign a meter's table in the batches that the operator asks for, and hand them over."""
    rows, energy = _rows(table), Energy(session.w3, session.deployments)
    with Post(url, energy.domain) as operator:
        meter, wanted, slots, cuts = operator.meter(session.account(key), home)
        begin = wanted if first is None else first
        spans = split(begin, len(rows), slots, cuts)
        signed = [meter.read(slot, rows[slot - begin : slot - begin + count]) for slot, count in spans]
        told = operator.readings(signed)
    for each in told:
        if isinstance(each, MarketRefused):
            raise each
    result = {"home": home, "firstSlot": begin, "count": len(rows), "batches": told}
    tell(result, f"the operator keeps {len(rows)} slots of home {home}, in {len(told)} batches", as_json=as_json)


def readings(
    context: typer.Context,
    home: Annotated[int | None, typer.Argument(min=1, help="The home's number; without it all are told.")] = None,
    table: Annotated[
        Path | None, typer.Argument(help="CSV with the columns imported and exported: Wh, a row per slot.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Key file of the home's meter.")] = None,
    out: Annotated[Path | None, typer.Option(help="Append the signed reading to this file.")] = None,
    first_slot: Annotated[
        int | None, typer.Option("--first", help="First slot measured; else the one that is due.")
    ] = None,
    post: Annotated[str | None, typer.Option(help="Hand the signed readings to the operator at this URL.")] = None,
    as_json: Json = False,
) -> None:
    """Tell which readings are due; with a meter's table, sign it, and hand it to an operator or write it to a file."""
    if home is not None and table is not None:
        if key is None or (out is None) == (post is None):
            raise UsageError("to sign a table takes the meter's --key, and either --out for a file or --post for a URL")
        if post is not None:
            _post(context.obj, home, table, key, post, first_slot, as_json)
            return
        assert out is not None  # noqa: S101  one of the two is given
        measure(context, home, table, key, out, first_slot, as_json)
        return
    session: Session = context.obj
    energy = Energy(session.w3, session.deployments)
    due, current = energy.due(), energy.current_slot()
    found = [
        {
            "home": each.number,
            "fromSlot": each.from_slot,
            "untilSlot": each.until_slot,
            "imported": counters[0],
            "exported": counters[1],
            "posted": energy.posted(each.number, due.first_slot),
        }
        for each, counters in energy.counters()
        if home in (None, each.number)
    ]
    if home is not None and not found:
        raise UsageError(f"there is no home {home}")
    first, ended = due.first_slot, max(current - due.first_slot, 0)
    result = {"firstSlot": first, "count": ended, "clearable": due.count, "cut": due.cut, "homes": found}
    lines = [f"{ended} slots have ended and are not settled, from {first} on; {due.count} can be cleared at once now"]
    if due.cut is not None:
        lines.append(f"in slot {due.cut} a home joins or a meter changes: readings end before it and go on from it")
    lines += [
        f"home {each['home']}: settled up to {each['imported']:,} Wh in and {each['exported']:,} Wh out"
        + (f"; it posted its reading of slot {first}" if each["posted"] else "")
        for each in found
    ]
    tell(result, "\n".join(lines), as_json=as_json)


def clear(
    context: typer.Context,
    readings: Annotated[Path, typer.Argument(help="The homes' signed readings, one a line (`liggare measure`).")],
    key: Annotated[Path, typer.Option("--key", help="Key file of who sends the clearing; anyone may.")],
    slots: Annotated[int, typer.Option(min=1, help="How many slots to clear in one transaction.")] = 1,
    as_json: Json = False,
) -> None:
    """Clear and settle the next slots: the price that orders and readings imply, checked by the contract."""
    session: Session = context.obj
    energy = Energy(session.w3, session.deployments)
    proposal = energy.propose(read_readings(readings, energy.domain), slots)
    receipt = energy.carry_clearing(proposal, Sender(session.w3, session.account(key)))
    cleared = [
        {"slot": proposal.first_slot + number, "price": each.clearing.price, "volume": each.clearing.volume}
        for number, each in enumerate(proposal.slots)
    ]
    lines = [f"slot {each['slot']}: {each['volume']:,} Wh at {each['price'] / 1000:.3f} per kWh" for each in cleared]
    result = {"slots": cleared, **carried(receipt)}
    tell(result, "\n".join([*lines, f"settled in block {result['block']}"]), as_json=as_json)


def deposit(
    context: typer.Context,
    home: Annotated[int, typer.Argument(min=0, help="The home's number; 0 is the utility's account.")],
    sum_: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the currency, such as 12.50.")],
    key: Key,
    carrier: Carrier = None,
    as_json: Json = False,
) -> None:
    """Pay money into a home's account on the market, by one signature."""
    session: Session = context.obj
    value = amount(sum_)
    energy, payments = Energy(session.w3, session.deployments), Payments(session.w3, session.deployments)
    payer, salt = session.account(key), secrets.token_bytes(32)
    signed = payments.receive(
        payer,
        energy.contract.address,
        value,
        nonce=energy.deposit_nonce(home, salt),
        valid_before=now(session.w3) + LIFETIME,
    )
    receipt = energy.deposit(home, salt, signed, session.sender(payer, carrier))
    result = {"id": signed.id, "home": home, "value": value, **carried(receipt)}
    tell(result, f"paid {text(value)} into the account of home {home}", as_json=as_json)


def withdraw(
    context: typer.Context,
    home: Annotated[int, typer.Argument(min=0, help="The home's number; 0 is the utility's account.")],
    sum_: Annotated[str, typer.Argument(metavar="AMOUNT", help="In the currency, such as 12.50.")],
    key: Key,
    carrier: Carrier = None,
    as_json: Json = False,
) -> None:
    """Take money out of a home's account, to its owner."""
    session: Session = context.obj
    value = amount(sum_)
    energy = Energy(session.w3, session.deployments)
    owner = session.account(key)
    signed = energy.withdrawal(owner, home, value)
    receipt = energy.withdraw(signed, session.sender(owner, carrier))
    result = {"id": signed.id, "home": home, "value": value, **carried(receipt)}
    tell(result, f"took {text(value)} out of the account of home {home}", as_json=as_json)


def register_home(
    context: typer.Context,
    owner: Annotated[str, typer.Argument(help="The address that signs the home's orders.")],
    meter: Annotated[str, typer.Argument(help="The address that signs the home's readings.")],
    key: Key,
    as_json: Json = False,
) -> None:
    """Register a home with its meter; it takes part from the next slot. Only the registrar may."""
    session: Session = context.obj
    energy = Energy(session.w3, session.deployments)
    home = energy.register(address(owner), address(meter), Sender(session.w3, session.account(key)))
    tell(
        {"home": home, "owner": owner, "meter": meter}, f"home {home} takes part from the next slot on", as_json=as_json
    )
