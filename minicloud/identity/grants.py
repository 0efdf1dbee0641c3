"""Who has which role where: giving, taking, checking, and the list of all role assignments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from minicloud.domain.errors import Invalid, NotFound
from minicloud.identity import assignments, store
from minicloud.identity.assignments import RoleGraph
from minicloud.identity.records import Assignment, Role
from minicloud.kit.db import Database, Transaction


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment as a list shows it, and where an effective one comes from."""

    assignment: Assignment
    through_group: str | None = None
    prior_role: str | None = None


class Names(msgspec.Struct, frozen=True):
    """Names for a list of assignments: id -> (name, domain id, domain name)."""

    users: Mapping[str, tuple[str, str, str]]
    groups: Mapping[str, tuple[str, str, str]]
    projects: Mapping[str, tuple[str, str, str]]
    domains: Mapping[str, str]
    roles: Mapping[str, str]


class Grants:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, assignment: Assignment) -> None:
        """Repeatable. NotFound where an end is missing."""
        with self._database.write() as tx:
            _ends_exist(tx, assignment)
            assignments.assignment_add(tx, assignment)

    def take(self, assignment: Assignment) -> None:
        """NotFound where it was not given."""
        with self._database.write() as tx:
            _ends_exist(tx, assignment)
            if not assignments.assignment_remove(tx, assignment):
                raise NotFound(kind="Role assignment", id=assignment.role_id)

    def check(self, assignment: Assignment) -> None:
        """NotFound where it was not given."""
        with self._database.read() as tx:
            _ends_exist(tx, assignment)
            if not assignments.assignment_has(tx, assignment):
                raise NotFound(kind="Role assignment", id=assignment.role_id)

    def roles(self, holder_and_place: Assignment) -> list[Role]:
        """The roles given directly to one holder at one place; ``role_id`` is not looked at."""
        equal = msgspec.structs.asdict(holder_and_place)
        del equal["role_id"]
        with self._database.read() as tx:
            _ends_exist(tx, holder_and_place)
            found = assignments.assignment_list(tx, equal)
            return store.roles.list(tx, ids=[each.role_id for each in found])

    def list(
        self, equal: Mapping[str, str | bool], *, effective: bool, with_names: bool
    ) -> tuple[list[Shown], Names | None]:
        """Assignments by user_id, group_id, role_id, project_id, domain_id and system.

        ``effective``: what tokens have: groups as their users, and implied roles too.
        """
        if effective and "group_id" in equal:
            raise Invalid(reason="Effective assignments are of users, not of groups.")
        if "user_id" in equal and "group_id" in equal:
            raise Invalid(reason="Ask for a user's assignments or for a group's.")
        with self._database.read() as tx:
            if effective:
                places = {k: v for k, v in equal.items() if k not in ("user_id", "role_id")}
                every = assignments.assignment_list(tx, places)
                graph, members = assignments.role_graph(tx), assignments.members_by_group(tx)
                shown = [
                    each
                    for each in _expanded(every, graph, members)
                    if equal.get("user_id") in (None, each.assignment.user_id)
                    and equal.get("role_id") in (None, each.assignment.role_id)
                ]
            else:
                shown = [Shown(assignment=a) for a in assignments.assignment_list(tx, equal)]
            return shown, _names(tx) if with_names else None

    def graph(self) -> RoleGraph:
        with self._database.read() as tx:
            return assignments.role_graph(tx)

    def imply(self, prior: str, implied: str) -> None:
        """Repeatable. NotFound; Invalid where a role would imply itself."""
        with self._database.write() as tx:
            store.roles.get(tx, prior)
            store.roles.get(tx, implied)
            if prior in assignments.role_graph(tx).closure(frozenset({implied})):
                raise Invalid(reason="A role cannot imply itself.")
            assignments.implication_add(tx, prior, implied)
            store.generation_raise(tx)

    def imply_no_more(self, prior: str, implied: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            if not assignments.implication_remove(tx, prior, implied):
                raise NotFound(kind="Implied role", id=implied)
            store.generation_raise(tx)


def _ends_exist(tx: Transaction, assignment: Assignment) -> None:
    if assignment.role_id:
        store.roles.get(tx, assignment.role_id)
    if assignment.user_id is not None:
        store.users.get(tx, assignment.user_id)
    if assignment.group_id is not None:
        store.groups.get(tx, assignment.group_id)
    if assignment.project_id is not None:
        store.projects.get(tx, assignment.project_id)
    if assignment.domain_id is not None:
        store.domains.get(tx, assignment.domain_id)


def _expanded(
    every: list[Assignment], graph: RoleGraph, members: Mapping[str, list[str]]
) -> Iterator[Shown]:
    seen: set[Assignment] = set()
    for given in every:
        group = given.group_id
        holders = [given.user_id] if group is None else members.get(group, [])
        for user_id in holders:
            # The role itself comes first, so that it is not shown as an implied one.
            implied = [r for r in graph.closure(frozenset({given.role_id})) if r != given.role_id]
            for role_id in [given.role_id, *implied]:
                one = msgspec.structs.replace(
                    given, user_id=user_id, group_id=None, role_id=role_id
                )
                if one not in seen:
                    seen.add(one)
                    prior = given.role_id if role_id != given.role_id else None
                    yield Shown(assignment=one, through_group=group, prior_role=prior)


def _names(tx: Transaction) -> Names:
    domains = {each.id: each.name for each in store.domains.list(tx)}

    def named(rows: list[tuple[str, str, str]]) -> dict[str, tuple[str, str, str]]:
        return {id_: (name, domain, domains.get(domain, "")) for id_, name, domain in rows}

    return Names(
        users=named([(u.id, u.name, u.domain_id) for u in store.users.list(tx)]),
        groups=named([(g.id, g.name, g.domain_id) for g in store.groups.list(tx)]),
        projects=named([(p.id, p.name, p.domain_id) for p in store.projects.list(tx)]),
        domains=domains,
        roles={each.id: each.name for each in store.roles.list(tx)},
    )
