"""What uploaded bytes really are, told while they stream by.

The parsers are oslo.utils'; this module is their only importer and decides what is acceptable: the
content must be the declared disk format, refer to no other file, use no unknown feature and
promise no disk larger than the limit. Nothing is written or executed here.
"""

from __future__ import annotations

import struct
from typing import Any, Protocol

from minicloud.domain.errors import ImageUnacceptable, TooLarge

_PLAIN: tuple[set[str], ...] = ({"raw"}, {"gpt"})
"""A partition table is part of a whole disk's bytes."""
_MATCHES: dict[str, tuple[set[str], ...]] = {
    "qcow2": ({"qcow2"},),
    "raw": _PLAIN,
    "iso": ({"iso"}, {"iso", "gpt"}),  # one that boots from USB sticks has a table too
    "vmdk": ({"vmdk"},),
    "vdi": ({"vdi"},),
    "vhd": ({"vhd"},),
    "vhdx": ({"vhdx"},),
    "ami": _PLAIN,
    "ari": _PLAIN,
    "aki": _PLAIN,
}
_DISKS = frozenset(("qcow2", "vmdk", "vdi", "vhd", "vhdx"))
"""Formats that say how large the disk is; of the others every byte is the disk's."""
_NAMES = {"gpt": "a disk with a partition table"}
_VIOLATIONS = {
    "backing_file": "it has a backing file",
    "data_file": "it has an external data file",
    "unknown_features": "it uses features that are not known",
    "descriptor": "its descriptor names other files or is of a kind that is not taken",
    "footer": "its footer says something else than its header",
}
_PARENT = b"parentfilenamehint"
_DESCRIPTOR_END = 64 * 1024
"""QEMU looks for a VMDK's parent in this much of it at most, whatever its header says."""


class Source(Protocol):
    """Where bytes come from; an empty answer is the end."""

    def read(self, size: int, /) -> bytes: ...


class Inspection:
    """Reads ``source`` through the format parsers.

    ``limit`` is the largest virtual size in bytes. ImageUnacceptable and TooLarge are raised by
    ``read`` as soon as they are certain, otherwise by ``finish``.
    """

    def __init__(self, source: Source, image_id: str, disk_format: str, limit: int) -> None:
        # Loaded with the first upload: most of this daemon's life goes without it.
        from oslo_utils.imageutils import format_inspector

        self._image_id = image_id
        self._format = disk_format
        self._limit = limit
        self._problems = (
            format_inspector.ImageFormatError,
            struct.error,
            ValueError,
            ArithmeticError,
            LookupError,
        )
        self._unsafe = format_inspector.SafetyCheckFailed
        self._parsers = format_inspector.InspectWrapper(
            _Reader(source),
            expected_format=disk_format if disk_format in (*_DISKS, "iso") else None,
        )
        self._judged = False
        self._size = 0
        self._start = b""

    def read(self, size: int) -> bytes:
        """The next bytes of the source, seen by the parsers."""
        try:
            chunk: bytes = self._parsers.read(size)
        except self._problems:
            raise self._unacceptable(f"its content is not {self._format}") from None
        self._size += len(chunk)
        if len(self._start) < _DESCRIPTOR_END:
            self._start += chunk[: _DESCRIPTOR_END - len(self._start)]
        if not self._judged and self._parsers.formats is not None:
            self._judge()
        return chunk

    def finish(self) -> int:
        """The virtual size in bytes, once ``read`` has answered with nothing."""
        self._parsers.close()
        size = self._judge()
        self._require_within(size)
        return size

    def _judge(self) -> int:
        """Whether the content is what it should be, as far as it was read; its virtual size."""
        self._judged = True
        found = {str(parser): parser for parser in self._parsers.formats or ()}
        if set(found) not in _MATCHES[self._format]:
            names = " and ".join(sorted(_NAMES.get(name, name) for name in found))
            raise self._unacceptable(f"it is declared as {self._format} but its content is {names}")
        if self._format not in _DISKS:
            return self._size
        return self._check(found[self._format])

    def _check(self, parser: Any) -> int:
        """The virtual size of a disk that refers to nothing else and is not too large."""
        if self._format == "vmdk" and _PARENT in self._start.lower():
            raise self._unacceptable("its descriptor names a parent file")
        try:
            parser.safety_check()
            size = int(parser.virtual_size)
        except self._unsafe as problem:
            words = sorted(_VIOLATIONS.get(name, name) for name in problem.failures)
            raise self._unacceptable(", ".join(words)) from None
        except self._problems:
            raise self._unacceptable("its header is damaged") from None
        if not size and self._format == "vmdk":
            # Without a size of its own QEMU goes by the files that the descriptor names.
            raise self._unacceptable("its header has no size, so that other files would be read")
        if self._format == "vmdk" and _names_a_file(parser.desc_text or ""):
            raise self._unacceptable("its descriptor names another file as its data")
        self._require_within(size)
        return size

    def _require_within(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(
                reason=f"The image's virtual size of {size} bytes is over the limit of "
                f"{self._limit} bytes."
            )

    def _unacceptable(self, reason: str) -> ImageUnacceptable:
        return ImageUnacceptable(id=self._image_id, reason=reason)


def _names_a_file(descriptor: str) -> bool:
    """Whether a VMDK's descriptor, in small letters, has data that is not in the file itself."""
    lines = [line.split() for line in descriptor.splitlines()]
    extents = [words for words in lines if words and words[0] in ("rw", "rdonly", "noaccess")]
    return len(extents) != 1 or extents[0][2:3] != ["sparse"]


class _Reader:
    """The source as the parsers want it. It has no ``close``: they do not own it."""

    def __init__(self, source: Source) -> None:
        self.read = source.read
