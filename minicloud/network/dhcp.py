"""The port that holds a subnet's DHCP and metadata address: one a subnet, its id computed.

Every host serves DHCP to its own guests under this one address, so it is an address of the
subnet and not of a host.
"""

from __future__ import annotations

from collections.abc import Iterable

from minicloud.domain.ids import derive
from minicloud.kit.db import Transaction
from minicloud.network import store
from minicloud.network.allocation import Allocator
from minicloud.network.models import ports
from minicloud.network.port_store import dhcp_addresses
from minicloud.network.records import DHCP_OWNER, Network, Subnet


def port_id_of(subnet_id: str) -> str:
    return derive("dhcp-port", subnet_id)


class DhcpPorts:
    def __init__(self, allocator: Allocator) -> None:
        self._allocator = allocator

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
        values = {
            **store.standard_values(network.project_id, port_id_of(subnet.id)),
            "network_id": network.id,
            "admin_state_up": True,
            "port_security_enabled": False,
            "device_id": f"dhcp-{network.id}",
            "device_index": None,
            "device_owner": DHCP_OWNER,
            "dns_name": "",
            "host": "",
            "profile": {},
        }
        if self._allocator.port_insert(tx, values, None):
            self._allocator.take(tx, values["id"], subnet)
