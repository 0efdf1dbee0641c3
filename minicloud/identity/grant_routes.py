"""Role assignments, implied roles and group membership on the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.identity import schemas
from minicloud.identity.directory import Groups, Users
from minicloud.identity.grants import Grants, Names, Shown
from minicloud.identity.links import Links
from minicloud.identity.records import Assignment
from minicloud.kit.web import Call, Route

Json = dict[str, Any]
_FILTERS: Mapping[str, str] = {
    "user.id": "user_id",
    "group.id": "group_id",
    "role.id": "role_id",
    "scope.project.id": "project_id",
    "scope.domain.id": "domain_id",
}


class GrantRoutes:
    def __init__(self, grants: Grants, users: Users, groups: Groups, links: Links) -> None:
        self._grants = grants
        self._users = users
        self._groups = groups
        self._links = links

    def routes(self) -> list[Route]:
        rows = [
            Route(
                method="GET",
                path="/v3/role_assignments",
                handler=self.list,
                policy="identity:list_role_assignments",
            ),
            Route(
                method="GET",
                path="/v3/users/{user_id}/groups",
                handler=self.groups_of_user,
                policy="identity:list_groups_for_user",
            ),
            Route(
                method="GET",
                path="/v3/groups/{group_id}/users",
                handler=self.users_of_group,
                policy="identity:list_users_in_group",
            ),
        ]
        member = "/v3/groups/{group_id}/users/{user_id}"
        rows += _four(
            member,
            check=("identity:check_user_in_group", self._membership(self._groups.check)),
            put=("identity:add_user_to_group", self._membership(self._groups.add)),
            delete=("identity:remove_user_from_group", self._membership(self._groups.remove)),
        )
        for place in ("/v3/projects/{project_id}", "/v3/domains/{domain_id}", "/v3/system"):
            for holder in ("/users/{user_id}", "/groups/{group_id}"):
                path = f"{place}{holder}/roles"
                rows.append(
                    Route(
                        method="GET", path=path, handler=self.given, policy="identity:list_grants"
                    )
                )
                rows += _four(
                    f"{path}/{{role_id}}",
                    check=("identity:check_grant", self._grant(self._grants.check)),
                    put=("identity:create_grant", self._grant(self._grants.give)),
                    delete=("identity:revoke_grant", self._grant(self._grants.take)),
                )
        return rows + self._implied_routes()

    def _implied_routes(self) -> list[Route]:
        path = "/v3/roles/{prior_id}/implies"
        listed = "identity:list_implied_roles"
        check = "identity:check_implied_role"
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
            Route(method="GET", path=one, handler=self.inference, policy=check),
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
        user_id = call.params["user_id"]
        call.check("identity:list_groups_for_user", {"user_id": user_id})
        return self._listing(call, "groups", self._users.groups(user_id))

    def users_of_group(self, call: Call) -> Json:
        return self._listing(call, "users", self._groups.users(call.params["group_id"]))

    def given(self, call: Call) -> Json:
        return self._listing(call, "roles", self._grants.roles(_assignment(call)))

    def list(self, call: Call) -> Json:
        equal: dict[str, str | bool] = {
            column: call.query[name] for name, column in _FILTERS.items() if name in call.query
        }
        if "scope.system" in call.query:
            equal["system"] = True
        shown, names = self._grants.list(
            equal, effective=call.flag("effective"), with_names=call.flag("include_names")
        )
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


def _four(
    path: str,
    *,
    check: tuple[str, Callable[[Call], None]],
    put: tuple[str, Callable[[Call], None]],
    delete: tuple[str, Callable[[Call], None]],
) -> list[Route]:
    """GET and HEAD check, PUT makes, DELETE ends; all answer 204 and no body."""
    rows = (("GET", check), ("HEAD", check), ("PUT", put), ("DELETE", delete))
    return [
        Route(method=method, path=path, handler=handler, policy=policy, status=204)
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
    role = {"id": one.role_id}
    if names is not None:
        role["name"] = names.roles.get(one.role_id, "")
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
    links = {"assignment": f"{base}/{place}/{holder}/roles/{role_id}"}
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
