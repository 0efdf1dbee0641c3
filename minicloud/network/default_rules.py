"""The rules that every new security group begins with, for administrators to choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import Conflict, NotFound
from minicloud.kit.db import Database, Transaction
from minicloud.network import group_store, store
from minicloud.network.address_groups import address_group_seen
from minicloud.network.caller import Caller
from minicloud.network.listing import rows_list
from minicloud.network.models import default_rules
from minicloud.network.query import ListQuery
from minicloud.network.records import DefaultRule, from_row
from minicloud.network.rules import rule_values
from minicloud.network.schemas import DefaultRuleCreate, RuleCreate, given
from minicloud.network.sharing_attributes import DEFAULT_RULES

PARENT = "PARENT"
"""The remote group of a default rule that means the new group itself."""


class DefaultRules:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, caller: Caller, bodies: Sequence[DefaultRuleCreate]) -> list[dict[str, Any]]:
        """All or none. Conflict for a rule that exists, NotFound, Invalid."""
        with self._database.write() as tx:
            return [default_rule_view(_insert(tx, caller, body)) for body in bodies]

    def find(self, _caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        with self._database.read() as tx:
            rows = rows_list(tx, DEFAULT_RULES, query, sa.true())
            return [default_rule_view(from_row(row, DefaultRule)) for row in rows]

    def show(self, _caller: Caller, rule_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return default_rule_view(_seen(tx, rule_id))

    def delete(self, _caller: Caller, rule_id: str) -> None:
        with self._database.write() as tx:
            store.row_delete(tx, default_rules, _seen(tx, rule_id).id)


def rules_of_new_group(tx: Transaction, group_id: str, *, is_default: bool) -> list[RuleCreate]:
    """The rules that a new group gets."""
    column = (
        default_rules.c.used_in_default_sg if is_default else default_rules.c.used_in_non_default_sg
    )
    statement = (
        sa.select(default_rules)
        .where(column)
        .order_by(default_rules.c.created_at, default_rules.c.id)
    )
    rules = [from_row(row, DefaultRule) for row in tx.execute(statement).mappings()]
    return [
        RuleCreate(
            security_group_id=group_id,
            direction=rule.direction,
            ethertype=rule.ethertype,
            protocol=rule.protocol,
            port_range_min=rule.port_range_min,
            port_range_max=rule.port_range_max,
            remote_ip_prefix=rule.remote_ip_prefix,
            remote_group_id=group_id if rule.remote_group_id == PARENT else rule.remote_group_id,
            remote_address_group_id=rule.remote_address_group_id,
        )
        for rule in rules
    ]


def default_rule_view(rule: DefaultRule) -> dict[str, Any]:
    return {
        name: getattr(rule, name)
        for name in (
            "id", "description", "direction", "ethertype", "protocol", "port_range_min",
            "port_range_max", "remote_ip_prefix", "remote_group_id", "remote_address_group_id",
            "used_in_default_sg", "used_in_non_default_sg",
        )
    }  # fmt: skip


def _insert(tx: Transaction, caller: Caller, body: DefaultRuleCreate) -> DefaultRule:
    remote = body.remote_group_id
    if remote not in (None, PARENT) and group_store.group_get(tx, str(remote)) is None:
        raise NotFound(kind="Security Group", id=remote)
    if body.remote_address_group_id is not None:
        address_group_seen(tx, caller, body.remote_address_group_id)
    values = rule_values(
        RuleCreate(
            security_group_id="",
            direction=body.direction,
            ethertype=body.ethertype,
            protocol=body.protocol,
            port_range_min=body.port_range_min,
            port_range_max=body.port_range_max,
            remote_ip_prefix=body.remote_ip_prefix,
            remote_group_id=remote,
            remote_address_group_id=body.remote_address_group_id,
        )
    )
    del values["security_group_id"]
    standard = store.standard_values("")
    used = {
        "used_in_default_sg": body.used_in_default_sg,
        "used_in_non_default_sg": body.used_in_non_default_sg,
    }
    described = given(body, "description")
    if not store.row_insert(tx, default_rules, {**standard, **values, **used, **described}):
        raise Conflict(
            type="DefaultSecurityGroupRuleExists",
            reason="Default Security group rule already exists.",
        )
    return _seen(tx, standard["id"])


def _seen(tx: Transaction, rule_id: str) -> DefaultRule:
    row = store.row_get(tx, default_rules, rule_id)
    if row is None:
        raise NotFound(kind="Default Security Group Rule", id=rule_id)
    return from_row(row, DefaultRule)
