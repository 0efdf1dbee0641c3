"""How many addresses networks have, and how many of them are given."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import NotFound
from minicloud.kit.db import Database, Transaction
from minicloud.network import store
from minicloud.network.allocation import pools_of
from minicloud.network.models import addresses, networks
from minicloud.network.records import Network, Subnet, from_row

Json = dict[str, Any]


class IpAvailability:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, ip_version: int | None = None) -> list[Json]:
        """Of every network; three queries. ``ip_version``: of its subnets of that version only."""
        with self._database.read() as tx:
            rows = tx.execute(sa.select(networks).order_by(networks.c.id)).mappings()
            return _views(tx, [from_row(row, Network) for row in rows], ip_version)

    def show(self, network_id: str) -> Json:
        with self._database.read() as tx:
            network = store.network_get(tx, network_id)
            if network is None:
                raise NotFound(kind="Network", id=network_id)
            return _views(tx, [network], None)[0]


def _views(tx: Transaction, found: list[Network], ip_version: int | None) -> list[Json]:
    members = store.subnets_of(tx, [network.id for network in found])
    counted = sa.select(addresses.c.subnet_id, sa.func.count()).group_by(addresses.c.subnet_id)
    used = {row[0]: int(row[1]) for row in tx.execute(counted)}
    views = []
    for network in found:
        parts = [
            _subnet(subnet, used.get(subnet.id, 0))
            for subnet in members[network.id]
            if ip_version in (None, subnet.ip_version)
        ]
        views.append(
            {
                "network_id": network.id,
                "network_name": network.name,
                "project_id": network.project_id,
                "tenant_id": network.project_id,
                "total_ips": sum(part["total_ips"] for part in parts),
                "used_ips": sum(part["used_ips"] for part in parts),
                "subnet_ip_availability": parts,
            }
        )
    return views


def _subnet(subnet: Subnet, used: int) -> Json:
    return {
        "subnet_id": subnet.id,
        "subnet_name": subnet.name,
        "cidr": subnet.cidr,
        "ip_version": subnet.ip_version,
        "total_ips": sum(pool.size for pool in pools_of(subnet)),
        "used_ips": used,
    }
