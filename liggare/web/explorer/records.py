"""Pages of the records: the register of grants, opaque by design, and custodians' log heads."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response

from liggare.web.explorer.site import Before, NotHere, Site, known_address

__all__ = ["register"]

HEADS = "event:RecordAccess.LogHeadPosted"


def register(app: FastAPI, site: Site) -> None:
    """Add the pages."""
    ledger = site.ledger

    @app.get("/grants")
    def grants(request: Request, before: Before = None) -> Response:
        """Show the register of grants, and say what can't be seen in it."""
        found = ledger.grants(30, before)
        events = site.events(found, site.language(request))
        return site.page(request, "grants.html", events=events, next=found.next, before=before)

    @app.get("/logs")
    def logs(request: Request, before: Before = None) -> Response:
        """Show the newest heads of all custodians' logs."""
        found = ledger.about(HEADS, most=30, before=before)
        events = site.events(found, site.language(request))
        return site.page(request, "logs.html", events=events, next=found.next, before=before)

    @app.get("/logs/{custodian}")
    def log(request: Request, custodian: str, before: Before = None) -> Response:
        """Show the heads of a custodian's log, for the reader to check."""
        who = known_address(custodian)
        newest = ledger.log_heads(who, 1).rows
        if not newest:
            raise NotHere("error.log", given=who)
        found = ledger.log_heads(who, 50, before)
        item = site.deployments.contracts["RecordAccess"]
        words: dict[str, Any] = {"custodian": who, "newest": newest[0].arguments, "count": ledger.count(who, HEADS)}
        words |= {"records_at": item.address, "first_block": item.block}
        return site.page(request, "log.html", rows=found.rows, next=found.next, before=before, **words)
