"""Which endpoints a project sees in its catalog, where somebody said so: queries.

A project with endpoints of its own, or with groups of endpoints, sees those; every other project
sees all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotFound
from minicloud.identity import models, store
from minicloud.identity.records import Endpoint, EndpointGroup
from minicloud.kit.db import Transaction

_group, _one, _some = models.endpoint_group, models.project_endpoint, models.project_endpoint_group


def group_get(tx: Transaction, id_: str) -> EndpointGroup:
    """NotFound."""
    found = group_list(tx, ids=[id_])
    if not found:
        raise NotFound(kind="Endpoint group", id=id_)
    return found[0]


def group_list(
    tx: Transaction,
    *,
    name: str | None = None,
    ids: Sequence[str] | None = None,
    project_id: str | None = None,
) -> list[EndpointGroup]:
    columns = [_group.c[each] for each in EndpointGroup.__struct_fields__]
    query = sa.select(*columns).order_by(_group.c.id)
    if name is not None:
        query = query.where(_group.c.name == name)
    if ids is not None:
        query = query.where(_group.c.id.in_(ids))
    if project_id is not None:
        query = query.join(_some, _some.c.endpoint_group_id == _group.c.id).where(
            _some.c.project_id == project_id
        )
    return [EndpointGroup(**row._mapping) for row in tx.execute(query)]


def group_insert(tx: Transaction, group: EndpointGroup) -> None:
    tx.execute(_group.insert().values(**msgspec.structs.asdict(group)))


def group_update(tx: Transaction, id_: str, changes: Mapping[str, Any]) -> None:
    if changes:
        tx.execute(_group.update().where(_group.c.id == id_).values(**changes))


def group_delete(tx: Transaction, id_: str) -> None:
    tx.execute(_group.delete().where(_group.c.id == id_))


def fits(group: EndpointGroup, endpoint: Endpoint) -> bool:
    """Whether ``endpoint`` has all that the group's filters ask for."""
    return all(getattr(endpoint, key, None) == value for key, value in group.filters.items())


# -- what belongs to a project: endpoints, and groups of them --------------------------------------
_LINKS = {"endpoint_id": _one, "endpoint_group_id": _some}


def link_add(tx: Transaction, project_id: str, key: str, id_: str) -> None:
    """Repeatable. ``key``: endpoint_id or endpoint_group_id. NotFound where an end is gone."""
    table = _LINKS[key]
    if link_has(tx, project_id, key, id_):
        return
    try:
        with tx.begin_nested():
            tx.execute(table.insert().values({"project_id": project_id, key: id_}))
    except sa.exc.IntegrityError:
        if not link_has(tx, project_id, key, id_):
            raise NotFound(kind="Project", id=project_id) from None


def link_has(tx: Transaction, project_id: str, key: str, id_: str) -> bool:
    table = _LINKS[key]
    query = sa.select(table.c.project_id).where(
        table.c.project_id == project_id, table.c[key] == id_
    )
    return tx.execute(query).first() is not None


def link_remove(tx: Transaction, project_id: str, key: str, id_: str) -> bool:
    table = _LINKS[key]
    statement = table.delete().where(table.c.project_id == project_id, table.c[key] == id_)
    return tx.execute(statement).rowcount > 0


def projects_with(key: str, id_: str) -> sa.Select[Any]:
    """Query for the ids of the projects that have this endpoint or group."""
    table = _LINKS[key]
    return sa.select(table.c.project_id).where(table.c[key] == id_)


def seen_by_project(tx: Transaction) -> dict[str, frozenset[str]]:
    """Project -> ids of its endpoints, of every project that has some."""
    seen: dict[str, set[str]] = {}
    for row in tx.execute(sa.select(_one)):
        seen.setdefault(row.project_id, set()).add(row.endpoint_id)
    links = tx.execute(sa.select(_some)).all()
    if links:
        groups = {group.id: group for group in group_list(tx)}
        endpoints = store.endpoints.list(tx)
        for row in links:
            group = groups[row.endpoint_group_id]
            fitting = {each.id for each in endpoints if fits(group, each)}
            seen.setdefault(row.project_id, set()).update(fitting)
    return {project_id: frozenset(ids) for project_id, ids in seen.items()}
