"""What the operator counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["Figures"]


class Figures:
    """One set of figures; each operator of a process has its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, says: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"liggare_market_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(f"liggare_market_{name}", says, labels, registry=registry)

        self.batches = counter("batches", "Batches of readings kept", ["source"])
        self.refused = counter("refused", "Batches and messages not taken", ["reason"])
        self.accepted = counter("messages", "Messages taken", ["kind"])
        self.finished = counter("messages_finished", "Messages at their end", ["status"])
        self.cleared = counter("slots_cleared", "Slots cleared by this operator")
        self.closed = counter("slots_closed", "Slots closed by this operator")
        self.missing = counter("missing", "Homes marked as without a reading, by slot")
        self.overtaken = counter("overtaken", "Transactions for slots that another had settled")
        self.reverts = counter("reverts", "Transactions that failed in their block")
        self.replacements = counter("replacements", "Transactions signed anew for a higher fee")
        self.cost = counter("wei", "What this operator paid for gas, wei")
        self.troubles = counter("troubles", "Times that node, database or broker did not do as asked")
        self.behind = gauge("slots_behind", "Slots that have ended and are not settled")
        self.stored = gauge("stored", "Rows of the database", ["what"])
