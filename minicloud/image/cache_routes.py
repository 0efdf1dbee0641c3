"""The endpoints of this host's cache of image data: handlers that only translate."""

from __future__ import annotations

from typing import Any

from minicloud.image.cache import Cache
from minicloud.image.requests import image_id
from minicloud.image.service import ImageService
from minicloud.kit.web import Call, Route


class CacheRoutes:
    def __init__(self, images: ImageService, cache: Cache) -> None:
        self._images = images
        self._cache = cache

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/v2/cache", handler=self.show, policy="cache_list"),
            Route(method="DELETE", path="/v2/cache", handler=self.clear, policy="cache_delete",
                  status=204),
            Route(method="PUT", path="/v2/cache/{id}", handler=self.queue, policy="cache_image",
                  status=202),
            Route(method="DELETE", path="/v2/cache/{id}", handler=self.remove,
                  policy="cache_delete", status=204),
            Route(method="POST", path="/v2/cache/clean", handler=self.clean,
                  policy="cache_clean"),
            Route(method="POST", path="/v2/cache/prune", handler=self.prune,
                  policy="cache_prune"),
            Route(method="GET", path="/v2/cache/nodes/{id}", handler=self.nodes,
                  policy="cache_list"),
        ]  # fmt: skip

    def show(self, _call: Call) -> dict[str, Any]:
        entries = self._cache.entries()
        return {
            "cached_images": [
                {
                    "image_id": entry.image_id,
                    "hits": entry.hits,
                    "last_accessed": entry.last_accessed,
                    "last_modified": entry.created_at,
                    "size": entry.size,
                }
                for entry in entries
                if entry.size is not None
            ],
            "queued_images": [entry.image_id for entry in entries if entry.size is None],
        }

    def clear(self, call: Call) -> None:
        self._cache.clear(call.headers.get("x-image-cache-clear-target", "").lower())

    def queue(self, call: Call) -> None:
        self._cache.queue(self._images.show(call.ctx, image_id(call)))

    def remove(self, call: Call) -> None:
        self._cache.remove(image_id(call))

    def clean(self, _call: Call) -> None:
        self._cache.clean()

    def prune(self, _call: Call) -> dict[str, int]:
        files, size = self._cache.prune()
        return {"total_files_pruned": files, "total_bytes_pruned": size}

    def nodes(self, call: Call) -> list[str]:
        return self._cache.hosts(self._images.show(call.ctx, image_id(call)).id)
