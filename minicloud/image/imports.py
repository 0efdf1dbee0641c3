"""Imports: data that the service fetches itself, from its staging area, a URL or another store.

A request only checks, marks the image and leaves a task. The task's run looks before it acts: a
store that has its copy already is passed over, so a run that was killed anywhere is repeated.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import (
    Conflict,
    Exists,
    Invalid,
    MinicloudError,
    NotFound,
    QuotaExceeded,
    TooLarge,
    Unavailable,
)
from minicloud.image import records, store
from minicloud.image.fetch import Fetched, Fetcher
from minicloud.image.inspection import Source
from minicloud.image.quotas import Quotas
from minicloud.image.records import Content, Image, Location, Task
from minicloud.image.staging import Staging
from minicloud.image.stores.base import Store, Writer
from minicloud.image.stores.registry import Stores
from minicloud.image.transfer import LEASE_S, Body, Limits, Pieces, Pulse, transfer
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction

LOG = logging.getLogger(__name__)
DIRECT, WEB, COPY = "glance-direct", "web-download", "copy-image"
METHODS = (DIRECT, WEB, COPY)
_OF_ONE_STORE = (Unavailable, TooLarge, QuotaExceeded)
"""What may be wrong with one store and right with another."""


class ImportPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A task's input."""

    method: str
    uri: str = ""
    stores: Sequence[str]
    must_succeed: bool = True
    """Whether every store must take the data."""


class Imports:
    """Runs the tasks; ``import_requests.py`` leaves them."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        staging: Staging,
        fetcher: Fetcher,
        quotas: Quotas,
        limits: Limits,
    ) -> None:
        self._database = database
        self._stores = stores
        self._staging = staging
        self._fetcher = fetcher
        self._quotas = quotas
        self._limits = limits

    def run(self, task: Task, pulse: Pulse) -> Mapping[str, Any]:
        """Put the image's data into every store of the plan."""
        plan = msgspec.convert(task.input["plan"], ImportPlan)
        image_id = str(task.image_id)
        failed: list[str] = []
        problem: MinicloudError | None = None
        for number, store_id in enumerate(plan.stores):
            try:
                self._ensure_copy(image_id, plan, self._stores.get(store_id), pulse)
            except _OF_ONE_STORE as refused:
                if plan.must_succeed:
                    raise
                LOG.warning("Image %s does not get into %s: %s", image_id, store_id, refused)
                failed.append(store_id)
                problem = refused
            self._report(image_id, plan.stores[number + 1 :], failed)
        if problem is not None and len(failed) == len(plan.stores):
            raise problem
        with self._database.write() as tx:
            if not store.import_finish(tx, image_id, clock.now()) and plan.method != COPY:
                raise Conflict(reason=f"Image {image_id} no longer waits for this import.")
        self._staging.remove(image_id)
        return {"image_id": image_id}

    def undo(self, tx: Transaction, task: Task) -> Callable[[], None]:
        """The image waits again, or has the copies that it had before."""
        plan = msgspec.convert(task.input["plan"], ImportPlan)
        image_id = str(task.image_id)
        image = store.image_get(tx, image_id, lock=True)
        if image is None:
            return lambda: self._staging.remove(image_id)
        store.property_set(tx, image_id, records.IMPORTING_TO, "")
        store.property_set(tx, image_id, records.FAILED_IMPORT, ",".join(plan.stores))
        mine: list[Location] = []
        if plan.method != COPY or plan.must_succeed:
            mine = [place for place in image.locations if place.store in plan.stores]
        for place in mine:
            store.location_remove(tx, image_id, place.store)
        if plan.method == COPY:
            return lambda: self._stores.remove(mine)
        store.image_requeue(tx, image_id, records.IMPORTING, clock.now())

        def afterwards() -> None:
            self._staging.remove(image_id)
            self._stores.remove(mine)

        return afterwards

    def _ensure_copy(self, image_id: str, plan: ImportPlan, target: Store, pulse: Pulse) -> None:
        with self._database.read() as tx:
            image = store.image_get(tx, image_id)
        if image is None:
            raise NotFound(kind="Image", id=image_id)
        if any(place.store == target.id for place in image.locations):
            return
        if not image.locations:
            with self._source(image, plan) as source:
                self._take(image, source, target, pulse)
        else:
            self._copy(image, target, pulse)

    @contextlib.contextmanager
    def _source(self, image: Image, plan: ImportPlan) -> Iterator[Source]:
        if plan.method == WEB:
            fetched = self._fetcher.open(plan.uri)
            try:
                yield _Complete(fetched, self._limits.size)
            finally:
                fetched.close()
        else:
            yield Pieces(self._staging.pieces(image.id, image.staged or 0))

    def _take(self, image: Image, source: Source, target: Store, pulse: Pulse) -> None:
        """The data's first copy, judged on its way."""
        quota = self._quotas.of(image.owner)
        with _upload(target, image.id, image.staged) as (writer, done):
            place = Location(store=target.id, name=writer.name)
            now = clock.now()
            with self._database.write() as tx:
                statuses = (records.IMPORTING, records.IMPORTING)
                begun = store.upload_begin(tx, image.id, statuses, place, now, now + LEASE_S)
            _require(begun, image.id)
            content = transfer(
                source, writer.write, pulse, image_id=image.id,
                disk_format=str(image.disk_format), limits=self._limits,
            )  # fmt: skip
            writer.keep()
            with self._database.write() as tx:
                quota.take_size(tx, content.size)
                now = clock.now()
                _require(store.upload_keep(tx, writer.name, content, now), image.id)
                store.location_add(tx, image.id, place, now)
            done()

    def _copy(self, image: Image, target: Store, pulse: Pulse) -> None:
        """Another copy of data that was judged when it came; it must be the same still."""
        quota = self._quotas.of(image.owner)
        size = image.size or 0
        with _upload(target, image.id, size) as (writer, done):
            content = transfer(
                Pieces(self._stores.pieces(image.locations, 0, size)), writer.write, pulse,
                image_id=image.id, disk_format=str(image.disk_format), limits=self._limits,
            )  # fmt: skip
            _require_same(image, content)
            writer.keep()
            with self._database.write() as tx:
                quota.take_size(tx, size)
                place = Location(store=target.id, name=writer.name)
                try:
                    store.location_add(tx, image.id, place, clock.now())
                except Exists:
                    return  # another task was faster
            done()

    def _report(self, image_id: str, left: Sequence[str], failed: Sequence[str]) -> None:
        with self._database.write() as tx:
            if store.image_get(tx, image_id, lock=True) is None:
                raise NotFound(kind="Image", id=image_id)
            store.property_set(tx, image_id, records.IMPORTING_TO, ",".join(left))
            store.property_set(tx, image_id, records.FAILED_IMPORT, ",".join(failed))

    # -- data that stays where it is -------------------------------------------------------------
    def run_location(self, task: Task, pulse: Pulse) -> Mapping[str, Any]:
        """Read all that is behind a URL, and let the image have it there."""
        image_id, url = str(task.image_id), str(task.input["url"])
        with self._database.read() as tx:
            image = store.image_get(tx, image_id)
        if image is None:
            raise NotFound(kind="Image", id=image_id)
        if image.status in records.WHOLE:
            return {"image_id": image_id}  # a run that was killed right after it was done
        place = Location(store=str(task.input["store"]), name=url)
        plan = ImportPlan(method=WEB, uri=url, stores=[place.store])
        with self._source(image, plan) as source:
            content = transfer(
                source, lambda _chunk: None, pulse, image_id=image_id,
                disk_format=str(image.disk_format), limits=self._limits,
            )  # fmt: skip
        wanted = task.input.get("os_hash_value")
        if wanted and wanted != content.os_hash_value:
            raise Invalid(reason="The data behind the URL does not have the hash that was given.")
        with self._database.write() as tx:
            now = clock.now()
            _require(store.content_set(tx, image_id, content, now), image_id)
            store.location_add(tx, image_id, place, now)
            _require(store.import_finish(tx, image_id, now), image_id)
        return {"image_id": image_id}

    def undo_location(self, tx: Transaction, task: Task) -> Callable[[], None]:
        store.image_requeue(tx, str(task.image_id), records.IMPORTING, clock.now())
        return lambda: None


class _Complete:
    """What is fetched, which must be as long as its server said, and not too long."""

    def __init__(self, fetched: Fetched, limit: int) -> None:
        self._body = Body(fetched, fetched.length, limit)

    def read(self, size: int, /) -> bytes:
        return self._body.read(size)


@contextlib.contextmanager
def _upload(
    target: Store, image_id: str, expected: int | None
) -> Iterator[tuple[Writer, Callable[[], None]]]:
    """A writer that is discarded unless ``done`` was called."""
    writer = target.create(image_id, expected=expected)
    finished: list[bool] = []
    try:
        yield writer, lambda: finished.append(True)
    finally:
        if finished:
            writer.release()
        else:
            writer.discard()


def _require(still: bool, image_id: str) -> None:
    if not still:
        raise Conflict(reason=f"Image {image_id} no longer waits for this import.")


def _require_same(image: Image, content: Content) -> None:
    if content.os_hash_value != image.os_hash_value and content.checksum != image.checksum:
        raise Unavailable(service="The image's data", reason="it has changed in its store")
