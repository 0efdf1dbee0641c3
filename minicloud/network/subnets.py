"""Subnets: the rules of their life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Conflict, InUse, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import addressing, ipam, pool_rules, pool_store, port_store, sharing, store
from minicloud.network.caller import Caller
from minicloud.network.dhcp import DhcpPorts
from minicloud.network.models import networks, subnets
from minicloud.network.networks import network_seen
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import Network, Subnet
from minicloud.network.schemas import SubnetCreate, SubnetUpdate, given, owner_named
from minicloud.network.service_ports import ServicePorts
from minicloud.network.subnet_pools import pool_seen
from minicloud.network.views import subnet_view

_PLAIN = ("name", "description", "enable_dhcp", "service_types")


class Subnets:
    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        service_ports: ServicePorts,
        dhcp_ports: DhcpPorts,
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._service_ports = service_ports
        self._dhcp_ports = dhcp_ports

    def create(self, caller: Caller, bodies: Sequence[SubnetCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound for the network, QuotaExceeded, Forbidden, Invalid."""
        with self._database.write() as tx:
            seen = store.networks_of(tx, [body.network_id for body in bodies])
            wanted = [(body, _owner(tx, caller, body, seen)) for body in bodies]
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, subnet=amount)
            for network_id in sorted(seen):
                network_seen(tx, caller, network_id, lock=True)
            made = [self.insert(tx, caller, body, owner) for body, owner in wanted]
            return _views(tx, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sharing.visible(networks, caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return _views(tx, store.subnet_list(tx, query, visible))

    def show(self, caller: Caller, subnet_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, [subnet_seen(tx, caller, subnet_id)[0]])[0]

    def update(self, caller: Caller, subnet_id: str, body: SubnetUpdate) -> dict[str, Any]:
        with self._database.write() as tx:
            subnet, network = subnet_seen(tx, caller, subnet_id, lock=True)
            caller.may_change("update_subnet", subnet, owner=network.project_id)
            values = given(body, *_PLAIN)
            values |= addressing.checked(body, ipam.parse_cidr(subnet.cidr), subnet)
            if values.get("enable_dhcp") is False and subnet.ipv6_address_mode is not None:
                raise Invalid(
                    type="InvalidInput",
                    reason="enable_dhcp cannot be set to False while ipv6_address_mode is set.",
                )
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
            subnet, network = subnet_seen(tx, caller, subnet_id, lock=True)
            caller.may_change("delete_subnet", subnet, owner=network.project_id)
            in_use = InUse(
                type="SubnetInUse", kind="Subnet", id=subnet.id, reason="ports have addresses of it"
            )
            if port_store.subnet_has_guests(tx, subnet):
                raise in_use
            self._dhcp_ports.remove(tx, subnet)
            if subnet.is_automatic:
                port_store.subnet_addresses_delete(tx, subnet.id)
            if not store.subnet_delete(tx, subnet.id):
                raise in_use

    def insert(self, tx: Transaction, caller: Caller, body: SubnetCreate, owner: str) -> Subnet:
        """A new subnet of a locked network; Invalid, NotFound, Conflict."""
        subnet = _insert(tx, caller, body, owner)
        self._address_ports(tx, subnet)
        return subnet

    def _address_ports(self, tx: Transaction, subnet: Subnet) -> None:
        """Ports that are there already get their addresses of a subnet that needs no asking."""
        if subnet.is_automatic:
            for port in port_store.ports_of_guests(tx, subnet.network_id):
                self._service_ports.allocator.take(tx, port, subnet)


def _owner(tx: Transaction, caller: Caller, body: SubnetCreate, seen: dict[str, Network]) -> str:
    """The project that the subnet is counted for: only its network's owner may make one."""
    if body.network_id not in seen:
        raise NotFound(kind="Network", id=body.network_id)
    network = network_seen(tx, caller, body.network_id)
    caller.check("create_subnet", {"project_id": network.project_id})
    owner = owner_named(body) or network.project_id
    caller.check("create_subnet", {"project_id": owner})
    return owner


def subnet_seen(
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


def _range(
    tx: Transaction, caller: Caller, body: SubnetCreate, owner: str
) -> tuple[ipam.Range, str | None]:
    """The new subnet's range, and the pool that it is cut from. NotFound, Invalid, Conflict."""
    asked = given(body, "cidr", "subnetpool_id", "use_default_subnetpool")
    pool_id = asked.get("subnetpool_id")
    if pool_id is None and asked.get("use_default_subnetpool"):
        pool_id = pool_store.pool_default(tx, body.ip_version)
        if pool_id is None:
            raise Invalid(
                type="BadRequest",
                reason="Bad subnets request: No default subnetpool found for "
                f"IPv{body.ip_version}.",
            )
    if pool_id is not None:
        pool = pool_seen(tx, caller, pool_id, lock=True)
        range_ = pool_rules.cut(tx, pool, body, owner)
    elif asked.get("cidr"):
        range_ = ipam.parse_cidr(asked["cidr"])
    else:
        raise Invalid(
            type="BadRequest",
            reason="Bad subnets request: a subnetpool must be specified in the absence of a cidr.",
        )
    if range_.version != body.ip_version:
        raise Invalid(
            type="InvalidInput",
            reason=f"The cidr {range_} does not match the ip_version {body.ip_version}.",
        )
    return range_, pool_id


def _insert(tx: Transaction, caller: Caller, body: SubnetCreate, owner: str) -> Subnet:
    range_, pool_id = _range(tx, caller, body, owner)
    members = store.subnets_of(tx, [body.network_id])[body.network_id]
    pool_rules.check_affinity(pool_id, range_.version, members)
    for other in members:
        if ipam.parse_cidr(other.cidr).overlaps(range_):
            raise Invalid(
                type="InvalidInput",
                reason=f"{range_} overlaps with subnet {other.id} ({other.cidr}) of the network.",
            )
    values = {
        **store.standard_values(owner),
        "network_id": body.network_id,
        "subnetpool_id": pool_id,
        "ip_version": range_.version,
        "cidr": str(range_),
        "enable_dhcp": True,
        "dns_nameservers": [],
        "host_routes": [],
        "service_types": [],
        **given(body, *_PLAIN),
        **addressing.ipv6_modes(body, range_),
        **addressing.checked(body, range_, None),
    }
    if not store.row_insert(tx, subnets, values):
        raise NotFound(kind="Network", id=body.network_id)
    store.tags_given(tx, values["id"], body)
    return msgspec.convert(values, Subnet)


def _views(tx: Transaction, found: Sequence[Subnet]) -> list[dict[str, Any]]:
    tags = store.tags_of(tx, [subnet.id for subnet in found])
    return [subnet_view(subnet, tags[subnet.id]) for subnet in found]
