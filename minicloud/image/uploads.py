"""Image data in and out: upload, download, and the pass that clears up after a killed daemon.

Order of effects of an upload: file made and locked, row queued -> saving, bytes, file whole, row
saving -> active, lock released. Dead at any point it leaves a row in ``saving`` whose file nobody
holds, or a file that no row names; ``sweep`` mends both.
"""

from __future__ import annotations

import functools
import logging
from typing import BinaryIO

import msgspec

from minicloud.domain.errors import (
    Conflict,
    ImageUnacceptable,
    Invalid,
    MinicloudError,
    NotAllowed,
    NotFound,
    TooLarge,
    Unavailable,
)
from minicloud.image import records, store
from minicloud.image.blobs import HASH_ALGO, BlobStore, BlobWriter
from minicloud.image.inspection import Inspection, Source
from minicloud.image.records import Content, Image
from minicloud.image.service import ImageService
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.kit.policy import Policy

LOG = logging.getLogger(__name__)
_CHUNK = 1024 * 1024
_POLITE = 64 * 1024 * 1024


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """An image's bytes, ready to be read; whoever gets it closes ``file``."""

    image: Image
    size: int
    file: BinaryIO


class ImageData:
    """``max_size``: bytes, of an upload and of its virtual size."""

    def __init__(
        self,
        database: Database,
        images: ImageService,
        blobs: BlobStore,
        policy: Policy,
        *,
        max_size: int,
    ) -> None:
        self._database = database
        self._images = images
        self._blobs = blobs
        self._policy = policy
        self._max_size = max_size

    def upload(self, ctx: Context, image_id: str, stream: Source, length: int | None) -> None:
        """Take ``length`` bytes (None: until the stream ends) as the image's data.

        Conflict unless the image is queued; ImageUnacceptable, TooLarge, Invalid (the upload
        broke off) and Unavailable leave it queued and without data.
        """
        image = self._images.show(ctx, image_id)
        self._policy.check(ctx, "upload_image", {"project_id": image.owner})
        _require_queued(image)
        body = _RequestBody(stream, length, self._max_size)
        try:
            self._receive(image, body, length)
        except (ImageUnacceptable, Conflict):
            # A client that is still sending would not see the answer.
            body.skip(_POLITE)
            raise

    def download(self, ctx: Context, image_id: str) -> Data | None:
        """The image's bytes; None when it has none yet."""
        image = self._images.show(ctx, image_id)
        self._policy.check(ctx, "download_image")
        if image.status == records.DEACTIVATED and not self._policy.allows(
            ctx, "download_deactivated"
        ):
            raise NotAllowed(reason=f"Image {image_id} is deactivated.")
        if image.status not in (records.ACTIVE, records.DEACTIVATED) or not image.size:
            return None
        assert image.blob is not None
        return Data(image=image, size=image.size, file=self._blobs.open(image.blob))

    def sweep(self) -> None:
        """Put images whose uploader died back to queued, and remove files that nobody needs."""
        with self._database.read() as tx:
            waiting = store.uploads_under_way(tx)
        for blob in waiting:
            if self._blobs.is_being_written(blob):
                continue
            with self._database.write() as tx:
                if store.upload_abandon(tx, blob, clock.now()):
                    LOG.warning("Upload %s was cut off; its image is queued again", blob)
        # Listed before the rows are read: a file that appears later is not judged by old rows.
        names = self._blobs.names()
        with self._database.read() as tx:
            names -= store.blobs_known(tx)
        for name in names:
            if self._blobs.remove_if_idle(name, functools.partial(self._is_known, name)):
                LOG.info("Removed %s, which belonged to no image", name)

    def _is_known(self, blob: str) -> bool:
        with self._database.read() as tx:
            return store.blob_is_known(tx, blob)

    def _receive(self, image: Image, body: _RequestBody, length: int | None) -> None:
        writer = self._blobs.create(image.id, expected=length)
        done = False
        try:
            disk_format = self._begin(image.id, writer.name)
            content = self._copy(image.id, disk_format, body, writer)
            writer.keep()
            self._finish(image.id, writer.name, content)
            done = True
        finally:
            if done:
                writer.release()
            else:
                writer.discard()
                self._abandon(writer.name)

    def _begin(self, image_id: str, blob: str) -> str:
        """queued -> saving; the disk format that the content is held to."""
        with self._database.write() as tx:
            image = store.image_get(tx, image_id, lock=True)
            if image is None:
                raise NotFound(kind="Image", id=image_id)
            _require_queued(image)
            if image.disk_format is None or image.container_format is None:
                raise Invalid(
                    reason="Properties disk_format and container_format must be set prior to "
                    "saving data."
                )
            if not store.upload_begin(tx, image_id, blob, clock.now()):
                raise Conflict(reason=f"Another upload to image {image_id} has begun.")
            return image.disk_format

    def _copy(
        self, image_id: str, disk_format: str, body: _RequestBody, writer: BlobWriter
    ) -> Content:
        inspection = Inspection(body, image_id, disk_format, self._max_size)
        while chunk := inspection.read(_CHUNK):
            writer.write(chunk)
        return Content(
            size=writer.size,
            virtual_size=inspection.finish(),
            checksum=writer.md5,
            os_hash_algo=HASH_ALGO,
            os_hash_value=writer.hash,
        )

    def _finish(self, image_id: str, blob: str, content: Content) -> None:
        with self._database.write() as tx:
            if store.upload_finish(tx, blob, content, clock.now()):
                return
        # It was deleted meanwhile, or this daemon was believed dead.
        raise Conflict(reason=f"Image {image_id} no longer waits for this upload.")

    def _abandon(self, blob: str) -> None:
        try:
            with self._database.write() as tx:
                store.upload_abandon(tx, blob, clock.now())
        except Unavailable:
            LOG.warning("Upload %s failed and so did its record; the next pass mends it", blob)


class _RequestBody:
    """The request's body with its promises kept: as long as announced, and not too long."""

    def __init__(self, stream: Source, length: int | None, limit: int) -> None:
        if length is not None and length > limit:
            raise TooLarge(reason=f"The image is larger than the limit of {limit} bytes.")
        self._stream, self._length, self._limit = stream, length, limit
        self._got = 0

    def read(self, size: int, /) -> bytes:
        """The next bytes; Invalid when the client went away before the announced end."""
        if self._length is not None:
            size = min(size, self._length - self._got)
        if not size:
            return b""
        try:
            chunk = self._stream.read(size)
        except (OSError, ValueError):  # the connection broke; a chunk's header is nonsense
            raise _broken() from None
        self._got += len(chunk)
        if not chunk and self._length is not None:
            raise _broken()
        if self._got > self._limit:
            raise TooLarge(reason=f"The image is larger than the limit of {self._limit} bytes.")
        return chunk

    def skip(self, most: int) -> None:
        """Read and forget up to ``most`` bytes."""
        try:
            while most > 0 and (chunk := self.read(_CHUNK)):
                most -= len(chunk)
        except MinicloudError:
            LOG.debug("The client went away before the end of a refused upload")


def _broken() -> Invalid:
    return Invalid(reason="The upload broke off before its end.")


def _require_queued(image: Image) -> None:
    if image.status != records.QUEUED:
        raise Conflict(
            reason=f"Image {image.id} takes data only while it is queued; it is {image.status}."
        )
