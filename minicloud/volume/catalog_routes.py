"""Endpoints that say what there is: versions, zones, services, hosts, pools, capabilities, and
what lists filter by.
"""

from __future__ import annotations

import logging
from typing import Any

from minicloud.domain.errors import Invalid, NotFound, NotImplementedHere
from minicloud.kit import clock
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Call, Reply, Route, Versions
from minicloud.kit.web.versions import text
from minicloud.volume import kinds, schemas, views
from minicloud.volume.backends import DEFAULT
from minicloud.volume.presence import BINARIES, BINARY, Pool, Presence, Roll
from minicloud.volume.volume_routes import Scoping

_SERVICES = "volume_extension:services:"
_DESCRIBED = {
    "nbd": ("Files, served over NBD", "Sparse files on the volume host"),
    "ceph": ("Ceph RBD", "Images of a pool of a Ceph cluster"),
}
"""Storage protocol -> name and description."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


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

    def __init__(self, roll: Roll, scoped: Scoping, *, host: str) -> None:
        self._roll, self._scoped, self._host = roll, scoped, host

    def routes(self) -> list[Route]:
        scoped, update = self._scoped, _SERVICES + "update"

        def order(name: str, handler: Any, body: Any, policy: str = update, **more: Any) -> Route:
            return Route(
                method="PUT",
                path=f"/os-services/{name}",
                handler=scoped(handler),
                policy=policy,
                body=body,
                summary=f"Service order {name}",
                **more,
            )

        return [
            Route(method="GET", path="/extensions", handler=scoped(_extensions),
                  policy="volume_extension:extensions", summary="List extensions: there are none"),
            Route(method="GET", path="/os-availability-zone", handler=scoped(_zones),
                  policy="volume_extension:availability_zone_list", summary="List the one zone"),
            Route(method="GET", path="/resource_filters", handler=scoped(_filters),
                  policy="volume:get_all", since=(3, 33), summary="List what lists filter by"),
            Route(method="GET", path="/os-services", handler=scoped(self.services),
                  policy=_SERVICES + "index", down=views.SERVICE_DOWN,
                  summary="List volume services"),
            order("enable", self.enable, schemas.ServiceOrder),
            order("disable", self.disable, schemas.ServiceOrder),
            order("disable-log-reason", self.disable, schemas.ServiceReason),
            order("freeze", self.freeze, schemas.ServiceHost, "volume:freeze_host"),
            order("thaw", self.thaw, schemas.ServiceHost, "volume:thaw_host"),
            order("failover", self.failover, schemas.Argumentless, "volume:failover_host",
                  since=(3, 26)),
            order("failover_host", self.failover, schemas.Argumentless, "volume:failover_host"),
            order("set-log", self.set_log, schemas.SetLog, since=(3, 32), status=202),
            order("get-log", self.get_log, schemas.GetLog, since=(3, 32)),
            Route(method="GET", path="/os-hosts", handler=scoped(self.hosts),
                  policy="volume_extension:hosts", summary="List hosts"),
            Route(method="GET", path="/os-hosts/{host}", handler=scoped(self.host),
                  policy="volume_extension:hosts", summary="Show what a host has"),
            Route(method="GET", path="/scheduler-stats/get_pools", handler=scoped(self.pools),
                  policy="scheduler_extension:scheduler_stats:get_pools",
                  summary="List backends with their room"),
            Route(method="GET", path="/capabilities/{host}", handler=scoped(self.capabilities),
                  policy="volume_extension:capabilities", summary="Show what a backend can do"),
            Route(method="GET", path="/clusters", handler=scoped(_no_clusters), since=(3, 7),
                  policy="clusters:get_all", summary="List clusters: there are none"),
            Route(method="GET", path="/clusters/detail", handler=scoped(_no_clusters),
                  since=(3, 7), policy="clusters:get_all",
                  summary="List clusters: there are none"),
            Route(method="GET", path="/clusters/{name}", handler=scoped(_no_cluster),
                  since=(3, 7), policy="clusters:get", summary="There are no clusters"),
            *(
                Route(method="PUT", path=f"/clusters/{name}", handler=scoped(_no_such_cluster),
                      since=(3, 7), policy="clusters:update", body=schemas.ClusterOrder,
                      summary="There are no clusters")
                for name in ("enable", "disable")
            ),
            Route(method="POST", path="/workers/cleanup", handler=scoped(self.cleanup),
                  since=(3, 24), policy="workers:cleanup", status=202,
                  body=schemas.Argumentless, summary="Finish what was interrupted"),
        ]  # fmt: skip

    # -- services --------------------------------------------------------------------------------
    def services(self, call: Call, _project: str) -> Any:
        binary, host = call.query.get("binary"), call.query.get("host")
        found = []
        for each in self._roll.all():
            if binary not in (None, each.binary):
                continue
            found += [
                self._view(each, where, backend)
                for where, backend in _places(each)
                if host in (None, each.host, where)
            ]
        return {"services": found}

    def _view(self, service: Presence, where: str, backend: str) -> Any:
        view: dict[str, Any] = {
            "binary": service.binary,
            "host": where,
            "zone": views.ZONE,
            "status": "disabled" if service.disabled else "enabled",
            "state": "up" if self._roll.is_up(service) else "down",
            "updated_at": clock.iso_micro(service.last_seen),
            "disabled_reason": service.disabled_reason,
            "cluster": None,
        }
        if service.binary == BINARY:
            view["frozen"] = service.frozen
            view["replication_status"] = "disabled"
            view["active_backend_id"] = None
            away = service.pools.get(backend, {}).get("away", False)
            view["backend_state"] = "up" if self._roll.is_up(service) and not away else "down"
        return view

    def enable(self, call: Call, _project: str) -> Any:
        asked: schemas.ServiceOrder = call.body
        values = {"disabled": False, "disabled_reason": None}
        self._roll.change(asked.host, asked.binary, values)
        return {"host": asked.host, "binary": asked.binary, "service": asked.binary,
                "disabled": False, "status": "enabled"}  # fmt: skip

    def disable(self, call: Call, _project: str) -> Any:
        asked = call.body
        reason = getattr(asked, "disabled_reason", None)
        values = {"disabled": True, "disabled_reason": reason}
        self._roll.change(asked.host, asked.binary, values)
        view = {"host": asked.host, "binary": asked.binary, "service": asked.binary,
                "disabled": True, "status": "disabled"}  # fmt: skip
        return {**view, "disabled_reason": reason} if reason is not None else view

    def freeze(self, call: Call, _project: str) -> Reply:
        self._roll.change(call.body.host, BINARY, {"frozen": True})
        return Reply()

    def thaw(self, call: Call, _project: str) -> Reply:
        self._roll.change(call.body.host, BINARY, {"frozen": False})
        return Reply()

    def failover(self, _call: Call, _project: str) -> Any:
        raise NotImplementedHere(reason="There is no replica that a host could fail over to.")

    def set_log(self, call: Call, _project: str) -> Reply:
        asked: schemas.SetLog = call.body
        level = asked.level.upper()
        if level not in _LEVELS:
            raise Invalid(reason=f"Invalid log level: use one of {', '.join(_LEVELS)}.")
        if self._is_here(asked.binary, asked.server):
            logging.getLogger(asked.prefix or None).setLevel(level)
        return Reply()

    def get_log(self, call: Call, _project: str) -> Any:
        asked: schemas.GetLog = call.body
        if not self._is_here(asked.binary, asked.server):
            return {"log_levels": []}
        names = [name for name in logging.root.manager.loggerDict
                 if name.startswith(asked.prefix or "")]  # fmt: skip
        levels = {
            name: logging.getLevelName(logging.getLogger(name).getEffectiveLevel())
            for name in sorted(names)
        }
        binary = asked.binary or BINARY
        return {
            "log_levels": [
                {"binary": BINARY if binary == "*" else binary, "host": self._host,
                 "levels": levels}
            ]
        }  # fmt: skip

    def _is_here(self, binary: str | None, server: str | None) -> bool:
        if binary not in (None, "", "*", *BINARIES, "cinder-api"):
            raise Invalid(reason=f"Unknown binary: use one of {', '.join(BINARIES)}.")
        return server in (None, "") or str(server).partition("@")[0] == self._host

    def cleanup(self, _call: Call, _project: str) -> Any:
        # Every host's pass does so all the time.
        return {"cleaning": [], "unavailable": []}

    # -- places ----------------------------------------------------------------------------------
    def hosts(self, _call: Call, _project: str) -> Any:
        return {
            "hosts": [
                {
                    "service-status": "available" if self._roll.is_up(each) else "unavailable",
                    "service": each.binary,
                    "zone": views.ZONE,
                    "service-state": "disabled" if each.disabled else "enabled",
                    "host_name": where,
                    "last-update": clock.iso_micro(each.last_seen),
                }
                for each in self._roll.all()
                for where, _ in _places(each)
            ]
        }

    def host(self, call: Call, _project: str) -> Any:
        name = call.params["host"].partition("@")[0]
        pools = [each for each in self._roll.pools() if each.host == name]
        if not pools:
            raise NotFound(kind="Host", id=call.params["host"])
        total = {
            "resource": {
                "project": "(total)",
                "host": call.params["host"],
                "volume_count": str(sum(each.volumes for each in pools)),
                "total_volume_gb": str(sum(each.allocated_gb for each in pools)),
                "snapshot_count": "0",
                "total_snapshot_gb": "0",
            }
        }
        return {"host": [total]}

    def pools(self, call: Call, _project: str) -> Any:
        detail, name = call.flag("detail"), call.query.get("name")
        backend = call.query.get("backend_name")
        found = []
        for each in self._roll.pools():
            where = views.place(each.host, each.backend)
            if name not in (None, where) or backend not in (None, each.backend):
                continue
            view: dict[str, Any] = {"name": where}
            if detail:
                view["capabilities"] = _capabilities(each)
            found.append(view)
        return {"pools": found}

    def capabilities(self, call: Call, _project: str) -> Any:
        host, _, backend = call.params["host"].partition("#")[0].partition("@")
        pools = [
            each
            for each in self._roll.pools()
            if each.host == host and backend in ("", each.backend)
        ]
        if not pools:
            raise NotFound(kind="Service", id=call.params["host"])
        shown, described = _DESCRIBED[pools[0].protocol]
        return {
            "namespace": f"OS::Storage::Capabilities::{pools[0].host}@{pools[0].backend}",
            "vendor_name": "minicloud",
            "volume_backend_name": pools[0].backend,
            "pool_name": pools[0].backend,
            "driver_version": "1.0",
            "storage_protocol": pools[0].protocol,
            "display_name": shown,
            "description": described,
            "visibility": "public",
            "replication_targets": [],
            "properties": {
                "thin_provisioning": {
                    "title": "Thin Provisioning",
                    "description": "Space is taken when it is written.",
                    "type": "boolean",
                },
            },
        }


def _places(service: Presence) -> list[tuple[str, str]]:
    """(``host@backend``, backend) of each service that Cinder would run; of others the host."""
    if service.binary != BINARY:
        return [(service.host, "")]
    return [(f"{service.host}@{name}", name) for name in sorted(service.pools) or [DEFAULT]]


def _capabilities(pool: Pool) -> dict[str, Any]:
    return {
        "volume_backend_name": pool.backend,
        "pool_name": pool.backend,
        "vendor_name": "minicloud",
        "driver_version": "1.0",
        "storage_protocol": pool.protocol,
        "total_capacity_gb": "unknown" if pool.total_gb is None else pool.total_gb,
        "free_capacity_gb": "unknown" if pool.free_gb is None else pool.free_gb,
        "allocated_capacity_gb": pool.allocated_gb,
        "provisioned_capacity_gb": pool.allocated_gb,
        "total_volumes": pool.volumes,
        "reserved_percentage": 0,
        "max_over_subscription_ratio": "20.0",
        "thin_provisioning_support": True,
        "thick_provisioning_support": False,
        "multiattach": True,
        "online_extend_support": True,
        "QoS_support": False,
        "timestamp": clock.iso_micro(pool.last_seen),
        "backend_state": "down" if pool.away else "up",
        "filter_function": None,
        "goodness_function": None,
    }


def _extensions(_call: Call, _project: str) -> Any:
    return {"extensions": []}


def _no_clusters(_call: Call, _project: str) -> Any:
    return {"clusters": []}


def _no_cluster(call: Call, _project: str) -> Any:
    raise NotFound(kind="Cluster", id=call.params["name"])


def _no_such_cluster(call: Call, _project: str) -> Any:
    raise NotFound(kind="Cluster", id=call.body.name)


def _zones(_call: Call, _project: str) -> Any:
    return {"availabilityZoneInfo": [{"zoneName": views.ZONE, "zoneState": {"available": True}}]}


def _filters(call: Call, _project: str) -> Any:
    known = [
        {
            "resource": name,
            "filters": sorted({*kind.equal, *kind.numbers, *kind.flags, *kind.pairs}),
        }
        for name, kind in kinds.ALL.items()
    ]
    known.append({"resource": "attachment", "filters": ["volume_id", "instance_id", "status"]})
    known.append({"resource": "pool", "filters": ["name", "backend_name"]})
    asked = call.query.get("resource")
    return {"resource_filters": [each for each in known if asked in (None, each["resource"])]}
