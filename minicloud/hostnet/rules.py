"""The nftables rules of the host's own stack and of the networks' namespaces. Pure.

What guests' ports may send and receive is in ``port_rules``, what routers do in ``router_rules``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minicloud.hostnet import names
from minicloud.hostnet.forwarding import VXLAN_PORT
from minicloud.hostnet.gateway import TRANSFER_RANGE
from minicloud.hostnet.port_rules import ANSWER, INVALID, RELATED
from minicloud.hostnet.table import Table

_OURS = ANSWER | INVALID | RELATED


def state_table(zones: Mapping[str, int]) -> Table:
    """Writes where a bridged packet's connection stands into the packet's mark.

    ``zones``: bridge -> a number of its own. Two networks with the same addresses must not
    share connections, so each has a zone; external networks have none, as their addresses are
    the host's own neighbours'.
    """
    marks = [
        f"meta mark set meta mark and {~_OURS & 0xFFFFFFFF:#x}",
        f"ct state established ct direction reply meta mark set meta mark or {ANSWER:#x}",
        f"ct state related meta mark set meta mark or {RELATED:#x}",
        f"ct state invalid meta mark set meta mark or {INVALID:#x}",
    ]
    pairs = ", ".join(f'"{bridge}" : {zone}' for bridge, zone in sorted(zones.items()))
    return Table(
        family="inet",
        chains={
            "zones": [f"ct zone set iifname map {{ {pairs} }}"] if zones else [],
            "states": [f'iifname "{names.BRIDGES}" {line}' for line in marks],
            # What the host itself sends or routes into a bridge has not come through one.
            "states-of-routed": [f'oifname "{names.BRIDGES}" {line}' for line in marks],
        },
        hooks={
            "zones": "filter hook prerouting priority -300",
            "states": "filter hook prerouting priority -150",
            "states-of-routed": "filter hook postrouting priority -150",
        },
    )


def untouched_table(family: str) -> Table:
    """No address translation of others takes hold of bridged packets: they have one already.

    It leaves every address as it is. ``family``: ``ip6`` (``ip`` has it in ``host_table``).
    """
    ip = "ip" if family == "ip" else "ip6"
    return Table(
        family=family,
        chains={
            "untouched-to": [f'iifname "{names.BRIDGES}" dnat to {ip} daddr'],
            "untouched-from": [f'oifname "{names.BRIDGES}" snat to {ip} saddr'],
        },
        hooks={
            "untouched-to": "nat hook prerouting priority -101",
            "untouched-from": "nat hook postrouting priority 99",
        },
    )


def host_table(
    external: Sequence[str] = (), tunnels: Mapping[int, Sequence[str]] | None = None
) -> Table:
    """The host's own routing: only the host itself gets in to guests, and what is on an external
    network gets out under the host's address.

    ``external``: the ranges of those whose gateway the host is. ``tunnels``: VXLAN identifier ->
    the hosts that may send in it; of other identifiers, others' perhaps, nothing is said.
    """
    untouched = untouched_table("ip")
    ranges = ", ".join(external)
    # What is on another host of an external network is a neighbour there, too.
    out = f'ip daddr != {{ {ranges} }} oifname != "{names.BRIDGES}" oifname != "lo" masquerade'
    return Table(
        family="ip",
        chains={
            **untouched.chains,
            "tunnels": [
                # The identifier: 96 bits into the UDP datagram.
                f"udp dport {VXLAN_PORT} @th,96,24 {segment:#x} "
                f"ip saddr != {{ {', '.join(partners)} }} drop"
                for segment, partners in sorted((tunnels or {}).items())
            ],
            "inward": [
                f'oifname "{names.HOST_LEGS}" ct state established,related accept',
                f'oifname "{names.HOST_LEGS}" drop',
            ],
            "outward": [
                f'ip saddr {TRANSFER_RANGE} oifname != "{names.HOST_LEGS}" '
                'oifname != "lo" masquerade',
                *([f"ip saddr {{ {ranges} }} {out}"] if external else []),
            ],
        },
        hooks={
            **untouched.hooks,
            "tunnels": "filter hook input priority 0",
            "inward": "filter hook forward priority 0",
            "outward": "nat hook postrouting priority 100",
        },
    )


def namespace_table() -> Table:
    """Inside a network's namespace: the host gets in to the guests, and guests do not get out.

    A guest answers what comes from its own subnet by the device it came in on, even if it has
    no default route or has it by another of its ports; so the host's requests are given the
    namespace's address on the way in.
    """
    return Table(
        family="ip",
        chains={
            "through": [
                f'iifname "{names.TENANT}" ct state established,related accept',
                f'iifname "{names.TENANT}" drop',
            ],
            "outward": [
                f'oifname "{names.UPLINK}" masquerade',
                f'oifname "{names.TENANT}" ip saddr {TRANSFER_RANGE} masquerade',
            ],
        },
        hooks={
            "through": "filter hook forward priority 0",
            "outward": "nat hook postrouting priority 100",
        },
    )
