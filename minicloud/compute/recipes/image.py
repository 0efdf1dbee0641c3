"""Steps 19 to 21: the image's metadata, and its bytes on this host."""

from __future__ import annotations

import time

from minicloud.compute.recipes.job import Job
from minicloud.kit import clock


def ensure_image_of_root(job: Job) -> None:
    """The base of a root disk that is still to be made is in this host's cache."""
    if not job.tools.storage.root_disk(job.server.id).exists():
        ensure_image(job)


def ensure_image(job: Job) -> None:
    """The base image of the server is in this host's cache, unless its root is a volume."""
    if job.server.root_volume is not None:
        return
    started, watch = clock.now(), time.perf_counter()
    found = job.clients.image.image_get(job.image_id)
    image = found.value
    job.journal.step(19, started, time.perf_counter() - watch, detail=image.name or image.id)
    job.journal.step(20, started, (found.token_ms or 0.0) / 1000, service="image")
    started, watch = clock.now(), time.perf_counter()
    fetched = job.tools.images.ensure(image, job.clients.image, server_id=job.server.id)
    detail = f"fetched {image.size} bytes" if fetched else "cached on this host"
    job.journal.step(21, started, time.perf_counter() - watch, detail=detail)
