"""OS-ENDPOINT-POLICY: which policy is for which endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.identity import schemas
from minicloud.identity.links import Links
from minicloud.identity.policy_associations import Place, PolicyAssociations
from minicloud.kit.web import Call, Route

Json = dict[str, Any]
_EXTENSION = "OS-ENDPOINT-POLICY"
_PLACES = (
    ("endpoints/{endpoint_id}", "endpoint"),
    ("services/{service_id}", "service"),
    ("services/{service_id}/regions/{region_id}", "region_and_service"),
)
"""Path below a policy, and how rules name it."""


class PolicyAssociationRoutes:
    def __init__(self, associations: PolicyAssociations, links: Links) -> None:
        self._associations = associations
        self._links = links

    def routes(self) -> list[Route]:
        top = f"/v3/policies/{{policy_id}}/{_EXTENSION}"
        works = (
            ("GET", "check", self._associations.check),
            ("PUT", "create", self._associations.associate),
            ("DELETE", "delete", self._associations.dissociate),
        )
        return [
            Route(method="GET", path=f"{top}/endpoints", handler=self.endpoints,
                  policy="identity:list_endpoints_for_policy"),
            Route(method="GET", path=f"/v3/endpoints/{{endpoint_id}}/{_EXTENSION}/policy",
                  handler=self.policy, policy="identity:get_policy_for_endpoint"),
            *(
                Route(method=method, path=f"{top}/{path}", handler=_handler(work), status=204,
                      policy=f"identity:{verb}_policy_association_for_{place}")
                for path, place in _PLACES
                for method, verb, work in works
            ),
        ]  # fmt: skip

    def endpoints(self, call: Call) -> Json:
        found = self._associations.endpoints(call.params["policy_id"])
        return schemas.listing("endpoints", found, self._links.base(call), self._links.here(call))

    def policy(self, call: Call) -> Json:
        found = self._associations.policy(call.params["endpoint_id"])
        return {"policy": schemas.view(found, "policies", self._links.base(call))}


def _handler(work: Callable[[str, Place], None]) -> Callable[[Call], None]:
    def handle(call: Call) -> None:
        params = dict(call.params)
        work(params.pop("policy_id"), Place(**params))

    return handle
