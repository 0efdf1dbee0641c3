"""/v3/registered_limits and /v3/limits"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.identity import targets
from minicloud.identity.limits import Limits, Listed, RegisteredLimits
from minicloud.identity.links import Links
from minicloud.identity.records import RegisteredLimit
from minicloud.identity.schemas import Id, Name, RegionId, Text
from minicloud.identity.targets import Target
from minicloud.kit.web import Body, Call, Query, Route

Json = dict[str, Any]
Count = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
"""-1: no limit."""
_PLACE = ("service_id", "region_id", "resource_name")


class RegisteredLimitCreate(msgspec.Struct, forbid_unknown_fields=True):
    service_id: Id
    resource_name: Name
    default_limit: Count
    region_id: RegionId | None = None
    description: Text | None = None


class RegisteredLimitsCreate(msgspec.Struct):
    registered_limits: Annotated[list[RegisteredLimitCreate], Meta(min_length=1, max_length=100)]


class RegisteredLimitUpdate(msgspec.Struct, forbid_unknown_fields=True):
    service_id: Id | UnsetType = UNSET
    resource_name: Name | UnsetType = UNSET
    default_limit: Count | UnsetType = UNSET
    region_id: RegionId | UnsetType | None = UNSET
    description: Text | UnsetType | None = UNSET


class LimitCreate(msgspec.Struct, forbid_unknown_fields=True):
    service_id: Id
    resource_name: Name
    resource_limit: Count
    region_id: RegionId | None = None
    project_id: Id | None = None
    domain_id: Id | None = None
    description: Text | None = None


class LimitsCreate(msgspec.Struct):
    limits: Annotated[list[LimitCreate], Meta(min_length=1, max_length=100)]


class LimitUpdate(msgspec.Struct, forbid_unknown_fields=True):
    resource_limit: Count | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET


class LimitRoutes:
    def __init__(self, registered: RegisteredLimits, limits: Limits, links: Links) -> None:
        self._registered = registered
        self._limits = limits
        self._links = links

    def routes(self) -> list[Route]:
        many, limits = "/v3/registered_limits", "/v3/limits"
        one, limit = f"{many}/{{registered_limit_id}}", f"{limits}/{{limit_id}}"

        def row(method: str, path: str, handler: Any, policy: str, status: int = 200,
                **more: Any) -> Route:  # fmt: skip
            return Route(method=method, path=path, handler=handler, status=status,
                         policy=f"identity:{policy}", **more)  # fmt: skip

        def query(*names: str) -> Query:
            return Query(names=frozenset({*_PLACE, *names}), strict_from=None)

        return [
            row("GET", many, self.list, "list_registered_limits", query=query()),
            row("POST", many, self.create, "create_registered_limits", 201,
                body=Body(type=RegisteredLimitsCreate)),
            row("GET", one, self.show, "get_registered_limit"),
            row("PATCH", one, self.update, "update_registered_limit",
                body=Body(type=RegisteredLimitUpdate, wrapper="registered_limit")),
            row("DELETE", one, self.delete, "delete_registered_limit", 204),
            row("GET", f"{limits}/model", self.model, "get_limit_model"),
            row("GET", limits, self.list_limits, "list_limits",
                query=query("project_id", "domain_id")),
            row("POST", limits, self.create_limits, "create_limits", 201,
                body=Body(type=LimitsCreate)),
            row("GET", limit, self.show_limit, "get_limit", target=self._target),
            row("PATCH", limit, self.update_limit, "update_limit",
                body=Body(type=LimitUpdate, wrapper="limit")),
            row("DELETE", limit, self.delete_limit, "delete_limit", 204),
        ]  # fmt: skip

    # -- registered limits ------------------------------------------------------------------------
    def list(self, call: Call) -> Json:
        found = self._registered.list(_asked(call, *_PLACE))
        return self._listing(call, "registered_limits", [self._view(call, each) for each in found])

    def create(self, call: Call) -> Json:
        asked = [msgspec.structs.asdict(each) for each in call.body.registered_limits]
        made = self._registered.create(asked)
        return {"registered_limits": [self._view(call, each) for each in made]}

    def show(self, call: Call) -> Json:
        found = self._registered.get(call.params["registered_limit_id"])
        return {"registered_limit": self._view(call, found)}

    def update(self, call: Call) -> Json:
        id_ = call.params["registered_limit_id"]
        found = self._registered.update(id_, _given(call.body))
        return {"registered_limit": self._view(call, found)}

    def delete(self, call: Call) -> None:
        self._registered.delete(call.params["registered_limit_id"])

    # -- limits -----------------------------------------------------------------------------------
    def model(self, _call: Call) -> Json:
        return {
            "model": {
                "name": "flat",
                "description": "Limits of a project or domain are its own: "
                "what is above or below in the tree has no part in them.",
            }
        }

    def list_limits(self, call: Call) -> Json:
        """All, to who may read all; else those of the caller's project or domain."""
        ctx = call.ctx
        equal = _asked(call, *_PLACE, "project_id", "domain_id")
        if not call.allowed("identity:get_limit", {"target.scope": ctx.scope}):
            kind = f"{ctx.scope}_id"
            mine = {"project_id": ctx.project_id, "domain_id": ctx.domain_id}.get(kind)
            if not mine or equal.setdefault(kind, mine) != mine:
                return self._listing(call, "limits", [])
        found = self._limits.list(equal)
        return self._listing(call, "limits", [self._limit_view(call, each) for each in found])

    def create_limits(self, call: Call) -> Json:
        asked = [msgspec.structs.asdict(each) for each in call.body.limits]
        made = self._limits.create(asked)
        return {"limits": [self._limit_view(call, each) for each in made]}

    def show_limit(self, call: Call) -> Json:
        return {"limit": self._limit_view(call, self._limits.get(call.params["limit_id"]))}

    def update_limit(self, call: Call) -> Json:
        found = self._limits.update(call.params["limit_id"], _given(call.body))
        return {"limit": self._limit_view(call, found)}

    def delete_limit(self, call: Call) -> None:
        self._limits.delete(call.params["limit_id"])

    def _target(self, call: Call) -> Target:
        found = self._limits.find(call.params["limit_id"])
        if found is None:
            return {"target.limit": "none"}
        values = {
            "project_id": found.limit.project_id,
            "domain_id": found.limit.domain_id,
            "project_domain_id": found.project_domain_id,
        }
        return targets.of("limit", {key: value for key, value in values.items() if value})

    # -- as shown ---------------------------------------------------------------------------------
    def _listing(self, call: Call, plural: str, found: Sequence[Json]) -> Json:
        return {
            plural: found,
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def _view(self, call: Call, found: RegisteredLimit) -> Json:
        links = {"self": f"{self._links.base(call)}/registered_limits/{found.id}"}
        return {**msgspec.structs.asdict(found), "links": links}

    def _limit_view(self, call: Call, found: Listed) -> Json:
        limit, registered = found.limit, found.registered
        return {
            "id": limit.id,
            "project_id": limit.project_id,
            "domain_id": limit.domain_id,
            "service_id": registered.service_id,
            "region_id": registered.region_id,
            "resource_name": registered.resource_name,
            "resource_limit": limit.resource_limit,
            "description": limit.description,
            "links": {"self": f"{self._links.base(call)}/limits/{limit.id}"},
        }


def _asked(call: Call, *names: str) -> dict[str, Any]:
    return {name: call.query[name] for name in names if name in call.query}


def _given(body: Any) -> Mapping[str, Any]:
    values = msgspec.structs.asdict(body)
    return {key: value for key, value in values.items() if value is not UNSET}
