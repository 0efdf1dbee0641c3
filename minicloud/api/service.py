"""The compute API as a whole: handlers over one database, and their rows as a Service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from werkzeug.datastructures import Headers

from minicloud.api import versions
from minicloud.api.absent import Shares, Topology
from minicloud.api.actions import Actions
from minicloud.api.aggregates import Aggregates
from minicloud.api.assisted_snapshots import AssistedSnapshots
from minicloud.api.audit_log import AuditLog
from minicloud.api.availability_zones import AvailabilityZones
from minicloud.api.external_events import ExternalEventHandler
from minicloud.api.flavors import Flavors
from minicloud.api.guest_actions import GuestActions
from minicloud.api.hypervisors import Hypervisors
from minicloud.api.instance_actions import InstanceActions
from minicloud.api.interfaces import Interfaces
from minicloud.api.keypairs import Keypairs
from minicloud.api.launch import Launcher
from minicloud.api.live_migration import LiveMigration
from minicloud.api.lookups import Lookups
from minicloud.api.migrations import Migrations
from minicloud.api.operations import Operator
from minicloud.api.placing import Placer
from minicloud.api.quotas import Quotas
from minicloud.api.rebuild import Rebuilder
from minicloud.api.remote_consoles import RemoteConsoles
from minicloud.api.resize import Resize
from minicloud.api.routes.attachments import (
    guest_routes,
    interface_routes,
    security_group_routes,
    volume_routes,
)
from minicloud.api.routes.catalogue import flavor_routes, keypair_routes, quota_routes
from minicloud.api.routes.consoles import console_routes
from minicloud.api.routes.groups import aggregate_routes, group_routes, migration_routes
from minicloud.api.routes.hosts import audit_routes, extension_routes, host_routes
from minicloud.api.routes.servers import (
    absent_routes,
    action_routes,
    event_routes,
    history_routes,
    image_routes,
    move_routes,
    part_routes,
    server_routes,
)
from minicloud.api.security_groups import SecurityGroups
from minicloud.api.server_groups import ServerGroups
from minicloud.api.server_images import ServerImages
from minicloud.api.server_parts import Addresses, Metadata, Tags
from minicloud.api.servers import Servers
from minicloud.api.services import Services
from minicloud.api.usage import Usage
from minicloud.api.volume_attachments import VolumeAttachments
from minicloud.client.identity import TokenFacts
from minicloud.domain.errors import Invalid
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.kit.policy import PUBLIC, Policy
from minicloud.kit.web import Call, Route, Service, dialects
from minicloud.rpc.compute import ComputeRPC

_PROJECT = "path_project"


class Parts(msgspec.Struct, kw_only=True):
    """What the API is made of."""

    database: Database
    placer: Placer
    compute: Callable[[str], ComputeRPC]
    """Host name -> a caller of its compute daemon."""
    lookups: Lookups
    facts: Callable[[str], TokenFacts]
    """What identity said of a token that has just been validated."""
    limits: Mapping[str, int]
    """The configured quota."""
    service_down_s: float
    host: str
    """Name of this machine, for the trace."""
    shelved_offload: bool = True
    """Whether a shelved server leaves its host at once."""
    console_url: str = ""
    """The console proxy as browsers reach it; empty: its port on the API's host."""


def rest_service(
    parts: Parts,
    policy: Policy,
    authenticate: Callable[[Headers, dict[str, float], str], Context],
) -> Service:
    rows = routes(parts)
    return Service(
        name="compute",
        routes=[
            Route(method="GET", path="/", handler=versions.index, policy=PUBLIC,
                  summary="Which versions there are."),
            *(
                Route(method="GET", path=path, handler=versions.show, policy=PUBLIC,
                      alias=path.endswith("/"), summary="Which microversions there are.")
                for path in ("/v2", "/v2/", "/v2.1", "/v2.1/")
            ),
            Route(method="GET", path="/v2.1/versions/{version_id}", handler=versions.show_named,
                  policy="os_compute_api:extensions", alias=True,
                  summary="Show a version by its id."),
            *(_below("/v2.1", row) for row in rows),
            *(_of_project(row) for row in rows),
        ],
        policy=policy,
        dialect=dialects.nova,
        catalog_types=frozenset({"compute"}),
        authenticate=authenticate,
        versions=versions.VERSIONS,
        legacy_path=("/v2", "/v2.1"),
        replies=_replies,
        request_id_headers=("X-Openstack-Request-Id", "x-compute-request-id"),
    )  # fmt: skip


def _replies() -> Mapping[str, Any]:
    from minicloud.api.replies import REPLIES

    return {key.replace(" ", " /v2.1", 1): kind for key, kind in REPLIES.items()}


def routes(parts: Parts) -> list[Route]:
    """All rows, with paths below the version."""
    database, down_s = parts.database, parts.service_down_s
    operator = Operator(database, parts.compute, parts.placer, service_down_s=down_s)
    servers = Servers(database, operator, service_down_s=down_s)
    live = LiveMigration(database, operator, parts.compute)
    launcher = Launcher(
        database,
        lookups=parts.lookups,
        placer=parts.placer,
        facts=parts.facts,
        limits=parts.limits,
        host=parts.host,
    )
    return [
        *server_routes(servers, launcher),
        *action_routes(Actions(database, operator, parts.compute, parts.lookups)),
        *image_routes(
            ServerImages(operator, parts.lookups, offload=parts.shelved_offload),
            Rebuilder(database, operator, parts.lookups, servers),
        ),
        *move_routes(Resize(database, operator, parts.limits, service_down_s=down_s), live),
        *part_routes(Metadata(database, parts.limits), Tags(database), Addresses(database)),
        *interface_routes(Interfaces(database, operator, parts.lookups)),
        *volume_routes(VolumeAttachments(database, operator, parts.lookups)),
        *security_group_routes(SecurityGroups(database, parts.lookups)),
        *guest_routes(GuestActions(database, operator, parts.compute)),
        *history_routes(InstanceActions(database)),
        *console_routes(RemoteConsoles(database, parts.compute, public_url=parts.console_url)),
        *flavor_routes(Flavors(database)),
        *keypair_routes(Keypairs(database, parts.limits)),
        *quota_routes(Quotas(database, parts.limits), Usage(database)),
        *host_routes(
            Services(database, service_down_s=down_s),
            Hypervisors(database, service_down_s=down_s),
            AvailabilityZones(database, service_down_s=down_s),
        ),
        *group_routes(ServerGroups(database, parts.limits)),
        *aggregate_routes(Aggregates(database, parts.lookups, parts.compute)),
        *migration_routes(Migrations(database), live),
        *extension_routes(),
        *audit_routes(AuditLog(database)),
        *absent_routes(Shares(database), Topology(database)),
        *event_routes(
            ExternalEventHandler(database, operator, parts.lookups, parts.compute),
            AssistedSnapshots(database, operator, parts.compute, service_down_s=down_s),
        ),
    ]


def _below(prefix: str, row: Route) -> Route:
    return msgspec.structs.replace(row, path=prefix + row.path)


def _of_project(row: Route) -> Route:
    """The same row below the project's id, as clients wrote paths before 2.18."""

    def handler(call: Call) -> Any:
        project = call.params.pop(_PROJECT)
        if project != call.ctx.project_id:
            raise Invalid(
                reason=f"Malformed request URL: URL's project_id '{project[:64]}' doesn't match "
                f"Context's project_id '{call.ctx.project_id}'"
            )
        return row.handler(call)

    scoped = msgspec.structs.replace(row, handler=handler, alias=True)
    return _below(f"/v2.1/{{{_PROJECT}}}", scoped)
