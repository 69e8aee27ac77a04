"""`liggare serve market` in processes of its own, which may be killed and started again."""

from __future__ import annotations

from tests.energy.operator.town import Town
from tests.relay.load import ServiceProcess, Spawner

__all__ = ["MarketProcess", "prepare"]


def prepare(town: Town, folder):
    """Write what a process needs to find the town."""
    town.record.save(folder / "deployments")
    (folder / "password").write_text("correct horse\n")
    return folder


class MarketProcess(ServiceProcess):
    """One operator; its key is the funded account `number`."""

    SERVICE, ASKED = "market", f"/v1/messages/0x{'00' * 32}"

    def __init__(self, spawner: Spawner, town: Town, folder, database: str, number: int, *words) -> None:
        own = ("--per-day", 10**6, "--settle-in", 0, "--lease", 3)
        super().__init__(spawner, town.node, folder, database, number, *own, *words)
