"""A service's SQL database: SQLite by default, PostgreSQL by URL, with one lock for all who write.

Any number of processes may share one. Every change is made under the lock, so rows never disagree; reading needs none.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from liggare.errors import LiggareError, SettingsError

__all__ = ["Database", "engine_of"]


def engine_of(url: str, **options: Any) -> Engine:
    """Return the engine of a database, with the driver that ships with the package; `options` are SQLAlchemy's.

    Raises SettingsError where the URL is none; it may hold a password, so it is not repeated.
    """
    try:
        parts = make_url(re.sub(r"^postgres(ql)?://", "postgresql+pg8000://", url))
        if parts.get_backend_name() == "postgresql" and parts.username is None:
            parts = parts.set(username=getpass.getuser())  # as PostgreSQL's own clients do
        lasting = parts.get_backend_name() == "sqlite"  # a file does not go away as a server may
        return create_engine(parts, pool_pre_ping=not lasting, pool_timeout=10, **options)
    except (ArgumentError, NoSuchModuleError):
        raise SettingsError("the database's URL is none, such as sqlite:///relay.db") from None


class Database:
    """A database; `unavailable` makes the error that is raised where it does not answer, from the reason's name."""

    def __init__(
        self, url: str, *, lock: int, unavailable: Callable[[str], LiggareError], cache: int | None = None
    ) -> None:
        """`lock` names the writers' lock on PostgreSQL. Nothing is connected yet.

        `cache` is how many MiB of its file SQLite may keep in memory, for each connection; unless said, its own 2.
        """
        self._engine = engine_of(url)
        self._plain = engine_of(url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True)
        self._lock, self._unavailable = lock, unavailable
        self.sqlite = self._engine.dialect.name == "sqlite"
        if self.sqlite:
            event.listen(self._engine, "connect", _tune)
            event.listen(self._plain, "connect", _tune)
            event.listen(self._engine, "begin", _begin)
            if cache is not None:
                for engine in (self._engine, self._plain):
                    event.listen(engine, "connect", lambda made, _: made.execute(f"PRAGMA cache_size=-{1024 * cache}"))

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()
        self._plain.dispose()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction under the lock; it is on the disk when the block ends, and undone where it fails."""
        with self._named(), self._engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                if not self.sqlite:
                    words = "SELECT set_config('synchronous_commit', 'on', true), pg_advisory_xact_lock(:lock)"
                    connection.execute(text(words), {"lock": self._lock})
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._named(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Open a connection for one statement that only reads: on PostgreSQL it spares two of four round trips."""
        with self._named(), self._plain.connect() as connection:
            yield connection

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give the driver's errors our name."""
        try:
            yield
        except IntegrityError:  # a fault of ours, never the database's
            raise
        except (DBAPIError, PoolTimeout) as exc:
            raise self._unavailable(type(exc).__name__) from exc
        except OSError as exc:  # pg8000 lets some of the socket's errors through; ours are no socket's
            if isinstance(exc, LiggareError):
                raise
            raise self._unavailable(type(exc).__name__) from exc


def _tune(connection: Any, _: Any) -> None:
    """SQLite: readers beside one writer, on disk at each commit, and transactions that we begin ourselves."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
