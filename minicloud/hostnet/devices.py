"""Lines for ``ip`` about devices in a namespace and the pairs that lead to them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from minicloud.hostnet.view import Link, Space


def pair(outer: str, inner: str, space_name: str, root: Space, space: Space) -> list[str]:
    """Lines for a veth pair from the host into a namespace; none if both ends are there."""
    if outer in root.links and inner in space.links:
        return []
    return [
        f"link add name {outer} type veth peer name {inner} netns {space_name}",
        f"link set dev {outer} addrgenmode none",
    ]


def member(name: str, mtu: int, bridge: str, link: Link | None) -> list[str]:
    """The device as a member of a bridge."""
    if link is not None and (link.mtu, link.master, link.up) == (mtu, bridge, True):
        return []
    return [f"link set dev {name} mtu {mtu} master {bridge} up"]


def inside(name: str, mac: str, mtu: int, addresses: Sequence[str], link: Link | None) -> list[str]:
    """The namespace's own device: its MAC address if one is given, and its addresses."""
    lines = []
    if mac and (link is None or link.mac != mac):
        lines.append(f"link set dev {name} address {mac}")
    if link is None or not link.up:
        lines.append(f"link set dev {name} addrgenmode none")
    if link is None or link.mtu != mtu or not link.up:
        lines.append(f"link set dev {name} mtu {mtu} up")
    return lines + addresses_of(name, addresses, link)


def addresses_of(name: str, wanted: Sequence[str], link: Link | None) -> list[str]:
    """Lines that give the device these addresses and no other."""
    four = [text for text in wanted if ":" not in text]
    six = [text for text in wanted if ":" in text]
    return _four(name, four, link) + _six(name, six, link)


def up(name: str, space: Space) -> list[str]:
    link = space.links.get(name)
    return [] if link is not None and link.up else [f"link set dev {name} up"]


def _four(device: str, wanted: Sequence[str], link: Link | None) -> list[str]:
    have = list(link.addresses) if link else []
    extra = [address for address in have if address not in wanted]
    # Deleting a subnet's first address takes its others along: so it goes last, and then all
    # that are wanted are said again.
    missing = wanted if extra else [address for address in wanted if address not in have]
    return [f"address del {address} dev {device}" for address in reversed(extra)] + [
        f"address replace {address} dev {device}" for address in missing
    ]


def _six(device: str, wanted: Sequence[str], link: Link | None) -> list[str]:
    have = list(link.addresses_6) if link else []
    # A link-local address that the kernel gave the device does no harm.
    extra = [text for text in have if text not in wanted and not text.startswith("fe80:")]
    gone = [f"address del {text} dev {device}" for text in extra]
    # Whether somebody else has it is the network service's business, and takes a second.
    return gone + [
        f"address replace {text} dev {device} nodad" for text in wanted if text not in have
    ]
