"""Subnets: the rules of their life. IPv4 only: the hosts wire nothing else yet."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec

from minicloud.domain.errors import Conflict, InUse, Invalid, NotFound, NotImplementedHere
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import allocation, dhcp, ipam, port_store, store
from minicloud.network.caller import Caller
from minicloud.network.models import subnets
from minicloud.network.networks import network_seen
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import Network, Subnet
from minicloud.network.schemas import SubnetCreate, SubnetUpdate, given, owner_named
from minicloud.network.views import subnet_view


class Subnets:
    def __init__(self, database: Database, quotas: Quotas, dhcp_ports: dhcp.DhcpPorts) -> None:
        self._database = database
        self._quotas = quotas
        self._dhcp_ports = dhcp_ports

    def create(self, caller: Caller, bodies: Sequence[SubnetCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound for the network, QuotaExceeded, Forbidden, Invalid."""
        for body in bodies:
            _check_supported(body)
        with self._database.write() as tx:
            seen = store.networks_of(tx, [body.network_id for body in bodies])
            wanted = [(body, _owner(tx, caller, body, seen)) for body in bodies]
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, subnet=amount)
            for network_id in sorted(seen):
                network_seen(tx, caller, network_id, lock=True)
            return _views(tx, [_insert(tx, body, owner) for body, owner in wanted])

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = store.network_visible(caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return _views(tx, store.subnet_list(tx, query, visible))

    def show(self, caller: Caller, subnet_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, [_seen(tx, caller, subnet_id)[0]])[0]

    def update(self, caller: Caller, subnet_id: str, body: SubnetUpdate) -> dict[str, Any]:
        with self._database.write() as tx:
            subnet, network = _seen(tx, caller, subnet_id, lock=True)
            caller.check("update_subnet", {"project_id": network.project_id})
            values = given(body, "name", "description", "enable_dhcp")
            values |= _addressing(body, IPv4Network(subnet.cidr), subnet)
            gateway = values.get("gateway_ip")
            if gateway not in (None, subnet.gateway_ip) and port_store.address_is_taken(
                tx, subnet.id, ipam.number_of(gateway)
            ):
                raise Conflict(type="GatewayIpInUse", reason=f"A port has the address {gateway}.")
            store.row_update(tx, subnets, subnet.id, clock.now(), values)
            changed = store.subnet_get(tx, subnet.id)
            assert changed is not None  # its network is locked, so nobody deletes it
            if not changed.enable_dhcp:
                self._dhcp_ports.remove(tx, changed)
            elif port_store.subnet_has_bound_ports(tx, changed.id):
                self._dhcp_ports.ensure(tx, network, [changed])
            return _views(tx, [changed])[0]

    def delete(self, caller: Caller, subnet_id: str) -> None:
        """Takes its DHCP port along. InUse while another port has an address of it."""
        with self._database.write() as tx:
            subnet, network = _seen(tx, caller, subnet_id, lock=True)
            caller.check("delete_subnet", {"project_id": network.project_id})
            in_use = InUse(
                type="SubnetInUse", kind="Subnet", id=subnet.id, reason="ports have addresses of it"
            )
            if port_store.subnet_has_guests(tx, subnet.id):
                raise in_use
            self._dhcp_ports.remove(tx, subnet)
            if not store.subnet_delete(tx, subnet.id):
                raise in_use


def _owner(tx: Transaction, caller: Caller, body: SubnetCreate, seen: dict[str, Network]) -> str:
    """The project that the subnet is counted for: only its network's owner may make one."""
    if body.network_id not in seen:
        raise NotFound(kind="Network", id=body.network_id)
    network = network_seen(tx, caller, body.network_id)
    caller.check("create_subnet", {"project_id": network.project_id})
    owner = owner_named(body) or network.project_id
    caller.check("create_subnet", {"project_id": owner})
    return owner


def _seen(
    tx: Transaction, caller: Caller, subnet_id: str, *, lock: bool = False
) -> tuple[Subnet, Network]:
    """The subnet and its network, locked on demand, if the caller may see them. NotFound."""
    subnet = store.subnet_get(tx, subnet_id)
    if subnet is not None and lock:
        store.network_get(tx, subnet.network_id, lock=True)
        subnet = store.subnet_get(tx, subnet_id)
    if subnet is None:
        raise NotFound(kind="Subnet", id=subnet_id)
    try:
        return subnet, network_seen(tx, caller, subnet.network_id)
    except NotFound:
        raise NotFound(kind="Subnet", id=subnet_id) from None


def _check_supported(body: SubnetCreate) -> None:
    optional = given(
        body, "ipv6_address_mode", "ipv6_ra_mode", "subnetpool_id", "use_default_subnetpool",
        "prefixlen",
    )  # fmt: skip
    if body.ip_version != 4 or optional.get("ipv6_address_mode") or optional.get("ipv6_ra_mode"):
        raise NotImplementedHere(reason="This cloud has IPv4 subnets only.")
    if optional.get("subnetpool_id") or optional.get("use_default_subnetpool"):
        raise NotImplementedHere(reason="This cloud has no subnet pools: name a cidr.")


def _insert(tx: Transaction, body: SubnetCreate, owner: str) -> Subnet:
    cidr = given(body, "cidr").get("cidr")
    if cidr is None:
        raise Invalid(type="BadRequest", reason="A subnet needs a cidr.")
    range_ = ipam.parse_cidr(cidr)
    for other in store.subnets_of(tx, [body.network_id])[body.network_id]:
        if IPv4Network(other.cidr).overlaps(range_):
            raise Invalid(
                type="InvalidInput",
                reason=f"{range_} overlaps with subnet {other.id} ({other.cidr}) of the network.",
            )
    values = {
        **store.standard_values(owner),
        "network_id": body.network_id,
        "cidr": str(range_),
        "enable_dhcp": True,
        "dns_nameservers": [],
        "host_routes": [],
        **given(body, "name", "description", "enable_dhcp"),
        **_addressing(body, range_, None),
    }
    if not store.row_insert(tx, subnets, values):
        raise NotFound(kind="Network", id=body.network_id)
    return msgspec.convert(values, Subnet)


def _addressing(body: SubnetUpdate, range_: IPv4Network, current: Subnet | None) -> dict[str, Any]:
    """The checked values of gateway, pools, name servers and routes that ``body`` changes."""
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
            str(IPv4Address(ipam.number_of(server))) for server in values["dns_nameservers"] or ()
        ]
    if "host_routes" in values:
        found["host_routes"] = [
            (_destination(route.destination), str(IPv4Address(ipam.number_of(route.nexthop))))
            for route in values["host_routes"] or ()
        ]
    return found


def _gateway(values: dict[str, Any], range_: IPv4Network, current: Subnet | None) -> int | None:
    """Default: the first address. None only where the request says so."""
    hosts = ipam.hosts_of(range_)
    if "gateway_ip" not in values:
        if current is None:
            return hosts.first
        return None if current.gateway_ip is None else ipam.number_of(current.gateway_ip)
    if values["gateway_ip"] is None:
        return None
    gateway = ipam.number_of(values["gateway_ip"])
    if not hosts.first <= gateway <= hosts.last:
        raise Invalid(
            type="InvalidInput",
            reason=f"Gateway {values['gateway_ip']} is no address of a host in {range_}.",
        )
    return gateway


def _destination(text: str) -> str:
    try:
        return str(IPv4Network(text, strict=False))
    except ValueError:
        raise Invalid(type="InvalidInput", reason=f"'{text}' is not a valid IPv4 CIDR.") from None


def _views(tx: Transaction, found: Sequence[Subnet]) -> list[dict[str, Any]]:
    tags = store.tags_of(tx, [subnet.id for subnet in found])
    return [subnet_view(subnet, tags[subnet.id]) for subnet in found]
