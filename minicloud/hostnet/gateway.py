"""The way between the host and a network: transfer addresses and routes. Pure.

Each network's namespace is joined to the host by a pair of devices with a /31 of their own out
of 198.18.0.0/15. The namespace masquerades what leaves it, so the host never sees two guests
with one address, whatever CIDRs the tenants chose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.hostnet import names
from minicloud.hostnet.view import Route, Space
from minicloud.hostnet.wiring import NetworkWiring, SubnetWiring

TRANSFER_RANGE = IPv4Network("198.18.0.0/15")
_TRANSFERS = TRANSFER_RANGE.num_addresses // 2


class Transfer(msgspec.Struct, frozen=True):
    """The two addresses of one /31: the host's is even, the namespace's is the next one."""

    host: IPv4Address

    @property
    def inside(self) -> IPv4Address:
        return self.host + 1


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """What to change in the host's routes, and why some subnets get none."""

    delete: Sequence[str] = ()
    add: Sequence[str] = ()
    claims: Sequence[Route] = ()
    """What the network holds afterwards and no other network may take."""
    skipped: Sequence[str] = ()
    """Whole sentences."""


def ipv4_subnets(network: NetworkWiring) -> Iterator[SubnetWiring]:
    return (subnet for subnet in network.subnets if subnet.ip_version == 4)


def inside_addresses(subnet: SubnetWiring) -> list[str]:
    """The namespace's address in a subnet, with prefix length, if it has one."""
    length = subnet.cidr.partition("/")[2]
    return [f"{subnet.dhcp_ip}/{length}"] if subnet.dhcp_ip else []


def transfer(network_id: str, root: Space) -> Transfer:
    """The network's transfer addresses: those it has, else the first free after its hash.

    Raises HostProblem if the host uses the whole range for something else.
    """
    leg = root.links.get(names.host_leg(network_id))
    for address in leg.addresses if leg else ():
        interface = IPv4Interface(address)
        if interface.network.prefixlen == 31 and interface.ip in TRANSFER_RANGE:
            return Transfer(host=interface.network.network_address)
    start = int(network_id.replace("-", "")[:8], 16) % _TRANSFERS
    busy = list(_busy(root, names.host_leg(network_id)))
    for step in range(_TRANSFERS):
        index = (start + step) % _TRANSFERS
        pair = IPv4Network((TRANSFER_RANGE.network_address + 2 * index, 31))
        if not any(pair.overlaps(other) for other in busy):
            return Transfer(host=pair.network_address)
    raise HostProblem(reason=f"no transfer addresses are left in {TRANSFER_RANGE}")


def plan_routes(network: NetworkWiring, pair: Transfer, root: Space) -> Routes:
    """The host's routes to a network's subnets.

    A subnet whose range the host can already reach some other way gets none: that way was there
    first, be it a stranger's or another network's with the same CIDR.
    """
    leg = names.host_leg(network.id)
    have = {
        route.destination: route
        for route in root.routes
        if route.device == leg and not route.connected
    }
    others = [route for route in root.routes if route.device != leg]
    keep: set[str] = set()
    add: list[str] = []
    skipped: list[str] = []
    for subnet in ipv4_subnets(network):
        if not inside_addresses(subnet):
            continue
        cidr = str(IPv4Network(subnet.cidr, strict=False))
        rival = _overlapping(cidr, others)
        if rival is not None:
            skipped.append(
                f"The host has a route to {rival.destination} by {rival.device or 'no device'}, "
                f"so network {network.id} gets none to its {cidr}."
            )
            continue
        keep.add(cidr)
        if cidr not in have or have[cidr].via != str(pair.inside):
            add.append(f"route replace {cidr} via {pair.inside} dev {leg}")
    delete = [f"route del {destination} dev {leg}" for destination in sorted(have.keys() - keep)]
    held = [*sorted(keep), f"{pair.host}/31"]
    claims = [Route(destination=destination, device=leg) for destination in held]
    return Routes(delete=delete, add=add, claims=claims, skipped=skipped)


def _overlapping(cidr: str, routes: Iterable[Route]) -> Route | None:
    wanted = IPv4Network(cidr)
    for route in routes:
        if route.destination == "default":
            continue
        range_ = IPv4Network(route.destination, strict=False)
        if range_.prefixlen > 1 and range_.overlaps(wanted):  # two halves are a default, too
            return route
    return None


def _busy(root: Space, leg: str) -> Iterator[IPv4Network]:
    """What the host uses of the range; anything as wide as the range is like a default route."""
    for route in root.routes:
        if route.destination != "default" and route.device != leg:
            network = IPv4Network(route.destination, strict=False)
            if network.prefixlen > TRANSFER_RANGE.prefixlen:
                yield network
    for link in root.links.values():
        if link.name != leg:
            for address in link.addresses:
                yield IPv4Interface(address).network
