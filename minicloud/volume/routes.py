"""The table of all endpoints, each with and without a project id in its URL, as one service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import msgspec
from werkzeug.datastructures import Headers

from minicloud.kit.context import Context
from minicloud.kit.policy import Policy
from minicloud.kit.web import Call, Route, Service, Versions
from minicloud.kit.web.dialects import cinder
from minicloud.volume.access import project_of
from minicloud.volume.catalog_routes import version_routes
from minicloud.volume.policies import RULES
from minicloud.volume.volume_routes import Scoped

VERSIONS = Versions(
    service_type="volume",
    lowest=(3, 0),
    newest=(3, 71),
    legacy_header="X-OpenStack-Volume-API-Version",
)


def scoped(handler: Scoped) -> Callable[[Call], Any]:
    """``handler`` with the project that the URL and the token name. Invalid: they disagree."""

    def handle(call: Call) -> Any:
        return handler(call, project_of(call.ctx, call.params.get("project_id")))

    return handle


class Routes(Protocol):
    """The endpoints of some noun, below a project."""

    def routes(self) -> list[Route]: ...


def table(nouns: Iterable[Routes]) -> list[Route]:
    """Every endpoint of the service."""
    rows = [row for noun in nouns for row in noun.routes()]
    return [*version_routes(VERSIONS), *_twice(rows)]


def _twice(rows: Iterable[Route]) -> Iterator[Route]:
    for route in rows:
        for prefix in ("/v3/{project_id}", "/v3"):
            path = prefix + route.path
            yield msgspec.structs.replace(route, path=path, alias=prefix == "/v3")


def rest_service(
    rows: list[Route],
    *,
    authenticate: Callable[[Headers, dict[str, float], str], Context],
    policy_file: str | None = None,
) -> Service:
    """The whole service as ``build_app`` takes it."""
    return Service(
        name="volume",
        routes=rows,
        policy=Policy(RULES, policy_file=policy_file),
        dialect=cinder,
        catalog_types=frozenset({"block-storage", "volumev3", "volume"}),
        authenticate=authenticate,
        versions=VERSIONS,
        request_id_headers=("X-Openstack-Request-Id", "X-Compute-Request-Id"),
    )
