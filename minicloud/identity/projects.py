"""Projects: a tree below each domain.

A domain is shown as a project too, to who asks for it by id or with ``is_domain``. A project
never moves, so who is above it is settled when it is made; a disabled project has only disabled
ones below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Invalid, NotAllowed
from minicloud.identity import assignments, filters, options, records, store
from minicloud.identity.directory import asked_domain, stays
from minicloud.identity.nouns import Noun, Values, new_id
from minicloud.identity.store import Match
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

Tree = dict[str, Any]


class DomainAsProject(records.Project, frozen=True, kw_only=True):
    """A domain as clients that know only projects see it."""


def domain_as_project(domain: records.Domain) -> DomainAsProject:
    values = msgspec.structs.asdict(domain)
    return DomainAsProject(domain_id="", **values)


class Projects(Noun[records.Project]):
    rows = store.projects
    in_use = "it has projects below it"

    def __init__(self, database: Database, *, deepest: int = 5) -> None:
        super().__init__(database)
        self._deepest = deepest
        """How many levels there may be, counting the domain's."""

    def home(self, tx: Transaction, ctx: Context, values: Values) -> str | None:
        """The domain that is asked for, or that of the parent."""
        parent_id = values.get("parent_id")
        if values.get("domain_id") or parent_id is None:
            return asked_domain(ctx, values)
        parent = store.projects.find(tx, id=parent_id)
        return parent_id if parent is None else parent.domain_id

    def get(self, id_: str) -> records.Project:
        """NotFound; the id of a domain gives the domain as a project."""
        with self._database.read() as tx:
            found = self.rows.find(tx, id=id_)
            if found is None and (domain := store.domains.find(tx, id=id_)) is not None:
                return domain_as_project(domain)
            return found or self.rows.get(tx, id_)

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Project:
        parent_id = values.pop("parent_id", None)
        parent = None if parent_id is None else store.projects.find(tx, id=parent_id)
        if parent is not None:
            values["domain_id"] = values.get("domain_id") or parent.domain_id
        elif parent_id is not None:
            values["domain_id"] = values.get("domain_id") or parent_id
        domain_id = asked_domain(ctx, values)
        if store.domains.find(tx, id=domain_id) is None:
            raise Invalid(reason=f"There is no domain {domain_id}.")
        above = domain_id if parent_id is None else parent.domain_id if parent else parent_id
        if above != domain_id:
            raise Invalid(reason=f"{parent_id} is no project of domain {domain_id}.")
        if parent is not None:
            if not parent.enabled:
                raise NotAllowed(reason=f"The parent project {parent.id} is disabled.")
            if len(self._above(tx, parent)) + 3 > self._deepest:
                raise NotAllowed(reason=f"Projects may be {self._deepest} levels deep at most.")
        values["domain_id"] = domain_id
        values["options"] = options.changed(options.OF_PLACES, {}, values.get("options", {}))
        return records.Project(id=new_id(), parent_id=parent.id if parent else None, **values)

    def changing(self, tx: Transaction, record: records.Project, values: Values) -> None:
        options.check_changeable("Project", record.id, record.options, values)

    def changes(self, tx: Transaction, record: records.Project, values: Values) -> Values:
        stays(values, "domain_id", record.domain_id)
        stays(values, "parent_id", record.parent_id or record.domain_id)
        if values.pop("is_domain", False):
            raise Invalid(reason="is_domain cannot be changed.")
        if values.get("enabled") is False:
            self._check_all_disabled_below(tx, record)
        elif values.get("enabled") and any(not each.enabled for each in self._above(tx, record)):
            raise NotAllowed(reason=f"The parent project {record.parent_id} is disabled.")
        if "options" in values:
            values["options"] = options.changed(
                options.OF_PLACES, record.options, values["options"]
            )
        return values

    def ending(self, tx: Transaction, record: records.Project) -> None:
        options.check_changeable("Project", record.id, record.options, None)

    def tagged(
        self,
        equal: Mapping[str, Any],
        conditions: list[tuple[str, frozenset[str]]],
        *,
        matches: Sequence[Match] = (),
        marker: str | None = None,
        limit: int | None = None,
    ) -> tuple[Sequence[records.Project], bool]:
        """A page of projects, those with the tags that are asked for.

        The parent of a project directly below its domain is the domain. Tags are looked at here:
        a cloud that has so many projects that it matters has no use for a list of them.
        """
        with self._database.read() as tx:
            above = equal.get("parent_id")
            if above is not None and store.domains.find(tx, id=above) is not None:
                equal = {"domain_id": above, **equal, "parent_id": None}
        if not conditions:
            return self.page(equal, matches=matches, marker=marker, limit=limit)
        every, _ = self.page(equal, matches=matches, marker=marker)
        found = [each for each in every if filters.has_tags(frozenset(each.tags), conditions)]
        return found[:limit], limit is not None and len(found) > limit

    def of_user(self, user_id: str, *, only_enabled: bool) -> list[records.Project]:
        """The projects on which a user has a role: directly, through a group, or inherited."""
        with self._database.read() as tx:
            places = assignments.projects_of_user(user_id)
            found = self.rows.list(tx, {"enabled": True} if only_enabled else None, ids=places)
            if not only_enabled:
                return found
            open_domains = {each.id for each in store.domains.list(tx, {"enabled": True})}
            return [each for each in found if each.domain_id in open_domains]

    def above(self, project: records.Project) -> list[records.Project]:
        """The projects above, the nearest first."""
        with self._database.read() as tx:
            return self._above(tx, project)

    def below(self, project: records.Project) -> list[records.Project]:
        """All projects below, parents before children."""
        with self._database.read() as tx:
            return self._below(tx, project)

    def set_tags(self, project_id: str, tags: Sequence[str]) -> list[str]:
        """NotFound."""
        return self._change_tags(project_id, lambda _now: set(tags))

    def add_tag(self, project_id: str, tag: str) -> None:
        self._change_tags(project_id, lambda now: now | {tag})

    def remove_tag(self, project_id: str, tag: str) -> bool:
        """Whether it was there."""
        with self._database.read() as tx:
            there = tag in self.rows.get(tx, project_id).tags
        self._change_tags(project_id, lambda now: now - {tag})
        return there

    def _change_tags(self, project_id: str, change: Any) -> list[str]:
        with self._database.write() as tx:
            record = self.rows.get(tx, project_id)
            options.check_changeable("Project", record.id, record.options, {"tags": []})
            tags = sorted(change(set(record.tags)))
            if len(tags) > MOST_TAGS:
                raise Invalid(reason=f"A project has at most {MOST_TAGS} tags.")
            self.rows.update(tx, project_id, {"tags": tags})
            return tags

    def _above(self, tx: Transaction, project: records.Project) -> list[records.Project]:
        found = []
        while project.parent_id is not None:
            project = self.rows.get(tx, project.parent_id)
            found.append(project)
        return found

    def _below(self, tx: Transaction, project: records.Project) -> list[records.Project]:
        every = self.rows.list(tx, {"domain_id": project.domain_id})
        found: list[records.Project] = []
        level = {project.id}
        while level:
            children = [each for each in every if each.parent_id in level]
            found += children
            level = {each.id for each in children}
        return found

    def _check_all_disabled_below(self, tx: Transaction, project: records.Project) -> None:
        for each in self._below(tx, project):
            if each.enabled:
                raise NotAllowed(
                    reason=f"Project {each.id} below {project.id} is enabled: disable it first."
                )


MOST_TAGS = 80


def parents_as_ids(project: records.Project, above: Sequence[records.Project]) -> Tree:
    """``{parent: {its parent: ... {domain: None}}}``"""
    tree: Tree | None = None
    for id_ in (project.domain_id, *(each.id for each in reversed(above))):
        tree = {id_: tree}
    assert tree is not None
    return tree


def subtree_as_ids(project: records.Project, below: Sequence[records.Project]) -> Tree | None:
    """``{child: {its child: None}, ...}``; None where there are none."""
    children: dict[str, Tree | None] = {
        each.id: subtree_as_ids(each, below) for each in below if each.parent_id == project.id
    }
    return children or None
