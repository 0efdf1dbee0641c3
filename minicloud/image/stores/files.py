"""Image data in files, the store that every cloud has.

An upload goes to ``<name>.part``, is flushed to the disk and renamed to ``<name>``; only then may
a row call it whole. Whoever writes a file holds a lock on it (``flock``) until the row is
written. The kernel drops the lock with the process, so a file that nobody has locked and no row
names is rubbish, whichever of several daemons on this directory left it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from minicloud.domain.errors import TooLarge, Unavailable
from minicloud.image.stores.base import PIECE, Store, Writer, new_name

LOG = logging.getLogger(__name__)
_PART = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BLOCK = 64 * 1024
_ZEROS = bytes(_BLOCK)


class FileWriter(Writer):
    """An upload's file. Blocks of zeros become holes."""

    def __init__(self, directory: Path, name: str, fd: int) -> None:
        self.name = name
        self.size = 0
        self._directory = directory
        self._path = directory / (name + _PART)
        self._fd = fd

    def write(self, chunk: bytes) -> None:
        try:
            for start in range(0, len(chunk), _BLOCK):
                block = chunk[start : start + _BLOCK]
                if block != _ZEROS[: len(block)]:
                    self._write_at(self.size + start, block)
        except OSError as problem:
            raise storage_error(problem) from problem
        self.size += len(chunk)

    def _write_at(self, offset: int, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            written = os.pwrite(self._fd, rest, offset)
            offset += written
            rest = rest[written:]

    def keep(self) -> None:
        whole = self._directory / self.name
        try:
            os.ftruncate(self._fd, self.size)  # it may end with a hole
            os.fsync(self._fd)
            self._path.rename(whole)
            self._path = whole
            sync_directory(self._directory)
        except OSError as problem:
            raise storage_error(problem) from problem

    def release(self) -> None:
        os.close(self._fd)

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


class FileStore(Store):
    """A directory of image files."""

    kind = "file"

    def __init__(self, directory: Path, store_id: str = "file") -> None:
        super().__init__(store_id, "Files of this service")
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, image_id: str, *, expected: int | None) -> FileWriter:
        """A new file, locked."""
        free = shutil.disk_usage(self._directory).free
        if expected is not None and expected > free:
            raise TooLarge(
                reason=f"There is no space left for {expected} bytes of image data; "
                f"{free} bytes are free."
            )
        while True:
            name = new_name(image_id)
            try:
                fd = os.open(
                    self._directory / (name + _PART),
                    os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                    0o600,
                )
            except OSError as problem:
                raise storage_error(problem) from problem
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Between the two calls above a sweep may have taken the file for rubbish.
            if os.fstat(fd).st_nlink:
                return FileWriter(self._directory, name, fd)
            os.close(fd)

    def pieces(self, name: str, start: int, length: int) -> Iterator[bytes]:
        return _pieces(self._open(name), start, length)

    def _open(self, name: str) -> BinaryIO:
        try:
            return (self._directory / name).open("rb")
        except OSError as problem:
            LOG.error("Image file %s cannot be opened: %s", name, problem.strerror)
            raise Unavailable(
                service="The image's data", reason="its file cannot be opened"
            ) from problem

    def remove(self, name: str) -> None:
        (self._directory / name).unlink(missing_ok=True)

    def names(self) -> set[str]:
        return {path.name.removesuffix(_PART) for path in self._directory.iterdir()}

    def is_being_written(self, name: str) -> bool:
        with _Held(self._directory, name) as held:
            return not held

    def remove_if_idle(self, name: str, is_known: Callable[[], bool]) -> bool:
        """``is_known`` is asked under the lock."""
        with _Held(self._directory, name) as held:
            if not held or is_known():
                return False
            self.remove(name + _PART)
            self.remove(name)
            return True

    def properties(self) -> Mapping[str, Any]:
        return {"data_dir": str(self._directory), "thin_provisioning": True}

    def url(self, name: str) -> str:
        return f"file://{self._directory / name}"


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


def _pieces(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while length > 0:
            piece = file.read(min(PIECE, length))
            if not piece:
                raise EOFError(f"Image file {file.name} is shorter than its record says.")
            length -= len(piece)
            yield piece


def sync_directory(directory: Path) -> None:
    """Make a rename in ``directory`` last."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def storage_error(problem: OSError) -> TooLarge | Unavailable:
    """What an error of the disk means for who wanted to write."""
    if problem.errno in _FULL:
        return TooLarge(reason="There is no space left for image data.")
    LOG.error("Image data cannot be written: %s", problem.strerror)
    return Unavailable(service="The image store", reason="its disk cannot be written")
