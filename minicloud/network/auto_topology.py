"""A project's network to start with, made at the first question: a network, subnets of the default
pools, and a router to the default external network.

All of it has ids that follow from the project's, and is made in one transaction: asking twice at
once makes one.
"""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Conflict, NotFound
from minicloud.domain.ids import derive
from minicloud.kit.db import Database, Transaction
from minicloud.network import pool_store, router_store, store
from minicloud.network.caller import Caller
from minicloud.network.l3_schemas import GatewayBody, InterfaceBody, RouterCreate
from minicloud.network.networks import Networks
from minicloud.network.quotas import Quotas
from minicloud.network.router_interfaces import RouterInterfaces
from minicloud.network.routers import Routers
from minicloud.network.schemas import NetworkCreate, SubnetCreate
from minicloud.network.subnets import Subnets

Json = dict[str, Any]


class AutoTopology:
    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        networks: Networks,
        subnets: Subnets,
        routers: Routers,
        interfaces: RouterInterfaces,
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._networks = networks
        self._subnets = subnets
        self._routers = routers
        self._interfaces = interfaces

    def ensure(self, caller: Caller, project_id: str) -> Json:
        """Conflict where the operator has set no defaults; QuotaExceeded."""
        network_id = _network_id(project_id)
        with self._database.read() as tx:
            if store.network_get(tx, network_id) is not None:
                return {"id": network_id, "tenant_id": project_id, "project_id": project_id}
        with self._database.write() as tx:
            self._quotas.take(tx, project_id, network=1, router=1)
            if store.network_get(tx, network_id) is None:
                self._make(tx, caller, project_id)
        return {"id": network_id, "tenant_id": project_id, "project_id": project_id}

    def check(self) -> None:
        """Conflict where the operator has set no defaults."""
        with self._database.read() as tx:
            _defaults(tx)

    def delete(self, caller: Caller, project_id: str) -> None:
        """NotFound where there is none; Conflict while something is on the network."""
        router_id, network_id = _router_id(project_id), _network_id(project_id)
        with self._database.read() as tx:
            network = store.network_get(tx, network_id)
            router = router_store.router_get(tx, router_id)
            members = store.subnets_of(tx, [network_id])[network_id]
            inside = router_store.interface_ports(tx, router_id)
        if network is None:
            raise NotFound(kind="Auto Allocated Topology", id=project_id)
        connected = {fixed.subnet_id for port in inside for fixed in port.fixed_ips}
        for subnet in members:
            if subnet.id in connected:
                self._interfaces.remove(caller, router_id, InterfaceBody(subnet_id=subnet.id))
        if router is not None:
            self._routers.delete(caller, router_id)
        self._networks.delete(caller, network_id)

    def _make(self, tx: Transaction, caller: Caller, project_id: str) -> None:
        external, pools = _defaults(tx)
        name = "auto_allocated_network"
        network = self._networks.insert(
            tx, NetworkCreate(name=name), project_id, _network_id(project_id)
        )
        router = self._routers.insert(
            tx,
            caller,
            RouterCreate(
                name="auto_allocated_router",
                external_gateway_info=GatewayBody(network_id=external),
            ),
            project_id,
            _router_id(project_id),
        )
        for version, pool_id in pools:
            body = SubnetCreate(
                network_id=network.id,
                name=f"auto_allocated_subnet_v{version}",
                ip_version=version,
                subnetpool_id=pool_id,
                ipv6_ra_mode="slaac" if version == 6 else None,
                ipv6_address_mode="slaac" if version == 6 else None,
            )
            self._quotas.take(tx, project_id, subnet=1)
            subnet = self._subnets.insert(tx, caller, body, project_id)
            self._interfaces.connect(tx, caller, router, subnet.id)


def _network_id(project_id: str) -> str:
    return derive("auto-allocated-network", project_id)


def _router_id(project_id: str) -> str:
    return derive("auto-allocated-router", project_id)


def _defaults(tx: Transaction) -> tuple[str, list[tuple[Any, str]]]:
    """The default external network, and (IP version, default subnet pool) pairs. Conflict."""
    external = store.network_default(tx)
    if external is None:
        raise _failure("No default router:external network")
    pools = [
        (version, pool_id)
        for version in (4, 6)
        if (pool_id := pool_store.pool_default(tx, version)) is not None
    ]
    if not pools:
        raise _failure("No default pools available")
    return external, pools


def _failure(reason: str) -> Conflict:
    return Conflict(type="AutoAllocationFailure", reason=f"Deployment error: {reason}.")
