"""What the network service wants of this host's networking: asked for, and done.

At the start, every few seconds, and at once when the network service hints that something
changed which concerns this host. A lost hint costs seconds, never the change.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence

import msgspec

from minicloud.client.network import NetworkClient
from minicloud.compute.clients import Clients
from minicloud.domain.errors import MinicloudError, Unauthenticated
from minicloud.hostnet.contract import HostNetworking
from minicloud.hostnet.wiring import HostWiring
from minicloud.kit.daemon import Periodic

LOG = logging.getLogger(__name__)
_SHUT_PORT = 1
"""Nobody listens on it: who is there refuses."""
_PAUSE_S = 0.2
"""Between two passes that hints ask for: many changes at once become a few passes."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host stands among the others: what it tells the network service."""

    tunnel_address: str = ""
    is_gateway: bool = False
    physical_networks: Sequence[str] = ()


def ask_wiring(
    host: str,
    place: Place,
    networking: HostNetworking,
    network: NetworkClient,
    *,
    unreachable: Sequence[str] = (),
) -> list[str]:
    """Report the host, and make its networking what the answer says.

    Returns the addresses of routers on hosts that have fallen silent, which are to be tried before
    the next report: ``unreachable`` are those that do not answer.
    """
    asked = time.monotonic()
    answer = network.host_report(
        host,
        tunnel_address=place.tunnel_address,
        is_gateway=place.is_gateway,
        physical_networks=place.physical_networks,
        unreachable=unreachable,
    )
    networking.sync(msgspec.convert(answer.value, HostWiring), as_of=asked)
    return list(answer.value.get("silent", ()))


def is_reachable(address: str, wait_s: float = 2.5) -> bool:
    """Whether whoever has the address answers, be it by a refusal.

    ``wait_s``: TCP asks a second time after one second.
    """
    try:
        with socket.create_connection((address, _SHUT_PORT), timeout=wait_s):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


class NetworkPass:
    """``every_s``: seconds between two passes that nobody asked for."""

    def __init__(
        self,
        host: str,
        place: Place,
        networking: HostNetworking,
        clients: Clients,
        *,
        every_s: float,
    ) -> None:
        self._host = host
        self._place = place
        self._networking = networking
        self._clients = clients
        self._ended_at = -_PAUSE_S
        self._silent: list[str] = []
        self._periodic = Periodic("network", every_s, self._turn)
        self.start, self.stop = self._periodic.start, self._periodic.stop

    def run(self) -> None:
        time.sleep(max(0.0, self._ended_at + _PAUSE_S - time.monotonic()))
        try:
            gone = [address for address in self._silent if not is_reachable(address)]
            network = self._clients.network
            self._silent = ask_wiring(
                self._host, self._place, self._networking, network, unreachable=gone
            )
        except Unauthenticated:
            self._clients.refused()
            raise
        finally:
            self._ended_at = time.monotonic()

    def _turn(self) -> None:
        try:
            self.run()
        except MinicloudError as problem:
            LOG.warning("Networking is looked at again later: %s", problem.message)

    def hint(self, things: Sequence[str], origin: str) -> None:
        """Run soon, if what changed concerns this host."""
        if origin == self._host:
            return
        if not things or self._networking.has_any(things):
            self._periodic.kick()
