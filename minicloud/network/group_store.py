"""Queries on security groups and their rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.network import attributes
from minicloud.network.listing import rows_list
from minicloud.network.models import port_security_groups, security_group_rules, security_groups
from minicloud.network.query import ListQuery
from minicloud.network.records import Group, Rule, from_row
from minicloud.network.store import Visible

# Statements are made once: to make one costs several times what it costs to run it.
_THESE: sa.BindParameter[Any] = sa.bindparam("these", expanding=True)
_GET = sa.select(security_groups).where(security_groups.c.id == sa.bindparam("this"))
_GET_LOCKED = _GET.with_for_update(key_share=True)
_OWNERS = sa.select(security_groups.c.id, security_groups.c.project_id).where(
    security_groups.c.id.in_(_THESE)
)
_IN_ORDER = (
    sa.select(security_groups)
    .where(security_groups.c.id.in_(_THESE))
    .order_by(security_groups.c.id)
)
_RULES = (
    sa.select(security_group_rules)
    .where(security_group_rules.c.security_group_id.in_(_THESE))
    .order_by(security_group_rules.c.created_at, security_group_rules.c.id)
)


def group_get(tx: Transaction, group_id: str, *, lock: bool = False) -> Group | None:
    row = tx.execute(_GET_LOCKED if lock else _GET, {"this": group_id}).mappings().first()
    return _filled(tx, [from_row(row, Group)])[0] if row else None


def group_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[Group]:
    rows = rows_list(tx, attributes.GROUPS, query, visible)
    return _filled(tx, [from_row(row, Group) for row in rows])


def groups_of(tx: Transaction, group_ids: Iterable[str]) -> list[Group]:
    """These groups with their rules, in the order of their ids; two queries."""
    rows = tx.execute(_IN_ORDER, {"these": list(set(group_ids))}).mappings()
    return _filled(tx, [from_row(row, Group) for row in rows])


def group_owners(tx: Transaction, group_ids: Iterable[str]) -> dict[str, str]:
    """id -> project id of the groups that exist."""
    rows = tx.execute(_OWNERS, {"these": list(set(group_ids))})
    return {row.id: row.project_id for row in rows}


def group_has_ports(tx: Transaction, group_id: str) -> bool:
    link = port_security_groups
    statement = sa.select(link.c.port_id).where(link.c.security_group_id == group_id)
    return tx.execute(statement.limit(1)).first() is not None


def rule_get(tx: Transaction, rule_id: str) -> Rule | None:
    statement = sa.select(security_group_rules).where(security_group_rules.c.id == rule_id)
    row = tx.execute(statement).mappings().first()
    return from_row(row, Rule) if row else None


def rule_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[Rule]:
    rows = rows_list(tx, attributes.RULES, query, visible)
    return [from_row(row, Rule) for row in rows]


def _filled(tx: Transaction, found: Sequence[Group]) -> list[Group]:
    """``found`` with their rules: one query however many there are."""
    rules: dict[str, list[Rule]] = {group.id: [] for group in found}
    if rules:
        for row in tx.execute(_RULES, {"these": list(rules)}).mappings():
            rules[row["security_group_id"]].append(from_row(row, Rule))
    return [msgspec.structs.replace(group, rules=rules[group.id]) for group in found]
