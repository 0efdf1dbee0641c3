"""Image data that lies on somebody else's web server, and is only read.

An image gets such a location by its URL, under the rules of ``fetch.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from minicloud.domain.errors import Conflict
from minicloud.image.fetch import Fetcher
from minicloud.image.stores.base import Store, Writer


class HttpStore(Store):
    kind = "http"
    read_only = True

    def __init__(self, fetcher: Fetcher, store_id: str = "http") -> None:
        super().__init__(store_id, "Web servers, by URL, read-only")
        self.fetcher = fetcher

    def create(self, image_id: str, *, expected: int | None) -> Writer:
        raise Conflict(reason=f"The store {self.id} takes no uploads.")

    def pieces(self, name: str, start: int, length: int) -> Iterator[bytes]:
        return self.fetcher.pieces(name, start, length)

    def remove(self, name: str) -> None:
        """Nothing: the data is not ours."""

    def names(self) -> set[str]:
        return set()

    def url(self, name: str) -> str:
        return name
