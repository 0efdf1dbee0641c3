"""Queries on role assignments and on which roles imply which.

An assignment's id is computed from who, where and which role, so giving a role twice is one row
however many ask at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotFound
from minicloud.domain.ids import derive
from minicloud.identity import models
from minicloud.identity.records import Assignment
from minicloud.kit.db import Transaction

_assignment, _implied = models.assignment, models.implied_role


class RoleGraph(msgspec.Struct, frozen=True):
    """Every role's name, and what each implies."""

    names: Mapping[str, str]
    implied: Mapping[str, frozenset[str]]
    """Role id -> ids it implies directly."""

    def closure(self, role_ids: frozenset[str]) -> dict[str, str]:
        """Role id -> name, of ``role_ids`` and all that they imply, in the order of names."""
        found: set[str] = set()
        waiting = list(role_ids)
        while waiting:
            role_id = waiting.pop()
            if role_id in self.names and role_id not in found:
                found.add(role_id)
                waiting.extend(self.implied.get(role_id, ()))
        return {each: self.names[each] for each in sorted(found, key=self.names.__getitem__)}


def role_graph(tx: Transaction) -> RoleGraph:
    names = {
        row.id: row.name for row in tx.execute(sa.select(models.role.c.id, models.role.c.name))
    }
    implied: dict[str, set[str]] = {}
    for row in tx.execute(sa.select(_implied)):
        implied.setdefault(row.prior_role_id, set()).add(row.implied_role_id)
    return RoleGraph(names, {prior: frozenset(ids) for prior, ids in implied.items()})


def implication_add(tx: Transaction, prior: str, implied: str) -> None:
    """Repeatable. NotFound where one of the roles has gone."""
    try:
        with tx.begin_nested():
            tx.execute(_implied.insert().values(prior_role_id=prior, implied_role_id=implied))
    except sa.exc.IntegrityError:
        if implied not in role_graph(tx).implied.get(prior, ()):
            raise NotFound(kind="Role", id=implied) from None


def implication_remove(tx: Transaction, prior: str, implied: str) -> bool:
    statement = _implied.delete().where(
        _implied.c.prior_role_id == prior, _implied.c.implied_role_id == implied
    )
    return tx.execute(statement).rowcount > 0


def assignment_id(assignment: Assignment) -> str:
    return derive("assignment", *(str(value) for value in msgspec.structs.astuple(assignment)))


def assignment_add(tx: Transaction, assignment: Assignment) -> None:
    """Repeatable. NotFound where the role, its holder or the place has gone."""
    if assignment_has(tx, assignment):
        return
    values = msgspec.structs.asdict(assignment)
    try:
        with tx.begin_nested():
            tx.execute(_assignment.insert().values(id=assignment_id(assignment), **values))
    except sa.exc.IntegrityError:
        if not assignment_has(tx, assignment):
            raise NotFound(kind="Role assignment", id=assignment.role_id) from None


def assignment_has(tx: Transaction, assignment: Assignment) -> bool:
    query = sa.select(_assignment.c.id).where(_assignment.c.id == assignment_id(assignment))
    return tx.execute(query).first() is not None


def assignment_remove(tx: Transaction, assignment: Assignment) -> bool:
    statement = _assignment.delete().where(_assignment.c.id == assignment_id(assignment))
    return tx.execute(statement).rowcount > 0


def assignment_list(tx: Transaction, equal: Mapping[str, Any]) -> list[Assignment]:
    """All assignments whose columns have these values."""
    columns = [_assignment.c[name] for name in Assignment.__struct_fields__]
    query = sa.select(*columns).order_by(_assignment.c.id)
    for column, value in equal.items():
        query = query.where(_assignment.c[column] == value)
    return [Assignment(**row._mapping) for row in tx.execute(query)]


def places_of_user(user_id: str, column: str) -> sa.Select[Any]:
    """Query for the project_id or domain_id of every place where the user has a role."""
    groups = sa.select(models.membership.c.group_id).where(models.membership.c.user_id == user_id)
    mine = sa.or_(_assignment.c.user_id == user_id, _assignment.c.group_id.in_(groups))
    place = _assignment.c[column]
    return sa.select(place).where(mine, place.is_not(None))


def has_system_role(tx: Transaction, user_id: str) -> bool:
    groups = sa.select(models.membership.c.group_id).where(models.membership.c.user_id == user_id)
    mine = sa.or_(_assignment.c.user_id == user_id, _assignment.c.group_id.in_(groups))
    query = sa.select(_assignment.c.id).where(mine, _assignment.c.system).limit(1)
    return tx.execute(query).first() is not None


def members_by_group(tx: Transaction) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for row in tx.execute(sa.select(models.membership).order_by(models.membership.c.user_id)):
        members.setdefault(row.group_id, []).append(row.user_id)
    return members
