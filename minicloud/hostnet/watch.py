"""Whether anything changed in a network namespace since it was last looked at.

The kernel tells of every change to devices, addresses, routes, forwarding entries and packet
filter rules. A reader who is told of none may trust what it read before: so a pass over a host
on which nothing happens starts no process at all.
"""

from __future__ import annotations

import errno
import socket
import struct

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_ROUTE_GROUPS = (1, 3, 5, 7, 9, 11)  # link, neighbour, IPv4 and IPv6 addresses and routes
_NFTABLES_GROUP = 7
_NEIGHBOUR = (28, 29)
_AF_BRIDGE = 7
_BUFFER = 1 << 18


class Watch:
    """Made by a thread inside the namespace, it stays there. ``close`` it."""

    def __init__(self) -> None:
        self._links = _listener(_NETLINK_ROUTE, _ROUTE_GROUPS)
        self._rules = _listener(_NETLINK_NETFILTER, (_NFTABLES_GROUP,))

    def links_changed(self) -> bool:
        """Whether devices, addresses, routes or forwarding entries changed since the last call.

        What neighbours are learnt by the IP stack itself does not count.
        """
        return _drain(self._links, skip_neighbours=True)

    def rules_changed(self) -> bool:
        """Whether the packet filter changed since the last call."""
        return _drain(self._rules)

    def close(self) -> None:
        self._links.close()
        self._rules.close()


def _listener(family: int, groups: tuple[int, ...]) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
    opened.bind((0, 0))
    for group in groups:
        opened.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    opened.setblocking(False)
    return opened


def _drain(opened: socket.socket, *, skip_neighbours: bool = False) -> bool:
    changed = False
    while True:
        try:
            message = opened.recv(_BUFFER)
        except BlockingIOError:
            return changed
        except OSError as problem:
            if problem.errno != errno.ENOBUFS:  # there were too many to keep: so there were some
                raise
            changed = True
            continue
        if skip_neighbours and not changed:
            changed = _is_about_more(message)
        elif not skip_neighbours:
            changed = True


def _is_about_more(messages: bytes) -> bool:
    """Whether some message is about more than a neighbour of the IP stack's."""
    at = 0
    while at + 17 <= len(messages):
        length, kind = struct.unpack_from("=IH", messages, at)
        if kind not in _NEIGHBOUR or messages[at + 16] == _AF_BRIDGE:
            return True
        at += max((length + 3) & ~3, 16)
    return False
