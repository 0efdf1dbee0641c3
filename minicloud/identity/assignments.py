"""Queries on role assignments and on which roles imply which.

An assignment's id is computed from who, where and which role, so giving a role twice is one row
however many ask at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    local: frozenset[str] = frozenset()
    """Roles that are one domain's: they are followed, and left out of what tokens have."""

    def tokens(self, role_ids: Iterable[str]) -> dict[str, str]:
        """``closure`` without the roles that are one domain's."""
        every = self.closure(role_ids)
        return {id_: name for id_, name in every.items() if id_ not in self.local}

    def closure(self, role_ids: Iterable[str]) -> dict[str, str]:
        """Role id -> name, of ``role_ids`` and all that they imply, in the order of names."""
        found: set[str] = set()
        waiting = list(role_ids)
        while waiting:
            role_id = waiting.pop()
            if role_id in self.names and role_id not in found:
                found.add(role_id)
                waiting.extend(self.implied.get(role_id, ()))
        return {each: self.names[each] for each in sorted(found, key=self.names.__getitem__)}


class ProjectTree(msgspec.Struct, frozen=True):
    children: Mapping[str, list[str]]
    """Project id -> ids of those directly below."""
    domains: Mapping[str, list[str]]
    """Domain id -> ids of all its projects."""

    def below(self, project_id: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self.children.get(project_id, ()))
        while waiting:
            one = waiting.pop()
            found.add(one)
            waiting += self.children.get(one, ())
        return found

    def in_domain(self, domain_id: str) -> set[str]:
        return set(self.domains.get(domain_id, ()))


def project_tree(tx: Transaction) -> ProjectTree:
    project = models.project.c
    children: dict[str, list[str]] = {}
    domains: dict[str, list[str]] = {}
    for row in tx.execute(sa.select(project.id, project.parent_id, project.domain_id)):
        domains.setdefault(row.domain_id, []).append(row.id)
        if row.parent_id is not None:
            children.setdefault(row.parent_id, []).append(row.id)
    return ProjectTree(children, domains)


def role_graph(tx: Transaction) -> RoleGraph:
    role = models.role.c
    every = tx.execute(sa.select(role.id, role.name, role.domain_id)).all()
    names = {row.id: row.name for row in every}
    local = frozenset(row.id for row in every if row.domain_id is not None)
    implied: dict[str, set[str]] = {}
    for row in tx.execute(sa.select(_implied)):
        implied.setdefault(row.prior_role_id, set()).add(row.implied_role_id)
    return RoleGraph(names, {prior: frozenset(ids) for prior, ids in implied.items()}, local)


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
    values = [str(value) for value in msgspec.structs.astuple(assignment)[:-1]]
    return derive("assignment", *values, *(["inherited"] if assignment.inherited else []))


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


def _of_user(user_id: str) -> sa.ColumnElement[bool]:
    groups = sa.select(models.membership.c.group_id).where(models.membership.c.user_id == user_id)
    return sa.or_(_assignment.c.user_id == user_id, _assignment.c.group_id.in_(groups))


def domains_of_user(user_id: str) -> sa.Select[Any]:
    """Query for the ids of the domains on which the user has a role."""
    place = _assignment.c.domain_id
    return sa.select(place).where(
        _of_user(user_id), place.is_not(None), sa.not_(_assignment.c.inherited)
    )


def projects_of_user(user_id: str) -> sa.CompoundSelect[Any]:
    """Query for the ids of the projects on which the user has a role, inherited ones too."""
    project = models.project
    mine, here = _of_user(user_id), _assignment.c
    direct = sa.select(here.project_id).where(
        mine, here.project_id.is_not(None), sa.not_(here.inherited)
    )
    in_domains = sa.select(project.c.id).where(
        project.c.domain_id.in_(sa.select(here.domain_id).where(mine, here.inherited))
    )
    below = (
        sa.select(project.c.id)
        .where(project.c.parent_id.in_(sa.select(here.project_id).where(mine, here.inherited)))
        .cte("below", recursive=True)
    )
    child = project.alias("child")
    below = below.union_all(sa.select(child.c.id).join(below, child.c.parent_id == below.c.id))
    return sa.union(direct, in_domains, sa.select(below.c.id))


def has_system_role(tx: Transaction, user_id: str) -> bool:
    query = sa.select(_assignment.c.id).where(_of_user(user_id), _assignment.c.system).limit(1)
    return tx.execute(query).first() is not None


def members_by_group(tx: Transaction) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for row in tx.execute(sa.select(models.membership).order_by(models.membership.c.user_id)):
        members.setdefault(row.group_id, []).append(row.user_id)
    return members
