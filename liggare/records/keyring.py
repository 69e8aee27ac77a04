"""The keyring: the keys to a custodian's records, and who is who. It is kept out of the database.

    master key -> <folder>/<HMAC of a chart>.keys     sealed: one key for each category, with its generation, and the
                                                      key of the handles under which the database finds the rows
               -> <folder>/<HMAC of a pseudonym>.link  sealed: the charts of one pseudonym

So a copy of the database is worthless without this folder, and worthless for ever once a chart's file is gone: back the
two up apart, and let a copy of this folder live no longer than it may take to forget a patient. A key that goes is
overwritten before its file is unlinked; a file system that keeps old blocks (snapshots, flash) still has it sealed.

Any number of processes may share the folder on one machine: changes are made under a lock, and a file is looked at
(one `stat`) at every use, so what another process erased is gone here too. Every step can be cut off: what is then left
over is put right when the keyring is opened next.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from liggare.errors import KeyringDamaged, MasterKeyRefused, WrongMasterKey
from liggare.messages import address

__all__ = ["ChartKeys", "Keyring", "MasterKey", "Remains"]

FORM = b"liggare keyring 1"
CACHED = 4096
"""Charts, and pseudonyms, whose files are kept open in memory at most."""
NONCE = 12


@dataclass(frozen=True)
class MasterKey:
    """32 bytes that open the keyring. Whoever has them and the folder has everything."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != 32:
            raise MasterKeyRefused(f"a master key has 32 bytes, not {len(self.key)}")

    @classmethod
    def new(cls, path: Path) -> MasterKey:
        """Make a key and write it to a new file that only its owner can read. Raises MasterKeyRefused if it exists."""
        made = cls(secrets.token_bytes(32))
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise MasterKeyRefused(f"the master key can't be written to {path}: {exc.strerror}") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(made.key.hex() + "\n")
            os.fsync(file.fileno())
        return made

    @classmethod
    def read(cls, path: Path) -> MasterKey:
        """Read the key from a file of 64 hexadecimal digits. Raises MasterKeyRefused, also where others may read it."""
        try:
            with path.open("rb") as file:
                about = os.fstat(file.fileno())
                text = file.read(200)
        except OSError as exc:
            raise MasterKeyRefused(f"the master key's file {path} can't be read: {exc.strerror}") from None
        if stat.S_IMODE(about.st_mode) & 0o077 or about.st_uid not in (0, os.geteuid()):
            raise MasterKeyRefused(f"others than its owner can read the master key's file {path}: chmod 600 it")
        return cls.parse(text.decode("ascii", "replace"), str(path))

    @classmethod
    def from_environment(cls, name: str, environment: Mapping[str, str] = os.environ) -> MasterKey:
        """Read the key from a variable of 64 hexadecimal digits. Raises MasterKeyRefused."""
        if name not in environment:
            raise MasterKeyRefused(f"{name} is not set")
        return cls.parse(environment[name], name)

    @classmethod
    def parse(cls, text: str, source: str) -> MasterKey:
        """Read the key from 64 hexadecimal digits. Raises MasterKeyRefused; the text is not repeated."""
        try:
            key = bytes.fromhex(text.strip().removeprefix("0x"))
        except ValueError:
            key = b""
        if len(key) != 32:
            raise MasterKeyRefused(f"{source} holds no master key: 64 hexadecimal digits (openssl rand -hex 32)")
        return cls(key)


@dataclass(frozen=True)
class ChartKeys:
    """The open keys of one chart, as they are at one moment."""

    chart: str
    index: bytes = field(repr=False)
    """Makes the handles of the chart's rows."""
    keys: Mapping[str, Mapping[int, AESGCM]] = field(repr=False)
    """Category -> generation -> key; records are sealed with the highest."""
    pseudonyms: frozenset[str] = frozenset()

    def newest(self, category: str) -> tuple[int, AESGCM]:
        """Return generation and key with which records of this category are sealed. Raises KeyError without one."""
        generation = max(self.keys[category])
        return generation, self.keys[category][generation]

    def handle(self, *words: str) -> bytes:
        """Return what stands for these words in the database: 16 bytes that mean nothing without the chart's file."""
        return hmac.digest(self.index, "\0".join(words).encode(), hashlib.sha256)[:16]


@dataclass(frozen=True)
class Remains:
    """What is left of a chart whose erasure has begun: enough to find its rows, and nothing to read them with."""

    chart: str
    keys: ChartKeys = field(repr=False)
    """Without any key but the handles'; `keys.keys` names the categories."""


Value = TypeVar("Value")


class Keyring:
    """The folder. For any number of threads and processes.

    Every method raises KeyringDamaged where a file is not what was written to it, OSError where the folder can't be
    used.
    """

    def __init__(self, folder: Path, master: MasterKey) -> None:
        """Open or begin the keyring. Raises WrongMasterKey where it was made with another master key."""
        self.folder = folder
        self._wrap = AESGCM(_derive(master.key, b"wrap"))
        self._naming = _derive(master.key, b"names")
        self._charts = _Cache[ChartKeys](self._read_chart)
        self._links = _Cache[frozenset[str]](self._read_link)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            self._check()
            for path in [*folder.glob("*.new"), *folder.glob("*.old")]:
                self._sweep(path.with_suffix(""))

    def _check(self) -> None:
        """See that this master key made the keyring, or begin one."""
        path = self.folder / "keyring"
        try:
            sealed = path.read_bytes()
        except FileNotFoundError:
            if any(self.folder.glob("*.keys")) or any(self.folder.glob("*.link")):
                raise KeyringDamaged("the keyring lost its file `keyring`, which tells its master key") from None
            self._write(path, {})
            return
        if len(sealed) < NONCE + 16:
            raise KeyringDamaged("the keyring's file `keyring` is cut off")
        try:
            self._unseal(path.name, sealed)
        except InvalidTag:
            raise WrongMasterKey("the keyring does not open with this master key") from None

    # ------------------------------------------------------------------ charts

    def open(self, chart: str) -> ChartKeys | None:
        """Return the keys of a chart, or None where it has none, or was erased, by whatever process."""
        return self._charts.get(self._path(chart, "keys"))

    def provide(self, chart: str, category: str) -> ChartKeys:
        """Return the keys of a chart, with one for this category; makes what is not there yet.

        While `remains(chart)` has something it must not be called: finish that erasure first.
        """
        keys = self.open(chart)
        if keys is not None and category in keys.keys:
            return keys
        with self._locked():
            document = self._document(chart)
            if category not in document["keys"]:
                document["keys"][category] = {"1": secrets.token_hex(32)}
                self._store(chart, document)
        return self._present(chart)

    def renew(self, chart: str, category: str) -> ChartKeys | None:
        """Add a key of the next generation; None where there is none to follow. `retire` ends what this begins."""
        with self._locked():
            document = self._stored(self._path(chart, "keys"))
            if document is None or category not in document["keys"]:
                return None
            generations = document["keys"][category]
            generations[str(max(map(int, generations)) + 1)] = secrets.token_hex(32)
            self._write(self._path(chart, "rotating"), {"chart": chart})
            self._store(chart, document)
        return self._present(chart)

    def retire(self, renewed: ChartKeys, category: str) -> None:
        """Destroy the keys before the one that `renew` made; nothing may need them any more."""
        chart, (before, _) = renewed.chart, renewed.newest(category)
        with self._locked():
            document = self._stored(self._path(chart, "keys"))
            if document is None or document["index"] != renewed.index.hex():
                return  # erased since then, and perhaps begun anew
            generations = document["keys"].get(category, {})
            kept = {number: key for number, key in generations.items() if int(number) >= before}
            if kept != generations:
                document["keys"][category] = kept
                self._store(chart, document)
            if all(len(each) == 1 for each in document["keys"].values()):
                self._destroy(self._path(chart, "rotating"))

    def rotating(self) -> list[tuple[str, str]]:
        """Return the (chart, category) of which older keys are still there, such as where `rotate` was cut off."""
        found = []
        with self._locked():
            for path in self.folder.glob("*.rotating"):
                marked = self._stored(path)
                document = self._stored(path.with_suffix(".keys"))
                if marked is not None and document is not None:
                    found += [(marked["chart"], name) for name, each in document["keys"].items() if len(each) > 1]
                if not any(len(each) > 1 for each in (document or {"keys": {}})["keys"].values()):
                    self._destroy(path)
        return found

    # ------------------------------------------------------------------ erasing

    def erase(self, chart: str) -> Remains | None:
        """Destroy the keys of a chart, for good; None where there are none. `finish` ends what this begins."""
        with self._locked():
            path = self._path(chart, "keys")
            try:
                document = self._stored(path)
            except KeyringDamaged:  # its rows can't be found any more, but what is left of the keys must go
                document = None
            if document is not None:
                kept = {**document, "keys": {category: {} for category in document["keys"]}}
                self._write(path.with_suffix(".erasing"), kept)
            self._destroy(path)
            self._destroy(path.with_suffix(".rotating"))
        return self.remains(chart)

    def remains(self, chart: str) -> Remains | None:
        """Return what is left of the chart where its erasure has begun and was not finished."""
        return self._remains(self._path(chart, "erasing"))

    def erasing(self) -> list[Remains]:
        """Return what is left of every chart whose erasure has begun and was not finished."""
        found = (self._remains(path) for path in self.folder.glob("*.erasing"))
        return [each for each in found if each is not None]

    def finish(self, remains: Remains) -> None:
        """Forget the last of an erased chart: its links, and what `remains` was made of. Its rows must be gone."""
        path = self._path(remains.chart, "erasing")
        with self._locked():
            document = self._stored(path)
            if document is None or document["index"] != remains.keys.index.hex():
                return  # another process finished it, and perhaps began anew
            for pseudonym in remains.keys.pseudonyms:
                self._unlink(pseudonym, {remains.chart})
            self._destroy(path)

    def _remains(self, path: Path) -> Remains | None:
        document = self._stored(path)
        if document is None:
            return None
        return Remains(document["chart"], _opened(document))

    # ------------------------------------------------------------------ who is who

    def charts(self, pseudonym: str) -> frozenset[str]:
        """Return the charts of a pseudonym; empty for one that nobody linked."""
        return self._links.get(self._path(address(pseudonym), "link")) or frozenset()

    def link(self, pseudonym: str, *charts: str) -> None:
        """Note that a pseudonym is the patient of these charts; adds to what was noted."""
        pseudonym = address(pseudonym)
        with self._locked():
            for chart in charts:  # first the charts: from them an erasure finds the links
                document = self._document(chart)
                if pseudonym not in document["pseudonyms"]:
                    document["pseudonyms"] = sorted([*document["pseudonyms"], pseudonym])
                    self._store(chart, document)
            path = self._path(pseudonym, "link")
            known = (self._stored(path) or {"charts": []})["charts"]
            self._write(path, {"pseudonym": pseudonym, "charts": sorted({*known, *charts})})

    def unlink(self, pseudonym: str, *charts: str) -> None:
        """Take back what `link` noted; of all charts where none is named."""
        pseudonym = address(pseudonym)
        with self._locked():
            gone = self._unlink(pseudonym, set(charts))
            for chart in gone:
                document = self._stored(self._path(chart, "keys"))
                if document is not None and pseudonym in document["pseudonyms"]:
                    document["pseudonyms"].remove(pseudonym)
                    self._store(chart, document)

    def _unlink(self, pseudonym: str, charts: set[str]) -> set[str]:
        path = self._path(pseudonym, "link")
        known = set((self._stored(path) or {"charts": []})["charts"])
        gone = known & charts if charts else known
        if known and known == gone:
            self._destroy(path)
        elif gone:
            self._write(path, {"pseudonym": pseudonym, "charts": sorted(known - gone)})
        return gone

    # ------------------------------------------------------------------ files

    def _path(self, subject: str, suffix: str) -> Path:
        name = hmac.digest(self._naming, subject.encode(), hashlib.sha256).hex()
        return self.folder / f"{name}.{suffix}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep every other thread and process from changing the folder."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _document(self, chart: str) -> dict[str, Any]:
        """Return what a chart's file holds, or what a new one would."""
        path = self._path(chart, "keys")
        stored = self._stored(path)
        if stored is None and path.with_suffix(".erasing").exists():
            raise KeyringDamaged("the erasure of a chart was not finished")
        return stored or {"chart": chart, "index": secrets.token_hex(32), "keys": {}, "pseudonyms": []}

    def _store(self, chart: str, document: dict[str, Any]) -> None:
        self._write(self._path(chart, "keys"), document)

    def _present(self, chart: str) -> ChartKeys:
        keys = self.open(chart)
        if keys is None:
            raise KeyringDamaged("a chart's keys went away while they were used")
        return keys

    def _read_chart(self, path: Path) -> ChartKeys | None:
        document = self._stored(path)
        return None if document is None else _opened(document)

    def _read_link(self, path: Path) -> frozenset[str] | None:
        document = self._stored(path)
        return None if document is None else frozenset(document["charts"])

    def _stored(self, path: Path) -> dict[str, Any] | None:
        """Return what a file holds, or None where there is none."""
        for _ in range(3):  # a file that was replaced after it was opened is overwritten under the reader's hands
            try:
                return self._unseal(path.name, path.read_bytes())
            except FileNotFoundError:
                return None
            except InvalidTag:
                continue
        raise KeyringDamaged(f"the keyring's file {path.name} is not what was written to it")

    def _unseal(self, name: str, sealed: bytes) -> dict[str, Any]:
        if len(sealed) < NONCE + 16:
            raise InvalidTag
        text = self._wrap.decrypt(sealed[:NONCE], sealed[NONCE:], FORM + name.encode())
        document: dict[str, Any] = json.loads(text)
        return document

    def _write(self, path: Path, document: dict[str, Any]) -> None:
        """Put a file in its place at one moment, on disk, and destroy the one before."""
        nonce = secrets.token_bytes(NONCE)
        sealed = nonce + self._wrap.encrypt(nonce, json.dumps(document).encode(), FORM + path.name.encode())
        new, old = path.with_name(path.name + ".new"), path.with_name(path.name + ".old")
        self._sweep(path)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(sealed)
            os.fsync(file.fileno())
        if path.exists():
            os.link(path, old)
        new.replace(path)
        self._sync_folder()
        self._shred(old)

    def _destroy(self, path: Path) -> None:
        """Take a file away at one moment, and destroy it."""
        self._sweep(path)
        if path.exists():
            old = path.with_name(path.name + ".old")
            path.rename(old)
            self._sync_folder()
            self._shred(old)

    def _sweep(self, path: Path) -> None:
        """Destroy what a write that was cut off left beside a file."""
        new, old = path.with_name(path.name + ".new"), path.with_name(path.name + ".old")
        if old.exists() and path.exists() and old.samefile(path):
            old.unlink()  # cut off before the new file took its place
        self._shred(old)
        self._shred(new)

    def _shred(self, path: Path) -> None:
        """Overwrite a file that nobody reads any more, and unlink it."""
        try:
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(os.fstat(file.fileno()).st_size))
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        path.unlink()
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Cache(Generic[Value]):
    """What was read from files, each as long as its file stays the same one; the most recently used stay."""

    def __init__(self, read: Callable[[Path], Value | None]) -> None:
        self._read = read
        self._known: OrderedDict[Path, tuple[tuple[int, ...], Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> Value | None:
        """Return what the file holds now, or None where there is none."""
        while True:
            seen = _seen(path)
            with self._lock:
                known = self._known.get(path)
                if seen is None:
                    self._known.pop(path, None)
                    return None
                if known is not None and known[0] == seen:
                    self._known.move_to_end(path)
                    return known[1]
            value = self._read(path)
            if value is None or _seen(path) != seen:
                continue  # it changed while it was read
            with self._lock:
                self._known[path] = seen, value
                while len(self._known) > CACHED:
                    self._known.popitem(last=False)
            return value


def _seen(path: Path) -> tuple[int, ...] | None:
    """Return what tells one file of a name from the next."""
    try:
        about = os.stat(path)  # noqa: PTH116 at every read of a record: half the time of Path's
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size


def _opened(document: dict[str, Any]) -> ChartKeys:
    keys = {
        category: {int(number): AESGCM(bytes.fromhex(key)) for number, key in generations.items()}
        for category, generations in document["keys"].items()
    }
    return ChartKeys(document["chart"], bytes.fromhex(document["index"]), keys, frozenset(document["pseudonyms"]))


def _derive(master: bytes, use: bytes) -> bytes:
    """Return the key for one use: HKDF's expand step, the master key being uniform."""
    return hmac.digest(master, FORM + b" " + use + b"\1", hashlib.sha256)
