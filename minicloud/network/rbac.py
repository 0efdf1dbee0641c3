"""RBAC policies: an object of one project that others may see and use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.domain.ids import new_id
from minicloud.kit.db import Database, Transaction
from minicloud.network import sharing, store
from minicloud.network.caller import Caller
from minicloud.network.listing import rows_list
from minicloud.network.models import rbac_policies
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import RbacPolicy, from_row
from minicloud.network.schemas import owner_named
from minicloud.network.sharing_attributes import POLICIES
from minicloud.network.sharing_schemas import RbacCreate, RbacUpdate


class Rbac:
    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def create(self, caller: Caller, bodies: Sequence[RbacCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound for the object, Conflict for a policy that exists, Forbidden."""
        wanted = [
            (body, caller.owner_of(owner_named(body), "create_rbac_policy")) for body in bodies
        ]
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, rbac_policy=amount)
            return [rbac_view(_insert(tx, caller, body, owner)) for body, owner in wanted]

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sa.true() if caller.sees_all else rbac_policies.c.project_id == caller.project_id
        with self._database.read() as tx:
            rows = rows_list(tx, POLICIES, query, visible)
            return [rbac_view(from_row(row, RbacPolicy)) for row in rows]

    def show(self, caller: Caller, policy_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return rbac_view(_seen(tx, caller, policy_id))

    def update(self, caller: Caller, policy_id: str, body: RbacUpdate) -> dict[str, Any]:
        """Another target. Conflict where the present one needs the object."""
        with self._database.write() as tx:
            policy = _seen(tx, caller, policy_id)
            caller.check("update_rbac_policy", {"project_id": policy.project_id})
            _check_target(caller, body.target_tenant, policy.project_id)
            store.row_lock(tx, sharing.KINDS[policy.object_type].table, policy.object_id)
            _check_unneeded(tx, policy, body.target_tenant)
            values = {"target_project": body.target_tenant}
            try:
                with tx.begin_nested():
                    store.row_set(tx, rbac_policies, policy.id, values)
            except store.IntegrityError:
                raise _exists() from None
            sharing.repeat_flags(tx, policy.object_type, policy.object_id)
            return rbac_view(_seen(tx, caller, policy_id))

    def delete(self, caller: Caller, policy_id: str) -> None:
        """Conflict where its target needs the object."""
        with self._database.write() as tx:
            policy = _seen(tx, caller, policy_id)
            caller.check("delete_rbac_policy", {"project_id": policy.project_id})
            store.row_lock(tx, sharing.KINDS[policy.object_type].table, policy.object_id)
            _check_unneeded(tx, policy, None)
            store.row_delete(tx, rbac_policies, policy.id)
            sharing.repeat_flags(tx, policy.object_type, policy.object_id)


def rbac_view(policy: RbacPolicy) -> dict[str, Any]:
    return {
        "id": policy.id,
        "project_id": policy.project_id,
        "tenant_id": policy.project_id,
        "object_type": policy.object_type,
        "object_id": policy.object_id,
        "action": policy.action,
        "target_tenant": policy.target_project,
    }


def _insert(tx: Transaction, caller: Caller, body: RbacCreate, owner: str) -> RbacPolicy:
    kind = sharing.KINDS[body.object_type]
    if body.action not in kind.actions:
        raise Invalid(
            type="InvalidInput",
            reason=f"Action '{body.action}' is not valid for object type "
            f"'{body.object_type}'. Valid actions: {', '.join(kind.actions)}.",
        )
    object_owner = store.row_lock(tx, kind.table, body.object_id)
    if object_owner is None or not (caller.sees_all or object_owner == caller.project_id):
        raise NotFound(kind=kind.kind, id=body.object_id)
    _check_target(caller, body.target_tenant, owner)
    if body.action == sharing.EXTERNAL and not caller.sees_all:
        raise Forbidden(action="create_rbac_policy:access_as_external")
    policy = RbacPolicy(
        id=new_id(),
        project_id=owner,
        object_type=body.object_type,
        object_id=body.object_id,
        action=body.action,
        target_project=body.target_tenant,
    )
    if not store.row_insert(tx, rbac_policies, {
        name: getattr(policy, name) for name in policy.__struct_fields__
    }):  # fmt: skip
        raise _exists()
    sharing.repeat_flags(tx, policy.object_type, policy.object_id)
    return policy


def _seen(tx: Transaction, caller: Caller, policy_id: str) -> RbacPolicy:
    statement = sa.select(rbac_policies).where(rbac_policies.c.id == policy_id)
    row = tx.execute(statement).mappings().first()
    if row is None or not (caller.sees_all or row["project_id"] == caller.project_id):
        raise NotFound(type="RbacPolicyNotFound", kind="RBAC policy", id=policy_id)
    return from_row(row, RbacPolicy)


def _check_target(caller: Caller, target: str, project_id: str) -> None:
    """Only administrators share something with everybody."""
    if target == sharing.EVERYBODY:
        caller.check("create_rbac_policy:target_tenant", {"project_id": project_id})


def _check_unneeded(tx: Transaction, policy: RbacPolicy, instead: str | None) -> None:
    """Conflict where a project needs the object that would no longer be allowed to."""
    left = sharing.targets_of(tx, policy.object_id, policy.action) - {policy.target_project}
    if instead is not None:
        left |= {instead}
    losing = sharing.strangers(tx, policy.object_type, policy.action, policy.object_id, left)
    if policy.target_project != sharing.EVERYBODY:
        losing &= {policy.target_project}
    if losing:
        raise Conflict(
            type="RbacPolicyInUse",
            reason=f"RBAC policy on object {policy.object_id} cannot be removed because other "
            f"objects depend on it. Details: used by {', '.join(sorted(losing))}.",
        )


def _exists() -> Conflict:
    return Conflict(
        type="DuplicateRbacPolicy",
        reason="An RBAC policy already exists with those values.",
    )
