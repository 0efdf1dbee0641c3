"""What daemons write of one launch at the same moment, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from minicloud.db import operations
from minicloud.domain.models import OperationEvent
from minicloud.domain.steps import StepRecord
from minicloud.kit.db import Database, migrate

SERVER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url, pool_size=16)
    migrate.upgrade("compute", opened)
    yield opened
    opened.close()


def at_once(work, times: int = 8) -> None:
    gate = Barrier(times)

    def one(number: int) -> None:
        gate.wait()
        work(number)

    with ThreadPoolExecutor(times) as pool:
        list(pool.map(one, range(times)))


def test_steps_written_at_once_are_kept_once(database: Database) -> None:
    numbers = [9, 10, 11, 12]

    def write(writer: int) -> None:
        order = numbers if writer % 2 else numbers[::-1]
        steps = [
            StepRecord(number=n, start=1.0, duration=0.1, service="scheduler", host=f"h{writer}")
            for n in order
        ]
        with database.write() as tx:
            operations.journal_steps(tx, SERVER, "req-1", steps)

    for _ in range(5):
        at_once(write)
    with database.read() as tx:
        kept = operations.steps_of_server(tx, SERVER)
    assert [step.number for step in kept] == numbers


def event(finished_at: float | None, result: str | None) -> OperationEvent:
    return OperationEvent(
        operation_id="o", attempt=1, step="ports", started_at=1.0, finished_at=finished_at,
        result=result, host="h",
    )  # fmt: skip


def test_the_end_of_a_step_stays_whatever_comes_after(database: Database) -> None:
    begun, ended = event(None, None), event(2.0, "Success")

    def write(writer: int) -> None:
        with database.write() as tx:
            operations.journal_events(tx, [begun, ended] if writer % 2 else [begun])

    at_once(write)
    with database.read() as tx:
        (kept,) = operations.events_of_operation(tx, "o")
    assert (kept.finished_at, kept.result) == (2.0, "Success")
