"""Whether a project's quota has room for servers, and its user's within it where there is one.

To be asked with the project's lock held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minicloud.db import quotas, servers
from minicloud.domain.errors import QuotaExceeded
from minicloud.kit.db import Transaction

_Scope = tuple[Mapping[str, int], Mapping[str, int]]
"""Limits, and what is used of them."""


def room_for(
    tx: Transaction,
    project_id: str,
    user_id: str,
    defaults: Mapping[str, int],
    each: Mapping[str, int],
    *,
    least: int = 1,
    most: int = 1,
) -> int:
    """How many things of the size ``each`` (resource -> amount) may be had, ``most`` at most.
    QuotaExceeded below ``least``.
    """
    scopes = _scopes(tx, project_id, user_id, defaults)
    count = most
    for limits, used in scopes:
        for resource, size in each.items():
            limit = limits.get(resource, -1)
            if limit >= 0 and size > 0:
                count = min(count, max(limit - used[resource], 0) // size)
    if count < least:
        for limits, used in scopes:
            _raise_if_short(limits, used, {name: size * least for name, size in each.items()})
    return count


def _scopes(
    tx: Transaction, project_id: str, user_id: str, defaults: Mapping[str, int]
) -> Sequence[_Scope]:
    limits = quotas.quota_limits(tx, project_id, defaults)
    scopes = [(limits, _used(tx, project_id))]
    if own := quotas.user_limits(tx, project_id, user_id):
        scopes.append((own, _used(tx, project_id, user_id)))
    return scopes


def _used(tx: Transaction, project_id: str, user_id: str = "") -> Mapping[str, int]:
    usage = servers.usage_of_project(tx, project_id, user_id=user_id)
    return {"instances": usage.instances, "cores": usage.cores, "ram": usage.ram}


def _raise_if_short(
    limits: Mapping[str, int], used: Mapping[str, int], wanted: Mapping[str, int]
) -> None:
    short = [
        name
        for name, size in wanted.items()
        if size > 0 and 0 <= limits.get(name, -1) < used[name] + size
    ]
    if short:
        raise QuotaExceeded(
            resource=", ".join(short),
            requested=", ".join(str(wanted[name]) for name in short),
            used=", ".join(str(used[name]) for name in short),
            limit=", ".join(str(limits[name]) for name in short),
        )
