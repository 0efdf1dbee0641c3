"""A router's gateway: its port on an external network, and whether it hides what is behind it."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Conflict, Invalid
from minicloud.kit.db import Transaction
from minicloud.network import port_store, router_store, store
from minicloud.network.allocation import kept
from minicloud.network.caller import Caller
from minicloud.network.connected import check_apart, subnets_connected
from minicloud.network.l3_schemas import GatewayBody
from minicloud.network.models import ports
from minicloud.network.networks import network_seen
from minicloud.network.records import GATEWAY_OWNER, Network, Port, Router
from minicloud.network.schemas import given
from minicloud.network.service_ports import ServicePorts


class Gateways:
    def __init__(self, service_ports: ServicePorts) -> None:
        self._service_ports = service_ports

    def wanted(
        self,
        tx: Transaction,
        caller: Caller,
        action: str,
        body: GatewayBody | None,
        project_id: str,
    ) -> Network | None:
        """The network that ``body`` asks for, locked; None: no gateway. NotFound, Invalid,
        Forbidden.
        """
        if body is None:
            return None
        details = given(body, "enable_snat", "external_fixed_ips")
        if not body.network_id:
            if details:
                raise Invalid(reason="external_gateway_info needs a network_id.")
            return None
        for name in details:
            if name == "external_fixed_ips" and not details[name]:
                continue
            target = {"project_id": project_id}
            caller.check(f"{action}:external_gateway_info:{name}", target)
        network = network_seen(tx, caller, body.network_id, lock=True)
        if not network.external:
            raise Invalid(
                type="BadRequest",
                reason=f"Bad router request: Network {network.id} is not an external network.",
            )
        return network

    def apply(
        self, tx: Transaction, router: Router, network: Network | None, body: GatewayBody | None
    ) -> dict[str, Any]:
        """Give the locked router this gateway, or none; the router's columns that follow.

        Conflict while floating IPs need the one it has; NoAddressLeft.
        """
        current = router_store.gateway_ports(tx, [router.id]).get(router.id)
        if current is not None and (network is None or network.id != current.network_id):
            self.remove(tx, router, current)
            current = None
        if network is None or body is None:
            return {"external_network_id": None, "enable_snat": True}
        if current is None:
            current = self._service_ports.insert(
                tx, network, project_id="", device_id=router.id, device_owner=GATEWAY_OWNER
            )
            assert current is not None  # its id is new
            self._address(tx, router, current, body)
        elif given(body, "external_fixed_ips").get("external_fixed_ips"):
            port_store.addresses_delete(tx, current.id)
            self._address(tx, router, current, body)
        snat = given(body, "enable_snat").get("enable_snat", True)
        return {"external_network_id": network.id, "enable_snat": snat}

    def remove(self, tx: Transaction, router: Router, port: Port) -> None:
        if router_store.floating_of_routers(tx, [router.id]):
            raise Conflict(
                type="RouterExternalGatewayInUseByFloatingIp",
                reason=f"Gateway cannot be updated for router {router.id}, since a gateway to "
                f"external network {port.network_id} is required by one or more floating IPs.",
            )
        store.row_delete(tx, ports, port.id)

    def _address(self, tx: Transaction, router: Router, port: Port, body: GatewayBody) -> None:
        """New addresses for the gateway's port, which has none."""
        members = store.subnets_of(tx, [port.network_id])[port.network_id]
        wanted = given(body, "external_fixed_ips").get("external_fixed_ips") or None
        if wanted is not None:
            wanted = kept(wanted, port.fixed_ips)
        self._service_ports.allocator.assign(tx, port, members, wanted)
        changed = port_store.port_get(tx, port.id)
        assert changed is not None
        if not changed.fixed_ips:
            raise Invalid(
                type="BadRequest",
                reason=f"Bad router request: No IPs available for external network "
                f"{port.network_id}.",
            )
        named = {fixed.subnet_id for fixed in changed.fixed_ips}
        check_apart(
            [subnet for subnet in members if subnet.id in named],
            subnets_connected(tx, router_store.interface_ports(tx, router.id)),
        )
