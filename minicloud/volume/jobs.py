"""Work that takes longer than a request may: a few threads, one job a thing at a time.

A job is a method that finishes what a row says; nothing is kept here that a kill could lose, for
the pass in ``reconcile.py`` submits it again from the row.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from minicloud.domain.errors import MinicloudError, Unavailable
from minicloud.kit import context
from minicloud.kit.context import Context

LOG = logging.getLogger(__name__)


class _Row(Protocol):
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=_Row)


def try_now(work: Callable[[Row], object], row: Row) -> None:
    """``work``, which finishes what ``row`` says; the pass does it later where that takes somebody
    who is away.
    """
    try:
        work(row)
    except Unavailable as problem:
        LOG.warning("%s %s is for a later pass: %s", type(row).__name__, row.id, problem.message)


class Jobs:
    """``threads``: of each lane, so that a backend that hangs keeps no other's jobs waiting."""

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._running: set[str] = set()
        self._changed = threading.Condition()

    def submit(self, lane: str, key: str, work: Callable[[], object]) -> None:
        """Do ``work`` soon, unless there is work under ``key`` already. ``lane``: the name
        of what it may have to wait for.
        """
        with self._changed:
            if key in self._running:
                return
            self._running.add(key)
            if lane not in self._pools:
                self._pools[lane] = ThreadPoolExecutor(self._threads, f"job-{lane}")
            self._pools[lane].submit(self._run, key, work, context.current())

    def wait_idle(self, limit_s: float) -> bool:
        """Whether everything was done in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, limit_s)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, key: str, work: Callable[[], object], ctx: Context | None) -> None:
        try:
            with context.working_for(ctx) if ctx else contextlib.nullcontext():
                work()
        except MinicloudError as problem:
            LOG.error("%s: %s; it is tried again", key, problem.message)
        except Exception:  # the pool must live on; the pass tries again
            LOG.exception("%s failed; it is tried again", key)
        finally:
            with self._changed:
                self._running.discard(key)
                self._changed.notify_all()
