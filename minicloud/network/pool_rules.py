"""What a subnet pool may be, and what may be cut from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Invalid
from minicloud.kit.db import Transaction
from minicloud.network import pool_store, prefixes
from minicloud.network.address_scopes import scope_seen
from minicloud.network.caller import Caller
from minicloud.network.ipam import Range, parse_cidr
from minicloud.network.records import Subnet, SubnetPool
from minicloud.network.schemas import SubnetCreate, given
from minicloud.network.sharing_schemas import PoolUpdate


def lengths(
    body: PoolUpdate, ranges: Sequence[Range], current: SubnetPool | None
) -> dict[str, int]:
    """The prefix lengths of what can be cut from the pool. Invalid unless they are in order."""
    longest = ranges[0].max_prefixlen
    asked = given(body, "min_prefixlen", "default_prefixlen", "max_prefixlen")
    found = {name: value for name, value in asked.items() if value is not None}
    smallest = 8 if longest == 32 else 64
    least = found.get("min_prefixlen", current.min_prefixlen if current else smallest)
    most = found.get("max_prefixlen", current.max_prefixlen if current else longest)
    usual = found.get("default_prefixlen", current.default_prefixlen if current else least)
    if not least <= usual <= most <= longest:
        raise Invalid(
            type="IllegalSubnetPoolPrefixBounds",
            reason=f"Illegal prefix bounds: min_prefixlen={least}, default_prefixlen={usual}, "
            f"max_prefixlen={most}; they must rise in this order, to {longest} at most.",
        )
    return {"min_prefixlen": least, "default_prefixlen": usual, "max_prefixlen": most}


def check_grows(pool: SubnetPool, ranges: Sequence[Range]) -> None:
    """Invalid where the new prefixes leave out what is in the pool."""
    if ranges[0].version != pool.ip_version or not all(
        prefixes.covers(ranges, present) for present in prefixes.parse(pool.prefixes)
    ):
        raise Invalid(
            type="IllegalSubnetPoolPrefixUpdate",
            reason="Illegal update to prefixes: Existing prefixes must be a subset of new "
            "prefixes: take them away with remove_prefixes.",
        )


def check_scope(
    tx: Transaction, caller: Caller, pool_id: str, scope_id: str | None, ranges: Sequence[Range]
) -> None:
    """NotFound for the address scope, Invalid for another IP version, Conflict for prefixes that
    another pool of the scope has.
    """
    if scope_id is None:
        return
    scope = scope_seen(tx, caller, scope_id, lock=True)
    if scope.ip_version != ranges[0].version:
        raise Invalid(
            type="IllegalSubnetPoolIpVersionAssociationError",
            reason=f"Illegal subnetpool association: subnetpool {pool_id} cannot be associated "
            f"with address scope {scope.id} of IP version {scope.ip_version}.",
        )
    for other in pool_store.pools_of_scope(tx, scope.id):
        if other.id != pool_id and prefixes.overlap(ranges, prefixes.parse(other.prefixes)):
            raise Conflict(
                type="AddressScopePrefixConflict",
                reason="Failed to associate address scope: subnetpools within an address scope "
                "must have unique prefixes.",
            )


def check_default(
    tx: Transaction,
    caller: Caller,
    current: SubnetPool | None,
    values: Mapping[str, Any],
    ip_version: int,
) -> None:
    """Forbidden for who may not set it; Invalid for a second default pool of an IP version."""
    was = current is not None and current.is_default
    if values.get("is_default", was) == was:
        return
    action = "create_subnetpool:is_default" if current is None else "update_subnetpool:is_default"
    caller.check(action, {"project_id": caller.project_id})
    if values["is_default"] and pool_store.pool_default(tx, ip_version) is not None:
        raise Invalid(
            type="InvalidInput",
            reason="A default subnetpool for this IP family has already been set. Only one "
            "default may exist per IP family.",
        )


def cut(tx: Transaction, pool: SubnetPool, body: SubnetCreate, owner: str) -> Range:
    """A range of the locked pool for a new subnet: the one it names, or the first that is free.
    Invalid, Conflict.
    """
    asked = given(body, "cidr", "prefixlen")
    ranges = prefixes.parse(pool.prefixes)
    taken = pool_store.taken_of(tx, pool.id)
    if asked.get("cidr"):
        wanted = parse_cidr(asked["cidr"])
        _check_length(pool, wanted.prefixlen)
        if not prefixes.covers(ranges, wanted) or prefixes.overlap([wanted], taken):
            raise _nothing_left(f"{wanted} is not available in subnet pool {pool.id}")
        found = wanted
    else:
        length = asked.get("prefixlen") or pool.default_prefixlen
        _check_length(pool, length)
        free = prefixes.first_free(ranges, taken, length)
        if free is None:
            raise _nothing_left(
                f"Insufficient prefix space to allocate subnet size /{length} in pool {pool.id}"
            )
        found = free
    if pool.default_quota is not None:
        used = sum(map(prefixes.share, pool_store.taken_of(tx, pool.id, owner)))
        if used + prefixes.share(found) > pool.default_quota:
            raise Conflict(
                type="SubnetPoolQuotaExceeded",
                reason="Per-tenant subnet pool prefix quota exceeded.",
            )
    return found


def check_affinity(pool_id: str | None, ip_version: int, members: Sequence[Subnet]) -> None:
    """Invalid where a network's subnets of one IP version would come from several pools."""
    others = {subnet.subnetpool_id for subnet in members if subnet.ip_version == ip_version} - {
        pool_id
    }
    if others:
        raise Invalid(
            type="NetworkSubnetPoolAffinityError",
            reason="Subnets hosted on the same network must be allocated from the same subnet "
            "pool.",
        )


def _check_length(pool: SubnetPool, length: int) -> None:
    if length < pool.min_prefixlen:
        raise Invalid(
            type="MinPrefixSubnetAllocationError",
            reason=f"Unable to allocate subnet with prefix length {length}, minimum allowed prefix "
            f"is {pool.min_prefixlen}.",
        )
    if length > pool.max_prefixlen:
        raise Invalid(
            type="MaxPrefixSubnetAllocationError",
            reason=f"Unable to allocate subnet with prefix length {length}, maximum allowed prefix "
            f"is {pool.max_prefixlen}.",
        )


def _nothing_left(reason: str) -> Conflict:
    return Conflict(type="SubnetAllocationError", reason=f"Failed to allocate subnet: {reason}.")
