"""Disks that grow, or go to another host, and the way back.

Between hosts a disk travels through the image service, as an image of this service's own whose id
can be computed again: hosts need no way to each other, and either may be away for a while. On one
host the disks from before are kept in files of their own until the resize is confirmed. Swap
space of another size is another disk, made anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from minicloud.compute.recipes.disks import ensure_local_disks, local_disk_names
from minicloud.compute.recipes.job import Job
from minicloud.compute.recipes.snapshot import drop_shelved_image
from minicloud.compute.recipes.volume_images import drop_unfinished_images
from minicloud.compute.recipes.volumes import release_volumes
from minicloud.domain.errors import NotFound
from minicloud.domain.ids import derive
from minicloud.domain.models import BlockDevice

_MOVES = "minicloud_moves"
"""Property of an image that is a disk on its way: the server's id."""


def send_disks(job: Job) -> None:
    """The server's disks are at the image service, unless it stays on this host."""
    storage, server = job.tools.storage, job.server
    if _stays(job):
        storage.forget_kept(server.id)  # of a resize that never came to its end
        return
    client = job.clients.own_image
    for name in local_disk_names(job):
        image_id = _image_id(job, name)
        try:
            status = client.image_get(image_id).value.status
        except NotFound:
            client.image_create(
                f"minicloud-move-{name}",
                image_id=image_id,
                disk_format="qcow2",
                properties={_MOVES: server.id},
            )
            status = "queued"
        if status != "active":
            client.image_upload(image_id, storage.copy_disk(server.id, name))
        storage.drop_copy(server.id, name)


def release_if_leaving(job: Job) -> None:
    if not _stays(job):
        release_volumes(job)


def fetch_disks(job: Job) -> None:
    """The disks that the server had on another host are here; on one host, the old are kept."""
    storage, server = job.tools.storage, job.server
    if _stays(job):
        for name in local_disk_names(job):
            storage.keep_disk(server.id, name)
        return
    client = job.clients.own_image
    for name in local_disk_names(job):
        target = storage.disk_named(server.id, name)
        if not target.exists():
            image = client.image_get(_image_id(job, name)).value
            client.image_download(image.id, target, image)


def grow_disks(job: Job) -> None:
    """Disks that are files are as large as the flavor says, and none is missing; none shrinks."""
    storage, server = job.tools.storage, job.server
    if server.root_volume is None:
        storage.grow_disk(server.id, storage.root_disk(server.id).name, job.flavor.disk)
    ensure_local_disks(job)
    for disk in job.block_devices:
        if disk.is_ephemeral:
            name = storage.ephemeral_disk(server.id, disk.number).name
            storage.grow_disk(server.id, name, disk.size_gb)


def drop_sent_disks(job: Job) -> None:
    """Nothing is left of the journey at the image service."""
    if _stays(job):
        return
    for name in local_disk_names(job):
        with contextlib.suppress(NotFound):
            job.clients.own_image.image_delete(_image_id(job, name))


def drop_images(job: Job) -> None:
    """Nothing is kept of the server at the image service: its end."""
    drop_shelved_image(job)
    drop_unfinished_images(job)
    if job.params.get("moves_failed"):
        # What was on its way then may be there still.
        for image in job.clients.own_image.images_by_properties(**{_MOVES: job.server.id}).value:
            with contextlib.suppress(NotFound):
                job.clients.own_image.image_delete(image.id)


def put_back(job: Job) -> None:
    """This host is as it was before the server came, or grew, here."""
    if _stays(job):
        _restore_disks(job, job.server.block_devices)
    else:
        leave_host(job)


def leave_resized(job: Job) -> None:
    """A revert: the server is not here any more, or has the disk from before."""
    kept = job.server.resized
    if kept is not None and kept.host == job.tools.name:
        _restore_disks(job, job.block_devices)
    else:
        release_volumes(job)
        leave_host(job)


def leave_host(job: Job) -> None:
    """Nothing of the server is on this host; what is elsewhere stays."""
    job.tools.driver.ensure_absent(job.server.id)
    for port_id in {nic.port_id for nic in job.server.nics} | {nic.port_id for nic in job.nics}:
        job.tools.network.ensure_no_port(port_id)
    job.tools.storage.remove(job.server.id)


def forget_kept_disks(job: Job) -> None:
    """The server keeps its disks as they are now, and no other is left."""
    job.tools.storage.forget_kept(job.server.id)
    _drop_other_disks(job, job.server.block_devices)


def _restore_disks(job: Job, disks: Sequence[BlockDevice]) -> None:
    """The server's guest is off, and it has ``disks`` as they were before the resize."""
    job.tools.driver.ensure_stopped(job.server.id, grace_s=0)
    job.tools.storage.restore_kept(job.server.id)
    _drop_other_disks(job, disks)


def _drop_other_disks(job: Job, disks: Sequence[BlockDevice]) -> None:
    numbers = {disk.number for disk in disks if not disk.is_volume}
    job.tools.storage.drop_other_disks(job.server.id, numbers)


def _stays(job: Job) -> bool:
    return bool(job.params["to"] == job.server.host)


def _image_id(job: Job, name: str) -> str:
    return derive(job.operation.id, "disk", name)
