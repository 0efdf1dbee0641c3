"""Replies about routers, floating IPs and port forwardings, to the letter of Network v2.0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.network.ipam import address_of
from minicloud.network.records import FloatingIp, Port, PortForwarding, Router
from minicloud.network.views import port_status, standard

Json = dict[str, Any]


def router_view(router: Router, gateway: Port | None, tags: Sequence[str]) -> Json:
    info = None
    if gateway is not None:
        info = {
            "network_id": gateway.network_id,
            "enable_snat": router.enable_snat,
            "external_fixed_ips": _fixed_ips(gateway),
        }
    return {
        **standard(router),
        "admin_state_up": router.admin_state_up,
        "status": "ACTIVE",
        "external_gateway_info": info,
        "routes": [
            {"destination": destination, "nexthop": hop} for destination, hop in router.routes
        ],
        "availability_zone_hints": list(router.availability_zone_hints),
        "availability_zones": [],
        "flavor_id": None,
        "tags": list(tags),
    }


def floating_view(
    floating: FloatingIp,
    port: Port | None,
    forwardings: Sequence[PortForwarding],
    tags: Sequence[str],
) -> Json:
    """``port``: the one whose traffic it is."""
    view = {
        **standard(floating),
        "floating_network_id": floating.floating_network_id,
        "floating_ip_address": address_of(floating.floating_number),
        "port_id": floating.port_id,
        "fixed_ip_address": (
            None if floating.fixed_number is None else address_of(floating.fixed_number)
        ),
        "router_id": floating.router_id,
        "status": "ACTIVE" if floating.router_id else "DOWN",
        "dns_name": floating.dns_name,
        "dns_domain": floating.dns_domain,
        "port_details": None if port is None else _port_details(port),
        "port_forwardings": [_short(forwarding) for forwarding in forwardings],
        "tags": list(tags),
    }
    del view["name"]
    return view


def forwarding_view(forwarding: PortForwarding) -> Json:
    inner = (forwarding.internal_first, forwarding.internal_last)
    outer = (forwarding.external_first, forwarding.external_last)
    view: Json = {
        "id": forwarding.id,
        "description": forwarding.description,
        "protocol": forwarding.protocol,
        "internal_port_id": forwarding.internal_port_id,
        "internal_ip_address": address_of(forwarding.internal_number),
        "internal_port_range": _range(inner),
        "external_port_range": _range(outer),
    }
    for name, (first, last) in (("internal_port", inner), ("external_port", outer)):
        if first == last:
            view[name] = first
    return view


def _short(forwarding: PortForwarding) -> Json:
    view = forwarding_view(forwarding)
    return {name: value for name, value in view.items() if name not in ("id", "internal_port_id")}


def _range(edges: tuple[int, int]) -> str:
    return str(edges[0]) if edges[0] == edges[1] else f"{edges[0]}:{edges[1]}"


def _port_details(port: Port) -> Mapping[str, Any]:
    return {
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac_address,
        "admin_state_up": port.admin_state_up,
        "status": port_status(port),
        "device_id": port.device_id,
        "device_owner": port.device_owner,
    }


def _fixed_ips(port: Port) -> list[Json]:
    return [
        {"subnet_id": fixed.subnet_id, "ip_address": address_of(fixed.number)}
        for fixed in port.fixed_ips
    ]
