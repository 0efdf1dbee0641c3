"""Services and hypervisors on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.api.schemas.fields import DaemonHost, Flag, Text
from minicloud.api.schemas.older import Rich, for_each, without
from minicloud.domain.models import Host, ServiceRecord
from minicloud.kit.clock import iso_micro
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Json

_Reason = Annotated[Text, Meta(min_length=1)]


class ServiceUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    status: Literal["enabled", "disabled"] | UnsetType = UNSET
    disabled_reason: _Reason | UnsetType = UNSET
    forced_down: Flag | UnsetType = UNSET


class ServiceByName(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Before 2.53: the service by its host and binary."""

    host: DaemonHost
    binary: _Reason
    disabled_reason: _Reason | UnsetType = UNSET
    forced_down: Flag | UnsetType = UNSET


UPDATE = Body(type=ServiceUpdate)
UPDATE_BY_NAME = Body(type=ServiceByName, since={"forced_down": (2, 11)})


def service_view(service: ServiceRecord, *, zone: str, up: bool) -> dict[str, Any]:
    view = {
        "id": service.id,
        "binary": service.binary,
        "host": service.host,
        "zone": zone,
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if up else "down",
        "updated_at": iso_micro(service.last_seen),
        "disabled_reason": service.disabled_reason,
        "forced_down": service.forced_down,
    }
    return Rich(view, {"id": service.number})


def _by_number(item: Json) -> None:
    item["id"] = item.facts["id"]  # type: ignore[attr-defined]  # Rich, by service_view


SERVICES_DOWN = for_each(
    "service", "services", (((2, 53), _by_number), ((2, 11), without("forced_down")))
)


def brief_hypervisor(host: Host, service: ServiceRecord, *, up: bool) -> dict[str, Any]:
    view = {
        "id": host.id,
        "hypervisor_hostname": host.name,
        "state": "up" if up else "down",
        "status": "disabled" if service.disabled else "enabled",
    }
    return Rich(view, {"id": service.number})


def hypervisor_view(host: Host, service: ServiceRecord, *, up: bool) -> dict[str, Any]:
    """In full. What only older versions show: capacity, and the CPU."""
    brief = brief_hypervisor(host, service, up=up)
    view = {
        **brief,
        "hypervisor_type": host.hypervisor_type,
        "hypervisor_version": host.hypervisor_version,
        "host_ip": host.address,
        "service": {
            "id": service.id,
            "host": service.host,
            "disabled_reason": service.disabled_reason,
        },
        "uptime": host.uptime or None,
    }
    return Rich(
        view,
        {
            "id": service.number,
            "cpu_info": {
                "arch": host.cpu_arch,
                "model": host.cpu_model,
                "vendor": "",
                "features": [],
                "topology": {"cores": host.vcpus, "threads": 1, "sockets": 1},
            },
            **statistics([host], current=False),
        },
    )


def statistics(hosts: list[Host], *, current: bool = True) -> dict[str, int]:
    """Sums over ``hosts``; ``current``: with how many there are."""
    totals = {
        "vcpus": sum(host.vcpus for host in hosts),
        "memory_mb": sum(host.memory_mb for host in hosts),
        "local_gb": sum(host.disk_gb for host in hosts),
        "vcpus_used": sum(host.vcpus_used for host in hosts),
        "memory_mb_used": sum(host.memory_mb_used for host in hosts),
        "local_gb_used": sum(host.disk_gb_used for host in hosts),
        "free_ram_mb": sum(host.memory_mb - host.memory_mb_used for host in hosts),
        "free_disk_gb": sum(host.disk_gb - host.disk_gb_used for host in hosts),
        "current_workload": 0,
        "running_vms": sum(host.servers for host in hosts),
        "disk_available_least": sum(host.disk_free_gb for host in hosts),
    }
    return {"count": len(hosts), **totals} if current else totals


def _with_capacity(item: Json) -> None:
    if "service" in item:
        more = {k: v for k, v in item.facts.items() if k != "id"}  # type: ignore[attr-defined]  # Rich
        item.pop("uptime")
        item.update(more)


def _no_empty_servers(item: Json) -> None:
    if item.get("servers") == []:
        del item["servers"]


def _cpu_info_as_text(item: Json) -> None:
    if "cpu_info" in item:
        item["cpu_info"] = msgspec.json.encode(item["cpu_info"]).decode()


def _hypervisor_by_number(item: Json) -> None:
    number = item.facts["id"]  # type: ignore[attr-defined]  # Rich, by the views above
    item["id"] = number
    if "service" in item:
        item["service"] = {**item["service"], "id": number}


HYPERVISORS_DOWN = for_each(
    "hypervisor",
    "hypervisors",
    (
        ((2, 88), _with_capacity),
        ((2, 75), _no_empty_servers),
        ((2, 53), _hypervisor_by_number),
        ((2, 28), _cpu_info_as_text),
    ),
)
