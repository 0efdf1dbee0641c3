"""Lists of any noun: filters, sorting and pages, as one SQL query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Invalid
from minicloud.kit.db import Transaction


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What can be asked of a list of one noun. Wire name -> column."""

    table: sa.Table
    equal: Mapping[str, str] = {}
    """Filters on text."""
    numbers: Mapping[str, str] = {}
    flags: Mapping[str, str] = {}
    sort: Mapping[str, str]
    pairs: Mapping[str, sa.Table] = {}
    """Filters on metadata: tables with ``key``, ``value`` and, first, the noun's id."""

    def column(self, name: str) -> sa.ColumnElement[Any]:
        for names in (self.equal, self.numbers, self.flags, self.sort):
            if name in names:
                column: sa.ColumnElement[Any] = self.table.c[names[name]]
                return column
        raise KeyError(name)


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is asked for."""

    kind: Kind
    project_id: str | None
    """None: of all projects."""
    limit: int
    marker: str | None = None
    offset: int = 0
    sort: Sequence[tuple[str, bool]] = ()
    """(name of ``Kind.sort``, whether ascending)"""
    equal: Mapping[str, Any] = {}
    """Filter -> value of the column's type."""
    like: Mapping[str, str] = {}
    """Filter -> text that the column contains."""
    compare: Sequence[tuple[str, str, float]] = ()
    """(name, one of gt gte lt lte eq neq, value)"""
    pairs: Mapping[str, Mapping[str, str]] = {}
    """Filter of ``Kind.pairs`` -> pairs that the metadata has, all of them."""
    without: Mapping[str, str] = {}
    """Column -> what its values must not begin with."""
    among: Mapping[str, Sequence[str]] = {}
    """Column -> the values it may have."""


_COMPARE = {
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "eq": lambda column, value: column == value,
    "neq": lambda column, value: column != value,
}
COMPARISONS = tuple(_COMPARE)


def page(tx: Transaction, asked: Listing) -> sa.Select[Any]:
    """The query for a page. Invalid: the marker is nothing of the list's projects."""
    table = asked.kind.table
    query = _filtered(sa.select(table), asked)
    order = [(asked.kind.column(key), ascending) for key, ascending in asked.sort]
    if not order:
        order = [(table.c.created_at, False)]
    order.append((table.c.id, order[-1][1]))  # no two are equal
    if asked.marker is not None:
        query = query.where(_after(order, _marker(tx, asked)))
    query = query.order_by(*(column.asc() if up else column.desc() for column, up in order))
    return query.limit(asked.limit).offset(asked.offset)


def count(tx: Transaction, asked: Listing) -> int:
    """How many there are on all pages together."""
    query = _filtered(sa.select(sa.func.count()).select_from(asked.kind.table), asked)
    return int(tx.execute(query).scalar_one())


def _filtered(query: sa.Select[Any], asked: Listing) -> sa.Select[Any]:
    kind = asked.kind
    if asked.project_id is not None:
        query = query.where(kind.table.c.project_id == asked.project_id)
    for name, value in asked.equal.items():
        query = query.where(kind.column(name) == value)
    for name, text in asked.like.items():
        query = query.where(kind.column(name).contains(text, autoescape=True))
    for name, operator, number in asked.compare:
        query = query.where(_COMPARE[operator](kind.column(name), number))
    for name, values in asked.among.items():
        query = query.where(kind.table.c[name].in_(values))
    for name, beginning in asked.without.items():
        column = kind.table.c[name]
        query = query.where(
            sa.or_(column.is_(None), sa.not_(column.startswith(beginning, autoescape=True)))
        )
    for name, pairs in asked.pairs.items():
        table = kind.pairs[name]
        owner = next(iter(table.primary_key))
        for key, value in pairs.items():
            has = sa.exists().where(
                owner == kind.table.c.id, table.c.key == key, table.c.value == value
            )
            query = query.where(has.correlate(kind.table))
    return query


def _marker(tx: Transaction, asked: Listing) -> Mapping[Any, Any]:
    table = asked.kind.table
    query = sa.select(table).where(table.c.id == asked.marker)
    if asked.project_id is not None:
        query = query.where(table.c.project_id == asked.project_id)
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
