"""Queries on subnet pools and what is cut from them."""

from __future__ import annotations

import sqlalchemy as sa

from minicloud.kit.db import Transaction
from minicloud.network.ipam import Range, parse_cidr
from minicloud.network.listing import rows_list
from minicloud.network.models import subnet_pools, subnets
from minicloud.network.query import ListQuery
from minicloud.network.records import SubnetPool, from_row
from minicloud.network.sharing_attributes import SUBNET_POOLS
from minicloud.network.store import Visible


def pool_list(tx: Transaction, query: ListQuery, visible: Visible) -> list[SubnetPool]:
    return [from_row(row, SubnetPool) for row in rows_list(tx, SUBNET_POOLS, query, visible)]


def pool_default(tx: Transaction, ip_version: int) -> str | None:
    """The id of the pool that is taken where none is named."""
    statement = sa.select(subnet_pools.c.id).where(
        subnet_pools.c.is_default, subnet_pools.c.ip_version == ip_version
    )
    return tx.execute(statement).scalars().first()


def pools_of_scope(tx: Transaction, scope_id: str) -> list[SubnetPool]:
    statement = sa.select(subnet_pools).where(subnet_pools.c.address_scope_id == scope_id)
    return [from_row(row, SubnetPool) for row in tx.execute(statement).mappings()]


def taken_of(tx: Transaction, pool_id: str, project_id: str | None = None) -> list[Range]:
    """The ranges of the subnets that are cut from the pool, of one project or of all."""
    statement = sa.select(subnets.c.cidr).where(subnets.c.subnetpool_id == pool_id)
    if project_id is not None:
        statement = statement.where(subnets.c.project_id == project_id)
    return [parse_cidr(cidr) for cidr in tx.execute(statement).scalars()]
