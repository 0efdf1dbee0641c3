"""The difference between a network's desired state and the kernel, as lines for ``ip -batch``.

Pure: values in, lines and words out. Safe to compute from a half-done state, since every device
is judged by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from minicloud.domain import ids
from minicloud.hostnet import devices, names
from minicloud.hostnet.forwarding import has_tunnel, plan_forwards, plan_tunnel
from minicloud.hostnet.gateway import (
    Transfer,
    inside_addresses,
    plan_routes,
    transfer,
)
from minicloud.hostnet.outside import Place, is_routed, plan_place, plan_wire
from minicloud.hostnet.port_rules import link_local
from minicloud.hostnet.router_plan import (
    METADATA_ADDRESS,
    METADATA_ADDRESS_6,
    legs_of,
    legs_on,
    plan_legs,
)
from minicloud.hostnet.view import HostView, Link, Route, Space
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, RouterWiring

_UPLINK_MTU = 1500
_BRIDGE_SETTINGS = "forward_delay 0 mcast_snooping 0 nf_call_iptables 1 nf_call_ip6tables 1"


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, in this order: ``remove``, ``root`` and ``forwards`` on the host, ``inside`` the
    namespace.
    """

    remove: Sequence[str] = ()
    root: Sequence[str] = ()
    forwards: Sequence[str] = ()
    """Lines for ``bridge``."""
    inside: Sequence[str] = ()
    words: Sequence[str] = ()
    """What is done, for people."""
    skipped: Sequence[str] = ()
    """What is left undone for a reason, in whole sentences."""
    claims: Sequence[Route] = ()
    """Routes that the network has afterwards, for the networks planned after it."""
    rebuilt: bool = False
    """The namespace's device into the bridge is new: whoever was bound to the old one is deaf."""
    legs: Sequence[str] = ()
    """The bridge's ends of pairs that are new."""


class Strays(msgspec.Struct, frozen=True, kw_only=True):
    """What is ours by name and belongs to nothing desired."""

    links: Sequence[str] = ()
    namespaces: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        links = [f"link del dev {name}" for name in self.links]
        return links + [f"netns del {name}" for name in self.namespaces]

    @property
    def words(self) -> list[str]:
        links = [f"removed {name}" for name in self.links]
        return links + [f"removed namespace {name}" for name in self.namespaces]


def plan_network(
    network: NetworkWiring,
    view: HostView,
    ports: Sequence[PortWiring] = (),
    *,
    tunnel_ip: str = "",
    routers: Sequence[RouterWiring] = (),
    wires: Mapping[str, str] | None = None,
) -> Changes:
    """A network on this host: its bridge and what is on it, and the way to other hosts.

    Where it has ports here, also the namespace that serves them, and the host's way to them.
    ``wires``: physical network -> the device by which this host is on it.
    """
    remove: list[str] = []
    words: list[str] = []
    root = _bridge(network, view.root)
    legs = legs_on(routers, network.id)
    leg_remove, leg_lines, remade = plan_legs(legs, network, view)
    tunnel_remove, tunnel_lines = plan_tunnel(network, tunnel_ip, view.root)
    remove += [*leg_remove, *tunnel_remove]
    remade += [names.tunnel(network.id)] if tunnel_remove else []
    root += [*leg_lines, *tunnel_lines]
    own = _place(network, view.root, wires or {})
    root += own.lines
    members = [(leg.port.mac, leg.bridge_end) for leg in legs]
    served = _served(network, view) if ports else Served()
    remove += served.remove
    root += served.root
    words += served.words
    if ports:
        members.append((names.gateway_mac(network.id), names.bridge_leg(network.id)))
        remade += [names.bridge_leg(network.id)] if served.rebuilt else []
    if root or remove:
        words.append(f"set up network {network.id} on the host")
    port_lines: list[str] = []
    for port in ports:
        added = plan_port(port, network.mtu, view.root)
        port_lines += added
        words += [f"plugged {ids.tap_name(port.id)}"] if added else []
    forwards = plan_forwards(network, ports, members, tunnel_ip, view.root, remade=remade)
    if forwards and not (root or port_lines):
        words.append(f"told the bridge of network {network.id} who is where")
    if served.inside:
        words.append(f"set up network {network.id} in its namespace")
    return Changes(
        remove=remove,
        root=[*root, *port_lines],
        forwards=forwards,
        inside=served.inside,
        words=words,
        skipped=[*own.skipped, *served.skipped],
        claims=[*own.claims, *served.claims],
        rebuilt=served.rebuilt,
        legs=remade,
    )


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What the namespace of a network with guests needs."""

    remove: Sequence[str] = ()
    root: Sequence[str] = ()
    inside: Sequence[str] = ()
    words: Sequence[str] = ()
    skipped: Sequence[str] = ()
    claims: Sequence[Route] = ()
    rebuilt: bool = False


def _served(network: NetworkWiring, view: HostView) -> Served:
    name = ids.netns_name(network.id)
    have = view.spaces.get(name)
    inside = have or Space()
    root: list[str] = []
    if have is None:
        root.append(f"netns add {name}")
    pair = transfer(network.id, view.root)
    tenant_lines, rebuilt = _tenant_pair(network, view.root, inside)
    uplink_lines, uplink_rebuilt = _uplink_pair(network, view.root, inside, pair)
    # An end whose peer is elsewhere is no use.
    ends = [(names.bridge_leg(network.id), rebuilt), (names.host_leg(network.id), uplink_rebuilt)]
    remove = [f"link del dev {end}" for end, new in ends if new and end in view.root.links]
    remove += [f"netns del {name}"] if have is None and name in view.spaces else []
    # On an external network the host is itself, and needs no way round.
    away = msgspec.structs.replace(network, subnets=[]) if is_routed(network) else network
    routes = plan_routes(away, pair, _without_device(view.root, network, uplink_rebuilt))
    gone = {names.TENANT} if rebuilt else set()
    gone |= {names.UPLINK} if uplink_rebuilt else set()
    return Served(
        remove=remove,
        root=[*root, *tenant_lines, *uplink_lines, *routes.delete, *routes.add],
        inside=_inside(network, pair, inside, gone),
        words=[f"made namespace {name}"] if have is None else [],
        skipped=routes.skipped,
        claims=routes.claims,
        rebuilt=rebuilt,
    )


def _place(network: NetworkWiring, root: Space, wires: Mapping[str, str]) -> Place:
    if network.physical_network:
        return plan_wire(network, wires, root)
    return plan_place(network, root) if network.external else Place()


def plan_port(port: PortWiring, mtu: int, root: Space) -> Sequence[str]:
    """Lines that make the port's TAP, as a member of its bridge."""
    tap, bridge = ids.tap_name(port.id), ids.bridge_name(port.network_id)
    link = root.links.get(tap)
    if link is None:
        return new_port(port, mtu)
    if (link.mtu, link.master, link.up) == (mtu, bridge, True):
        return []
    return [f"link set dev {tap} mtu {mtu} master {bridge} up"]


def new_port(port: PortWiring, mtu: int) -> Sequence[str]:
    """The same for a TAP that is known to be absent."""
    tap, bridge = ids.tap_name(port.id), ids.bridge_name(port.network_id)
    return [
        f"tuntap add dev {tap} mode tap vnet_hdr",
        f"link set dev {tap} addrgenmode none",
        f"link set dev {tap} mtu {mtu} master {bridge} up",
    ]


def plan_strays(desired: HostWiring, known_ports: Iterable[str], view: HostView) -> Strays:
    """What has to go. ``known_ports``: ids of ports that were ours before.

    A TAP's name alone does not make it ours, since others name theirs alike: it has to be known
    or a member of one of our bridges.
    """
    networks = {network.id for network in desired.networks}
    keep = {ids.tap_name(port.id) for port in desired.ports}
    for network_id in networks:
        keep.add(ids.bridge_name(network_id))
    for network_id in {port.network_id for port in desired.ports}:
        keep |= {names.bridge_leg(network_id), names.host_leg(network_id)}
    keep |= {leg.bridge_end for router in desired.routers for leg in legs_of(router)}
    keep |= {
        names.tunnel(network.id)
        for network in desired.networks
        if has_tunnel(network, desired.tunnel_ip)
    }
    known = {ids.tap_name(port_id) for port_id in known_ports}
    ours = [link for link in view.root.links.values() if _is_ours(link, known)]
    strays = sorted((link for link in ours if link.name not in keep), key=_members_first)
    served = {ids.netns_name(port.network_id) for port in desired.ports}
    served |= {names.router_space(router.id) for router in desired.routers}
    spaces = [name for name in sorted(view.spaces) if name not in served]
    return Strays(links=[link.name for link in strays], namespaces=spaces)


def plan_removal(network_id: str, port_ids: Iterable[str], view: HostView) -> Strays:
    """The same for one network that goes, with the last of its ports."""
    taps = [ids.tap_name(port_id) for port_id in port_ids]
    legs = [names.bridge_leg(network_id), names.host_leg(network_id), names.tunnel(network_id)]
    links = [*taps, *legs, ids.bridge_name(network_id)]
    space = ids.netns_name(network_id)
    return Strays(
        links=[name for name in links if name in view.root.links],
        namespaces=[space] if space in view.spaces else [],
    )


def _is_ours(link: Link, known_taps: set[str]) -> bool:
    if names.is_bridge(link.name):
        return link.kind == "bridge"
    if names.is_leg(link.name):
        return link.kind == "veth"
    if names.is_tunnel(link.name):
        return link.kind == "vxlan"
    if link.kind != "tun":
        return False
    return link.name in known_taps or (link.master is not None and names.is_bridge(link.master))


def _members_first(link: Link) -> tuple[bool, str]:
    return link.kind == "bridge", link.name


def _bridge(network: NetworkWiring, root: Space) -> list[str]:
    name = ids.bridge_name(network.id)
    link = root.links.get(name)
    lines: list[str] = []
    if link is None:
        lines = [
            f"link add name {name} type bridge {_BRIDGE_SETTINGS}",
            # On a line of its own: together with "up" it would come too late.
            f"link set dev {name} addrgenmode none",
        ]
    elif link.forward_delay or link.mcast_snooping or not link.judged:
        lines = [f"link set dev {name} type bridge {_BRIDGE_SETTINGS}"]
    if link is None or link.mtu != network.mtu or not link.up:
        lines.append(f"link set dev {name} mtu {network.mtu} up")
    return lines


def _tenant_pair(network: NetworkWiring, root: Space, inside: Space) -> tuple[list[str], bool]:
    outer, bridge = names.bridge_leg(network.id), ids.bridge_name(network.id)
    lines = devices.pair(outer, names.TENANT, ids.netns_name(network.id), root, inside)
    link = None if lines else root.links.get(outer)
    return lines + devices.member(outer, network.mtu, bridge, link), bool(lines)


def _uplink_pair(
    network: NetworkWiring, root: Space, inside: Space, pair: Transfer
) -> tuple[list[str], bool]:
    outer = names.host_leg(network.id)
    lines = devices.pair(outer, names.UPLINK, ids.netns_name(network.id), root, inside)
    link = None if lines else root.links.get(outer)
    up = [] if link is not None and link.up else [f"link set dev {outer} up"]
    return [*lines, *up, *devices.addresses_of(outer, [f"{pair.host}/31"], link)], bool(lines)


def _inside(network: NetworkWiring, pair: Transfer, space: Space, remade: set[str]) -> list[str]:
    links = {name: link for name, link in space.links.items() if name not in remade}
    lines = [] if "lo" in links and links["lo"].up else ["link set dev lo up"]
    mac = names.gateway_mac(network.id)
    wanted = _tenant_addresses(network, mac)
    tenant, uplink = links.get(names.TENANT), links.get(names.UPLINK)
    lines += devices.inside(names.TENANT, mac, network.mtu, wanted, tenant)
    lines += devices.inside(names.UPLINK, "", _UPLINK_MTU, [f"{pair.inside}/31"], uplink)
    has_default = any(
        route.destination == "default" and route.via == str(pair.host)
        for route in space.routes
        if route.device in links
    )
    if not has_default:
        lines.append(f"route replace default via {pair.host} dev {names.UPLINK}")
    return lines


def _tenant_addresses(network: NetworkWiring, mac: str) -> list[str]:
    own = [address for subnet in network.subnets for address in inside_addresses(subnet)]
    return [*own, f"{METADATA_ADDRESS}/32", f"{link_local(mac)}/64", f"{METADATA_ADDRESS_6}/64"]


def _without_device(root: Space, network: NetworkWiring, rebuilt: bool) -> Space:
    """The host without the routes that go away with the network's own leg."""
    if not rebuilt:
        return root
    leg = names.host_leg(network.id)
    rest = [route for route in root.routes if route.device != leg]
    return msgspec.structs.replace(root, routes=rest)
