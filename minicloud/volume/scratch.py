"""Files on their way: downloads, copies, parts that get their name when they are whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from minicloud.domain.errors import HostProblem


class Scratch:
    """Room in ``directory``, which any number of processes share: each has a directory of its own
    in there, which it has locked as long as it lives.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mine = directory / str(uuid.uuid4())
        self._making = threading.Lock()
        self._lock: int | None = None

    def new(self, suffix: str = ".part") -> Path:
        """Where a file can be made that nobody else makes. HostProblem."""
        # Made when it is needed: a service starts on a full disk, too.
        try:
            with self._making:
                while self._lock is None:
                    self._mine.mkdir(mode=0o700, parents=True, exist_ok=True)
                    handle = os.open(self._mine, os.O_RDONLY)
                    fcntl.flock(handle, fcntl.LOCK_EX)
                    if self._mine.exists():
                        self._lock = handle
                    else:  # swept before it was locked
                        os.close(handle)
        except OSError as problem:
            raise HostProblem(
                reason=f"Cannot make room: {problem.strerror or 'unknown error'}"
            ) from problem
        return self._mine / f"{uuid.uuid4()}{suffix}"

    @contextlib.contextmanager
    def file(self, suffix: str = ".part") -> Iterator[Path]:
        """As ``new``; what was made there goes at the end. HostProblem."""
        path = self.new(suffix)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what processes left that are no more: their locks went with them."""
        for path in self._directory.iterdir() if self._directory.exists() else ():
            with contextlib.suppress(FileNotFoundError), _alone(path) as unused:
                if unused and path.is_dir():
                    shutil.rmtree(path)
                elif unused:
                    path.unlink()


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """With ``path`` locked, or False where somebody has it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)
