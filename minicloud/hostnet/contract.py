"""What the compute daemon may ask of a host's networking, whoever does it.

Every method asks for an end state: it may be repeated, and a half-done one is finished by the
next call. All may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring


class HostNetworking(Protocol):
    """Raises: Invalid for a wiring that is not well formed, HostProblem where the host fails."""

    def ensure_port(self, network: NetworkWiring, port: PortWiring) -> str:
        """Wire ``port``, and its network if it is the first; returns the name of its TAP."""

    def is_told(self, port_id: str) -> bool:
        """Whether everything about a port has been told: its groups, and who is on its network.

        ``ensure_port`` tells of the port alone; until a ``sync`` tells the rest, a port of an
        unknown group receives nothing.
        """

    def has_any(self, things: Collection[str]) -> bool:
        """Whether a network or security group with one of these ids is wired here."""

    def ensure_no_port(self, port_id: str) -> None:
        """Unwire a port, and its network with the last one. An unknown port is fine."""

    def sync(self, desired: HostWiring, *, as_of: float | None = None) -> list[str]:
        """Make the host have just ``desired``; returns what was done, in words.

        ``as_of``: the ``time.monotonic()`` at which ``desired`` was asked for. Ports that were
        wired or unwired here after that are left as they are, and a picture older than the last
        one is not looked at.
        """

    def restore(self) -> list[str]:
        """Make the host have what it had; returns what was done, in words.

        To be called once when the daemon starts: guests' metadata is served from then on.
        """

    def ports(self) -> frozenset[str]:
        """The ids of the ports that are to be wired here."""

    def purge(self) -> list[str]:
        """Remove every trace of ours, and nothing else; returns what was removed, in words."""
