"""Ports that the service makes for itself: of DHCP, routers, gateways and floating IPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.kit.db import Transaction
from minicloud.network import port_store, store
from minicloud.network.allocation import Allocator
from minicloud.network.records import Network, Port

DEFAULTS: Mapping[str, Any] = {
    "admin_state_up": True,
    "port_security_enabled": True,
    "device_id": "",
    "device_index": None,
    "device_owner": "",
    "dns_name": "",
    "host": "",
    "awaited_on": "",
    "profile": {},
    "vnic_type": "normal",
    "allowed_address_pairs": [],
    "extra_dhcp_opts": [],
}
"""The columns that any new port starts with."""


class ServicePorts:
    def __init__(self, allocator: Allocator) -> None:
        self.allocator = allocator

    def insert(
        self,
        tx: Transaction,
        network: Network,
        *,
        project_id: str,
        device_id: str,
        device_owner: str,
        port_id: str | None = None,
    ) -> Port | None:
        """A new port without addresses; None if the id exists already."""
        values = {
            **store.standard_values(project_id, port_id),
            **DEFAULTS,
            "network_id": network.id,
            "port_security_enabled": False,
            "device_id": device_id,
            "device_owner": device_owner,
        }
        if not self.allocator.port_insert(tx, values, None):
            return None
        return port_store.port_get(tx, values["id"])
