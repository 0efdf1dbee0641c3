"""Subnet pools: prefixes that subnets are cut from. Two at once: the pool's row is locked before
anything is cut, so the second sees what the first took.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import pool_rules, pool_store, prefixes, sharing, store
from minicloud.network.caller import Caller
from minicloud.network.models import subnet_pools, subnets
from minicloud.network.networks import network_seen
from minicloud.network.query import ListQuery
from minicloud.network.quotas import Quotas
from minicloud.network.records import SubnetPool, from_row
from minicloud.network.schemas import given, owner_named
from minicloud.network.sharing_schemas import PoolCreate, PoolUpdate
from minicloud.network.views import pool_view

_PLAIN = ("name", "description", "default_quota", "is_default")


class SubnetPools:
    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    def create(self, caller: Caller, bodies: Sequence[PoolCreate]) -> list[dict[str, Any]]:
        """All or none. Forbidden, QuotaExceeded, Invalid; Conflict within an address scope."""
        wanted = [
            (body, caller.owner_of(owner_named(body), "create_subnetpool")) for body in bodies
        ]
        with self._database.write() as tx:
            for owner in sorted({owner for _, owner in wanted}):
                amount = sum(1 for _, other in wanted if other == owner)
                self._quotas.take(tx, owner, subnetpool=amount)
            return _views(tx, caller, [_insert(tx, caller, *each) for each in wanted])

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sharing.visible(subnet_pools, caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            return _views(tx, caller, pool_store.pool_list(tx, query, visible))

    def show(self, caller: Caller, pool_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, caller, [pool_seen(tx, caller, pool_id)])[0]

    def update(self, caller: Caller, pool_id: str, body: PoolUpdate) -> dict[str, Any]:
        """Prefixes may be added so, never taken away. Invalid, Conflict, Forbidden."""
        with self._database.write() as tx:
            pool = _owned(tx, caller, pool_id)
            values = given(body, *_PLAIN)
            asked = given(body, "prefixes", "address_scope_id")
            ranges = prefixes.parse(asked.get("prefixes", pool.prefixes))
            pool_rules.check_grows(pool, ranges)
            values |= pool_rules.lengths(body, ranges, pool)
            scope_id = asked.get("address_scope_id", pool.address_scope_id)
            pool_rules.check_scope(tx, caller, pool.id, scope_id, ranges)
            pool_rules.check_default(tx, caller, pool, values, ranges[0].version)
            values |= {"prefixes": [str(each) for each in ranges], "address_scope_id": scope_id}
            return _changed(tx, caller, pool, values)

    def delete(self, caller: Caller, pool_id: str) -> None:
        """Invalid, as Neutron has it, while a subnet is cut from it."""
        with self._database.write() as tx:
            pool = _owned(tx, caller, pool_id, "delete_subnetpool")
            if not store.row_delete(tx, subnet_pools, pool.id):
                raise Invalid(
                    type="SubnetPoolDeleteError",
                    reason="Unable to delete subnet pool: Subnet pool has existing allocations.",
                )

    def prefixes_change(
        self, caller: Caller, pool_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> list[str]:
        """Add prefixes and take others away, which no subnet may need; those there are then."""
        action = "add_prefixes" if add else "remove_prefixes"
        with self._database.write() as tx:
            pool = _owned(tx, caller, pool_id, action)
            ranges = prefixes.parse([*pool.prefixes, *add])
            if remove:
                gone = prefixes.parse(remove)
                taken = pool_store.taken_of(tx, pool.id)
                if prefixes.overlap(gone, taken):
                    raise Invalid(
                        type="IllegalSubnetPoolPrefixUpdate",
                        reason=f"Subnets are cut from the prefixes of pool {pool.id} that are to "
                        "be removed.",
                    )
                ranges = prefixes.without(ranges, gone)
            pool_rules.check_scope(tx, caller, pool.id, pool.address_scope_id, ranges)
            wanted = [str(each) for each in ranges]
            _changed(tx, caller, pool, {"prefixes": wanted})
            return wanted

    def onboard(self, caller: Caller, pool_id: str, network_id: str) -> dict[str, Any]:
        """Take a network's subnets into the pool, and their ranges among its prefixes."""
        with self._database.write() as tx:
            network = network_seen(tx, caller, network_id, lock=True)
            caller.check("update_network", {"project_id": network.project_id})
            pool = _owned(tx, caller, pool_id, "onboard_network_subnets")
            members = [
                subnet
                for subnet in store.subnets_of(tx, [network.id])[network.id]
                if subnet.ip_version == pool.ip_version and subnet.subnetpool_id != pool.id
            ]
            new = [str(subnet.cidr) for subnet in members]
            if any(subnet.subnetpool_id for subnet in members) or prefixes.overlap(
                prefixes.parse(new) if new else (), pool_store.taken_of(tx, pool.id)
            ):
                raise Invalid(
                    type="IllegalSubnetPoolPrefixUpdate",
                    reason=f"Subnets of network {network.id} are in a pool already, or overlap "
                    f"with those of pool {pool.id}.",
                )
            ranges = prefixes.parse([*pool.prefixes, *new])
            pool_rules.check_scope(tx, caller, pool.id, pool.address_scope_id, ranges)
            for subnet in members:
                values = {"subnetpool_id": pool.id}
                store.row_update(tx, subnets, subnet.id, clock.now(), values)
            return _changed(tx, caller, pool, {"prefixes": [str(each) for each in ranges]})


def pool_seen(tx: Transaction, caller: Caller, pool_id: str, *, lock: bool = False) -> SubnetPool:
    """The subnet pool, if the caller may see it. NotFound."""
    row = store.row_get(tx, subnet_pools, pool_id, lock=lock)
    if row is None or not (
        caller.sees_all
        or row["project_id"] == caller.project_id
        or sharing.actions_for(tx, pool_id, caller.project_id)
    ):
        raise NotFound(type="SubnetPoolNotFound", kind="Subnet pool", id=pool_id)
    return from_row(row, SubnetPool)


def _owned(
    tx: Transaction, caller: Caller, pool_id: str, action: str = "update_subnetpool"
) -> SubnetPool:
    """The pool, locked, if the caller may do ``action`` to it."""
    pool = pool_seen(tx, caller, pool_id, lock=True)
    caller.may_change(action, pool)
    return pool


def _insert(tx: Transaction, caller: Caller, body: PoolCreate, owner: str) -> SubnetPool:
    asked = given(body, "prefixes", "address_scope_id", "shared")
    ranges = prefixes.parse(asked.get("prefixes", ()))
    standard = store.standard_values(owner)
    values = {
        **standard,
        "default_quota": None,
        "is_default": False,
        **given(body, *_PLAIN),
        "ip_version": ranges[0].version,
        "prefixes": [str(each) for each in ranges],
        "address_scope_id": asked.get("address_scope_id"),
        "shared": asked.get("shared", False),
        **pool_rules.lengths(body, ranges, None),
    }
    if values["shared"]:
        caller.check("create_subnetpool:shared", {"project_id": owner})
    pool_rules.check_scope(tx, caller, values["id"], values["address_scope_id"], ranges)
    pool_rules.check_default(tx, caller, None, values, ranges[0].version)
    store.row_insert(tx, subnet_pools, values)
    store.tags_given(tx, values["id"], body)
    if values["shared"]:
        sharing.with_everybody(tx, "subnetpool", values["id"], owner, sharing.SHARED, on=True)
    return pool_seen(tx, caller, values["id"])


def _changed(
    tx: Transaction, caller: Caller, pool: SubnetPool, values: dict[str, Any]
) -> dict[str, Any]:
    store.row_update(tx, subnet_pools, pool.id, clock.now(), values)
    return _views(tx, caller, [pool_seen(tx, caller, pool.id)])[0]


def _views(tx: Transaction, caller: Caller, found: Sequence[SubnetPool]) -> list[dict[str, Any]]:
    names = [pool.id for pool in found]
    tags = store.tags_of(tx, names)
    shared = sharing.shared_ids(tx, names, caller.project_id)
    return [pool_view(pool, tags[pool.id], shared=pool.id in shared) for pool in found]
