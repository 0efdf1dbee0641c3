"""The life of a daemon: signals, the metrics endpoint, an orderly end.

``cmd/<daemon>.py`` builds the objects and hands over what to start and what to stop.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from setproctitle import setproctitle

from minicloud.domain.errors import MinicloudError

LOG = logging.getLogger(__name__)


def run(
    name: str, *, start: Sequence[Callable[[], object]], stop: Sequence[Callable[[], object]]
) -> None:
    """Call every ``start``, wait for SIGTERM or SIGINT, call every ``stop`` in turn."""
    setproctitle(f"minicloud-{name}")
    ending = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    for begin in start:
        begin()
    LOG.info("Started")
    ending.wait()
    LOG.info("Stopping")
    for finish in stop:
        finish()
    LOG.info("Stopped")


class Periodic:
    """Calls ``work`` every ``seconds`` in a thread of its own; ``kick`` calls it at once.

    An error of ``work`` is logged and the next turn comes as planned.
    """

    def __init__(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        self._name, self._seconds, self._work = name, seconds, work
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def kick(self) -> None:
        self._wake.set()

    def stop(self, timeout_s: float = 10.0) -> None:
        self._ending = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._ending:
            try:
                self._work()
            except MinicloudError as problem:
                LOG.warning("The periodic pass %s failed, and runs again: %s", self._name,
                            problem.message)  # fmt: skip
            except Exception:  # the loop must live on; what went wrong is in the log
                LOG.exception("The periodic pass %s failed; it runs again", self._name)
            self._wake.wait(self._seconds)
            self._wake.clear()
