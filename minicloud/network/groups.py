"""Security groups and their rules, with a default group for every project on first need.

The default group's id is computed from its project, so that making it twice at once makes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import Conflict, InUse, NotFound
from minicloud.domain.ids import derive, is_uuid
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import group_store, sharing, store
from minicloud.network.address_groups import address_group_seen
from minicloud.network.caller import Caller
from minicloud.network.default_rules import rules_of_new_group
from minicloud.network.models import security_group_rules, security_groups
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import Group
from minicloud.network.rules import rule_values
from minicloud.network.schemas import GroupCreate, GroupUpdate, RuleCreate, given, owner_named
from minicloud.network.views import group_view, rule_view

DEFAULT = "default"


class Groups:
    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    @staticmethod
    def default_id(project_id: str) -> str:
        return derive("default-security-group", project_id)

    def ensure_default(self, tx: Transaction, project_id: str) -> None:
        """Make the project's default group unless it exists; the project's row gets locked."""
        store.project_lock(tx, project_id)
        group_id = self.default_id(project_id)
        if group_store.group_owners(tx, [group_id]):
            return
        values = {
            **store.standard_values(project_id, group_id),
            "name": DEFAULT,
            "description": "Default security group",
            "is_default": True,
            "stateful": True,
            "shared": False,
        }
        if not store.row_insert(tx, security_groups, values):
            return
        _insert_first_rules(tx, group_id, project_id, is_default=True)

    def check_usable(
        self, tx: Transaction, caller: Caller, project_id: str, group_ids: Sequence[str]
    ) -> None:
        """NotFound for a group that neither the caller nor the project has or shares."""
        owners = group_store.group_owners(tx, group_ids)
        shared = sharing.shared_ids(tx, owners, project_id)
        for group_id in group_ids:
            usable = (
                caller.is_privileged
                or owners.get(group_id) in (caller.project_id, project_id)
                or group_id in shared
            )
            if group_id not in owners or not usable:
                raise NotFound(kind="Security Group", id=group_id)

    # -- groups ----------------------------------------------------------------------------------
    def create(self, caller: Caller, bodies: Sequence[GroupCreate]) -> list[dict[str, Any]]:
        """All or none. QuotaExceeded, Forbidden, Conflict for the name ``default``."""
        wanted = [
            (body, caller.owner_of(owner_named(body), "create_security_group")) for body in bodies
        ]
        made = []
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                self.ensure_default(tx, owner)
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, security_group=amount)
            for body, owner in wanted:
                values = {
                    **store.standard_values(owner),
                    "is_default": False,
                    "stateful": True,
                    "shared": False,
                    **given(body, "name", "description", "stateful"),
                }
                if values["name"] == DEFAULT:
                    raise Conflict(
                        type="SecurityGroupDefaultAlreadyExists",
                        reason="Every project has a default security group already.",
                    )
                store.row_insert(tx, security_groups, values)
                store.tags_given(tx, values["id"], body)
                _insert_first_rules(tx, values["id"], owner, is_default=False)
                made.append(group_seen(tx, caller, values["id"]))
            return _views(tx, caller, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        asked = [*query.filters.get("project_id", ()), *query.filters.get("tenant_id", ())]
        named = {name for name in asked if is_uuid(name)} if caller.sees_all else set()
        visible = sharing.visible(security_groups, caller.project_id, sees_all=caller.sees_all)
        self._ensure_defaults({caller.project_id} - {""} | named)
        with self._database.read() as tx:
            return _views(tx, caller, group_store.group_list(tx, query, visible))

    def show(self, caller: Caller, group_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, caller, [group_seen(tx, caller, group_id)])[0]

    def update(self, caller: Caller, group_id: str, body: GroupUpdate) -> dict[str, Any]:
        with self._database.write() as tx:
            group = group_seen(tx, caller, group_id, lock=True)
            caller.may_change("update_security_group", group)
            values = given(body, "name", "description", "stateful")
            _check_stateful(tx, group, values)
            if group.is_default and values.get("name", DEFAULT) != DEFAULT:
                raise Conflict(
                    type="SecurityGroupCannotUpdateDefault",
                    reason="The default security group keeps its name.",
                )
            if not group.is_default and values.get("name") == DEFAULT:
                raise Conflict(
                    type="SecurityGroupDefaultAlreadyExists",
                    reason="Every project has a default security group already.",
                )
            store.row_update(tx, security_groups, group.id, clock.now(), values)
            return _views(tx, caller, [group_seen(tx, caller, group_id)])[0]

    def delete(self, caller: Caller, group_id: str) -> None:
        """InUse while a port has it; the default group stays."""
        with self._database.write() as tx:
            group = group_seen(tx, caller, group_id, lock=True)
            caller.may_change("delete_security_group", group)
            if group.is_default and not caller.sees_all:
                raise Conflict(
                    type="SecurityGroupCannotRemoveDefault",
                    reason="The default security group cannot be removed.",
                )
            if not store.row_delete(tx, security_groups, group.id):
                raise InUse(
                    type="SecurityGroupInUse",
                    kind="Security Group",
                    id=group.id,
                    reason="ports have it",
                )

    # -- rules -----------------------------------------------------------------------------------
    def rule_create(self, caller: Caller, bodies: Sequence[RuleCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound for a group, Conflict for a rule that exists, Invalid."""
        with self._database.write() as tx:
            names = sorted({body.security_group_id for body in bodies})
            groups = {group_id: group_seen(tx, caller, group_id) for group_id in names}
            owners = [groups[body.security_group_id].project_id for body in bodies]
            for owner in sorted(set(owners)):
                caller.check("create_security_group_rule", {"project_id": owner})
                self._quotas.take(tx, owner, security_group_rule=owners.count(owner))
            for group_id in names:
                group_seen(tx, caller, group_id, lock=True)
            views = []
            for body, owner in zip(bodies, owners, strict=True):
                if body.remote_group_id is not None:
                    self.check_usable(tx, caller, owner, [body.remote_group_id])
                if body.remote_address_group_id is not None:
                    address_group_seen(tx, caller, body.remote_address_group_id)
                rule_id = _insert_rule(tx, body, owner)
                rule = group_store.rule_get(tx, rule_id)
                assert rule is not None
                views.append(rule_view(rule, groups[body.security_group_id]))
                store.row_update(tx, security_groups, body.security_group_id, rule.created_at, {})
            return views

    def rule_find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sharing.visible(security_groups, caller.project_id, sees_all=caller.sees_all)
        self._ensure_defaults({caller.project_id} - {""})
        with self._database.read() as tx:
            return [rule_view(rule) for rule in group_store.rule_list(tx, query, visible)]

    def rule_show(self, caller: Caller, rule_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            rule = group_store.rule_get(tx, rule_id)
            if rule is None:
                raise NotFound(kind="Security Group Rule", id=rule_id)
            try:
                group = group_seen(tx, caller, rule.security_group_id)
            except NotFound:
                raise NotFound(kind="Security Group Rule", id=rule_id) from None
            return rule_view(rule, group)

    def rule_delete(self, caller: Caller, rule_id: str) -> None:
        with self._database.write() as tx:
            rule = group_store.rule_get(tx, rule_id)
            if rule is None or not (caller.sees_all or rule.project_id == caller.project_id):
                raise NotFound(kind="Security Group Rule", id=rule_id)
            caller.may_change("delete_security_group_rule", rule)
            group_store.group_get(tx, rule.security_group_id, lock=True)
            store.row_delete(tx, security_group_rules, rule.id)
            store.row_update(tx, security_groups, rule.security_group_id, clock.now(), {})

    def _ensure_defaults(self, project_ids: set[str]) -> None:
        """A write only where one is missing: lists are frequent."""
        with self._database.read() as tx:
            wanted = {self.default_id(project_id): project_id for project_id in project_ids}
            missing = wanted.keys() - group_store.group_owners(tx, wanted).keys()
        for group_id in sorted(missing):
            with self._database.write() as tx:
                self.ensure_default(tx, wanted[group_id])


def group_seen(tx: Transaction, caller: Caller, group_id: str, *, lock: bool = False) -> Group:
    group = group_store.group_get(tx, group_id, lock=lock)
    if group is None or not (
        caller.sees_all
        or group.project_id == caller.project_id
        or sharing.actions_for(tx, group.id, caller.project_id)
    ):
        raise NotFound(kind="Security Group", id=group_id)
    return group


def _views(tx: Transaction, caller: Caller, found: Sequence[Group]) -> list[dict[str, Any]]:
    names = [group.id for group in found]
    tags = store.tags_of(tx, names)
    shared = sharing.shared_ids(tx, names, caller.project_id)
    return [group_view(group, tags[group.id], shared=group.id in shared) for group in found]


def _check_stateful(tx: Transaction, group: Group, values: dict[str, Any]) -> None:
    """Conflict where ports have the group whose way with answers is to change."""
    if values.get("stateful", group.stateful) != group.stateful and group_store.group_has_ports(
        tx, group.id
    ):
        raise Conflict(
            type="SecurityGroupInUse",
            reason=f"Security Group {group.id} in use: ports have it, so that its stateful "
            "attribute cannot be changed.",
        )


def _insert_first_rules(
    tx: Transaction, group_id: str, project_id: str, *, is_default: bool
) -> None:
    for rule in rules_of_new_group(tx, group_id, is_default=is_default):
        _insert_rule(tx, rule, project_id)


def _insert_rule(tx: Transaction, body: RuleCreate, project_id: str) -> str:
    values = rule_values(body)
    standard = store.standard_values(project_id)
    described = given(body, "description")
    if not store.row_insert(tx, security_group_rules, {**standard, **values, **described}):
        raise Conflict(
            type="SecurityGroupRuleExists",
            reason=f"Security group {body.security_group_id} has this rule already.",
        )
    return str(standard["id"])
