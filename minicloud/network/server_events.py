"""Tells compute that a server's addresses changed, as Neutron tells Nova.

An event is sent after the change is in the database. While compute does not answer it waits and
is sent again for a while; what is lost then is mended by the server's next event or launch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection

from minicloud.domain.errors import MinicloudError

LOG = logging.getLogger(__name__)
_TRIES = 6
_PAUSE_S = 1.0


class ServerEvents:
    """``send`` takes the ids of servers whose network changed."""

    def __init__(
        self, send: Callable[[Collection[str]], None], *, pause_s: float = _PAUSE_S
    ) -> None:
        self._send = send
        self._pause_s = pause_s
        self._pending: set[str] = set()
        self._condition = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="server-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._ending = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(5)

    def changed(self, server_ids: Collection[str]) -> None:
        with self._condition:
            self._pending |= set(server_ids)
            self._condition.notify()

    def _run(self) -> None:
        tries = 0
        while True:
            with self._condition:
                while not self._pending and not self._ending:
                    self._condition.wait()
                if self._ending:
                    return
                sending, self._pending = self._pending, set()
            try:
                self._send(sorted(sending))
                tries = 0
            except MinicloudError as problem:
                tries += 1
                if tries >= _TRIES or not problem.retryable:
                    LOG.warning("Compute was not told of a change: %s", problem.message)
                    tries = 0
                    continue
                with self._condition:
                    self._pending |= sending
                    until = time.monotonic() + self._pause_s * 2**tries
                    while not self._ending and time.monotonic() < until:
                        self._condition.wait(until - time.monotonic())
