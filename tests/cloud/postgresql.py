"""A PostgreSQL of the tests' own: a new cluster on a socket, gone at the end."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

_ACCOUNT = "postgres"


def binaries() -> Path | None:
    """Where initdb and pg_ctl are: on PATH, or where Debian keeps them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


class PostgresqlServer:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def new_database(self) -> str:
        """The URL of a new and empty database."""
        name = f"t{uuid.uuid4().hex}"
        engine = sa.create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://{_ACCOUNT}@/{name}?host={self._socket}"


@contextlib.contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A running server. Needs root, because PostgreSQL itself will not run as root."""
    tools = binaries()
    assert tools is not None
    with tempfile.TemporaryDirectory(prefix="minicloud-pg-") as text:
        place = Path(text)
        shutil.chown(place, _ACCOUNT)
        place.chmod(0o700)

        def run(*argv: str) -> None:
            subprocess.run(
                argv, check=True, stdout=subprocess.DEVNULL, user=_ACCOUNT, cwd=place, timeout=120
            )

        data = str(place / "data")
        run(str(tools / "initdb"), "-D", data, "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
        control = str(tools / "pg_ctl")
        run(control, "-D", data, "-w", "-o", options, "-l", str(place / "log"), "start")
        try:
            yield PostgresqlServer(place)
        finally:
            run(control, "-D", data, "-w", "-m", "immediate", "stop")
