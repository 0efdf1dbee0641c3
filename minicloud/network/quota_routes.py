"""Quotas: limits of a project, by everybody read, by administrators set."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Conflict, Invalid
from minicloud.kit.web import Call, Route
from minicloud.network.calls import text_of
from minicloud.network.schemas import QuotaBody
from minicloud.network.service import NetworkService

Json = dict[str, Any]


def quota_routes(service: NetworkService) -> list[Route]:
    quotas = service.quotas

    def list_(_call: Call) -> Json:
        own = quotas.list_own()
        return {"quotas": [{"project_id": name, "tenant_id": name, **limits}
                           for name, limits in own.items()]}  # fmt: skip

    def show(call: Call) -> Json:
        return {"quota": quotas.show(_project(call))}

    def default(call: Call) -> Json:
        _project(call)
        return {"quota": quotas.defaults}

    def details(call: Call) -> Json:
        return {"quota": quotas.usage(_project(call))}

    def put(call: Call) -> Json:
        asked = dict(call.body.quota)
        check = asked.pop("check_limit", False)
        asked.pop("force", None)
        if any(isinstance(limit, bool) for limit in asked.values()):
            raise Invalid(reason="A limit must be a whole number.")
        project_id = _project(call)
        if check:
            for resource, facts in quotas.usage(project_id).items():
                if 0 <= asked.get(resource, -1) < facts["used"]:
                    raise Conflict(
                        type="QuotaLimitTooLow",
                        reason=f"{facts['used']} of {resource} are in use already.",
                    )
        return {"quota": quotas.update(project_id, asked)}

    def reset(call: Call) -> None:
        quotas.reset(_project(call))

    item = "/v2.0/quotas/{project_id}"
    return [
        Route(method="GET", path="/v2.0/quotas", policy="update_quota", handler=list_,
              summary="List the quotas that differ from the defaults"),
        Route(method="GET", path=item, policy="get_quota", handler=show,
              summary="Show a project's quota"),
        Route(method="GET", path=item + "/default", policy="get_quota", handler=default,
              summary="Show the default quota"),
        Route(method="GET", path=item + "/details", policy="get_quota", handler=details,
              summary="Show a project's quota and use"),
        Route(method="GET", path=item + "/details.json", policy="get_quota", handler=details,
              summary="Show a project's quota and use"),
        Route(method="PUT", path=item, policy="update_quota", handler=put, body=QuotaBody,
              summary="Change a project's quota"),
        Route(method="DELETE", path=item, policy="delete_quota", handler=reset, status=204,
              summary="Set a project's quota back to the defaults"),
    ]  # fmt: skip


def _project(call: Call) -> str:
    """The project in the path, which is the caller's own or policy allows."""
    project_id = text_of(call.params["project_id"])
    call.check("get_quota", {"project_id": project_id})
    return project_id
