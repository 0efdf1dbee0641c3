"""The desired state of a host's networking, as values.

The network service answers these (``binding:vif_details`` of a bound port, and the host's whole
wiring for a full pass); ``hostnet/host.py`` makes the kernel agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class SubnetWiring(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    cidr: str
    ip_version: int = 4
    gateway_ip: str | None = None
    enable_dhcp: bool = True
    dhcp_ip: str | None = None
    """Address of the DHCP and metadata namespace in this subnet (the network:dhcp port)."""
    dns_nameservers: Sequence[str] = ()
    host_routes: Sequence[tuple[str, str]] = ()
    """(destination CIDR, next hop) pairs."""
    ra_mode: str = ""
    """What we advertise: ``slaac``, ``dhcpv6-stateless``, ``dhcpv6-stateful``; nothing: nothing."""
    address_mode: str = ""
    """How guests get their IPv6 addresses from us: one of the same words, or not at all."""


class RemotePort(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a network of this host's that is wired on another host."""

    mac: str
    host_ip: str
    """The other host's address on the underlay; empty while it has none."""
    addresses: Sequence[str] = ()
    device_id: str = ""
    project_id: str = ""


class NetworkWiring(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    mtu: int
    segment: int = 0
    """VXLAN network identifier; 0: the network ends at this host."""
    external: bool = False
    physical_network: str = ""
    """What the operator calls the wire that the network is on; empty for an overlay."""
    subnets: Sequence[SubnetWiring] = ()
    remotes: Sequence[RemotePort] | None = None
    """None: not told, as in a port's own wiring."""


class DhcpOption(msgspec.Struct, frozen=True, kw_only=True):
    ip_version: int
    name: str
    value: str


class PortWiring(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    mac: str
    network_id: str
    device_id: str
    """The server that owns the port, or the like of ``dhcp-...``."""
    project_id: str = ""
    fixed_ips: Sequence[tuple[str, str]] = ()
    """(subnet id, address) pairs."""
    hostname: str = ""
    up: bool = True
    secured: bool = True
    """Whether what it sends and receives is judged at all."""
    groups: Sequence[str] = ()
    """Ids of its security groups."""
    pairs: Sequence[tuple[str, str]] = ()
    """(MAC, address or CIDR) pairs that it may use besides its own."""
    dhcp_options: Sequence[DhcpOption] = ()
    awaited: bool = False
    """Its guest still runs on another host, where what is for it goes until it has come."""


class RuleWiring(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of a security group, as Network v2.0 has it."""

    direction: str
    ethertype: str
    protocol: str | None = None
    """Name or number."""
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_set: str | None = None
    """Id of the security group or address group whose addresses are the other side."""


class GroupWiring(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    stateful: bool = True
    rules: Sequence[RuleWiring] = ()


class AddressSet(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses behind a ``remote_set``: those of a group's ports, wherever they are."""

    id: str
    addresses: Sequence[str] = ()
    """Addresses and CIDRs of both versions."""


class RouterLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A router's port: the namespace's device on one network."""

    port_id: str
    network_id: str
    mac: str
    addresses: Sequence[str] = ()
    """With prefix length."""


class Forwarding(msgspec.Struct, frozen=True, kw_only=True):
    """A port of a floating IP that leads to a port of a guest."""

    floating_ip: str
    protocol: str
    external_port: str
    """A number, or two with a dash between."""
    internal_ip: str
    internal_port: str


class RouterWiring(msgspec.Struct, frozen=True, kw_only=True):
    """A router that this host carries."""

    id: str
    up: bool = True
    legs: Sequence[RouterLeg] = ()
    gateway: RouterLeg | None = None
    next_hops: Sequence[str] = ()
    """The external network's gateways, at most one of each IP version."""
    snat: bool = True
    routes: Sequence[tuple[str, str]] = ()
    """(destination CIDR, next hop) pairs."""
    floating_ips: Sequence[tuple[str, str]] = ()
    """(floating, fixed) address pairs."""
    forwardings: Sequence[Forwarding] = ()


class HostWiring(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one host has to have; what is not in here goes away."""

    networks: Sequence[NetworkWiring] = msgspec.field(default_factory=list)
    ports: Sequence[PortWiring] = msgspec.field(default_factory=list)
    groups: Sequence[GroupWiring] = msgspec.field(default_factory=list)
    sets: Sequence[AddressSet] = msgspec.field(default_factory=list)
    routers: Sequence[RouterWiring] = msgspec.field(default_factory=list)
    reach: Sequence[tuple[str, str]] = msgspec.field(default_factory=list)
    """(address on an external network, underlay address of the host that has it) pairs."""
    tunnel_ip: str = ""
    """This host's own address on the underlay."""
