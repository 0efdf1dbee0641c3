"""Volumes and images: a volume's bytes as a new image, and an image's bytes over a volume.

What a request asked for stands in the volume's row as its goal, so a daemon that starts after a
kill goes on with it. An image that was already given its bytes is not given them twice.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import (
    Conflict,
    HostProblem,
    Invalid,
    MinicloudError,
    Unauthenticated,
    Unavailable,
)
from minicloud.domain.ids import derive
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.volume import messages, store
from minicloud.volume.backends import Backends, qemu_img
from minicloud.volume.filling import Filling
from minicloud.volume.guests import Guests
from minicloud.volume.images import Images, check_fits, image_metadata
from minicloud.volume.jobs import Jobs
from minicloud.volume.live import LiveVolumes
from minicloud.volume.records import Volume
from minicloud.volume.scratch import Scratch
from minicloud.volume.service import VolumeService, refused
from minicloud.volume.states import VolumeStatus

LOG = logging.getLogger(__name__)
UPLOADED = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhdx": "vhdx",
            "vhd": "vpc"}  # fmt: skip
"""Disk formats that an image can be made in -> how QEMU calls them."""
_OF_THE_OLD = ("image_id", "image_name", "checksum", "container_format", "disk_format", "min_disk",
               "min_ram", "size")  # fmt: skip


class Imaging:
    def __init__(
        self,
        database: Database,
        backends: Backends,
        live: LiveVolumes,
        images: Images,
        filling: Filling,
        volumes: VolumeService,
        guests: Guests,
        jobs: Jobs,
        scratch: Scratch,
    ) -> None:
        self._database, self._backends, self._live = database, backends, live
        self._images, self._filling, self._scratch = images, filling, scratch
        self._volumes, self._guests, self._jobs = volumes, guests, jobs

    # -- a volume as an image --------------------------------------------------------------------
    def upload(
        self,
        ctx: Context,
        volume_id: str,
        *,
        name: str,
        disk_format: str,
        container_format: str,
        force: bool,
        visibility: str | None,
        protected: bool | None,
    ) -> tuple[Volume, Mapping[str, Any]]:
        """Begin to make an image of the volume: (the volume, the image). Invalid: the volume is
        in use, unless ``force``, or the format is none.
        """
        if disk_format not in UPLOADED:
            raise Invalid(reason=f"Invalid disk_format: use one of {', '.join(UPLOADED)}.")
        if container_format != "bare":
            raise Invalid(reason="Invalid container_format: use bare.")
        volume = self._volumes.get(ctx, volume_id)
        allowed = ["available", *(["in-use"] if force else [])]
        if volume.status not in allowed:
            raise refused(volume, "upload", allowed)
        wanted: dict[str, Any] = {
            "name": name,
            "disk_format": disk_format,
            "container_format": container_format,
            "min_disk": volume.size_gb,
            **{
                key: value for key, value in volume.image_metadata.items() if key not in _OF_THE_OLD
            },
        }
        if visibility is not None:
            wanted["visibility"] = visibility
        image = self._images.create(ctx, wanted)
        goal = {"image_id": image["id"], "disk_format": disk_format, "protected": bool(protected)}
        try:
            with self._database.write() as tx:
                volume = self._volumes.held(tx, ctx, volume_id)
                if volume.status not in allowed:
                    raise refused(volume, "upload", allowed)
                self._volumes.move(tx, volume, "upload", {"goal": goal})
        except MinicloudError:
            self._images.remove(image["id"])
            raise
        volume = self._volumes.get(ctx, volume_id)
        if volume.host == self._volumes.host:
            self.finish_uploading(volume)
        return volume, image

    def finish_uploading(self, volume: Volume) -> None:
        self._jobs.submit(volume.backend, f"upload {volume.id}", lambda: self._upload(volume))

    def _upload(self, volume: Volume) -> None:
        goal = volume.goal or {}
        image_id = str(goal.get("image_id", ""))
        problem: MinicloudError | None = None
        try:
            if self._images.status(image_id) in ("queued", "saving"):
                self._send(volume, image_id, UPLOADED[str(goal["disk_format"])])
        except (Unavailable, Unauthenticated, Conflict):
            raise  # the image service is away, or has not missed us yet: the pass tries again
        except MinicloudError as failed:
            problem = failed
            LOG.error("Volume %s is not uploaded: %s", volume.id, failed.message)
            self._images.remove(image_id)
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            if store.volume_follow(tx, volume.id, after=VolumeStatus.UPLOADING) and problem:
                messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)

    def _send(self, volume: Volume, image_id: str, kind: str) -> None:
        """From a snapshot taken for it, so that a guest may go on writing."""
        backend = self._backends.of(volume)
        moment = derive("upload", image_id)
        with self._live.moment(backend, moment, volume) as source, self._scratch.file() as path:
            qemu_img.copy(source, path, kind)
            self._images.put(image_id, path)

    # -- an image over a volume ------------------------------------------------------------------
    def reimage(self, ctx: Context, volume_id: str, image_id: str, *, reserved: bool) -> None:
        """Replace what the volume has by the image. Invalid: it is in use, reserved unless
        ``reserved``, or too small.
        """
        image = self._images.describe(ctx, image_id)
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            if volume.status == VolumeStatus.RESERVED.value and not reserved:
                raise refused(volume, "reimage", ["available", "error"])
            check_fits(image, volume.size_gb)
            self._volumes.move(tx, volume, "reimage", {"goal": {"reimage": image_id}})
            store.image_metadata_remove(tx, volume_id)
            store.image_metadata_put(tx, volume_id, image_metadata(image))
        volume = self._volumes.get(ctx, volume_id)
        if volume.host == self._volumes.host:
            self.finish_reimaging(volume)

    def finish_reimaging(self, volume: Volume) -> None:
        self._jobs.submit(volume.backend, f"reimage {volume.id}", lambda: self._reimage(volume))

    def _reimage(self, volume: Volume) -> None:
        try:
            self._filling.refill(volume, str((volume.goal or {}).get("reimage")))
        except MinicloudError as problem:
            if problem.retryable and not isinstance(problem, HostProblem):
                raise
            LOG.error("Volume %s is not reimaged: %s", volume.id, problem.message)
            with self._database.write() as tx:
                if store.volume_move(tx, volume.id, "failed", clock.now()):
                    messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)
            self._guests.reimaged(volume, failed=True)
            return
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            store.volume_follow(tx, volume.id, after=VolumeStatus.DOWNLOADING)
        self._guests.reimaged(volume, failed=False)
        LOG.info("Volume %s has the bytes of another image", volume.id)
