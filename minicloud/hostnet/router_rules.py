"""A router's address translation as an nftables table. Pure.

What a guest with a floating IP sends goes out under it, everybody else shares the gateway's
address; what comes for a floating IP is led to its guest. Guests of one router reach one
another's floating IPs, too, and are seen there under an address of the router's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minicloud.hostnet.table import Table
from minicloud.hostnet.wiring import Forwarding, RouterWiring

_INSIDE, _OUTSIDE = "in-*", "ex-*"


def router_table(router: RouterWiring) -> Table:
    floating = [(outer, inner) for outer, inner in router.floating_ips if ":" not in outer]
    own = _own_address(router)
    to = ", ".join(f"{outer} : {inner}" for outer, inner in floating)
    back = ", ".join(f"{inner} : {outer}" for outer, inner in floating)
    inward = [_forwarded(item) for item in router.forwardings]
    outward = []
    if floating:
        inward.append(f"dnat to ip daddr map {{ {to} }}")
        outward += [
            f'oifname "{_INSIDE}" ct status dnat ip saddr {{ {_inner(floating)} }} '
            f"snat to ip saddr map {{ {back} }}",
        ]
    if own:
        ranges = ", ".join(_ranges(router))
        if ranges:
            outward.append(
                f'oifname "{_INSIDE}" ct status dnat ip saddr {{ {ranges} }} snat to {own}'
            )
    outward.append("ct status dnat accept")
    if floating:
        outward.append(f'oifname "{_OUTSIDE}" snat to ip saddr map {{ {back} }}')
    if own and router.snat:
        outward.append(f'oifname "{_OUTSIDE}" snat to {own}')
    return Table(
        family="ip",
        chains={
            "through": [] if router.up else ["drop"],
            "inward": inward if router.up else [],
            "outward": outward if router.up else [],
        },
        hooks={
            "through": "filter hook forward priority 0",
            "inward": "nat hook prerouting priority -100",
            "outward": "nat hook postrouting priority 100",
        },
    )


def router_table_6(router: RouterWiring) -> Table:
    """IPv6 is routed as it is; the doors that are the router's own stay shut to DHCP."""
    return Table(
        family="ip6",
        chains={"through": [] if router.up else ["drop"], "own": ["udp dport 547 drop"]},
        hooks={
            "through": "filter hook forward priority 0",
            "own": "filter hook input priority 0",
        },
    )


def outer_addresses(router: RouterWiring) -> list[str]:
    """The IPv4 addresses that the router has outside besides the gateway's own."""
    held = [outer for outer, _ in router.floating_ips]
    held += [item.floating_ip for item in router.forwardings]
    return sorted({address for address in held if ":" not in address})


def _forwarded(item: Forwarding) -> str:
    match = f"ip daddr {item.floating_ip} {item.protocol} dport {item.external_port}"
    return f"{match} dnat to {item.internal_ip}:{item.internal_port}"


def _own_address(router: RouterWiring) -> str:
    held = router.gateway.addresses if router.gateway else ()
    return next((text.partition("/")[0] for text in held if ":" not in text), "")


def _ranges(router: RouterWiring) -> Iterable[str]:
    return sorted({text for leg in router.legs for text in leg.addresses if ":" not in text})


def _inner(floating: Sequence[tuple[str, str]]) -> str:
    return ", ".join(inner for _, inner in floating)
