"""What the store returns: immutable values, one class a noun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

DHCP_OWNER = "network:dhcp"
"""``device_owner`` of the port that holds a subnet's DHCP and metadata address."""
INTERFACE_OWNER = "network:router_interface"
GATEWAY_OWNER = "network:router_gateway"
FLOATING_OWNER = "network:floatingip"
SERVED_OWNERS = (DHCP_OWNER, INTERFACE_OWNER, GATEWAY_OWNER)
"""Owners of ports that hosts serve without being bound to them."""
AUTOMATIC = ("slaac", "dhcpv6-stateless")
"""IPv6 modes in which an interface's address follows from its MAC."""


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
    network_type: str
    """``vxlan`` or ``flat``."""
    physical_network: str | None
    """What a flat network is laid on."""
    segment: int | None
    """VXLAN network identifier."""


class Subnet(Standard, frozen=True, kw_only=True):
    network_id: str
    subnetpool_id: str | None
    ip_version: int
    cidr: str
    gateway_ip: str | None
    enable_dhcp: bool
    ipv6_ra_mode: str | None
    """``slaac``, ``dhcpv6-stateless`` or ``dhcpv6-stateful``: a router here sends advertisements
    of this kind; None: an outside router does, if any.
    """
    ipv6_address_mode: str | None
    """How guests get their addresses; None: not by minicloud."""
    dns_nameservers: Sequence[str]
    host_routes: Sequence[tuple[str, str]]
    """(destination CIDR, next hop) pairs."""
    allocation_pools: Sequence[tuple[str, str]]
    """(first, last) address pairs."""
    service_types: Sequence[str] = ()
    """``device_owner`` of the only ports that take addresses of it unasked; none: all do."""

    @property
    def is_automatic(self) -> bool:
        """Whether an interface's address follows from its MAC."""
        return self.ipv6_address_mode in AUTOMATIC or self.ipv6_ra_mode in AUTOMATIC


class FixedIp(msgspec.Struct, frozen=True):
    subnet_id: str
    number: int
    """The address as an integer; see ``ipam.py``."""


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
    awaited_on: str
    """The host that its guest is on its way to, while it still runs where the port is bound."""
    profile: Mapping[str, Any]
    vnic_type: str
    allowed_address_pairs: Sequence[tuple[str, str]]
    """(address or CIDR, MAC) pairs that the port may use besides its own."""
    extra_dhcp_opts: Sequence[tuple[str, str, int]]
    """(name, value, IP version) of DHCP options for this port alone."""
    fixed_ips: Sequence[FixedIp] = ()
    security_groups: Sequence[str] = ()


class Router(Standard, frozen=True, kw_only=True):
    admin_state_up: bool
    enable_snat: bool
    external_network_id: str | None
    """The network of its gateway; None: it has none."""
    routes: Sequence[tuple[str, str]]
    """(destination CIDR, next hop) pairs."""
    availability_zone_hints: Sequence[str]
    host: str
    """The gateway host that carries it; empty while none does."""


class FloatingIp(Standard, frozen=True, kw_only=True):
    floating_network_id: str
    floating_port_id: str
    """The port that holds the address on the external network."""
    floating_number: int
    port_id: str | None
    """Whose traffic it is."""
    fixed_number: int | None
    """Which of that port's addresses."""
    router_id: str | None
    dns_name: str
    dns_domain: str


class PortForwarding(Standard, frozen=True, kw_only=True):
    """``external_first`` to ``external_last`` of a floating IP go to as many of a port's."""

    floatingip_id: str
    internal_port_id: str
    internal_number: int
    protocol: str
    internal_first: int
    internal_last: int
    external_first: int
    external_last: int


class AddressScope(Standard, frozen=True, kw_only=True):
    ip_version: int
    shared: bool


class SubnetPool(Standard, frozen=True, kw_only=True):
    ip_version: int
    address_scope_id: str | None
    prefixes: Sequence[str]
    default_prefixlen: int
    min_prefixlen: int
    max_prefixlen: int
    default_quota: int | None
    """What one project may take: addresses in IPv4, networks of 64 bits in IPv6."""
    shared: bool
    is_default: bool


class AddressGroup(Standard, frozen=True, kw_only=True):
    addresses: Sequence[str]
    shared: bool


class RbacPolicy(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    object_type: str
    object_id: str
    action: str
    target_project: str


class Rule(Standard, frozen=True, kw_only=True):
    security_group_id: str
    remote_group_id: str | None
    remote_address_group_id: str | None
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None


class DefaultRule(Standard, frozen=True, kw_only=True):
    """A rule that new groups begin with."""

    direction: Literal["ingress", "egress"]
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None
    remote_group_id: str | None
    remote_address_group_id: str | None
    used_in_default_sg: bool
    used_in_non_default_sg: bool


class Group(Standard, frozen=True, kw_only=True):
    is_default: bool
    stateful: bool
    shared: bool
    rules: Sequence[Rule] = ()


Record = TypeVar("Record", bound=msgspec.Struct)


def from_row(row: Mapping[Any, Any], kind: type[Record]) -> Record:
    """A row's columns as ``kind``; the columns' names are more than plain strings."""
    return msgspec.convert({str(name): value for name, value in row.items()}, kind)
