"""Pages of the energy market: prices and volumes, a slot with its curve and fills, a home's bill."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response

from liggare.energy.messages import SLOT_SECONDS
from liggare.ledger.rows import Row
from liggare.web.explorer import charts, shown
from liggare.web.explorer.site import Before, NotHere, Site, known_number

__all__ = ["register"]

DAY = 86_400 // SLOT_SECONDS
SHOWN = 4 * DAY
"""Slots of a page of prices."""


def register(app: FastAPI, site: Site) -> None:
    """Add the pages."""
    ledger = site.ledger

    @app.get("/prices")
    def prices(request: Request, before: Before = None) -> Response:
        """Show prices and volumes over days."""
        genesis = site.market.genesis
        found = ledger.prices(SHOWN, before)
        rows = found.rows[::-1]
        drawn = charts.prices(rows) if rows else None
        listed = [
            (row.arguments, shown.when(genesis + row.arguments["slot"] * SLOT_SECONDS)) for row in found.rows[:DAY]
        ]
        words: dict[str, Any] = {"chart": drawn, "days": _days(rows, genesis), "slots": listed}
        return site.page(request, "prices.html", next=found.next, before=before, **words)

    @app.get("/slots/{slot}")
    def slot_page(request: Request, slot: str) -> Response:
        """Show a slot: its curve, price and fills, for the reader to check."""
        market, number, health = site.market, known_number(slot), ledger.health()
        begins = market.genesis + number * SLOT_SECONDS
        lang = site.language(request)
        told = ledger.about(f"slot:{number}", "event:EnergyMarket.SlotCleared", most=1).rows
        closed = ledger.about(f"slot:{number}", "event:EnergyMarket.SlotsClosed", most=1).rows
        if not told and not closed and begins > site.now(health):
            raise NotHere("slot.future", slot=shown.number(number, lang), when=shown.when(begins))
        words: dict[str, Any] = {
            "slot": number,
            "begins": begins,
            "ends": begins + SLOT_SECONDS,
            "closed": bool(closed),
        }
        cleared = market.cleared(number) if told else None
        words |= {"told": told[0] if told else None, "cleared": cleared, "curves": None, "tariffs": market.tariffs}
        if cleared and (cleared.bids or cleared.offers):
            words["curves"] = charts.curves(cleared, market.tariffs.grid_fee, market.tariffs.retail)
        item = site.deployments.contracts["EnergyMarket"]
        fills = None if cleared is None else " ".join(f"{home}:{wh}" for home, wh in sorted(cleared.traded.items()))
        return site.page(
            request, "slot.html", health=health, market_at=item.address, first_block=item.block, fills=fills, **words
        )

    @app.get("/homes/{home}")
    def home_page(
        request: Request,
        home: str,
        days: Annotated[Literal["1", "7", "30", "all"], Query()] = "30",
        before: Before = None,
    ) -> Response:
        """Show a home's bill and what concerns it."""
        market, number, lang = site.market, known_number(home), site.language(request)
        registered = ledger.about(f"home:{number}", "event:EnergyMarket.HomeRegistered", most=1).rows
        if not registered:
            raise NotHere("error.home", given=number)
        found = ledger.about(f"home:{number}", most=20, before=before)
        words: dict[str, Any] = {"bill": None, "balance": None, "first": None, "until": None}
        if number <= market.homes:
            lines = market.lines(number)
            until = lines[-1].slot + 1 if lines else 0
            first = 0 if days == "all" or not lines else max(until - int(days) * DAY, lines[0].slot)
            first = lines[0].slot if days == "all" and lines else first
            words = {"bill": market.bill(number, first, until), "balance": market.balance(number)}
            words |= {"first": market.genesis + first * SLOT_SECONDS, "until": market.genesis + until * SLOT_SECONDS}
        words |= {"home": number, "owner": registered[0].arguments["owner"], "days": days}
        return site.page(request, "home.html", events=site.events(found, lang), next=found.next, before=before, **words)


def _days(rows: list[Row], genesis: int) -> list[dict[str, Any]]:
    """Return each day's lowest, mean (by volume) and highest price and its volume, newest first."""
    by_day: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_day[shown.day(genesis + row.arguments["slot"] * SLOT_SECONDS)].append(row.arguments)
    days = []
    for name, told in sorted(by_day.items(), reverse=True):
        volume = sum(each["volume"] for each in told)
        traded = [each["price"] for each in told if each["volume"]]
        mean = sum(each["price"] * each["volume"] for each in told) // volume if volume else None
        ends = (min(traded), max(traded)) if traded else (None, None)
        days.append({"name": name, "slots": len(told), "low": ends[0], "mean": mean, "high": ends[1], "volume": volume})
    return days
