"""Image data from clients: uploads, and staging for an import.

Order of effects of an upload: the store's place made, row queued -> saving, bytes, data whole, row
saving -> active with its location, place released. Dead at any point it leaves a row in ``saving``
that nobody works for, or data that no row names; ``sweeping.py`` mends both.
"""

from __future__ import annotations

import logging

import msgspec

from minicloud.domain.errors import (
    Conflict,
    ImageUnacceptable,
    Invalid,
    NotFound,
    Unavailable,
)
from minicloud.image import records, store
from minicloud.image.inspection import Source
from minicloud.image.quotas import ProjectQuota, Quotas
from minicloud.image.records import Image, Location
from minicloud.image.service import ImageService
from minicloud.image.staging import StagedFile, Staging
from minicloud.image.stores.base import Store, Writer
from minicloud.image.stores.registry import Stores
from minicloud.image.transfer import LEASE_S, Body, Limits, Pulse, transfer
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.kit.policy import Policy

LOG = logging.getLogger(__name__)
_POLITE = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the data a request brings: Content-Range. ``total`` None: not known yet."""

    start: int
    length: int
    total: int | None


class Uploads:
    def __init__(
        self,
        database: Database,
        images: ImageService,
        stores: Stores,
        staging: Staging,
        quotas: Quotas,
        policy: Policy,
        limits: Limits,
    ) -> None:
        self._database = database
        self._images = images
        self._stores = stores
        self._staging = staging
        self._quotas = quotas
        self._policy = policy
        self._limits = limits

    def upload(
        self,
        ctx: Context,
        image_id: str,
        stream: Source,
        length: int | None,
        store_id: str | None = None,
    ) -> None:
        """Take ``length`` bytes (None: until the stream ends) as the image's data.

        Conflict unless the image is queued; ImageUnacceptable, TooLarge, QuotaExceeded, Invalid
        (the upload broke off) and Unavailable leave it queued and without data.
        """
        image = self._allowed(ctx, image_id)
        _require_queued(image)
        target = self._stores.target(store_id)
        body = Body(stream, length, self._limits.size)
        try:
            self._receive(image, body, length, target, self._quotas.of(image.owner))
        except (ImageUnacceptable, Conflict):
            body.skip(_POLITE)
            raise

    def _allowed(self, ctx: Context, image_id: str) -> Image:
        image = self._images.show(ctx, image_id)
        self._policy.check(ctx, "upload_image", {"project_id": image.owner})
        return image

    def _receive(
        self, image: Image, body: Body, length: int | None, target: Store, quota: ProjectQuota
    ) -> None:
        writer = target.create(image.id, expected=length)
        place = Location(store=target.id, name=writer.name)
        done = False
        try:
            disk_format = self._begin(image.id, place, quota)
            content = transfer(
                body, writer.write, self._pulse(writer), image_id=image.id,
                disk_format=disk_format, limits=self._limits,
            )  # fmt: skip
            writer.keep()
            with self._database.write() as tx:
                quota.take_size(tx, content.size)
                now = clock.now()
                if not store.upload_finish(tx, place, content, now):
                    # It was deleted meanwhile, or this daemon was believed dead.
                    raise Conflict(reason=f"Image {image.id} no longer waits for this upload.")
                store.location_add(tx, image.id, place, now)
            done = True
        finally:
            if done:
                writer.release()
            else:
                writer.discard()
                self._abandon(writer.name)

    def _begin(self, image_id: str, place: Location, quota: ProjectQuota) -> str:
        """queued -> saving; the disk format that the content is held to."""
        with self._database.write() as tx:
            image = store.image_get(tx, image_id, lock=True)
            if image is None:
                raise NotFound(kind="Image", id=image_id)
            _require_queued(image)
            disk_format = format_of(image)
            quota.take_upload(tx)
            now = clock.now()
            statuses = (records.QUEUED, records.SAVING)
            if not store.upload_begin(tx, image_id, statuses, place, now, now + LEASE_S):
                raise Conflict(reason=f"Another upload to image {image_id} has begun.")
            return disk_format

    def _pulse(self, writer: Writer) -> Pulse:
        def sign(lease: float) -> None:
            with self._database.write() as tx:
                if not store.upload_renew(tx, writer.name, lease):
                    raise Conflict(reason="The image no longer waits for this upload.")

        return Pulse(sign)

    def _abandon(self, blob: str) -> None:
        try:
            with self._database.write() as tx:
                store.upload_abandon(tx, blob, clock.now())
        except Unavailable:
            LOG.warning("Upload %s failed and so did its record; the next pass mends it", blob)

    # -- staging ---------------------------------------------------------------------------------
    def stage(
        self, ctx: Context, image_id: str, stream: Source, length: int | None, span: Span | None
    ) -> int:
        """Keep bytes for an import; how many are staged now.

        Without ``span`` they are all there is, and a broken transfer leaves none. With it they
        go on behind what is there already, and what came before a break stays.
        """
        image = self._allowed(ctx, image_id)
        quota = self._quotas.of(image.owner)
        start = 0 if span is None else span.start
        body = Body(stream, length, self._limits.size - start)
        with self._staging.file(image_id, expected=length) as file:
            self._begin_stage(image_id, span, quota, length or 0)
            done = False
            try:
                file.start_at(start)
                while chunk := body.read(_CHUNK):
                    file.write(chunk)
                file.flush()
                self._end_stage(image_id, file, span, quota)
                done = True
            finally:
                if not done:
                    self._end_broken(image_id, file, span)
            return file.size

    def _end_stage(
        self, image_id: str, file: StagedFile, span: Span | None, quota: ProjectQuota
    ) -> None:
        start, total = (0, file.size) if span is None else (span.start, span.total)
        with self._database.write() as tx:
            quota.take_stage(tx, file.size - start)
            if not store.stage_set(tx, image_id, file.size, total, clock.now()):
                raise Conflict(reason=f"Image {image_id} no longer waits for staged data.")

    def staged(self, ctx: Context, image_id: str) -> int:
        """How many bytes are staged, for a client that wants to go on."""
        return self._allowed(ctx, image_id).staged or 0

    def _begin_stage(
        self, image_id: str, span: Span | None, quota: ProjectQuota, expected: int
    ) -> None:
        with self._database.write() as tx:
            image = store.image_get(tx, image_id, lock=True)
            if image is None:
                raise NotFound(kind="Image", id=image_id)
            if image.status == records.QUEUED:
                quota.take_upload(tx)
            now = clock.now()
            if not store.stage_begin(tx, image_id, now):
                raise Conflict(
                    reason=f"Image {image_id} takes staged data only while it is queued or "
                    f"uploading; it is {image.status}."
                )
            if span is None:
                store.stage_set(tx, image_id, None, None, now)
            elif span.start != (image.staged or 0):
                raise Conflict(
                    reason=f"{image.staged or 0} bytes are staged for image {image_id}; go on "
                    "there."
                )
            quota.take_stage(tx, expected)

    def _end_broken(self, image_id: str, file: StagedFile, span: Span | None) -> None:
        try:
            if span is not None:
                file.flush()
            with self._database.write() as tx:
                if span is not None:
                    store.stage_set(tx, image_id, file.size, None, clock.now())
                else:
                    store.image_requeue(tx, image_id, records.UPLOADING, clock.now())
        except Unavailable:
            LOG.warning("What is staged for image %s could not be recorded", image_id)
        if span is None:
            self._staging.remove(image_id)


def format_of(image: Image) -> str:
    """The disk format that data of ``image`` is held to. Invalid until both formats are set."""
    if image.disk_format is None or image.container_format is None:
        raise Invalid(
            reason="Properties disk_format and container_format must be set prior to saving data."
        )
    return image.disk_format


def _require_queued(image: Image) -> None:
    if image.status != records.QUEUED:
        raise Conflict(
            reason=f"Image {image.id} takes data only while it is queued; it is {image.status}."
        )
