"""A server's root disk as an image: copied as it is at one moment, then uploaded.

The image's id is the operation's, so that no more than the operation has to outlive its request. A
failure removes the image again, so that none stays queued for ever.
"""

from __future__ import annotations

import contextlib

from minicloud.compute.recipes.job import Job
from minicloud.domain.errors import NotFound


def ensure_image_record(job: Job) -> None:
    """The image is there, its owner's, and waits for what it is to have."""
    image_id = job.params.get("image_id")
    if not image_id:
        return  # the root disk is a volume, which keeps itself
    client, params = job.clients.image, job.params
    try:
        client.image_get(image_id)
    except NotFound:
        client.image_create(
            params["name"],
            image_id=image_id,
            owner=job.operation.project_id,
            disk_format=params.get("disk_format", "raw"),
            min_disk=params.get("min_disk", 0),
            properties=params["properties"],
        )


def copy_root_disk(job: Job) -> None:
    """A flat copy of the root disk is in a file; a guest that runs goes on meanwhile."""
    if not job.params.get("image_id"):
        return  # the root disk is a volume, which keeps itself
    storage, server = job.tools.storage, job.server
    copy = storage.snapshot(server.id)
    if copy.exists():
        return
    part = copy.with_name(copy.name + ".part")
    if job.tools.driver.copy_running_disk(server.id, "vda", part):
        part.replace(copy)
    else:
        storage.copy_root(server.id)


def upload_copy(job: Job) -> None:
    """The image has the copy's bytes."""
    image_id = job.params.get("image_id")
    if not image_id:
        return
    if job.clients.image.image_get(image_id).value.status != "active":
        job.clients.image.image_upload(image_id, job.tools.storage.snapshot(job.server.id))


def drop_copy(job: Job) -> None:
    copy = job.tools.storage.snapshot(job.server.id)
    for path in (copy, copy.with_name(copy.name + ".part")):
        path.unlink(missing_ok=True)


def drop_image(job: Job) -> None:
    """The image that could not be finished is gone."""
    image_id = job.params.get("image_id")
    if image_id:
        with contextlib.suppress(NotFound):
            job.clients.image.image_delete(image_id)


def rotate_backups(job: Job) -> None:
    """Of the server's backups of this kind the newest ``rotation`` stay."""
    found = job.clients.image.images_by_properties(
        image_type="backup",
        instance_uuid=job.server.id,
        backup_type=job.params["backup_type"],
    ).value
    newest_first = sorted(found, key=lambda image: image.created_at, reverse=True)
    for image in newest_first[job.params["rotation"] :]:
        with contextlib.suppress(NotFound):
            job.clients.image.image_delete(image.id)


def drop_shelved_image(job: Job) -> None:
    """The server has a root disk again: the image it was kept in is of no use any more."""
    if job.server.shelved_image_id:
        with contextlib.suppress(NotFound):
            job.clients.image.image_delete(job.server.shelved_image_id)
