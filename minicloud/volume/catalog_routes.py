"""Endpoints that say what there is: versions, types, zones, services, and nouns that are always
empty here (clients list them before they look at volumes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minicloud.domain.errors import NotFound, NotImplementedHere
from minicloud.kit import clock
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Call, Reply, Route, Versions
from minicloud.kit.web.versions import text
from minicloud.volume import views
from minicloud.volume.listing import EQUAL
from minicloud.volume.volume_routes import Scoped

_EMPTY: Sequence[tuple[str, str]] = (
    ("/snapshots", "snapshots"),
    ("/snapshots/detail", "snapshots"),
    ("/backups", "backups"),
    ("/backups/detail", "backups"),
    ("/qos-specs", "qos_specs"),
    ("/os-volume-transfer", "transfers"),
    ("/os-volume-transfer/detail", "transfers"),
    ("/extensions", "extensions"),
)


def version_routes(versions: Versions) -> list[Route]:
    """Discovery: needs no token and no project."""

    def document(call: Call) -> dict[str, Any]:
        return views.version_document(call.base_url, text(versions.newest), text(versions.lowest))

    return [
        Route(method="GET", path="/", handler=lambda call: Reply(body=document(call), status=300),
              policy=PUBLIC, summary="List API versions"),
        Route(method="GET", path="/v3/", handler=document, policy=PUBLIC,
              summary="Show API version 3"),
    ]  # fmt: skip


class CatalogRoutes:
    """``host``: the name of this host."""

    def __init__(self, scoped: Callable[[Scoped], Any], *, host: str) -> None:
        self._scoped, self._host = scoped, host

    def routes(self) -> list[Route]:
        scoped, snapshot = self._scoped, "/snapshots/{snapshot_id}"
        empties = [
            Route(method="GET", path=path, handler=scoped(_empty(key)),
                  policy="volume:get_all_snapshots", summary=f"List {key}: there are none")
            for path, key in _EMPTY
        ]  # fmt: skip
        snapshots = [
            Route(method=method, path=snapshot, handler=scoped(_no_snapshot),
                  policy="volume:get_snapshot", summary="There are no snapshots")
            for method in ("GET", "DELETE")
        ]  # fmt: skip
        return [
            *empties,
            *snapshots,
            Route(method="POST", path="/snapshots", handler=scoped(_no_snapshots),
                  policy="volume:create_snapshot", summary="Not implemented"),
            Route(method="GET", path="/messages", handler=scoped(_empty("messages")),
                  policy="volume:get_all", since=(3, 3), summary="List messages: there are none"),
            Route(method="GET", path="/types", handler=scoped(_types),
                  policy="volume_extension:type_get_all", summary="List the one volume type"),
            Route(method="GET", path="/types/{type_id}", handler=scoped(_type),
                  policy="volume_extension:type_get", summary="Show the volume type"),
            Route(method="GET", path="/types/{type_id}/extra_specs", handler=scoped(_extra_specs),
                  policy="volume_extension:type_get", summary="Show its extra specs: none"),
            Route(method="GET", path="/os-availability-zone", handler=scoped(_zones),
                  policy="volume_extension:availability_zone_list", summary="List the one zone"),
            Route(method="GET", path="/resource_filters", handler=scoped(_filters),
                  policy="volume:get_all", since=(3, 33), summary="List what lists filter by"),
            Route(method="GET", path="/os-services", handler=scoped(self._services),
                  policy="volume_extension:services:index", summary="List volume services"),
        ]  # fmt: skip

    def _services(self, _call: Call, _project: str) -> Any:
        service = {
            "binary": "cinder-volume",
            "host": f"{self._host}@{views.BACKEND}",
            "zone": views.ZONE,
            "status": "enabled",
            "state": "up",
            "updated_at": clock.iso_micro(clock.now()),
            "disabled_reason": None,
        }
        return {"services": [service]}


def _empty(key: str) -> Scoped:
    return lambda _call, _project: {key: []}


def _no_snapshot(call: Call, _project: str) -> Any:
    raise NotFound(kind="Snapshot", id=call.params["snapshot_id"])


def _no_snapshots(_call: Call, _project: str) -> Any:
    raise NotImplementedHere(reason="Snapshots of volumes cannot be made here.")


def _types(_call: Call, _project: str) -> Any:
    return {"volume_types": [views.type_view()]}


def _type(call: Call, _project: str) -> Any:
    if call.params["type_id"] not in (views.TYPE_ID, "default"):
        raise NotFound(kind="Volume type", id=call.params["type_id"])
    return {"volume_type": views.type_view()}


def _extra_specs(call: Call, project: str) -> Any:
    return {"extra_specs": _type(call, project)["volume_type"]["extra_specs"]}


def _zones(_call: Call, _project: str) -> Any:
    return {"availabilityZoneInfo": [{"zoneName": views.ZONE, "zoneState": {"available": True}}]}


def _filters(call: Call, _project: str) -> Any:
    known = [
        {"resource": "volume", "filters": [*EQUAL, "metadata", "availability_zone"]},
        {"resource": "attachment", "filters": ["volume_id", "instance_id", "status"]},
    ]
    asked = call.query.get("resource")
    return {"resource_filters": [each for each in known if asked in (None, each["resource"])]}
