"""A PostgreSQL of a test's own: empty, reached through a Unix socket, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def missing() -> str:
    """What this machine lacks for it; empty: nothing."""
    lacks = [name for name in ("initdb", "pg_ctl") if not shutil.which(name)]
    return " and ".join(lacks)


@contextlib.contextmanager
def private_postgresql() -> Iterator[str]:
    """The URL of its one database."""
    directory = Path(tempfile.mkdtemp(prefix="mc-pg-"))
    # PostgreSQL refuses to run as root.
    be = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    if be:
        shutil.chown(directory, "postgres")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": directory}
    data = directory / "data"
    subprocess.run(
        [*be, "initdb", "-D", data, "-U", "minicloud", "-A", "trust", "--no-sync"], **quiet
    )
    options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off"
    control = [*be, "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", options, "-l", directory / "log", "start"], **quiet)
    try:
        yield f"postgresql://minicloud@/postgres?host={directory}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(directory)
