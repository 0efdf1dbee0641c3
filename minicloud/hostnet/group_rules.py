"""A security group's rules as chains of the port table. Pure.

Each group has four chains: what its ports may receive and send, and the mirror images of both,
by which answers are judged. An answer passes because connection tracking says that it is one
*and* a rule still allows the connection: a rule that goes cuts both directions of every
connection that only it allowed, in the transaction that removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from minicloud.hostnet.table import AddressSet
from minicloud.hostnet.wiring import AddressSet as Members
from minicloud.hostnet.wiring import GroupWiring, RuleWiring

NUMBERS: Mapping[str, int] = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2,
    "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59,
    "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6,
    "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_ICMP, _ICMPV6 = 1, 58
_DIRECTIONS = (("in", "ingress"), ("out", "egress"))


def chain_name(group_id: str, way: str, *, answers: bool = False) -> str:
    """``way``: ``in`` or ``out`` of the guest."""
    return f"{'back-' if answers else ''}{way}-{group_id}"


def group_chains(group: GroupWiring, sets: Mapping[str, Members]) -> dict[str, Sequence[str]]:
    """A rule whose ``remote_set`` is not among ``sets`` allows nothing."""
    chains: dict[str, Sequence[str]] = {}
    for way, direction in _DIRECTIONS:
        mine = [rule for rule in group.rules if rule.direction == direction]
        usable = [rule for rule in mine if rule.remote_set is None or rule.remote_set in sets]
        back = "out" if way == "in" else "in"
        chains[chain_name(group.id, way)] = _lines(_match(rule) for rule in usable)
        if group.stateful:
            answers = _lines(_match(rule, mirrored=True) for rule in usable)
            chains[chain_name(group.id, back, answers=True)] = answers
    return chains


def address_sets(members: Members) -> dict[str, AddressSet]:
    """The two named sets, one an IP version, without overlaps."""
    networks = collapsed(members.addresses)
    four = [shown(one) for one in networks if one.version == 4]
    six = [shown(one) for one in networks if one.version == 6]
    return {
        _set_name(members.id, 4): AddressSet("ipv4_addr", four),
        _set_name(members.id, 6): AddressSet("ipv6_addr", six),
    }


def collapsed(addresses: Iterable[str]) -> list[IPv4Network | IPv6Network]:
    """The same addresses by as few ranges as can be, in order."""
    texts = list(dict.fromkeys(addresses))
    if len(texts) == 1:
        return [ip_network(texts[0], strict=False)]
    networks = [ip_network(text, strict=False) for text in texts]
    four = [one for one in networks if isinstance(one, IPv4Network)]
    six = [one for one in networks if isinstance(one, IPv6Network)]
    return [*collapse_addresses(four), *collapse_addresses(six)]


def shown(network: IPv4Network | IPv6Network) -> str:
    """As nft takes it for an element."""
    if network.num_addresses == 1:
        return str(network.network_address)
    # A prefix of no length is no element; the whole range is.
    if not network.prefixlen:
        return f"{network.network_address}-{network.broadcast_address}"
    return str(network)


def _set_name(set_id: str, version: int) -> str:
    return f"members{version}-{set_id}"


def _lines(matches: Iterable[str]) -> list[str]:
    return [f"{match} accept" for match in dict.fromkeys(matches)]


def _match(rule: RuleWiring, *, mirrored: bool = False) -> str:
    """``mirrored``: of the packets that answer those which the rule is about."""
    version, ip = (4, "ip") if rule.ethertype == "IPv4" else (6, "ip6")
    words = [f"ether type {ip}"]
    at_source = (rule.direction == "ingress") != mirrored
    side = "saddr" if at_source else "daddr"
    if rule.remote_set is not None:
        words.append(f"{ip} {side} @{_set_name(rule.remote_set, version)}")
    elif rule.remote_ip_prefix is not None:
        prefix = ip_network(rule.remote_ip_prefix, strict=False)
        if prefix.prefixlen:
            words.append(f"{ip} {side} {prefix}")
    protocol = _number(rule.protocol, version)
    if protocol is not None:
        words.append(f"meta l4proto {protocol}")
        words += _details(rule, protocol, mirrored=mirrored)
    return " ".join(words)


def _number(protocol: str | None, version: int) -> int | None:
    if protocol is None:
        return None
    number = NUMBERS[protocol] if protocol in NUMBERS else int(protocol)
    if number == _ICMP and version == 6:
        return _ICMPV6
    return number or None


def _details(rule: RuleWiring, protocol: int, *, mirrored: bool) -> list[str]:
    low, high = rule.port_range_min, rule.port_range_max
    if protocol in (_ICMP, _ICMPV6):
        # An answer has another type than what it answers.
        if low is None or mirrored:
            return []
        name = "icmp" if protocol == _ICMP else "icmpv6"
        return [f"{name} type {low}"] + ([] if high is None else [f"{name} code {high}"])
    if protocol not in _WITH_PORTS or low is None:
        return []
    span = str(low) if high in (None, low) else f"{low}-{high}"
    return [f"th {'sport' if mirrored else 'dport'} {span}"]
