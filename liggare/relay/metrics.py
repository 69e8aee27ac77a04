"""What the relayer counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from liggare.relay.outbox import PAYMENT, Result, Row, end

__all__ = ["Metrics"]


class Metrics:
    """One set of figures; each relayer of a process has its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, says: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"liggare_relay_{name}", says, labels, registry=registry)

        self.accepted = counter("accepted", "Messages taken")
        self.refused = counter("refused", "Messages not taken", ["reason"])
        self.finished = counter("finished", "Messages at their end", ["status"])
        self.cost = counter("sponsor_wei", "What the sponsor paid for gas, wei")
        self.replacements = counter("replacements", "Transactions signed anew for a higher fee")
        self.reverts = counter("reverts", "Transactions that failed whole")
        self.reorganisations = counter("reorganisations", "Transactions whose block left the chain")
        self.troubles = counter("troubles", "Times that node or database did not do as asked")
        self.queue = Gauge("liggare_relay_queue", "Messages by state", ["status"], registry=registry)
        self.oldest = Gauge("liggare_relay_oldest_seconds", "Age of the oldest message on its way", registry=registry)
        self.batch = Histogram(
            "liggare_relay_batch_size",
            "Messages in a transaction",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000),
            registry=registry,
        )
        self.gas = Histogram(
            "liggare_relay_gas_per_payment",
            "Gas of a transaction by its payments",
            buckets=(2000, 3000, 5000, 8000, 10000, 12000, 15000, 20000, 30000, 50000, 80000),
            registry=registry,
        )
        self.other_gas = Histogram(
            "liggare_relay_gas_per_message",
            "Gas of a transaction that carries no payments by its messages",
            buckets=(20000, 30000, 34000, 40000, 50000, 60000, 80000, 100000, 200000, 500000),
            registry=registry,
        )
        self.latency = Histogram(
            "liggare_relay_latency_seconds",
            "From acceptance to the end",
            buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
            registry=registry,
        )

    def sent(self, rows: Sequence[Row]) -> None:
        """Count a transaction."""
        self.batch.observe(len(rows))

    def landed(
        self, kind: str, rows: Sequence[Row], results: Sequence[Result], facts: dict[str, Any], now: float
    ) -> None:
        """Count what became of a transaction."""
        self.ended(kind, results)
        self.cost.inc(int(facts["cost"]))
        gas = self.gas if kind == PAYMENT else self.other_gas
        gas.observe(facts["gas_used"] / sum(row.units for row in rows))
        for row in rows:
            self.latency.observe(now - row.accepted)

    def ended(self, kind: str, results: Sequence[Result]) -> None:
        """Count messages at their end."""
        for result in results:
            self.finished.labels(end(kind, result.reason).value).inc()
