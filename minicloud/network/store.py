"""Queries on networks, subnets, tags, and the rows that are locked while something is counted.

Every function takes the caller's transaction and returns values of ``records.py``. On PostgreSQL
a writer first locks its project's row, then its network's, and only then touches anything else:
in that order there is no deadlock. On SQLite a write transaction is alone anyway.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.ids import new_id
from minicloud.kit import clock
from minicloud.kit.db import Transaction
from minicloud.network import attributes
from minicloud.network.listing import rows_list
from minicloud.network.models import (
    hosts,
    networks,
    ports,
    projects,
    rbac_policies,
    subnet_pools,
    subnets,
    tags,
)
from minicloud.network.query import ListQuery
from minicloud.network.records import (
    DHCP_OWNER,
    FLOATING_OWNER,
    GATEWAY_OWNER,
    Network,
    Subnet,
    from_row,
)
from minicloud.network.schemas import given

IntegrityError = sa.exc.IntegrityError
Visible = sa.ColumnElement[bool]

# Statements are made once: to make one costs several times what it costs to run it.
_THESE: sa.BindParameter[Any] = sa.bindparam("these", expanding=True)
_PROJECT = sa.select(projects.c.id).where(projects.c.id == sa.bindparam("this")).with_for_update()
_NETWORKS_OF = sa.select(networks).where(networks.c.id.in_(_THESE))
_SUBNETS_OF = (
    sa.select(subnets)
    .where(subnets.c.network_id.in_(_THESE))
    .order_by(subnets.c.created_at, subnets.c.id)
)
_TAGS_OF = sa.select(tags).where(tags.c.resource_id.in_(_THESE)).order_by(tags.c.tag)
_UNTAG = sa.delete(tags).where(tags.c.resource_id == sa.bindparam("this"))


def project_lock(tx: Transaction, project_id: str) -> None:
    """Let nobody else count or make anything for the project until the transaction ends."""
    if tx.execute(_PROJECT, {"this": project_id}).first() is None:
        row_insert(tx, projects, {"id": project_id})
        tx.execute(_PROJECT, {"this": project_id})


def standard_values(project_id: str, identity: str | None = None) -> dict[str, Any]:
    """The columns that every new resource starts with; a random id unless one is given."""
    now = clock.now()
    return {
        "id": identity or new_id(),
        "project_id": project_id,
        "name": "",
        "description": "",
        "created_at": now,
        "updated_at": now,
        "revision_number": 1,
    }


def row_insert(tx: Transaction, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert a row; False if a constraint refuses it, with the transaction still usable."""
    try:
        with tx.begin_nested():
            tx.execute(_insert(table), values)
    except sa.exc.IntegrityError:
        return False
    return True


@functools.cache
def _insert(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


def row_update(
    tx: Transaction, table: sa.Table, identity: str, now: float, values: Mapping[str, Any]
) -> bool:
    """Change a resource and count its revision; False if it is gone."""
    done = tx.execute(_revise(table), {"this": identity, **values, "updated_at": now})
    return done.rowcount == 1


@functools.cache
def _revise(table: sa.Table) -> sa.Update:
    return _update(table).values(revision_number=table.c.revision_number + 1)


@functools.cache
def _update(table: sa.Table) -> sa.Update:
    return sa.update(table).where(table.c.id == sa.bindparam("this"))


def row_lock(tx: Transaction, table: sa.Table, identity: str) -> str | None:
    """Let nobody else change the resource until the transaction ends; its project, None if it is
    gone.
    """
    statement = sa.select(table.c.project_id).where(table.c.id == identity)
    return tx.execute(statement.with_for_update(key_share=True)).scalars().first()


def row_get(tx: Transaction, table: sa.Table, identity: str, *, lock: bool = False) -> Any:
    """A resource's row as a mapping; None if it is gone."""
    return tx.execute(_get(table, lock), {"this": identity}).mappings().first()


@functools.cache
def _get(table: sa.Table, lock: bool) -> sa.Select[Any]:
    statement = sa.select(table).where(table.c.id == sa.bindparam("this"))
    return statement.with_for_update(key_share=True) if lock else statement


def row_set(tx: Transaction, table: sa.Table, identity: str, values: Mapping[str, Any]) -> None:
    """Change columns of a resource that is still being made: no revision of its own."""
    tx.execute(_update(table), {"this": identity, **values})


def row_delete(tx: Transaction, table: sa.Table, identity: str) -> bool:
    """Delete a resource, its tags and who it is shared with; False if a constraint refuses it."""
    try:
        with tx.begin_nested():
            tx.execute(_delete(table), {"this": identity})
    except sa.exc.IntegrityError:
        return False
    tx.execute(_UNTAG, {"this": identity})
    if "shared" in table.c:
        tx.execute(sa.delete(rbac_policies).where(rbac_policies.c.object_id == identity))
    return True


@functools.cache
def _delete(table: sa.Table) -> sa.Delete:
    return sa.delete(table).where(table.c.id == sa.bindparam("this"))


def rows_count(tx: Transaction, table: sa.Table, project_id: str) -> int:
    """How many of the project's rows there are; the DHCP ports are nobody's."""
    return int(tx.execute(_count(table), {"project": project_id}).scalar_one())


@functools.cache
def _count(table: sa.Table) -> sa.Select[Any]:
    statement = sa.select(sa.func.count()).select_from(table)
    statement = statement.where(table.c.project_id == sa.bindparam("project"))
    return statement.where(ports.c.device_owner != DHCP_OWNER) if table is ports else statement


def zones_known(tx: Transaction) -> set[str]:
    """The availability zones of the hosts."""
    return set(tx.execute(sa.select(hosts.c.availability_zone)).scalars())


# -- networks ------------------------------------------------------------------------------------
def network_get(tx: Transaction, network_id: str, *, lock: bool = False) -> Network | None:
    """``lock``: let nobody else give out addresses of the network until the transaction ends."""
    row = row_get(tx, networks, network_id, lock=lock)
    return from_row(row, Network) if row else None


def network_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[Network]:
    rows = rows_list(tx, attributes.NETWORKS, query, visible)
    return [from_row(row, Network) for row in rows]


def networks_of(tx: Transaction, network_ids: Iterable[str]) -> dict[str, Network]:
    """id -> network, in one query."""
    wanted = set(network_ids)
    if not wanted:
        return {}
    rows = tx.execute(_NETWORKS_OF, {"these": list(wanted)}).mappings()
    return {row["id"]: from_row(row, Network) for row in rows}


def network_is_gateway(tx: Transaction, network_id: str) -> bool:
    """Whether a router's gateway or a floating IP is on the network."""
    statement = sa.select(ports.c.id).where(
        ports.c.network_id == network_id,
        ports.c.device_owner.in_((GATEWAY_OWNER, FLOATING_OWNER)),
    )
    return tx.execute(statement.limit(1)).first() is not None


def network_default(tx: Transaction) -> str | None:
    """The id of the external network that is taken where none is named."""
    statement = sa.select(networks.c.id).where(networks.c.is_default, networks.c.external)
    return tx.execute(statement).scalars().first()


def network_ports(tx: Transaction, network_id: str) -> list[tuple[str, str]]:
    """(id, device_owner) of every port of the network."""
    statement = sa.select(ports.c.id, ports.c.device_owner).where(ports.c.network_id == network_id)
    return [(identity, owner) for identity, owner in tx.execute(statement)]


# -- subnets -------------------------------------------------------------------------------------
def subnet_get(tx: Transaction, subnet_id: str) -> Subnet | None:
    row = row_get(tx, subnets, subnet_id)
    return from_row(row, Subnet) if row else None


def subnet_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[Subnet]:
    rows = rows_list(tx, attributes.SUBNETS, query, visible)
    return [from_row(row, Subnet) for row in rows]


def subnets_of(tx: Transaction, network_ids: Iterable[str]) -> dict[str, list[Subnet]]:
    """network id -> its subnets, oldest first, in one query."""
    found: dict[str, list[Subnet]] = {network_id: [] for network_id in network_ids}
    if found:
        for row in tx.execute(_SUBNETS_OF, {"these": list(found)}).mappings():
            found[row["network_id"]].append(from_row(row, Subnet))
    return found


def subnet_delete(tx: Transaction, subnet_id: str) -> bool:
    """False while a port has an address of the subnet."""
    return row_delete(tx, subnets, subnet_id)


def scopes_of(
    tx: Transaction, subnets_by_network: Mapping[str, Sequence[Subnet]]
) -> dict[str, dict[int, str]]:
    """network id -> IP version -> the address scope that its subnets' pools are in."""
    pools = {
        subnet.subnetpool_id
        for members in subnets_by_network.values()
        for subnet in members
        if subnet.subnetpool_id
    }
    scopes: dict[str, str] = {}
    if pools:
        statement = sa.select(subnet_pools.c.id, subnet_pools.c.address_scope_id).where(
            subnet_pools.c.id.in_(pools), subnet_pools.c.address_scope_id.is_not(None)
        )
        scopes = {row.id: row.address_scope_id for row in tx.execute(statement)}
    return {
        network_id: {
            subnet.ip_version: scopes[subnet.subnetpool_id]
            for subnet in members
            if subnet.subnetpool_id in scopes
        }
        for network_id, members in subnets_by_network.items()
    }


# -- tags ----------------------------------------------------------------------------------------
def tags_of(tx: Transaction, resource_ids: Sequence[str]) -> dict[str, list[str]]:
    """resource id -> its tags in order, in one query."""
    found: dict[str, list[str]] = {resource_id: [] for resource_id in resource_ids}
    if found:
        for resource_id, tag in tx.execute(_TAGS_OF, {"these": list(found)}):
            found[resource_id].append(tag)
    return found


def tags_given(tx: Transaction, resource_id: str, body: msgspec.Struct) -> None:
    """Keep the tags that a new resource is made with."""
    if wanted := given(body, "tags").get("tags"):
        tags_replace(tx, resource_id, wanted)


def tags_replace(tx: Transaction, resource_id: str, wanted: Iterable[str]) -> None:
    tx.execute(_UNTAG, {"this": resource_id})
    rows = [{"resource_id": resource_id, "tag": tag} for tag in sorted(set(wanted))]
    if rows:
        tx.execute(sa.insert(tags), rows)
