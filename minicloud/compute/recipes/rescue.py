"""The disk that a rescued server boots from, beside its own."""

from __future__ import annotations

from minicloud.compute.recipes.job import Job


def ensure_rescue_image(job: Job) -> None:
    image = job.clients.image.image_get(job.params["image_id"]).value
    job.tools.images.ensure(image, job.clients.image, server_id=job.server.id)


def ensure_rescue_disk(job: Job) -> None:
    job.tools.storage.ensure_rescue(job.server.id, job.params["image_id"])


def drop_rescue_disk(job: Job) -> None:
    """The guest has been cut off first."""
    job.tools.driver.ensure_stopped(job.server.id, grace_s=0)
    job.tools.storage.rescue_disk(job.server.id).unlink(missing_ok=True)
