"""Guests as this machine sees them: which address to use, and whether ssh answers there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from typing import Any

from minicloud.cli.problems import Unreachable
from minicloud.domain.errors import Conflict

SSH_PORT = 22
_NO_WAY = (errno.ENETUNREACH, errno.EACCES, errno.EPERM)
_BANNER = b"SSH-"


def addresses(server: Mapping[str, Any]) -> list[str]:
    """All of the server's addresses, fixed and floating."""
    return [a["addr"] for nics in server.get("addresses", {}).values() for a in nics]


def ssh_address(server: Mapping[str, Any]) -> str:
    """The address to log in at: a floating one if there is one, IPv4 before IPv6. Conflict."""
    known = [a for nics in server.get("addresses", {}).values() for a in nics]
    if not known:
        raise Conflict(
            reason=f"{server['name']} is {server['status']} and has no address. "
            f"'minicloud show {server['name']}' tells more."
        )
    known.sort(key=lambda a: (a.get("OS-EXT-IPS:type") != "floating", a.get("version") != 4))
    return str(known[0]["addr"])


def ssh_banner(address: str, *, port: int = SSH_PORT, timeout_s: float = 2.0) -> str | None:
    """What the SSH server there says first; None while there is none.

    Unreachable when this machine has no way there, which no waiting mends.
    """
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            said = connection.recv(256)
    except OSError as problem:
        if problem.errno in _NO_WAY:
            raise Unreachable(f"This machine has no way to {address}. {way(address)}") from problem
        return None
    if not said.startswith(_BANNER):
        return None
    return said.splitlines()[0].decode("ascii", errors="replace")


def way(address: str) -> str:
    """How a guest can be reached that cannot."""
    return (
        f"{address} is reachable from the host that the server runs on, and from elsewhere only "
        "with a floating IP; its security group must let TCP port 22 in."
    )
