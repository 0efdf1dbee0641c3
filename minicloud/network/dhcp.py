"""The port that holds a subnet's DHCP and metadata address: one a subnet, its id computed.

Every host serves DHCP to its own guests under this one address, so it is an address of the
subnet and not of a host.
"""

from __future__ import annotations

from collections.abc import Iterable

from minicloud.domain.ids import derive
from minicloud.kit.db import Transaction
from minicloud.network import store
from minicloud.network.models import ports
from minicloud.network.port_store import dhcp_addresses
from minicloud.network.records import DHCP_OWNER, Network, Subnet
from minicloud.network.service_ports import ServicePorts


def port_id_of(subnet_id: str) -> str:
    return derive("dhcp-port", subnet_id)


class DhcpPorts:
    def __init__(self, service_ports: ServicePorts) -> None:
        self._service_ports = service_ports

    def ensure(self, tx: Transaction, network: Network, subnets: Iterable[Subnet]) -> None:
        """Make the DHCP ports that these subnets need and lack. NoAddressLeft."""
        served = [subnet for subnet in subnets if subnet.enable_dhcp]
        have = dhcp_addresses(tx, [subnet.id for subnet in served])
        for subnet in served:
            if subnet.id not in have:
                self._make(tx, network, subnet)

    def remove(self, tx: Transaction, subnet: Subnet) -> None:
        store.row_delete(tx, ports, port_id_of(subnet.id))

    def _make(self, tx: Transaction, network: Network, subnet: Subnet) -> None:
        port = self._service_ports.insert(
            tx,
            network,
            project_id=network.project_id,
            port_id=port_id_of(subnet.id),
            device_id=f"dhcp-{network.id}",
            device_owner=DHCP_OWNER,
        )
        if port is not None:
            self._service_ports.allocator.take(tx, port, subnet)
