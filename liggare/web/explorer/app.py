"""The explorer as a web application: the index's JSON API, pages for people beside it, and a stream of what is new.

    chain -> follower -> index -> pages (read without JavaScript) + stream (a small script puts new events on top)

Pages are written on the server; their headers let a browser run the site's own scripts only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from sse_starlette import EventSourceResponse
from starlette.staticfiles import StaticFiles

import liggare.web
from liggare.ledger.rows import Row
from liggare.web.explorer import energy, invoices, payments, records
from liggare.web.explorer.site import Guard, Site, explain
from liggare.web.ledger import Service, application, stream

__all__ = ["explorer"]

STATIC = Path(liggare.web.__file__).parent / "static"
LIVE = "/live"


def explorer(service: Service, *, most: int = 64) -> FastAPI:
    """Return the web application; it follows the chain for as long as it serves.

    At most `most` requests are answered at a time, further ones are told to come back (429).
    """
    site = Site(service)
    app = application(service, most=most, streams=frozenset({LIVE}), workers=site.followers)

    @app.get(LIVE, include_in_schema=False)
    async def live(request: Request) -> EventSourceResponse:
        lang = site.language(request)

        def tell(row: Row) -> dict[str, Any]:
            return site.event(row, lang)

        return stream(service, request, tell)

    app.mount("/", pages(site))
    return app


def pages(site: Site) -> FastAPI:
    """Return the pages alone."""
    app = FastAPI(openapi_url=None)
    for part in (payments, energy, records, invoices):
        part.register(app, site)
    explain(app, site)
    app.mount("/static", StaticFiles(directory=STATIC))
    app.add_middleware(Guard)
    return app
