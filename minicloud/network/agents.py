"""Agents, as clients look for them: one for every host that asks for its wiring, which does there
what Neutron has several for.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Conflict, NotFound
from minicloud.domain.ids import derive
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import router_store, store
from minicloud.network.caller import Caller
from minicloud.network.models import hosts, ports, routers
from minicloud.network.networks import network_seen
from minicloud.network.records import from_row
from minicloud.network.routers import router_seen
from minicloud.network.schemas import AgentUpdate, given

Json = dict[str, Any]
AGENT_TYPE = "minicloud host"
ZONE_OF_ROUTERS = "router"
ZONE_OF_NETWORKS = "network"


class HostSeen(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    first_seen: float
    last_seen: float
    availability_zone: str
    admin_state_up: bool
    description: str
    is_gateway: bool


def agent_id(host: str) -> str:
    return derive("network-agent", host)


class Agents:
    """``alive_s``: how long after a host was last seen it counts as alive."""

    def __init__(self, database: Database, *, alive_s: float) -> None:
        self._database = database
        self._alive_s = alive_s

    def find(self) -> list[Json]:
        with self._database.read() as tx:
            return self._views(tx, _hosts(tx))

    def show(self, identity: str) -> Json:
        with self._database.read() as tx:
            return self._views(tx, [_seen(tx, identity)])[0]

    def update(self, identity: str, body: AgentUpdate) -> Json:
        """A host whose agent is down takes no routers."""
        values = given(body, "admin_state_up", "description")
        with self._database.write() as tx:
            host = _seen(tx, identity)
            if values:
                tx.execute(sa.update(hosts).where(hosts.c.name == host.name).values(**values))
            return self._views(tx, [_seen(tx, identity)])[0]

    def delete(self, identity: str) -> None:
        """Forget a host, until it asks again. Conflict for one that is alive."""
        with self._database.write() as tx:
            host = _seen(tx, identity)
            if self._is_alive(host):
                raise Conflict(
                    type="AgentInUse", reason=f"The host {host.name} is alive: it would be back."
                )
            tx.execute(sa.delete(hosts).where(hosts.c.name == host.name))

    # -- what is where ---------------------------------------------------------------------------
    def of_network(self, caller: Caller, network_id: str) -> list[Json]:
        """The hosts that serve DHCP on the network: those with a port of it."""
        with self._database.read() as tx:
            network_seen(tx, caller, network_id)
            names = sa.select(ports.c.host).where(
                ports.c.network_id == network_id, ports.c.host != ""
            )
            wanted = set(tx.execute(names).scalars())
            return self._views(tx, [host for host in _hosts(tx) if host.name in wanted])

    def of_router(self, caller: Caller, router_id: str) -> list[Json]:
        with self._database.read() as tx:
            router = router_seen(tx, caller, router_id)
            return self._views(tx, [host for host in _hosts(tx) if host.name == router.host])

    def network_ids(self, identity: str) -> list[str]:
        """The networks that the host has a port of."""
        with self._database.read() as tx:
            host = _seen(tx, identity)
            statement = sa.select(ports.c.network_id).where(ports.c.host == host.name)
            return sorted(set(tx.execute(statement).scalars()))

    def router_ids(self, identity: str) -> list[str]:
        with self._database.read() as tx:
            return router_store.router_ids_of_host(tx, _seen(tx, identity).name)

    def router_put(self, caller: Caller, identity: str, router_id: str) -> None:
        """Carry the router there. Conflict where another host has it."""
        with self._database.write() as tx:
            host = _seen(tx, identity)
            if not (host.is_gateway and host.admin_state_up):
                raise Conflict(
                    type="InvalidL3Agent",
                    reason=f"Agent {identity} is not a L3 Agent or has been disabled",
                )
            router = router_seen(tx, caller, router_id, lock=True)
            if router.host not in ("", host.name):
                raise Conflict(
                    type="RouterHostedByL3Agent",
                    reason=f"The router {router.id} has been already hosted by the L3 Agent "
                    f"{agent_id(router.host)}.",
                )
            store.row_set(tx, routers, router.id, {"host": host.name})

    def router_take(self, caller: Caller, identity: str, router_id: str) -> None:
        """Carry the router there no more: the next report of a gateway host places it anew."""
        with self._database.write() as tx:
            host = _seen(tx, identity)
            router = router_seen(tx, caller, router_id, lock=True)
            if router.host != host.name:
                raise Conflict(
                    type="RouterNotHostedByL3Agent",
                    reason=f"The router {router.id} is not hosted by L3 agent {identity}.",
                )
            store.row_set(tx, routers, router.id, {"host": ""})

    def zones(self) -> list[Json]:
        """The availability zones of the hosts, each for networks and for routers."""
        with self._database.read() as tx:
            found = _hosts(tx)
        alive: dict[str, bool] = defaultdict(bool)
        for host in found:
            alive[host.availability_zone] |= host.admin_state_up and self._is_alive(host)
        return [
            {"name": name, "resource": resource, "state": "available" if up else "unavailable"}
            for name, up in sorted(alive.items())
            for resource in (ZONE_OF_NETWORKS, ZONE_OF_ROUTERS)
        ]

    def _is_alive(self, host: HostSeen) -> bool:
        return clock.now() - host.last_seen < self._alive_s

    def _views(self, tx: Transaction, found: list[HostSeen]) -> list[Json]:
        counts = _counts(tx)
        return [
            {
                "id": agent_id(host.name),
                "agent_type": AGENT_TYPE,
                "binary": "minicloud-compute",
                "topic": "N/A",
                "host": host.name,
                "availability_zone": host.availability_zone,
                "admin_state_up": host.admin_state_up,
                "alive": self._is_alive(host),
                "description": host.description,
                "created_at": clock.iso(host.first_seen),
                "started_at": clock.iso(host.first_seen),
                "heartbeat_timestamp": clock.iso(host.last_seen),
                "configurations": counts[host.name],
                "resources_synced": None,
            }
            for host in found
        ]


def _counts(tx: Transaction) -> dict[str, dict[str, int]]:
    """host -> how many ports and routers it has; two queries."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"ports": 0, "routers": 0})
    for name, table in (("ports", ports), ("routers", routers)):
        host = table.c.host
        statement = sa.select(host, sa.func.count()).where(host != "").group_by(host)
        for name_of_host, amount in tx.execute(statement):
            found[name_of_host][name] = amount
    return found


def _hosts(tx: Transaction) -> list[HostSeen]:
    columns = [hosts.c[name] for name in HostSeen.__struct_fields__]
    rows = tx.execute(sa.select(*columns).order_by(hosts.c.name)).mappings()
    return [from_row(row, HostSeen) for row in rows]


def _seen(tx: Transaction, identity: str) -> HostSeen:
    for host in _hosts(tx):
        if agent_id(host.name) == identity:
            return host
    raise NotFound(kind="Agent", id=identity)
