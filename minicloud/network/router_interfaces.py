"""Connecting subnets to routers. Two at once: the router's row is locked before anything is looked
at, so the second sees what the first did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import extra_routes, port_store, router_store, store
from minicloud.network.caller import Caller
from minicloud.network.connected import check_apart, subnets_connected
from minicloud.network.l3_schemas import InterfaceBody
from minicloud.network.models import ports, routers
from minicloud.network.networks import may_plug, network_seen
from minicloud.network.records import INTERFACE_OWNER, Network, Port, Router, Subnet
from minicloud.network.routers import router_seen
from minicloud.network.schemas import FixedIpBody
from minicloud.network.service_ports import ServicePorts


class RouterInterfaces:
    def __init__(self, database: Database, service_ports: ServicePorts) -> None:
        self._database = database
        self._service_ports = service_ports

    def add(self, caller: Caller, router_id: str, body: InterfaceBody) -> dict[str, Any]:
        """Connect a subnet by its gateway address, or by a port. NotFound, Conflict for an address
        or port in use, Invalid for what overlaps with what is connected.
        """
        _check_one(body)
        with self._database.write() as tx:
            router = router_seen(tx, caller, router_id)
            caller.check("add_router_interface", {"project_id": router.project_id})
            if body.port_id is not None:
                port = self._add_port(tx, caller, router, body.port_id)
                subnet_ids = [fixed.subnet_id for fixed in port.fixed_ips]
            else:
                assert body.subnet_id is not None  # one of the two, as checked
                port = self.connect(tx, caller, router, body.subnet_id)
                subnet_ids = [body.subnet_id]
            store.row_update(tx, routers, router.id, clock.now(), {})
            return _info(router, port, subnet_ids)

    def remove(self, caller: Caller, router_id: str, body: InterfaceBody) -> dict[str, Any]:
        """Disconnect a subnet or a port. NotFound; Conflict while it is needed."""
        if body.subnet_id is None and body.port_id is None:
            raise _bad("Either subnet_id or port_id must be specified")
        with self._database.write() as tx:
            router = router_seen(tx, caller, router_id, lock=True)
            caller.check("remove_router_interface", {"project_id": router.project_id})
            port = _interface(tx, router, body)
            connected = subnets_connected(tx, [port])
            leaving = [
                subnet
                for subnet in connected
                if body.port_id is not None or subnet.id == body.subnet_id
            ]
            extra_routes.check_unneeded(router, leaving)
            _check_no_floating(tx, router, leaving)
            if len(leaving) < len(connected):
                port_store.address_delete(tx, port.id, leaving[0].id)
            else:
                store.row_delete(tx, ports, port.id)
            store.row_update(tx, routers, router.id, clock.now(), {})
            return _info(router, port, [subnet.id for subnet in leaving])

    def connect(self, tx: Transaction, caller: Caller, router: Router, subnet_id: str) -> Port:
        """Connect a subnet by its gateway address; see ``add``."""
        subnet = store.subnet_get(tx, subnet_id)
        if subnet is None:
            raise NotFound(kind="Subnet", id=subnet_id)
        network = _network(tx, caller, router, subnet)
        if subnet.gateway_ip is None:
            raise _bad("Subnet for router interface must have a gateway IP")
        _check_advertised(subnet)
        router_seen(tx, caller, router.id, lock=True)
        present = router_store.interface_ports(tx, router.id)
        _check_apart(tx, router, [subnet], present)
        port = _shared_by_ipv6(tx, network, subnet, present)
        if port is None:
            port = self._service_ports.insert(
                tx,
                network,
                project_id=router.project_id,
                device_id=router.id,
                device_owner=INTERFACE_OWNER,
            )
            assert port is not None  # its id is new
        gateway = FixedIpBody(subnet_id=subnet.id, ip_address=subnet.gateway_ip)
        self._service_ports.allocator.add(tx, port, subnet, gateway)
        return port

    def _add_port(self, tx: Transaction, caller: Caller, router: Router, port_id: str) -> Port:
        port = port_store.port_get(tx, port_id)
        if port is None:
            raise NotFound(kind="Port", id=port_id)
        network = store.network_get(tx, port.network_id, lock=True)
        if network is None or not (
            caller.sees_all or caller.project_id in (port.project_id, network.project_id)
        ):
            raise NotFound(kind="Port", id=port_id)
        router_seen(tx, caller, router.id, lock=True)
        port = port_store.port_get(tx, port_id, lock=True)
        if port is None:
            raise NotFound(kind="Port", id=port_id)
        if port.device_id:
            raise Conflict(
                type="PortInUse",
                reason=f"Unable to complete operation on port {port.id} for network "
                f"{port.network_id}. Port already has an attached device {port.device_id}.",
            )
        connected = subnets_connected(tx, [port])
        if not connected:
            raise _bad("Router port must have at least one fixed IP")
        if sum(1 for subnet in connected if subnet.ip_version == 4) > 1:
            raise _bad("Cannot have multiple IPv4 subnets on router port")
        for subnet in connected:
            _check_advertised(subnet)
        _check_apart(tx, router, connected, router_store.interface_ports(tx, router.id))
        port_store.port_groups_replace(tx, port.id, ())
        values = {
            "device_id": router.id,
            "device_owner": INTERFACE_OWNER,
            "port_security_enabled": False,
        }
        self._service_ports.allocator.port_update(tx, port, values)
        return port


def _network(tx: Transaction, caller: Caller, router: Router, subnet: Subnet) -> Network:
    """The subnet's network, locked, if the caller may connect to it. NotFound."""
    try:
        network = network_seen(tx, caller, subnet.network_id, lock=True)
    except NotFound:
        raise NotFound(kind="Subnet", id=subnet.id) from None
    if not (caller.sees_all or may_plug(tx, network, caller.project_id, router.project_id)):
        raise _bad(f"Network {network.id} can be reached by a router's gateway only")
    return network


def _shared_by_ipv6(
    tx: Transaction, network: Network, subnet: Subnet, present: Sequence[Port]
) -> Port | None:
    """The router's port that its IPv6 subnets of the network share."""
    if subnet.ip_version != 6:
        return None
    for port in present:
        if port.network_id == network.id:
            found = subnets_connected(tx, [port])
            if found and all(other.ip_version == 6 for other in found):
                return port
    return None


def _interface(tx: Transaction, router: Router, body: InterfaceBody) -> Port:
    """The router's port that the request names. NotFound, Invalid."""
    present = router_store.interface_ports(tx, router.id)
    if body.port_id is not None:
        port = next((port for port in present if port.id == body.port_id), None)
        if port is None:
            raise NotFound(kind="Router Interface", id=body.port_id)
        if body.subnet_id not in (None, *(fixed.subnet_id for fixed in port.fixed_ips)):
            raise Invalid(
                type="SubnetMismatchForPort",
                reason=f"Subnet on port {port.id} does not match the requested subnet "
                f"{body.subnet_id}.",
            )
        return port
    assert body.subnet_id is not None
    for port in present:
        if body.subnet_id in (fixed.subnet_id for fixed in port.fixed_ips):
            return port
    raise NotFound(
        type="RouterInterfaceNotFoundForSubnet",
        kind=f"An interface of router {router.id} on subnet",
        id=body.subnet_id,
    )


def _check_apart(
    tx: Transaction, router: Router, new: Sequence[Subnet], present: Sequence[Port]
) -> None:
    gateway = router_store.gateway_ports(tx, [router.id])
    check_apart(new, subnets_connected(tx, [*present, *gateway.values()]))


def _check_advertised(subnet: Subnet) -> None:
    if subnet.ipv6_address_mode is not None and subnet.ipv6_ra_mode is None:
        raise _bad(
            f"IPv6 subnet {subnet.id} configured to receive RAs from an external router cannot be "
            "added to Neutron Router."
        )


def _check_no_floating(tx: Transaction, router: Router, leaving: Sequence[Subnet]) -> None:
    for subnet in leaving:
        if router_store.subnet_has_floating(tx, router.id, subnet.id):
            raise Conflict(
                type="RouterInterfaceInUseByFloatingIP",
                reason=f"Router interface for subnet {subnet.id} on router {router.id} cannot be "
                "deleted, as it is required by one or more floating IPs.",
            )


def _check_one(body: InterfaceBody) -> None:
    if body.subnet_id is not None and body.port_id is not None:
        raise _bad("Cannot specify both subnet-id and port-id")
    if body.subnet_id is None and body.port_id is None:
        raise _bad("Either subnet_id or port_id must be specified")


def _info(router: Router, port: Port, subnet_ids: Sequence[str]) -> dict[str, Any]:
    return {
        "id": router.id,
        "tenant_id": router.project_id,
        "project_id": router.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": subnet_ids[0],
        "subnet_ids": list(subnet_ids),
    }


def _bad(reason: str) -> Invalid:
    return Invalid(type="BadRequest", reason=f"Bad router request: {reason}.")
