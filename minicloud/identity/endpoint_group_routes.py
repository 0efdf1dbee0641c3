"""/v3/OS-EP-FILTER: which endpoints a project sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from minicloud.domain.errors import Invalid
from minicloud.identity import schemas
from minicloud.identity.endpoint_groups import ENDPOINT, GROUP, EndpointGroups
from minicloud.identity.links import Links
from minicloud.identity.records import EndpointGroup
from minicloud.identity.schemas import Id, Name, RegionId, Text
from minicloud.kit.web import Body, Call, Query, Route

Json = dict[str, Any]
_TOP = "/v3/OS-EP-FILTER"


class Filters(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    interface: Literal["public", "internal", "admin"] | UnsetType = UNSET
    service_id: Id | UnsetType = UNSET
    region_id: RegionId | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointGroupUpdate(msgspec.Struct, forbid_unknown_fields=True):
    name: Name | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET
    filters: Filters | UnsetType | None = UNSET
    """Clients send null for what shall stay."""


class EndpointGroupCreate(EndpointGroupUpdate, kw_only=True, forbid_unknown_fields=True):
    name: Name
    filters: Filters


class EndpointGroupRoutes:
    def __init__(self, groups: EndpointGroups, links: Links) -> None:
        self._groups = groups
        self._links = links

    def routes(self) -> list[Route]:
        groups = f"{_TOP}/endpoint_groups"
        one = f"{groups}/{{endpoint_group_id}}"
        project = f"{_TOP}/projects/{{project_id}}"

        def body(shape: type[Any]) -> Body:
            return Body(type=shape, wrapper="endpoint_group")

        return [
            _row("GET", groups, self.list, "list_endpoint_groups",
                 query=Query(names=frozenset({"name"}), strict_from=None)),
            _row("POST", groups, self.create, "create_endpoint_group", 201,
                 body=body(EndpointGroupCreate)),
            _row("GET", one, self.show, "get_endpoint_group"),
            _row("PATCH", one, self.update, "update_endpoint_group",
                 body=body(EndpointGroupUpdate)),
            _row("DELETE", one, self.delete, "delete_endpoint_group", 204),
            _row("GET", f"{one}/endpoints", self.endpoints,
                 "list_endpoints_associated_with_endpoint_group"),
            _row("GET", f"{one}/projects", self.projects_of_group,
                 "list_projects_associated_with_endpoint_group"),
            _row("GET", f"{_TOP}/endpoints/{{endpoint_id}}/projects", self.projects_of_endpoint,
                 "list_projects_for_endpoint"),
            _row("GET", f"{project}/endpoint_groups", self.groups_of_project,
                 "list_endpoint_groups_for_project"),
            _row("GET", f"{project}/endpoints", self.endpoints_of_project,
                 "list_endpoints_for_project"),
            *self._given(f"{one}/projects/{{project_id}}", GROUP,
                         ("get_endpoint_group_in_project", "add_endpoint_group_to_project",
                          "remove_endpoint_group_from_project")),
            *self._given(f"{project}/endpoints/{{endpoint_id}}", ENDPOINT,
                         ("check_endpoint_in_project", "add_endpoint_to_project",
                          "remove_endpoint_from_project")),
        ]  # fmt: skip

    def _given(self, path: str, key: str, policies: Sequence[str]) -> list[Route]:
        works = (("GET", self._groups.check), ("PUT", self._groups.give),
                 ("DELETE", self._groups.take))  # fmt: skip
        rows = []
        for (method, work), policy in zip(works, policies, strict=True):

            def handle(call: Call, work: Any = work) -> None:
                work(call.params["project_id"], key, call.params[key])

            rows.append(_row(method, path, handle, policy, 204))
        return rows

    def list(self, call: Call) -> Json:
        found = self._groups.list(call.query.get("name"))
        return self._listing(call, [self._view(call, each) for each in found])

    def create(self, call: Call) -> Json:
        return {"endpoint_group": self._view(call, self._groups.create(_given(call.body)))}

    def show(self, call: Call) -> Json:
        return {"endpoint_group": self._view(call, self._groups.get(_id(call)))}

    def update(self, call: Call) -> Json:
        found = self._groups.update(_id(call), _given(call.body))
        return {"endpoint_group": self._view(call, found)}

    def delete(self, call: Call) -> None:
        self._groups.delete(_id(call))

    def endpoints(self, call: Call) -> Json:
        return self._nouns(call, "endpoints", self._groups.endpoints(_id(call)))

    def projects_of_group(self, call: Call) -> Json:
        return self._nouns(call, "projects", self._groups.projects(GROUP, _id(call)))

    def projects_of_endpoint(self, call: Call) -> Json:
        found = self._groups.projects(ENDPOINT, call.params["endpoint_id"])
        return self._nouns(call, "projects", found)

    def groups_of_project(self, call: Call) -> Json:
        found = self._groups.groups_of(call.params["project_id"])
        return self._listing(call, [self._view(call, each) for each in found])

    def endpoints_of_project(self, call: Call) -> Json:
        found = self._groups.endpoints_of(call.params["project_id"])
        return self._nouns(call, "endpoints", found)

    def _nouns(self, call: Call, plural: str, found: Sequence[Any]) -> Json:
        return schemas.listing(plural, found, self._links.base(call), self._links.here(call))

    def _listing(self, call: Call, found: Sequence[Json]) -> Json:
        return {
            "endpoint_groups": found,
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def _view(self, call: Call, group: EndpointGroup) -> Json:
        url = f"{self._links.base(call)}/OS-EP-FILTER/endpoint_groups/{group.id}"
        return {**msgspec.structs.asdict(group), "links": {"self": url}}


def _id(call: Call) -> str:
    return call.params["endpoint_group_id"]


def _given(body: EndpointGroupUpdate) -> Json:
    given = msgspec.structs.asdict(body)
    values = {k: v for k, v in given.items() if v is not UNSET and v is not None}
    if "filters" in values:
        values["filters"] = msgspec.to_builtins(values["filters"])
        if not values["filters"]:
            raise Invalid(
                reason="The filters of an endpoint group name at least one of interface, "
                "service_id, region_id and enabled."
            )
    return values


def _row(
    method: str, path: str, handler: Any, policy: str, status: int = 200, **more: Any
) -> Route:
    return Route(method=method, path=path, handler=handler, policy=f"identity:{policy}",
                 status=status, **more)  # fmt: skip
