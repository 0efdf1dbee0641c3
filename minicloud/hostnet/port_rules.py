"""The bridge family's table: what a guest's port may send and receive. Pure.

Only here do ports have names. Where connections stand is not known here on every kernel, so the
``inet`` table's chains, which bridged packets pass in between, write it into the packet's mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from minicloud.domain import ids
from minicloud.hostnet import names
from minicloud.hostnet.group_rules import (
    address_sets,
    chain_name,
    collapsed,
    group_chains,
    shown,
)
from minicloud.hostnet.table import AddressSet, Table
from minicloud.hostnet.wiring import AddressSet as Members
from minicloud.hostnet.wiring import GroupWiring, HostWiring, PortWiring

ANSWER, INVALID, RELATED = 0x01000000, 0x02000000, 0x04000000
"""Bits of a packet's mark."""

_HOUSEKEEPING = "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, 130-132, 143"
"""ICMPv6 that IPv6 does not work without."""
_SENDING = (
    "ether type { arp, 0x8035 } accept",  # 0x8035: RARP, how QEMU tells of a moved guest
    "udp sport { 67, 547 } drop",
    "icmpv6 type { nd-router-advert, nd-redirect } drop",
    "ether type ip udp sport 68 udp dport 67 accept",
    "ether type ip6 udp sport 546 udp dport 547 accept",
    f"icmpv6 type {{ {_HOUSEKEEPING} }} accept",
)
_RECEIVING = (
    "ether type { arp, 0x8035 } accept",
    "ether type ip udp sport 67 udp dport 68 accept",
    "ether type ip6 udp sport 547 udp dport 546 accept",
    f"icmpv6 type {{ {_HOUSEKEEPING}, nd-router-advert }} accept",
)
_UNDECIDED = str(IPv4Address(0))
_STATE = (
    f"meta mark and {RELATED:#x} != 0x0 accept",
    f"meta mark and {INVALID:#x} != 0x0 drop",
)


Memo = dict[str, tuple[PortWiring, Sequence[str]]]
"""Port id -> the port and its spoofing rules as they were last made: they are many."""


def port_table(wiring: HostWiring, memo: Memo | None = None) -> Table:
    """The judgement of every port of ours. ``memo``: of earlier calls, brought up to date.

    A bridge also hands frames up to the host's network stack, past the network's own gateway;
    nothing of a tenant's has business there, except on external networks, whose gateway the
    host is.
    """
    ports = sorted(wiring.ports, key=lambda port: port.id)
    if memo:
        for gone in memo.keys() - {port.id for port in ports}:
            del memo[gone]
    external = {network.id for network in wiring.networks if network.external}
    groups = {group.id: group for group in wiring.groups}
    members = {item.id: item for item in _with_local(wiring.sets, ports)}
    chains: dict[str, Sequence[str]] = {"sending": _SENDING, "receiving": _RECEIVING}
    sets: dict[str, AddressSet] = {}
    for item in members.values():
        sets |= address_sets(item)
    for group in groups.values():
        chains |= group_chains(group, members)
    arriving: dict[str, str] = {}
    leaving: dict[str, str] = {}
    entering: dict[str, str] = {}
    upward: dict[str, str] = {}
    for port in ports:
        tap = ids.tap_name(port.id)
        if port.network_id not in external:
            upward[tap] = "drop"
        if not port.up:
            arriving[tap] = entering[tap] = "drop"
        elif port.secured:
            profile = _profile(port, groups)
            chains |= profile
            name = _profile_name(port.groups)
            chains[f"from-{tap}"] = _remembered(port, memo)
            chains[f"to-{tap}"] = [
                "ether daddr and 01:00:00:00:00:00 == 00:00:00:00:00:00 "
                f"ether daddr != {{ {', '.join(_macs(port))} }} drop",
                f"goto enter-{name}",
            ]
            arriving[tap] = f"jump from-{tap}"
            leaving[tap] = f"goto leave-{name}"
            entering[tap] = f"goto to-{tap}"
    own_door = [
        # Every host serves its own guests: two namespaces with one address must not meet.
        f'iifname "{names.BRIDGE_LEGS}" oifname "{names.TUNNELS}" drop',
        f'iifname "{names.TUNNELS}" oifname "{names.BRIDGE_LEGS}" drop',
    ]
    legs = [f'iifname "{name}" drop' for name in (names.BRIDGE_LEGS, names.TUNNELS, names.INNER)]
    chains |= {
        "arriving": ["iifname vmap @arriving"],
        "apart": own_door,
        "leaving": ["iifname vmap @leaving"],
        "entering": ["oifname vmap @entering"],
        "entering-from-host": ["oifname vmap @entering"],
        "upward": [*legs, "iifname vmap @upward"],
    }
    return Table(
        family="bridge",
        chains=chains,
        sets=sets,
        maps={
            "arriving": arriving,
            "leaving": leaving,
            "entering": entering,
            "upward": upward,
        },
        hooks={
            "arriving": "filter hook prerouting priority -300",
            "apart": "filter hook forward priority 9",
            "leaving": "filter hook forward priority 10",
            "entering": "filter hook forward priority 11",
            "entering-from-host": "filter hook output priority 11",
            "upward": "filter hook input priority 0",
        },
    )


def _with_local(sets: Sequence[Members], ports: Sequence[PortWiring]) -> Iterable[Members]:
    """``sets`` with the addresses of this host's ports, which are known here first."""
    for item in sets:
        own = [
            address
            for port in ports
            if item.id in port.groups
            for address in (*(one for _, one in port.fixed_ips), *(one for _, one in port.pairs))
        ]
        yield Members(id=item.id, addresses=sorted({*item.addresses, *own}))


def _profile_name(groups: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(sorted(groups)).encode()).hexdigest()[:16]


def _profile(port: PortWiring, groups: Mapping[str, GroupWiring]) -> dict[str, Sequence[str]]:
    """The two chains of all ports that are in the same groups; an unknown group allows nothing."""
    mine = [groups[name] for name in sorted(port.groups) if name in groups]
    stateful = all(group.stateful for group in mine)
    name = _profile_name(port.groups)
    chains: dict[str, Sequence[str]] = {}
    for verb, way, base in (("leave", "out", "sending"), ("enter", "in", "receiving")):
        lines = [f"jump {base}"]
        if stateful:
            lines += _STATE
            lines += [
                f"meta mark and {ANSWER:#x} != 0x0 jump {chain_name(item.id, way, answers=True)}"
                for item in mine
            ]
        lines += [f"jump {chain_name(item.id, way)}" for item in mine]
        chains[f"{verb}-{name}"] = [*lines, "drop"]
    return chains


def _macs(port: PortWiring) -> list[str]:
    return list(dict.fromkeys([port.mac, *(mac.lower() for mac, _ in port.pairs)]))


def _remembered(port: PortWiring, memo: Memo | None) -> Sequence[str]:
    if memo is None:
        return _spoofing_rules(port)
    known = memo.get(port.id)
    if known is None or known[0] != port:
        known = memo[port.id] = (port, _spoofing_rules(port))
    return known[1]


def _spoofing_rules(port: PortWiring) -> Sequence[str]:
    """What does not bear the port's own addresses is dropped where it arrives."""
    own = [(port.mac, address) for _, address in port.fixed_ips]
    claims = [*own, *((mac.lower(), address) for mac, address in port.pairs)]
    four = _unique((mac, address) for mac, address in claims if ":" not in address)
    six = _unique((mac, address) for mac, address in claims if ":" in address)
    six += [(mac, link_local(mac)) for mac in _macs(port)]
    macs = ", ".join(_macs(port))
    targets = ", ".join(_spans(address for _, address in six))
    # Without an address yet, a guest asks whether its own is free.
    probing = [(mac, _UNDECIDED) for mac in _macs(port)]
    undecided = [(mac, "::") for mac in _macs(port)]
    return [
        f"ether saddr != {{ {macs} }} drop",
        f"ether type arp {_claim('arp saddr ether', 'arp saddr ip', [*probing, *four])} drop",
        "ether type { arp, 0x8035 } accept",
        "ether type != { ip, ip6 } drop",
        "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
        f"ether type ip {_claim('ether saddr', 'ip saddr', four)} drop",
        f"ether type ip6 {_claim('ether saddr', 'ip6 saddr', [*undecided, *six])} drop",
        "ip6 saddr :: meta l4proto != ipv6-icmp drop",
        # The address that is announced: 64 bits into the ICMPv6 message.
        f"icmpv6 type nd-neighbor-advert @th,64,128 != {{ {targets} }} drop",
    ]


def _claim(mac_field: str, ip_field: str, pairs: Sequence[tuple[str, str]]) -> str:
    """A match on what bears none of the (MAC, address or CIDR) pairs."""
    if not pairs:
        return ""
    macs = list(dict.fromkeys(mac for mac, _ in pairs))
    is_arp = mac_field.startswith("arp")
    if len(macs) == 1 and not is_arp:
        return f"{ip_field} != {{ {', '.join(_without_overlaps(one for _, one in pairs))} }}"
    shown = [
        f"{mac} . {address}"
        for mac in macs
        for address in _without_overlaps(one for owner, one in pairs if owner == mac)
    ]
    return f"{mac_field} . {ip_field} != {{ {', '.join(shown)} }}"


def _without_overlaps(addresses: Iterable[str]) -> list[str]:
    texts = list(dict.fromkeys(addresses))
    if not any("/" in text for text in texts):
        return texts
    return [shown(network) for network in collapsed(texts)]


def _unique(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pairs))


def _spans(addresses: Iterable[str]) -> Iterator[str]:
    """IPv6 addresses and ranges as numbers, which is how a packet's bytes are matched."""
    texts = list(dict.fromkeys(addresses))
    if not any("/" in text for text in texts):
        yield from (f"{int(IPv6Address(text)):#034x}" for text in texts)
        return
    for network in collapsed(texts):
        first, last = int(network.network_address), int(network.broadcast_address)
        yield f"{first:#034x}" if first == last else f"{first:#034x}-{last:#034x}"


def link_local(mac: str) -> str:
    """The address that IPv6 makes out of a MAC address (modified EUI-64)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets = [octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]
    return str(IPv6Address(0xFE80 << 112 | int.from_bytes(bytes(octets), "big")))
