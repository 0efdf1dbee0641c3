"""What a project may have of images, and the counts that hold under concurrency.

The limits bear Glance's names and units; where they come from (options, identity's limits) is the
caller's. They are fetched before a transaction begins; each check then locks the project's row
before it counts, so that parallel requests never pass the limit together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from minicloud.domain.errors import QuotaExceeded
from minicloud.image import records
from minicloud.image.models import image_locations, image_projects, images
from minicloud.kit.db import Transaction

COUNT, UPLOADING = "image_count_total", "image_count_uploading"
SIZE_MB, STAGE_MB = "image_size_total", "image_stage_total"
RESOURCES = (SIZE_MB, STAGE_MB, COUNT, UPLOADING)
_MIB = 1024**2
_UNDER_WAY = (records.SAVING, records.UPLOADING, records.IMPORTING)


class ProjectQuota:
    """One project's limits: resource -> number, -1 for none. Every method: QuotaExceeded."""

    def __init__(self, project_id: str | None, limits: Mapping[str, int]) -> None:
        self._project_id = project_id
        self._limits = limits

    def take_image(self, tx: Transaction) -> None:
        """There may be one more image."""
        self._check(tx, COUNT, 1)

    def take_upload(self, tx: Transaction) -> None:
        """One more image may get its data now, and there is room for any."""
        self._check(tx, UPLOADING, 1)
        self._check(tx, SIZE_MB, 0)

    def take_stage(self, tx: Transaction, size: int) -> None:
        self._check(tx, STAGE_MB, _mb(size))

    def take_size(self, tx: Transaction, size: int) -> None:
        """``size`` more bytes may be kept."""
        self._check(tx, SIZE_MB, _mb(size))

    def usage(self, tx: Transaction) -> dict[str, dict[str, int]]:
        return {
            resource: {"limit": self._limits[resource], "usage": self._used(tx, resource)}
            for resource in RESOURCES
        }

    def _check(self, tx: Transaction, resource: str, amount: int) -> None:
        limit = self._limits[resource]
        if limit < 0 or self._project_id is None:
            return
        _lock(tx, self._project_id)
        used = self._used(tx, resource)
        if used + amount > limit or (not amount and used >= limit):
            raise QuotaExceeded(resource=resource, requested=amount, used=used, limit=limit)

    def _used(self, tx: Transaction, resource: str) -> int:
        mine = images.c.owner == self._project_id
        under_way = images.c.status.in_(_UNDER_WAY)
        if resource == COUNT:
            return int(tx.scalar(sa.select(sa.func.count()).where(mine)) or 0)
        if resource == UPLOADING:
            return int(tx.scalar(sa.select(sa.func.count()).where(mine, under_way)) or 0)
        if resource == STAGE_MB:
            staged = sa.select(sa.func.sum(images.c.staged)).where(mine, under_way)
            return _mb(int(tx.scalar(staged) or 0))
        kept = (
            sa.select(sa.func.sum(images.c.size))
            .select_from(images.join(image_locations))
            .where(mine)
        )
        return _mb(int(tx.scalar(kept) or 0))


class Quotas:
    """``limits``: a project's id -> its limits; may ask another service."""

    def __init__(self, limits: Callable[[str], Mapping[str, int]]) -> None:
        self._limits = limits

    def of(self, project_id: str | None) -> ProjectQuota:
        """Outside of any transaction."""
        if project_id is None:
            return ProjectQuota(None, dict.fromkeys(RESOURCES, -1))
        return ProjectQuota(project_id, self._limits(project_id))


def _mb(size: int) -> int:
    return -(-size // _MIB)


def _lock(tx: Transaction, project_id: str) -> None:
    """Let nobody else count or add anything for the project until the transaction ends."""
    lock = sa.select(image_projects.c.id).where(image_projects.c.id == project_id).with_for_update()
    if tx.execute(lock).first() is None:
        try:
            with tx.begin_nested():
                tx.execute(sa.insert(image_projects).values(id=project_id))
        except sa.exc.IntegrityError:
            pass  # another request was faster; its row is as good
        tx.execute(lock)
