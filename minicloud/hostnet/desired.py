"""Desired states put together and checked. Pure.

What comes in ends up in lines for ``ip`` and nft, so everything in it has to be what it claims
to be; and one state has one form, so that equal states compare equal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_network
from typing import TypeVar

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.hostnet.group_rules import NUMBERS
from minicloud.hostnet.wiring import (
    AddressSet,
    GroupWiring,
    HostWiring,
    NetworkWiring,
    PortWiring,
    RouterLeg,
    RouterWiring,
    RuleWiring,
    SubnetWiring,
)

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PORTS = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?")
_OPTION_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9:_-]*")
_MTU = range(68, 65536)
_SEGMENTS = range(2**24)
_T = TypeVar("_T", NetworkWiring, PortWiring, GroupWiring, AddressSet, RouterWiring)


def with_port(wiring: HostWiring, network: NetworkWiring, port: PortWiring) -> HostWiring:
    """``wiring`` with this network and port in place of any that had their ids.

    A network that tells of no ports elsewhere keeps those that are known. Raises Invalid if they
    are not well formed.
    """
    _check_network(network)
    _check_port(port)
    if port.network_id != network.id:
        raise Invalid(reason=f"Port {port.id} is not on network {network.id}")
    known = next((item for item in wiring.networks if item.id == network.id), None)
    if network.remotes is None and known is not None:
        network = msgspec.structs.replace(network, remotes=known.remotes)
    return msgspec.structs.replace(
        wiring,
        networks=_in_order([*_others(wiring.networks, network.id), _one_form(network)]),
        ports=_in_order([*_others(wiring.ports, port.id), _one_form(port)]),
    )


def without_port(wiring: HostWiring, port_id: str) -> HostWiring:
    """``wiring`` without the port, and without its network if that was the network's last."""
    return _used(msgspec.structs.replace(wiring, ports=_others(wiring.ports, port_id)))


def knows_all_about(wiring: HostWiring, port: PortWiring) -> bool:
    """Whether the port's groups, and who else is on its network, have been told."""
    groups = {group.id for group in wiring.groups}
    network = next((item for item in wiring.networks if item.id == port.network_id), None)
    told = network is not None and network.remotes is not None
    return told and (not port.secured or groups.issuperset(port.groups))


def has_any(wiring: HostWiring, things: Collection[str]) -> bool:
    """Whether one of these ids is a network, security group or address set of the wiring."""
    here = {item.id for kind in (wiring.networks, wiring.groups, wiring.sets) for item in kind}
    return not here.isdisjoint(things)


def normal(wiring: HostWiring) -> HostWiring:
    """The same in its one form, without networks that nothing here is on.

    Raises Invalid if anything is not well formed or a port's network is missing.
    """
    for network in wiring.networks:
        _check_network(network)
    networks = {network.id for network in wiring.networks}
    for port in wiring.ports:
        _check_port(port)
        _require_network(networks, f"Port {port.id}", port.network_id)
    for group in wiring.groups:
        _check_group(group)
    for members in wiring.sets:
        _check_set(members)
    for router in wiring.routers:
        _check_router(router)
        for leg in _legs(router):
            _require_network(networks, f"Router {router.id}", leg.network_id)
    for address, host_ip in wiring.reach:
        _check_address(address)
        _check_address(host_ip)
    if wiring.tunnel_ip:
        _check_address(wiring.tunnel_ip)
    return _used(_plain(wiring))


def _used(wiring: HostWiring) -> HostWiring:
    used = {port.network_id for port in wiring.ports}
    used |= {leg.network_id for router in wiring.routers for leg in _legs(router)}
    return msgspec.structs.replace(
        wiring,
        networks=_in_order([network for network in wiring.networks if network.id in used]),
        ports=_in_order(list(wiring.ports)),
        groups=_in_order(list(wiring.groups)),
        sets=_in_order(list(wiring.sets)),
        routers=_in_order(list(wiring.routers)),
    )


def _legs(router: RouterWiring) -> list[RouterLeg]:
    return [*router.legs, *([router.gateway] if router.gateway else [])]


def _others(items: Iterable[_T], without: str) -> list[_T]:
    return [item for item in items if item.id != without]


def _in_order(items: list[_T]) -> list[_T]:
    return sorted(items, key=lambda item: item.id)


def _one_form(item: _T) -> _T:
    """The item as it would come out of a JSON file: lists, never tuples or views."""
    return msgspec.convert(msgspec.to_builtins(item), type(item))


def _plain(wiring: HostWiring) -> HostWiring:
    return msgspec.convert(msgspec.to_builtins(wiring), HostWiring)


def _check_network(network: NetworkWiring) -> None:
    _require(_ID.fullmatch(network.id) is not None, "network id", network.id)
    _require(network.mtu in _MTU, "MTU", network.mtu)
    _require(network.segment in _SEGMENTS, "VXLAN identifier", network.segment)
    for subnet in network.subnets:
        _check_subnet(subnet)
    for remote in network.remotes or ():
        _require(_MAC.fullmatch(remote.mac) is not None, "MAC address", remote.mac)
        for address in (*remote.addresses, *([remote.host_ip] if remote.host_ip else [])):
            _check_address(address)


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
    for mac, address in port.pairs:
        _require(_MAC.fullmatch(mac.lower()) is not None, "MAC address", mac)
        _check_prefix(address)
    for group_id in port.groups:
        _require(_ID.fullmatch(group_id) is not None, "security group id", group_id)
    for option in port.dhcp_options:
        _require(_OPTION_NAME.fullmatch(option.name) is not None, "DHCP option", option.name)
        _require(option.value.isprintable(), "value of a DHCP option", option.value)


def _check_group(group: GroupWiring) -> None:
    _require(_ID.fullmatch(group.id) is not None, "security group id", group.id)
    for rule in group.rules:
        _check_rule(rule)


def _check_rule(rule: RuleWiring) -> None:
    _require(rule.ethertype in ("IPv4", "IPv6"), "ethertype", rule.ethertype)
    _require(rule.direction in ("ingress", "egress"), "direction", rule.direction)
    protocol = rule.protocol
    is_number = protocol is not None and protocol.isascii() and protocol.isdigit()
    _require(protocol is None or protocol in NUMBERS or is_number, "protocol", protocol)
    if rule.remote_ip_prefix is not None:
        _check_prefix(rule.remote_ip_prefix)
    if rule.remote_set is not None:
        _require(_ID.fullmatch(rule.remote_set) is not None, "address set", rule.remote_set)


def _check_set(members: AddressSet) -> None:
    _require(_ID.fullmatch(members.id) is not None, "address set", members.id)
    for address in members.addresses:
        _check_prefix(address)


def _check_router(router: RouterWiring) -> None:
    _require(_ID.fullmatch(router.id) is not None, "router id", router.id)
    for leg in _legs(router):
        _require(_ID.fullmatch(leg.port_id) is not None, "port id", leg.port_id)
        _require(_MAC.fullmatch(leg.mac) is not None, "MAC address", leg.mac)
        for address in leg.addresses:
            _check_range(address)
    for destination, hop in router.routes:
        _check_range(destination)
        _check_address(hop)
    for pair in (router.next_hops, *router.floating_ips):
        for address in pair:
            _check_address(address)
    for item in router.forwardings:
        _check_address(item.floating_ip)
        _check_address(item.internal_ip)
        _require(item.protocol in NUMBERS, "protocol", item.protocol)
        for span in (item.external_port, item.internal_port):
            _require(_PORTS.fullmatch(span) is not None, "port", span)


def _require_network(networks: set[str], who: str, network_id: str) -> None:
    if network_id not in networks:
        raise Invalid(reason=f"{who} is on network {network_id}, which is missing")


def _check_prefix(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        _require(False, "address or CIDR", text)


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
