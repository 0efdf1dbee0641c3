"""The stores of this cloud, by id, and which of an image's copies is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from minicloud.domain.errors import Invalid, MinicloudError, NotFound, Unavailable
from minicloud.image.records import Location
from minicloud.image.stores.base import Store

LOG = logging.getLogger(__name__)


class Stores:
    """``all``: the first is the default and takes uploads."""

    def __init__(self, all: Sequence[Store]) -> None:
        self._stores: Mapping[str, Store] = {store.id: store for store in all}
        self.default = next(store for store in all if not store.read_only)

    def __iter__(self) -> Iterator[Store]:
        return iter(self._stores.values())

    @property
    def writable(self) -> Sequence[Store]:
        return [store for store in self if not store.read_only]

    def get(self, store_id: str) -> Store:
        if store_id not in self._stores:
            raise NotFound(kind="Store", id=store_id[:255])
        return self._stores[store_id]

    def target(self, store_id: str | None) -> Store:
        """Where an upload is to go; None: the default. Invalid."""
        if store_id is None:
            return self.default
        store = self._stores.get(store_id)
        if store is None or store.read_only:
            names = ", ".join(store.id for store in self.writable)
            raise Invalid(reason=f"There is no store '{store_id[:64]}' to write to; use: {names}.")
        return store

    def pieces(self, locations: Sequence[Location], start: int, length: int) -> Iterator[bytes]:
        """Bytes of the first copy that can be had, the default store's first. Unavailable."""
        problem: MinicloudError = Unavailable(
            service="The image's data", reason="it has no copy in a store of this cloud"
        )
        for location in sorted(locations, key=lambda one: one.store != self.default.id):
            store = self._stores.get(location.store)
            if store is None:
                continue
            try:
                return store.pieces(location.name, start, length)
            except MinicloudError as refused:
                LOG.warning("No bytes of %s from %s: %s", location.name, store.id, refused)
                problem = refused
        raise problem

    def remove(self, locations: Sequence[Location]) -> None:
        """Delete the data of a deleted image. What cannot be deleted now is the sweep's."""
        for location in locations:
            store = self._stores.get(location.store)
            if store is None:
                LOG.warning("%s stays in %s, which is no store of this cloud any more",
                            location.name, location.store)  # fmt: skip
                continue
            try:
                store.remove(location.name)
            except Unavailable as problem:
                LOG.warning("%s stays in %s for now: %s", location.name, location.store, problem)
