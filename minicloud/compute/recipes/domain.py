"""Step 28 and what else is done to the domain itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from minicloud.compute.recipes import limits
from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.ports import ensure_ports
from minicloud.compute.recipes.volumes import ensure_volumes
from minicloud.domain.ids import disk_name, domain_name
from minicloud.kit import clock
from minicloud.virt.driver import Disk, DomainSpec, FileDisk


def spec_of(job: Job) -> DomainSpec:
    """The domain as the hypervisor has to run it; disks and NICs are ready."""
    return _spec(job, _own_disks(job))


def _own_disks(job: Job) -> list[Disk]:
    storage, server = job.tools.storage, job.server
    disks: list[Disk] = []
    if server.root_volume is None:
        path = str(storage.root_disk(server.id))
        disks.append(FileDisk(path=path, format="qcow2", target="vda", boot_index=0))
    for disk in job.block_devices:
        if disk.is_volume:
            disks.append(job.volume_disks[disk.number])
        else:
            path = str(storage.ephemeral_disk(server.id, disk.number))
            disks.append(FileDisk(path=path, format="qcow2", target=disk.device, bus=disk.disk_bus))
    return disks


def rescue_spec_of(job: Job) -> DomainSpec:
    """The domain that boots the rescue disk, with the server's own beside it: its root disk alone
    behind it, or where the rescue image says so all of them at their places in front of it.
    """
    storage, server = job.tools.storage, job.server
    path, asked = str(storage.rescue_disk(server.id)), job.params.get("rescue_disk")
    if asked is None:
        rescue = FileDisk(path=path, format="qcow2", target="vda", boot_index=0)
        root = FileDisk(path=str(storage.root_disk(server.id)), format="qcow2", target="vdb")
        return _spec(job, [rescue, root])
    own = [msgspec.structs.replace(disk, boot_index=None) for disk in _own_disks(job)]
    cdrom, bus = asked["device"] == "cdrom", asked["bus"]
    rescue = FileDisk(
        path=path,
        format="qcow2",
        target=_free_target(own, virtio=bus in ("", "virtio") and not cdrom),
        boot_index=0,
        readonly=cdrom,
        cdrom=cdrom,
        bus=bus,
    )
    return _spec(job, [*own, rescue])


def _free_target(disks: Sequence[Disk], *, virtio: bool) -> str:
    """The first name that no disk has, nor the config drive would have."""
    taken = {"sda", *(disk.target for disk in disks)}
    letters = "vd" if virtio else "sd"
    names = (letters + disk_name(number)[2:] for number in range(1 << 10))
    return next(name for name in names if name not in taken)


def _spec(job: Job, disks: Sequence[Disk]) -> DomainSpec:
    storage, server, flavor = job.tools.storage, job.server, job.flavor
    if job.has_config_drive:
        path = str(storage.config_drive(server.id))
        drive = FileDisk(path=path, format="raw", target="sda", readonly=True, cdrom=True)
        disks = [*disks, drive]
    return DomainSpec(
        server_id=server.id,
        name=domain_name(server.id),
        title=server.name,
        vcpus=flavor.vcpus,
        memory_mb=flavor.ram,
        disks=_limited(disks, limits.disk_limits(flavor)),
        nics=job.nics,
        console_log=str(storage.console_log(server.id)),
        project_id=server.project_id,
        flavor_name=flavor.name,
        cpu_limits=limits.cpu_limits(flavor),
    )


def _limited(disks: Sequence[Disk], own: Mapping[str, int]) -> list[Disk]:
    """``disks``, of which those that are no volumes are kept to ``own``."""
    return [
        msgspec.structs.replace(disk, limits=own)
        if isinstance(disk, FileDisk) and not disk.foreign
        else disk
        for disk in disks
    ]


def ensure_domain(job: Job) -> None:
    """The guest runs."""
    started, watch = clock.now(), time.perf_counter()
    job.tools.driver.ensure_running(spec_of(job))
    job.journal.step(28, started, time.perf_counter() - watch)


def ensure_domain_as_before(job: Job) -> None:
    """The guest runs if it did before the operation; else it is off."""
    if job.was_on:
        job.tools.driver.ensure_running(spec_of(job))


def ensure_rescue_domain(job: Job) -> None:
    job.tools.driver.ensure_running(rescue_spec_of(job))


def resume_domain(job: Job) -> None:
    """The guest goes on where its suspension stopped it, or boots if that was lost."""
    job.tools.driver.ensure_resumed(spec_of(job))


def pause_domain(job: Job) -> None:
    job.tools.driver.ensure_paused(job.server.id)


def suspend_domain(job: Job) -> None:
    """The guest's memory is in a file and the guest is off."""
    job.tools.driver.ensure_suspended(job.server.id)


def drop_domain(job: Job) -> None:
    job.tools.driver.ensure_absent(job.server.id)


def stop_domain(job: Job) -> None:
    """The guest is off, by itself if it does so in time."""
    job.tools.driver.ensure_stopped(job.server.id, grace_s=job.tools.shutdown_s)


def cut_off_domain(job: Job) -> None:
    job.tools.driver.ensure_stopped(job.server.id, grace_s=0)


def reboot_domain(job: Job) -> None:
    """The guest reboots by itself, or is cut off and started when it does not."""
    if not job.tools.driver.reboot(job.server.id, grace_s=job.tools.shutdown_s):
        cut_off_domain(job)
        job.tools.driver.ensure_running(spec_of(job))


def start_again(job: Job) -> None:
    """The guest runs again if it did before the operation."""
    if job.was_on:
        ensure_ports(job)
        ensure_volumes(job)
        ensure_domain(job)
