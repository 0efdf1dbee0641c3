"""Files of uploads that wait for an import: one an image, grown by one request at a time.

What counts is what the image's row says is staged: a file may be longer when a daemon was killed,
and is cut back before more comes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from minicloud.domain.errors import Conflict, TooLarge, Unavailable
from minicloud.image.stores.files import storage_error

_PIECE = 256 * 1024


class StagedFile:
    """A staged file that this request alone may change."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = 0

    def start_at(self, size: int) -> None:
        """Keep ``size`` bytes of it and go on behind them."""
        try:
            os.ftruncate(self._fd, size)
            os.lseek(self._fd, size, os.SEEK_SET)
        except OSError as problem:
            raise storage_error(problem) from problem
        self.size = size

    def write(self, chunk: bytes) -> None:
        """TooLarge when the disk is full, Unavailable when it fails."""
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as problem:
            raise storage_error(problem) from problem
        self.size += len(chunk)

    def flush(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as problem:
            raise storage_error(problem) from problem


class Staging:
    """A directory that all daemons of the service share."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def file(self, image_id: str, *, expected: int | None) -> Iterator[StagedFile]:
        """The image's file, made where there is none. Conflict while another request has it."""
        free = shutil.disk_usage(self._directory).free
        if expected is not None and expected > free:
            raise TooLarge(reason=f"There is no space left to stage {expected} bytes.")
        fd = self._locked(image_id)
        try:
            yield StagedFile(fd)
        finally:
            os.close(fd)

    def _locked(self, image_id: str) -> int:
        while True:
            try:
                fd = os.open(
                    self._directory / image_id, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
            except OSError as problem:
                raise storage_error(problem) from problem
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise Conflict(
                    reason=f"Another request is staging data for image {image_id}."
                ) from None
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)  # a sweep took it between the two calls

    def pieces(self, image_id: str, length: int) -> Iterator[bytes]:
        """The ``length`` bytes that are staged. Unavailable when they are not there."""
        try:
            file = (self._directory / image_id).open("rb")
        except OSError as problem:
            raise Unavailable(
                service="The staged data", reason="its file cannot be opened"
            ) from problem
        with file:
            while length > 0:
                piece = file.read(min(_PIECE, length))
                if not piece:
                    raise Unavailable(service="The staged data", reason="its file is too short")
                length -= len(piece)
                yield piece

    def remove(self, image_id: str) -> None:
        """Repeatable."""
        (self._directory / image_id).unlink(missing_ok=True)

    def names(self) -> set[str]:
        return {path.name for path in self._directory.iterdir()}

    def remove_if_idle(self, image_id: str) -> bool:
        """Delete the file unless a request is writing it."""
        try:
            fd = os.open(self._directory / image_id, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.remove(image_id)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True
