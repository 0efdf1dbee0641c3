"""The files that hold image data: the heart of the service.

An upload goes to ``<name>.part``, is flushed to the disk and renamed to ``<name>``; only then may
a row call it whole. Whoever writes a file holds a lock on it (``flock``) until the row is
written. The kernel drops the lock with the process, so a file that nobody has locked and no row
names is rubbish, whichever of several daemons on this directory left it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from minicloud.domain.errors import TooLarge, Unavailable

LOG = logging.getLogger(__name__)
HASH_ALGO = "sha512"
_PART = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PIECE = 256 * 1024


class BlobWriter:
    """One upload's file: ``keep`` it and ``release`` it once the row is written, or ``discard``."""

    def __init__(self, directory: Path, name: str, fd: int) -> None:
        self.name = name
        self.size = 0
        self._directory = directory
        self._path = directory / (name + _PART)
        self._fd = fd
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hash = hashlib.new(HASH_ALGO)

    def write(self, chunk: bytes) -> None:
        """TooLarge when the disk is full, Unavailable when it fails."""
        self._md5.update(chunk)
        self._hash.update(chunk)
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as problem:
            raise _storage_error(problem) from problem
        self.size += len(chunk)

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def hash(self) -> str:
        """Digest by HASH_ALGO, hexadecimal."""
        return self._hash.hexdigest()

    def keep(self) -> None:
        """Make the file whole and lasting. Its lock stays until ``release``."""
        whole = self._directory / self.name
        try:
            os.fsync(self._fd)
            self._path.rename(whole)
            self._path = whole
            _sync_directory(self._directory)
        except OSError as problem:
            raise _storage_error(problem) from problem

    def release(self) -> None:
        os.close(self._fd)

    def discard(self) -> None:
        """Remove the file, whole or not."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


class BlobStore:
    """A directory of image files; several daemons may share it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, image_id: str, *, expected: int | None) -> BlobWriter:
        """A new file for an upload of ``expected`` bytes (None: unknown), locked.

        TooLarge when the disk cannot hold that many.
        """
        free = shutil.disk_usage(self._directory).free
        if expected is not None and expected > free:
            raise TooLarge(
                reason=f"There is no space left for {expected} bytes of image data; "
                f"{free} bytes are free."
            )
        while True:
            name = f"{image_id}-{secrets.token_hex(4)}"
            try:
                fd = os.open(
                    self._directory / (name + _PART),
                    os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                    0o600,
                )
            except OSError as problem:
                raise _storage_error(problem) from problem
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Between the two calls above a sweep may have taken the file for rubbish.
            if os.fstat(fd).st_nlink:
                return BlobWriter(self._directory, name, fd)
            os.close(fd)

    def open(self, name: str) -> BinaryIO:
        """The whole file. Unavailable when it is not there."""
        try:
            return (self._directory / name).open("rb")
        except OSError as problem:
            LOG.error("Image file %s cannot be opened: %s", name, problem.strerror)
            raise Unavailable(
                service="The image's data", reason="its file cannot be opened"
            ) from problem

    def remove(self, name: str) -> None:
        """Delete the file of a deleted image; repeatable."""
        (self._directory / name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Blobs of which there is a file, whole or in part."""
        return {path.name.removesuffix(_PART) for path in self._directory.iterdir()}

    def is_being_written(self, name: str) -> bool:
        """Whether a living upload holds the file."""
        with _Held(self._directory, name) as held:
            return not held

    def remove_if_idle(self, name: str, is_known: Callable[[], bool]) -> bool:
        """Delete an unlocked file unless ``is_known``, asked under the lock, says otherwise."""
        with _Held(self._directory, name) as held:
            if not held or is_known():
                return False
            self.remove(name + _PART)
            self.remove(name)
            return True


class _Held:
    """Locks a blob's file, whole or part, as far as there is one; False when a writer has it."""

    def __init__(self, directory: Path, name: str) -> None:
        # In this order: a rename between the two looks moves the file ahead of us, never behind.
        self._paths = (directory / (name + _PART), directory / name)
        self._fds: list[int] = []

    def __enter__(self) -> bool:
        for path in self._paths:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)  # NFS locks only what may be written
            except FileNotFoundError:
                continue
            self._fds.append(fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def __exit__(self, *_problem: object) -> None:
        for fd in self._fds:
            os.close(fd)


def pieces(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """``length`` bytes of ``file`` from ``start``; closes the file.

    EOFError when it is shorter: that ends the connection, so that no client waits for the rest.
    """
    with file:
        file.seek(start)
        while length > 0:
            piece = file.read(min(_PIECE, length))
            if not piece:
                raise EOFError(f"Image file {file.name} is shorter than its record says.")
            length -= len(piece)
            yield piece


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _storage_error(problem: OSError) -> TooLarge | Unavailable:
    if problem.errno in _FULL:
        return TooLarge(reason="There is no space left for image data.")
    LOG.error("Image data cannot be written: %s", problem.strerror)
    return Unavailable(service="The image store", reason="its disk cannot be written")
