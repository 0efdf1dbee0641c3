"""What serves the guests of a network from inside its namespace: DHCP and the metadata door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.advertisements import Advertisements
from minicloud.hostnet.dhcp import Dhcp
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.metadata import Guest, MetadataProxy
from minicloud.hostnet.port_rules import link_local
from minicloud.hostnet.router_plan import METADATA_ADDRESS, legs_of
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, RouterWiring

_METADATA_PORT = 80
_ANY_6 = "::"
"""A socket on a link-local address is bound to a device, and deaf when that is made anew."""


class Services:
    """The services of all networks and routers. ``directory``: their files; ``metadata``: None for
    no door.
    """

    def __init__(self, directory: Path, kernel: Kernel, metadata: MetadataProxy | None) -> None:
        self._dhcp = Dhcp(directory / "dhcp", kernel)
        self._advertisements = Advertisements(directory / "routers", kernel)
        self._metadata = metadata
        self._doors: dict[str, int | None] = {}
        """The identity of the namespace in which each network's door was made."""

    def ensure(
        self, network: NetworkWiring, ports: Sequence[PortWiring], *, rebuilt: bool = False
    ) -> list[str]:
        """Serve just ``ports``; returns what was done, in words.

        ``rebuilt``: the namespace's device was made anew. Raises HostProblem.
        """
        words = self._dhcp.ensure(network, ports, rebuilt=rebuilt)
        name = ids.netns_name(network.id)
        words += self._open_door(network.id, network.id, _guests(ports), name)
        return words + self._open_door(
            _door_6(network.id), network.id, _guests_6(ports), name, address=_ANY_6
        )

    def are_running(self, network: NetworkWiring, ports: Sequence[PortWiring]) -> bool:
        """Whether all processes are as ``ensure`` left them."""
        return self._dhcp.is_running(network, ports)

    def stop(self, network_id: str) -> list[str]:
        """Serve a network no more; an unknown one is fine."""
        self._close_door(network_id)
        self._close_door(_door_6(network_id))
        return self._dhcp.stop(network_id)

    def known(self) -> list[str]:
        """The ids of networks that are or were served."""
        return self._dhcp.known()

    def remove_directory(self) -> None:
        self._dhcp.remove_directory()
        self._advertisements.remove_directory()

    def ensure_router(self, router: RouterWiring, wiring: HostWiring) -> list[str]:
        """Serve a router's networks from its namespace: a door of metadata on each.

        Also for guests of other hosts that come by their default route.
        """
        words = []
        name = names.router_space(router.id)
        networks = {network.id: network for network in wiring.networks}
        doors = set()
        for leg in legs_of(router):
            if leg.is_outer:
                continue
            door = f"{router.id}/{leg.port.port_id}"
            doors.add(door)
            network = networks[leg.port.network_id]
            guests = {
                address: Guest(server_id=remote.device_id, project_id=remote.project_id)
                for remote in network.remotes or ()
                for address in remote.addresses
            }
            ports = [port for port in wiring.ports if port.network_id == network.id]
            guests |= _guests(ports)
            words += self._open_door(door, network.id, guests, name, device=leg.device)
        for door in [one for one in self._doors if one.startswith(f"{router.id}/")]:
            if door not in doors:
                self._close_door(door)
        return words + self._advertisements.ensure(router, networks)

    def stop_router(self, router_id: str) -> list[str]:
        """Serve a router no more; an unknown one is fine."""
        for door in [one for one in self._doors if one.startswith(f"{router_id}/")]:
            self._close_door(door)
        return self._advertisements.stop(router_id)

    def known_routers(self) -> list[str]:
        """The ids of routers that are or were advertised."""
        return self._advertisements.known()

    def _close_door(self, door: str) -> None:
        self._doors.pop(door, None)
        if self._metadata is not None:
            self._metadata.forget(door)

    def _open_door(
        self,
        door: str,
        network_id: str,
        guests: Mapping[str, Guest],
        name: str,
        *,
        device: str = "",
        address: str = METADATA_ADDRESS,
    ) -> list[str]:
        if self._metadata is None:
            return []
        self._metadata.publish(door, network_id, guests)
        space = namespaces.inode(name)
        if space is not None and self._doors.get(door) == space:
            return []
        try:
            listener = namespaces.listen(name, address, _METADATA_PORT, device)
        except OSError as problem:
            reason = f"metadata cannot be served in {name}: {problem.strerror}"
            raise HostProblem(reason=reason) from problem
        self._metadata.listen(door, listener)
        self._doors[door] = space
        return [f"serving metadata on network {network_id}"]


def _guests(ports: Iterable[PortWiring]) -> dict[str, Guest]:
    return {
        address: Guest(server_id=port.device_id, project_id=port.project_id)
        for port in ports
        for _, address in port.fixed_ips
    }


def _guests_6(ports: Iterable[PortWiring]) -> dict[str, Guest]:
    """By the link-local addresses that their MAC addresses make, and by all others."""
    held = list(ports)
    return _guests(held) | {
        link_local(mac): Guest(server_id=port.device_id, project_id=port.project_id)
        for port in held
        for mac in (port.mac, *(mac.lower() for mac, _ in port.pairs))
    }


def _door_6(network_id: str) -> str:
    return f"{network_id}/6"
