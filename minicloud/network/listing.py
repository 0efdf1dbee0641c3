"""One SELECT for any list: visibility, filters, sorting and keyset paging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import Invalid
from minicloud.kit.db import Transaction
from minicloud.network import sharing
from minicloud.network.attributes import Collection
from minicloud.network.models import addresses, port_security_groups, tags
from minicloud.network.query import ListQuery


def rows_list(
    tx: Transaction, collection: Collection, query: ListQuery, visible: sa.ColumnElement[bool]
) -> Sequence[Mapping[Any, Any]]:
    """The rows of the page that ``query`` asks for, as columns of the collection's table.

    Invalid for a marker that is no visible row, or sorting by what has no order.
    """
    table = collection.table
    statement = sa.select(table).select_from(collection.source).where(visible)
    for clause in _filters(collection, query):
        statement = statement.where(clause)
    order = _order(collection, query)
    if query.marker is not None:
        statement = statement.where(_after(tx, collection, order, query.marker, visible))
    statement = statement.order_by(
        *(column.desc() if descending else column.asc() for column, descending in order)
    )
    if query.limit is not None:
        statement = statement.limit(query.limit)
    rows = list(tx.execute(statement).mappings())
    return rows[::-1] if query.reverse else rows


def _filters(collection: Collection, query: ListQuery) -> Iterable[sa.ColumnElement[bool]]:
    for name, values in query.filters.items():
        attribute = collection.attributes[name]
        if name == "security_groups":
            yield _port_in_groups(collection.table, values)
        elif attribute.is_sharing:
            shared = sharing.shared_with(attribute.column.table, query.viewer)
            yield sa.or_(*((shared if value else sa.not_(shared)) for value in values))
        elif attribute.column is None:
            yield sa.true() if attribute.constant in values else sa.false()
        else:
            yield _among(attribute.column, values)
    if query.fixed_ips is not None and collection.plural == "ports":
        asked = query.fixed_ips
        inside = sa.select(addresses.c.port_id)
        if asked.numbers:
            inside = inside.where(addresses.c.number.in_(asked.numbers))
        if asked.parts:
            parts = (addresses.c.text.contains(part, autoescape=True) for part in asked.parts)
            inside = inside.where(sa.or_(*parts))
        if asked.subnet_ids:
            inside = inside.where(addresses.c.subnet_id.in_(asked.subnet_ids))
        yield collection.table.c.id.in_(inside)
    for name, wanted in query.tags.items():
        yield _tagged(collection.table, name, wanted)


def _among(column: Any, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """``column`` has one of ``values``; the empty string stands for nothing, too."""
    clause: sa.ColumnElement[bool] = column.in_([value for value in values if value is not None])
    return sa.or_(clause, column.is_(None)) if "" in values or None in values else clause


def _port_in_groups(table: sa.Table, groups: Sequence[Any]) -> sa.ColumnElement[bool]:
    link = port_security_groups
    chosen = sa.select(link.c.port_id).where(link.c.security_group_id.in_(groups))
    return table.c.id.in_(chosen)


def _tagged(table: sa.Table, name: str, wanted: Sequence[str]) -> sa.ColumnElement[bool]:
    any_of = table.c.id.in_(sa.select(tags.c.resource_id).where(tags.c.tag.in_(wanted)))
    if name.endswith("-any"):
        clause: sa.ColumnElement[bool] = any_of
    else:
        having = (
            sa.select(tags.c.resource_id)
            .where(tags.c.tag.in_(wanted))
            .group_by(tags.c.resource_id)
            .having(sa.func.count() == len(set(wanted)))
        )
        clause = table.c.id.in_(having)
    return sa.not_(clause) if name.startswith("not-") else clause


def _order(collection: Collection, query: ListQuery) -> list[tuple[Any, bool]]:
    """(column, descending) pairs that end with the id, so that no two rows are equal."""
    order: list[tuple[Any, bool]] = []
    for name, descending in query.sorts:
        column = collection.attributes[name].column
        if column is None or getattr(column, "nullable", False):
            raise Invalid(reason=f"['{name}'] is invalid attribute for sort_keys")
        order.append((column, descending != query.reverse))
    if not any(column is collection.table.c.id for column, _ in order):
        order.append((collection.table.c.id, query.reverse))
    return order


def _after(
    tx: Transaction,
    collection: Collection,
    order: Sequence[tuple[Any, bool]],
    marker: str,
    visible: sa.ColumnElement[bool],
) -> sa.ColumnElement[bool]:
    """Rows that come later than ``marker`` in ``order``."""
    found = tx.execute(
        sa.select(*(column.label(f"key{number}") for number, (column, _) in enumerate(order)))
        .select_from(collection.source)
        .where(visible, collection.table.c.id == marker)
    ).first()
    if found is None:
        raise Invalid(reason=f"marker {marker[:64]} could not be found.")
    later: list[sa.ColumnElement[bool]] = []
    equal: list[sa.ColumnElement[bool]] = []
    for (column, descending), value in zip(order, found, strict=True):
        beyond = column < value if descending else column > value
        later.append(sa.and_(*equal, beyond))
        equal.append(column == value)
    return sa.or_(*later)
