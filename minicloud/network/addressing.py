"""What a subnet may say about its addresses, and how it is spelled once accepted. Pure."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.network import allocation, ipam
from minicloud.network.records import AUTOMATIC, Subnet
from minicloud.network.schemas import SubnetCreate, SubnetUpdate, given


def checked(body: SubnetUpdate, range_: ipam.Range, current: Subnet | None) -> dict[str, Any]:
    """The columns of gateway, pools, name servers and routes that ``body`` changes.

    ``current``: the subnet before; None: it is new. Invalid; Conflict for what overlaps.
    """
    values = given(body, "gateway_ip", "dns_nameservers", "host_routes", "allocation_pools")
    found: dict[str, Any] = {}
    gateway = _gateway(values, range_, current)
    if current is None or "gateway_ip" in values:
        found["gateway_ip"] = None if gateway is None else ipam.address_of(gateway)
    if values.get("allocation_pools"):
        pools = [
            ipam.Pool(ipam.number_of(pool.start), ipam.number_of(pool.end))
            for pool in values["allocation_pools"]
        ]
    elif current is None or "allocation_pools" in values:
        pools = ipam.default_pools(range_, gateway)
    else:
        pools = allocation.pools_of(current)
    ipam.check_pools(range_, gateway, pools)
    if current is None or "allocation_pools" in values:
        found["allocation_pools"] = [
            (ipam.address_of(pool.first), ipam.address_of(pool.last)) for pool in pools
        ]
    if "dns_nameservers" in values:
        found["dns_nameservers"] = [
            ipam.address_of(ipam.number_of(server)) for server in values["dns_nameservers"] or ()
        ]
        _refuse_duplicates("dns_nameservers", found["dns_nameservers"])
    if "host_routes" in values:
        found["host_routes"] = [
            route_of(route.destination, route.nexthop, range_.version)
            for route in values["host_routes"] or ()
        ]
        _refuse_duplicates("host_routes", found["host_routes"])
    return found


def route_of(destination: str, nexthop: str, version: int | None = None) -> tuple[str, str]:
    """A route as it is kept. Invalid unless both ends are of one IP version, and of ``version``
    where that is given.
    """
    hop = ipam.number_of(nexthop)
    try:
        target = ip_network(destination, strict=False)
    except ValueError:
        raise Invalid(
            type="InvalidInput", reason=f"'{destination}' is not a valid CIDR of a route."
        ) from None
    if target.version != ipam.version_of(hop) or version not in (None, target.version):
        raise Invalid(
            type="InvalidInput",
            reason=f"The route to {destination} by {nexthop} mixes IP versions.",
        )
    return str(target), ipam.address_of(hop)


def ipv6_modes(body: SubnetCreate, range_: ipam.Range) -> dict[str, str | None]:
    """The checked ipv6_ra_mode and ipv6_address_mode of a new subnet. Invalid."""
    asked = given(body, "ipv6_ra_mode", "ipv6_address_mode", "enable_dhcp")
    modes = {name: asked.get(name) for name in ("ipv6_ra_mode", "ipv6_address_mode")}
    chosen = {mode for mode in modes.values() if mode is not None}
    if not chosen:
        return modes
    if range_.version != 6:
        raise _unfit("ipv6_ra_mode and ipv6_address_mode are for subnets with ip_version 6.")
    if asked.get("enable_dhcp") is False:
        raise _unfit(
            "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False."
        )
    if len(chosen) > 1:
        raise _unfit(
            f"ipv6_ra_mode set to '{modes['ipv6_ra_mode']}' with ipv6_address_mode set to "
            f"'{modes['ipv6_address_mode']}' is not valid. If both attributes are set, they must "
            "be the same value."
        )
    if chosen & set(AUTOMATIC) and range_.prefixlen != 64:
        raise _unfit(
            f"Invalid CIDR {range_} for IPv6 address mode. Addresses follow from the MAC "
            "(EUI-64), which requires the prefix to be /64."
        )
    return modes


def _gateway(values: dict[str, Any], range_: ipam.Range, current: Subnet | None) -> int | None:
    """Default: the first address. None only where the request says so."""
    hosts = ipam.hosts_of(range_)
    if "gateway_ip" not in values:
        if current is None:
            return hosts.first
        return None if current.gateway_ip is None else ipam.number_of(current.gateway_ip)
    if values["gateway_ip"] is None:
        return None
    gateway = ipam.number_of(values["gateway_ip"])
    is_link_local = range_.version == 6 and gateway >> 118 == _LINK_LOCAL
    if not hosts.first <= gateway <= hosts.last and not is_link_local:
        raise Invalid(
            type="InvalidInput",
            reason=f"Gateway {values['gateway_ip']} is no address of a host in {range_}.",
        )
    return gateway


_LINK_LOCAL = 0xFE80 >> 6


def _refuse_duplicates(name: str, values: list[Any]) -> None:
    if len(set(values)) < len(values):
        raise Invalid(reason=f"Invalid input for {name}. Reason: Duplicate items in the list.")


def _unfit(reason: str) -> Invalid:
    return Invalid(type="InvalidInput", reason=reason)
