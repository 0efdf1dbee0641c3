"""What the kernel holds, as values: the other half of every comparison with the desired state.

Parses what ``ip -j`` and ``nft -j`` say. Starts no process and changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

TableKey = tuple[str, str]
"""(family, name) of an nftables table."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A network device. ``addresses`` are IPv4 with their prefix length: ``10.0.0.1/24``."""

    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 1500
    master: str | None = None
    up: bool = False
    addresses: Sequence[str] = ()
    forward_delay: int | None = None
    mcast_snooping: int | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """An IPv4 route of the main table; ``destination`` is a CIDR or ``default``."""

    destination: str
    device: str = ""
    via: str | None = None
    connected: bool = False
    """Made by the kernel for an address of the device."""


class Space(msgspec.Struct, frozen=True, kw_only=True):
    """What one network namespace holds; the host's own is one, too."""

    links: Mapping[str, Link] = {}
    routes: Sequence[Route] = ()
    tables: Mapping[TableKey, Mapping[str, int]] = {}
    """The number of rules in each chain of each nftables table."""
    forward_drops: bool = False
    """Whether a stranger's FORWARD chain (Docker's, ufw's) drops what it does not know."""
    ip_forward: bool = False


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """``spaces`` has None for a namespace that is half made."""

    root: Space
    spaces: Mapping[str, Space | None] = {}

    def without(self, links: set[str], spaces: set[str]) -> HostView:
        """The view as it is once these links and namespaces are gone."""
        root = msgspec.structs.replace(
            self.root,
            links={name: link for name, link in self.root.links.items() if name not in links},
            routes=[route for route in self.root.routes if route.device not in links],
        )
        rest = {name: space for name, space in self.spaces.items() if name not in spaces}
        return HostView(root=root, spaces=rest)


def parse_space(ip_output: str, nft_output: str, *, ip_forward: bool) -> Space:
    """A namespace from the two JSON lists of ``ip`` (addresses, routes) and nft's ruleset."""
    links, routes, *_ = [*_json_values(ip_output), []]  # no routes may be no list at all
    ruleset = json.loads(nft_output)["nftables"]
    return Space(
        links={entry["ifname"]: _link(entry) for entry in links if "ifname" in entry},
        routes=[_route(entry) for entry in routes],
        tables=_tables(ruleset),
        forward_drops=any(_is_dropping_forward(entry.get("chain", {})) for entry in ruleset),
        ip_forward=ip_forward,
    )


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
    return Link(
        name=entry["ifname"],
        kind=info.get("info_kind", ""),
        mac=entry.get("address", ""),
        mtu=entry["mtu"],
        master=entry.get("master"),
        up="UP" in entry["flags"],
        addresses=[
            f"{address['local']}/{address['prefixlen']}"
            for address in entry.get("addr_info", ())
            if address.get("family") == "inet"
        ],
        forward_delay=data.get("forward_delay"),
        mcast_snooping=data.get("mcast_snooping"),
    )


def _route(entry: dict[str, Any]) -> Route:
    destination = entry["dst"]
    if destination != "default" and "/" not in destination:
        destination += "/32"
    return Route(
        destination=destination,
        device=entry.get("dev", ""),
        via=entry.get("gateway"),
        connected=entry.get("protocol") == "kernel",
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


def _is_dropping_forward(chain: dict[str, Any]) -> bool:
    return (chain.get("family"), chain.get("table"), chain.get("name"), chain.get("policy")) == (
        "ip",
        "filter",
        "FORWARD",
        "drop",
    )
