"""Bytes on their way from a source to a store: counted, digested and judged while they pass."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import msgspec

from minicloud.domain.errors import Invalid, MinicloudError, TooLarge, Unavailable
from minicloud.image.inspection import Inspection, Source
from minicloud.image.records import Content
from minicloud.kit import clock

HASH_ALGO = "sha512"
LEASE_S = 120.0
"""Seconds for which a transfer is believed alive after its last sign."""
_RENEW_S = 20.0
_CHUNK = 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How large image data may be, in bytes."""

    size: int
    virtual_size: int


class Body:
    """A source with its promises kept: as long as announced, and no longer than ``limit``."""

    def __init__(self, source: Source, length: int | None, limit: int) -> None:
        if length is not None and length > limit:
            raise _over(limit)
        self._source, self._length, self._limit = source, length, limit
        self.got = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes; Invalid when the client went away before the announced end."""
        if self._length is not None:
            size = min(size, self._length - self.got)
        if not size:
            self._require_end()
            return b""
        chunk = self._next(size)
        self.got += len(chunk)
        if not chunk and self._length is not None:
            raise _broken()
        if self.got > self._limit:
            raise _over(self._limit)
        return chunk

    def _next(self, size: int) -> bytes:
        try:
            return self._source.read(size)
        except (OSError, ValueError):  # the connection broke; a chunk's header is nonsense
            raise _broken() from None

    def _require_end(self) -> None:
        """Nothing may follow what was announced: a chunked body can."""
        if self._next(1):
            raise Invalid(reason=f"More than the {self._length} bytes that were announced came.")

    def skip(self, most: int) -> None:
        """Read and forget up to ``most`` bytes: a client that sends would not see an answer."""
        try:
            while most > 0 and (chunk := self.read(_CHUNK)):
                most -= len(chunk)
        except MinicloudError:
            return


class Pieces:
    """An iterator of bytes as a source."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        while not self._rest:
            try:
                piece = next(self._pieces, None)
            except EOFError:
                raise Unavailable(
                    service="The image's data", reason="there is less than is recorded"
                ) from None
            if piece is None:
                return b""
            self._rest = piece
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return chunk


class Pulse:
    """Gives a sign of life now and then, while bytes flow."""

    def __init__(self, sign: Callable[[float], None]) -> None:
        self._sign = sign
        self._next = clock.now() + _RENEW_S

    def beat(self) -> None:
        now = clock.now()
        if now >= self._next:
            self._next = now + _RENEW_S
            self._sign(now + LEASE_S)


def transfer(
    source: Source,
    write: Callable[[bytes], None],
    pulse: Pulse,
    *,
    image_id: str,
    disk_format: str,
    limits: Limits,
) -> Content:
    """Everything of ``source`` to ``write``, and what it was.

    ImageUnacceptable, TooLarge, and what source and ``write`` raise.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    digest = hashlib.new(HASH_ALGO)
    inspection = Inspection(source, image_id, disk_format, limits.virtual_size)
    size = 0
    while chunk := inspection.read(_CHUNK):
        size += len(chunk)
        if size > limits.size:
            raise _over(limits.size)
        md5.update(chunk)
        digest.update(chunk)
        write(chunk)
        pulse.beat()
    return Content(
        size=size,
        virtual_size=inspection.finish(),
        checksum=md5.hexdigest(),
        os_hash_algo=HASH_ALGO,
        os_hash_value=digest.hexdigest(),
    )


def _broken() -> Invalid:
    return Invalid(reason="The upload broke off before its end.")


def _over(limit: int) -> TooLarge:
    return TooLarge(reason=f"The image is larger than the limit of {limit} bytes.")
