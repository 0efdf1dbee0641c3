"""Queries on the hosts that wire ports and carry routers, and on what is where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.network.ipam import address_of
from minicloud.network.models import (
    address_groups,
    addresses,
    floating_ips,
    hosts,
    networks,
    port_security_groups,
    ports,
    routers,
)
from minicloud.network.records import GATEWAY_OWNER, INTERFACE_OWNER, from_row

# Statements of every host's pass are made once: to make one costs several times a run of it.
_THESE: sa.BindParameter[Any] = sa.bindparam("these", expanding=True)
_SEEN = sa.update(hosts).where(hosts.c.name == sa.bindparam("this"))
_HOSTS = sa.select(hosts).order_by(hosts.c.name)
_PLACED = (
    sa.select(routers.c.id, routers.c.host, networks.c.physical_network, addresses.c.number)
    .outerjoin(networks, networks.c.id == routers.c.external_network_id)
    .outerjoin(
        ports, sa.and_(ports.c.device_id == routers.c.id, ports.c.device_owner == GATEWAY_OWNER)
    )
    .outerjoin(addresses, addresses.c.port_id == ports.c.id)
    .order_by(routers.c.id, addresses.c.position)
)
_WHERE = sa.func.coalesce(routers.c.host, ports.c.host)
_ELSEWHERE = (
    sa.select(
        ports.c.id.label("port_id"),
        ports.c.network_id,
        ports.c.mac_address.label("mac"),
        ports.c.device_id,
        ports.c.project_id,
        _WHERE.label("host"),
        addresses.c.number,
    )
    .outerjoin(
        routers,
        sa.and_(
            routers.c.id == ports.c.device_id,
            ports.c.device_owner.in_((INTERFACE_OWNER, GATEWAY_OWNER)),
        ),
    )
    .outerjoin(addresses, addresses.c.port_id == ports.c.id)
    .where(ports.c.network_id.in_(_THESE), sa.bindparam("here") != _WHERE, _WHERE != "")
    .order_by(ports.c.id, addresses.c.position)
)
_CONNECTED_OUTSIDE = (
    sa.select(ports.c.network_id, addresses.c.number, _WHERE)
    .join(networks, networks.c.id == ports.c.network_id)
    .join(addresses, addresses.c.port_id == ports.c.id)
    .outerjoin(
        routers,
        sa.and_(routers.c.id == ports.c.device_id, ports.c.device_owner == GATEWAY_OWNER),
    )
    .where(networks.c.external, networks.c.physical_network.is_(None), _WHERE != "")
)
_FLOATING_OUTSIDE = (
    sa.select(floating_ips.c.floating_network_id, floating_ips.c.floating_number, routers.c.host)
    .join(networks, networks.c.id == floating_ips.c.floating_network_id)
    .join(routers, routers.c.id == floating_ips.c.router_id)
    .where(networks.c.physical_network.is_(None), routers.c.host != "")
)
_MEMBERS = (
    sa.select(port_security_groups.c.security_group_id, addresses.c.port_id, addresses.c.number)
    .join(addresses, addresses.c.port_id == port_security_groups.c.port_id)
    .where(port_security_groups.c.security_group_id.in_(_THESE))
)
_PAIRS = (
    sa.select(port_security_groups.c.security_group_id, ports.c.allowed_address_pairs)
    .join(ports, ports.c.id == port_security_groups.c.port_id)
    .where(
        port_security_groups.c.security_group_id.in_(_THESE),
        sa.cast(ports.c.allowed_address_pairs, sa.Text) != "[]",
    )
)


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says of itself when it asks for its wiring."""

    tunnel_address: str = ""
    is_gateway: bool = False
    physical_networks: Sequence[str] = ()


class HostRow(HostReport, frozen=True, kw_only=True):
    name: str
    last_seen: float
    admin_state_up: bool


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """A port with one of its addresses, and the host that has it."""

    port_id: str
    network_id: str
    mac: str
    device_id: str
    project_id: str
    host: str
    number: int | None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A router, where it is, and the physical network that it needs; empty: any host will do.

    ``outside``: its IPv4 address where other hosts reach it; empty if they do not.
    """

    id: str
    host: str
    physical_network: str
    outside: str = ""


def host_seen(tx: Transaction, name: str, now: float, report: HostReport) -> None:
    values = {"last_seen": now, **msgspec.to_builtins(report)}
    done = tx.execute(_SEEN, {"this": name, **values})
    if done.rowcount:
        return
    fresh = {
        "name": name,
        "first_seen": now,
        "availability_zone": "nova",
        "admin_state_up": True,
        "description": "",
        **values,
    }
    try:
        with tx.begin_nested():
            tx.execute(sa.insert(hosts).values(**fresh))
    except sa.exc.IntegrityError:  # its own twin was first, with the same words
        return


def host_list(tx: Transaction) -> list[HostRow]:
    rows = tx.execute(_HOSTS).mappings()
    return [from_row(row, HostRow) for row in rows]


def routers_placed(tx: Transaction) -> list[Placed]:
    found: dict[str, Placed] = {}
    for row in tx.execute(_PLACED):
        wire = row.physical_network or ""
        address = "" if row.number is None or wire else address_of(row.number)
        placed = found.get(row.id)
        if placed is None or not placed.outside:
            outside = "" if ":" in address else address
            found[row.id] = Placed(id=row.id, host=row.host, physical_network=wire, outside=outside)
    return list(found.values())


def router_move(tx: Transaction, router_id: str, before: str, after: str) -> bool:
    """False if somebody else placed it in the meantime."""
    statement = sa.update(routers).where(routers.c.id == router_id, routers.c.host == before)
    return tx.execute(statement.values(host=after)).rowcount == 1


def ports_elsewhere(tx: Transaction, network_ids: Iterable[str], host: str) -> list[Elsewhere]:
    """The ports of these networks on other hosts, a row an address: guests' and routers'."""
    wanted = set(network_ids)
    if not wanted:
        return []
    rows = tx.execute(_ELSEWHERE, {"these": list(wanted), "here": host}).mappings()
    return [from_row(row, Elsewhere) for row in rows]


def addresses_outside(tx: Transaction) -> list[tuple[str, int, str]]:
    """(network, address, host) of all that is on an external network: gateways, guests and
    floating IPs.
    """
    found = [*tx.execute(_CONNECTED_OUTSIDE), *tx.execute(_FLOATING_OUTSIDE)]
    return [(network_id, number, host) for network_id, number, host in found]


def members_of(tx: Transaction, group_ids: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """security group id -> (port, address) of its members."""
    found: dict[str, list[tuple[str, int]]] = {group_id: [] for group_id in group_ids}
    if found:
        for group_id, port_id, number in tx.execute(_MEMBERS, {"these": list(found)}):
            found[group_id].append((port_id, number))
    return found


def pairs_of_members(tx: Transaction, group_ids: Iterable[str]) -> dict[str, list[str]]:
    """security group id -> the addresses that its members' allowed address pairs have."""
    found: dict[str, list[str]] = {group_id: [] for group_id in group_ids}
    if found:
        for group_id, pairs in tx.execute(_PAIRS, {"these": list(found)}):
            found[group_id] += [address for address, _ in pairs]
    return found


def address_groups_of(tx: Transaction, ids: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """address group id -> its addresses and ranges."""
    wanted = set(ids)
    if not wanted:
        return {}
    table = address_groups
    rows = tx.execute(sa.select(table.c.id, table.c.addresses).where(table.c.id.in_(wanted)))
    return {row.id: list(row.addresses) for row in rows}
