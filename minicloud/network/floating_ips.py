"""Floating IPs: an address of an external network that leads to a port's address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.domain.ids import new_id
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import ipam, port_store, router_store, store
from minicloud.network.caller import Caller
from minicloud.network.l3_schemas import FloatingIpCreate, FloatingIpUpdate
from minicloud.network.l3_views import floating_view
from minicloud.network.models import floating_ips, ports
from minicloud.network.networks import network_seen
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import FLOATING_OWNER, FloatingIp, Network, Port
from minicloud.network.schemas import FixedIpBody, given, owner_named
from minicloud.network.service_ports import ServicePorts

_RELEASED = {"port_id": None, "fixed_number": None, "router_id": None}


class FloatingIps:
    """``servers_changed``: told of servers that got or lost one."""

    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        service_ports: ServicePorts,
        servers_changed: Callable[[Collection[str]], None],
    ) -> None:
        self._servers_changed = servers_changed
        self._database = database
        self._quotas = quotas
        self._service_ports = service_ports

    def create(self, caller: Caller, bodies: Sequence[FloatingIpCreate]) -> list[dict[str, Any]]:
        """All or none. NotFound for network or port, NoAddressLeft, QuotaExceeded, Conflict."""
        wanted = [
            (body, caller.owner_of(owner_named(body), "create_floatingip")) for body in bodies
        ]
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, floatingip=amount)
            networks = {
                network_id: _external(tx, caller, network_id)
                for network_id in sorted({body.floating_network_id for body in bodies})
            }
            made = [
                self._insert(tx, caller, body, owner, networks[body.floating_network_id])
                for body, owner in wanted
            ]
            views = _views(tx, made)
            servers = _servers(tx, [each.port_id for each in made])
        self._servers_changed(servers)
        return views

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = router_store.owned_visible(
            floating_ips, caller.project_id, sees_all=caller.sees_all
        )
        with self._database.read() as tx:
            return _views(tx, router_store.floating_list(tx, query, visible))

    def show(self, caller: Caller, floating_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, [floating_seen(tx, caller, floating_id)])[0]

    def update(self, caller: Caller, floating_id: str, body: FloatingIpUpdate) -> dict[str, Any]:
        """Lead it to a port, or to none with port_id null. NotFound, Conflict, Invalid."""
        with self._database.write() as tx:
            floating = floating_seen(tx, caller, floating_id, lock=True)
            caller.may_change("update_floatingip", floating)
            values = given(body, "description")
            asked = given(body, "port_id", "fixed_ip_address")
            port_id = asked.get("port_id", floating.port_id)
            if asked and port_id is None:
                if asked.get("fixed_ip_address"):
                    raise Invalid(
                        type="BadRequest",
                        reason="fixed_ip_address cannot be specified without a port_id",
                    )
                if floating.port_id is not None:
                    values |= _RELEASED
            elif port_id is not None and asked:
                _check_no_forwardings(tx, floating)
                values |= self._association(
                    tx, caller, floating, port_id, asked.get("fixed_ip_address")
                )
            self._save(tx, floating, values)
            view = _views(tx, [floating_seen(tx, caller, floating_id)])[0]
            servers = _servers(tx, {floating.port_id} ^ {view["port_id"]})
        self._servers_changed(servers)
        return view

    def delete(self, caller: Caller, floating_id: str) -> None:
        """Its port forwardings go with it."""
        with self._database.write() as tx:
            floating = floating_seen(tx, caller, floating_id, lock=True)
            caller.may_change("delete_floatingip", floating)
            store.row_delete(tx, floating_ips, floating.id)
            store.row_delete(tx, ports, floating.floating_port_id)
            servers = _servers(tx, [floating.port_id])
        self._servers_changed(servers)

    def _insert(
        self, tx: Transaction, caller: Caller, body: FloatingIpCreate, owner: str, network: Network
    ) -> FloatingIp:
        floating_id = new_id()
        port = self._service_ports.insert(
            tx, network, project_id="", device_id=floating_id, device_owner=FLOATING_OWNER
        )
        assert port is not None  # its id is new
        number = self._address(tx, caller, body, owner, port)
        values = {
            **store.standard_values(owner, floating_id),
            "floating_network_id": network.id,
            "floating_port_id": port.id,
            "floating_number": number,
            "dns_name": "",
            "dns_domain": "",
            **_RELEASED,
            **given(body, "description", "dns_name", "dns_domain"),
        }
        store.row_insert(tx, floating_ips, values)
        store.tags_given(tx, floating_id, body)
        made = router_store.floating_get(tx, floating_id)
        assert made is not None
        asked = given(body, "port_id", "fixed_ip_address")
        if asked.get("port_id"):
            found = self._association(
                tx, caller, made, asked["port_id"], asked.get("fixed_ip_address")
            )
            self._save(tx, made, found, is_new=True)
            made = router_store.floating_get(tx, floating_id)
            assert made is not None
        return made

    def _address(
        self, tx: Transaction, caller: Caller, body: FloatingIpCreate, owner: str, port: Port
    ) -> int:
        """Give the new port its IPv4 address on the external network."""
        asked = given(body, "floating_ip_address", "subnet_id")
        wanted = asked.get("floating_ip_address")
        if wanted:
            caller.check("create_floatingip:floating_ip_address", {"project_id": owner})
        subnets = [
            subnet
            for subnet in store.subnets_of(tx, [port.network_id])[port.network_id]
            if subnet.ip_version == 4
            and (not subnet.service_types or FLOATING_OWNER in subnet.service_types)
        ]
        if not subnets:
            raise Invalid(
                type="ExternalIpAddressExhausted",
                reason=f"Unable to find any IP address on external network {port.network_id}.",
            )
        chosen = None
        if wanted or asked.get("subnet_id"):
            chosen = [FixedIpBody(subnet_id=asked.get("subnet_id"), ip_address=wanted)]
        self._service_ports.allocator.assign(tx, port, subnets, chosen)
        found = port_store.port_get(tx, port.id)
        assert found is not None
        return found.fixed_ips[0].number

    def _association(
        self,
        tx: Transaction,
        caller: Caller,
        floating: FloatingIp,
        port_id: str,
        address: str | None,
    ) -> dict[str, Any]:
        """The columns that lead to the port's address, with the router between locked."""
        port = _port(tx, caller, port_id)
        subnet_id, number = _fixed(port, address)
        router_id = router_store.router_of_subnet(tx, subnet_id, floating.floating_network_id)
        if router_id is not None:
            router_store.router_get(tx, router_id, lock=True)
            router_id = router_store.router_of_subnet(tx, subnet_id, floating.floating_network_id)
        if router_id is None:
            raise NotFound(
                type="ExternalGatewayForFloatingIPNotFound",
                kind=f"A router from subnet {subnet_id} of port {port.id} to external network",
                id=floating.floating_network_id,
            )
        return {"port_id": port.id, "fixed_number": number, "router_id": router_id}

    def _save(
        self,
        tx: Transaction,
        floating: FloatingIp,
        values: dict[str, Any],
        *,
        is_new: bool = False,
    ) -> None:
        """Conflict where the port's address has a floating IP of the same network already."""
        try:
            with tx.begin_nested():
                if is_new:
                    store.row_set(tx, floating_ips, floating.id, values)
                else:
                    store.row_update(tx, floating_ips, floating.id, clock.now(), values)
        except store.IntegrityError:
            raise Conflict(
                type="FloatingIPPortAlreadyAssociated",
                reason="Cannot associate floating IP "
                f"{ipam.address_of(floating.floating_number)} ({floating.id}) with port "
                f"{values.get('port_id')} using fixed IP "
                f"{ipam.address_of(values['fixed_number'])}, as that fixed IP already has a "
                f"floating IP on external network {floating.floating_network_id}.",
            ) from None


def floating_seen(
    tx: Transaction, caller: Caller, floating_id: str, *, lock: bool = False
) -> FloatingIp:
    """The floating IP, if the caller may see it. NotFound."""
    found = router_store.floating_get(tx, floating_id, lock=lock)
    if found is None or not (caller.sees_all or found.project_id == caller.project_id):
        raise NotFound(type="FloatingIPNotFound", kind="Floating IP", id=floating_id)
    return found


def _external(tx: Transaction, caller: Caller, network_id: str) -> Network:
    network = network_seen(tx, caller, network_id, lock=True)
    if not network.external:
        raise Invalid(
            type="BadRequest",
            reason=f"Bad floatingip request: Network {network.id} is not a valid external network.",
        )
    return network


def _port(tx: Transaction, caller: Caller, port_id: str) -> Port:
    port = port_store.port_get(tx, port_id)
    network = store.network_get(tx, port.network_id) if port else None
    if port is None or network is None or not (
        caller.sees_all or caller.project_id in (port.project_id, network.project_id)
    ):  # fmt: skip
        raise NotFound(kind="Port", id=port_id)
    return port


def _fixed(port: Port, address: str | None) -> tuple[str, int]:
    """(subnet id, number) of the port's IPv4 address, which must be clear. Invalid."""
    candidates = [fixed for fixed in port.fixed_ips if ipam.version_of(fixed.number) == 4]
    if address is not None:
        number = ipam.number_of(address)
        candidates = [fixed for fixed in candidates if fixed.number == number]
        if not candidates:
            raise _bad(f"Port {port.id} does not have fixed ip {address}")
    if not candidates:
        raise _bad(f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses")
    if len(candidates) > 1:
        raise _bad(
            f"Port {port.id} has multiple fixed IPv4 addresses. Must provide a specific IPv4 "
            "address when assigning a floating IP"
        )
    return candidates[0].subnet_id, candidates[0].number


def _check_no_forwardings(tx: Transaction, floating: FloatingIp) -> None:
    if router_store.forwardings_of(tx, [floating.id])[floating.id]:
        raise Conflict(
            type="FloatingIPInUseByPortForwarding",
            reason=f"Floating IP {floating.id} has port forwardings: it cannot lead to one port.",
        )


def _servers(tx: Transaction, port_ids: Iterable[str | None]) -> set[str]:
    """The servers that these ports are on."""
    found = port_store.ports_of(tx, [port_id for port_id in port_ids if port_id]).values()
    return {port.device_id for port in found if port.device_owner.startswith("compute:")}


def _bad(reason: str) -> Invalid:
    return Invalid(type="BadRequest", reason=f"Bad floatingip request: {reason}.")


def _views(tx: Transaction, found: Sequence[FloatingIp]) -> list[dict[str, Any]]:
    names = [floating.id for floating in found]
    tags = store.tags_of(tx, names)
    forwardings = router_store.forwardings_of(tx, names)
    inner = port_store.ports_of(tx, [each.port_id for each in found if each.port_id])
    return [
        floating_view(
            floating, inner.get(floating.port_id or ""), forwardings[floating.id], tags[floating.id]
        )
        for floating in found
    ]
