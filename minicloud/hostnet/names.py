"""The names of what we make in the kernel, and how to know our own from a stranger's.

All names come from ids alone, so that any pass can find what an earlier one made. Nothing here
looks at the kernel.
"""

from __future__ import annotations

import hashlib
import re

TABLE = "minicloud"
"""Name of every nftables table of ours, in the host and in the namespaces."""

TENANT = "tenant"
"""The namespace's end of the veth pair into the bridge."""

UPLINK = "uplink"
"""The namespace's end of the veth pair to the host."""

BRIDGES = "brm*"
HOST_LEGS = "mch*"
BRIDGE_LEGS = "mcb*"
TUNNELS = "mcv*"
INNER = "mcr*"
OUTER = "mcg*"
"""Patterns as nftables takes them; ``ids.bridge_name`` makes the bridges' names."""

_TAIL = r"[0-9a-f]{8}-[0-9a-f]{2}"
_BRIDGE = re.compile(rf"brm{_TAIL}")
_LEG = re.compile(rf"mc[bhrg]{_TAIL}")
_TUNNEL = re.compile(rf"mcv{_TAIL}")
_ROUTER_SPACE = re.compile(r"minicloud-router-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_NAMESPACE = re.compile(r"minicloud-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


def bridge_leg(network_id: str) -> str:
    """The bridge's end of the veth pair between a network's bridge and its namespace."""
    return f"mcb{network_id[:11]}"


def host_leg(network_id: str) -> str:
    """The host's end of the veth pair between the host and a network's namespace."""
    return f"mch{network_id[:11]}"


def tunnel(network_id: str) -> str:
    """A network's VXLAN device."""
    return f"mcv{network_id[:11]}"


def router_space(router_id: str) -> str:
    """The namespace of a router."""
    return f"minicloud-router-{router_id}"


def router_of_space(name: str) -> str | None:
    """The router id in one of our namespaces' names; None for any other namespace."""
    match = _ROUTER_SPACE.fullmatch(name)
    return match.group(1) if match else None


def inner_leg(port_id: str) -> str:
    """The bridge's end of the veth pair to a router's port on a network of guests."""
    return f"mcr{port_id[:11]}"


def outer_leg(port_id: str) -> str:
    """The bridge's end of the veth pair to a router's port on its external network."""
    return f"mcg{port_id[:11]}"


def inside(port_id: str) -> str:
    """The router's end of the pair to a network of guests."""
    return f"in-{port_id[:11]}"


def outside(port_id: str) -> str:
    """The router's end of the pair to its external network."""
    return f"ex-{port_id[:11]}"


def gateway_mac(network_id: str) -> str:
    """The MAC address of a network's namespace.

    It stays the same when the device is made anew, so that no guest has to learn another, and
    is the same on every host, so that a guest that moves finds its gateway where it was.
    """
    digest = hashlib.sha256(network_id.encode()).hexdigest()
    return f"fa:16:3f:{digest[:2]}:{digest[2:4]}:{digest[4:6]}"


def is_bridge(name: str) -> bool:
    return _BRIDGE.fullmatch(name) is not None


def is_leg(name: str) -> bool:
    return _LEG.fullmatch(name) is not None


def is_tunnel(name: str) -> bool:
    return _TUNNEL.fullmatch(name) is not None


def network_of_namespace(name: str) -> str | None:
    """The network id in one of our namespaces' names; None for a stranger's namespace."""
    match = _NAMESPACE.fullmatch(name)
    return match.group(1) if match else None
