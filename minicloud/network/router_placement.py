"""Which gateway host carries which router. Pure.

A router stays where it is for as long as that host reports, or its routers answer although its
daemon is silent: they work on, and would get into the way of others in their place. One whose host
is gone goes to the living one that carries the fewest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from minicloud.network.host_store import HostRow, Placed


def moves(
    routers: Sequence[Placed],
    hosts: Sequence[HostRow],
    *,
    now: float,
    down_after_s: float,
    unreachable: Collection[str] | None = None,
) -> list[tuple[Placed, str]]:
    """(router, its new host) of those that have to move. Without a living host none does: its
    networking may well work on although nobody hears of it.

    ``unreachable``: the addresses that were ``to_try`` and do not answer; None for not tried.
    """
    living = {
        host.name: host
        for host in hosts
        if host.is_gateway and host.admin_state_up and now - host.last_seen < down_after_s
    }
    tried = to_try(routers, hosts, now=now, silent_s=down_after_s)
    answering = {
        name
        for name, address in tried.items()
        if unreachable is not None and address not in unreachable
    }
    load = Counter(router.host for router in routers if router.host in living)
    found = []
    for router in routers:
        able = [
            name
            for name, host in living.items()
            if not router.physical_network or router.physical_network in host.physical_networks
        ]
        if router.host in able or router.host in answering or not able:
            continue
        chosen = min(able, key=lambda name: (load[name], name))
        load[chosen] += 1
        found.append((router, chosen))
    return found


def to_try(
    routers: Sequence[Placed], hosts: Sequence[HostRow], *, now: float, silent_s: float
) -> dict[str, str]:
    """Host -> the address of one of its routers, of hosts not heard of for that long."""
    silent = {
        host.name
        for host in hosts
        if host.is_gateway and host.admin_state_up and now - host.last_seen >= silent_s
    }
    found: dict[str, str] = {}
    for router in routers:
        if router.host in silent and router.outside:
            found.setdefault(router.host, router.outside)
    return found
