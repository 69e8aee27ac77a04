"""New keys after a revoke: what a reader may have kept of the old ones opens nothing that is at rest from then on.

    block -> a grant, a guardian or a patient's own key ended -> pseudonym -> its charts -> each type's key anew

The chain does not tell which types a revoked grant was of, so all of the patient's keys change. A thread at the
custodian's gatekeeper. It remembers in the records' database up to which block it has looked; to look twice does no
harm, so it may be killed anywhere, and several may work side by side.
"""

from __future__ import annotations

import threading
from typing import Protocol

from web3 import Web3

from liggare.chain.deployments import Deployments
from liggare.chain.feed import Feed
from liggare.chain.logs import LogDecoder

__all__ = ["Rotator", "Shelves"]

ENDINGS = frozenset({"Revoked", "RevokedFor", "AllRevoked", "GuardianDismissed", "Recovered"})
STEP = 2000
"""Blocks that are asked for at once."""


class Shelves(Protocol):
    """Where the records are kept (`liggare.records.store.Store`)."""

    def charts(self, pseudonym: str) -> frozenset[str]:
        """Return the charts of a pseudonym."""

    def rotate_all(self, chart: str) -> list[str]:
        """Rotate the keys of all types of a chart."""

    def looked(self) -> int | None:
        """Return up to which block the ledger was looked at; None where never."""

    def note_looked(self, block: int) -> None:
        """Note up to which block the ledger was looked at."""


class Rotator:
    """Rotates the keys of patients who took something back."""

    def __init__(self, w3: Web3, deployments: Deployments, shelves: Shelves, *, pause: float = 5.0) -> None:
        """`pause` is how long to wait between two looks, in seconds."""
        self._decoder = LogDecoder(deployments, ["RecordAccess"])
        self._feed = Feed(w3, deployments.chain_id, [address.lower() for address in self._decoder.addresses])
        self._first = deployments.contracts["RecordAccess"].block
        self._shelves, self._pause = shelves, pause
        self.trouble: Exception | None = None
        """Why the last look failed; None where it did not."""
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> list[str]:
        """Rotate what the blocks since the last look ask for, and return the charts.

        Raises LedgerUnavailable, StoreUnavailable, KeyringDamaged or RecordDamaged; the next look goes on there.
        """
        head, looked, done = self._feed.head().number, self._shelves.looked(), []
        first = self._first if looked is None or looked > head else looked + 1  # the chain may have been set back
        while first <= head:
            last = min(first + STEP - 1, head)
            logs, _ = self._feed.stretch(first, last)
            events = [self._decoder.decode(log) for log in logs]
            ended = {event.arguments["patient"] for event in events if event.name in ENDINGS}
            charts = sorted(chart for pseudonym in ended for chart in self._shelves.charts(pseudonym))
            for chart in dict.fromkeys(charts):
                self._shelves.rotate_all(chart)
                done.append(chart)
            self._shelves.note_looked(last)
            first = last + 1
        return done

    def start(self) -> None:
        """Look in a thread of its own until `stop`. What goes wrong there is in `trouble`, and is tried again."""
        self._thread = threading.Thread(target=self._run, name="key rotation", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the next one goes on."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            try:
                self.look()
                self.trouble = None
            except Exception as exc:  # old keys that stay a while are better than ones that nobody changes any more
                self.trouble = exc
