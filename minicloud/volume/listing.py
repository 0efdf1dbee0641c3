"""Volumes in lists: filters, sorting and pages, as one SQL query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Invalid
from minicloud.kit.db import Transaction
from minicloud.volume.models import volume_metadata, volumes
from minicloud.volume.records import Volume
from minicloud.volume.store import volumes_select

SORT_KEYS = ("created_at", "updated_at", "name", "size", "status", "bootable", "host", "id")
EQUAL = ("name", "status", "size", "bootable", "host", "user_id")
"""Filters that compare with a column."""
_COLUMN = {"size": "size_gb", "display_name": "name"}


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is asked for."""

    project_id: str | None
    """None: of all projects."""
    limit: int
    marker: str | None = None
    offset: int = 0
    sort: Sequence[tuple[str, bool]] = ()
    """(key of SORT_KEYS, whether ascending)"""
    equal: Mapping[str, Any] = {}
    """Filter of EQUAL -> value of the column's type."""
    like: Mapping[str, str] = {}
    """Filter of EQUAL -> text that the column contains."""
    metadata: Mapping[str, str] = {}
    """Pairs that the volume's metadata has, all of them."""


def volumes_list(tx: Transaction, asked: Listing) -> list[Volume]:
    """The volumes of a page. Invalid: the marker is no volume of the list's projects."""
    query = sa.select(volumes)
    if asked.project_id is not None:
        query = query.where(volumes.c.project_id == asked.project_id)
    for name, value in asked.equal.items():
        query = query.where(_column(name) == value)
    for name, text in asked.like.items():
        query = query.where(_column(name).contains(text, autoescape=True))
    for key, value in asked.metadata.items():
        has = sa.exists().where(
            volume_metadata.c.volume_id == volumes.c.id,
            volume_metadata.c.key == key,
            volume_metadata.c.value == value,
        )
        query = query.where(has.correlate(volumes))
    order = [(_column(key), ascending) for key, ascending in asked.sort]
    if not order:
        order = [(volumes.c.created_at, False)]
    order.append((volumes.c.id, order[-1][1]))  # no two volumes are equal
    if asked.marker is not None:
        query = query.where(_after(order, _marker(tx, asked)))
    query = query.order_by(*(column.asc() if up else column.desc() for column, up in order))
    return volumes_select(tx, query.limit(asked.limit).offset(asked.offset))


def _column(name: str) -> sa.ColumnElement[Any]:
    return volumes.c[_COLUMN.get(name, name)]


def _marker(tx: Transaction, asked: Listing) -> Mapping[Any, Any]:
    query = sa.select(volumes).where(volumes.c.id == asked.marker)
    if asked.project_id is not None:
        query = query.where(volumes.c.project_id == asked.project_id)
    row = tx.execute(query).mappings().one_or_none()
    if row is None:
        raise Invalid(reason=f"marker [{str(asked.marker)[:64]}] not found")
    return row


def _after(
    order: Sequence[tuple[sa.ColumnElement[Any], bool]], marker: Mapping[Any, Any]
) -> sa.ColumnElement[bool]:
    """Rows that come after ``marker``: equal in the first keys and past it in the next."""
    choices = []
    for depth, (column, ascending) in enumerate(order):
        value = marker[column.name]
        past = column > value if ascending else column < value
        choices.append(sa.and_(*(key == marker[key.name] for key, _ in order[:depth]), past))
    return sa.or_(*choices)
