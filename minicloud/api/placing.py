"""Step 8: calls the scheduler for launches whose rows are written, while their clients wait.

A launch is placed by whoever comes first: what fails here, the conductor's pass does later. So
nothing here ever becomes an error of the request.
"""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Sequence

from minicloud.db import operations
from minicloud.domain.errors import MinicloudError, NoValidHost, StaleOperation
from minicloud.domain.models import Operation
from minicloud.domain.steps import StepRecord
from minicloud.kit import clock
from minicloud.kit.context import Context, working_for
from minicloud.kit.db import Database
from minicloud.rpc.scheduler import SchedulerRPC

LOG = logging.getLogger(__name__)
_STALE_S = 10.0
"""A call that could not even begin for so long is left to the conductor."""


class Placer:
    """A few threads that call the scheduler. ``wait_s``: how long a request waits for them."""

    def __init__(
        self,
        database: Database,
        scheduler: SchedulerRPC,
        *,
        host: str,
        wait_s: float = 2.0,
        threads: int = 8,
    ) -> None:
        self._database = database
        self._scheduler = scheduler
        self._host = host
        self._wait_s = wait_s
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="place")

    def place(self, ctx: Context, launches: Sequence[Operation]) -> None:
        """Return when all are placed, or cannot be, or ``wait_s`` has passed."""
        queued = time.monotonic()
        calls = [self._pool.submit(self._place, ctx, launch, queued) for launch in launches]
        concurrent.futures.wait(calls, timeout=self._wait_s)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _place(self, ctx: Context, launch: Operation, queued: float) -> None:
        with working_for(ctx):
            if time.monotonic() - queued > _STALE_S:
                LOG.warning("Server %s waits for the conductor to place it", launch.server_id)
                return
            try:
                self._call(ctx, launch)
            except Exception:  # a thread's top: the pool would swallow it unseen
                LOG.exception("Placing server %s failed unforeseen", launch.server_id)

    def _call(self, ctx: Context, launch: Operation) -> None:
        started, watch = clock.now(), time.perf_counter()
        result, detail = "Success", ""
        try:
            detail = self._scheduler.place(ctx, operation_id=launch.id, sent_at=started).host
        except NoValidHost:
            detail = "no valid host"
        except StaleOperation:
            detail = "decided by somebody else"
        except MinicloudError as problem:
            LOG.warning(
                "The scheduler did not place server %s, the conductor will: %s",
                launch.server_id, problem.message,
            )  # fmt: skip
            result, detail = "Error", problem.code
        record = StepRecord(
            number=8,
            start=started,
            duration=time.perf_counter() - watch,
            service="api",
            host=self._host,
            result=result,
            detail=detail,
        )
        if launch.verb != "create":
            return  # the 28 steps are a launch's
        with self._database.write() as tx:
            operations.journal_steps(tx, launch.server_id, launch.request_id, [record])
