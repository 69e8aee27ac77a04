"""The access log: an append-only Merkle tree (RFC 9162, SHA-256) over a file of JSON lines.

    entry -> canonical line -> file, fsync -> leaf -> root -> the custodian posts it

One line is one release; the leaf is the line without its newline. The file stays with the custodian; only heads
go on the chain. Each entry holds a signature and a salt, so its leaf hash tells nothing to who does not hold it, and
a patient can be given proofs for their own entries without seeing any other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from liggare.errors import DataError, LogDamaged

__all__ = ["AccessLog", "Tree", "canonical", "leaf_hash", "verify_consistency", "verify_inclusion"]


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of an entry (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def canonical(entry: dict[str, Any]) -> bytes:
    """Return an entry's one line: sorted members, no spaces, ASCII."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


class Tree:
    """A Merkle tree that grows; hashes of whole subtrees are kept, so each question costs O(log n)."""

    def __init__(self, entries: Sequence[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, entry: bytes) -> None:
        """Add an entry's leaf."""
        node, level = leaf_hash(entry), 0
        self._levels[0].append(node)
        while len(self._levels[level]) % 2 == 0:
            node = _node_hash(*self._levels[level][-2:])
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node)

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash of an entry."""
        return self._levels[0][index]

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries (default: all)."""
        size = self._checked(len(self) if size is None else size)
        return self._hash(0, size) if size else hashlib.sha256(b"").digest()

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that an entry is in the log of `size` entries (RFC 9162, 2.1.3.1)."""
        size = self._checked(len(self) if size is None else size)
        if not 0 <= index < size:
            raise DataError(f"the log of {size} entries has no entry {index}")
        proof, start, end = [], 0, size
        while end - start > 1:
            split = start + _split(end - start)
            if index < split:
                proof.append(self._hash(split, end))
                end = split
            else:
                proof.append(self._hash(start, split))
                start = split
        return proof[::-1]

    def consistency(self, first: int, second: int | None = None) -> list[bytes]:
        """Return the proof that the log of `second` entries continues that of `first` (RFC 9162, 2.1.4.1)."""
        second = self._checked(len(self) if second is None else second)
        if not 0 < first <= second:
            raise DataError(f"a log of {second} entries can't be shown to continue one of {first}")
        if first == second:
            return []
        proof, start, end, whole = [], 0, second, True
        while first != end:
            split = start + _split(end - start)
            if first <= split:
                proof.append(self._hash(split, end))
                end = split
            else:
                proof.append(self._hash(start, split))
                start, whole = split, False
        if not whole:
            proof.append(self._hash(start, end))
        return proof[::-1]

    def _checked(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise DataError(f"the log has {len(self)} entries, not {size}")
        return size

    def _hash(self, start: int, end: int) -> bytes:
        """Return the hash over entries `start` to `end`, exclusive; `start` is where a subtree of this split begins."""
        count = end - start
        if count & (count - 1) == 0 and start % count == 0:
            return self._levels[count.bit_length() - 1][start // count]
        split = start + _split(count)
        return _node_hash(self._hash(start, split), self._hash(split, end))


def _split(count: int) -> int:
    """Return the largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def verify_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof shows that the leaf hash is entry `index` of a log of this size and root.

    RFC 9162, 2.1.3.2, step by step.
    """
    if not 0 <= index < size or len(leaf) != len(root) or len(root) != 32:
        return False
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = _node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = _node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == root


def verify_consistency(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Tell whether the proof shows that the second log begins with all of the first.

    RFC 9162, 2.1.4.2, step by step.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path or not proof:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = _node_hash(node, fr), _node_hash(node, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = _node_hash(sr, node)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


class AccessLog:
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

    def __enter__(self) -> AccessLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_lines(text: bytes, path: Path) -> list[bytes]:
    """Return a log file's lines. Raises LogDamaged where one is not the canonical form of an entry."""
    lines = text.split(b"\n")[:-1]
    for number, line in enumerate(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            raise LogDamaged(f"{path}: entry {number} is no JSON") from None
        if not isinstance(entry, dict) or canonical(entry) != line:
            raise LogDamaged(f"{path}: entry {number} is not as it is written")
    return lines


def _sync_folder(folder: Path) -> None:
    """Make a new file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
