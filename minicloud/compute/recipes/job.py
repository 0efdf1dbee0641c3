"""What the steps of one operation share: the server, the host's tools, what was found so far."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from minicloud.compute.clients import Clients
from minicloud.compute.images import ImageCache
from minicloud.compute.journal import StepJournal
from minicloud.compute.moving import Move
from minicloud.compute.passages import Passages
from minicloud.compute.storage import Storage
from minicloud.compute.wiring import Place
from minicloud.domain.disks import resized_disks, reverted_disks
from minicloud.domain.errors import Unauthenticated
from minicloud.domain.models import (
    AttachedVolume,
    BlockDevice,
    Flavor,
    NicInfo,
    Operation,
    Resized,
    Server,
)
from minicloud.domain.states import VmState
from minicloud.hostnet.contract import HostNetworking
from minicloud.kit.operations import Step
from minicloud.virt.driver import Disk, Driver, Nic


class HostTools(msgspec.Struct, frozen=True, kw_only=True):
    """What this host works with; the same for every operation."""

    name: str
    driver: Driver
    network: HostNetworking
    storage: Storage
    images: ImageCache
    shutdown_s: float
    detach_s: float
    """How long a guest may take to let a device go."""
    always_config_drive: bool
    place: Place = Place()
    passages: Passages = msgspec.field(default_factory=lambda: Passages(address="127.0.0.1"))


class Job:
    """One operation under way, on one server."""

    def __init__(
        self,
        *,
        server: Server,
        tools: HostTools,
        clients: Clients,
        journal: StepJournal,
        operation: Operation | None = None,
        cancelled: threading.Event | None = None,
        lend_guest: Callable[[], AbstractContextManager[None]] = nullcontext,
        move: Move | None = None,
    ) -> None:
        """``operation``: None for work that no operation asked for; ``cancelled``: set when it
        is to stop, which a step that waits has to look at; ``lend_guest``: while a step waits for
        snapshots, whose taking may change the guest's disks. ``move``: of a guest that moves while
        it runs.
        """
        self.lend_guest = lend_guest
        self.move = move
        self.found: Mapping[str, Any] = {}
        """What later stages, perhaps of another host, have to know."""
        self.cancelled = cancelled or threading.Event()
        self.server = server
        self._operation = operation
        self.params = operation.params if operation is not None else {}
        self.tools = tools
        self.clients = clients
        self.journal = journal
        self.nics: list[Nic] = []
        """Filled by the ports step: what the domain gets."""
        self.nic_infos: list[NicInfo] = []
        """The same as the server shows it."""
        self.mtus: dict[str, int] = {}
        """Network id -> MTU, bytes."""
        self.volume_disks: dict[int, Disk] = {}
        """By the number of the disk: filled by the volumes step."""
        self.volumes: list[AttachedVolume] = []
        self.looked_at_ports = False
        """Whether ``nic_infos`` is what the server has now."""
        self.looked_at_volumes = False

    @property
    def operation(self) -> Operation:
        """What asked for this work."""
        assert self._operation is not None
        return self._operation

    @property
    def flavor(self) -> Flavor:
        """What the server has to be: the flavor it is resized to, or put back to, or its own."""
        if self._reverted is not None:
            return self._reverted.flavor
        goes_back = self._operation is not None and self._operation.goes_back
        return self.server.flavor if goes_back else self.wanted_flavor

    @property
    def wanted_flavor(self) -> Flavor:
        """The flavor that the server is resized to, whether or not it is being put back; else its
        own.
        """
        given = self.params.get("flavor")
        return self.server.flavor if given is None else msgspec.convert(given, Flavor)

    @property
    def block_devices(self) -> Sequence[BlockDevice]:
        """The disks that the server has to have, as ``flavor`` says."""
        server = self.server
        if self._reverted is not None:
            return reverted_disks(server)
        return resized_disks(server.block_devices, server.flavor, self.flavor)

    @property
    def _reverted(self) -> Resized | None:
        """What the server was before the resize that is being reverted."""
        reverts = self._operation is not None and self._operation.verb == "revertResize"
        return self.server.resized if reverts else None

    @property
    def image_id(self) -> str:
        """The image that the root disk is made of."""
        return self.server.shelved_image_id or self.server.image_id

    @property
    def was_on(self) -> bool:
        """Whether the guest ran before the operation, or before the resize it ends."""
        if self.server.resized is not None:
            return self.server.resized.prior_state is not VmState.STOPPED
        return self.operation.prior_state is not VmState.STOPPED

    @property
    def disk(self) -> BlockDevice:
        """The disk that is attached or detached."""
        return msgspec.convert(self.params["disk"], BlockDevice)

    def note_addresses(self, found: Mapping[str, str]) -> None:
        """Where the guest finds its devices: disks by name, NICs by MAC address."""
        self.nic_infos = [
            msgspec.structs.replace(nic, address=found.get(nic.mac, "")) for nic in self.nic_infos
        ]
        self.volumes = [
            msgspec.structs.replace(
                volume, address=found.get(volume.device.removeprefix("/dev/"), "")
            )
            for volume in self.volumes
        ]

    @property
    def has_config_drive(self) -> bool:
        return self.server.config_drive or self.tools.always_config_drive


def step(
    name: str, do: Callable[[Job], None], undo: Callable[[Job], None] | None = None
) -> Step[Job]:
    """A step that goes on with the service's own token when the user's is refused."""
    return Step(name, _not_refused(do), None if undo is None else _not_refused(undo))


def _not_refused(act: Callable[[Job], None]) -> Callable[[Job], None]:
    """``act``, with the user's token, else with our own, else with a new one of our own."""

    def acting(job: Job) -> None:
        for _ in range(2):
            try:
                return act(job)
            except Unauthenticated:
                job.clients.refused()
        return act(job)

    return acting


def counted(number: int, noun: str) -> str:
    """``1 port``, ``2 ports``: for people who read a trace."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
