"""`liggare energy simulate`, `bill`, `prices`: what a market would do, what it did, and what that cost whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from liggare.cli.options import Json, Session, price, tell
from liggare.energy.messages import NEVER
from liggare.errors import DataError, UsageError
from liggare.payments.client import amount, text

if TYPE_CHECKING:
    from liggare.energy.battery import Battery
    from liggare.energy.bills import Bill, Price
    from liggare.energy.simulate import Neighbourhood

__all__ = ["bill_words", "register"]

# What reads the ledger or computes is imported where it is used, so that no other command waits for it.

DAY = 86_400
BY_SLOT = 192
"""So many slots are told one by one, more by day."""

Out = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Also write to this file: .csv or .parquet; may be repeated."),
]
Since = Annotated[
    str | None, typer.Option("--from", metavar="SLOT|TIME", help="First slot, by number, or as 2026-06-01T12:15 (UTC).")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="SLOT|TIME", help="First slot that is not in it any more, likewise.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(bill)
    app.command()(prices)
    app.command()(simulate)


# ---------------------------------------------------------------------- from the chain


def bill(
    context: typer.Context,
    home: Annotated[int, typer.Argument(min=1, help="The home's number.")],
    since: Since = None,
    until: Until = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Tell what a home's energy cost it, to the unit, and what it would have cost without the market.

    Everything is computed again from the orders and readings on the chain; files get a line per slot.
    """
    from liggare.energy import bills
    from liggare.energy.report import write_table
    from liggare.ledger.reader import Reader

    session: Session = context.obj
    genesis, period = _period(session, since, until)
    book = bills.read_book(Reader(session.w3, session.deployments).rows(), session.deployments, home)
    found = book.bill(home, *period)
    for path in out or []:
        lines = [line for line in book.lines if period[0] <= line.slot < period[1]]
        write_table(bills.frame(lines, genesis, bills.Line), path)
    tell(dataclasses.asdict(found), bill_words(found), as_json=as_json)


def bill_words(bill: Bill) -> str:
    """Tell a bill to a person, line by line."""

    def row(what: str, wh: int | None, units: int) -> str:
        return f"  {what:22}{'' if wh is None else kwh(wh):>16}{text(units):>18}"

    rows = [f"home {bill.home}, {bill.slots:,} slots with a reading"]
    rows += [row("from neighbours", bill.bought, bill.bought_for), row("from the grid", bill.from_grid, bill.grid)]
    rows += [row("grid fee", None, bill.fee)] * (bill.fee != 0)
    rows += [row("to neighbours", bill.sold, -bill.sold_for), row("to the grid", bill.to_grid, -bill.feed_in)]
    rows += [row("  of it not paid yet", None, bill.unpaid)] * (bill.unpaid != 0)
    rows += [row("cost", None, bill.cost), row("without the market", None, bill.alone), row("saved", None, bill.saved)]
    if bill.gap_imported or bill.gap_exported:
        gaps = f"{kwh(bill.gap_imported)} from it and {kwh(bill.gap_exported)} to it"
        rows.append(f"  of what the grid has: {gaps} were counted in slots without a reading")
    return "\n".join(rows)


def kwh(wh: int) -> str:
    """Return Wh as kWh, whole."""
    return f"{Decimal(wh) / 1000:,.3f} kWh"


def prices(
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Write to this file: .csv, .parquet, or a plot: .png, .svg, .html; may be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell the prices and volumes of cleared slots, slot by slot, or day by day where there are many."""
    from liggare.energy import bills, plots
    from liggare.energy.client import Energy
    from liggare.energy.report import TABLES, write_table
    from liggare.ledger.reader import Reader

    session: Session = context.obj
    genesis, period = _period(session, since, until)
    found = bills.prices(Reader(session.w3, session.deployments).rows(), genesis, *period)
    if out:
        frame, tariffs = bills.frame(found, genesis, bills.Price), Energy(session.w3, session.deployments).tariffs
        for path in out:
            if path.suffix in TABLES:
                write_table(frame, path)
            elif not found:
                raise UsageError("no slot was cleared in this period, so there is nothing to draw")
            else:
                plots.draw(plots.of_prices(frame, tariffs), path, "Prices and volumes")
    volume = sum(each.volume_wh for each in found)
    mean = sum(each.price * each.volume_wh for each in found) / volume if volume else None
    result = {"slots": [dataclasses.asdict(each) for each in found], "volumeWh": volume, "meanPrice": mean}
    tell(result, _price_words(found, volume, mean), as_json=as_json)


def _price_words(found: Sequence[Price], volume: int, mean: float | None) -> str:
    lines = []
    by_day = len(found) > BY_SLOT
    for begins, group in groupby(found, key=lambda each: each.begins // DAY if by_day else each.begins):
        slots = list(group)
        wh = sum(each.volume_wh for each in slots)
        value = sum(each.price * each.volume_wh for each in slots)
        time = datetime.fromtimestamp(begins * DAY if by_day else begins, timezone.utc)
        name = f"{time:%Y-%m-%d}" if by_day else f"slot {slots[0].slot}  {time:%Y-%m-%d %H:%M}"
        paid = f"{value / wh / 1000:.3f} per kWh" if wh else "no trade"
        lines.append(f"{name}  {kwh(wh):>16}  {paid}")
    total = "nothing was traded" if mean is None else f"{kwh(volume)} at {mean / 1000:.3f} per kWh on the average"
    return "\n".join([*lines, f"{len(found):,} slots: {total}"])


def _period(session: Session, since: str | None, until: str | None) -> tuple[int, tuple[int, int]]:
    """Return when slot 0 begins, and the period that is asked for as slots."""
    from liggare.energy.bills import slot_at

    *_, genesis, _ = session.deployments.contracts["EnergyMarket"].arguments
    first = slot_at(since, int(genesis)) if since else 0
    end = slot_at(until, int(genesis)) if until else NEVER
    if end <= first:
        raise UsageError(f"the period ends, at slot {end}, before it begins, at slot {first}")
    return int(genesis), (first, end)


# ---------------------------------------------------------------------- without a chain


def simulate(
    tables: Annotated[
        list[Path] | None,
        typer.Argument(
            help="CSV files, one per home: time, load_wh or load_kw, generation_wh or generation_kw."
            " Without any: the 17 measured homes of CityLearn 2022."
        ),
    ] = None,
    synthetic: Annotated[
        int | None, typer.Option(min=1, help="So many made homes instead, of standard load under a clear sky.")
    ] = None,
    place: Annotated[
        str, typer.Option(metavar="LATITUDE,LONGITUDE", help="Where the made homes are.")
    ] = "40.672,-73.977",
    battery: Annotated[
        str | None,
        typer.Option(metavar="KWH:KW[:EFFICIENCY]", help="A battery for each home with generation, such as 6.4:5:0.9."),
    ] = None,
    agents: Annotated[
        str, typer.Option(help="Who states the wishes: fixed, zero, learning; several, by commas, are dealt in turn.")
    ] = "fixed",
    buy: Annotated[str | None, typer.Option(help="The limit of all fixed wishes to buy, per kWh; else drawn.")] = None,
    sell: Annotated[str | None, typer.Option(help="The same to sell.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Where chance begins: the same seed, the same result.")] = 1,
    first_day: Annotated[int, typer.Option(min=0, help="First day of the homes' series; 0 is their first.")] = 0,
    days: Annotated[int | None, typer.Option(min=1, help="How many days; all that there are unless said.")] = None,
    retail: Annotated[str, typer.Option(help="What the grid sells at, per kWh.")] = "2.50",
    feed_in: Annotated[str, typer.Option(help="What the grid takes at, per kWh.")] = "0.60",
    grid_fee: Annotated[str | None, typer.Option(help="What the grid asks per kWh that neighbours trade.")] = None,
    deposit: Annotated[str, typer.Option(help="What each home has in its account at first.")] = "50000",
    funds: Annotated[str, typer.Option(help="What the utility has.")] = "1000000",
    out: Annotated[Path | None, typer.Option(help="Write tables and plots to this folder.")] = None,
    tables_as: Annotated[str, typer.Option("--tables", help="csv or parquet.")] = "csv",
    plots_as: Annotated[str, typer.Option("--plots", help="png, svg, html; several by commas.")] = "png,html",
    as_json: Json = False,
) -> None:
    """Run a neighbourhood's market without a chain, by the contract's rules, and report on it."""
    from liggare.energy import plots, report
    from liggare.energy.agents import Crowd
    from liggare.energy.settlement import Tariffs
    from liggare.energy.simulate import simulate as run

    suffixes = [f".{name.strip()}" for name in plots_as.split(",")]
    if f".{tables_as}" not in report.TABLES or not set(suffixes) <= set(plots.PLOTS):
        raise UsageError(f"tables are {' or '.join(report.TABLES)}, plots {', '.join(plots.PLOTS)}")
    fee = price(grid_fee) if grid_fee and amount(grid_fee) else 0
    tariffs = Tariffs(price(retail), price(feed_in), fee)
    if tariffs.feed_in > tariffs.most:
        raise UsageError(f"the grid takes at {feed_in} and sells at {retail} less the fee: that is below it")
    street = _neighbourhood(tables or [], synthetic, place).days(first_day, days)
    kinds = [name.strip() for name in agents.split(",")]
    limits = {"buy": price(buy) if buy else None, "sell": price(sell) if sell else None}
    crowd = Crowd.of(kinds, len(street.homes), tariffs, seed, **limits)
    cell = _battery(battery) if battery else None
    batteries = [cell if home.sun.any() else None for home in street.homes]
    study = run(street, tariffs, crowd, deposit=amount(deposit), funds=amount(funds), batteries=batteries)
    if out:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DataError(f"{out} can't be made: {exc.strerror}") from None
        report.write_table(report.by_home(study), out / f"homes.{tables_as}")
        report.write_table(report.by_slot(study), out / f"slots.{tables_as}")
        title = f"{len(study.names)} homes, {len(study.price) / 96:,.0f} days, wishes: {', '.join(kinds)}"
        for suffix in suffixes:
            plots.draw(plots.of_study(study), out / f"study{suffix}", title)
    if as_json:
        tell(report.summary(study), "", as_json=True)
        return
    console = Console()
    for table in report.overview(study):
        console.print(table)
    for line in report.words(study):
        console.print(line, highlight=False)


def _neighbourhood(tables: Sequence[Path], synthetic: int | None, place: str) -> Neighbourhood:
    """Return the homes that are asked for."""
    from liggare.energy.homes import wheel
    from liggare.energy.simulate import Neighbourhood

    if tables and synthetic:
        raise UsageError("homes are from tables or made, not both")
    if tables:
        return Neighbourhood.tables(tables)
    if synthetic:
        try:
            latitude, longitude = map(float, place.split(","))
        except ValueError:
            raise UsageError(f"{place!r} is no place, such as 40.672,-73.977") from None
        return Neighbourhood.made(synthetic, (latitude, longitude))
    return Neighbourhood.citylearn(wheel())


def _battery(words: str) -> Battery:
    """Return the battery of KWH:KW[:EFFICIENCY]."""
    from liggare.energy.battery import Battery

    try:
        capacity, power, efficiency = (int(Decimal(each) * 1000) for each in [*words.split(":"), "0.9"][:3])
    except (ValueError, InvalidOperation, OverflowError):
        raise UsageError(f"{words!r} is no battery, such as 6.4:5:0.9 (kWh, kW, part that comes out)") from None
    return Battery(capacity, power, efficiency)
