"""No more requests at a time than a service can answer soon: whoever comes beyond is told at once when to ask again.

Streams (Server-Sent Events) last, so they have a number of their own.
"""

from __future__ import annotations

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from liggare.web.problems import problem

__all__ = ["Crowd"]


class Crowd:
    """Refuses requests beyond `most` at a time, and streams, by their paths, beyond `most_streams`, with 429."""

    def __init__(
        self, app: ASGIApp, most: int = 64, streams: frozenset[str] = frozenset(), most_streams: int = 256
    ) -> None:
        self._app, self._streams, self._most = app, streams, {False: most, True: most_streams}
        self._inside: Counter[bool] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        kind = scope["path"] in self._streams
        if self._inside[kind] >= self._most[kind]:
            refused = problem("Crowded", "too many ask at once", 429, f"{self._most[kind]} at a time are the most")
            refused.headers["retry-after"] = "1"
            return await refused(scope, receive, send)
        self._inside[kind] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside[kind] -= 1
