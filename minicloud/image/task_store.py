"""Queries on tasks. A task is worked on by who claimed it last: every change says which attempt
it belongs to, so a daemon that was believed dead changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Invalid
from minicloud.image import records
from minicloud.image.models import image_tasks
from minicloud.image.records import Task
from minicloud.kit.db import Transaction

SORT_KEYS = ("created_at", "updated_at", "expires_at", "id", "status", "type")


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A list request. ``sort`` ends with ``id``."""

    equal: Mapping[str, str] = {}
    owner: str | None = None
    """Whose tasks; None: everyone's."""
    sort: Sequence[tuple[str, str]] = (("created_at", "desc"), ("id", "desc"))
    limit: int
    marker: str | None = None


def task_insert(tx: Transaction, task: Task) -> None:
    tx.execute(sa.insert(image_tasks).values(msgspec.structs.asdict(task)))


def task_get(tx: Transaction, task_id: str) -> Task | None:
    row = tx.execute(sa.select(image_tasks).where(image_tasks.c.id == task_id)).one_or_none()
    return None if row is None else Task(**row._mapping)


def tasks_of_image(tx: Transaction, image_id: str) -> list[Task]:
    query = sa.select(image_tasks).where(image_tasks.c.image_id == image_id)
    return [
        Task(**row._mapping)
        for row in tx.execute(query.order_by(image_tasks.c.created_at, image_tasks.c.id))
    ]


def tasks_list(tx: Transaction, query: TaskQuery) -> tuple[list[Task], bool]:
    """One page, and whether there is another. Invalid when there is no such marker."""
    conditions = [image_tasks.c[name] == value for name, value in query.equal.items()]
    if query.owner is not None:
        conditions.append(image_tasks.c.owner == query.owner)
    statement = sa.select(image_tasks).where(*conditions)
    if query.marker is not None:
        statement = statement.where(_after(tx, query))
    for key, direction in query.sort:
        column = _ordered(key)
        statement = statement.order_by(column.desc() if direction == "desc" else column.asc())
    rows = tx.execute(statement.limit(query.limit + 1)).all()
    return [Task(**row._mapping) for row in rows[: query.limit]], len(rows) > query.limit


def _ordered(key: str) -> sa.ColumnElement[Any]:
    column: sa.ColumnElement[Any] = image_tasks.c[key]
    return sa.func.coalesce(column, 0.0) if key == "expires_at" else column


def _after(tx: Transaction, query: TaskQuery) -> sa.ColumnElement[bool]:
    columns = [_ordered(key) for key, _ in query.sort]
    row = tx.execute(sa.select(*columns).where(image_tasks.c.id == query.marker)).one_or_none()
    if row is None:
        raise Invalid(reason=f"The marker {query.marker} could not be found.")
    alternatives: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for column, (_, direction), value in zip(columns, query.sort, row, strict=True):
        beyond = column < value if direction == "desc" else column > value
        alternatives.append(sa.and_(*equal, beyond))
        equal.append(column == value)
    return sa.or_(*alternatives)


# -- the life of a task --------------------------------------------------------------------------
def task_claim(tx: Transaction, now: float, lease: float) -> Task | None:
    """The oldest task that nobody works on, claimed until ``lease``; None: there is none."""
    free = sa.or_(
        image_tasks.c.status == records.PENDING_TASK,
        sa.and_(image_tasks.c.status == records.PROCESSING, image_tasks.c.lease < now),
    )
    found = sa.select(image_tasks).where(free).order_by(image_tasks.c.created_at).limit(1)
    row = tx.execute(found.with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    task = Task(**row._mapping)
    claimed = {
        "status": records.PROCESSING,
        "attempts": task.attempts + 1,
        "lease": lease,
        "updated_at": now,
    }
    if not _set(tx, task, **claimed):
        return None
    return msgspec.structs.replace(task, **claimed)


def task_renew(tx: Transaction, task: Task, lease: float) -> bool:
    """Its worker lives; whether the task is still its own."""
    return _set(tx, task, lease=lease)


def task_finish(
    tx: Transaction,
    task: Task,
    status: str,
    now: float,
    *,
    message: str = "",
    result: Mapping[str, Any] | None = None,
    keep_s: float,
) -> bool:
    """processing -> success or failure; whether the task was still this worker's."""
    return _set(
        tx,
        task,
        status=status,
        message=message,
        result=result,
        lease=None,
        updated_at=now,
        expires_at=now + keep_s,
    )


def tasks_expire(tx: Transaction, now: float) -> None:
    """Remove the rows of tasks that ended long ago."""
    tx.execute(sa.delete(image_tasks).where(image_tasks.c.expires_at < now))


def _set(tx: Transaction, task: Task, **values: Any) -> bool:
    done = tx.execute(
        sa.update(image_tasks)
        .where(
            image_tasks.c.id == task.id,
            image_tasks.c.attempts == task.attempts,
            image_tasks.c.status.in_((records.PENDING_TASK, records.PROCESSING)),
        )
        .values(values)
    )
    return bool(done.rowcount == 1)
