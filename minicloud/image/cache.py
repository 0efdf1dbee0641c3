"""Copies of image data on this host, for images whose stores are far away.

A row says what a host has or is to have; the file follows. A file without a row, or a row whose
file is gone, is put right by ``clean``. Each host looks after its own directory.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Invalid, NotFound, Unavailable
from minicloud.image import records, store
from minicloud.image.models import image_cache
from minicloud.image.records import Image
from minicloud.image.stores.base import PIECE
from minicloud.image.stores.files import storage_error
from minicloud.image.stores.registry import Stores
from minicloud.image.transfer import HASH_ALGO
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction

LOG = logging.getLogger(__name__)
_PART = ".part"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What this host has of an image; ``size`` None: it is queued."""

    host: str
    image_id: str
    size: int | None
    hits: int
    created_at: float
    last_accessed: float


class Cache:
    """``most``: bytes that may lie here; 0 keeps nothing. ``kick``: called for a new request."""

    def __init__(
        self,
        database: Database,
        stores: Stores,
        directory: Path,
        host: str,
        *,
        most: int,
        kick: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._stores = stores
        self._directory = directory
        self._host = host
        self._most = most
        self._kick = kick
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    # -- what a client asks ----------------------------------------------------------------------
    def entries(self) -> list[Entry]:
        with self._database.read() as tx:
            return _entries(tx, image_cache.c.host == self._host)

    def hosts(self, image_id: str) -> list[str]:
        """The hosts that have a copy."""
        with self._database.read() as tx:
            found = _entries(tx, image_cache.c.image_id == image_id)
        return [entry.host for entry in found if entry.size is not None]

    def queue(self, image: Image) -> None:
        """Get a copy soon; repeatable. Invalid when the image has no data."""
        if image.status != records.ACTIVE:
            raise Invalid(reason="Only images with status active can be targeted for queueing")
        if not self._most:
            raise Invalid(reason="This cloud caches no images: image.cache_max_mb is 0.")
        now = clock.now()
        row = Entry(host=self._host, image_id=image.id, size=None, hits=0, created_at=now,
                    last_accessed=now)  # fmt: skip
        try:
            with self._database.write() as tx:
                tx.execute(sa.insert(image_cache).values(msgspec.structs.asdict(row)))
        except sa.exc.IntegrityError:
            LOG.debug("Image %s is cached or queued already", image.id)
        self._kick()

    def remove(self, image_id: str) -> None:
        """Neither copy nor request is left. NotFound when there was none."""
        if not self._remove([entry for entry in self.entries() if entry.image_id == image_id]):
            raise NotFound(kind="Cached image", id=image_id)

    def clear(self, target: str) -> None:
        """Remove copies (``cache``), requests (``queue``), or both (empty). Invalid."""
        if target not in ("", "cache", "queue"):
            raise Invalid(reason="x-image-cache-clear-target must be cache, queue or nothing.")
        wanted = {"cache": (True,), "queue": (False,)}.get(target, (True, False))
        self._remove([entry for entry in self.entries() if (entry.size is not None) in wanted])

    def prune(self, most: int | None = None) -> tuple[int, int]:
        """Remove what was not read for longest until the rest fits; files and bytes removed."""
        kept = sorted(
            (entry for entry in self.entries() if entry.size is not None),
            key=lambda entry: entry.last_accessed,
        )
        left = sum(entry.size or 0 for entry in kept)
        gone: list[Entry] = []
        for entry in kept:
            if left <= (self._most if most is None else most):
                break
            left -= entry.size or 0
            gone.append(entry)
        self._remove(gone)
        return len(gone), sum(entry.size or 0 for entry in gone)

    def clean(self) -> None:
        """Rows without a file and files without a row go."""
        known = {entry.image_id: entry for entry in self.entries()}
        for path in self._directory.iterdir():
            entry = known.get(path.name.removesuffix(_PART))
            if entry is None or (entry.size is not None and path.suffix == _PART):
                path.unlink(missing_ok=True)
        self._remove(
            [
                entry
                for entry in known.values()
                if entry.size is not None and not (self._directory / entry.image_id).exists()
            ]
        )

    # -- what goes on by itself ------------------------------------------------------------------
    def note(self, image: Image) -> None:
        """An image without a copy in a local store was read: it is worth having here."""
        kinds = {one.id: one.kind for one in self._stores}
        if self._most and all(kinds.get(place.store) != "file" for place in image.locations):
            self.queue(image)

    def pieces(self, image: Image, start: int, length: int) -> Iterator[bytes] | None:
        """Bytes of this host's copy; None when there is none."""
        if not self._most:
            return None
        path = self._directory / image.id
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        if os.fstat(file.fileno()).st_size != image.size:
            file.close()
            return None
        with self._database.write() as tx:
            mine = sa.and_(image_cache.c.host == self._host, image_cache.c.image_id == image.id)
            tx.execute(
                sa.update(image_cache)
                .where(mine)
                .values(hits=image_cache.c.hits + 1, last_accessed=clock.now())
            )

        def read() -> Iterator[bytes]:
            left = length
            with file:
                file.seek(start)
                while left > 0 and (piece := file.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece

        return read()

    def fill(self) -> None:
        """Fetch what is queued. What is not to be had is dropped from the queue."""
        for entry in self.entries():
            if entry.size is not None:
                continue
            with self._database.read() as tx:
                image = store.image_get(tx, entry.image_id)
            if image is None or image.status != records.ACTIVE or (image.size or 0) > self._most:
                self._remove([entry])
                continue
            try:
                self._fill(entry, image)
            except Unavailable as problem:
                LOG.warning("Image %s is not cached yet: %s", image.id, problem)

    def _fill(self, entry: Entry, image: Image) -> None:
        self.prune(self._most - (image.size or 0))
        if not self._fetch(image):
            self._remove([entry])
            return
        mine = sa.and_(image_cache.c.host == self._host, image_cache.c.image_id == image.id)
        with self._database.write() as tx:
            tx.execute(sa.update(image_cache).where(mine).values(size=image.size))

    def _fetch(self, image: Image) -> bool:
        """Whether this host has a verified copy now."""
        part = self._directory / (image.id + _PART)
        digest = hashlib.new(HASH_ALGO)
        try:
            with part.open("wb") as file:
                for piece in self._stores.pieces(image.locations, 0, image.size or 0):
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != image.os_hash_value:
                LOG.error("The data of image %s is not what is recorded", image.id)
                return False
            part.rename(self._directory / image.id)
        except OSError as problem:
            raise storage_error(problem) from problem
        except EOFError:
            LOG.error("The data of image %s is shorter than recorded", image.id)
            return False
        finally:
            part.unlink(missing_ok=True)
        LOG.info("Cached image %s", image.id)
        return True

    def _remove(self, entries: Sequence[Entry]) -> int:
        """Rows, then files; how many there were."""
        if not entries:
            return 0
        ids = [entry.image_id for entry in entries]
        with self._database.write() as tx:
            tx.execute(
                sa.delete(image_cache).where(
                    image_cache.c.host == self._host, image_cache.c.image_id.in_(ids)
                )
            )
        for image_id in ids:
            (self._directory / image_id).unlink(missing_ok=True)
        return len(ids)


def _entries(tx: Transaction, *conditions: sa.ColumnElement[bool]) -> list[Entry]:
    query = sa.select(image_cache).where(*conditions).order_by(image_cache.c.created_at)
    return [Entry(**row._mapping) for row in tx.execute(query)]
