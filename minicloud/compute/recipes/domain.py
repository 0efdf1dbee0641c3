"""Step 28 and what else is done to the domain itself."""

from __future__ import annotations

import time

from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.volumes import targets
from minicloud.domain.ids import domain_name
from minicloud.kit import clock
from minicloud.virt.driver import Disk, DomainSpec, FileDisk


def spec_of(job: Job) -> DomainSpec:
    """The domain as the hypervisor has to run it; disks and NICs are ready."""
    storage, server = job.tools.storage, job.server
    volumes = {disk.target: disk for disk in job.volume_disks}
    disks: list[Disk] = [
        FileDisk(path=str(storage.root_disk(server.id)), format="qcow2", target="vda", boot_index=1)
    ]
    for index, (device, target) in enumerate(targets(job)):
        if device.destination_type == "local":
            path = str(storage.ephemeral_disk(server.id, index))
            disks.append(FileDisk(path=path, format="qcow2", target=target))
        else:
            disks.append(volumes[target])
    if job.has_config_drive:
        path = str(storage.config_drive(server.id))
        disks.append(FileDisk(path=path, format="raw", target="sda", readonly=True, cdrom=True))
    return DomainSpec(
        server_id=server.id,
        name=domain_name(server.id),
        title=server.name,
        vcpus=server.flavor.vcpus,
        memory_mb=server.flavor.ram,
        disks=disks,
        nics=job.nics,
        console_log=str(storage.console_log(server.id)),
        project_id=server.project_id,
        flavor_name=server.flavor.name,
    )


def ensure_domain(job: Job) -> None:
    """The guest runs."""
    started, watch = clock.now(), time.perf_counter()
    job.tools.driver.ensure_running(spec_of(job))
    job.journal.step(28, started, time.perf_counter() - watch)


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
