"""Which gateway host carries which router. Pure.

A router stays where it is for as long as that host reports; one whose host has fallen silent
goes to the living one that carries the fewest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from minicloud.network.host_store import HostRow, Placed


def moves(
    routers: Sequence[Placed], hosts: Sequence[HostRow], *, now: float, down_after_s: float
) -> list[tuple[Placed, str]]:
    """(router, its new host) of those that have to move. Without a living host none does: its
    networking may well work on although nobody hears of it.
    """
    living = {
        host.name: host
        for host in hosts
        if host.is_gateway and host.admin_state_up and now - host.last_seen < down_after_s
    }
    load = Counter(router.host for router in routers if router.host in living)
    found = []
    for router in routers:
        able = [
            name
            for name, host in living.items()
            if not router.physical_network or router.physical_network in host.physical_networks
        ]
        if router.host in able or not able:
            continue
        chosen = min(able, key=lambda name: (load[name], name))
        load[chosen] += 1
        found.append((router, chosen))
    return found
