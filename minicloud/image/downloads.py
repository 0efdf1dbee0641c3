"""Image data to clients: who may have it, and where it is read from."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from minicloud.domain.errors import NotAllowed, Unavailable
from minicloud.image import records
from minicloud.image.cache import Cache
from minicloud.image.records import Image
from minicloud.image.service import ImageService
from minicloud.image.stores.registry import Stores
from minicloud.kit.context import Context
from minicloud.kit.policy import Policy

LOG = logging.getLogger(__name__)


class Downloads:
    def __init__(self, images: ImageService, stores: Stores, cache: Cache, policy: Policy) -> None:
        self._images = images
        self._stores = stores
        self._cache = cache
        self._policy = policy

    def image(self, ctx: Context, image_id: str) -> Image | None:
        """An image whose data the caller may have; None when it has none yet."""
        image = self._images.show(ctx, image_id)
        self._policy.check(ctx, "download_image")
        if image.status == records.DEACTIVATED and not self._policy.allows(
            ctx, "download_deactivated"
        ):
            raise NotAllowed(reason=f"Image {image_id} is deactivated.")
        return image if image.status in records.WHOLE and image.size else None

    def pieces(self, image: Image, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes from ``start``, from this host's cache or a store. Unavailable."""
        cached = self._cache.pieces(image, start, length)
        if cached is not None:
            return cached
        found = self._stores.pieces(image.locations, start, length)
        if image.status == records.ACTIVE:
            try:
                self._cache.note(image)
            except Unavailable as problem:
                LOG.warning("Image %s is not cached: %s", image.id, problem)
        return found
