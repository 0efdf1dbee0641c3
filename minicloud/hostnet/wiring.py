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


class NetworkWiring(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    mtu: int
    subnets: Sequence[SubnetWiring] = ()


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


class HostWiring(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one host has to have; what is not in here goes away."""

    networks: Sequence[NetworkWiring] = ()
    ports: Sequence[PortWiring] = ()
