"""The Fernet keys: files of one directory that only the service can read.

Each file's name is a number. The highest seals and all of them open; ``0``, where there is one,
only opens: it will seal from the next rotation on, so that with several controllers each can open
what it seals before any of them seals with it. A running daemon notices changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from minicloud.domain.errors import Unavailable
from minicloud.kit import clock


def ensure_keys(directory: Path) -> None:
    """Make ``directory`` with one key where it has none; several may try at once."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() == 0 and directory.lstat().st_uid == 0:
        # Made by an operator as root, it is for the daemon's user, who owns what is around it.
        around = directory.parent.stat()
        os.chown(directory, around.st_uid, around.st_gid, follow_symlinks=False)
    with _locked(directory):
        if not _numbers(directory):
            _make(directory, 1)


def rotate(directory: Path, *, needed_s: float) -> list[str]:
    """Let the waiting key seal, make another wait, remove those that nothing needs any more.

    ``needed_s``: for how long what a key sealed must still be opened, seconds. What was done, a
    few words each. A key is needed for that long after another took its place, however often
    somebody rotates.
    """
    done = []
    with _locked(directory):
        if not _numbers(directory):
            _make(directory, 1)
            done.append("made key 1")
        if 0 in _numbers(directory):
            new = max(_numbers(directory)) + 1
            # Its age counts from now: that is when the one before it seals no more.
            os.utime(directory / "0")
            (directory / "0").rename(directory / str(new))
            done.append(f"key {new} seals now")
        _make(directory, 0)
        done.append("made key 0, which seals after the next rotation")
        numbers = [number for number in _numbers(directory) if number]
        for number, successor in itertools.pairwise(numbers):
            replaced_at = (directory / str(successor)).stat().st_mtime
            if replaced_at + needed_s < clock.now():
                (directory / str(number)).unlink()
                done.append(f"removed key {number}")
    return done


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Nobody else changes the keys meanwhile. The lock's file is owned as the directory is."""
    # What is given away by root is this file, never one that a link in its place names.
    lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if os.geteuid() == 0:
            owner = directory.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make(directory: Path, number: int) -> None:
    """A new key under ``number``, whole or not at all, owned as the directory is."""
    unfinished = directory / ".new"
    unfinished.unlink(missing_ok=True)
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
        owner = directory.stat()
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
    unfinished.rename(directory / str(number))


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
