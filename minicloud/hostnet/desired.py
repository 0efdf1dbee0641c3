"""Desired states put together and checked. Pure.

What comes in ends up in lines for ``ip`` and nft, so everything in it has to be what it claims
to be; and one state has one form, so that equal states compare equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import TypeVar

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, SubnetWiring

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MTU = range(68, 65536)
_T = TypeVar("_T", NetworkWiring, PortWiring)


def with_port(wiring: HostWiring, network: NetworkWiring, port: PortWiring) -> HostWiring:
    """``wiring`` with this network and port in place of any that had their ids.

    Raises Invalid if they are not well formed.
    """
    _check_network(network)
    _check_port(port)
    if port.network_id != network.id:
        raise Invalid(reason=f"Port {port.id} is not on network {network.id}")
    return HostWiring(
        networks=_in_order([*_others(wiring.networks, network.id), _one_form(network)]),
        ports=_in_order([*_others(wiring.ports, port.id), _one_form(port)]),
    )


def without_port(wiring: HostWiring, port_id: str) -> HostWiring:
    """``wiring`` without the port, and without its network if that was the network's last."""
    return _used(wiring.networks, _others(wiring.ports, port_id))


def normal(wiring: HostWiring) -> HostWiring:
    """The same in its one form, without networks that have no port here.

    Raises Invalid if anything is not well formed or a port's network is missing.
    """
    for network in wiring.networks:
        _check_network(network)
    networks = {network.id for network in wiring.networks}
    for port in wiring.ports:
        _check_port(port)
        if port.network_id not in networks:
            raise Invalid(
                reason=f"Port {port.id} is on network {port.network_id}, which is missing"
            )
    return _used(map(_one_form, wiring.networks), map(_one_form, wiring.ports))


def _used(networks: Iterable[NetworkWiring], ports: Iterable[PortWiring]) -> HostWiring:
    kept = list(ports)
    used = {port.network_id for port in kept}
    return HostWiring(
        networks=_in_order([network for network in networks if network.id in used]),
        ports=_in_order(kept),
    )


def _others(items: Iterable[_T], without: str) -> list[_T]:
    return [item for item in items if item.id != without]


def _in_order(items: list[_T]) -> list[_T]:
    return sorted(items, key=lambda item: item.id)


def _one_form(item: _T) -> _T:
    """The item as it would come out of a JSON file: lists, never tuples or views."""
    return msgspec.convert(msgspec.to_builtins(item), type(item))


def _check_network(network: NetworkWiring) -> None:
    _require(_ID.fullmatch(network.id) is not None, "network id", network.id)
    _require(network.mtu in _MTU, "MTU", network.mtu)
    for subnet in network.subnets:
        _check_subnet(subnet)


def _check_subnet(subnet: SubnetWiring) -> None:
    _require(_ID.fullmatch(subnet.id) is not None, "subnet id", subnet.id)
    _check_range(subnet.cidr)
    for address in (subnet.gateway_ip, subnet.dhcp_ip, *subnet.dns_nameservers):
        if address is not None:
            _check_address(address)
    for destination, hop in subnet.host_routes:
        _check_range(destination)
        _check_address(hop)


def _check_port(port: PortWiring) -> None:
    _require(_ID.fullmatch(port.id) is not None, "port id", port.id)
    _require(_ID.fullmatch(port.network_id) is not None, "network id", port.network_id)
    _require(_MAC.fullmatch(port.mac.lower()) is not None, "MAC address", port.mac)
    for _, address in port.fixed_ips:
        _check_address(address)


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError:
        _require(False, "IP address", text)


def _check_range(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        _require(False, "CIDR", text)
    _require("/" in text, "CIDR", text)


def _require(holds: bool, what: str, value: object) -> None:
    if not holds:
        raise Invalid(reason=f"{value!r} is no {what}")
