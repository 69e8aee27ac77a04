"""How values are written for people, in English or Swedish: money, energy, prices, times, addresses."""

from __future__ import annotations

from datetime import datetime, timezone

from liggare.payments.client import text

__all__ = ["day", "energy", "money", "number", "price", "short", "when"]

SEPARATORS = {"en": (",", "."), "sv": ("\u00a0", ",")}
"""Between thousands, and before decimals."""
LAST = 253_402_300_799
"""The end of the year 9999."""


def number(digits: int | str, lang: str) -> str:
    """Return a number, whole or with a decimal point, with its thousands apart."""
    whole, _, decimals = str(digits).partition(".")
    thousands, point = SEPARATORS[lang]
    grouped = f"{int(whole):,}".replace(",", thousands)
    sign = "-" if whole.startswith("-") and not grouped.startswith("-") else ""
    return sign + grouped + (point + decimals if decimals else "")


def money(units: int, lang: str) -> str:
    """Return an amount of units of 10^-6: 12500000 -> "12.50"."""
    return number(text(units), lang)


def price(thousandths: int, lang: str) -> str:
    """Return a price: 1250 -> "1.250"."""
    sign, rest = ("-" if thousandths < 0 else ""), abs(thousandths)
    return sign + number(f"{rest // 1000}.{rest % 1000:03}", lang)


def energy(wh: int, lang: str) -> str:
    """Return an energy of Wh in kWh: 1250 -> "1.250 kWh"."""
    return price(wh, lang) + "\u00a0kWh"


def when(time: int) -> str:
    """Return a unix time in words, UTC; one after the year 9999 as an endless one."""
    if not 0 <= time <= LAST:
        return "∞"
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(time: int) -> str:
    """Return the day of a unix time, UTC."""
    return when(time)[:10]


def short(words: str) -> str:
    """Return an address or a hash by its ends."""
    return words if len(words) <= 16 else f"{words[:8]}…{words[-6:]}"
