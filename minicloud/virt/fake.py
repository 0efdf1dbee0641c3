"""A hypervisor without guests: domains are JSON files, and it refuses what libvirt refuses.

Survives SIGKILL as libvirt's domains survive the daemon, because nothing is kept in memory:
another process with the same directory sees, and may change, the same domains. Does no disk and
no TAP work. ``fail`` and ``crash_guest`` are for tests.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from minicloud.domain.errors import Conflict, HostProblem
from minicloud.domain.ids import domain_name
from minicloud.domain.models import Diagnostics, DiskUse, NicUse
from minicloud.domain.states import Power
from minicloud.virt.driver import (
    Device,
    Disk,
    DomainInfo,
    DomainSpec,
    Driver,
    FileDisk,
    HostInfo,
    Nic,
    Steer,
    Ways,
)
from minicloud.virt.fake_migration import Arrivals, depart

EMPTY_QCOW2 = struct.pack(
    ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 30, 0, 2, 3 << 16, 1 << 16, 1, 0, 0
).ljust(1024, b"\0")
"""What a copy of a disk is: as much of an empty qcow2 file as the image service looks at."""
_NAME_AT = 512


def empty_overlay(base: str) -> bytes:
    """As much of a qcow2 file that lies on ``base`` as tells so."""
    name = base.encode()
    overlay = bytearray(EMPTY_QCOW2)
    struct.pack_into(">QI", overlay, 8, _NAME_AT, len(name))
    return bytes(overlay[:_NAME_AT]) + name


class _Domain(msgspec.Struct, kw_only=True):
    spec: DomainSpec
    power: Power
    saved: bool = False
    """Suspended: its memory is kept while it is off."""
    starved: bool = False
    """Stands still: there was no space for what it wrote."""
    tries: int = 0
    """Of such writes again."""


class _Fault(msgspec.Struct, kw_only=True):
    skip: int
    """Calls that still succeed."""
    times: int
    """Calls after those that fail."""
    after: bool
    """Whether a failing call has its effect all the same (the answer was lost)."""
    reason: str


class FakeDriver(Driver):
    """Domains in ``directory``; hosts that are to be different need different directories.

    ``vnc_port``: where somebody serves the screen of every guest; None: guests have none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        vcpus: int = 8,
        memory_mb: int = 16384,
        guests_obey_shutdown: bool = True,
        guests_have_agent: bool = True,
        vnc_port: int | None = None,
    ) -> None:
        self._domains = directory / "domains"
        self._domains.mkdir(parents=True, exist_ok=True)
        self._faults = directory / "faults.json"
        self._vcpus = vcpus
        self._memory_mb = memory_mb
        self._guests_obey_shutdown = guests_obey_shutdown
        self._guests_have_agent = guests_have_agent
        self._vnc_port = vnc_port
        self._callbacks: list[Callable[[str, Power], None]] = []
        self._lock = threading.RLock()
        self._arrivals = Arrivals(self._take_in)
        self.moving = threading.Event()
        """Cleared by a test, it holds up migrations until they are steered or it is set again."""
        self.moving.set()

    # -- for tests -------------------------------------------------------------------------------
    def fail(
        self,
        method: str,
        *,
        nth: int = 1,
        times: int = 1,
        after: bool = False,
        reason: str = "the fake driver was told to fail",
    ) -> None:
        """Make calls ``nth`` to ``nth + times - 1`` of ``method``, from now on, fail.

        With ``after`` the call has its effect before it fails. In force for every process that
        uses this directory.
        """
        with self._lock:
            faults = self._read_faults()
            faults[method] = _Fault(skip=nth - 1, times=times, after=after, reason=reason)
            _write(self._faults, msgspec.json.encode(faults))

    def crash_guest(self, server_id: str) -> None:
        """The guest goes off by itself; lifecycle callbacks hear of it."""
        with self._lock:
            self._set_power(server_id, Power.SHUTDOWN)

    def fill_disk(self, server_id: str) -> None:
        """The guest finds no space for what it writes, until ``free_disk``."""
        with self._lock:
            (self._domains / f"{server_id}.full").touch()
            domain = self._running(server_id)
            domain.starved = True
            self._write(domain)
            self._set_power(server_id, Power.PAUSED)

    def free_disk(self, server_id: str) -> None:
        (self._domains / f"{server_id}.full").unlink()

    def tries(self, server_id: str) -> int:
        """How often the guest has tried writes again for which there was no space."""
        return self._running(server_id).tries

    def domain(self, server_id: str) -> DomainSpec:
        """What the guest has now."""
        return self._running(server_id).spec

    # -- Driver ----------------------------------------------------------------------------------
    def host_info(self) -> HostInfo:
        with self._call("host_info"):
            return HostInfo(
                hypervisor_type="fake",
                hypervisor_version=1_000_000,
                vcpus=self._vcpus,
                memory_mb=self._memory_mb,
                cpu_arch="x86_64",
                cpu_model="fake",
                virt_type="qemu",
                virt_type_reason="the fake driver runs no guests",
            )

    def list_domains(self) -> Sequence[DomainInfo]:
        with self._call("list_domains"):
            names = sorted(self._domains.glob("*.json"))
            found = ((path.stem, self._read(path.stem)) for path in names)
            return [
                DomainInfo(server_id=server_id, power=domain.power)
                for server_id, domain in found
                if domain is not None
            ]

    def get(self, server_id: str) -> DomainInfo | None:
        with self._call("get"):
            domain = self._read(server_id)
            return DomainInfo(server_id=server_id, power=domain.power) if domain else None

    def ensure_running(self, spec: DomainSpec) -> None:
        with self._call("ensure_running"):
            domain = self._read(spec.server_id)
            if domain is not None and domain.power is Power.RUNNING:
                return
            if domain is not None and domain.power is Power.PAUSED:
                self._set_power(spec.server_id, Power.RUNNING)
                return
            self._refuse_what_libvirt_refuses(spec)
            self._write(_Domain(spec=spec, power=Power.SHUTDOWN))
            self._boot(spec)

    def ensure_paused(self, server_id: str) -> None:
        with self._call("ensure_paused"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                raise HostProblem(reason=f"the guest of server {server_id} does not run")
            self._set_power(server_id, Power.PAUSED)

    def retry_writes(self, server_id: str) -> bool:
        with self._call("retry_writes"):
            domain = self._read(server_id)
            if domain is None or domain.power is not Power.PAUSED or not domain.starved:
                return False
            domain.tries += 1
            domain.starved = (self._domains / f"{server_id}.full").exists()
            self._write(domain)
            if not domain.starved:
                self._set_power(server_id, Power.RUNNING)
            return True

    def ensure_suspended(self, server_id: str) -> None:
        with self._call("ensure_suspended"):
            domain = self._read(server_id)
            if domain is None or (domain.power is Power.SHUTDOWN and not domain.saved):
                raise HostProblem(reason=f"the guest of server {server_id} does not run")
            domain.saved = True
            self._write(domain)
            self._set_power(server_id, Power.SHUTDOWN)

    def ensure_resumed(self, spec: DomainSpec) -> None:
        with self._call("ensure_resumed"):
            domain = self._read(spec.server_id)
            if domain is None or not domain.saved:
                self.ensure_running(spec)
                return
            domain.saved = False
            self._write(domain)
            self._set_power(spec.server_id, Power.RUNNING)

    def copy_running_disk(self, server_id: str, target: str, copy: Path) -> bool:
        with self._call("copy_running_disk"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                return False
            copy.write_bytes(EMPTY_QCOW2)
            return True

    def ensure_stopped(self, server_id: str, *, grace_s: float) -> None:
        with self._call("ensure_stopped"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                return
            if self._obeys(grace_s):
                _log(domain.spec, "The system is going down (fake)")
            self._set_power(server_id, Power.SHUTDOWN)

    def ensure_absent(self, server_id: str) -> None:
        with self._call("ensure_absent"):
            self._arrivals.forget(server_id)
            if self._read(server_id) is not None:
                self._path(server_id).unlink(missing_ok=True)

    def reboot(self, server_id: str, *, grace_s: float) -> bool:
        with self._call("reboot"):
            domain = self._read(server_id)
            if domain is None or domain.power is not Power.RUNNING or not self._obeys(grace_s):
                return False
            self._set_power(server_id, Power.SHUTDOWN)
            self._boot(domain.spec)
            return True

    def ensure_device(self, server_id: str, device: Device) -> None:
        with self._call("ensure_device"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN or _find(domain, device):
                return
            taken = [disk.target for disk in domain.spec.disks]
            if not isinstance(device, Nic) and device.target in taken:
                raise HostProblem(reason=f"target {device.target} already exists")
            domain.spec = _with(domain.spec, device)
            self._write(domain)

    def ensure_no_device(self, server_id: str, device: Device, *, limit_s: float) -> None:
        with self._call("ensure_no_device"):
            domain = self._read(server_id)
            if domain is None or not _find(domain, device):
                return
            if domain.power is Power.PAUSED:
                raise HostProblem(reason="the guest is paused and cannot let the device go")
            domain.spec = _without(domain.spec, device)
            self._write(domain)

    def has_device(self, server_id: str, device: Device) -> bool:
        with self._call("has_device"):
            domain = self._read(server_id)
            on = domain is not None and domain.power is not Power.SHUTDOWN
            return on and domain is not None and _find(domain, device)

    def ensure_disk_size(self, server_id: str, disk: Disk, size_bytes: int) -> None:
        with self._call("ensure_disk_size"):
            return  # no guest is there to see it

    def move_disk(self, server_id: str, serial: str, name: str) -> None:
        with self._call("move_disk"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                return
            for disk in domain.spec.disks:
                if isinstance(disk, FileDisk) and disk.serial == serial:
                    path = str(Path(disk.path).with_name(name))
                    moved = msgspec.structs.replace(disk, path=path, format="qcow2")
                    domain.spec = _with(_without(domain.spec, disk), moved)
                    self._write(domain)

    def ensure_disk_moved(
        self,
        server_id: str,
        disk: Disk,
        *,
        ready: Callable[[], None],
        cancelled: threading.Event,
    ) -> None:
        with self._call("ensure_disk_moved"):
            domain = self._running(server_id)
            if not _find(domain, disk):
                raise HostProblem(reason=f"server {server_id} has no disk {disk.target}")
            if cancelled.is_set():
                raise HostProblem(reason=f"disk {disk.target} is not waited for any more")
            if disk not in domain.spec.disks:
                ready()
                domain.spec = _with(_without(domain.spec, disk), disk)
                self._write(domain)

    def end_disk_move(self, server_id: str, disk: Disk) -> bool | None:
        with self._call("end_disk_move"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN or not _find(domain, disk):
                return None
            return disk in domain.spec.disks

    def expect(self, spec: DomainSpec) -> DomainSpec:
        with self._call("expect"):
            self._refuse_what_libvirt_refuses(spec)
            return spec

    def ways_in(self, server_id: str) -> Ways:
        with self._call("ways_in"):
            return self._arrivals.expect(server_id)

    def ways_out(self, server_id: str) -> Ways:
        with self._call("ways_out"):
            return self._arrivals.ways(server_id)

    def forget_ways(self, server_id: str) -> None:
        self._arrivals.forget(server_id)

    def migrate(self, spec: DomainSpec, *, whole: bool, paused: bool, steer: Steer) -> None:
        with self._call("migrate"):
            domain = self._read(spec.server_id)
            if domain is None:
                return
            if domain.power is Power.SHUTDOWN:
                raise HostProblem(reason=f"the guest of server {spec.server_id} does not run")
        depart(self._arrivals.ways(spec.server_id), self.moving, steer, spec, domain.power)
        with self._lock:
            self._path(spec.server_id).unlink(missing_ok=True)

    def ensure_arrived(self, spec: DomainSpec, *, paused: bool) -> None:
        with self._call("ensure_arrived"):
            domain = self._read(spec.server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                raise HostProblem(reason=f"the guest of server {spec.server_id} has not come here")

    def ensure_stays(self, server_id: str, *, paused: bool) -> None:
        with self._call("ensure_stays"):
            return  # it never stood still

    def _take_in(self, spec: DomainSpec, power: Power) -> None:
        with self._call("take_in"):
            self._refuse_what_libvirt_refuses(spec)
            self._write(_Domain(spec=spec, power=power))

    def device_addresses(self, server_id: str) -> Mapping[str, str]:
        with self._call("device_addresses"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                return {}
            names = [disk.target for disk in domain.spec.disks if not disk.cdrom]
            names += [nic.mac for nic in domain.spec.nics]
            return {name: f"0000:{bus:02x}:00.0" for bus, name in enumerate(names, start=1)}

    def diagnostics(self, server_id: str) -> Diagnostics | None:
        with self._call("diagnostics"):
            domain = self._read(server_id)
            if domain is None or domain.power is Power.SHUTDOWN:
                return None
            spec = domain.spec
            return Diagnostics(
                virt_type="qemu",
                cpu_times_ns=[0] * spec.vcpus,
                memory_mb=spec.memory_mb,
                memory_used_mb=0,
                memory_stats={},
                disks=[DiskUse(target=disk.target) for disk in spec.disks],
                nics=[NicUse(tap=nic.tap, mac=nic.mac) for nic in spec.nics],
            )

    def inject_nmi(self, server_id: str) -> None:
        with self._call("inject_nmi"):
            _log(self._running(server_id).spec, "Uhhuh. NMI received (fake)")

    def set_password(self, server_id: str, user: str, password: str) -> None:
        with self._call("set_password"):
            if not self._guests_have_agent:
                self._running(server_id)
                raise Conflict(reason="the guest's agent does not answer")
            _log(self._running(server_id).spec, f"passwd: {user}'s password has changed (fake)")

    def console_tail(self, console_log: Path, *, max_bytes: int) -> bytes:
        with self._call("console_tail"):
            try:
                content = console_log.read_bytes()
            except FileNotFoundError:
                return b""
            return content[max(0, len(content) - max_bytes) :]

    def open_console(self, server_id: str, kind: str) -> socket.socket | None:
        port = self.vnc_port(server_id)
        return None if port is None else socket.create_connection(("127.0.0.1", port), 5.0)

    def vnc_port(self, server_id: str) -> int | None:
        with self._call("vnc_port"):
            domain = self._read(server_id)
            running = domain is not None and domain.power is Power.RUNNING
            return self._vnc_port if running else None

    def on_lifecycle(self, callback: Callable[[str, Power], None]) -> None:
        """Tells of changes made through this object only."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Nothing is open."""

    # -- inside ----------------------------------------------------------------------------------
    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        with self._lock:
            fault = self._due_fault(method)
            if fault is None:
                yield
            elif fault.after:
                yield
                raise HostProblem(reason=fault.reason)
            else:
                raise HostProblem(reason=fault.reason)

    def _due_fault(self, method: str) -> _Fault | None:
        faults = self._read_faults()
        fault = faults.get(method)
        if fault is None:
            return None
        due = fault.skip == 0
        if due:
            fault.times -= 1
        else:
            fault.skip -= 1
        if fault.times == 0:
            del faults[method]
        _write(self._faults, msgspec.json.encode(faults))
        return fault if due else None

    def _refuse_what_libvirt_refuses(self, spec: DomainSpec) -> None:
        if not spec.name:
            raise HostProblem(reason="a domain needs a name")
        for disk in spec.disks:
            if isinstance(disk, FileDisk) and not Path(disk.path).exists():
                raise HostProblem(
                    reason=f"disk {disk.target} of server {spec.server_id} is missing: "
                    f"there is no file {disk.path} on this host"
                )
        if spec.name == domain_name(spec.server_id):
            return  # unique by construction: no need to read every other domain
        for path in self._domains.glob("*.json"):
            other = self._read(path.stem) if path.stem != spec.server_id else None
            if other is not None and other.spec.name == spec.name:
                raise HostProblem(
                    reason=f"domain {spec.name!r} already exists with uuid {path.stem}"
                )

    def _running(self, server_id: str) -> _Domain:
        domain = self._read(server_id)
        if domain is None or domain.power is Power.SHUTDOWN:
            raise HostProblem(reason=f"the guest of server {server_id} does not run")
        return domain

    def _obeys(self, grace_s: float) -> bool:
        """Whether a guest that is asked to go off does so in time."""
        return self._guests_obey_shutdown and grace_s > 0

    def _boot(self, spec: DomainSpec) -> None:
        _log(spec, f"Booting {spec.title or spec.name} (fake)")
        _log(spec, f"{spec.name} login: ")
        self._set_power(spec.server_id, Power.RUNNING)

    def _set_power(self, server_id: str, power: Power) -> None:
        domain = self._read(server_id)
        if domain is None:
            raise HostProblem(reason=f"there is no domain {server_id}")
        domain.power = power
        self._write(domain)
        for callback in tuple(self._callbacks):
            callback(server_id, power)

    def _path(self, server_id: str) -> Path:
        return self._domains / f"{server_id}.json"

    def _read(self, server_id: str) -> _Domain | None:
        try:
            return msgspec.json.decode(self._path(server_id).read_bytes(), type=_Domain)
        except FileNotFoundError:
            return None

    def _write(self, domain: _Domain) -> None:
        _write(self._path(domain.spec.server_id), msgspec.json.encode(domain))

    def _read_faults(self) -> dict[str, _Fault]:
        try:
            return msgspec.json.decode(self._faults.read_bytes(), type=dict[str, _Fault])
        except FileNotFoundError:
            return {}


def _is(here: Device, device: Device) -> bool:
    """Whether both are the same device: a disk by its serial, a NIC by its TAP."""
    if isinstance(here, Nic) or isinstance(device, Nic):
        return isinstance(here, Nic) and isinstance(device, Nic) and here.tap == device.tap
    return here.serial == device.serial


def _find(domain: _Domain, device: Device) -> bool:
    return any(_is(here, device) for here in (*domain.spec.disks, *domain.spec.nics))


def _with(spec: DomainSpec, device: Device) -> DomainSpec:
    if isinstance(device, Nic):
        return msgspec.structs.replace(spec, nics=[*spec.nics, device])
    return msgspec.structs.replace(spec, disks=[*spec.disks, device])


def _without(spec: DomainSpec, device: Device) -> DomainSpec:
    return msgspec.structs.replace(
        spec,
        disks=[disk for disk in spec.disks if not _is(disk, device)],
        nics=[nic for nic in spec.nics if not _is(nic, device)],
    )


def _log(spec: DomainSpec, line: str) -> None:
    log = Path(spec.console_log)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, whenever this process is killed."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(content)
    part.replace(path)
