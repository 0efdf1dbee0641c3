"""Server groups: rows, members, and where their members are.

A group has no list of members: they are the living servers that name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from minicloud.db.models import claims, servers
from minicloud.db.models import server_groups as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import NotFound
from minicloud.domain.models import ServerGroup
from minicloud.kit.db import Transaction


def group_insert(tx: Transaction, group: ServerGroup) -> None:
    tx.execute(t.insert().values(msgspec.structs.asdict(group)))


def group_get(tx: Transaction, group_id: str, *, project_id: str | None) -> ServerGroup:
    """NotFound where there is none, or it is another project's (None: any)."""
    query = sa.select(t).where(t.c.id == group_id)
    if project_id is not None:
        query = query.where(t.c.project_id == project_id)
    found = record(tx.execute(query), ServerGroup)
    if found is None:
        raise NotFound(kind="Instance group", id=group_id)
    return found


def group_list(
    tx: Transaction, *, project_id: str | None, limit: int | None = None, offset: int = 0
) -> Sequence[ServerGroup]:
    """Oldest first."""
    query = sa.select(t).order_by(t.c.created_at, t.c.id)
    if project_id is not None:
        query = query.where(t.c.project_id == project_id)
    if limit is not None:
        query = query.limit(limit)
    return records(tx.execute(query.offset(offset)), ServerGroup)


def group_count(tx: Transaction, project_id: str, *, user_id: str = "") -> int:
    """How many the project has, or within it the user."""
    query = sa.select(sa.func.count()).select_from(t).where(t.c.project_id == project_id)
    if user_id:
        query = query.where(t.c.user_id == user_id)
    return int(tx.execute(query).scalar_one())


def group_delete(tx: Transaction, group_id: str) -> None:
    """Its members live on without it."""
    tx.execute(servers.update().where(servers.c.group_id == group_id).values(group_id=None))
    tx.execute(t.delete().where(t.c.id == group_id))


def members_of_groups(tx: Transaction, group_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Group id -> ids of its living servers, oldest first: one statement."""
    members: dict[str, list[str]] = {}
    query = (
        sa.select(servers.c.group_id, servers.c.id)
        .where(servers.c.group_id.in_(list(group_ids)), servers.c.deleted.is_(False))
        .order_by(servers.c.created_at, servers.c.id)
    )
    for row in tx.execute(query):
        members.setdefault(row.group_id, []).append(row.id)
    return members


def group_hosts(tx: Transaction, group_id: str, *, besides: str) -> Mapping[str, int]:
    """Host -> members with a claim on it, without the server ``besides``."""
    query = (
        sa.select(claims.c.host, sa.func.count(claims.c.server_id.distinct()))
        .join(servers, servers.c.id == claims.c.server_id)
        .where(servers.c.group_id == group_id, servers.c.id != besides)
        .group_by(claims.c.host)
    )
    return {row[0]: row[1] for row in tx.execute(query)}


def group_find(tx: Transaction, group_id: str, *, lock: bool = False) -> ServerGroup | None:
    """The group, whoever's it is. ``lock``: nobody else places a member of it until the
    transaction ends."""
    query = sa.select(t).where(t.c.id == group_id)
    return record(tx.execute(query.with_for_update() if lock else query), ServerGroup)


def hosts_of_servers(tx: Transaction, server_ids: Sequence[str]) -> Mapping[str, str | None]:
    """Server id -> its host, of those that live."""
    if not server_ids:
        return {}
    query = sa.select(servers.c.id, servers.c.host).where(
        servers.c.id.in_(list(server_ids)), servers.c.deleted.is_(False)
    )
    return {row.id: row.host for row in tx.execute(query)}
