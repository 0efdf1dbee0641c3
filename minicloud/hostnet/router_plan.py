"""The difference between a router and its namespace, as lines for ``ip``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network

import msgspec

from minicloud.domain import ids
from minicloud.hostnet import devices, names
from minicloud.hostnet.port_rules import link_local
from minicloud.hostnet.router_rules import outer_addresses
from minicloud.hostnet.view import HostView, Route, Space
from minicloud.hostnet.wiring import NetworkWiring, RouterLeg, RouterWiring

METADATA_ADDRESS = "169.254.169.254"
METADATA_ADDRESS_6 = "fe80::a9fe:a9fe"


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A router's port with the names of its two ends."""

    router: RouterWiring
    port: RouterLeg
    is_outer: bool

    @property
    def bridge_end(self) -> str:
        name = names.outer_leg if self.is_outer else names.inner_leg
        return name(self.port.port_id)

    @property
    def device(self) -> str:
        name = names.outside if self.is_outer else names.inside
        return name(self.port.port_id)

    @property
    def addresses(self) -> list[str]:
        held = [*self.port.addresses, f"{link_local(self.port.mac)}/64"]
        if self.is_outer:
            held += [f"{address}/32" for address in outer_addresses(self.router)]
        return held


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """What a router's namespace needs: devices, then routes; and the legs that are new there."""

    lines: Sequence[str]
    routes: Sequence[str]
    fresh: Sequence[Leg]


def legs_of(router: RouterWiring) -> Iterator[Leg]:
    for port in router.legs:
        yield Leg(router=router, port=port, is_outer=False)
    if router.gateway is not None:
        yield Leg(router=router, port=router.gateway, is_outer=True)


def legs_on(routers: Iterable[RouterWiring], network_id: str) -> list[Leg]:
    return [leg for one in routers for leg in legs_of(one) if leg.port.network_id == network_id]


def plan_legs(
    legs: Iterable[Leg], network: NetworkWiring, view: HostView
) -> tuple[list[str], list[str], list[str]]:
    """What to remove, the lines that make the legs, and the bridge's ends that are new."""
    remove: list[str] = []
    lines: list[str] = []
    remade: list[str] = []
    for leg in legs:
        space_name = names.router_space(leg.router.id)
        space = view.spaces.get(space_name) or Space()
        made = devices.pair(leg.bridge_end, leg.device, space_name, view.root, space)
        link = view.root.links.get(leg.bridge_end)
        if made:
            remove += [f"link del dev {leg.bridge_end}"] if link else []
            remade.append(leg.bridge_end)
        lines += made
        bridge = ids.bridge_name(network.id)
        lines += devices.member(leg.bridge_end, network.mtu, bridge, None if made else link)
    return remove, lines, remade


def plan_inside(
    router: RouterWiring, mtus: Mapping[str, int], space: Space, remade: Iterable[str]
) -> Inside:
    """``mtus``: by network; ``remade``: the bridge's ends of pairs that are new."""
    new = set(remade)
    lines = devices.up("lo", space)
    lo = space.links.get("lo")
    if lo is None or f"{METADATA_ADDRESS}/32" not in lo.addresses:
        lines.append(f"address replace {METADATA_ADDRESS}/32 dev lo")
    fresh = []
    legs = list(legs_of(router))
    for leg in legs:
        link = None if leg.bridge_end in new else space.links.get(leg.device)
        mtu = mtus[leg.port.network_id]
        more = devices.inside(leg.device, leg.port.mac, mtu, leg.addresses, link)
        lines += more
        fresh += [leg] if more else []
    mine = {leg.device for leg in legs}
    gone = [name for name in space.links if name.startswith(("in-", "ex-")) and name not in mine]
    lines = [*(f"link del dev {name}" for name in gone), *lines]
    kept = [
        route
        for route in space.routes
        if route.device in mine and not route.connected
        and not any(leg.device == route.device and leg.bridge_end in new for leg in legs)
    ]  # fmt: skip
    return Inside(lines=lines, routes=_routes(router, kept), fresh=fresh)


def _routes(router: RouterWiring, have: Sequence[Route]) -> list[str]:
    wanted = {(_version(hop), "default"): hop for hop in router.next_hops if router.gateway}
    wanted |= {
        (_version(hop), str(ip_network(target, strict=False))): hop for target, hop in router.routes
    }
    wanted = {
        (version, "default" if target in ("0.0.0.0/0", "::/0") else target): hop
        for (version, target), hop in wanted.items()
    }
    old = {(route.version, route.destination): route.via for route in have if route.via}
    lines = [
        f"route del {_said(version, target)}"
        for version, target in old
        if (version, target) not in wanted
    ]
    return lines + [
        f"route replace {_said(version, target)} via {hop}"
        for (version, target), hop in wanted.items()
        if old.get((version, target)) != hop
    ]


def _said(version: int, target: str) -> str:
    return "::/0" if version == 6 and target == "default" else target


def _version(address: str) -> int:
    return 6 if ":" in address else 4
