"""What uploaded bytes really are, told while they stream by.

The parsers are oslo.utils'; this module is their only importer and decides what is acceptable: the
content must be the declared disk format, refer to no other file, use no unknown feature and
promise no disk larger than the limit. Nothing is written or executed here.
"""

from __future__ import annotations

import struct
from typing import Protocol

from minicloud.domain.errors import ImageUnacceptable, TooLarge

_MATCHES = {
    "qcow2": ({"qcow2"},),
    # A partition table is part of a whole disk's bytes, and of an ISO that boots from USB sticks.
    "raw": ({"raw"}, {"gpt"}),
    "iso": ({"iso"}, {"iso", "gpt"}),
}
_NAMES = {"gpt": "a disk with a partition table"}
_VIOLATIONS = {
    "backing_file": "it has a backing file",
    "data_file": "it has an external data file",
    "unknown_features": "it uses features that are not known",
}


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
            _Reader(source), expected_format=None if disk_format == "raw" else disk_format
        )
        self._judged = False
        self._size = 0

    def read(self, size: int) -> bytes:
        """The next bytes of the source, seen by the parsers."""
        try:
            chunk: bytes = self._parsers.read(size)
        except self._problems:
            raise self._unacceptable(f"its content is not {self._format}") from None
        self._size += len(chunk)
        if not self._judged and self._parsers.formats is not None:
            self._judge()
        return chunk

    def finish(self) -> int:
        """The virtual size in bytes, once ``read`` has answered with nothing."""
        self._parsers.close()
        return self._judge()

    def _judge(self) -> int:
        """Whether the content is what it should be, as far as it was read; its virtual size."""
        self._judged = True
        found = {str(parser): parser for parser in self._parsers.formats or ()}
        if set(found) not in _MATCHES[self._format]:
            names = " and ".join(sorted(_NAMES.get(name, name) for name in found))
            raise self._unacceptable(f"it is declared as {self._format} but its content is {names}")
        if self._format != "qcow2":
            return self._size
        parser = found["qcow2"]
        try:
            parser.safety_check()
        except self._unsafe as problem:
            words = sorted(_VIOLATIONS.get(name, name) for name in problem.failures)
            raise self._unacceptable(", ".join(words)) from None
        except self._problems:
            raise self._unacceptable("its qcow2 header is damaged") from None
        size = int(parser.virtual_size)
        if size > self._limit:
            raise TooLarge(
                reason=f"The image's virtual size of {size} bytes is over the limit of "
                f"{self._limit} bytes."
            )
        return size

    def _unacceptable(self, reason: str) -> ImageUnacceptable:
        return ImageUnacceptable(id=self._image_id, reason=reason)


class _Reader:
    """The source as the parsers want it. It has no ``close``: they do not own it."""

    def __init__(self, source: Source) -> None:
        self.read = source.read
