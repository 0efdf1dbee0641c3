"""The hypervisor driver over libvirt: which calls, in which order, make an end state true.

Holds the decisions (what is ours, what is refused, how long a guest is asked politely); the
definition is ``xml.py``'s, the calls and their errors are ``connection.py``'s, disk files are
``disks.py``'s. Each method may be repeated after being cut short anywhere.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.domain.models import Diagnostics
from minicloud.domain.states import Power
from minicloud.virt.driver import (
    Device,
    Disk,
    DomainInfo,
    DomainSpec,
    Driver,
    FileDisk,
    HostInfo,
    NbdDisk,
    Nic,
    Steer,
    Ways,
)
from minicloud.virt.libvirt import devices, layers, migration, moves, patience, starved, xml
from minicloud.virt.libvirt.connection import Connection, RawDomain
from minicloud.virt.libvirt.keyring import CephUser
from minicloud.virt.libvirt.secrets import Secrets
from minicloud.virt.libvirt.usage import diagnostics_of

LOG = logging.getLogger(__name__)
_ASK_AGAIN_S = 10.0
"""A guest that was still booting did not hear the first request."""
_CONNECT_S = 5.0
_LOOK_AGAIN_S = 1.0
"""In case an event was lost."""
_NOBODY = CephUser()


class LibvirtDriver(Driver):
    """Domains of the libvirt at ``uri`` on this host.

    ``virt_type`` is libvirt's domain type (``kvm`` or ``qemu``; ``test`` for test:///default)
    and ``virt_type_reason`` says why it was chosen: both come from ``virt.probe``. ``ceph``: with
    whose key guests open volumes in Ceph where these name no other.
    """

    def __init__(
        self,
        uri: str,
        virt_type: str,
        virt_type_reason: str,
        ceph: CephUser = _NOBODY,
        *,
        migrations: migration.Place | None = None,
    ) -> None:
        self._virt_type = virt_type
        self._virt_type_reason = virt_type_reason
        self._features = xml.HostFeatures(vhost_net=Path("/dev/vhost-net").exists())
        self._connection = Connection(uri)
        self._secrets = Secrets(self._connection, ceph)
        place = migrations or migration.Place()
        self._migrations = migration.Migrations(uri, self._connection, place)

    def host_info(self) -> HostInfo:
        cpu = xml.host_cpu(self._connection.capabilities())
        # libvirt adds up memory per NUMA node, which misses what was plugged in later.
        memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return HostInfo(
            hypervisor_type="KVM" if self._virt_type == "kvm" else "QEMU",
            hypervisor_version=self._connection.hypervisor_version(),
            vcpus=self._connection.cpu_count(),
            memory_mb=memory_bytes >> 20,
            cpu_arch=cpu.arch,
            cpu_model=cpu.model,
            virt_type=self._virt_type,
            virt_type_reason=self._virt_type_reason,
        )

    def list_domains(self) -> Sequence[DomainInfo]:
        return [
            DomainInfo(server_id=domain.uuid, power=domain.power)
            for domain in self._connection.domains()
            if domain.ours
        ]

    def get(self, server_id: str) -> DomainInfo | None:
        domain = self._ours(server_id)
        return DomainInfo(server_id=server_id, power=domain.power) if domain else None

    def ensure_running(self, spec: DomainSpec) -> None:
        domain = self._connection.find(spec.server_id)
        if domain is not None and not domain.ours:
            raise HostProblem(
                reason=f"domain {domain.name} has the id of server {spec.server_id} but was not "
                "made by minicloud; rename or remove it with virsh"
            )
        power = domain.power if domain else Power.NOSTATE
        if power is Power.PAUSED:
            self._connection.resume(spec.server_id)
        elif power is Power.SUSPENDED:
            self._connection.wake(spec.server_id)
        elif power is not Power.RUNNING:
            _check_disks(spec)
            _make_log_directory(spec)
            spec = self._with_secrets(spec)
            self._connection.define(
                xml.domain_xml(spec, virt_type=self._virt_type, features=self._features)
            )
            self._connection.start(spec.server_id)
            for disk in spec.disks:
                self._make_patient(spec.server_id, disk)

    def ensure_paused(self, server_id: str) -> None:
        domain = self._ours(server_id)
        if domain is not None and domain.power is Power.RUNNING:
            self._connection.pause(server_id)
            domain = self._ours(server_id)
        if domain is None or domain.power is not Power.PAUSED:
            raise HostProblem(reason=f"the guest of server {server_id} does not run")

    def retry_writes(self, server_id: str) -> bool:
        return self._ours(server_id) is not None and starved.retry_writes(
            self._connection, server_id
        )

    def ensure_suspended(self, server_id: str) -> None:
        domain = self._ours(server_id)
        if domain is not None and domain.power in (Power.RUNNING, Power.PAUSED):
            self._connection.save(server_id)
        if not self._connection.is_saved(server_id):
            raise HostProblem(reason=f"the guest of server {server_id} does not run")

    def ensure_resumed(self, spec: DomainSpec) -> None:
        domain = self._ours(spec.server_id)
        off = domain is not None and domain.power in (Power.SHUTDOWN, Power.NOSTATE)
        if off and self._connection.is_saved(spec.server_id):
            spec = self._with_secrets(spec)
            layers.restore_onto(self._connection, spec.server_id, spec.disks)
            self._connection.restore(spec.server_id)
            for disk in spec.disks:
                self._make_patient(spec.server_id, disk)
        else:
            self.ensure_running(spec)

    def copy_running_disk(self, server_id: str, target: str, copy: Path) -> bool:
        domain = self._ours(server_id)
        live = self._connection.live_definition(server_id) if domain is not None else None
        if live is None:
            return False
        copy.unlink(missing_ok=True)
        self._connection.copy_disk(server_id, xml.backup_xml(live, target, copy))
        return True

    def ensure_stopped(self, server_id: str, *, grace_s: float) -> None:
        if self._ask_to_stop(server_id, grace_s):
            return
        self._connection.destroy(server_id)

    def ensure_absent(self, server_id: str) -> None:
        self._migrations.forget_ways(server_id)
        domain = self._ours(server_id)
        if domain is None:
            return
        self._connection.destroy(server_id)
        self._connection.undefine(server_id)
        if self._connection.find(server_id) is not None:
            raise HostProblem(
                reason=f"domain {domain.name} is still there after its removal; "
                "libvirtd may just have been restarted: try again"
            )

    def reboot(self, server_id: str, *, grace_s: float) -> bool:
        """Off by the guest's own doing and on again: few guests obey libvirt's reboot call."""
        domain = self._ours(server_id)
        if domain is None or domain.power is not Power.RUNNING:
            return False
        stored = self._connection.stored_definition(server_id)
        for disk in xml.rbd_disks(stored) if stored is not None else ():
            self._secrets.ready(disk)
        if not self._ask_to_stop(server_id, grace_s):
            return False
        self._connection.start(server_id)
        return True

    def ensure_device(self, server_id: str, device: Device) -> None:
        if self._ours(server_id) is not None:
            device = device if isinstance(device, Nic) else self._secrets.ready(device)
            devices.ensure_device(self._connection, server_id, device, self._features)
            self._make_patient(server_id, device)

    def ensure_no_device(self, server_id: str, device: Device, *, limit_s: float) -> None:
        if self._ours(server_id) is not None:
            devices.ensure_no_device(self._connection, server_id, device, limit_s)
            if isinstance(device, NbdDisk) and self._is_running(server_id):
                patience.forget_unused(partial(self._connection.ask_qemu, server_id))

    def has_device(self, server_id: str, device: Device) -> bool:
        return devices.has_device(self._connection, server_id, device)

    def ensure_disk_size(self, server_id: str, disk: Disk, size_bytes: int) -> None:
        if self._ours(server_id) is None:
            return
        if isinstance(disk, NbdDisk) and disk.reconnect_s and self._is_running(server_id):
            patience.touch(partial(self._connection.ask_qemu, server_id), disk)
        self._connection.resize_disk(server_id, disk.target, size_bytes)

    def move_disk(self, server_id: str, serial: str, name: str) -> None:
        if self._ours(server_id) is not None:
            layers.move(self._connection, server_id, serial, name)

    def ensure_disk_moved(
        self,
        server_id: str,
        disk: Disk,
        *,
        ready: Callable[[], None],
        cancelled: threading.Event,
    ) -> None:
        if self._ours(server_id) is None:
            raise HostProblem(reason=f"the guest of server {server_id} does not run")
        disk = self._secrets.ready(disk)
        moves.ensure_moved(self._connection, server_id, disk, self._features, ready, cancelled)
        self._make_patient(server_id, disk)
        patience.forget_unused(partial(self._connection.ask_qemu, server_id))

    def end_disk_move(self, server_id: str, disk: Disk) -> bool | None:
        if self._ours(server_id) is None:
            return None
        return moves.end_move(self._connection, server_id, disk, self._features)

    def expect(self, spec: DomainSpec) -> DomainSpec:
        _check_disks(spec)
        _make_log_directory(spec)
        return self._with_secrets(spec)

    def ways_in(self, server_id: str) -> Ways:
        return self._migrations.ways_in(server_id)

    def ways_out(self, server_id: str) -> Ways:
        return self._migrations.ways_out(server_id)

    def forget_ways(self, server_id: str) -> None:
        self._migrations.forget_ways(server_id)

    def migrate(self, spec: DomainSpec, *, whole: bool, paused: bool, steer: Steer) -> None:
        self._migrations.migrate(spec, whole=whole, paused=paused, steer=steer)

    def ensure_arrived(self, spec: DomainSpec, *, paused: bool) -> None:
        try:
            has_come = self._has_arrived(spec.server_id, paused)
        except HostProblem as problem:
            raise Unavailable(service="libvirt", reason=problem.message) from problem
        if not has_come:
            raise HostProblem(reason=f"the guest of server {spec.server_id} has not come here")
        for disk in spec.disks:
            self._make_patient(spec.server_id, disk)

    def _has_arrived(self, server_id: str, paused: bool) -> bool:
        """Whether the guest is here; it may have gone off by itself since."""
        domain = self._ours(server_id)
        if domain is None:
            return False
        if domain.power is Power.RUNNING:
            return True
        has_come = self._migrations.has_come(server_id)
        if has_come and domain.power is Power.PAUSED and not paused:
            self._connection.resume(server_id)
        return has_come

    def ensure_stays(self, server_id: str, *, paused: bool) -> None:
        self._migrations.forget_ways(server_id)
        if self._ours(server_id) is None:
            return
        self._migrations.end_job(server_id)
        domain = self._ours(server_id)
        if domain is not None and domain.power is Power.PAUSED and not paused:
            self._connection.resume(server_id)

    def _make_patient(self, server_id: str, device: Device) -> None:
        """A guest that is off is told when it starts. What QEMU refuses leaves the disk as it is:
        it works, and only does not wait for an exporter.
        """
        if not isinstance(device, NbdDisk) or not device.reconnect_s:
            return
        if not self._is_running(server_id):
            return
        ask = partial(self._connection.ask_qemu, server_id)
        try:
            patient = patience.make_patient(ask, device, device.reconnect_s)
        except HostProblem as problem:
            LOG.warning("Disk %s of server %s: %s", device.target, server_id, problem.message)
        else:
            if not patient:
                LOG.warning(
                    "Disk %s of server %s does not wait for its exporter", device.target, server_id
                )

    def _with_secrets(self, spec: DomainSpec) -> DomainSpec:
        disks = [self._secrets.ready(disk) for disk in spec.disks]
        return msgspec.structs.replace(spec, disks=disks)

    def _is_running(self, server_id: str) -> bool:
        return self._connection.live_definition(server_id) is not None

    def device_addresses(self, server_id: str) -> Mapping[str, str]:
        live = self._connection.live_definition(server_id)
        return {} if live is None else xml.pci_addresses(live)

    def diagnostics(self, server_id: str) -> Diagnostics | None:
        live = self._connection.live_definition(server_id)
        stats = self._connection.stats(server_id)
        if live is None or stats is None:
            return None
        return diagnostics_of(stats, xml.macs_by_tap(live), self._virt_type)

    def inject_nmi(self, server_id: str) -> None:
        self._check_runs(server_id)
        self._connection.inject_nmi(server_id)

    def set_password(self, server_id: str, user: str, password: str) -> None:
        self._check_runs(server_id)
        self._connection.set_password(server_id, user, password)

    def _check_runs(self, server_id: str) -> None:
        if self._connection.live_definition(server_id) is None:
            raise HostProblem(reason=f"the guest of server {server_id} does not run")

    def console_tail(self, console_log: Path, *, max_bytes: int) -> bytes:
        tail = _read_tail(console_log, max_bytes)
        if len(tail) < max_bytes:
            # virtlogd has moved the older part aside.
            rotated = console_log.with_name(console_log.name + ".0")
            tail = _read_tail(rotated, max_bytes - len(tail)) + tail
        return tail

    def open_console(self, server_id: str, kind: str) -> socket.socket | None:
        if kind == "serial":
            domain = self._ours(server_id)
            on = domain is not None and domain.power in (Power.RUNNING, Power.PAUSED)
            return self._connection.open_serial(server_id) if on else None
        port = self.vnc_port(server_id)
        if port is None:
            return None
        try:
            screen = socket.create_connection(("127.0.0.1", port), _CONNECT_S)
        except OSError as problem:
            raise HostProblem(
                reason=f"the guest's screen cannot be reached: {type(problem).__name__}"
            ) from problem
        screen.settimeout(None)
        return screen

    def vnc_port(self, server_id: str) -> int | None:
        if self._ours(server_id) is None:
            return None
        live = self._connection.live_definition(server_id)
        return None if live is None else xml.vnc_port(live)

    def on_lifecycle(self, callback: Callable[[str, Power], None]) -> None:
        self._connection.on_lifecycle(callback)

    def close(self) -> None:
        self._connection.close()

    def _ours(self, server_id: str) -> RawDomain | None:
        domain = self._connection.find(server_id)
        return domain if domain is not None and domain.ours else None

    def _ask_to_stop(self, server_id: str, grace_s: float) -> bool:
        """Ask the guest to go off until it is or ``grace_s`` is over; whether it is off."""
        deadline = time.monotonic() + grace_s
        ask_at = time.monotonic()
        while True:
            seen = self._connection.changes()
            domain = self._ours(server_id)
            if domain is None or domain.power in (Power.SHUTDOWN, Power.CRASHED, Power.NOSTATE):
                return True
            now = time.monotonic()
            if now >= deadline or domain.power is not Power.RUNNING:
                return False
            if now >= ask_at:
                self._connection.request_shutdown(server_id)
                ask_at = now + _ASK_AGAIN_S
            self._connection.wait_for_change(seen, min(_LOOK_AGAIN_S, deadline - now))


def _check_disks(spec: DomainSpec) -> None:
    for disk in spec.disks:
        if isinstance(disk, FileDisk) and not disk.foreign and not Path(disk.path).exists():
            raise HostProblem(
                reason=f"disk {disk.target} of server {spec.server_id} is missing: "
                f"there is no file {disk.path} on this host"
            )


def _make_log_directory(spec: DomainSpec) -> None:
    directory = Path(spec.console_log).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostProblem(
            reason=f"the console log's directory {directory} cannot be made: {error.strerror}"
        ) from error


def _read_tail(path: Path, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - max_bytes))
            return stream.read(max_bytes)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise HostProblem(
            reason=f"the console log {path} cannot be read: {error.strerror}"
        ) from error
