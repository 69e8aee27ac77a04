"""What other processes do to a custodian's records; imports nothing of the tests, so that it starts fast."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from liggare.errors import VersionConflict
from liggare.records.keyring import Keyring, MasterKey
from liggare.records.store import Store

MASTER = MasterKey(bytes(range(32)))
CHART = "Patient/anna"

processes = get_context("forkserver")
processes.set_forkserver_preload(["tests.records.worker"])


def open_store(url: str, folder: Path) -> Store:
    """Open the records as a process of its own would: nothing is shared but the files."""
    return Store(url, Keyring(folder, MASTER))


def observation(identity: str, text: str = "weight", chart: str = CHART, **members: Any) -> dict[str, Any]:
    """Return a record of a patient's."""
    subject = {"reference": chart}
    made = {"resourceType": "Observation", "id": identity, "status": "final", "code": {"text": text}}
    return {**made, "subject": subject, **members}


def write(url: str, folder: Path, name: str, count: int) -> None:
    """Write versions of one record that all share, and records of this process' own."""
    store = open_store(url, folder)
    for number in range(count):
        store.put(observation("common", f"{name}-{number}"))
        store.put(observation(f"{name}-{number}"))


def count_up(url: str, folder: Path, count: int) -> None:
    """Raise the number in a record by one, `count` times, only ever from the version that was read."""
    store = open_store(url, folder)
    while count:
        known = store.get(CHART, "Observation", "counter")
        try:
            number = known["valueInteger"] + 1
            store.put(observation("counter", valueInteger=number), expected_version=int(known["meta"]["versionId"]))
            count -= 1
        except VersionConflict:
            continue


def rotate(url: str, folder: Path, count: int) -> None:
    """Change the key of the chart's Observations again and again."""
    store = open_store(url, folder)
    for _ in range(count):
        store.rotate(CHART, "Observation")


def erase(url: str, folder: Path) -> None:
    """Erase the chart."""
    open_store(url, folder).erase(CHART)


def cut_off(url: str, folder: Path, action: str, step: int) -> None:
    """Do something and die by kill -9 at its `step`th step: before it, something on the disk is about to change."""
    store = open_store(url, folder)
    left = step

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for owner, name in [(os, "fsync"), (os, "link"), (Path, "rename"), (Path, "replace"), (Path, "unlink")]:
        setattr(owner, name, counted(getattr(owner, name)))
    dialect = type(store._database._engine.dialect)
    dialect.do_commit = counted(dialect.do_commit)
    if action == "erase":
        store.erase(CHART)
    elif action == "rotate":
        store.rotate(CHART, "Observation")
    else:
        store.put(observation("1", "changed"))


def killed(url: str, folder: Path, action: str, step: int) -> bool:
    """Run `cut_off` in a process; tell whether it died on the way."""
    process = processes.Process(target=cut_off, args=(url, folder, action, step))
    process.start()
    process.join(30)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def together(*jobs: tuple[Any, ...]) -> None:
    """Run functions of this module at the same time, each in a process of its own; all must end well."""
    running = [processes.Process(target=job, args=arguments) for job, *arguments in jobs]
    for each in running:
        each.start()
    for each in running:
        each.join(60)
    assert [each.exitcode for each in running] == [0] * len(running)
