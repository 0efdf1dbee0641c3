"""The Fernet keys: files of one directory that only the service can read.

Each file's name is a number; the highest seals, all of them open. To change keys, put a file with
a higher number into every controller's directory, and remove old ones when their last token has
expired. A running daemon notices.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from minicloud.domain.errors import Unavailable


def ensure_keys(directory: Path) -> None:
    """Make ``directory`` with one key where it has none; several may try at once."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _numbers(directory):
            return
        unfinished = directory / ".new"
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(directory / "1")


def _numbers(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


class Keys:
    """Seals and opens with the keys of a directory; reads them again when it changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._seen = -1
        self._fernet = self._current()

    def seal(self, payload: bytes) -> str:
        return self._current().encrypt(payload).decode().rstrip("=")

    def open(self, sealed: str) -> bytes | None:
        """The payload, or None for anything that these keys did not seal."""
        try:
            data = sealed.encode("ascii")
            return self._current().decrypt(data + b"=" * (-len(data) % 4))
        except (UnicodeEncodeError, InvalidToken):
            return None

    def _current(self) -> MultiFernet:
        changed = self._directory.stat().st_mtime_ns
        with self._lock:
            if changed != self._seen:
                self._fernet = _read(self._directory)
                self._seen = changed
            return self._fernet


def _read(directory: Path) -> MultiFernet:
    keys = []
    for number in reversed(_numbers(directory)):
        path = directory / str(number)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Unavailable(service="identity", reason=f"{path} is not the service's alone")
        keys.append(Fernet(path.read_bytes().strip()))
    if not keys:
        raise Unavailable(service="identity", reason=f"{directory} holds no keys")
    return MultiFernet(keys)
