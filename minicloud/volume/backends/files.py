"""Volumes as sparse raw files in one directory, which only the service's user can enter.

A file gets its name by a hard link when it is complete, so a name never stands for half a
volume, and an existing file is never replaced: a second ``ensure`` cannot take data away.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import is_uuid
from minicloud.kit import clock
from minicloud.volume.backends.base import Backend, Known

LOG = logging.getLogger(__name__)
_SUFFIX = ".raw"
_NEW = ".new"


class FileBackend(Backend):
    """``young_s``: a file that changed less than so many seconds ago is not swept."""

    def __init__(self, directory: Path, *, young_s: float = 60.0) -> None:
        self._directory = directory
        self._young_s = young_s
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ensure(self, volume_id: str, size_bytes: int) -> None:
        final = self.path(volume_id)
        with _as_host_problem("make", volume_id):
            if self.size(volume_id) is None:
                self._create(final, size_bytes)
            with final.open("r+b") as file:
                # Never smaller: what looks like a smaller size may be an old request.
                if os.fstat(file.fileno()).st_size < size_bytes:
                    file.truncate(size_bytes)
                    os.fsync(file.fileno())

    def _create(self, final: Path, size_bytes: int) -> None:
        handle, name = tempfile.mkstemp(prefix=final.stem, suffix=_NEW, dir=self._directory)
        try:
            os.ftruncate(handle, size_bytes)
            os.fsync(handle)
            try:
                os.link(name, final)
            except FileExistsError:
                return  # another call was faster
            self._sync_directory()
        finally:
            os.close(handle)
            Path(name).unlink(missing_ok=True)

    def ensure_absent(self, volume_id: str) -> None:
        with _as_host_problem("remove", volume_id):
            self.path(volume_id).unlink(missing_ok=True)
            self._sync_directory()

    def size(self, volume_id: str) -> int | None:
        try:
            return self.path(volume_id).stat().st_size
        except FileNotFoundError:
            return None

    def path(self, volume_id: str) -> Path:
        return self._directory / f"{volume_id}{_SUFFIX}"

    def sweep(self, known: Known) -> None:
        # Files first, rows second: a row is written before its file, so a file seen here without
        # a row afterwards has lost it.
        files = [path for path in self._directory.iterdir() if self._is_old(path)]
        ids = known() if files else ()
        for path in files:
            if path.suffix == _NEW:
                path.unlink(missing_ok=True)
            elif path.suffix == _SUFFIX and is_uuid(path.stem) and path.stem not in ids:
                self._sweep_volume(path)

    def _sweep_volume(self, path: Path) -> None:
        if _has_data(path):
            LOG.error(
                "The volume file %s holds data and no volume accounts for it; it is kept until "
                "a person decides",
                path,
            )
            return
        path.unlink(missing_ok=True)
        LOG.info("Removed the blank file %s, which no volume accounts for", path)

    def _is_old(self, path: Path) -> bool:
        try:
            return path.stat().st_ctime < clock.now() - self._young_s
        except FileNotFoundError:
            return False

    def _sync_directory(self) -> None:
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _has_data(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        os.lseek(handle, 0, os.SEEK_DATA)
    except OSError as problem:
        if problem.errno == errno.ENXIO:  # holes only
            return False
        raise
    finally:
        os.close(handle)
    return True


@contextmanager
def _as_host_problem(verb: str, volume_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise HostProblem(
            reason=f"Cannot {verb} volume {volume_id}: {problem.strerror or 'unknown error'}"
        ) from problem
