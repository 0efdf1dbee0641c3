"""Step 28 and what else is done to the domain itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.ports import ensure_ports
from minicloud.compute.recipes.volumes import ensure_volumes
from minicloud.domain.ids import domain_name
from minicloud.kit import clock
from minicloud.virt.driver import Disk, DomainSpec, FileDisk


def spec_of(job: Job) -> DomainSpec:
    """The domain as the hypervisor has to run it; disks and NICs are ready."""
    storage, server = job.tools.storage, job.server
    disks: list[Disk] = []
    if server.root_volume is None:
        path = str(storage.root_disk(server.id))
        disks.append(FileDisk(path=path, format="qcow2", target="vda", boot_index=0))
    for disk in server.block_devices:
        if disk.is_volume:
            disks.append(job.volume_disks[disk.number])
        else:
            path = str(storage.ephemeral_disk(server.id, disk.number))
            disks.append(FileDisk(path=path, format="qcow2", target=disk.device, bus=disk.disk_bus))
    return _spec(job, disks)


def rescue_spec_of(job: Job) -> DomainSpec:
    """The domain that boots the rescue disk, with the server's root disk beside it."""
    storage, server = job.tools.storage, job.server
    disks = [
        FileDisk(
            path=str(storage.rescue_disk(server.id)), format="qcow2", target="vda", boot_index=0
        ),
        FileDisk(path=str(storage.root_disk(server.id)), format="qcow2", target="vdb"),
    ]
    return _spec(job, disks)


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
        disks=disks,
        nics=job.nics,
        console_log=str(storage.console_log(server.id)),
        project_id=server.project_id,
        flavor_name=flavor.name,
    )


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
