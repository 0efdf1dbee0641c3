"""One console: bytes both ways between a WebSocket and a guest's console."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.sync.server import ServerConnection

_PIECE = 64 * 1024
_STALLED_MS = 30_000
"""After this long without taking a byte, the peer of a socket counts as gone."""


def relay(browser: ServerConnection, guest: socket.socket, *, idle_s: float) -> None:
    """Copy until either end closes, or until nothing has come from either for ``idle_s``.

    Closes ``browser``; ``guest`` is shut down and stays the caller's to close.
    """
    browser.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    _Relay(browser, guest, idle_s).run()


class _Relay:
    def __init__(self, browser: ServerConnection, guest: socket.socket, idle_s: float) -> None:
        self._browser, self._guest, self._idle_s = browser, guest, idle_s
        self._heard_at = time.monotonic()

    def run(self) -> None:
        back = threading.Thread(target=self._to_browser, name="console", daemon=True)
        back.start()
        try:
            self._to_guest()
        finally:
            with suppress(OSError):
                self._guest.shutdown(socket.SHUT_RDWR)
            self._browser.close()
            back.join()

    def _to_guest(self) -> None:
        while True:
            left = self._heard_at + self._idle_s - time.monotonic()
            if left <= 0:
                self._browser.close(CloseCode.NORMAL_CLOSURE, "The console was idle.")
                return
            try:
                message = self._browser.recv(timeout=left)
            except TimeoutError:
                continue  # the guest may have said something meanwhile
            except ConnectionClosed:
                return
            if isinstance(message, str):
                self._browser.close(CloseCode.UNSUPPORTED_DATA, "Send binary messages.")
                return
            self._heard_at = time.monotonic()
            try:
                self._guest.sendall(message)
            except OSError:
                return

    def _to_browser(self) -> None:
        with suppress(OSError, ConnectionClosed):
            while piece := self._guest.recv(_PIECE):
                self._heard_at = time.monotonic()
                self._browser.send(piece)
        self._browser.close(CloseCode.NORMAL_CLOSURE, "The guest ended the connection.")
