"""Limits of projects and of users within them, and the lock under which usage is counted."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from minicloud.db.models import project_locks, quota_classes, quotas, user_quotas
from minicloud.kit.db import Transaction

DEFAULT_CLASS = "default"
"""The class of every project."""
_OF_PROJECT = sa.select(quotas).where(quotas.c.project_id == sa.bindparam("project"))
_OF_USER = sa.select(user_quotas).where(
    user_quotas.c.project_id == sa.bindparam("project"),
    user_quotas.c.user_id == sa.bindparam("user"),
)
_OF_CLASS = sa.select(quota_classes).where(quota_classes.c.name == sa.bindparam("class"))


def project_lock(tx: Transaction, project_id: str) -> None:
    """Hold the project until the transaction ends, so that usage counted stays true.

    On SQLite a write transaction holds the whole database already.
    """
    if tx.dialect.name == "sqlite":
        return
    try:
        with tx.begin_nested():
            tx.execute(project_locks.insert().values(project_id=project_id))
    except sa.exc.IntegrityError:
        pass  # it is there: lock it below
    tx.execute(
        sa.select(project_locks).where(project_locks.c.project_id == project_id).with_for_update()
    )


def quota_limits(
    tx: Transaction, project_id: str, defaults: Mapping[str, int], *, user_id: str = ""
) -> Mapping[str, int]:
    """Resource -> limit of the project, or of the user within it; -1: none."""
    rows = tx.execute(_OF_PROJECT, {"project": project_id}).all()
    own = {row.resource: row.limit for row in rows if row.resource in defaults}
    if user_id:
        own.update(user_limits(tx, project_id, user_id))
    return {**class_limits(tx, DEFAULT_CLASS, defaults), **own}


def user_limits(tx: Transaction, project_id: str, user_id: str) -> Mapping[str, int]:
    """Resource -> limit, where the user's own differs from the project's."""
    rows = tx.execute(_OF_USER, {"project": project_id, "user": user_id})
    return {row.resource: row.limit for row in rows}


def given_to_users(tx: Transaction, project_id: str) -> Mapping[str, int]:
    """Resource -> the sum of what users within the project may have of it."""
    rows = tx.execute(sa.select(user_quotas).where(user_quotas.c.project_id == project_id))
    given: dict[str, int] = {}
    for row in rows:
        given[row.resource] = given.get(row.resource, 0) + row.limit
    return given


def class_limits(tx: Transaction, name: str, defaults: Mapping[str, int]) -> Mapping[str, int]:
    """Resource -> limit of the quota class: its own, else the configured one."""
    rows = tx.execute(_OF_CLASS, {"class": name})
    return {**defaults, **{row.resource: row.limit for row in rows if row.resource in defaults}}


def class_set(tx: Transaction, name: str, limits: Mapping[str, int]) -> None:
    """Give the quota class limits of its own for the resources named."""
    tx.execute(
        quota_classes.delete().where(
            quota_classes.c.name == name, quota_classes.c.resource.in_(list(limits))
        )
    )
    for resource, limit in limits.items():
        tx.execute(quota_classes.insert().values(name=name, resource=resource, limit=limit))


def quota_set(
    tx: Transaction, project_id: str, limits: Mapping[str, int], *, user_id: str = ""
) -> None:
    """Give the project, or the user within it, limits of its own for the resources named."""
    table, owner = quotas, {"project_id": project_id}
    if user_id:
        table, owner = user_quotas, {**owner, "user_id": user_id}
    own = [table.c[name] == value for name, value in owner.items()]
    tx.execute(table.delete().where(*own, table.c.resource.in_(list(limits))))
    if limits:
        tx.execute(
            table.insert(),
            [{**owner, "resource": resource, "limit": limit} for resource, limit in limits.items()],
        )


def quota_reset(tx: Transaction, project_id: str, *, user_id: str = "") -> None:
    """Take away the user's limits, or the project's with those of all its users."""
    of_users = user_quotas.delete().where(user_quotas.c.project_id == project_id)
    if user_id:
        tx.execute(of_users.where(user_quotas.c.user_id == user_id))
        return
    tx.execute(of_users)
    tx.execute(quotas.delete().where(quotas.c.project_id == project_id))
