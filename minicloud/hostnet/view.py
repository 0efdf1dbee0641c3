"""What the kernel holds, as values: the other half of every comparison with the desired state.

Parses what ``ip -j``, ``bridge -j`` and ``nft -j`` say. Starts no process and changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

TableKey = tuple[str, str]
"""(family, name) of an nftables table."""


Forward = tuple[str, str, str]
"""A forwarding entry: MAC, device, and the other host's address for one of a VXLAN device's own."""


REACH_PROTOCOL = "219"
"""Of the routes that lead to other hosts' external addresses: nobody else's that is known."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A network device. Addresses have their prefix length: ``10.0.0.1/24``."""

    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 1500
    master: str | None = None
    up: bool = False
    addresses: Sequence[str] = ()
    addresses_6: Sequence[str] = ()
    forward_delay: int | None = None
    mcast_snooping: int | None = None
    judged: bool = False
    """A bridge whose packets pass the IP hooks, where connections are tracked."""
    learning: bool = True
    """A member of a bridge by which the bridge learns who is behind it."""
    segment: int = 0
    local: str = ""
    """A VXLAN device's identifier and own address."""
    port: int = 0


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A route of the main table; ``destination`` is a CIDR or ``default``."""

    destination: str
    device: str = ""
    via: str | None = None
    connected: bool = False
    """Made by the kernel for an address of the device."""
    version: int = 4
    is_reach: bool = False
    """One of those that lead to other hosts' external addresses."""


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What one network namespace holds; the host's own is one, too."""

    links: Mapping[str, Link] = {}
    routes: Sequence[Route] = ()
    tables: Mapping[TableKey, Mapping[str, int]] = {}
    """The number of rules in each chain of each nftables table."""
    forward_drops: bool = False
    """Whether a stranger's FORWARD chain (Docker's, ufw's) drops what it does not know."""
    forward_drops_6: bool = False
    ip_forward: bool = False
    ip6_forward: bool = False
    forwards: frozenset[Forward] = frozenset()
    """Forwarding entries that somebody made, as against learnt ones."""


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """``spaces`` has None for a namespace that is half made."""

    root: Space
    spaces: Mapping[str, Space | None] = {}

    def with_routes(self, claims: Sequence[Route]) -> HostView:
        """The view as it is once the host has these routes as well."""
        root = msgspec.structs.replace(self.root, routes=[*self.root.routes, *claims])
        return msgspec.structs.replace(self, root=root)

    def without(self, links: set[str], spaces: set[str]) -> HostView:
        """The view as it is once these links and namespaces are gone."""
        root = msgspec.structs.replace(
            self.root,
            links={name: link for name, link in self.root.links.items() if name not in links},
            routes=[route for route in self.root.routes if route.device not in links],
        )
        rest = {name: space for name, space in self.spaces.items() if name not in spaces}
        return HostView(root=root, spaces=rest)


def parse_links(
    ip_output: str, fdb_output: str
) -> tuple[Mapping[str, Link], Sequence[Route], frozenset[Forward]]:
    """Devices, routes and forwarding entries from the JSON lists of ``ip`` and ``bridge``."""
    links, *routes = _json_values(ip_output)
    found = [_route(entry) for some in routes for entry in some]
    return (
        {entry["ifname"]: _link(entry) for entry in links if "ifname" in entry},
        found,
        frozenset(_forwards(json.loads(fdb_output or "[]"))),
    )


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The packet filter of one namespace, as far as it matters here."""

    tables: Mapping[TableKey, Mapping[str, int]] = {}
    forward_drops: bool = False
    forward_drops_6: bool = False


def parse_rules(nft_output: str) -> Rules:
    ruleset = json.loads(nft_output)["nftables"]
    chains = [entry["chain"] for entry in ruleset if "chain" in entry]
    return Rules(
        tables=_tables(ruleset),
        forward_drops=any(_is_dropping_forward(chain, "ip") for chain in chains),
        forward_drops_6=any(_is_dropping_forward(chain, "ip6") for chain in chains),
    )


def _forwards(entries: list[dict[str, Any]]) -> Iterator[Forward]:
    for entry in entries:
        if "dst" in entry:
            yield entry["mac"], entry["ifname"], entry["dst"]
        elif entry.get("state") == "static" and "master" in entry:
            yield entry["mac"], entry["ifname"], ""


def _json_values(text: str) -> list[list[dict[str, Any]]]:
    decoder, values, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at + _blanks(text, at))
        values.append(value)
    return values


def _blanks(text: str, at: int) -> int:
    return len(text) - at - len(text[at:].lstrip())


def _link(entry: dict[str, Any]) -> Link:
    info = entry.get("linkinfo", {})
    data = info.get("info_data", {})
    is_bridge, is_tunnel = info.get("info_kind") == "bridge", info.get("info_kind") == "vxlan"
    return Link(
        name=entry["ifname"],
        kind=info.get("info_kind", ""),
        mac=entry.get("address", ""),
        mtu=entry["mtu"],
        master=entry.get("master"),
        up="UP" in entry["flags"],
        addresses=_addresses(entry, "inet"),
        addresses_6=_addresses(entry, "inet6"),
        forward_delay=data.get("forward_delay"),
        mcast_snooping=data.get("mcast_snooping"),
        judged=is_bridge and bool(data.get("nf_call_iptables") and data.get("nf_call_ip6tables")),
        learning=bool(info.get("info_slave_data", {}).get("learning", True)),
        segment=data.get("id", 0) if is_tunnel else 0,
        local=data.get("local", "") if is_tunnel else "",
        port=data.get("port", 0) if is_tunnel else 0,
    )


def _addresses(entry: dict[str, Any], family: str) -> list[str]:
    return [
        f"{address['local']}/{address['prefixlen']}"
        for address in entry.get("addr_info", ())
        if address.get("family") == family
    ]


def _route(entry: dict[str, Any]) -> Route:
    destination = entry["dst"]
    version = 6 if ":" in destination + entry.get("gateway", "") else 4
    if destination != "default" and "/" not in destination:
        destination += "/32" if version == 4 else "/128"
    return Route(
        destination=destination,
        device=entry.get("dev", ""),
        via=entry.get("gateway"),
        connected=entry.get("protocol") == "kernel",
        version=version,
        is_reach=entry.get("protocol") == REACH_PROTOCOL,
    )


def _tables(ruleset: list[dict[str, Any]]) -> dict[TableKey, dict[str, int]]:
    tables: dict[TableKey, dict[str, int]] = {}
    rules: Counter[tuple[str, str, str]] = Counter()
    for entry in ruleset:
        if "table" in entry:
            tables[entry["table"]["family"], entry["table"]["name"]] = {}
        elif "rule" in entry:
            rule = entry["rule"]
            rules[rule["family"], rule["table"], rule["chain"]] += 1
    for entry in ruleset:
        if "chain" in entry:
            family, table, name = (entry["chain"][key] for key in ("family", "table", "name"))
            tables[family, table][name] = rules[family, table, name]
    return tables


def _is_dropping_forward(chain: dict[str, Any], family: str) -> bool:
    return (chain.get("family"), chain.get("table"), chain.get("name"), chain.get("policy")) == (
        family,
        "filter",
        "FORWARD",
        "drop",
    )
