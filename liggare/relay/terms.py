"""What the one who runs a relayer decides: how much the sponsor gives, and how fast and carefully it works."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits", "Pace"]


@dataclass(frozen=True)
class Limits:
    """What the sponsor gives for one kind of messages."""

    per_account: int = 500
    """Messages of one account in a day (UTC), each payment of a bundle for one."""
    newcomers: int = 50
    """New accounts that one account may pay in a day."""
    budget: int | None = None
    """Wei of gas for all of them in a day; None sets no limit."""
    per_request: int = 1000
    """Messages in one request."""


@dataclass(frozen=True)
class Pace:
    """How fast and how carefully the relayer works; times in seconds."""

    wait: float = 0.2
    """How long the oldest message waits for company."""
    most: int = 1000
    """Messages in one transaction."""
    gas: int = 15_000_000
    """Gas limit of one transaction, at most; half of a block's at most in any case."""
    fresh: float = 5.0
    """How long the dry run at the door counts; what waited longer is tried once more before it is sent."""
    under_way: int = 4
    """Transactions that may wait for their block at once."""
    confirmations: int = 1
    """Blocks, the transaction's own among them, after which an end is an end."""
    patience: float = 30.0
    """How long a transaction may wait for its block before its fee is raised."""
    lease: float = 30.0
    """How long a claim holds; longer than a dry run takes."""
    most_fee: int = 500 * 10**9
    """Wei per gas that is never exceeded."""
    attempts: int = 3
    """Transactions that a message may fail with, whole, before it is sent by itself."""
    alone: int = 16
    """Messages that go each alone, looked at in one go."""
