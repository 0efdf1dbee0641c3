"""The journals of a host's operations, sent to the conductor in batches.

A batch goes out at most 50 ms after what it tells: one message for all operations of the host. A
journal lost with its daemon loses nothing that matters: a resumed recipe starts at its first step,
and undo covers every step, begun or not.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from minicloud.domain.errors import MinicloudError
from minicloud.domain.models import Journal, Operation, OperationEvent
from minicloud.domain.states import PHASES, TaskState
from minicloud.domain.steps import StepRecord
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.rpc.conductor import ConductorRPC

LOG = logging.getLogger(__name__)


class StepJournal(Protocol):
    """What the steps themselves tell: which of a launch's 28 steps happened, and when."""

    def step(
        self, number: int, start: float, duration: float | None, *, service: str = "compute",
        host: str = "", detail: str = "",
    ) -> None: ...  # fmt: skip


class NoJournal:
    """For work that no operation asked for."""

    def started(self, step: str) -> None: ...

    def finished(self, step: str, *, problem: str | None) -> None: ...

    def step(
        self, number: int, start: float, duration: float | None, *, service: str = "compute",
        host: str = "", detail: str = "",
    ) -> None: ...  # fmt: skip


class Outbox:
    """Sends what the journals of this host have to tell; ``batch_s`` seconds after the first."""

    def __init__(self, conductor: ConductorRPC, *, batch_s: float = 0.05) -> None:
        self._conductor, self._batch_s = conductor, batch_s
        self._lock = threading.Lock()
        self._due: dict[OperationJournal, None] = {}

    def put(self, journal: OperationJournal) -> None:
        """``journal`` has something to tell: it is asked for it soon."""
        with self._lock:
            if not self._due:
                timer = threading.Timer(self._batch_s, self.send)
                timer.daemon = True
                timer.start()
            self._due[journal] = None

    def send(self) -> None:
        """Tell now what is due."""
        with self._lock:
            due, self._due = self._due, {}
        # In order, so that no two batches wait for each other's rows.
        told = sorted(
            (journal for each in due if (journal := each.take()).says_anything),
            key=lambda journal: journal.operation_id,
        )
        if not told:
            return  # it went out with the operations' ends
        try:
            self._conductor.operation_journal(Context(), journal=told[0], more=told[1:])
        except MinicloudError as problem:
            LOG.warning("The journal of %s operations was not sent: %s", len(told),
                        problem.message)  # fmt: skip


class OperationJournal:
    """Implements ``kit.operations.Journal``; also takes the records of the 28 steps."""

    def __init__(self, operation: Operation, *, host: str, outbox: Outbox) -> None:
        self._operation, self._host, self._outbox = operation, host, outbox
        self._lock = threading.Lock()
        self._events: list[OperationEvent] = []
        self._steps: list[StepRecord] = []
        self._task_state: TaskState | None = None
        self._started: dict[str, float] = {}

    def started(self, step: str) -> None:
        now = clock.now()
        self._started[step] = now
        with self._lock:
            self._events.append(self._event(step, now, None, None))
            phase = PHASES.get(self._operation.verb, {}).get(step)
            if phase is not None:
                self._task_state = phase
        self._outbox.put(self)

    def finished(self, step: str, *, problem: str | None) -> None:
        now = clock.now()
        with self._lock:
            self._events.append(self._event(step, self._started.get(step, now), now, problem))
        self._outbox.put(self)

    def step(
        self, number: int, start: float, duration: float | None, *, service: str = "compute",
        host: str = "", detail: str = "",
    ) -> None:  # fmt: skip
        """Record one of the 28 steps; only launches have them."""
        if self._operation.verb != "create":
            return
        record = StepRecord(
            number=number, start=start, duration=duration, service=service,
            host=host or self._host, detail=detail,
        )  # fmt: skip
        with self._lock:
            self._steps.append(record)

    def take(self) -> Journal:
        """What has not been taken yet."""
        with self._lock:
            journal = Journal(
                operation_id=self._operation.id,
                server_id=self._operation.server_id,
                request_id=self._operation.request_id,
                events=self._events,
                steps=self._steps,
                task_state=self._task_state,
            )
            self._events, self._steps, self._task_state = [], [], None
        return journal

    def _event(
        self, step: str, started: float, finished: float | None, problem: str | None
    ) -> OperationEvent:
        return OperationEvent(
            operation_id=self._operation.id,
            attempt=self._operation.attempt,
            step=step,
            started_at=started,
            finished_at=finished,
            result=None if finished is None else ("Error" if problem else "Success"),
            message=problem or "",
            host=self._host,
        )
