"""One Database a service: short transactions, nothing else.

A write transaction on SQLite takes its lock at BEGIN (BEGIN IMMEDIATE), so it never fails half
way with "database is locked"; on PostgreSQL it runs at READ COMMITTED and relies on the
compare-and-set of the statements themselves. Functions that query take a ``Transaction`` and
return values; who opens the transaction owns it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import make_url

from minicloud.domain.errors import Unavailable
from minicloud.kit import patterns

Transaction = sa.Connection
"""An open transaction; ends with the block that opened it."""

_BUSY_TIMEOUT_S = 15


class Database:
    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        parsed = make_url(url)
        json = {"json_serializer": _json_text, "json_deserializer": msgspec.json.decode}
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
                # Rows hold password hashes and users' data; -wal and -shm take over the mode.
                Path(parsed.database).touch(mode=0o600)
            self.engine = sa.create_engine(
                parsed,
                connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False},
                pool_size=pool_size,
                max_overflow=20,
                **json,
            )
            event.listen(self.engine, "connect", _tune_sqlite)
        else:
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.engine = sa.create_engine(
                parsed, pool_size=pool_size, max_overflow=20, pool_pre_ping=True, **json
            )

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads: one consistent view on SQLite."""
        with self._open("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that commits at the end of the block, or rolls back when it raises."""
        with self._open("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Transaction]:
        """A write transaction that may rebuild tables.

        SQLite changes a table by copying it and dropping the old one, which would take the rows
        along that refer to it: there foreign keys are looked at once, before the commit.
        """
        if not self.is_sqlite:
            with self.write() as connection:
                yield connection
            return
        with self.engine.connect() as connection:
            bare = connection.connection.dbapi_connection
            assert bare is not None
            bare.cursor().execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    yield connection
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                    if broken is not None:
                        raise RuntimeError(f"The migration left a dangling reference: {broken}")
            finally:
                bare.cursor().execute("PRAGMA foreign_keys=ON")

    @contextlib.contextmanager
    def _open(self, sqlite_begin: str) -> Iterator[Transaction]:
        try:
            with self.engine.begin() as connection:
                if self.is_sqlite:
                    # Not in an engine's event: one listener there makes every statement slower.
                    connection.exec_driver_sql(sqlite_begin)
                yield connection
        except sa.exc.OperationalError as problem:
            full = "disk is full" in str(problem.orig)
            reason = "its disk is full" if full else type(problem.orig).__name__
            raise Unavailable(service="The database", reason=reason) from problem

    def close(self) -> None:
        self.engine.dispose()


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # NORMAL in WAL mode survives the death of any process; only a power cut can take the last
    # transactions with it, never the file's consistency.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_S * 1000}")
    cursor.close()
    # In place of SQLAlchemy's, which a pattern like (a+)+$ keeps busy for hours.
    connection.create_function("regexp", 2, patterns.found, deterministic=True)
