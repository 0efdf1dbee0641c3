"""Bytes both ways between a TLS connection and a plain socket, by one thread.

One thread, because OpenSSL lets only one use a connection at a time; without waiting for either
side alone, because either may have something to say at any moment.
"""

from __future__ import annotations

import selectors
import socket
import ssl
from contextlib import suppress

_PIECE = 64 * 1024
_MOST = 256 * 1024
"""Bytes that one side has not taken yet, past which the other is not read from."""


def join(secure: ssl.SSLSocket, plain: socket.socket) -> None:
    """Copy until either end closes or breaks; what was read is still handed on. Closes neither."""
    secure.setblocking(False)
    plain.setblocking(False)
    with suppress(OSError), selectors.DefaultSelector() as selector:
        _Join(secure, plain, selector).run()


class _Join:
    def __init__(
        self, secure: ssl.SSLSocket, plain: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        self._secure, self._plain, self._selector = secure, plain, selector
        self._to_secure, self._to_plain = bytearray(), bytearray()
        self._open = True
        for end in (secure, plain):
            selector.register(end, selectors.EVENT_READ)

    def run(self) -> None:
        while self._open or self._to_secure or self._to_plain:
            self._selector.select()
            # TLS may hold more than the kernel says: it is read until it has no more.
            while self._open and len(self._to_plain) < _MOST and self._read(self._secure):
                pass
            if self._open and len(self._to_secure) < _MOST:
                self._read(self._plain)
            self._write(self._secure, self._to_secure)
            self._write(self._plain, self._to_plain)
            self._watch()

    def _read(self, end: socket.socket) -> bool:
        """Whether there was something, and may be more."""
        waiting = self._to_plain if end is self._secure else self._to_secure
        try:
            piece = end.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            piece = b""
        waiting += piece
        self._open = self._open and bool(piece)
        return bool(piece)

    def _write(self, end: socket.socket, waiting: bytearray) -> None:
        while waiting:
            try:
                sent = end.send(waiting[:_PIECE])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            del waiting[:sent]

    def _watch(self) -> None:
        for end, outgoing, incoming in (
            (self._secure, self._to_secure, self._to_plain),
            (self._plain, self._to_plain, self._to_secure),
        ):
            events = 0
            if self._open and len(incoming) < _MOST:
                events |= selectors.EVENT_READ
            if outgoing:
                events |= selectors.EVENT_WRITE
            known = self._selector.get_map().get(end)
            if known is not None and known.events != events:
                self._selector.unregister(end)
                known = None
            if known is None and events:
                self._selector.register(end, events)
