"""What a server looks like in replies: the newest shape, and its conversions to older ones.

Lists show a thousand servers at a time, so views are plain dicts built once each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from minicloud.api.schemas.older import Rich, for_each, without
from minicloud.db.aggregates import DEFAULT_ZONE
from minicloud.db.servers import ServerName
from minicloud.domain.ids import domain_name
from minicloud.domain.models import Fault, Flavor, NicInfo, Server
from minicloud.domain.states import status
from minicloud.kit.clock import iso, iso_micro
from minicloud.kit.web.versions import Json

_WITH_PROGRESS = frozenset(
    {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "REVERT_RESIZE", "MIGRATING"}
)
_WITH_FAULT = frozenset({"ERROR", "DELETED"})
ATTRIBUTE = "OS-EXT-SRV-ATTR:"


class Viewer(msgspec.Struct, frozen=True, kw_only=True):
    """Who looks, and from where: what decides a view besides the server."""

    base_url: str
    attributes: bool
    """Whether the host and other extended attributes are shown."""
    details: bool
    """Whether an unforeseen fault's details are shown."""
    extra_specs: bool
    host_status: Mapping[str, str] | None
    """Host -> UP, DOWN or MAINTENANCE; None: not shown."""
    zones: Mapping[str, str]
    """Host -> its availability zone, where that is not the default one."""


@lru_cache(maxsize=4096)
def host_id(project_id: str, host: str | None) -> str:
    """A host's name as a project sees it: the same for its servers there, opaque to others."""
    return hashlib.sha224(f"{project_id}{host}".encode()).hexdigest() if host else ""


def links(base_url: str, server_id: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{base_url}/v2.1/servers/{server_id}"},
        {"rel": "bookmark", "href": f"{base_url}/servers/{server_id}"},
    ]


def brief_view(server: Server | ServerName, base_url: str) -> dict[str, Any]:
    """The server in a list without details."""
    return {"id": server.id, "name": server.name, "links": links(base_url, server.id)}


def server_view(server: Server, viewer: Viewer) -> dict[str, Any]:
    """The server in full, as in ``/servers/detail``."""
    word = status(server.vm_state, server.task_state)
    base = viewer.base_url
    view: dict[str, Any] = {
        "id": server.id,
        "name": server.name,
        "status": word,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.metadata,
        "hostId": host_id(server.project_id, server.host),
        "image": _image(server, base),
        "flavor": _flavor(server.flavor, viewer),
        "created": iso(server.created_at),
        "updated": iso(server.updated_at),
        "addresses": addresses(server.nics),
        "accessIPv4": server.access_ip_v4,
        "accessIPv6": server.access_ip_v6,
        "links": links(base, server.id),
        "OS-DCF:diskConfig": server.disk_config,
        "OS-EXT-AZ:availability_zone": _zone(server, viewer),
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": iso_micro(server.launched_at),
        "OS-SRV-USG:terminated_at": iso_micro(server.terminated_at),
        "security_groups": groups_view(server),
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [
            {"id": v.volume_id, "delete_on_termination": v.delete_on_termination}
            for v in server.volumes
        ],
        "OS-EXT-SRV-ATTR:hostname": server.hostname,
        "locked": server.locked,
        "locked_reason": server.locked_reason,
        "description": server.description,
        "tags": server.tags,
        "trusted_image_certificates": None,
        "pinned_availability_zone": server.availability_zone,
        "scheduler_hints": server.scheduler_hints,
    }
    if word in _WITH_PROGRESS:
        view["progress"] = 0
    if word in _WITH_FAULT and server.fault is not None:
        view["fault"] = _fault(server.fault, viewer)
    if viewer.attributes:
        view[ATTRIBUTE + "host"] = server.host
        view[ATTRIBUTE + "hypervisor_hostname"] = server.host
        view[ATTRIBUTE + "instance_name"] = domain_name(server.id)
        view[ATTRIBUTE + "kernel_id"] = ""
        view[ATTRIBUTE + "ramdisk_id"] = ""
        view[ATTRIBUTE + "launch_index"] = server.launch_index
        view[ATTRIBUTE + "reservation_id"] = server.reservation_id
        view[ATTRIBUTE + "root_device_name"] = f"/dev/{server.root_device}"
        view[ATTRIBUTE + "user_data"] = server.user_data
    if viewer.host_status is not None:
        view["host_status"] = viewer.host_status.get(server.host, "DOWN") if server.host else ""
    return view


def groups_view(server: Server) -> list[dict[str, str]]:
    """The security groups by name; without a NIC there is none."""
    names = server.security_groups if server.requested_nics else []
    return [{"name": name} for name in names]


def _zone(server: Server, viewer: Viewer) -> str:
    """Where it is; while no host has it, where it was asked to be."""
    if server.host is None:
        return server.availability_zone or ""
    return viewer.zones.get(server.host, DEFAULT_ZONE)


def _image(server: Server, base_url: str) -> Any:
    if not server.image_id:
        return ""
    bookmark = {"rel": "bookmark", "href": f"{base_url}/images/{server.image_id}"}
    return {
        "id": server.image_id,
        "links": [bookmark],
        "properties": server.image_properties,
    }


def _flavor(flavor: Flavor, viewer: Viewer) -> dict[str, Any]:
    view = {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": flavor.ephemeral,
        "swap": flavor.swap,
        "original_name": flavor.name,
    }
    if viewer.extra_specs:
        view["extra_specs"] = flavor.extra_specs
    bookmark = {"rel": "bookmark", "href": f"{viewer.base_url}/flavors/{flavor.id}"}
    return Rich(view, {"id": flavor.id, "links": [bookmark]})


def _fault(fault: Fault, viewer: Viewer) -> dict[str, Any]:
    view = {"code": fault.code, "created": iso(fault.created_at), "message": fault.message}
    if fault.details and (fault.code != 500 or viewer.details):
        view["details"] = fault.details
    return view


def addresses(nics: Sequence[NicInfo]) -> dict[str, list[dict[str, Any]]]:
    """Network name -> its addresses, in the order of the NICs."""
    found: dict[str, list[dict[str, Any]]] = {}
    for nic in nics:
        known = found.setdefault(nic.network_name, [])
        for kind, those in (("fixed", nic.addresses), ("floating", nic.floating)):
            for address in those:
                known.append(
                    {
                        "version": 6 if ":" in address else 4,
                        "addr": address,
                        "OS-EXT-IPS:type": kind,
                        "OS-EXT-IPS-MAC:mac_addr": nic.mac,
                    }
                )
    return found


# -- older microversions ---------------------------------------------------------------------------
def _hostname_of_admins(item: Json) -> None:
    if ATTRIBUTE + "host" not in item:
        item.pop(ATTRIBUTE + "hostname", None)


def _flavor_by_id(item: Json) -> None:
    item["flavor"] = item["flavor"].facts


def _image_without_properties(item: Json) -> None:
    if item["image"]:
        item["image"].pop("properties")


def _volumes_by_id(item: Json) -> None:
    attached = "os-extended-volumes:volumes_attached"
    if attached in item:
        item[attached] = [{"id": volume["id"]} for volume in item[attached]]


_SINCE_2_3 = without(
    *(
        ATTRIBUTE + name
        for name in (
            "hostname", "kernel_id", "launch_index", "ramdisk_id", "reservation_id",
            "root_device_name", "user_data",
        )
    )
)  # fmt: skip

DOWN = for_each(
    "server",
    "servers",
    (
        ((2, 100), without("scheduler_hints")),
        ((2, 98), _image_without_properties),
        ((2, 96), without("pinned_availability_zone")),
        ((2, 90), _hostname_of_admins),
        ((2, 73), without("locked_reason")),
        ((2, 71), without("server_groups")),
        ((2, 63), without("trusted_image_certificates")),
        ((2, 47), _flavor_by_id),
        ((2, 26), without("tags")),
        ((2, 19), without("description")),
        ((2, 16), without("host_status")),
        ((2, 9), without("locked")),
        ((2, 3), _volumes_by_id),
        ((2, 3), _SINCE_2_3),
    ),
)

_OLD_UPDATES_LACK = (
    "security_groups",
    "config_drive",
    "host_status",
    "os-extended-volumes:volumes_attached",
    "OS-EXT-AZ:availability_zone",
    "OS-EXT-STS:task_state",
    "OS-EXT-STS:vm_state",
    "OS-EXT-STS:power_state",
    "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at",
    *(
        ATTRIBUTE + name
        for name in (
            "host", "hostname", "hypervisor_hostname", "instance_name", "kernel_id",
            "launch_index", "ramdisk_id", "reservation_id", "root_device_name", "user_data",
        )
    ),
)  # fmt: skip


def _addresses_alone(item: Json) -> None:
    item["addresses"] = {
        network: [{"version": each["version"], "addr": each["addr"]} for each in those]
        for network, those in item["addresses"].items()
    }


_OLD_UPDATE = (
    ((2, 75), _addresses_alone),
    ((2, 75), without("key_name", *_OLD_UPDATES_LACK)),
)
DOWN_UPDATE = [*for_each("server", "servers", _OLD_UPDATE), *DOWN]
"""Replies to PUT, which were smaller before 2.75. Newest first matters within DOWN only."""
DOWN_REBUILD = [
    *for_each(
        "server",
        "servers",
        (
            ((2, 75), _addresses_alone),
            ((2, 75), without(*_OLD_UPDATES_LACK)),
            ((2, 57), without("user_data")),
            ((2, 54), without("key_name")),
        ),
    ),
    *DOWN,
]
"""Replies to a rebuild, the same but for the key and the user data."""
