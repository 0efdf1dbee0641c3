"""A chunked request body as a stream of bounded memory.

cheroot's own reader takes each chunk as a whole, however large its sender says it is; this one
holds no more than was asked for.
"""

from __future__ import annotations

from typing import Protocol

_LONGEST_LINE = 4096
_MOST_TRAILERS = 64


class _Lines(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def readline(self, size: int, /) -> bytes: ...


class ChunkedBody:
    """``wsgi.input`` of a request with ``Transfer-Encoding: chunked``."""

    def __init__(self, rfile: _Lines) -> None:
        self._rfile = rfile
        self._left = 0
        """Bytes of the present chunk that are still to come."""
        self.ended = False
        """Whether everything was read, so that another request may follow."""

    def read(self, size: int, /) -> bytes:
        """``size`` bytes, fewer only at the end. ValueError when the body is malformed."""
        pieces = []
        while size > 0 and not self.ended:
            if not self._left:
                self._left = self._next_size()
                continue
            piece = self._rfile.read(min(size, self._left))
            if not piece:
                raise ValueError("The connection ended within a chunk.")
            pieces.append(piece)
            size -= len(piece)
            self._left -= len(piece)
            if not self._left and self._line():
                raise ValueError("A chunk is longer than it says.")
        return b"".join(pieces)

    def _next_size(self) -> int:
        """The next chunk's length; 0 once the body has ended."""
        digits = self._line().partition(b";")[0].strip()
        if not 0 < len(digits) <= 15 or not all(
            digit in b"0123456789abcdefABCDEF" for digit in digits
        ):
            raise ValueError("A chunk's length is no number.")
        length = int(digits, 16)
        if not length:
            for _ in range(_MOST_TRAILERS):
                if not self._line():
                    self.ended = True
                    return 0
            raise ValueError("There are too many trailers.")
        return length

    def _line(self) -> bytes:
        line = self._rfile.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("The connection ended within a line, or the line is too long.")
        return line.rstrip(b"\r\n")
