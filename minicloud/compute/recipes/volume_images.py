"""A server on a root volume as an image: snapshots of its volumes, and the image that names them.

The image has no bytes. Its id is the operation's, and a snapshot made for it carries that in its
metadata, so a step that may have made either can look for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.client.volume import Snapshot
from minicloud.compute.recipes.job import Job
from minicloud.domain.errors import HostProblem, NotAllowed, NotFound
from minicloud.domain.models import BlockDevice

IMAGE_KEY = "minicloud-image"
_READY_S = 600.0


def ensure_snapshots(job: Job) -> None:
    """Every volume of the server has a whole snapshot. HostProblem; NotAllowed: the quota."""
    image_id, client = job.params["image_id"], job.clients.volume
    known = {snapshot.volume_id for snapshot in _snapshots(job, image_id)}
    for disk in _volumes(job):
        if disk.volume_id not in known:
            with job.lend_guest():
                client.snapshot_create(
                    job.server.project_id,
                    disk.volume_id,
                    f"snapshot for {job.params['name']}",
                    metadata={IMAGE_KEY: image_id},
                )
    for snapshot in _settled(job, image_id):
        if snapshot.status != "available":
            raise HostProblem(
                reason=f"the snapshot of volume {snapshot.volume_id} is {snapshot.status}"
            )


def ensure_image_of_snapshots(job: Job) -> None:
    """The image names the snapshots, and can be launched."""
    client, image_id = job.clients.image, job.params["image_id"]
    if client.image_get(image_id).value.status != "queued":
        return
    snapshots = {each.volume_id: each.id for each in _snapshots(job, image_id)}
    entries = [_entry(disk, snapshots[disk.volume_id]) for disk in _volumes(job)]
    mapping = msgspec.json.encode(entries).decode()
    client.image_update(image_id, {"bdm_v2": "True", "block_device_mapping": mapping})
    client.image_activate(image_id)


def drop_snapshots(job: Job) -> None:
    """No snapshot made for the image is left."""
    _drop_snapshots_of(job, job.params["image_id"])


def drop_unfinished_images(job: Job) -> None:
    """Nothing is left of the images in whose middle this delete came; a whole one stays its
    user's, unless it was only to keep the server.
    """
    client = job.clients.image
    images = job.params["images"] if "images" in job.params else _unfinished(job)
    for image_id, verb in images.items():
        with contextlib.suppress(NotFound):
            if verb != "shelve" and client.image_get(image_id).value.status == "active":
                continue
        _drop_snapshots_of(job, image_id)
        with contextlib.suppress(NotFound, NotAllowed):
            client.image_delete(image_id)


def _unfinished(job: Job) -> Mapping[str, str]:
    """Image id -> verb, of a server whose records were deleted while no host was up."""
    found = job.clients.own_image.images_by_properties(instance_uuid=job.server.id).value
    return {
        image.id: "createImage"
        for image in found
        if image.owner == job.server.project_id and image.status in ("queued", "saving")
    }


def _drop_snapshots_of(job: Job, image_id: str) -> None:
    for snapshot in _settled(job, image_id):
        with contextlib.suppress(NotFound):
            job.clients.volume.snapshot_delete(snapshot.id)
    left = _settled(job, image_id)
    if left:
        raise HostProblem(reason=f"snapshot {left[0].id} cannot be deleted: {left[0].status}")


def _volumes(job: Job) -> Sequence[BlockDevice]:
    return [disk for disk in job.server.block_devices if disk.volume_id]


def _snapshots(job: Job, image_id: str) -> Sequence[Snapshot]:
    """Those made for the image. Users write metadata: of the server's volumes alone."""
    found = job.clients.volume.snapshots_by_metadata(IMAGE_KEY, image_id).value
    ours = {disk.volume_id for disk in _volumes(job)}
    return [each for each in found if each.volume_id in ours]


def _settled(job: Job, image_id: str) -> Sequence[Snapshot]:
    """The snapshots when none is being made or deleted any more. HostProblem."""
    give_up_at = time.monotonic() + _READY_S
    pause = 0.05
    while True:
        found = _snapshots(job, image_id)
        if all(snapshot.status not in ("creating", "deleting") for snapshot in found):
            return found
        with job.lend_guest():
            cancelled = job.cancelled.wait(pause)
        if cancelled or time.monotonic() > give_up_at:
            raise HostProblem(reason=f"the snapshots for image {image_id} are not ready")
        pause = min(pause * 2, 1.0)


def _entry(disk: BlockDevice, snapshot_id: str) -> dict[str, Any]:
    """A disk in the property block_device_mapping, as Nova writes it."""
    return {
        "source_type": "snapshot",
        "destination_type": "volume",
        "snapshot_id": snapshot_id,
        "boot_index": disk.boot_index,
        "volume_size": disk.size_gb or None,
        "delete_on_termination": disk.delete_on_termination,
        "device_type": "disk",
        "tag": disk.tag or None,
    }
