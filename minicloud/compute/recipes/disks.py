"""The server's own files: root disk, ephemeral disks, config drive."""

from __future__ import annotations

import msgspec

from minicloud.compute.recipes.job import Job
from minicloud.domain import metadata_docs


def ensure_disks(job: Job) -> None:
    """Every file of the server is there."""
    storage, server = job.tools.storage, job.server
    storage.ensure_dir(server.id)
    storage.ensure_root(server.id, server.image_id, server.flavor.disk)
    for index, device in enumerate(server.block_devices):
        if device.destination_type == "local":
            storage.ensure_ephemeral(server.id, index, device.size_gb)
    if job.has_config_drive:
        wired = msgspec.structs.replace(server, nics=job.nic_infos)
        storage.ensure_config_drive(server.id, metadata_docs.documents(wired, mtus=job.mtus))


def drop_disks(job: Job) -> None:
    job.tools.storage.remove(job.server.id)
