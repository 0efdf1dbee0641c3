"""What a host needs to know to wire a port, as JSON: ``hostnet/wiring.py``'s shapes, made here.

The network service never imports ``hostnet``; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        networks = store.networks_of(tx, [port.network_id for port in bound])
        wired = self.networks(tx, networks, store.subnets_of(tx, networks))
        return {
            port.id: {
                "bridge_name": bridge_name(port.network_id),
                "tap": tap_name(port.id),
                "network_name": networks[port.network_id].name,
                "wiring": {
                    "network": wired[port.network_id],
                    "port": port_wiring(port, networks[port.network_id]),
                },
            }
            for port in bound
        }

    def networks(
        self,
        tx: Transaction,
        networks: Mapping[str, Network],
        subnets: Mapping[str, Sequence[Subnet]],
    ) -> dict[str, Json]:
        """network id -> its wiring, without what is on other hosts; one query."""
        dhcp = port_store.dhcp_addresses(
            tx, [subnet.id for members in subnets.values() for subnet in members]
        )
        return {
            network.id: {
                "id": network.id,
                "mtu": network.mtu,
                "segment": 0 if network.external else network.segment or 0,
                "external": network.external,
                "physical_network": network.physical_network or "",
                "subnets": [
                    self._subnet(subnet, dhcp.get(subnet.id), served=network.admin_state_up)
                    for subnet in subnets[network.id]
                ],
                "remotes": None,
            }
            for network in networks.values()
        }

    def _subnet(self, subnet: Subnet, dhcp: int | None, *, served: bool) -> Json:
        return {
            "id": subnet.id,
            "cidr": subnet.cidr,
            "ip_version": subnet.ip_version,
            "gateway_ip": subnet.gateway_ip,
            "enable_dhcp": subnet.enable_dhcp and served,
            "dhcp_ip": None if dhcp is None else address_of(dhcp),
            "dns_nameservers": list(subnet.dns_nameservers) or self._dns_servers,
            "host_routes": [list(route) for route in subnet.host_routes],
            "ra_mode": subnet.ipv6_ra_mode or "",
            "address_mode": subnet.ipv6_address_mode or "",
        }


def port_wiring(port: Port, network: Network) -> Json:
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
        "up": port.admin_state_up and network.admin_state_up,
        "secured": port.port_security_enabled,
        "groups": list(port.security_groups),
        "pairs": [[mac, address] for address, mac in port.allowed_address_pairs],
        "dhcp_options": [
            {"name": name, "value": value, "ip_version": version}
            for name, value, version in port.extra_dhcp_opts
        ],
        "awaited": False,
    }
