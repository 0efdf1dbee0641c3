"""The server's own files: root disk, ephemeral disks, config drive."""

from __future__ import annotations

import msgspec

from minicloud.compute.recipes.job import Job
from minicloud.domain import metadata_docs


def ensure_place(job: Job) -> None:
    """The server has a directory here, from before anything else is made until all is gone.

    By it a host that was cut off half-way knows that there may be something to remove, here or
    at the other services.
    """
    job.tools.storage.ensure_dir(job.server.id)


def ensure_disks(job: Job) -> None:
    """Every file of the server is there."""
    storage, server = job.tools.storage, job.server
    storage.ensure_root(server.id, job.image_id, server.flavor.disk)
    for index, device in enumerate(server.block_devices):
        if device.destination_type == "local":
            storage.ensure_ephemeral(server.id, index, device.size_gb)
    ensure_config_drive(job)


def ensure_config_drive(job: Job) -> None:
    """The config drive is there, if the server has one; its NICs are known already."""
    storage, server = job.tools.storage, job.server
    if job.has_config_drive:
        wired = msgspec.structs.replace(server, nics=job.nic_infos)
        storage.ensure_config_drive(server.id, metadata_docs.documents(wired, mtus=job.mtus))


def local_disk_names(job: Job) -> list[str]:
    """The names, in the server's directory, of the disks that it keeps on its host."""
    storage, server = job.tools.storage, job.server
    paths = [storage.root_disk(server.id)]
    for index, device in enumerate(server.block_devices):
        if device.destination_type == "local":
            paths.append(storage.ephemeral_disk(server.id, index))
    return [path.name for path in paths]


def drop_disks(job: Job) -> None:
    job.tools.storage.remove(job.server.id)


def empty_place(job: Job) -> None:
    """No disk of the server is left; its console log is."""
    job.tools.storage.remove_disks(job.server.id)
