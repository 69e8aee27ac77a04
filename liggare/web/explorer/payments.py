"""Pages of the whole ledger and its payments: overview, search, payment, account, transaction, id."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import RedirectResponse

from liggare.ledger.queries import Total
from liggare.web.explorer.sentences import ZERO, values
from liggare.web.explorer.site import LONGEST, Before, NotHere, Site, known_address, known_hash, known_number

__all__ = ["register"]

Asked = Annotated[str, Query(max_length=200)]
SHOWN = 50
"""Events of a transaction on one page."""
TRANSFER = "event:ZeroFeePayments.Transfer"


def register(app: FastAPI, site: Site) -> None:
    """Add the pages."""
    ledger = site.ledger

    @app.get("/")
    def overview(request: Request, before: Before = None) -> Response:
        """Show the latest events, totals and the index's health."""
        lang, health = site.language(request), ledger.health()
        found = ledger.latest(30, before)
        totals = ledger.totals()

        def of(*names: str) -> int:
            return sum(totals.get(name, Total(0, 0)).count for name in names)

        told = {
            "payments": of("ZeroFeePayments.Transfer"),
            "grants": of("RecordAccess.Granted", "RecordAccess.GrantedFor"),
            "revoked": of("RecordAccess.Revoked", "RecordAccess.RevokedFor", "RecordAccess.AllRevoked"),
            "slots": of("EnergyMarket.SlotCleared"),
            "homes": of("EnergyMarket.HomeRegistered"),
            "heads": of("RecordAccess.LogHeadPosted"),
            "purchases": of("Escrow.PurchaseFunded"),
        }
        moved = totals.get("ZeroFeePayments.Transfer", Total(0, 0)).value
        listed: dict[str, Any] = {"events": site.events(found, lang), "next": found.next, "before": before}
        return site.page(request, "overview.html", health=health, totals=told, moved=moved, **listed)

    @app.get("/search")
    def search(q: Asked = "") -> Response:
        """Lead to the page of what was asked for."""
        words = q.strip()
        if not words:
            return RedirectResponse("/", 303)
        return RedirectResponse(_place(site, words), 303)

    @app.get("/transactions/{transaction}")
    def transaction(request: Request, transaction: str, first: Annotated[int, Query(ge=0, lt=2**20)] = 0) -> Response:
        """Show the events of a transaction, from a log index on."""
        lang, which = site.language(request), known_hash(transaction)
        rows = ledger.transaction(which, first, SHOWN + 1)
        if not rows:
            raise NotHere("error.transaction", given=which)
        events = [{**site.event(row, lang), "row": row, "values": values(row, lang)} for row in rows[:SHOWN]]
        following = rows[SHOWN].log_index if len(rows) > SHOWN else None
        return site.page(request, "transaction.html", transaction=which, events=events, next=following, first=first)

    @app.get("/payments/{transaction}/{log_index}")
    def payment(request: Request, transaction: str, log_index: str) -> Response:
        """Show a payment, for the reader to check."""
        which, log = known_hash(transaction), known_number(log_index)
        found = ledger.payment(which, log)
        if found is None:
            raise NotHere("error.payment", given=which, log=log)
        at, used = found.row.arguments, found.authorization
        nonce = None if used is None else "0x" + used.arguments["nonce"].hex()
        money = site.deployments.contracts["ZeroFeePayments"].address
        parties: dict[str, Any] = {
            "payer": at["from"],
            "payee": at["to"],
            "value": at["value"],
            "money_at": money,
            "nobody": ZERO,
            "id": found.id,
        }
        return site.page(request, "payment.html", row=found.row, nonce=nonce, **parties)

    @app.get("/accounts/{account}")
    def account(request: Request, account: str, before: Before = None, only: Asked = "") -> Response:
        """Show an account's money and what concerns it."""
        lang, who, health = site.language(request), known_address(account), ledger.health()
        terms = (who, TRANSFER) if only == "payments" else (who,)
        found = ledger.about(*terms, most=30, before=before)
        words: dict[str, Any] = {"account": who, "name": site.names.get(who), "balance": site.balance(who, health)}
        words |= {"only": only if only == "payments" else "", "before": before, "next": found.next}
        return site.page(request, "account.html", health=health, events=site.events(found, lang), **words)

    @app.get("/ids/{words}")
    def by_id(request: Request, words: str, before: Before = None) -> Response:
        """Show all that names an id, a key or a hash."""
        lang, which = site.language(request), known_hash(words)
        found = ledger.about(which, most=30, before=before)
        if not found.rows and before is None:
            raise NotHere("error.id", given=which)
        listed: dict[str, Any] = {"events": site.events(found, lang), "next": found.next, "before": before}
        return site.page(request, "id.html", id=which, **listed)


def _place(site: Site, words: str) -> str:
    """Return the page of what was asked for. Raises NotHere."""
    if words.lower().startswith("liggare:"):
        raise NotHere("error.term", 400, given=words[:LONGEST])
    numbered = re.fullmatch(r"(slot|period|home|hem)[ :#]*(\d{1,8})", words, re.IGNORECASE | re.ASCII)
    if numbered:
        folder = "slots" if numbered[1].lower() in ("slot", "period") else "homes"
        return f"/{folder}/{int(numbered[2])}"
    if re.fullmatch(r"\d{1,8}", words, re.ASCII):
        return f"/slots/{int(words)}"
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", words):
        return f"/accounts/{known_address(words)}"
    if re.fullmatch(r"0x[0-9a-fA-F]{64}", words):
        which = words.lower()
        return f"/transactions/{which}" if site.ledger.transaction(which, most=1) else f"/ids/{which}"
    if words.startswith("0x"):
        raise NotHere("error.address", 400, given=words[:LONGEST])
    raise NotHere("error.term", 400, given=words[:LONGEST])
