"""Who has which role where: giving, taking, checking, and the list of all role assignments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.identity import assignments, store
from minicloud.identity.assignments import ProjectTree, RoleGraph
from minicloud.identity.records import Assignment, Project, Role
from minicloud.kit.db import Database, Transaction


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment as a list shows it, and where an effective one comes from."""

    assignment: Assignment
    through_group: str | None = None
    prior_role: str | None = None
    from_above: Assignment | None = None
    """The inherited assignment that makes this one."""


class Names(msgspec.Struct, frozen=True):
    """Names for a list of assignments: id -> (name, domain id, domain name)."""

    users: Mapping[str, tuple[str, str, str]]
    groups: Mapping[str, tuple[str, str, str]]
    projects: Mapping[str, tuple[str, str, str]]
    domains: Mapping[str, str]
    roles: Mapping[str, tuple[str, str | None]]
    """id -> (name, the domain's id of a role that is one domain's)"""


class Grants:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, assignment: Assignment) -> None:
        """Repeatable. NotFound where an end is missing."""
        with self._database.write() as tx:
            _ends_exist(tx, assignment)
            _check_home(tx, assignment)
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
        self,
        equal: Mapping[str, str | bool],
        *,
        effective: bool,
        with_names: bool,
        subtree: bool = False,
    ) -> tuple[Sequence[Shown], Names | None]:
        """Assignments by user_id, group_id, role_id, project_id, domain_id, system and inherited.

        ``effective``: what tokens have: groups as their users, inherited roles where they hold,
        and implied roles too. ``subtree``: on the projects below ``project_id`` as well.
        """
        _check_filters(equal, effective)
        equal = dict(equal)
        with self._database.read() as tx:
            places = None
            if subtree:
                places = _subtree(tx, str(equal.pop("project_id", "")))
            if effective:
                shown = self._effective(tx, equal, places)
            else:
                shown = [
                    Shown(assignment=a)
                    for a in assignments.assignment_list(tx, equal)
                    if places is None or a.project_id in places
                ]
            return shown, _names(tx) if with_names else None

    def _effective(
        self, tx: Transaction, equal: Mapping[str, str | bool], places: set[str] | None
    ) -> Sequence[Shown]:
        inherited = equal.get("inherited")
        given = assignments.assignment_list(tx, {})
        graph, members = assignments.role_graph(tx), assignments.members_by_group(tx)
        spread = list(_spread(given, assignments.project_tree(tx)))
        wanted = {k: v for k, v in equal.items() if k != "inherited"}
        return [
            each
            for each in _expanded(spread, graph, members)
            if all(getattr(each.assignment, key) == value for key, value in wanted.items())
            and (places is None or each.assignment.project_id in places)
            and (inherited is None or (each.from_above is not None) == inherited)
        ]

    def within(self, shown: Sequence[Shown], domain_id: str) -> Sequence[Shown]:
        """Those on the domain and on its projects."""
        with self._database.read() as tx:
            mine = assignments.project_tree(tx).in_domain(domain_id)
        return [
            each
            for each in shown
            if each.assignment.domain_id == domain_id or each.assignment.project_id in mine
        ]

    def project(self, project_id: str) -> Project | None:
        with self._database.read() as tx:
            return store.projects.find(tx, id=project_id)

    def graph(self) -> RoleGraph:
        with self._database.read() as tx:
            return assignments.role_graph(tx)

    def imply(self, prior: str, implied: str) -> None:
        """Repeatable. NotFound; Invalid where a role would imply itself."""
        with self._database.write() as tx:
            store.roles.get(tx, prior)
            store.roles.get(tx, implied)
            graph = assignments.role_graph(tx)
            if implied in graph.local and prior not in graph.local:
                raise NotAllowed(reason="A role of the cloud cannot imply one of a domain.")
            if graph.names[implied] == "admin":
                raise NotAllowed(reason="The role admin cannot be implied.")
            if prior in graph.closure({implied}):
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


def _check_home(tx: Transaction, assignment: Assignment) -> None:
    """NotAllowed for a domain's role elsewhere than in that domain."""
    home = store.roles.get(tx, assignment.role_id).domain_id
    if home is None:
        return
    place = assignment.domain_id
    if assignment.project_id is not None:
        place = store.projects.get(tx, assignment.project_id).domain_id
    if place != home:
        raise NotAllowed(reason=f"Role {assignment.role_id} is one of domain {home} alone.")


def _check_filters(equal: Mapping[str, str | bool], effective: bool) -> None:
    if sum(key in equal for key in ("project_id", "domain_id", "system")) > 1:
        raise Invalid(reason="Ask for one of scope.project, scope.domain and scope.system.")
    if "user_id" in equal and "group_id" in equal:
        raise Invalid(reason="Ask for a user's assignments or for a group's.")
    if effective and "group_id" in equal:
        raise Invalid(reason="Effective assignments are of users, not of groups.")
    if effective and equal.get("inherited") and "domain_id" in equal:
        raise Invalid(reason="What is inherited from a domain is effective in its projects.")


def _subtree(tx: Transaction, project_id: str) -> set[str]:
    if not project_id:
        raise Invalid(reason="include_subtree needs scope.project.id.")
    store.projects.get(tx, project_id)
    return assignments.project_tree(tx).below(project_id) | {project_id}


def _spread(
    given: list[Assignment], tree: ProjectTree
) -> Iterator[tuple[Assignment, Assignment | None]]:
    """(assignment where it holds, the inherited one that it comes from)."""
    for each in given:
        if not each.inherited:
            yield each, None
            continue
        if each.domain_id is not None:
            below = tree.in_domain(each.domain_id)
        else:
            below = tree.below(each.project_id or "")
        for project_id in sorted(below):
            yield (
                msgspec.structs.replace(
                    each, project_id=project_id, domain_id=None, inherited=False
                ),
                each,
            )


def _expanded(
    spread: list[tuple[Assignment, Assignment | None]],
    graph: RoleGraph,
    members: Mapping[str, list[str]],
) -> Iterator[Shown]:
    # One role by two ways is shown twice, as Keystone does: each way can be taken back alone.
    seen: set[Shown] = set()
    for given, above in spread:
        group = given.group_id
        holders = [given.user_id] if group is None else members.get(group, [])
        for user_id in holders:
            # The role itself comes first, so that it is not shown as an implied one.
            implied = [r for r in graph.tokens({given.role_id}) if r != given.role_id]
            own = [] if given.role_id in graph.local else [given.role_id]
            for role_id in [*own, *implied]:
                one = Shown(
                    assignment=msgspec.structs.replace(
                        given, user_id=user_id, group_id=None, role_id=role_id
                    ),
                    through_group=group,
                    prior_role=given.role_id if role_id != given.role_id else None,
                    from_above=above,
                )
                if one not in seen:
                    seen.add(one)
                    yield one


def _names(tx: Transaction) -> Names:
    domains = {each.id: each.name for each in store.domains.list(tx)}

    def named(rows: list[tuple[str, str, str]]) -> dict[str, tuple[str, str, str]]:
        return {id_: (name, domain, domains.get(domain, "")) for id_, name, domain in rows}

    return Names(
        users=named([(u.id, u.name, u.domain_id) for u in store.users.list(tx)]),
        groups=named([(g.id, g.name, g.domain_id) for g in store.groups.list(tx)]),
        projects=named([(p.id, p.name, p.domain_id) for p in store.projects.list(tx)]),
        domains=domains,
        roles={each.id: (each.name, each.domain_id) for each in store.roles.list(tx)},
    )
