"""What daemons write of launches at the same moment, on both databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from minicloud.compute.journal import OperationJournal, Outbox
from minicloud.conductor.manager import ConductorManager
from minicloud.db import operations
from minicloud.domain.models import Journal, Operation, OperationEvent
from minicloud.domain.states import VmState
from minicloud.domain.steps import StepRecord
from minicloud.kit.context import Context
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


class Conductor(ConductorManager):
    """Remembers of how many operations each message told."""

    told: list[int]

    def operation_journal(
        self, ctx: Context, *, journal: Journal, more: Sequence[Journal] = ()
    ) -> None:
        super().operation_journal(ctx, journal=journal, more=more)
        self.told.append(1 + len(more))


def an_operation(name: str) -> Operation:
    return Operation(
        id=name, request_id=f"req-{name}", verb="create", server_id=SERVER, project_id="p",
        user_id="u", state="running", host="h", attempt=1, excluded=(), params={},
        prior_state=VmState.BUILDING, message=None, created_at=1.0, updated_at=1.0,
        deadline_at=2.0,
    )  # fmt: skip


def test_one_message_tells_of_all_operations_of_a_host(database: Database) -> None:
    conductor = Conductor(
        database, host="c", max_attempts=1, unplaced=lambda: None, compute=lambda host: None
    )
    conductor.told = []
    outbox = Outbox(conductor, batch_s=3600)
    names = ["o3", "o1", "o2", "o4"]
    journals = {
        name: OperationJournal(an_operation(name), host="h", outbox=outbox) for name in names
    }
    for journal in journals.values():
        journal.started("image")
        journal.finished("image", problem=None)
    journals["o4"].take()  # as at an operation's end, with which the rest goes out
    outbox.send()
    outbox.send()  # there is nothing left to tell
    assert conductor.told == [3]
    with database.read() as tx:
        kept = {name: operations.events_of_operation(tx, name) for name in names}
    assert [len(kept[name]) for name in names] == [1, 1, 1, 0]
    assert kept["o1"][0].result == "Success"
