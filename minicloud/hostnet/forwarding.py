"""Which device of a bridge leads to whom, as lines for ``bridge -batch``. Pure.

A bridge of ours learns nothing: whoever is on a network stands in the desired state, and a guest
that claims another's MAC address draws no frame towards it. Across hosts a frame goes to the one
host that has its receiver; what everybody is to hear goes to the hosts that have a port of the
network, and to no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minicloud.domain import ids
from minicloud.hostnet import names
from minicloud.hostnet.view import Forward, Link, Space
from minicloud.hostnet.wiring import NetworkWiring, PortWiring

EVERYBODY = "00:00:00:00:00:00"
VXLAN_PORT = 4789
_TTL = 16


def peers(network: NetworkWiring, tunnel_ip: str) -> list[str]:
    """The underlay addresses of the other hosts that have a port of the network."""
    if not network.segment or not tunnel_ip:
        return []
    found = {remote.host_ip for remote in network.remotes or () if remote.host_ip}
    return sorted(found - {tunnel_ip})


def has_tunnel(network: NetworkWiring, tunnel_ip: str) -> bool:
    return bool(peers(network, tunnel_ip))


def plan_tunnel(network: NetworkWiring, tunnel_ip: str, root: Space) -> tuple[list[str], list[str]]:
    """Lines that remove a VXLAN device that is not as it should be, and lines that make it."""
    if not has_tunnel(network, tunnel_ip):
        return [], []
    name = names.tunnel(network.id)
    link = root.links.get(name)
    remove = []
    wanted = (network.segment, tunnel_ip, VXLAN_PORT)
    if link is not None and (link.segment, link.local, link.port) != wanted:
        remove = [f"link del dev {name}"]
        link = None
    lines = []
    if link is None:
        lines = [
            f"link add name {name} type vxlan id {network.segment} local {tunnel_ip} "
            f"dstport {VXLAN_PORT} nolearning ttl {_TTL}",
            f"link set dev {name} addrgenmode none",
        ]
    bridge = ids.bridge_name(network.id)
    if link is None or (link.mtu, link.master, link.up) != (network.mtu, bridge, True):
        lines.append(f"link set dev {name} mtu {network.mtu} master {bridge} up")
    return remove, lines


def plan_forwards(
    network: NetworkWiring,
    ports: Iterable[PortWiring],
    legs: Iterable[tuple[str, str]],
    tunnel_ip: str,
    root: Space,
    *,
    remade: Iterable[str] = (),
) -> list[str]:
    """``legs``: (MAC, device) pairs of what is ours on the bridge besides ports.

    ``remade``: devices that have been made since ``root`` was read.
    """
    ports = list(ports)
    wanted = {(port.mac, ids.tap_name(port.id), "") for port in ports if not port.awaited} | {
        (mac, device, "") for mac, device in legs
    }
    members = {device for _, device in legs} | {ids.tap_name(port.id) for port in ports}
    if has_tunnel(network, tunnel_ip):
        members.add(names.tunnel(network.id))
        wanted |= set(_across(network, tunnel_ip))
    bridge = ids.bridge_name(network.id)
    fresh = set(remade)
    old = {name: link for name, link in root.links.items() if name not in fresh}
    watched = members | {name for name, link in old.items() if link.master == bridge}
    have = {entry for entry in root.forwards if entry[1] in watched and entry[1] in old}
    lines = [
        f"link set dev {device} learning off"
        for device in sorted(members)
        if _learns(old.get(device))
    ]
    # A guest that moved has one entry on its device still: the new one replaces it.
    moved = {(mac, device) for mac, device, peer in wanted - have if peer and mac != EVERYBODY}
    gone = [entry for entry in sorted(have - wanted) if entry[:2] not in moved]
    lines += [_line("del", entry) for entry in gone]
    return lines + [_line("add", entry) for entry in sorted(wanted - have)]


def port_lines(port: PortWiring) -> Sequence[str]:
    """The same for one TAP that is new."""
    tap = ids.tap_name(port.id)
    quiet = f"link set dev {tap} learning off"
    return [quiet] if port.awaited else [quiet, _line("add", (port.mac, tap, ""))]


def _across(network: NetworkWiring, tunnel_ip: str) -> Iterable[Forward]:
    device = names.tunnel(network.id)
    for peer in peers(network, tunnel_ip):
        yield EVERYBODY, device, peer
    for remote in network.remotes or ():
        if remote.host_ip and remote.host_ip != tunnel_ip:
            yield remote.mac, device, ""
            yield remote.mac, device, remote.host_ip


def _learns(link: Link | None) -> bool:
    return link is None or link.learning


def _line(verb: str, entry: Forward) -> str:
    mac, device, peer = entry
    where = f"dst {peer} self" if peer else "master"
    if verb == "del":
        return f"fdb del {mac} dev {device} {where}"
    # Only of what goes to everybody there are several.
    done = "append" if mac == EVERYBODY else "replace"
    return f"fdb {done} {mac} dev {device} {where} {'permanent' if peer else 'static'}"
