"""Replies, to the letter of Network v2.0. Pure: records in, JSON values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.kit import clock
from minicloud.network.ipam import address_of
from minicloud.network.records import (
    SERVED_OWNERS,
    Group,
    Network,
    Port,
    Rule,
    Standard,
    Subnet,
    SubnetPool,
)

Json = dict[str, Any]


def standard(record: Standard) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "tenant_id": record.project_id,
        "project_id": record.project_id,
        "description": record.description,
        "created_at": clock.iso(record.created_at),
        "updated_at": clock.iso(record.updated_at),
        "revision_number": record.revision_number,
    }


def network_view(
    network: Network,
    subnet_ids: Sequence[str],
    tags: Sequence[str],
    *,
    shared: bool,
    scopes: Mapping[int, str],
    privileged: bool,
) -> Json:
    """``shared``: with the caller; ``scopes``: IP version -> address scope."""
    view = {
        **standard(network),
        "admin_state_up": network.admin_state_up,
        "status": "ACTIVE",
        "subnets": list(subnet_ids),
        "shared": shared,
        "router:external": network.external,
        "mtu": network.mtu,
        "port_security_enabled": network.port_security_enabled,
        "dns_domain": network.dns_domain,
        "availability_zone_hints": [],
        "availability_zones": [],
        "ipv4_address_scope": scopes.get(4),
        "ipv6_address_scope": scopes.get(6),
        "tags": list(tags),
    }
    if network.external:
        view["is_default"] = network.is_default
    if privileged:
        view |= {
            "provider:network_type": network.network_type,
            "provider:physical_network": network.physical_network,
            "provider:segmentation_id": network.segment,
        }
    return view


def subnet_view(subnet: Subnet, tags: Sequence[str]) -> Json:
    return {
        **standard(subnet),
        "network_id": subnet.network_id,
        "ip_version": subnet.ip_version,
        "cidr": subnet.cidr,
        "gateway_ip": subnet.gateway_ip,
        "enable_dhcp": subnet.enable_dhcp,
        "allocation_pools": [
            {"start": first, "end": last} for first, last in subnet.allocation_pools
        ],
        "dns_nameservers": list(subnet.dns_nameservers),
        "host_routes": [
            {"destination": destination, "nexthop": hop} for destination, hop in subnet.host_routes
        ],
        "ipv6_address_mode": subnet.ipv6_address_mode,
        "ipv6_ra_mode": subnet.ipv6_ra_mode,
        "subnetpool_id": subnet.subnetpool_id,
        "segment_id": None,
        "service_types": list(subnet.service_types),
        "tags": list(tags),
    }


def pool_view(pool: SubnetPool, tags: Sequence[str], *, shared: bool) -> Json:
    """``shared``: with the caller."""
    return {
        **standard(pool),
        "ip_version": pool.ip_version,
        "address_scope_id": pool.address_scope_id,
        "prefixes": list(pool.prefixes),
        "default_prefixlen": pool.default_prefixlen,
        "min_prefixlen": pool.min_prefixlen,
        "max_prefixlen": pool.max_prefixlen,
        "default_quota": pool.default_quota,
        "shared": shared,
        "is_default": pool.is_default,
        "tags": list(tags),
    }


def port_status(port: Port) -> str:
    is_served = port.host or port.device_owner in SERVED_OWNERS
    return "ACTIVE" if is_served and port.admin_state_up else "DOWN"


def port_view(
    port: Port, tags: Sequence[str], *, dns_domain: str, details: Mapping[str, Any] | None
) -> Json:
    """``details``: binding:vif_details of a bound port; None: the caller sees no bindings."""
    label = port.dns_name
    view = {
        **standard(port),
        "network_id": port.network_id,
        "mac_address": port.mac_address,
        "admin_state_up": port.admin_state_up,
        "status": port_status(port),
        "device_id": port.device_id,
        "device_owner": port.device_owner,
        "fixed_ips": [
            {"subnet_id": fixed.subnet_id, "ip_address": address_of(fixed.number)}
            for fixed in port.fixed_ips
        ],
        "security_groups": list(port.security_groups),
        "port_security_enabled": port.port_security_enabled,
        "allowed_address_pairs": [
            {"ip_address": address, "mac_address": mac}
            for address, mac in port.allowed_address_pairs
        ],
        "extra_dhcp_opts": [
            {"opt_name": name, "opt_value": value, "ip_version": version}
            for name, value, version in port.extra_dhcp_opts
        ],
        "dns_name": port.dns_name,
        "dns_assignment": [
            {
                "ip_address": address_of(fixed.number),
                "hostname": label or default_hostname(fixed.number),
                "fqdn": f"{label or default_hostname(fixed.number)}.{dns_domain}.",
            }
            for fixed in port.fixed_ips
        ],
        "binding:vnic_type": port.vnic_type,
        "tags": list(tags),
    }
    if details is not None:
        view |= {
            "binding:host_id": port.host,
            "binding:vif_type": "bridge" if port.host else "unbound",
            "binding:vif_details": dict(details),
            "binding:profile": dict(port.profile),
        }
    return view


def default_hostname(number: int) -> str:
    """The name of a guest without one: ``host-10-0-0-5``."""
    return f"host-{address_of(number).replace('.', '-').replace(':', '-')}".rstrip("-")


def group_view(group: Group, tags: Sequence[str], *, shared: bool) -> Json:
    """``shared``: with the caller."""
    return {
        **standard(group),
        "stateful": group.stateful,
        "shared": shared,
        "security_group_rules": [rule_view(rule, group) for rule in group.rules],
        "tags": list(tags),
    }


def rule_view(rule: Rule, group: Group | None = None) -> Json:
    view = {
        **standard(rule),
        "security_group_id": rule.security_group_id,
        "direction": rule.direction,
        "ethertype": rule.ethertype,
        "protocol": rule.protocol,
        "port_range_min": rule.port_range_min,
        "port_range_max": rule.port_range_max,
        "remote_ip_prefix": rule.remote_ip_prefix,
        "normalized_cidr": rule.remote_ip_prefix,
        "remote_group_id": rule.remote_group_id,
        "remote_address_group_id": rule.remote_address_group_id,
    }
    del view["name"]
    if group is not None:
        view["belongs_to_default_sg"] = group.is_default
    return view
