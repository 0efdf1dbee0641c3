"""Work that outlives its request: who does it, and what is left when a daemon dies in it.

A task's row is its truth. Any daemon claims the oldest that nobody works on; a claim holds as long
as its worker gives signs of life, so the task of a killed daemon is claimed again and run again
from its start, which looks before it acts. After some attempts it fails.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from minicloud.domain.errors import Conflict, MinicloudError
from minicloud.image import records, task_store
from minicloud.image.records import Task
from minicloud.image.transfer import LEASE_S, Pulse
from minicloud.kit import clock, context
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

LOG = logging.getLogger(__name__)
KEEP_S = 48 * 3600.0
"""Seconds for which a task that ended can be read."""
_ATTEMPTS = 3
_IDLE_S = 10.0


class Job:
    """What can be done for one type of task."""

    def __init__(
        self,
        run: Callable[[Task, Pulse], Mapping[str, Any]],
        undo: Callable[[Transaction, Task], Callable[[], None]],
    ) -> None:
        self.run = run
        """Does it; what came of it. May run again after it broke off anywhere."""
        self.undo = undo
        """After a failure: puts the rows right; what it answers is called when that is done."""


class TaskRunner:
    """``lease_s``: seconds after which a silent worker is believed dead."""

    def __init__(
        self,
        database: Database,
        jobs: Mapping[str, Job],
        *,
        threads: int = 2,
        lease_s: float = LEASE_S,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._lease_s = lease_s
        self._wake = threading.Condition()
        self._ending = False
        self._running: dict[str, Task] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"task-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Give up what is being worked on: the next daemon to claim it begins at once."""
        self._ending = True
        self.kick()
        with self._database.write() as tx:
            for task in list(self._running.values()):
                task_store.task_renew(tx, task, 0.0)

    def kick(self) -> None:
        """There is something to do."""
        with self._wake:
            self._wake.notify_all()

    def _work(self) -> None:
        while not self._ending:
            try:
                if self.run_one():
                    continue
            except Exception:  # the worker must live on; what went wrong is in the log
                LOG.exception("A task failed in an unforeseen way")
            with self._wake:
                if not self._ending:
                    self._wake.wait(_IDLE_S)

    def run_one(self) -> bool:
        """Claim a task and do it; whether there was one."""
        now = clock.now()
        with self._database.write() as tx:
            task = task_store.task_claim(tx, now, now + self._lease_s)
        if task is None:
            return False
        self._running[task.id] = task
        ctx = Context(request_id=task.request_id, user_id=task.user_id,
                      project_id=task.owner or "")  # fmt: skip
        try:
            with context.working_for(ctx):
                self._run(task)
        finally:
            self._running.pop(task.id, None)
        return True

    def _run(self, task: Task) -> None:
        job = self._jobs.get(task.type)
        if job is None or task.attempts > _ATTEMPTS:
            self._fail(task, job, "The daemon that worked on it ended, time and again.")
            return
        try:
            result = job.run(task, Pulse(lambda lease: self._renew(task, lease)))
        except MinicloudError as problem:
            LOG.warning("Task %s failed: %s", task.id, problem)
            self._fail(task, job, problem.message)
        except Exception:
            LOG.exception("Task %s failed in an unforeseen way", task.id)
            self._fail(task, job, f"An unexpected error occurred ({task.request_id}).")
        else:
            with self._database.write() as tx:
                task_store.task_finish(
                    tx, task, records.SUCCESS, clock.now(), result=result, keep_s=KEEP_S
                )

    def _fail(self, task: Task, job: Job | None, message: str) -> None:
        afterwards: Callable[[], None] | None = None
        with self._database.write() as tx:
            ours = task_store.task_finish(
                tx, task, records.FAILURE, clock.now(), message=message, keep_s=KEEP_S
            )
            if ours and job is not None:
                afterwards = job.undo(tx, task)
        if afterwards is not None:
            afterwards()

    def _renew(self, task: Task, lease: float) -> None:
        with self._database.write() as tx:
            if not task_store.task_renew(tx, task, lease):
                raise Conflict(reason="The task was taken over.")
