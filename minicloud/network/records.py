"""What the store returns: immutable values, one class a noun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

DHCP_OWNER = "network:dhcp"
"""``device_owner`` of the port that holds a subnet's DHCP and metadata address."""


class Standard(msgspec.Struct, frozen=True, kw_only=True):
    """What every resource has. Times are seconds since the epoch."""

    id: str
    project_id: str
    name: str
    description: str
    created_at: float
    updated_at: float
    revision_number: int


class Network(Standard, frozen=True, kw_only=True):
    admin_state_up: bool
    shared: bool
    external: bool
    is_default: bool
    port_security_enabled: bool
    mtu: int
    dns_domain: str
    segment: int
    """VXLAN network identifier."""


class Subnet(Standard, frozen=True, kw_only=True):
    network_id: str
    cidr: str
    gateway_ip: str | None
    enable_dhcp: bool
    dns_nameservers: Sequence[str]
    host_routes: Sequence[tuple[str, str]]
    """(destination CIDR, next hop) pairs."""
    allocation_pools: Sequence[tuple[str, str]]
    """(first, last) address pairs."""


class FixedIp(msgspec.Struct, frozen=True):
    subnet_id: str
    number: int
    """The IPv4 address as an integer."""


class Port(Standard, frozen=True, kw_only=True):
    network_id: str
    mac_address: str
    admin_state_up: bool
    port_security_enabled: bool
    device_id: str
    device_index: int | None
    """Which of the device's interfaces this is; unique per device where it is set."""
    device_owner: str
    dns_name: str
    host: str
    """The host that the port is bound to; empty while it is unbound."""
    profile: Mapping[str, Any]
    fixed_ips: Sequence[FixedIp] = ()
    security_groups: Sequence[str] = ()


class Rule(Standard, frozen=True, kw_only=True):
    security_group_id: str
    remote_group_id: str | None
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None


class Group(Standard, frozen=True, kw_only=True):
    is_default: bool
    rules: Sequence[Rule] = ()


Record = TypeVar("Record", bound=msgspec.Struct)


def from_row(row: Mapping[Any, Any], kind: type[Record]) -> Record:
    """A row's columns as ``kind``; the columns' names are more than plain strings."""
    return msgspec.convert({str(name): value for name, value in row.items()}, kind)
