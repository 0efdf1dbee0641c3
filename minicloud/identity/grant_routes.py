"""Role assignments, implied roles and group membership on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.identity import filters, schemas, targets
from minicloud.identity.directory import Groups, Users
from minicloud.identity.grants import Grants, Names, Shown
from minicloud.identity.links import Links
from minicloud.identity.records import Assignment
from minicloud.identity.targets import Builder, Target, Targets
from minicloud.kit.web import Call, Query, Route

Json = dict[str, Any]
_NAME = {"name": "name"}
_INHERITED = "scope.OS-INHERIT:inherited_to"
_FILTERS: Mapping[str, str] = {
    "user.id": "user_id",
    "group.id": "group_id",
    "role.id": "role_id",
    "scope.project.id": "project_id",
    "scope.domain.id": "domain_id",
}


class GrantRoutes:
    def __init__(
        self, grants: Grants, users: Users, groups: Groups, links: Links, targets: Targets
    ) -> None:
        self._grants = grants
        self._users = users
        self._groups = groups
        self._links = links
        self._targets = targets

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/v3/role_assignments",
                handler=self.list,
                policy="identity:list_role_assignments",
                target=self._listed,
                query=Query(
                    names=frozenset(_FILTERS)
                    | {"scope.system", _INHERITED, "effective", "include_names",
                       "include_subtree"},
                    strict_from=None,
                ),
            ),
            *self._membership_routes(),
            *self._grant_routes(),
            *self._implied_routes(),
        ]  # fmt: skip

    def _membership_routes(self) -> list[Route]:
        group = self._targets.named(group="group_id", user="user_id")
        named = Query(names=filters.names(_NAME), strict_from=None)
        return [
            Route(
                method="GET",
                path="/v3/users/{user_id}/groups",
                handler=self.groups_of_user,
                policy="identity:list_groups_for_user",
                target=self._targets.named(user="user_id"),
                query=named,
            ),
            Route(
                method="GET",
                path="/v3/groups/{group_id}/users",
                handler=self.users_of_group,
                policy="identity:list_users_in_group",
                target=group,
                query=named,
            ),
            *_four(
                "/v3/groups/{group_id}/users/{user_id}",
                group,
                check=("identity:check_user_in_group", self._membership(self._groups.check)),
                put=("identity:add_user_to_group", self._membership(self._groups.add)),
                delete=("identity:remove_user_from_group", self._membership(self._groups.remove)),
            ),
        ]

    def _grant_routes(self) -> list[Route]:
        rows = []
        target = self._targets.named(
            user="user_id", group="group_id", project="project_id", domain="domain_id",
            role="role_id",
        )  # fmt: skip
        for holder in ("user", "group"):
            for place in ("/projects/{project_id}", "/domains/{domain_id}", "/system"):
                of = f"system_grant_for_{holder}" if place == "/system" else "grant"
                many = of.replace("grant", "grants", 1)
                listed = f"{place}/{holder}s/{{{holder}_id}}/roles"
                ways = [(f"/v3{listed}", f"/v3{listed}/{{role_id}}")]
                if place != "/system":
                    inherited = f"/v3/OS-INHERIT{listed}"
                    ways.append((f"{inherited}/inherited_to_projects",
                                 f"{inherited}/{{role_id}}/inherited_to_projects"))  # fmt: skip
                for every, one in ways:
                    rows.append(
                        Route(method="GET", path=every, handler=self.given,
                              policy=f"identity:list_{many}", target=target)
                    )  # fmt: skip
                    rows += _four(
                        one,
                        target,
                        check=(f"identity:check_{of}", self._grant(self._grants.check)),
                        put=(f"identity:create_{of}", self._grant(self._grants.give)),
                        delete=(f"identity:revoke_{of}", self._grant(self._grants.take)),
                    )
        return rows

    def _listed(self, call: Call) -> Target:
        """The project of which the tree is asked for, if so, and the caller's domain."""
        target = targets.own_domain("project")(call)
        target.pop("target.project.domain_id", None)
        if call.flag("include_subtree") and "scope.project.id" in call.query:
            found = self._grants.project(call.query["scope.project.id"])
            target |= {} if found is None else targets.record("project", found)
        return target

    def _implied_routes(self) -> list[Route]:
        path = "/v3/roles/{prior_id}/implies"
        listed = "identity:list_implied_roles"
        check = "identity:check_implied_role"
        shown = "identity:get_implied_role"
        one = f"{path}/{{implied_id}}"
        return [
            Route(
                method="GET",
                path="/v3/role_inferences",
                handler=self.inferences,
                policy="identity:list_role_inference_rules",
            ),
            Route(method="GET", path=path, handler=self.implied, policy=listed),
            Route(
                method="PUT",
                path=one,
                handler=self.imply,
                policy="identity:create_implied_role",
                status=201,
            ),
            Route(method="GET", path=one, handler=self.inference, policy=shown),
            Route(method="HEAD", path=one, handler=self.check_inference, policy=check, status=204),
            Route(
                method="DELETE",
                path=one,
                handler=self.imply_no_more,
                policy="identity:delete_implied_role",
                status=204,
            ),
        ]

    def groups_of_user(self, call: Call) -> Json:
        found = self._users.groups(call.params["user_id"])
        if call.ctx.domain_id:
            found = [each for each in found if each.domain_id == call.ctx.domain_id]
        return self._listing(call, "groups", _named(call, found))

    def users_of_group(self, call: Call) -> Json:
        found = self._groups.users(call.params["group_id"])
        return self._listing(call, "users", _named(call, found))

    def given(self, call: Call) -> Json:
        return self._listing(call, "roles", self._grants.roles(_assignment(call)))

    def list(self, call: Call) -> Json:
        equal: dict[str, str | bool] = {
            column: call.query[name] for name, column in _FILTERS.items() if name in call.query
        }
        if "scope.system" in call.query:
            equal["system"] = True
        if _INHERITED in call.query:
            equal["inherited"] = call.query[_INHERITED] == "projects"
        subtree = call.flag("include_subtree")
        if subtree:
            call.check("identity:list_role_assignments_for_tree", self._listed(call))
        shown, names = self._grants.list(
            equal,
            effective=call.flag("effective"),
            with_names=call.flag("include_names"),
            subtree=subtree,
        )
        if call.ctx.domain_id:
            shown = self._grants.within(shown, call.ctx.domain_id)
        base = self._links.base(call)
        return {
            "role_assignments": [_shown(each, names, base) for each in shown],
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def inferences(self, call: Call) -> Json:
        graph, base = self._grants.graph(), self._links.base(call)
        rules = [
            {
                "prior_role": _role(prior, graph.names, base),
                "implies": [_role(each, graph.names, base) for each in sorted(implied)],
            }
            for prior, implied in sorted(graph.implied.items())
        ]
        return {"role_inferences": rules, "links": {"self": self._links.here(call)}}

    def implied(self, call: Call) -> Json:
        graph, base = self._grants.graph(), self._links.base(call)
        prior = call.params["prior_id"]
        if prior not in graph.names:
            raise NotFound(kind="Role", id=prior)
        rule = {
            "prior_role": _role(prior, graph.names, base),
            "implies": [
                _role(each, graph.names, base) for each in sorted(graph.implied.get(prior, ()))
            ],
        }
        return {"role_inference": rule, "links": {"self": self._links.here(call)}}

    def inference(self, call: Call) -> Json:
        graph, base = self._grants.graph(), self._links.base(call)
        prior, implied = call.params["prior_id"], call.params["implied_id"]
        if implied not in graph.implied.get(prior, ()):
            raise NotFound(kind="Implied role", id=implied)
        rule = {
            "prior_role": _role(prior, graph.names, base),
            "implies": _role(implied, graph.names, base),
        }
        return {"role_inference": rule, "links": {"self": self._links.here(call)}}

    def check_inference(self, call: Call) -> None:
        self.inference(call)

    def imply(self, call: Call) -> Json:
        self._grants.imply(call.params["prior_id"], call.params["implied_id"])
        return self.inference(call)

    def imply_no_more(self, call: Call) -> None:
        self._grants.imply_no_more(call.params["prior_id"], call.params["implied_id"])

    def _listing(self, call: Call, plural: str, found: Any) -> Json:
        return schemas.listing(plural, found, self._links.base(call), self._links.here(call))

    @staticmethod
    def _membership(work: Callable[[str, str], None]) -> Callable[[Call], None]:
        return lambda call: work(call.params["group_id"], call.params["user_id"])

    @staticmethod
    def _grant(work: Callable[[Assignment], None]) -> Callable[[Call], None]:
        return lambda call: work(_assignment(call))


def _named(call: Call, found: list[Any]) -> list[Any]:
    equal, matches = filters.read(call, _NAME)
    return [
        each
        for each in found
        if each.name == equal.get("name", each.name)
        and all(match.fits(each.name) for match in matches)
    ]


def _four(
    path: str,
    target: Builder,
    *,
    check: tuple[str, Callable[[Call], None]],
    put: tuple[str, Callable[[Call], None]],
    delete: tuple[str, Callable[[Call], None]],
) -> list[Route]:
    """GET and HEAD check, PUT makes, DELETE ends; all answer 204 and no body."""
    rows = (("GET", check), ("HEAD", check), ("PUT", put), ("DELETE", delete))
    return [
        Route(method=method, path=path, handler=handler, policy=policy, status=204, target=target)
        for method, (policy, handler) in rows
    ]


def _assignment(call: Call) -> Assignment:
    params = call.params
    return Assignment(
        role_id=params.get("role_id", ""),
        user_id=params.get("user_id"),
        group_id=params.get("group_id"),
        project_id=params.get("project_id"),
        domain_id=params.get("domain_id"),
        system="project_id" not in params and "domain_id" not in params,
        inherited=call.path.endswith("/inherited_to_projects"),
    )


def _role(role_id: str, names: Mapping[str, str], base: str) -> Json:
    links = {"self": f"{base}/roles/{role_id}"}
    return {"id": role_id, "name": names.get(role_id, ""), "links": links}


def _shown(shown: Shown, names: Names | None, base: str) -> Json:
    one = shown.assignment
    place = "system"
    scope: Json = {"system": {"all": True}}
    if one.project_id is not None:
        place = f"projects/{one.project_id}"
        scope = {"project": _homed(one.project_id, names.projects if names else None)}
    elif one.domain_id is not None:
        place = f"domains/{one.domain_id}"
        domain = {"id": one.domain_id}
        if names is not None:
            domain["name"] = names.domains.get(one.domain_id, "")
        scope = {"domain": domain}
    if one.inherited or shown.from_above is not None:
        scope["OS-INHERIT:inherited_to"] = "projects"
    role: Json = {"id": one.role_id}
    if names is not None:
        role["name"], home = names.roles.get(one.role_id, ("", None))
        if home is not None:
            role["domain"] = {"id": home, "name": names.domains.get(home, "")}
    body: Json = {"role": role, "scope": scope}
    if one.user_id is not None:
        body["user"] = _homed(one.user_id, names.users if names else None)
    elif one.group_id is not None:
        body["group"] = _homed(one.group_id, names.groups if names else None)
    body["links"] = _shown_links(shown, place, base)
    return body


def _shown_links(shown: Shown, place: str, base: str) -> Json:
    one = shown.assignment
    group = one.group_id or shown.through_group
    holder = f"groups/{group}" if group else f"users/{one.user_id}"
    role_id = shown.prior_role or one.role_id
    source = shown.from_above or one
    if source.inherited:
        above = (
            f"domains/{source.domain_id}" if source.domain_id else f"projects/{source.project_id}"
        )
        url = f"{base}/OS-INHERIT/{above}/{holder}/roles/{role_id}/inherited_to_projects"
    else:
        url = f"{base}/{place}/{holder}/roles/{role_id}"
    links = {"assignment": url}
    if shown.through_group:
        links["membership"] = f"{base}/groups/{shown.through_group}/users/{one.user_id}"
    if shown.prior_role:
        links["prior_role"] = f"{base}/roles/{shown.prior_role}"
    return links


def _homed(id_: str, names: Mapping[str, tuple[str, str, str]] | None) -> Json:
    if names is None:
        return {"id": id_}
    name, domain_id, domain_name = names.get(id_, ("", "", ""))
    return {"id": id_, "name": name, "domain": {"id": domain_id, "name": domain_name}}
