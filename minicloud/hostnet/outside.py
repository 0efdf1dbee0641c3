"""External networks on a host: its own place on them, and the ways to what is on other hosts.

An external network without a wire of its own is the host's: the host has the gateway's address
and routes what it is sent. Addresses of it that are on other hosts are reached through these,
one route each; the network's neighbours on this host are answered in their place. An external
network with a wire of its own only gets the wire's device into its bridge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network

import msgspec

from minicloud.domain import ids
from minicloud.hostnet import devices
from minicloud.hostnet.view import REACH_PROTOCOL, Route, Space
from minicloud.hostnet.wiring import HostWiring, NetworkWiring


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A host's place on an external network."""

    lines: Sequence[str] = ()
    claims: Sequence[Route] = ()
    skipped: Sequence[str] = ()


def is_routed(network: NetworkWiring) -> bool:
    """Whether the host is the network's gateway."""
    return network.external and not network.physical_network


def ranges(networks: Iterable[NetworkWiring]) -> list[str]:
    """The IPv4 ranges whose guests and routers reach the world through the host's routing."""
    return [
        str(ip_network(subnet.cidr, strict=False))
        for network in networks
        if is_routed(network)
        for subnet in network.subnets
        if subnet.ip_version == 4
    ]


def plan_wire(network: NetworkWiring, wires: Mapping[str, str], root: Space) -> Place:
    """The device by which the host is on a flat network becomes the bridge's."""
    device = wires.get(network.physical_network)
    if device is None or device not in root.links:
        what = "which is not there" if device else "which this host is not on"
        name = device or network.physical_network
        return Place(skipped=[f"Network {network.id} is on {name}, {what}."])
    bridge = ids.bridge_name(network.id)
    link = root.links[device]
    if link.master == bridge and link.up:
        return Place()
    if link.addresses:
        sentence = f"{device} has addresses of this host's and stays out of network {network.id}."
        return Place(skipped=[sentence])
    return Place(lines=[f"link set dev {device} master {bridge} up"])


def plan_place(network: NetworkWiring, root: Space) -> Place:
    """The gateway's addresses on the network's bridge, unless the host has the range already."""
    bridge = ids.bridge_name(network.id)
    wanted: list[str] = []
    claims: list[Route] = []
    skipped: list[str] = []
    others = [route for route in root.routes if route.device != bridge and not route.is_reach]
    for subnet in network.subnets:
        if not subnet.gateway_ip:
            continue
        cidr = ip_network(subnet.cidr, strict=False)
        rival = _overlapping(str(cidr), others)
        if rival is not None:
            skipped.append(
                f"The host has a route to {rival.destination} by {rival.device or 'no device'}, "
                f"so it is no gateway of network {network.id}."
            )
            continue
        wanted.append(f"{subnet.gateway_ip}/{cidr.prefixlen}")
        claims.append(Route(destination=str(cidr), device=bridge, connected=True))
    link = root.links.get(bridge)
    lines = devices.addresses_of(bridge, wanted, link)
    return Place(lines=lines, claims=claims, skipped=skipped)


def plan_reach(wiring: HostWiring, root: Space) -> tuple[list[str], list[str]]:
    """Lines that make the routes to addresses on other hosts, and lines that remove old ones.

    A line that makes one may fail: a host that is not a neighbour cannot be gone through.
    """
    wanted = {
        _range(address): host
        for address, host in wiring.reach
        if ip_address(address).version == 4 and ip_address(host).version == 4
    }
    have = {route.destination: route.via for route in root.routes if route.is_reach}
    gone = [f"route del {target} proto {REACH_PROTOCOL}" for target in have if target not in wanted]
    come = [
        f"route replace {target} via {host} proto {REACH_PROTOCOL}"
        for target, host in wanted.items()
        if have.get(target) != host
    ]
    return come, gone


def sysctls(network: NetworkWiring) -> Mapping[str, str]:
    """The host answers its neighbours for the addresses that it has such a route to."""
    return {f"ipv4/conf/{ids.bridge_name(network.id)}/proxy_arp": "1"}


def _range(address: str) -> str:
    return f"{address}/32"


def _overlapping(cidr: str, routes: Iterable[Route]) -> Route | None:
    wanted = ip_network(cidr)
    for route in routes:
        if route.destination == "default":
            continue
        other = ip_network(route.destination, strict=False)
        if other.version == wanted.version and other.prefixlen > 1 and other.overlaps(wanted):
            return route
    return None
