"""What a host needs to know to wire a port, as JSON: ``hostnet/wiring.py``'s shapes, made here.

The network service never imports ``hostnet``; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.ids import bridge_name, tap_name
from minicloud.kit.db import Transaction
from minicloud.network import port_store, store
from minicloud.network.ipam import address_of
from minicloud.network.records import Network, Port, Subnet
from minicloud.network.views import default_hostname

Json = dict[str, Any]


class Binder:
    """``dns_servers``: name servers of subnets that name none themselves."""

    def __init__(self, dns_servers: Sequence[str]) -> None:
        self._dns_servers = list(dns_servers)

    def vif_details(self, tx: Transaction, ports: Sequence[Port]) -> dict[str, Json]:
        """port id -> binding:vif_details, of the bound ones of ``ports``; three queries."""
        bound = [port for port in ports if port.host]
        networks = self._networks(tx, bound)
        return {
            port.id: {
                "bridge_name": bridge_name(port.network_id),
                "tap": tap_name(port.id),
                "network_name": networks[port.network_id][0].name,
                "wiring": {"network": networks[port.network_id][1], "port": _port(port)},
            }
            for port in bound
        }

    def host_wiring(self, tx: Transaction, host: str) -> Json:
        """All that the host has to have; six queries."""
        bound = port_store.port_list_of_host(tx, host)
        networks = self._networks(tx, bound)
        return {
            "networks": [wiring for _, (_, wiring) in sorted(networks.items())],
            "ports": [_port(port) for port in bound],
        }

    def _networks(self, tx: Transaction, bound: Sequence[Port]) -> dict[str, tuple[Network, Json]]:
        networks = store.networks_of(tx, [port.network_id for port in bound])
        subnets = store.subnets_of(tx, networks)
        dhcp = port_store.dhcp_addresses(
            tx, [subnet.id for members in subnets.values() for subnet in members]
        )
        return {
            network.id: (
                network,
                {
                    "id": network.id,
                    "mtu": network.mtu,
                    "subnets": [
                        self._subnet(subnet, dhcp.get(subnet.id)) for subnet in subnets[network.id]
                    ],
                },
            )
            for network in networks.values()
        }

    def _subnet(self, subnet: Subnet, dhcp: int | None) -> Json:
        return {
            "id": subnet.id,
            "cidr": subnet.cidr,
            "ip_version": subnet.ip_version,
            "gateway_ip": subnet.gateway_ip,
            "enable_dhcp": subnet.enable_dhcp,
            "dhcp_ip": None if dhcp is None else address_of(dhcp),
            "dns_nameservers": list(subnet.dns_nameservers) or self._dns_servers,
            "host_routes": [list(route) for route in subnet.host_routes],
        }


def _port(port: Port) -> Json:
    hostname = port.dns_name or (
        default_hostname(port.fixed_ips[0].number) if port.fixed_ips else ""
    )
    return {
        "id": port.id,
        "mac": port.mac_address,
        "network_id": port.network_id,
        "device_id": port.device_id,
        "project_id": port.project_id,
        "fixed_ips": [[fixed.subnet_id, address_of(fixed.number)] for fixed in port.fixed_ips],
        "hostname": hostname,
    }
