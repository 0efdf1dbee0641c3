"""Queries on ports, their addresses and their security groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.network import attributes
from minicloud.network.ipam import Pool, address_of
from minicloud.network.listing import rows_list
from minicloud.network.models import addresses, networks, port_security_groups, ports
from minicloud.network.query import ListQuery
from minicloud.network.records import (
    DHCP_OWNER,
    FLOATING_OWNER,
    GATEWAY_OWNER,
    INTERFACE_OWNER,
    FixedIp,
    Port,
    Subnet,
    from_row,
)
from minicloud.network.store import Visible

_ROUTERS = (INTERFACE_OWNER, GATEWAY_OWNER, FLOATING_OWNER)

# Statements are made once: to make one costs several times what it costs to run it.
_THESE: sa.BindParameter[Any] = sa.bindparam("these", expanding=True)
_GET = sa.select(ports).where(ports.c.id == sa.bindparam("this"))
_GET_LOCKED = _GET.with_for_update()
_OF_HOST = (
    sa.select(ports)
    .where(sa.or_(ports.c.host == sa.bindparam("on"), ports.c.awaited_on == sa.bindparam("on")))
    .order_by(ports.c.id)
)
_ADDRESSES_OF = (
    sa.select(addresses.c.port_id, addresses.c.subnet_id, addresses.c.number)
    .where(addresses.c.port_id.in_(_THESE))
    .order_by(addresses.c.position)
)
_GROUPS_OF = (
    sa.select(port_security_groups.c.port_id, port_security_groups.c.security_group_id)
    .where(port_security_groups.c.port_id.in_(_THESE))
    .order_by(port_security_groups.c.security_group_id)
)
_OF_DEVICES = (
    sa.select(ports)
    .where(
        ports.c.device_id.in_(_THESE),
        ports.c.device_owner.in_(sa.bindparam("owners", expanding=True)),
    )
    .order_by(ports.c.created_at, ports.c.id)
)
_LEAVE_GROUPS = sa.delete(port_security_groups).where(
    port_security_groups.c.port_id == sa.bindparam("this")
)
_JOIN_GROUPS = sa.insert(port_security_groups)
_TAKEN = sa.select(addresses.c.number).where(
    addresses.c.subnet_id == sa.bindparam("subnet"),
    addresses.c.number.between(sa.bindparam("first"), sa.bindparam("last")),
)
_ADDRESS = sa.insert(addresses)
_DHCP = (
    sa.select(addresses.c.subnet_id, addresses.c.number)
    .join(ports, addresses.c.port_id == ports.c.id)
    .where(addresses.c.subnet_id.in_(_THESE), ports.c.device_owner == DHCP_OWNER)
)


def port_visible(project_id: str, *, sees_all: bool) -> Visible:
    """Which ports a project sees: its own, and all on its own networks."""
    if sees_all:
        return sa.true()
    if not project_id:
        return sa.false()
    return sa.or_(ports.c.project_id == project_id, networks.c.project_id == project_id)


def port_get(tx: Transaction, port_id: str, *, lock: bool = False) -> Port | None:
    rows = tx.execute(_GET_LOCKED if lock else _GET, {"this": port_id}).mappings().all()
    found = _filled(tx, rows)
    return found[0] if found else None


def port_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[Port]:
    return _filled(tx, rows_list(tx, attributes.PORTS, query, visible))


def port_list_of_host(tx: Transaction, host: str) -> list[Port]:
    """Every port bound to the host or awaited there, in the order of their ids."""
    return _filled(tx, tx.execute(_OF_HOST, {"on": host}).mappings().all())


def ports_of(tx: Transaction, port_ids: Iterable[str]) -> dict[str, Port]:
    """id -> port; three queries."""
    statement = sa.select(ports).where(ports.c.id.in_(set(port_ids)))
    return {port.id: port for port in _filled(tx, tx.execute(statement).mappings().all())}


def ports_of_devices(tx: Transaction, device_ids: Iterable[str], *owners: str) -> list[Port]:
    """The devices' ports with one of these owners, oldest first; three queries."""
    asked = {"these": list(set(device_ids)), "owners": owners}
    return _filled(tx, tx.execute(_OF_DEVICES, asked).mappings().all())


def port_groups_replace(tx: Transaction, port_id: str, group_ids: Sequence[str]) -> bool:
    """False if a group is gone meanwhile."""
    try:
        with tx.begin_nested():
            tx.execute(_LEAVE_GROUPS, {"this": port_id})
            rows = [{"port_id": port_id, "security_group_id": name} for name in group_ids]
            if rows:
                tx.execute(_JOIN_GROUPS, rows)
    except sa.exc.IntegrityError:
        return False
    return True


def subnet_has_bound_ports(tx: Transaction, subnet_id: str) -> bool:
    """Whether a port with an address of the subnet is bound to a host."""
    statement = (
        sa.select(ports.c.id)
        .join(addresses, addresses.c.port_id == ports.c.id)
        .where(addresses.c.subnet_id == subnet_id, ports.c.host != "")
    )
    return tx.execute(statement.limit(1)).first() is not None


def subnet_has_guests(tx: Transaction, subnet: Subnet) -> bool:
    """Whether a port has an address of the subnet that was not given to it unasked."""
    unasked = ports.c.device_owner == DHCP_OWNER
    if subnet.is_automatic:
        unasked = sa.or_(unasked, ports.c.device_owner.not_in(_ROUTERS))
    statement = (
        sa.select(ports.c.id)
        .join(addresses, addresses.c.port_id == ports.c.id)
        .where(addresses.c.subnet_id == subnet.id, sa.not_(unasked))
    )
    return tx.execute(statement.limit(1)).first() is not None


def ports_of_guests(tx: Transaction, network_id: str) -> list[Port]:
    """The network's ports but those of routers and DHCP."""
    statement = sa.select(ports).where(
        ports.c.network_id == network_id, ports.c.device_owner.not_in((*_ROUTERS, DHCP_OWNER))
    )
    return _filled(tx, tx.execute(statement).mappings().all())


# -- addresses -----------------------------------------------------------------------------------
def address_is_taken(tx: Transaction, subnet_id: str, number: int) -> bool:
    return bool(addresses_taken(tx, subnet_id, Pool(number, number)))


def addresses_taken(tx: Transaction, subnet_id: str, window: Pool) -> set[int]:
    """The subnet's given addresses within ``window``."""
    asked = {"subnet": subnet_id, "first": window.first, "last": window.last}
    return set(tx.execute(_TAKEN, asked).scalars())


def addresses_in_order(tx: Transaction, subnet_id: str) -> Iterator[int]:
    """All of the subnet's given addresses, lowest first, as they are asked for."""
    statement = (
        sa.select(addresses.c.number)
        .where(addresses.c.subnet_id == subnet_id)
        .order_by(addresses.c.number)
    )
    return iter(tx.execute(statement).scalars())


def address_insert(tx: Transaction, port_id: str, fixed: FixedIp, position: int) -> bool:
    """Give an address to a port; False if another port has it, or the subnet is gone."""
    try:
        with tx.begin_nested():
            tx.execute(
                _ADDRESS,
                {
                    "port_id": port_id,
                    "subnet_id": fixed.subnet_id,
                    "number": fixed.number,
                    "text": address_of(fixed.number),
                    "position": position,
                },
            )
    except sa.exc.IntegrityError:
        return False
    return True


def addresses_delete(tx: Transaction, port_id: str) -> None:
    tx.execute(sa.delete(addresses).where(addresses.c.port_id == port_id))


def address_delete(tx: Transaction, port_id: str, subnet_id: str) -> None:
    """Take one subnet's address from the port."""
    chosen = sa.and_(addresses.c.port_id == port_id, addresses.c.subnet_id == subnet_id)
    tx.execute(sa.delete(addresses).where(chosen))


def subnet_addresses_delete(tx: Transaction, subnet_id: str) -> None:
    """Take a subnet's addresses from all ports."""
    tx.execute(sa.delete(addresses).where(addresses.c.subnet_id == subnet_id))


def dhcp_addresses(tx: Transaction, subnet_ids: Iterable[str]) -> dict[str, int]:
    """subnet id -> address of its DHCP port, where it has one; one query."""
    wanted = set(subnet_ids)
    if not wanted:
        return {}
    return {row.subnet_id: row.number for row in tx.execute(_DHCP, {"these": list(wanted)})}


def _filled(tx: Transaction, rows: Sequence[Mapping[Any, Any]]) -> list[Port]:
    """``rows`` with addresses and security groups: two queries however many there are."""
    wanted = [row["id"] for row in rows]
    fixed: dict[str, list[FixedIp]] = {identity: [] for identity in wanted}
    groups: dict[str, list[str]] = {identity: [] for identity in wanted}
    if wanted:
        for port_id, subnet_id, number in tx.execute(_ADDRESSES_OF, {"these": wanted}):
            fixed[port_id].append(FixedIp(subnet_id, number))
        for port_id, group_id in tx.execute(_GROUPS_OF, {"these": wanted}):
            groups[port_id].append(group_id)
    return [
        msgspec.structs.replace(
            from_row(row, Port),
            fixed_ips=fixed[row["id"]],
            security_groups=groups[row["id"]],
        )
        for row in rows
    ]
