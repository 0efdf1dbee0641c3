"""Files as the stretches of them that take space."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 4 * 1024 * 1024


def data_extents(handle: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each stretch of ``handle`` that takes space."""
    at, end = 0, os.fstat(handle).st_size
    while at < end:
        try:
            start = os.lseek(handle, at, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:  # holes from here on
                return
            raise
        at = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, at


def has_data(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        return next(data_extents(handle), None) is not None
    finally:
        os.close(handle)


def overwrite(path: Path) -> None:
    """Zeroes over everything that takes space, down to the disk."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        zeroes = bytes(_BLOCK)
        for start, end in list(data_extents(handle)):
            for at in range(start, end, _BLOCK):
                os.pwrite(handle, zeroes[: min(_BLOCK, end - at)], at)
        os.fsync(handle)
    finally:
        os.close(handle)
