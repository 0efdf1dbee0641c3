"""Reading and writing what a backend keeps, by QEMU's own tools."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator

from minicloud.volume.backends.base import Backend
from minicloud.volume.backends.disks import Disk

MIB = 1024**2


def write(backend: Backend, volume: str, data: bytes, at: int = 0) -> None:
    with tempfile.NamedTemporaryFile() as source:
        source.write(data)
        source.flush()
        io(backend.disk(volume), f"write -s {source.name} {at} {len(data)}")


def read(backend: Backend, volume: str, size: int, at: int = 0) -> bytes:
    return bytes_of(backend.disk(volume), size, at)


def bytes_of(disk: Disk, size: int, at: int = 0) -> bytes:
    shown = io(disk, f"read -v {at} {size}", "-r")
    rows = re.findall(r"^[0-9a-f]{8}:  ((?:[0-9a-f]{2} )+)", shown, re.MULTILINE)
    return bytes.fromhex("".join(rows))


def io(disk: Disk, command: str, *how: str) -> str:
    done = subprocess.run(
        ["qemu-io", *how, "-c", command, *disk.arguments()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "error" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def opened(disk: Disk, *how: str) -> Iterator[None]:
    """Some QEMU has the volume open for writing."""
    pipe = subprocess.PIPE
    words = ["qemu-io", *how, *disk.arguments()]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as guest:
        assert guest.stdin is not None
        assert guest.stdout is not None
        guest.stdin.write("length\n")
        guest.stdin.flush()
        assert "iB" in guest.stdout.readline()
        yield
        guest.stdin.close()


def reading(disk: Disk) -> contextlib.AbstractContextManager[None]:
    """Some QEMU has the volume open for reading, as qemu-img has: others may write."""
    return opened(disk, "-r", "-U")


def quiet(work: Callable[[], None]) -> None:
    work()


def still(_disk: Disk) -> None:
    """Nobody has the volume open."""
