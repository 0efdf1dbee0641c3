"""The nftables rules of the host and of the namespaces, as text. Pure.

The bridge family judges by port, because only there the ports have names; it knows no
connections on all kernels, so nothing here depends on their state except in the host's own
routing. What a port may receive is not restricted yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from minicloud.domain import ids
from minicloud.hostnet import names
from minicloud.hostnet.gateway import TRANSFER_RANGE
from minicloud.hostnet.view import TableKey
from minicloud.hostnet.wiring import PortWiring

Chains = Mapping[str, Sequence[str]]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """An nftables table. ``hooks``: what precedes a base chain's rules, by chain name."""

    family: str
    chains: Chains
    hooks: Mapping[str, str]

    @property
    def key(self) -> TableKey:
        return (self.family, names.TABLE)

    @property
    def marker(self) -> str:
        """Name of an empty chain that tells which text the kernel has loaded."""
        return "version-" + hashlib.sha256(self._body().encode()).hexdigest()[:16]

    def text(self) -> str:
        """What makes the table so in one transaction, whatever it was before."""
        head = f"table {self.family} {names.TABLE}"
        return f"{head}\ndelete {head}\n{head} {{\n  chain {self.marker} {{ }}\n{self._body()}}}\n"

    def is_loaded(self, tables: Mapping[TableKey, Mapping[str, int]]) -> bool:
        """Whether a kernel with ``tables`` has this text, each chain with all its rules."""
        wanted = {name: len(rules) for name, rules in self.chains.items()} | {self.marker: 0}
        return tables.get(self.key) == wanted

    def _body(self) -> str:
        lines: list[str] = []
        for name, rules in self.chains.items():
            lines.append(f"  chain {name} {{")
            if name in self.hooks:
                lines.append(f"    type {self.hooks[name]}; policy accept;")
            lines += [f"    {rule}" for rule in rules]
            lines.append("  }")
        return "\n".join(lines) + "\n"


def port_table(ports: Iterable[PortWiring]) -> Table:
    """What guests may send: only what bears their own addresses, and never to the host itself.

    A bridge also hands frames up to the host's network stack, past the namespace that is the
    network's gateway; nothing of a tenant's has business there.
    """
    by_tap = {ids.tap_name(port.id): port for port in sorted(ports, key=lambda port: port.id)}
    chains: dict[str, Sequence[str]] = {
        f"from-{tap}": _spoofing_rules(port) for tap, port in by_tap.items()
    }
    verdicts = ", ".join(f'"{tap}" : jump from-{tap}' for tap in by_tap)
    taps = ", ".join(f'"{tap}"' for tap in by_tap)
    from_legs = f'iifname "{names.BRIDGE_LEGS}" drop'
    chains["arriving"] = [f"iifname vmap {{ {verdicts} }}"] if by_tap else []
    chains["upward"] = [from_legs, f"iifname {{ {taps} }} drop"] if by_tap else [from_legs]
    return Table(
        family="bridge",
        chains=chains,
        hooks={
            "arriving": "filter hook prerouting priority -300",
            "upward": "filter hook input priority 0",
        },
    )


def host_table() -> Table:
    """The host's own routing: guests get out, and nobody gets in to them but the host itself.

    Where bridged frames also pass the IP hooks (bridge-nf-call-iptables), connection tracking
    is told to leave them alone: two networks with the same addresses would share its entries,
    and a stranger's address translation could take hold of them.
    """
    return Table(
        family="ip",
        chains={
            "bridged": [f'iifname "{names.BRIDGES}" notrack'],
            "inward": [
                f'oifname "{names.HOST_LEGS}" ct state established,related accept',
                f'oifname "{names.HOST_LEGS}" drop',
            ],
            "outward": [
                f'ip saddr {TRANSFER_RANGE} oifname != "{names.HOST_LEGS}" '
                'oifname != "lo" masquerade'
            ],
        },
        hooks={
            "bridged": "filter hook prerouting priority -300",
            "inward": "filter hook forward priority 0",
            "outward": "nat hook postrouting priority 100",
        },
    )


def namespace_table() -> Table:
    """Inside a network's namespace: one address outwards, and the gateway's towards guests.

    A guest answers what comes from its own subnet by the device it came in on, even if it has
    no default route or has it by another of its ports; so the host's requests are given the
    namespace's address on the way in.
    """
    return Table(
        family="ip",
        chains={
            "outward": [
                f'oifname "{names.UPLINK}" masquerade',
                f'oifname "{names.TENANT}" ip saddr {TRANSFER_RANGE} masquerade',
            ]
        },
        hooks={"outward": "nat hook postrouting priority 100"},
    )


def removal(keys: Iterable[TableKey]) -> str:
    """Text that makes tables go away, there or not."""
    return "".join(
        f"table {family} {name}\ndelete table {family} {name}\n" for family, name in keys
    )


def _spoofing_rules(port: PortWiring) -> Sequence[str]:
    own = [address for _, address in port.fixed_ips]
    v4 = [address for address in own if ":" not in address]
    v6 = [address for address in own if ":" in address]
    probing_or_own = ", ".join(["0.0.0.0/32", *v4])
    return [
        f"ether saddr != {port.mac} drop",
        f"ether type arp arp saddr ether != {port.mac} drop",
        f"ether type arp arp saddr ip != {{ {probing_or_own} }} drop",
        "ether type { arp, 0x8035 } accept",  # 0x8035: RARP, how QEMU tells of a moved guest
        "ether type != { ip, ip6 } drop",
        "udp sport { 67, 547 } drop",
        "icmpv6 type nd-router-advert drop",
        "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
        f"ether type ip ip saddr != {{ {', '.join(v4)} }} drop" if v4 else "ether type ip drop",
        f"ether type ip6 ip6 saddr != {{ {', '.join(['::', 'fe80::/10', *v6])} }} drop",
    ]
