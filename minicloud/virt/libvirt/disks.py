"""The files behind a server's disks, made by qemu-img.

Every ``ensure_`` leaves a whole file under its final name or none: it is made under another name,
flushed and renamed, so a kill at any point is mended by calling again. An existing file is left
as it is, whatever the arguments. One caller at a time for one path (the server's operation, or
the image cache's lock); different paths at once are fine.

Images come from users: qemu-img runs under limits of memory, CPU and wall time, and a format is
always named, never guessed, except by ``image_info``, whose job that is. Downloading, checksums
and what to refuse are the caller's.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import msgspec

from minicloud.domain.errors import HostProblem

_GIB = 1 << 30
_MEMORY_LIMIT = _GIB
"""Of data: qemu-img has up to 64 threads, whose address space alone is more."""
_QUICK_S = 30
"""For what reads or writes only headers."""
_FORMAT_S = 120
_CONVERT_S = 1800
SWAP = "swap"
_FORMATS: Mapping[str, Sequence[str]] = {
    # What makes it on a plain file, up to the label.
    SWAP: ("mkswap", "-L"),
    "ext2": ("mkfs.ext2", "-q", "-F", "-L"),
    "ext3": ("mkfs.ext3", "-q", "-F", "-L"),
    "ext4": ("mkfs.ext4", "-q", "-F", "-L"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-L"),
    "vfat": ("mkfs.vfat", "-n"),
}
_QCOW2 = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQI")
"""Magic, version, where the name of the backing file is, and how long."""
_LONGEST_NAME = 1023
_PRIVATE = 0o600
"""A server's files; libvirt hands them to QEMU's user when it starts the guest."""
_SHARED = 0o644
"""A base that the guests of several servers read at once."""


class ImageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What qemu-img found in a file; sizes in bytes."""

    format: str
    virtual_size: int
    actual_size: int
    """What it takes up on this host's file system."""
    backing: str = ""
    """The file that it lies on, as it names it."""
    encrypted: bool = False
    foreign_files: tuple[str, ...] = ()
    """Other files that the image refers to (backing, data, extents): an image from a user must
    have none, or its author could read the host's files."""


class _RawInfo(msgspec.Struct, rename="kebab"):
    """The part of ``qemu-img info --output=json`` that matters."""

    format: str
    virtual_size: int
    actual_size: int = 0
    encrypted: bool = False
    backing_filename: str = ""
    format_specific: dict[str, Any] = msgspec.field(default_factory=dict)


def image_info(path: Path, image_format: str | None = None) -> ImageInfo:
    """What is in ``path``; with ``image_format`` read as that, else by looking at its content.

    HostProblem where qemu-img cannot read it.
    """
    arguments = ["info", "--output=json", "--force-share"]
    if image_format is not None:
        arguments += ["-f", image_format]
    output = _qemu_img(f"read the image {path}", [*arguments, _absolute(path)])
    raw = msgspec.json.decode(output, type=_RawInfo)
    return ImageInfo(
        format=raw.format,
        virtual_size=raw.virtual_size,
        actual_size=raw.actual_size,
        encrypted=raw.encrypted,
        backing=raw.backing_filename,
        foreign_files=_foreign_files(path, raw),
    )


def backing_names(directory: Path) -> frozenset[str]:
    """The file names of what qcow2 files anywhere below ``directory`` lie on.

    Reads their headers alone: they may be in use. A file that goes meanwhile is passed over.
    HostProblem: one cannot be read, so that what it lies on is not known.
    """
    found = set()
    try:
        for place, _, names in os.walk(directory, onerror=_unless_gone):
            for name in names:
                backing = backing_name(Path(place, name))
                if backing:
                    found.add(PurePosixPath(backing).name)
    except OSError as error:
        raise HostProblem(reason=f"{error.filename} cannot be read: {error.strerror}") from error
    return frozenset(found)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def backing_name(path: Path) -> str:
    """What a qcow2 file says it lies on; nothing where it does not, or is gone. HostProblem."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return ""
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            if not header.startswith(_QCOW2):
                return ""
            if len(header) < _HEADER.size:
                raise HostProblem(reason=f"the header of the disk {path} is cut off")
            _, _, start, length = _HEADER.unpack(header)
            if not start:
                return ""
            file.seek(start)
            name = file.read(min(length, _LONGEST_NAME))
    except FileNotFoundError:
        return ""
    if not name or len(name) != length:
        raise HostProblem(reason=f"the disk {path} does not say what it lies on")
    return name.decode(errors="replace")


def files_below(path: Path) -> list[str]:
    """The files that ``path`` (qcow2) stands on, from the next one down. HostProblem."""
    output = _qemu_img(
        f"read the disk {path}",
        ["info", "--output=json", "--force-share", "--backing-chain", "-f", "qcow2",
         _absolute(path)],
    )  # fmt: skip
    return [each["filename"] for each in msgspec.json.decode(output)[1:]]


def ensure_overlay(path: Path, base: Path, base_format: str, size_gb: int) -> None:
    """A qcow2 file at ``path`` that keeps a server's changes to ``base`` (qcow2 or raw).

    Its virtual size is ``size_gb`` GiB, or the base's where that is larger.
    """
    if path.exists():
        return
    if not base.exists():
        raise HostProblem(reason=f"the base image {base} is not on this host; fetch it first")
    if base_format == "raw":
        base_size = base.stat().st_size
    else:
        base_size = image_info(base, base_format).virtual_size
    size = max(size_gb * _GIB, base_size)
    arguments = ["create", "-q", "-f", "qcow2", "-F", base_format, "-b", _absolute(base)]

    def make(part: Path) -> None:
        _qemu_img(f"make the disk {path}", [*arguments, str(part), str(size)])

    _make_whole(path, make, _PRIVATE)


def ensure_blank(path: Path, size_gb: int, image_format: str) -> None:
    """An empty disk of ``size_gb`` GiB that takes up no space yet."""
    size = str(size_gb * _GIB)

    def make(part: Path) -> None:
        _qemu_img(f"make the disk {path}", ["create", "-q", "-f", image_format, str(part), size])

    _make_whole(path, make, _PRIVATE)


def ensure_empty(path: Path, size: int, base: Path | None) -> None:
    """A qcow2 disk of ``size`` bytes that is to be filled, on ``base`` (raw) or on nothing."""
    below = [] if base is None else ["-F", "raw", "-b", _absolute(base)]
    if base is not None and not base.exists():
        raise HostProblem(reason=f"the base image {base} is not on this host; fetch it first")

    def make(part: Path) -> None:
        arguments = ["create", "-q", "-f", "qcow2", *below, str(part), str(size)]
        _qemu_img(f"make the disk {path}", arguments)

    _make_whole(path, make, _PRIVATE)


def ensure_flat_copy(disk: Path, copy: Path) -> None:
    """A qcow2 file at ``copy`` with all of ``disk`` (qcow2), its base's part as well.

    Nobody may be writing to ``disk``.
    """
    arguments = ["convert", "-f", "qcow2", "-O", "qcow2", _absolute(disk)]

    def make(part: Path) -> None:
        _qemu_img(f"copy the disk {disk}", [*arguments, str(part)], limit_s=_CONVERT_S)

    _make_whole(copy, make, _PRIVATE)


def ensure_same(disk: Path, copy: Path) -> None:
    """``copy`` is the same file as ``disk`` byte by byte, with the same base."""

    def make(part: Path) -> None:
        # Shares the blocks where the file system can, and leaves holes where there were some.
        words = ["cp", "--reflink=auto", "--sparse=always", "--", str(disk), str(part)]
        done = subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip()
            raise HostProblem(reason=f"could not copy the disk {disk}: {reason}")

    _make_whole(copy, make, _PRIVATE)


def ensure_size(disk: Path, size_gb: int) -> None:
    """``disk`` (qcow2) has ``size_gb`` GiB at least; a larger one stays as it is."""
    size = size_gb * _GIB
    if image_info(disk, "qcow2").virtual_size < size:
        _qemu_img(
            f"grow the disk {disk}", ["resize", "-q", "-f", "qcow2", _absolute(disk), str(size)]
        )


def ensure_formatted(path: Path, size: int, filesystem: str, label: str) -> None:
    """A qcow2 disk of ``size`` bytes with an empty, labelled file system, or swap space.

    Made on a sparse file, so no loop device and no mount is needed.
    """
    command = _FORMATS[filesystem]
    if shutil.which(command[0]) is None:
        raise HostProblem(reason=f"a disk cannot be made as {filesystem}: install {command[0]}")
    plain = path.absolute().with_name(path.name + ".plain")

    def make(part: Path) -> None:
        plain.unlink(missing_ok=True)
        plain.touch(_PRIVATE)
        os.truncate(plain, size)
        _run(f"make the disk {path}", [*command, label, str(plain)], limit_s=_FORMAT_S)
        arguments = ["convert", "-f", "raw", "-O", "qcow2", str(plain), str(part)]
        _qemu_img(f"make the disk {path}", arguments, limit_s=_FORMAT_S)
        plain.unlink()

    _make_whole(path, make, _PRIVATE)


def flatten_to_raw(source: Path, source_format: str, target: Path) -> None:
    """A sparse raw copy of ``source`` at ``target``: guests boot faster from it.

    HostProblem where the source refers to other files: they would be copied into it.
    """
    if target.exists():
        return
    foreign = image_info(source, source_format).foreign_files
    if foreign:
        raise HostProblem(reason=f"the image {source} refers to other files: {', '.join(foreign)}")
    arguments = ["convert", "-f", source_format, "-O", "raw", _absolute(source)]

    def make(part: Path) -> None:
        _qemu_img(f"convert the image {source}", [*arguments, str(part)], limit_s=_CONVERT_S)

    _make_whole(target, make, _SHARED)


def ensure_config_drive(path: Path, files: Mapping[str, bytes]) -> None:
    """A small ISO 9660 image labelled config-2 with ``files``: path in the image -> content."""

    def make(part: Path) -> None:
        part.touch(_PRIVATE)
        with part.open("wb") as stream:
            _write_iso(stream, files)

    _make_whole(path, make, _PRIVATE)


def remove_tree(directory: Path) -> None:
    """``directory`` with all that is in it is gone; not there is fine."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostProblem(
            reason=f"{directory} cannot be removed: {error.strerror}: {error.filename}"
        ) from error


# -- inside --------------------------------------------------------------------------------------
def _make_whole(path: Path, make: Callable[[Path], None], mode: int) -> None:
    """Have ``make`` write the file under another name, then give it its own."""
    if path.exists():
        return
    part = path.absolute().with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not overwritten: a qemu-img that outlived its daemon may still be writing there.
        part.unlink(missing_ok=True)
        make(part)
        part.chmod(mode)
        _flush(part)
        part.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise HostProblem(reason=f"{path} cannot be written: {error.strerror}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _qemu_img(action: str, arguments: list[str], *, limit_s: int = _QUICK_S) -> bytes:
    return _run(action, ["qemu-img", *arguments], limit_s=limit_s)


def _run(action: str, command: list[str], *, limit_s: int) -> bytes:
    """Standard output of ``command``; HostProblem with its own words where it fails."""
    limits = ["prlimit", f"--data={_MEMORY_LIMIT}", f"--cpu={limit_s}", "--core=0"]
    try:
        done = subprocess.run(
            [*limits, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=2 * limit_s,
        )
    except FileNotFoundError as error:
        raise HostProblem(reason=f"could not {action}: install {error.filename}") from error
    except subprocess.TimeoutExpired as error:
        raise HostProblem(reason=f"could not {action} within {2 * limit_s} s") from error
    if done.returncode < 0:
        raise HostProblem(
            reason=f"could not {action}: {command[0]} was ended by signal {-done.returncode}, "
            f"perhaps for its limits ({limit_s} s of CPU, {_MEMORY_LIMIT >> 20} MiB)"
        )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        reason = words[-1] if words else f"exit status {done.returncode}"
        raise HostProblem(reason=f"could not {action}: {reason}")
    return done.stdout


def _absolute(path: Path) -> str:
    """A name that QEMU cannot take for a protocol (``nbd:``) or for JSON."""
    return str(path.absolute())


def _foreign_files(path: Path, raw: _RawInfo) -> tuple[str, ...]:
    details = raw.format_specific.get("data", {})
    extents = [extent.get("filename", "") for extent in details.get("extents", ())]
    named = [raw.backing_filename, details.get("data-file", ""), *extents]
    return tuple(name for name in named if name and name != _absolute(path))


def _write_iso(stream: BinaryIO, files: Mapping[str, bytes]) -> None:
    # Takes a tenth of a second to import, which is not a daemon's start to bear.
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="config-2")
    # Guests see Rock Ridge's or Joliet's names; those of the bare format only have to differ.
    directories: dict[PurePosixPath, str] = {PurePosixPath("."): ""}
    for number, (name, content) in enumerate(sorted(files.items())):
        place = PurePosixPath(name)
        for directory in reversed(place.parents):
            if directory not in directories:
                plain = f"{directories[directory.parent]}/D{len(directories)}"
                iso.add_directory(plain, rr_name=directory.name, joliet_path=f"/{directory}")
                directories[directory] = plain
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"{directories[place.parent]}/F{number}.;1",
            rr_name=place.name,
            joliet_path=f"/{place}",
        )
    iso.write_fp(stream)
    iso.close()
