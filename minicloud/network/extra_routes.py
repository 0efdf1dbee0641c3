"""A router's extra routes: that each leads to something it is connected to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from minicloud.domain.errors import Conflict, Invalid
from minicloud.kit.db import Transaction
from minicloud.network import ipam, router_store
from minicloud.network.addressing import route_of
from minicloud.network.connected import subnets_connected
from minicloud.network.records import Router, Subnet
from minicloud.network.schemas import HostRoute

Routes = list[tuple[str, str]]
LIMIT = 30


def checked(tx: Transaction, router: Router, wanted: Sequence[HostRoute]) -> Routes:
    """``wanted`` as they are kept. Invalid, with Neutron's type, unless the router can use them."""
    routes = [route_of(route.destination, route.nexthop) for route in wanted]
    if len(set(routes)) < len(routes):
        raise Invalid(reason="Invalid input for routes. Reason: Duplicate items in the list.")
    if len(routes) > LIMIT:
        raise Invalid(
            type="RoutesExhausted",
            reason=f"Unable to complete operation for {router.id}. The number of routes exceeds "
            f"the maximum {LIMIT}.",
        )
    gateway = router_store.gateway_ports(tx, [router.id])
    ports = [*router_store.interface_ports(tx, router.id), *gateway.values()]
    own = {fixed.number for port in ports for fixed in port.fixed_ips}
    ranges = [ipam.parse_cidr(subnet.cidr) for subnet in subnets_connected(tx, ports)]
    for destination, hop in routes:
        if ipam.number_of(hop) in own:
            raise _invalid(destination, hop, "the nexthop is used by router")
        if not any(ip_address(hop) in range_ for range_ in ranges):
            raise _invalid(destination, hop, "the nexthop is not connected with router")
    return routes


def check_unneeded(router: Router, leaving: Iterable[Subnet]) -> None:
    """Conflict where a route's next hop is in a subnet that is to be disconnected."""
    for subnet in leaving:
        range_ = ipam.parse_cidr(subnet.cidr)
        if any(ip_address(hop) in range_ for _, hop in router.routes):
            raise Conflict(
                type="RouterInterfaceInUseByRoute",
                reason=f"Router interface for subnet {subnet.id} on router {router.id} cannot be "
                "deleted, as it is required by one or more routes.",
            )


def _invalid(destination: str, hop: str, why: str) -> Invalid:
    return Invalid(
        type="InvalidRoutes",
        reason=f"Invalid format for routes: [{{'destination': '{destination}', "
        f"'nexthop': '{hop}'}}], {why}",
    )
