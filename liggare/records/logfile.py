"""The first access log: a file of JSON lines, for one process. To be removed with the gatekeeper in this process.

entry -> canonical line -> file, fsync -> leaf -> root -> the custodian posts it
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from liggare.errors import LogDamaged
from liggare.records.log import canonical, read_lines
from liggare.records.tree import Tree

__all__ = ["LogFile"]


class LogFile:
    """The log in its file, open to append; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open or begin the file. Raises LogDamaged where a line is no entry or another process has it open.

        A last line without its newline is cut off: it was never synced, so nothing was released on it.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise LogDamaged(f"{path} is open in another process") from None
        try:
            self.lines = self._recover()
        except BaseException:
            self.close()
            raise
        self.tree = Tree(self.lines)

    def _recover(self) -> list[bytes]:
        """Return the file's lines, after cutting a torn one off."""
        _sync_folder(self.path.parent)
        whole = self.path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            os.ftruncate(self._file, len(kept))
            os.fsync(self._file)
        self._size = len(kept)
        return read_lines(kept, self.path)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first."""
        return [json.loads(line) for line in self.lines]

    def append(self, entry: dict[str, Any]) -> int:
        """Write an entry and return its index once it is on the disk; only then may anything be released.

        Raises LogDamaged where the disk does not take it; the log is then closed, without the entry.
        """
        line = canonical(entry)
        try:
            self._write(line + b"\n")
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)  # what was not released must not count in the next root
            self.close()
            raise LogDamaged(f"{self.path} does not take an entry: {exc}") from None
        self.lines.append(line)
        self.tree.append(line)
        return len(self.lines) - 1

    def _write(self, data: bytes) -> None:
        if os.write(self._file, data) != len(data):
            raise OSError("the disk took a part of it")
        os.fsync(self._file)
        self._size += len(data)

    def close(self) -> None:
        """Let go of the file; closing twice does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> LogFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
