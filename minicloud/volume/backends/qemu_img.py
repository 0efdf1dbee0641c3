"""qemu-img on files of ours and of users: under limits, with formats always named.

Sizes are bytes. A file is made whole under another name by the caller and renamed; nothing here
decides where it lies.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends import bounded
from minicloud.volume.backends.base import StoreAway
from minicloud.volume.backends.disks import Disk, DiskFile, RbdImage

_QUICK_S = 60
"""For what reads or writes only headers."""
_LONG_S = 6 * 3600
_QCOW2 = struct.Struct(">4sIQIIQ")
"""Magic, version, offset and length of the backing file's name, cluster bits, size."""
_LONGEST_NAME = 1023
_FLOCK = "hhqqi4x"
"""struct flock: kind, whence, start, length, pid."""
_NO_LOCKS = (errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_READ_LOCK, _WRITE_LOCK = 100, 101
"""The bytes of a file that QEMU locks while it may read or write there."""
_LOCKED = "Is another process using the image"


class Busy(HostProblem):
    """Somebody has the file open."""

    code = "file_busy"


def create_overlay(path: Path, below: DiskFile, size_bytes: int) -> None:
    """An empty qcow2 on ``below``, a file of the same directory, by its bare name: the directory
    may move. What is below is not opened, so somebody may be writing to it.
    """
    _run(
        f"make {path.name}",
        ["create", "-q", "-u", "-f", "qcow2", "-F", below.format, "-b", below.path.name,
         str(path), str(size_bytes)],
    )  # fmt: skip


def grow(disk: DiskFile, size_bytes: int) -> None:
    _run(f"grow {disk.name}", ["resize", "-q", *disk.arguments(), str(size_bytes)])


def copy(source: Disk, target: Path, target_format: str) -> None:
    """All bytes of ``source``, which nobody writes, at ``target``; zeroes take no space."""
    _run(
        f"copy {source.name}",
        ["convert", "-U", "-O", target_format, *source.arguments(), str(target)],
        limit_s=_LONG_S,
    )


def fill(source: Disk, target: RbdImage) -> None:
    """All bytes of ``source``, which nobody writes, into ``target``, which is there, is as large
    and was never written; zeroes take no space.
    """
    _, where = target.arguments()
    _run(
        f"copy {source.name}",
        ["convert", "-U", "-n", "--target-is-zero", "--target-image-opts", *source.arguments(),
         where],
        limit_s=_LONG_S,
    )  # fmt: skip


def size(disk: Disk) -> int:
    """Bytes as a guest sees them."""
    found = _run(f"read {disk.name}", ["info", "-U", "--output=json", *disk.arguments()])
    return int(json.loads(found)["virtual-size"])


def commit(disk: DiskFile) -> None:
    """Write what ``disk``, a qcow2, adds into the file right below it."""
    _run(f"merge {disk.name}", ["commit", "-q", "-d", *disk.arguments()], limit_s=_LONG_S)


def is_written(path: Path) -> bool:
    """Whether some QEMU has the file open for writing, of this host or of another one where the
    file system has locks between hosts. Where it has none nobody is seen.
    """
    return _is_held(path, _WRITE_LOCK)


def is_open(path: Path) -> bool:
    """The same for reading."""
    return _is_held(path, _READ_LOCK)


def is_locked(path: Path) -> bool:
    """As ``is_written``. OSError where the file system has no locks."""
    return _is_locked(path, _WRITE_LOCK)


def _is_held(path: Path, byte: int) -> bool:
    try:
        return _is_locked(path, byte)
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        return False


def _is_locked(path: Path, byte: int) -> bool:
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    handle = os.open(path, os.O_RDONLY)
    try:
        found = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked)
    finally:
        os.close(handle)
    kind: int = struct.unpack(_FLOCK, found)[0]
    return kind != fcntl.F_UNLCK


def foreign_files(path: Path, image_format: str) -> list[str]:
    """Other files that an image from a user refers to: it must have none, or its author could
    read the host's.
    """
    facts = _info(path, image_format)
    details = facts.get("format-specific", {}).get("data", {})
    extents = [each.get("filename") for each in details.get("extents", ())]
    named = [facts.get("backing-filename"), details.get("data-file"), *extents]
    return [str(name) for name in named if name and name != str(path)]


def virtual_size(path: Path, image_format: str) -> int:
    return int(_info(path, image_format)["virtual-size"])


def qcow2_header(path: Path) -> tuple[int, str]:
    """(size, name of the backing file or empty) of a qcow2 of ours. HostProblem."""
    with path.open("rb") as file:
        head = file.read(_QCOW2.size)
        if len(head) < _QCOW2.size or not head.startswith(b"QFI\xfb"):
            raise HostProblem(reason=f"{path.name} is no qcow2 file")
        _, _, offset, length, _, size = _QCOW2.unpack(head)
        if not offset or length > _LONGEST_NAME:
            return size, ""
        file.seek(offset)
        return size, file.read(length).decode(errors="surrogateescape")


def _info(path: Path, image_format: str) -> Any:
    output = _run(
        f"read {path.name}", ["info", "-U", "--output=json", "-f", image_format, str(path)]
    )
    return json.loads(output)


def _run(action: str, arguments: Sequence[str], *, limit_s: int = _QUICK_S) -> bytes:
    """Standard output. HostProblem with the last line of what QEMU says; StoreAway."""
    try:
        done = bounded.run(["qemu-img", *arguments], limit_s=limit_s)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise HostProblem(reason=f"Cannot {action}: {type(problem).__name__}") from problem
    if done.returncode != 0:
        reason = bounded.complaint(done)
        for path in (word for word in arguments if word.startswith("/")):
            reason = reason.replace(path, Path(path).name)  # users read this
        if os.strerror(errno.ETIMEDOUT) in reason:
            raise StoreAway(service="Ceph", reason=f"Cannot {action}")
        raise (Busy if _LOCKED in reason else HostProblem)(reason=f"Cannot {action}: {reason}")
    return done.stdout
