"""Operations: begun, placed, journaled, ended. The row is the truth, messages only point at it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from minicloud.db import servers
from minicloud.db.models import launch_steps, operation_events
from minicloud.db.models import operations as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import NotFound, WrongState
from minicloud.domain.ids import new_id
from minicloud.domain.models import Operation, OperationEvent, Server
from minicloud.domain.states import TaskState, Verb, VmState, check
from minicloud.domain.steps import StepRecord
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Transaction

LIVE = ("queued", "running")
_FIELDS = [t.c[name] for name in Operation.__struct_fields__]

# Statements are made once: to make one costs several times what it costs to run it.
_THIS = t.c.id == sa.bindparam("this")
_GET = sa.select(*_FIELDS).where(_THIS)
_GET_LOCKED = _GET.with_for_update()
_UPDATE = t.update().where(_THIS, t.c.state.in_(sa.bindparam("states", expanding=True)))
_INSERT = t.insert()
_STUCK = sa.select(t.c.id).where(t.c.server_id == sa.bindparam("server"), t.c.state == "stuck")
_CANCEL = t.update().where(t.c.server_id == sa.bindparam("server"), t.c.state.in_((*LIVE, "stuck")))
_OF_HOST = (
    sa.select(t.c.id, t.c.server_id)
    .where(t.c.host == sa.bindparam("on"), t.c.state.in_((*LIVE, "stuck")))
    .order_by(t.c.created_at)
)
_OF_IMAGES = sa.select(t.c.verb, t.c.params).where(
    t.c.server_id == sa.bindparam("server"),
    t.c.verb.in_(("createImage", "createBackup", "shelve")),
    t.c.state.in_((*LIVE, "stuck", "cancelled")),
)
_LIVE_ONES = sa.select(*_FIELDS).where(t.c.state.in_(LIVE)).order_by(t.c.created_at)


def operation_begin(
    tx: Transaction, ctx: Context, server: Server, verb: Verb, params: Mapping[str, Any]
) -> Operation:
    """Begin ``verb`` on ``server``: the check, the lock and the row in one go.

    WrongState when the verb may not begin now, another request was quicker, or an earlier
    operation of the server is still to be undone. A verb that preempts cancels the operation
    that owns the server; if that already does the same verb, it is returned as it is.
    """
    owner = server.operation_id
    check(verb, server.id, server.vm_state, server.task_state, owned=owner is not None)
    if owner is not None:
        running = operation_get(tx, owner)
        if running.verb == verb.name and running.live:
            return running
    removes = verb.ok is VmState.DELETED
    if not removes and _is_stuck(tx, server.id):
        raise WrongState(
            verb=verb.name, id=server.id, attribute="vm_state", state=str(server.vm_state),
            allowed=sorted(map(str, verb.start)),
        )  # fmt: skip
    operation = operation_new(ctx, server, verb, params)
    owned = servers.server_own(
        tx,
        server.id,
        operation_id=operation.id,
        task_state=verb.via,
        start=sorted(verb.start),
        instead_of=owner,
    )
    if not owned:
        now = servers.server_get(tx, server.id)
        raise WrongState(
            verb=verb.name, id=server.id, attribute="task_state",
            state=str(now.task_state or now.vm_state), allowed=sorted(map(str, verb.start)),
        )  # fmt: skip
    if removes or owner is not None:
        operations_cancel(tx, server.id, f"Cancelled by {verb.name}")
    operation_insert(tx, operation)
    return operation


def _is_stuck(tx: Transaction, server_id: str) -> bool:
    return tx.execute(_STUCK, {"server": server_id}).first() is not None


def operations_cancel(tx: Transaction, server_id: str, why: str) -> None:
    """No operation of the server is live or stuck any more."""
    values = {"state": "cancelled", "message": why, "updated_at": clock.now()}
    tx.execute(_CANCEL, {"server": server_id, **values})


def operation_new(ctx: Context, server: Server, verb: Verb, params: Mapping[str, Any]) -> Operation:
    """The operation as a value; ``operation_insert`` writes it."""
    now = clock.now()
    return Operation(
        id=new_id(),
        request_id=ctx.request_id,
        verb=verb.name,
        server_id=server.id,
        project_id=ctx.project_id,
        user_id=ctx.user_id,
        state="queued",
        host=None if verb.placed else server.host,
        attempt=1,
        excluded=(),
        params=params,
        prior_state=server.vm_state,
        message=None,
        created_at=now,
        updated_at=now,
        deadline_at=now + verb.deadline_s,
    )


def operation_note(tx: Transaction, ctx: Context, server: Server, action: str) -> None:
    """Record an action that is no operation of its own: something that was asked of one."""
    now = clock.now()
    noted = Operation(
        id=new_id(), request_id=ctx.request_id, verb=action, server_id=server.id,
        project_id=ctx.project_id, user_id=ctx.user_id, state="done", host=None, attempt=1,
        excluded=(), params={}, prior_state=server.vm_state, message=None, created_at=now,
        updated_at=now, deadline_at=now,
    )  # fmt: skip
    operation_insert(tx, noted)


def operation_insert(tx: Transaction, operation: Operation) -> None:
    tx.execute(_INSERT, msgspec.to_builtins(operation))


def operation_get(tx: Transaction, operation_id: str, *, lock: bool = False) -> Operation:
    """NotFound. ``lock``: the row is nobody else's until the transaction ends."""
    query = _GET_LOCKED if lock else _GET
    operation = record(tx.execute(query, {"this": operation_id}), Operation)
    if operation is None:
        raise NotFound(kind="Operation", id=operation_id)
    return operation


def operation_update(
    tx: Transaction, operation_id: str, *, states: Sequence[str] = LIVE, **values: Any
) -> bool:
    """Set columns while the operation is in one of ``states``; False when it is not."""
    columns = {name: msgspec.to_builtins(value) for name, value in values.items()}
    where = {"this": operation_id, "states": states}
    return tx.execute(_UPDATE, {**where, **columns, "updated_at": clock.now()}).rowcount == 1


def operations_of_server(tx: Transaction, server_id: str) -> Sequence[Operation]:
    """Newest first."""
    query = (
        sa.select(*_FIELDS)
        .where(t.c.server_id == server_id)
        .order_by(t.c.created_at.desc(), t.c.id.desc())
    )
    return records(tx.execute(query), Operation)


def images_unfinished(tx: Transaction, server_id: str) -> dict[str, str]:
    """Images that operations of the server were to make, and have not told to be done: id ->
    verb.
    """
    rows = tx.execute(_OF_IMAGES, {"server": server_id})
    return {row.params["image_id"]: row.verb for row in rows if row.params.get("image_id")}


def operations_of_host(tx: Transaction, host: str) -> Sequence[tuple[str, str]]:
    """(operation, server) ids the host should work on: live and stuck ones, oldest first."""
    return [(row.id, row.server_id) for row in tx.execute(_OF_HOST, {"on": host})]


def operations_live(tx: Transaction) -> Sequence[Operation]:
    """Every live operation, oldest first: what the conductor's pass looks through."""
    return records(tx.execute(_LIVE_ONES), Operation)


# -- the journal -----------------------------------------------------------------------------------
def journal_events(tx: Transaction, events: Sequence[OperationEvent]) -> None:
    """Keep recipe steps. Of a step, its end counts, in whichever order the words arrive."""
    begun = [msgspec.to_builtins(event) for event in events if event.finished_at is None]
    ended = [msgspec.to_builtins(event) for event in events if event.finished_at is not None]
    _keep(tx, operation_events, begun, over=False)
    _keep(tx, operation_events, ended, over=True)


def journal_steps(
    tx: Transaction, server_id: str, request_id: str, steps: Sequence[StepRecord]
) -> None:
    """Keep steps of the 28; a repeated step keeps its latest record."""
    latest = {step.number: step for step in steps}
    rows = [
        {
            **msgspec.to_builtins(step),
            "detail": step.detail[:255],
            "server_id": server_id,
            "request_id": request_id,
        }
        # In order, so that no two transactions wait for each other's rows.
        for _, step in sorted(latest.items())
    ]
    _keep(tx, launch_steps, rows, over=True)


def _keep(tx: Transaction, table: sa.Table, rows: list[dict[str, Any]], *, over: bool) -> None:
    """Insert ``rows``, ``over`` those there are or else beside them; daemons do so at once."""
    if rows:
        tx.execute(_insert(tx.dialect.name, table, over), rows)


@functools.cache
def _insert(dialect: str, table: sa.Table, over: bool) -> Any:
    """Made once: to make it costs more than to run it."""
    statement: Any = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    if not over:
        return statement.on_conflict_do_nothing(index_elements=keys)
    values = {c.name: statement.excluded[c.name] for c in table.c if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)


def events_of_operation(tx: Transaction, operation_id: str) -> Sequence[OperationEvent]:
    table = operation_events
    rows = tx.execute(
        sa.select(table)
        .where(table.c.operation_id == operation_id)
        .order_by(table.c.started_at, table.c.step)
    )
    return records(rows, OperationEvent)


def steps_of_server(tx: Transaction, server_id: str) -> Sequence[StepRecord]:
    """The launch's steps, 1 to 28, as far as they are recorded."""
    table = launch_steps
    names = StepRecord.__struct_fields__
    rows = tx.execute(
        sa.select(*(table.c[name] for name in names))
        .where(table.c.server_id == server_id)
        .order_by(table.c.number)
    )
    return records(rows, StepRecord)


def show_phase(tx: Transaction, server_id: str, operation_id: str, task: TaskState) -> None:
    servers.server_phase(tx, server_id, operation_id, task)
