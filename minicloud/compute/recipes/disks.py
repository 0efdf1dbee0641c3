"""The server's own files: root disk, ephemeral disks, config drive."""

from __future__ import annotations

import msgspec

from minicloud.compute.recipes.job import Job
from minicloud.domain import metadata_docs
from minicloud.domain.disks import resized_disks


def ensure_place(job: Job) -> None:
    """The server has a directory here, from before anything else is made until all is gone.

    By it a host that was cut off half-way knows that there may be something to remove, here or
    at the other services.
    """
    job.tools.storage.ensure_dir(job.server.id)


def ensure_disks(job: Job) -> None:
    """Every file of the server is there."""
    storage, server = job.tools.storage, job.server
    if server.root_volume is None:
        storage.ensure_root(server.id, job.image_id, server.flavor.disk)
    ensure_local_disks(job)
    ensure_config_drive(job)


def ensure_local_disks(job: Job) -> None:
    """The server's disks besides the root that are files are there."""
    storage, server = job.tools.storage, job.server
    ephemerals = 0
    for disk in job.block_devices:
        if disk.is_swap:
            storage.ensure_swap(server.id, disk.number, disk.swap_mb)
        elif disk.is_ephemeral:
            storage.ensure_ephemeral(
                server.id,
                disk.number,
                disk.size_gb,
                filesystem=disk.guest_format or "ext4",
                label=f"ephemeral{ephemerals}",
            )
            ephemerals += 1


def ensure_config_drive(job: Job) -> None:
    """The config drive is there, if the server has one; its NICs are known already."""
    storage, server = job.tools.storage, job.server
    if job.has_config_drive:
        wired = msgspec.structs.replace(server, nics=job.nic_infos, volumes=job.volumes)
        storage.ensure_config_drive(server.id, metadata_docs.documents(wired, mtus=job.mtus))


def local_disk_names(job: Job) -> list[str]:
    """The names, in the server's directory, of its disks that are files, and that a resize
    leaves it.
    """
    storage, server = job.tools.storage, job.server
    paths = [] if server.root_volume is not None else [storage.root_disk(server.id)]
    kept = resized_disks(server.block_devices, server.flavor, job.wanted_flavor)
    had = {disk.number for disk in server.block_devices if not disk.is_volume}
    for disk in kept:
        if disk.number in had:
            paths.append(storage.ephemeral_disk(server.id, disk.number))
    return [path.name for path in paths]


def drop_disks(job: Job) -> None:
    job.tools.storage.remove(job.server.id)


def empty_place(job: Job) -> None:
    """No disk of the server is left; its console log is."""
    job.tools.storage.remove_disks(job.server.id)
