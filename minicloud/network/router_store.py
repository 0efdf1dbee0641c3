"""Queries on routers, their ports, floating IPs and port forwardings.

A writer locks the project's row, then networks', then the router's: see ``store.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.network import port_store
from minicloud.network.l3_attributes import FLOATING_IPS, ROUTERS
from minicloud.network.listing import rows_list
from minicloud.network.models import addresses, floating_ips, port_forwardings, ports, routers
from minicloud.network.query import ListQuery
from minicloud.network.records import (
    GATEWAY_OWNER,
    INTERFACE_OWNER,
    FloatingIp,
    Port,
    PortForwarding,
    Router,
    from_row,
)
from minicloud.network.store import Visible

# Statements of every port's deletion and every host's pass: to make one costs several runs of it.
_THESE: sa.BindParameter[Any] = sa.bindparam("these", expanding=True)
_OF_HOST = sa.select(routers.c.id).where(routers.c.host == sa.bindparam("on"))
_GET_ALL = sa.select(routers).where(routers.c.id.in_(_THESE))
_FLOATING_OF = (
    sa.select(floating_ips).where(floating_ips.c.router_id.in_(_THESE)).order_by(floating_ips.c.id)
)
_LET_GO = (
    sa.update(floating_ips)
    .where(floating_ips.c.port_id == sa.bindparam("port"))
    .values(
        port_id=None,
        fixed_number=None,
        router_id=None,
        revision_number=floating_ips.c.revision_number + 1,
    )
)
_FORWARD_NO_MORE = (
    sa.delete(port_forwardings)
    .where(port_forwardings.c.internal_port_id == sa.bindparam("port"))
    .returning(port_forwardings.c.floatingip_id)
)


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """A router with all that is connected to it."""

    router: Router
    interfaces: Sequence[Port]
    gateway: Port | None
    """Its port on the external network."""
    floating_ips: Sequence[FloatingIp]
    """Those that have a port or port forwardings behind this router."""
    forwardings: Sequence[PortForwarding]


def owned_visible(table: sa.Table, project_id: str, *, sees_all: bool) -> Visible:
    """Which rows of a table a project sees, where nothing is shared: its own."""
    return sa.true() if sees_all else table.c.project_id == project_id


# -- routers -------------------------------------------------------------------------------------
def router_get(tx: Transaction, router_id: str, *, lock: bool = False) -> Router | None:
    """``lock``: let nobody else connect or disconnect anything until the transaction ends."""
    statement = sa.select(routers).where(routers.c.id == router_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    row = tx.execute(statement).mappings().first()
    return from_row(row, Router) if row else None


def router_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[Router]:
    return [from_row(row, Router) for row in rows_list(tx, ROUTERS, query, visible)]


def gateway_ports(tx: Transaction, router_ids: Iterable[str]) -> dict[str, Port]:
    """router id -> the port of its gateway, where it has one."""
    found = port_store.ports_of_devices(tx, router_ids, GATEWAY_OWNER)
    return {port.device_id: port for port in found}


def interface_ports(tx: Transaction, router_id: str) -> list[Port]:
    return port_store.ports_of_devices(tx, [router_id], INTERFACE_OWNER)


def router_ids_of_host(tx: Transaction, host: str) -> list[str]:
    """The routers that the gateway host carries."""
    return [str(identity) for identity in tx.execute(_OF_HOST, {"on": host}).scalars()]


def router_ids_on_networks(tx: Transaction, network_ids: Iterable[str]) -> list[str]:
    """The routers that have an interface on one of the networks."""
    return _ids(
        tx,
        sa.select(routers.c.id)
        .join(ports, ports.c.device_id == routers.c.id)
        .where(ports.c.device_owner == INTERFACE_OWNER, ports.c.network_id.in_(set(network_ids))),
    )


def routed(tx: Transaction, router_ids: Iterable[str]) -> list[Routed]:
    """The routers with everything that is connected to them, in the order of their ids: six
    queries however many they are.
    """
    wanted = sorted(set(router_ids))
    if not wanted:
        return []
    rows = tx.execute(_GET_ALL, {"these": wanted}).mappings()
    found = sorted((from_row(row, Router) for row in rows), key=lambda router: router.id)
    connected = port_store.ports_of_devices(tx, wanted, INTERFACE_OWNER, GATEWAY_OWNER)
    floating = floating_of_routers(tx, wanted)
    forwardings = forwardings_of(tx, [each.id for each in floating])
    return [
        Routed(
            router=router,
            interfaces=[
                port
                for port in connected
                if port.device_id == router.id and port.device_owner == INTERFACE_OWNER
            ],
            gateway=next(
                (
                    port
                    for port in connected
                    if port.device_id == router.id and port.device_owner == GATEWAY_OWNER
                ),
                None,
            ),
            floating_ips=[each for each in floating if each.router_id == router.id],
            forwardings=[
                forwarding
                for each in floating
                if each.router_id == router.id
                for forwarding in forwardings[each.id]
            ],
        )
        for router in found
    ]


def router_of_subnet(tx: Transaction, subnet_id: str, external_network_id: str) -> str | None:
    """The router that connects the subnet to the external network; the oldest of several."""
    statement = (
        sa.select(routers.c.id)
        .join(ports, ports.c.device_id == routers.c.id)
        .join(addresses, addresses.c.port_id == ports.c.id)
        .where(
            ports.c.device_owner == INTERFACE_OWNER,
            addresses.c.subnet_id == subnet_id,
            routers.c.external_network_id == external_network_id,
        )
        .order_by(routers.c.created_at, routers.c.id)
    )
    return tx.execute(statement).scalars().first()


# -- floating IPs --------------------------------------------------------------------------------
def floating_get(tx: Transaction, floating_id: str, *, lock: bool = False) -> FloatingIp | None:
    statement = sa.select(floating_ips).where(floating_ips.c.id == floating_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    row = tx.execute(statement).mappings().first()
    return from_row(row, FloatingIp) if row else None


def floating_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[FloatingIp]:
    return [from_row(row, FloatingIp) for row in rows_list(tx, FLOATING_IPS, query, visible)]


def floating_of_routers(tx: Transaction, router_ids: Iterable[str]) -> list[FloatingIp]:
    """Floating IPs whose traffic goes through these routers."""
    rows = tx.execute(_FLOATING_OF, {"these": list(set(router_ids))}).mappings()
    return [from_row(row, FloatingIp) for row in rows]


def floating_of_port(tx: Transaction, port_id: str) -> list[FloatingIp]:
    statement = sa.select(floating_ips).where(floating_ips.c.port_id == port_id)
    return [from_row(row, FloatingIp) for row in tx.execute(statement).mappings()]


def subnet_has_floating(tx: Transaction, router_id: str, subnet_id: str) -> bool:
    """Whether a floating IP leads by the router to an address of the subnet."""
    inside = sa.and_(addresses.c.subnet_id == subnet_id, floating_ips.c.router_id == router_id)
    whole = (
        sa.select(floating_ips.c.id)
        .join(
            addresses,
            sa.and_(
                addresses.c.port_id == floating_ips.c.port_id,
                addresses.c.number == floating_ips.c.fixed_number,
            ),
        )
        .where(inside)
    )
    parts = (
        sa.select(floating_ips.c.id)
        .join(port_forwardings, port_forwardings.c.floatingip_id == floating_ips.c.id)
        .join(
            addresses,
            sa.and_(
                addresses.c.port_id == port_forwardings.c.internal_port_id,
                addresses.c.number == port_forwardings.c.internal_number,
            ),
        )
        .where(inside)
    )
    return tx.execute(sa.union_all(whole, parts).limit(1)).first() is not None


def floating_release(tx: Transaction, port_id: str, kept: Iterable[int], now: float) -> None:
    """Let go of the port's floating IPs, but those for the addresses in ``kept``; and of port
    forwardings to other addresses.
    """
    let_go, forward_no_more = _LET_GO, _FORWARD_NO_MORE
    if numbers := list(kept):
        let_go = let_go.where(floating_ips.c.fixed_number.not_in(numbers))
        forward_no_more = forward_no_more.where(port_forwardings.c.internal_number.not_in(numbers))
    tx.execute(let_go, {"port": port_id, "updated_at": now})
    touched = set(tx.execute(forward_no_more, {"port": port_id}).scalars())
    for floating_id in touched:
        floating_release_idle(tx, floating_id, now)


def floating_release_idle(tx: Transaction, floating_id: str, now: float) -> None:
    """A floating IP whose last port forwarding is gone goes through no router any more."""
    left = sa.select(port_forwardings.c.id).where(port_forwardings.c.floatingip_id == floating_id)
    tx.execute(
        sa.update(floating_ips)
        .where(
            floating_ips.c.id == floating_id,
            floating_ips.c.port_id.is_(None),
            ~sa.exists(left),
        )
        .values(
            router_id=None,
            updated_at=now,
            revision_number=floating_ips.c.revision_number + 1,
        )
    )


# -- port forwardings ----------------------------------------------------------------------------
def forwarding_get(tx: Transaction, forwarding_id: str) -> PortForwarding | None:
    statement = sa.select(port_forwardings).where(port_forwardings.c.id == forwarding_id)
    row = tx.execute(statement).mappings().first()
    return from_row(row, PortForwarding) if row else None


def forwardings_of(tx: Transaction, floating_ids: Sequence[str]) -> dict[str, list[PortForwarding]]:
    """floating IP id -> its port forwardings, in one query."""
    found: dict[str, list[PortForwarding]] = {identity: [] for identity in floating_ids}
    if found:
        statement = (
            sa.select(port_forwardings)
            .where(port_forwardings.c.floatingip_id.in_(found))
            .order_by(port_forwardings.c.created_at, port_forwardings.c.id)
        )
        for row in tx.execute(statement).mappings():
            found[row["floatingip_id"]].append(from_row(row, PortForwarding))
    return found


def _ids(tx: Transaction, statement: sa.Select[Any]) -> list[str]:
    return sorted(set(tx.execute(statement).scalars()))
