"""Which subnets meet in one router, and that they are apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from minicloud.domain.errors import Invalid
from minicloud.kit.db import Transaction
from minicloud.network import ipam, store
from minicloud.network.records import Port, Subnet


def subnets_connected(tx: Transaction, ports: Sequence[Port]) -> list[Subnet]:
    """The subnets that these ports have addresses of; one query."""
    named = {fixed.subnet_id for port in ports for fixed in port.fixed_ips}
    members = store.subnets_of(tx, {port.network_id for port in ports})
    return [subnet for subnets in members.values() for subnet in subnets if subnet.id in named]


def check_apart(new: Iterable[Subnet], present: Sequence[Subnet]) -> None:
    """Invalid where a new subnet is connected already or overlaps with one that is."""
    for subnet, other in itertools.product(new, present):
        if subnet.id == other.id:
            raise Invalid(
                type="BadRequest",
                reason=f"Bad router request: Router already has a port on subnet {subnet.id}.",
            )
        if ipam.parse_cidr(subnet.cidr).overlaps(ipam.parse_cidr(other.cidr)):
            raise Invalid(
                type="BadRequest",
                reason=f"Bad router request: Cidr {subnet.cidr} of subnet {subnet.id} overlaps "
                f"with cidr {other.cidr} of subnet {other.id}.",
            )
