"""Projects on the wire: the tree, the tags, and domains shown as projects."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Invalid, NotFound
from minicloud.identity import filters, records, schemas, store
from minicloud.identity.directory import Domains, Users
from minicloud.identity.links import Links
from minicloud.identity.noun_routes import Json, NounRoutes, Wire
from minicloud.identity.projects import (
    DomainAsProject,
    Projects,
    domain_as_project,
    parents_as_ids,
    subtree_as_ids,
)
from minicloud.identity.targets import Target, Targets
from minicloud.kit.db import Database
from minicloud.kit.web import Body, Call, Query, Reply, Route

_TREES = frozenset({"parents_as_list", "parents_as_ids", "subtree_as_list", "subtree_as_ids"})


class ProjectRoutes(NounRoutes):
    more_names = frozenset({"is_domain", "tags", "tags-any", "not-tags", "not-tags-any"})

    def __init__(self, database: Database, users: Users, links: Links, named: Targets) -> None:
        self._projects = Projects(database)
        self._domains = Domains(database)
        self._users = users
        self._named = named
        wire = Wire(
            one="project",
            noun=self._projects,
            create=schemas.ProjectCreate,
            update=schemas.ProjectUpdate,
            filters={
                "name": "name",
                "domain_id": "domain_id",
                "parent_id": "parent_id",
                "enabled": "enabled",
            },
            of_domain="domain_id",
        )
        super().__init__(wire, links, database)

    def routes(self) -> list[Route]:
        tags = "/v3/projects/{project_id}/tags"
        one = f"{tags}/{{tag}}"

        def row(method: str, path: str, handler: Any, rule: str, status: int = 204,
                **more: Any) -> Route:  # fmt: skip
            return Route(method=method, path=path, handler=handler, policy=f"identity:{rule}",
                         target=self.target, status=status, **more)  # fmt: skip

        return [
            *super().routes(),
            row("GET", tags, self.tags, "list_project_tags", 200),
            row("PUT", tags, self.set_tags, "update_project_tags", 200,
                body=Body(type=schemas.ProjectTags)),
            row("DELETE", tags, self.clear_tags, "delete_project_tags"),
            row("GET", one, self.tag, "get_project_tag"),
            row("PUT", one, self.add_tag, "create_project_tag", 201),
            row("DELETE", one, self.remove_tag, "delete_project_tag"),
            Route(
                method="GET",
                path="/v3/users/{user_id}/projects",
                handler=self.of_user,
                policy="identity:list_user_projects",
                target=self._named.named(user="user_id"),
                query=Query(names=filters.names({"name": "name"}) | {"domain_id", "enabled"},
                            strict_from=None),
            ),
        ]  # fmt: skip

    def page(self, call: Call) -> tuple[Any, bool]:
        equal, matches = filters.read(call, self._wire.filters)
        marker, limit = call.query.get("marker"), call.number("limit", least=1)
        if call.flag("is_domain"):
            equal.pop("domain_id", None)
            if equal.pop("parent_id", None) is not None:
                return [], False
            if call.ctx.domain_id:
                equal["id"] = call.ctx.domain_id
            found, more = self._domains.page(equal, matches=matches, marker=marker, limit=limit)
            return [domain_as_project(each) for each in found], more
        if not self.narrow(call, equal):
            return [], False
        return self._projects.tagged(
            equal, filters.tags(call), matches=matches, marker=marker, limit=limit
        )

    def new_target(self, call: Call) -> Target:
        if call.body.get("is_domain") is True:
            return {"target.project.name": str(call.body.get("name"))}
        return super().new_target(call)

    def create(self, call: Call) -> Json:
        values = schemas.read(schemas.ProjectCreate, call.body)
        if not values.pop("is_domain", False):
            return self.shown(call, self._projects.create(call.ctx, values))
        if values.pop("domain_id", None) is not None or values.pop("parent_id", None) is not None:
            raise Invalid(reason="A project that is a domain has no domain and no parent.")
        call.check("identity:create_domain", {"target.domain.name": values["name"]})
        return self.shown(call, domain_as_project(self._domains.create(call.ctx, values)))

    def update(self, call: Call) -> Json:
        if not self._is_domain(call):
            return super().update(call)
        call.check("identity:update_domain", {"target.domain.id": self.id(call)})
        values = schemas.read(schemas.ProjectUpdate, call.body)
        if values.pop("is_domain", True) is not True or {"domain_id", "parent_id"} & set(values):
            raise Invalid(reason="A project that is a domain has no domain and no parent.")
        return self.shown(call, domain_as_project(self._domains.update(self.id(call), values)))

    def delete(self, call: Call) -> None:
        if not self._is_domain(call):
            super().delete(call)
            return
        call.check("identity:delete_domain", {"target.domain.id": self.id(call)})
        self._domains.delete(self.id(call))

    def _is_domain(self, call: Call) -> bool:
        with self._database.read() as tx:
            return (
                store.projects.find(tx, id=self.id(call)) is None
                and store.domains.find(tx, id=self.id(call)) is not None
            )

    def show(self, call: Call) -> Json:
        asked = [name for name in sorted(_TREES) if call.flag(name)]
        project = self._projects.get(self.id(call))
        answer = self.shown(call, project)
        if asked and not isinstance(project, DomainAsProject):
            answer["project"] |= self._trees(call, project, asked)
        return answer

    def _trees(self, call: Call, project: records.Project, asked: list[str]) -> Json:
        shown: Json = {}
        for what in ("parents", "subtree"):
            if {f"{what}_as_list", f"{what}_as_ids"} <= set(asked):
                raise Invalid(reason=f"Ask for {what}_as_list or {what}_as_ids, not for both.")
        if any(name.startswith("parents") for name in asked):
            above = self._projects.above(project)
            shown["parents"] = (
                parents_as_ids(project, above)
                if "parents_as_ids" in asked
                else self._mine(call, above)
            )
        if any(name.startswith("subtree") for name in asked):
            below = self._projects.below(project)
            shown["subtree"] = (
                subtree_as_ids(project, below)
                if "subtree_as_ids" in asked
                else self._mine(call, below)
            )
        return shown

    def _mine(self, call: Call, projects: list[records.Project]) -> list[Json]:
        """Those on which the caller has a role."""
        mine = {each.id for each in self._projects.of_user(call.ctx.user_id, only_enabled=False)}
        return [self.shown(call, each) for each in projects if each.id in mine]

    def tags(self, call: Call) -> Json:
        return self._tags(call, self._tagged(call).tags)

    def set_tags(self, call: Call) -> Json:
        return self._tags(call, self._projects.set_tags(self.id(call), call.body.tags))

    def clear_tags(self, call: Call) -> None:
        self._projects.set_tags(self.id(call), [])

    def tag(self, call: Call) -> None:
        if call.params["tag"] not in self._tagged(call).tags:
            raise NotFound(kind="Project tag", id=call.params["tag"])

    def add_tag(self, call: Call) -> Reply:
        tag = schemas.tag(call.params["tag"])
        self._projects.add_tag(self.id(call), tag)
        return Reply(headers={"Location": f"{self._links.here(call)}"})

    def remove_tag(self, call: Call) -> None:
        if not self._projects.remove_tag(self.id(call), call.params["tag"]):
            raise NotFound(kind="Project tag", id=call.params["tag"])

    def of_user(self, call: Call) -> Json:
        user_id = call.params["user_id"]
        self._users.get(user_id)
        found = self._projects.of_user(user_id, only_enabled=False)
        equal, matches = filters.read(call, {"name": "name", "domain_id": "domain_id",
                                             "enabled": "enabled"})  # fmt: skip
        found = [
            each
            for each in found
            if all(getattr(each, key) == value for key, value in equal.items())
            and all(match.fits(each.name) for match in matches)
        ]
        return schemas.listing("projects", found, self._links.base(call), self._links.here(call))

    def _tagged(self, call: Call) -> records.Project:
        with self._database.read() as tx:
            return store.projects.get(tx, self.id(call))

    def _tags(self, call: Call, tags: list[str]) -> Json:
        links = {"next": None, "self": self._links.here(call), "previous": None}
        return {"tags": tags, "links": links}
