"""Migrations: what moved where, for operators. Written by the verbs that move servers.

A row follows its operation; nothing decides by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.db.models import migrations as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.ids import new_id
from minicloud.domain.models import Migration, Server
from minicloud.domain.states import LIVE_MIGRATION
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Transaction

RESIZE, COLD, LIVE, EVACUATION = "resize", "migration", "live-migration", "evacuation"
KINDS: Mapping[str, str] = {
    "resize": RESIZE,
    "migrate": COLD,
    "evacuate": EVACUATION,
    LIVE_MIGRATION: LIVE,
}
"""Verb -> the kind of move that it is."""
RUNNING = ("accepted", "queued", "preparing", "pre-migrating", "running", "migrating",
           "post-migrating", "confirming", "reverting")  # fmt: skip
"""Statuses of moves that are under way."""
_FAILED = (
    sa.select(t.c.number)
    .where(t.c.server_id == sa.bindparam("server"), t.c.status == "error")
    .limit(1)
)
_FOLLOW = t.update().where(t.c.operation_id == sa.bindparam("mover"))


def migration_insert(
    tx: Transaction,
    ctx: Context,
    server: Server,
    *,
    kind: str,
    operation_id: str | None = None,
    status: str = "queued",
    destination: str | None = None,
    new_flavor_id: str | None = None,
) -> str:
    """Record that ``server`` is about to move from where it is; the record's UUID.

    ``kind``: RESIZE, COLD, LIVE or EVACUATION; ``new_flavor_id``: None: it keeps its own.
    """
    now = clock.now()
    identity = new_id()
    tx.execute(
        t.insert().values(
            id=identity,
            kind=kind,
            status=status,
            server_id=server.id,
            operation_id=operation_id,
            project_id=ctx.project_id,
            user_id=ctx.user_id,
            source=server.host,
            destination=destination,
            old_flavor_id=server.flavor.id,
            new_flavor_id=new_flavor_id or server.flavor.id,
            progress={},
            created_at=now,
            updated_at=now,
        )
    )
    return identity


def migration_update(tx: Transaction, migration_id: str, **values: Any) -> bool:
    """Set ``status``, ``destination``, ``operation_id`` or ``progress``; whether there is one."""
    changed = tx.execute(
        t.update().where(t.c.id == migration_id).values(**values, updated_at=clock.now())
    )
    return changed.rowcount == 1


def migration_follow(tx: Transaction, operation_id: str, **values: Any) -> None:
    """As ``migration_update``, for the move that the operation carries out, if it does one."""
    tx.execute(_FOLLOW, {"mover": operation_id, **values, "updated_at": clock.now()})


def migration_end(tx: Transaction, server_id: str, status: str) -> None:
    """The server's last move is ``confirmed`` or ``reverted``; another operation ends it."""
    newest = sa.select(sa.func.max(t.c.number)).where(t.c.server_id == server_id)
    tx.execute(
        t.update()
        .where(t.c.number == newest.scalar_subquery())
        .values(status=status, updated_at=clock.now())
    )


def migrations_cut_short(tx: Transaction, server_id: str) -> None:
    """No move of the server is under way any more: what did it was given up."""
    tx.execute(
        t.update()
        .where(t.c.server_id == server_id, t.c.status.in_(RUNNING))
        .values(
            status=sa.case((t.c.kind == LIVE, "cancelled"), else_="error"), updated_at=clock.now()
        )
    )


def migration_failed(tx: Transaction, server_id: str) -> bool:
    """Whether a move of the server ever failed, and may have left something on its way."""
    return tx.execute(_FAILED, {"server": server_id}).first() is not None


def migration_latest(tx: Transaction, server_id: str, *, kind: str | None = None) -> Migration:
    """The server's last move. NotFound."""
    query = sa.select(t).where(t.c.server_id == server_id).order_by(t.c.number.desc()).limit(1)
    if kind is not None:
        query = query.where(t.c.kind == kind)
    found = record(tx.execute(query), Migration)
    if found is None:
        raise NotFound(kind="Migration of instance", id=server_id)
    return found


def migration_get(tx: Transaction, server_id: str, number: int) -> Migration:
    """By its integer id. NotFound."""
    query = sa.select(t).where(t.c.server_id == server_id, t.c.number == number)
    found = record(tx.execute(query), Migration)
    if found is None:
        raise NotFound(kind="Migration", id=f"{number} for server {server_id}")
    return found


class MigrationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which migrations; empty fields ask for nothing."""

    equal: Mapping[str, Any] = {}
    """Column -> value, or a list of values."""
    host: str | None = None
    """Either end."""
    changes_since: float | None = None
    changes_before: float | None = None
    limit: int | None = None
    marker: str | None = None
    """A UUID."""


def migration_list(tx: Transaction, query: MigrationQuery) -> Sequence[Migration]:
    """Newest first, one statement whatever their number. Invalid: no such marker."""
    statement = sa.select(t).order_by(t.c.created_at.desc(), t.c.number.desc())
    for name, value in query.equal.items():
        column = t.c[name]
        statement = statement.where(
            column.in_(value) if isinstance(value, (list, tuple)) else column == value
        )
    if query.host is not None:
        statement = statement.where(sa.or_(t.c.source == query.host, t.c.destination == query.host))
    if query.changes_since is not None:
        statement = statement.where(t.c.updated_at >= query.changes_since)
    if query.changes_before is not None:
        statement = statement.where(t.c.updated_at <= query.changes_before)
    if query.marker is not None:
        row = tx.execute(
            sa.select(t.c.created_at, t.c.number).where(t.c.id == query.marker)
        ).first()
        if row is None:
            raise Invalid(reason=f"Marker {query.marker[:64]} could not be found.")
        statement = statement.where(
            sa.or_(
                t.c.created_at < row.created_at,
                sa.and_(t.c.created_at == row.created_at, t.c.number < row.number),
            )
        )
    if query.limit is not None:
        statement = statement.limit(query.limit)
    return records(tx.execute(statement), Migration)
