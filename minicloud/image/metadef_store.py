"""Queries on metadata definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists
from minicloud.image.metadefs import Association, Item, Namespace, ResourceType
from minicloud.image.models import (
    metadef_associations,
    metadef_items,
    metadef_namespaces,
    metadef_resource_types,
)
from minicloud.kit.db import Transaction

SORT_KEYS = ("created_at", "updated_at", "namespace")


def namespace_insert(tx: Transaction, namespace: Namespace) -> None:
    """Exists when the name is taken."""
    _insert(
        tx, metadef_namespaces, msgspec.structs.asdict(namespace), "Namespace", namespace.namespace
    )


def namespace_update(tx: Transaction, before: Namespace, values: Mapping[str, Any]) -> None:
    """Exists when the new name is taken."""
    try:
        with tx.begin_nested():
            tx.execute(
                sa.update(metadef_namespaces)
                .where(metadef_namespaces.c.id == before.id)
                .values(values)
            )
    except sa.exc.IntegrityError:
        raise Exists(kind="Namespace", id=values["namespace"]) from None


def namespace_delete(tx: Transaction, namespace_id: str) -> None:
    tx.execute(sa.delete(metadef_namespaces).where(metadef_namespaces.c.id == namespace_id))


def namespace_get(tx: Transaction, name: str, *, lock: bool = False) -> Namespace | None:
    query = sa.select(metadef_namespaces).where(metadef_namespaces.c.namespace == name)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else Namespace(**row._mapping)


def namespaces_list(
    tx: Transaction,
    viewer: str | None,
    *,
    sees_all: bool,
    visibility: str | None,
    resource_types: Sequence[str],
    sort: tuple[str, str],
    after: Namespace | None,
    limit: int,
) -> list[Namespace]:
    """One page, and one more row where there is another page."""
    table = metadef_namespaces
    query = sa.select(table)
    if not sees_all:
        query = query.where(sa.or_(table.c.visibility == "public", table.c.owner == viewer))
    if visibility is not None:
        query = query.where(table.c.visibility == visibility)
    if resource_types:
        query = query.where(
            sa.exists().where(
                metadef_associations.c.namespace_id == table.c.id,
                metadef_associations.c.name.in_(resource_types),
            )
        )
    key, direction = sort
    column = table.c[key]
    down = direction == "desc"
    if after is not None:
        value = getattr(after, key)
        beyond = column < value if down else column > value
        further = table.c.id < after.id if down else table.c.id > after.id
        query = query.where(sa.or_(beyond, sa.and_(column == value, further)))
    order = (column.desc(), table.c.id.desc()) if down else (column.asc(), table.c.id.asc())
    return [Namespace(**row._mapping) for row in tx.execute(query.order_by(*order).limit(limit))]


# -- what belongs to a namespace -----------------------------------------------------------------
def items_list(tx: Transaction, namespace_id: str, kind: str | None = None) -> list[Item]:
    query = sa.select(metadef_items).where(metadef_items.c.namespace_id == namespace_id)
    if kind is not None:
        query = query.where(metadef_items.c.kind == kind)
    rows = tx.execute(query.order_by(metadef_items.c.created_at, metadef_items.c.name))
    return [Item(**row._mapping) for row in rows]


def item_insert(tx: Transaction, item: Item) -> None:
    """Exists when the name is taken."""
    _insert(tx, metadef_items, msgspec.structs.asdict(item), item.kind.capitalize(), item.name)


def item_replace(tx: Transaction, before: Item, after: Item) -> None:
    """Exists when its new name is taken."""
    item_remove(tx, before.namespace_id, before.kind, before.name)
    item_insert(tx, after)


def item_remove(tx: Transaction, namespace_id: str, kind: str, name: str | None) -> bool:
    """Remove one item, or with ``name`` None all of the kind; whether there was one."""
    conditions = [metadef_items.c.namespace_id == namespace_id, metadef_items.c.kind == kind]
    if name is not None:
        conditions.append(metadef_items.c.name == name)
    return bool(tx.execute(sa.delete(metadef_items).where(*conditions)).rowcount)


# -- resource types ------------------------------------------------------------------------------
def resource_types_list(tx: Transaction) -> list[ResourceType]:
    query = sa.select(metadef_resource_types).order_by(metadef_resource_types.c.name)
    return [ResourceType(**row._mapping) for row in tx.execute(query)]


def resource_type_ensure(tx: Transaction, name: str, now: float) -> None:
    try:
        with tx.begin_nested():
            row = {"name": name, "created_at": now, "updated_at": now}
            tx.execute(sa.insert(metadef_resource_types).values(row))
    except sa.exc.IntegrityError:
        return  # it is there


def associations_of(tx: Transaction, namespace_ids: Sequence[str]) -> dict[str, list[Association]]:
    """namespace id -> its associations; one query however many."""
    found: dict[str, list[Association]] = {}
    if namespace_ids:
        query = sa.select(metadef_associations).where(
            metadef_associations.c.namespace_id.in_(namespace_ids)
        )
        for row in tx.execute(query.order_by(metadef_associations.c.name)):
            found.setdefault(row.namespace_id, []).append(Association(**row._mapping))
    return found


def association_insert(tx: Transaction, association: Association) -> None:
    """Exists when the namespace has it already."""
    _insert(
        tx, metadef_associations, msgspec.structs.asdict(association),
        "Resource type association", association.name,
    )  # fmt: skip


def association_remove(tx: Transaction, namespace_id: str, name: str) -> bool:
    done = tx.execute(
        sa.delete(metadef_associations).where(
            metadef_associations.c.namespace_id == namespace_id,
            metadef_associations.c.name == name,
        )
    )
    return bool(done.rowcount)


def _insert(
    tx: Transaction, table: sa.Table, values: Mapping[str, Any], kind: str, name: str
) -> None:
    try:
        with tx.begin_nested():
            tx.execute(sa.insert(table).values(values))
    except sa.exc.IntegrityError:
        raise Exists(kind=kind, id=name) from None
