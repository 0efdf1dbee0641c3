"""Flavors and who may use the private ones."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from minicloud.db.models import flavor_access
from minicloud.db.models import flavors as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import Exists, NotFound
from minicloud.domain.models import Flavor
from minicloud.kit import clock
from minicloud.kit.db import Transaction

_FIELDS = [t.c[name] for name in Flavor.__struct_fields__]
_ALL = sa.select(*_FIELDS).order_by(t.c.ram, t.c.id)
_SHARED = sa.select(flavor_access.c.flavor_id).where(
    flavor_access.c.project_id == sa.bindparam("project")
)
_VISIBLE = _ALL.where(sa.or_(t.c.is_public, t.c.id.in_(_SHARED)))
_THIS = t.c.id == sa.bindparam("this")
_GET, _GET_VISIBLE = _ALL.where(_THIS), _VISIBLE.where(_THIS)


def flavor_list(tx: Transaction, *, visible_to: str | None = None) -> Sequence[Flavor]:
    """All flavors, or those public or shared with the project ``visible_to``; by RAM and id."""
    query = _ALL if visible_to is None else _VISIBLE
    return records(tx.execute(query, {"project": visible_to}), Flavor)


def flavor_get(tx: Transaction, flavor_id: str, *, visible_to: str | None = None) -> Flavor:
    """NotFound where there is none, or the project ``visible_to`` may not see it."""
    query = _GET if visible_to is None else _GET_VISIBLE
    flavor = record(tx.execute(query, {"this": flavor_id, "project": visible_to}), Flavor)
    if flavor is None:
        raise NotFound(kind="Flavor", id=flavor_id)
    return flavor


def flavor_insert(tx: Transaction, flavor: Flavor) -> None:
    """Exists when the id or the name is taken."""
    try:
        with tx.begin_nested():
            tx.execute(t.insert().values(**msgspec.to_builtins(flavor), created_at=clock.now()))
    except sa.exc.IntegrityError:
        raise Exists(kind="Flavor", id=flavor.name) from None


def flavor_update(tx: Transaction, flavor: Flavor) -> None:
    values = msgspec.to_builtins(flavor)
    if tx.execute(t.update().where(t.c.id == flavor.id).values(**values)).rowcount == 0:
        raise NotFound(kind="Flavor", id=flavor.id)


def flavor_delete(tx: Transaction, flavor_id: str) -> None:
    if tx.execute(t.delete().where(t.c.id == flavor_id)).rowcount == 0:
        raise NotFound(kind="Flavor", id=flavor_id)


def flavor_access_list(tx: Transaction, flavor_id: str) -> Sequence[str]:
    """Projects a private flavor is shared with."""
    query = sa.select(flavor_access.c.project_id).where(flavor_access.c.flavor_id == flavor_id)
    return [row.project_id for row in tx.execute(query.order_by(flavor_access.c.project_id))]


def flavor_access_add(tx: Transaction, flavor_id: str, project_id: str) -> None:
    try:
        with tx.begin_nested():
            tx.execute(flavor_access.insert().values(flavor_id=flavor_id, project_id=project_id))
    except sa.exc.IntegrityError:
        raise Exists(kind="Flavor access", id=project_id) from None


def flavor_access_remove(tx: Transaction, flavor_id: str, project_id: str) -> None:
    removed = tx.execute(
        flavor_access.delete().where(
            flavor_access.c.flavor_id == flavor_id, flavor_access.c.project_id == project_id
        )
    )
    if removed.rowcount == 0:
        raise NotFound(kind="Flavor access", id=project_id)
