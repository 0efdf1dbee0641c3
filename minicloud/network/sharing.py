"""Whom objects are shared with: clauses and queries over ``rbac_policies``.

An object's ``shared`` flag repeats that it is shared with everybody (``*``), and a network's
``external`` that it is external for somebody; who changes one changes the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.ids import new_id
from minicloud.kit.db import Transaction
from minicloud.network import models
from minicloud.network.models import rbac_policies

SHARED = "access_as_shared"
EXTERNAL = "access_as_external"
EVERYBODY = "*"

# Statements are made once: to make one costs several times what it costs to run it.
_FOR = rbac_policies.c.target_project.in_(sa.bindparam("whom", expanding=True))
_SHARED_IDS = sa.select(rbac_policies.c.object_id).where(
    rbac_policies.c.object_id.in_(sa.bindparam("these", expanding=True)),
    rbac_policies.c.action == SHARED,
    _FOR,
)
_ACTIONS = sa.select(rbac_policies.c.action).where(
    rbac_policies.c.object_id == sa.bindparam("this"), _FOR
)


class Shareable(msgspec.Struct, frozen=True):
    """One kind of object: its name in policies and in errors."""

    object_type: str
    kind: str
    table: sa.Table
    actions: Sequence[str] = (SHARED,)


KINDS: Mapping[str, Shareable] = {
    kind.object_type: kind
    for kind in (
        Shareable("network", "Network", models.networks, (SHARED, EXTERNAL)),
        Shareable("security_group", "Security Group", models.security_groups),
        Shareable("address_scope", "Address Scope", models.address_scopes),
        Shareable("subnetpool", "Subnet Pool", models.subnet_pools),
        Shareable("address_group", "Address Group", models.address_groups),
    )
}


def visible(table: sa.Table, project_id: str, *, sees_all: bool) -> sa.ColumnElement[bool]:
    """Which rows of a shareable table a project sees: its own, and those shared with it."""
    if sees_all:
        return sa.true()
    return sa.or_(table.c.project_id == project_id, shared_with(table, project_id, None))


def shared_with(
    table: sa.Table, project_id: str, action: str | None = SHARED
) -> sa.ColumnElement[bool]:
    """Which rows of a table are shared with a project; None: by any action."""
    chosen = sa.select(rbac_policies.c.object_id).where(_for(project_id))
    if action is not None:
        chosen = chosen.where(rbac_policies.c.action == action)
    return table.c.id.in_(chosen)


def shared_ids(tx: Transaction, object_ids: Iterable[str], project_id: str) -> set[str]:
    """Those of the objects that are shared with the project; one query."""
    wanted = list(set(object_ids))
    return set(tx.execute(_SHARED_IDS, {"these": wanted, **_whom(project_id)}).scalars())


def actions_for(tx: Transaction, object_id: str, *project_ids: str) -> set[str]:
    """What any of the projects may do with the object."""
    asked = {"this": object_id, "whom": [EVERYBODY, *project_ids]}
    return set(tx.execute(_ACTIONS, asked).scalars())


def targets_of(tx: Transaction, object_id: str, action: str) -> set[str]:
    """The projects, or everybody, that ``action`` on the object is allowed to."""
    statement = sa.select(rbac_policies.c.target_project).where(
        rbac_policies.c.object_id == object_id, rbac_policies.c.action == action
    )
    return set(tx.execute(statement).scalars())


def strangers(
    tx: Transaction, object_type: str, action: str, object_id: str, allowed: set[str]
) -> set[str]:
    """The projects that use the object and neither own it nor are ``allowed`` to."""
    if EVERYBODY in allowed:
        return set()
    table = KINDS[object_type].table
    owner = sa.select(table.c.project_id).where(table.c.id == object_id)
    users: set[str] = set()
    for statement in _uses(object_type, action, object_id):
        users |= set(tx.execute(statement.distinct()).scalars())
    return users - allowed - {tx.execute(owner).scalar_one(), ""}


def _uses(object_type: str, action: str, object_id: str) -> list[sa.Select[Any]]:
    """Queries for the projects whose things need the object."""
    if action == EXTERNAL:
        routers, floating = models.routers, models.floating_ips
        return [
            sa.select(routers.c.project_id).where(routers.c.external_network_id == object_id),
            sa.select(floating.c.project_id).where(floating.c.floating_network_id == object_id),
        ]
    if object_type == "security_group":
        link = models.port_security_groups
        return [
            sa.select(models.ports.c.project_id)
            .join(link, link.c.port_id == models.ports.c.id)
            .where(link.c.security_group_id == object_id)
        ]
    table, column = _USERS[object_type]
    return [sa.select(table.c.project_id).where(column == object_id)]


_USERS: Mapping[str, tuple[sa.Table, sa.Column[Any]]] = {
    "network": (models.ports, models.ports.c.network_id),
    "subnetpool": (models.subnets, models.subnets.c.subnetpool_id),
    "address_scope": (models.subnet_pools, models.subnet_pools.c.address_scope_id),
    "address_group": (
        models.security_group_rules,
        models.security_group_rules.c.remote_address_group_id,
    ),
}
"""Object type -> the table of what needs such an object, and the column that names it."""


def with_everybody(
    tx: Transaction, object_type: str, object_id: str, project_id: str, action: str, *, on: bool
) -> None:
    """Let everybody do ``action`` on the object, or nobody but those named one by one."""
    table = rbac_policies
    chosen = sa.and_(
        table.c.object_id == object_id,
        table.c.action == action,
        table.c.target_project == EVERYBODY,
    )
    if not on:
        tx.execute(sa.delete(table).where(chosen))
    elif tx.execute(sa.select(table.c.id).where(chosen)).first() is None:
        tx.execute(
            sa.insert(table).values(
                id=new_id(),
                project_id=project_id,
                object_type=object_type,
                object_id=object_id,
                action=action,
                target_project=EVERYBODY,
            )
        )


def forget_action(tx: Transaction, object_id: str, action: str) -> None:
    """Nobody may do ``action`` on the object any more."""
    table = rbac_policies
    chosen = sa.and_(table.c.object_id == object_id, table.c.action == action)
    tx.execute(sa.delete(table).where(chosen))


def repeat_flags(tx: Transaction, object_type: str, object_id: str) -> dict[str, Any]:
    """The object's flags, as its policies say; its row is locked."""
    targets = targets_of(tx, object_id, SHARED)
    flags: dict[str, Any] = {"shared": EVERYBODY in targets}
    if object_type == "network":
        flags["external"] = bool(targets_of(tx, object_id, EXTERNAL))
    table = KINDS[object_type].table
    tx.execute(sa.update(table).where(table.c.id == object_id).values(**flags))
    return flags


def _for(project_id: str) -> sa.ColumnElement[bool]:
    return rbac_policies.c.target_project.in_((EVERYBODY, project_id or EVERYBODY))


def _whom(project_id: str) -> dict[str, list[str]]:
    return {"whom": [EVERYBODY, project_id or EVERYBODY]}
