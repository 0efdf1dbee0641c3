"""Rows for operators: daemons, hosts, zones; and what this cloud has none of."""

from __future__ import annotations

from minicloud.api import extensions
from minicloud.api import hypervisors as hypervisor_module
from minicloud.api import services as service_module
from minicloud.api.audit_log import AuditLog
from minicloud.api.availability_zones import AvailabilityZones
from minicloud.api.hypervisors import Hypervisors
from minicloud.api.schemas.hosts import HYPERVISORS_DOWN, SERVICES_DOWN, UPDATE, UPDATE_BY_NAME
from minicloud.api.services import Services
from minicloud.kit.web import Route

_P = "os_compute_api:"


def host_routes(
    services: Services, hypervisors: Hypervisors, zones: AvailabilityZones
) -> list[Route]:
    one = "/os-hypervisors/{hypervisor_id}"
    query, show_query = hypervisor_module.QUERY, hypervisor_module.SHOW_QUERY
    return [
        Route(method="GET", path="/os-services", handler=services.index,
              policy=_P + "os-services:list", query=service_module.QUERY, down=SERVICES_DOWN,
              summary="List the daemons."),
        Route(method="PUT", path="/os-services/{service_id}", handler=services.update,
              since=(2, 53), policy=_P + "os-services:update", body=UPDATE,
              summary="Let a host take new servers, or not."),
        Route(method="PUT", path="/os-services/{service_id}", handler=services.update_by_name,
              policy=_P + "os-services:update", body=UPDATE_BY_NAME,
              summary="Let a host take new servers, or not."),
        Route(method="DELETE", path="/os-services/{service_id}", handler=services.delete,
              since=(2, 53), policy=_P + "os-services:delete", status=204,
              summary="Forget a daemon that is gone for good, and its host."),
        Route(method="DELETE", path="/os-services/{service_id}", status=204,
              handler=services.delete_by_number, policy=_P + "os-services:delete",
              summary="Forget a daemon that is gone for good, and its host."),
        Route(method="GET", path="/os-hypervisors", handler=hypervisors.index,
              policy=_P + "os-hypervisors:list", query=query, down=HYPERVISORS_DOWN,
              summary="List hosts."),
        Route(method="GET", path="/os-hypervisors/detail", handler=hypervisors.detail,
              policy=_P + "os-hypervisors:list-detail", query=query, down=HYPERVISORS_DOWN,
              summary="List hosts in full."),
        Route(method="GET", path="/os-hypervisors/statistics", handler=hypervisors.statistics,
              until=(2, 87), policy=_P + "os-hypervisors:statistics",
              summary="Sum up all hosts."),
        Route(method="GET", path=one, handler=hypervisors.show, since=(2, 53),
              policy=_P + "os-hypervisors:show", query=show_query, down=HYPERVISORS_DOWN,
              summary="Show a host."),
        Route(method="GET", path=one, handler=hypervisors.show_by_number,
              policy=_P + "os-hypervisors:show", query=show_query, down=HYPERVISORS_DOWN,
              summary="Show a host."),
        Route(method="GET", path=one + "/uptime", handler=hypervisors.uptime, since=(2, 53),
              until=(2, 87), policy=_P + "os-hypervisors:uptime", down=HYPERVISORS_DOWN,
              summary="Show how long a host has run."),
        Route(method="GET", path=one + "/uptime", handler=hypervisors.uptime_by_number,
              until=(2, 52), policy=_P + "os-hypervisors:uptime", down=HYPERVISORS_DOWN,
              summary="Show how long a host has run."),
        Route(method="GET", path=one + "/search", handler=hypervisors.search, until=(2, 52),
              policy=_P + "os-hypervisors:search", down=HYPERVISORS_DOWN,
              summary="Find hosts by a part of their name."),
        Route(method="GET", path=one + "/servers", handler=hypervisors.servers, until=(2, 52),
              policy=_P + "os-hypervisors:servers", down=HYPERVISORS_DOWN,
              summary="List the servers of hosts."),
        Route(method="GET", path="/os-availability-zone", handler=zones.index,
              policy=_P + "os-availability-zone:list", summary="List availability zones."),
        Route(method="GET", path="/os-availability-zone/detail", handler=zones.detail,
              policy=_P + "os-availability-zone:detail",
              summary="List availability zones with their daemons."),
    ]  # fmt: skip


def audit_routes(log: AuditLog) -> list[Route]:
    path = "/os-instance_usage_audit_log"
    return [
        Route(method="GET", path=path, handler=log.index,
              policy=_P + "os-instance-usage-audit-log:list",
              summary="Show which hosts have audited their servers' use."),
        Route(method="GET", path=path + "/{before}", handler=log.show,
              policy=_P + "os-instance-usage-audit-log:show",
              summary="Show which hosts had audited their servers' use before a moment."),
    ]  # fmt: skip


def extension_routes() -> list[Route]:
    return [
        Route(method="GET", path="/extensions", handler=extensions.index,
              policy=_P + "extensions", summary="List extensions."),
        Route(method="GET", path="/extensions/{alias}", handler=extensions.show,
              policy=_P + "extensions", summary="Show an extension."),
    ]  # fmt: skip
