"""The pass that clears up after killed daemons: uploads, staged files, data, ended tasks."""

from __future__ import annotations

import functools
import logging

from minicloud.domain.errors import Unavailable
from minicloud.image import store, task_store
from minicloud.image.cache import Cache
from minicloud.image.records import Location
from minicloud.image.staging import Staging
from minicloud.image.stores.base import Store
from minicloud.image.stores.registry import Stores
from minicloud.kit import clock
from minicloud.kit.db import Database

LOG = logging.getLogger(__name__)


class Sweeper:
    def __init__(self, database: Database, stores: Stores, staging: Staging, cache: Cache) -> None:
        self._database = database
        self._stores = stores
        self._staging = staging
        self._cache = cache

    def sweep(self) -> None:
        """One pass; repeatable, and any number of daemons may do it."""
        self._requeue()
        for one in self._stores:
            try:
                self._sweep_store(one)
            except Unavailable as problem:
                LOG.warning("Store %s is not swept: %s", one.id, problem)
        # Listed before the rows are read, as with the stores below.
        staged = self._staging.names()
        with self._database.read() as tx:
            staged -= store.images_staged(tx)
        for image_id in staged:
            if self._staging.remove_if_idle(image_id):
                LOG.info("Removed what was staged for image %s, which waits no more", image_id)
        with self._database.write() as tx:
            task_store.tasks_expire(tx, clock.now())
        self._cache.clean()
        self._cache.prune()

    def _requeue(self) -> None:
        """Images whose uploader died wait again."""
        with self._database.read() as tx:
            waiting = store.uploads_under_way(tx)
        for place, lease in waiting:
            if self._lives(place, lease):
                continue
            with self._database.write() as tx:
                if store.upload_abandon(tx, place.name, clock.now()):
                    LOG.warning("Upload %s was cut off; its image is queued again", place.name)

    def _lives(self, place: Location, lease: float) -> bool:
        for one in self._stores:
            if one.id == place.store:
                held = one.is_being_written(place.name)
                if held is not None:
                    return held
        return lease > clock.now()

    def _sweep_store(self, one: Store) -> None:
        # Listed before the rows are read: data that appears later is not judged by old rows.
        names = one.names()
        with self._database.read() as tx:
            names -= store.blobs_known(tx, one.id)
        for name in names:
            if one.remove_if_idle(name, functools.partial(self._is_known, one.id, name)):
                LOG.info("Removed %s from %s, which belonged to no image", name, one.id)

    def _is_known(self, store_id: str, name: str) -> bool:
        with self._database.read() as tx:
            return store.blob_is_known(tx, store_id, name)
