"""What minicloud asks of a hypervisor: an end state, never an order.

Facts in, facts out. A driver knows no REST, no server states and no database. Images are files
already and NICs are TAPs already when it is called, so one pure function can build the domain's
definition. Every method may be repeated: recovery after a crash is calling it again.

Implementations: ``virt/libvirt/driver.py`` and ``virt/fake.py``; both pass
``tests/contract/test_virt_driver.py``. Errors are ``domain.errors.HostProblem`` with a reason a
person can act on.
"""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from minicloud.domain.models import Diagnostics
from minicloud.domain.states import Power


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the host has, before anything is claimed."""

    hypervisor_type: str
    """QEMU (software emulation) or KVM; ``fake`` for the fake."""
    hypervisor_version: int
    """As libvirt counts: major * 1000000 + minor * 1000 + release."""
    vcpus: int
    memory_mb: int
    cpu_arch: str
    cpu_model: str
    virt_type: str
    """``kvm`` or ``qemu``."""
    virt_type_reason: str
    """Why, in words: what the probe guest did."""


class FileDisk(msgspec.Struct, frozen=True, kw_only=True, tag="file"):
    """A disk in a file on this host."""

    path: str
    format: str
    """qcow2 or raw."""
    target: str
    """Device name in the guest's order: vda, vdb."""
    boot_index: int | None = None
    serial: str = ""
    readonly: bool = False
    cdrom: bool = False
    bus: str = ""
    """virtio, scsi or sata. Empty: virtio, and scsi for a CD-ROM, which every cloud kernel can
    read."""
    foreign: bool = False
    """A volume's file: another service owns it, and has let QEMU open it and all below it."""
    direct: bool = False
    """Opened past this host's page cache."""
    limits: Mapping[str, int] = {}
    """What the guest is kept to: ``total_bytes_sec``, ``read_iops_sec_max``, ... as libvirt's
    ``iotune`` names them; 0: to nothing."""


class NbdDisk(msgspec.Struct, frozen=True, kw_only=True, tag="nbd"):
    """A volume served over NBD: through ``socket`` on this host, else ``host`` and ``port``."""

    export: str
    target: str
    socket: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False
    """Encrypted, with the certificates of QEMU's configuration on this host."""
    reconnect_s: int = 0
    """How long the guest waits for an exporter that is away; 0: not at all."""
    boot_index: int | None = None
    serial: str = ""
    readonly: bool = False
    cdrom: bool = False
    bus: str = ""
    limits: Mapping[str, int] = {}


class RbdDisk(msgspec.Struct, frozen=True, kw_only=True, tag="rbd"):
    """A volume that is an image in a Ceph cluster, which the guest's QEMU opens for itself."""

    image: str
    """``pool/name``."""
    target: str
    monitors: Sequence[tuple[str, int]] = ()
    """Addresses and ports of the cluster; none: those of this host's own Ceph configuration."""
    user: str = ""
    secret_uuid: str = ""
    """User of Ceph, and libvirt's secret that has its key. Empty: the host's own, if it has one."""
    discard: bool = True
    """Whether the guest may give space back."""
    boot_index: int | None = None
    serial: str = ""
    readonly: bool = False
    cdrom: bool = False
    bus: str = ""
    limits: Mapping[str, int] = {}


Disk = FileDisk | NbdDisk | RbdDisk


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """A TAP that hostnet has made."""

    tap: str
    mac: str
    mtu: int
    port_id: str
    limits: Mapping[str, int] = {}
    """``inbound_average``, ``outbound_peak``, ... in KiB a second, ``inbound_burst`` in KiB: what
    the guest is kept to in each direction that has an average."""


Device = Disk | Nic
"""What a guest can get, and lose, while it runs. A disk is known by its serial."""


class DomainSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A whole server, as the hypervisor has to run it."""

    server_id: str
    """Also the domain's UUID."""
    name: str
    """The domain's name (``domain.ids.domain_name``)."""
    title: str
    """The user's name for the server."""
    vcpus: int
    memory_mb: int
    disks: Sequence[Disk]
    nics: Sequence[Nic]
    console_log: str
    """Path of the file that gets what the guest writes to its serial console."""
    project_id: str = ""
    flavor_name: str = ""
    cpu_limits: Mapping[str, int] = {}
    """``shares`` (a weight), ``quota`` of a ``period`` (microseconds, for each processor)."""


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """The Unix sockets by which a guest that moves while it runs leaves or enters this host."""

    sockets: Mapping[str, Path]
    """By the name of the stream, which is the same on both hosts."""
    uid: int
    gid: int
    """Who has to be able to connect to them, or to make them."""
    daemons: frozenset[str] = frozenset()
    """Streams of the hypervisor's daemon: it is root here as we are, and no guest's process may
    speak to another host's.
    """


Steer = Callable[[Mapping[str, int]], str]
"""Told how far a guest is on its way (``memory_total_bytes`` and the like); answers "" for go on,
``abort`` or ``pause``: let it stand still, so that what is left fits.
"""


class DomainInfo(msgspec.Struct, frozen=True, kw_only=True):
    server_id: str
    power: Power


class Driver(ABC):
    """Level-triggered control of this host's domains."""

    @abstractmethod
    def host_info(self) -> HostInfo:
        """Capacity and kind of the host."""

    @abstractmethod
    def list_domains(self) -> Sequence[DomainInfo]:
        """Every domain that minicloud defined here; strangers are not listed."""

    @abstractmethod
    def get(self, server_id: str) -> DomainInfo | None:
        """The domain, or None where there is none of ours."""

    @abstractmethod
    def ensure_running(self, spec: DomainSpec) -> None:
        """The domain is defined as ``spec`` says and runs. A running one is left alone."""

    @abstractmethod
    def ensure_paused(self, server_id: str) -> None:
        """The guest stands still, its memory kept. HostProblem where it does not run."""

    @abstractmethod
    def retry_writes(self, server_id: str) -> bool:
        """A guest that stands still since a disk had no space for what it wrote tries that again,
        and stands still again where there is none yet; any other is left alone. Whether it did.
        """

    @abstractmethod
    def ensure_suspended(self, server_id: str) -> None:
        """The guest's memory is in a file of the hypervisor's and the guest is off.

        HostProblem where it does not run and has not been suspended.
        """

    @abstractmethod
    def ensure_resumed(self, spec: DomainSpec) -> None:
        """The guest runs: from where its suspension stopped it, or booted if that was lost."""

    @abstractmethod
    def copy_running_disk(self, server_id: str, target: str, copy: Path) -> bool:
        """``copy`` is a flat qcow2 file with the guest's disk ``target`` (vda) as it was at one
        moment, while the guest goes on. False, with nothing done, where it does not run.
        """

    @abstractmethod
    def ensure_stopped(self, server_id: str, *, grace_s: float) -> None:
        """The guest is off: asked to shut down for up to ``grace_s`` seconds, then cut off.

        Stays defined. ``grace_s`` of 0 cuts off at once. No domain is fine.
        """

    @abstractmethod
    def ensure_absent(self, server_id: str) -> None:
        """No trace of the domain. A missing one is fine."""

    @abstractmethod
    def reboot(self, server_id: str, *, grace_s: float) -> bool:
        """Ask the guest to reboot by itself; True when it did within ``grace_s`` seconds."""

    @abstractmethod
    def ensure_device(self, server_id: str, device: Device) -> None:
        """A guest that runs, or is paused, has the device, and finds it again after a reboot.

        One that is off gets it when it is started with a specification that has it.
        """

    @abstractmethod
    def ensure_no_device(self, server_id: str, device: Device, *, limit_s: float) -> None:
        """The guest has let the device go, and does not find it again after a reboot.

        HostProblem where it still has it after ``limit_s`` seconds; it may let it go later. A
        paused guest cannot answer, and is not asked.
        """

    @abstractmethod
    def has_device(self, server_id: str, device: Device) -> bool:
        """Whether a guest that runs, or is paused, has the device."""

    @abstractmethod
    def ensure_disk_size(self, server_id: str, disk: Disk, size_bytes: int) -> None:
        """A guest that runs sees that a disk has grown. HostProblem where it cannot be told."""

    @abstractmethod
    def move_disk(self, server_id: str, serial: str, name: str) -> None:
        """A guest that runs, or is paused, writes its disk ``serial`` into the qcow2 file ``name``
        from now on, which is there beside the file it has, empty, and stands on that.

        Nothing is done where the guest does so already or has gone on from there, where it is off
        and where it has no such disk: it finds the file when it gets the disk again. HostProblem
        where the file stands on another one.
        """

    @abstractmethod
    def ensure_disk_moved(
        self,
        server_id: str,
        disk: Disk,
        *,
        ready: Callable[[], None],
        cancelled: threading.Event,
    ) -> None:
        """A guest that runs, or is paused, has its disk ``disk.serial`` where ``disk`` says, with
        all that it wrote, and finds it there after a reboot. The place is there, and as large.

        The guest goes on meanwhile. ``ready`` is called, perhaps again, when both places have the
        same and every write goes to both, before the guest goes over; it may raise. HostProblem:
        the guest is off or the copy failed, or ``cancelled`` was set and the copy goes on.
        """

    @abstractmethod
    def end_disk_move(self, server_id: str, disk: Disk) -> bool | None:
        """The guest's disk ``disk.serial`` is not copied any more. Whether the guest has it where
        ``disk`` says; None: the guest is off, or has no such disk.
        """

    @abstractmethod
    def expect(self, spec: DomainSpec) -> DomainSpec:
        """What a guest that is to come here while it runs will be here; its disks are there, and
        what they need of the hypervisor. HostProblem.
        """

    @abstractmethod
    def ways_in(self, server_id: str) -> Ways:
        """Where the streams of the server's guest are taken when it comes here."""

    @abstractmethod
    def ways_out(self, server_id: str) -> Ways:
        """Where ``migrate`` looks for the way of each stream to the same one of ``ways_in`` there:
        the sockets are still to be made.
        """

    @abstractmethod
    def forget_ways(self, server_id: str) -> None:
        """Nothing is left of what the two above made here."""

    @abstractmethod
    def migrate(self, spec: DomainSpec, *, whole: bool, paused: bool, steer: Steer) -> None:
        """Move a guest that runs, or is ``paused``, to the host at the other end of ``ways_out``.

        ``spec``: how it is there, where its disks are: those that are files of its own are filled,
        of layers on a base the upper alone unless ``whole``. ``steer`` is asked once a second or
        more often. Returns when the guest is not here any more, or libvirt cannot tell: whether
        it has come, ``ensure_arrived`` says there. HostProblem: it is here, as it was.
        """

    @abstractmethod
    def ensure_arrived(self, spec: DomainSpec, *, paused: bool) -> None:
        """The guest has come here whole, and runs unless ``paused``. HostProblem: it has not;
        Unavailable: nobody can tell now.

        Only to be asked when it runs nowhere else.
        """

    @abstractmethod
    def ensure_stays(self, server_id: str, *, paused: bool) -> None:
        """A guest whose move has failed goes on here, unless ``paused``; one that is off stays so.

        Only to be asked when it is nowhere else.
        """

    @abstractmethod
    def device_addresses(self, server_id: str) -> Mapping[str, str]:
        """Where a guest finds its disks (by target) and NICs (by MAC) on its PCI bus.

        ``0000:03:00.0``. Empty for a guest that is off.
        """

    @abstractmethod
    def diagnostics(self, server_id: str) -> Diagnostics | None:
        """What a guest that runs, or is paused, uses; None where it is off."""

    @abstractmethod
    def inject_nmi(self, server_id: str) -> None:
        """Have the guest's kernel dump its memory, if it is set up to. HostProblem: it is off."""

    @abstractmethod
    def set_password(self, server_id: str, user: str, password: str) -> None:
        """Set a user's password by the guest's agent.

        Conflict where the agent does not answer, or has no such user.
        """

    @abstractmethod
    def console_tail(self, console_log: Path, *, max_bytes: int) -> bytes:
        """The end of the serial console log, b"" where there is none yet."""

    @abstractmethod
    def open_console(self, server_id: str, kind: str) -> socket.socket | None:
        """A connection to the running guest's screen (``novnc``, by VNC) or ``serial`` console.

        None where it does not run, or has no such console. A serial console has one reader: the
        newest. What the guest writes goes on to the log.
        """

    @abstractmethod
    def vnc_port(self, server_id: str) -> int | None:
        """The TCP port on this host's loopback where the guest's screen is served by VNC.

        None where it does not run, or has no screen. Another one after each start.
        """

    @abstractmethod
    def on_lifecycle(self, callback: Callable[[str, Power], None]) -> None:
        """Call ``callback(server_id, power)`` when a domain of ours changes its power.

        From a foreign thread: it must only enqueue. Events can get lost, so ``list_domains`` is
        the truth and they are hints.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection; domains go on."""
