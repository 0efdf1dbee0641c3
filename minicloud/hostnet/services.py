"""What serves the guests of a network from inside its namespace: DHCP and the metadata door."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem
from minicloud.hostnet import namespaces
from minicloud.hostnet.dhcp import Dhcp
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.metadata import Guest, MetadataProxy
from minicloud.hostnet.plan import METADATA_ADDRESS
from minicloud.hostnet.wiring import NetworkWiring, PortWiring

_METADATA_PORT = 80


class Services:
    """The services of all networks. ``directory``: DHCP's files; ``metadata``: None for no door."""

    def __init__(self, directory: Path, kernel: Kernel, metadata: MetadataProxy | None) -> None:
        self._dhcp = Dhcp(directory, kernel)
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
        return words + self._open_door(network.id, ports)

    def are_running(self, network: NetworkWiring) -> bool:
        """Whether all processes are as ``ensure`` left them."""
        return self._dhcp.is_running(network)

    def stop(self, network_id: str) -> list[str]:
        """Serve a network no more; an unknown one is fine."""
        self._doors.pop(network_id, None)
        if self._metadata is not None:
            self._metadata.forget(network_id)
        return self._dhcp.stop(network_id)

    def known(self) -> list[str]:
        """The ids of networks that are or were served."""
        return self._dhcp.known()

    def remove_directory(self) -> None:
        self._dhcp.remove_directory()

    def _open_door(self, network_id: str, ports: Sequence[PortWiring]) -> list[str]:
        if self._metadata is None:
            return []
        guests = {
            address: Guest(server_id=port.device_id, project_id=port.project_id)
            for port in ports
            for _, address in port.fixed_ips
        }
        self._metadata.publish(network_id, guests)
        name = ids.netns_name(network_id)
        space = namespaces.inode(name)
        if space is not None and self._doors.get(network_id) == space:
            return []
        try:
            listener = namespaces.listen(name, METADATA_ADDRESS, _METADATA_PORT)
        except OSError as problem:
            reason = f"metadata cannot be served in {name}: {problem.strerror}"
            raise HostProblem(reason=reason) from problem
        self._metadata.listen(network_id, listener)
        self._doors[network_id] = space
        return [f"serving metadata on network {network_id}"]
