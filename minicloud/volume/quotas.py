"""What a project may have: defaults from the configuration, limits of its own, and the check.

The check counts rows while it holds the project's row, so two requests at once never pass it
together, and there is no counter that could go wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

from minicloud.domain.errors import QuotaExceeded
from minicloud.kit.db import Database, Transaction
from minicloud.volume import store
from minicloud.volume.records import Usage

UNLIMITED = -1
RESOURCES = ("volumes", "gigabytes", "per_volume_gigabytes", "snapshots", "backups",
             "backup_gigabytes", "groups")  # fmt: skip
"""The names of a quota set. Only the first three are counted: there is nothing of the others."""


class Quotas:
    """``defaults``: resource -> limit; what is missing is 0 (nothing of it can be made)."""

    def __init__(self, database: Database, defaults: Mapping[str, int]) -> None:
        self._database = database
        self.defaults = {name: defaults.get(name, 0) for name in RESOURCES}

    def limits(self, project_id: str) -> dict[str, int]:
        with self._database.read() as tx:
            return {**self.defaults, **store.project_quotas(tx, project_id)}

    def usage(self, project_id: str) -> Usage:
        with self._database.read() as tx:
            return store.project_usage(tx, project_id)

    def change(self, project_id: str, limits: Mapping[str, int]) -> dict[str, int]:
        """Set limits of the project's own; the others stay. All limits now."""
        with self._database.write() as tx:
            own = {**store.project_lock(tx, project_id), **limits}
            store.project_quotas_set(tx, project_id, own)
        return {**self.defaults, **own}

    def reset(self, project_id: str) -> None:
        """Back to the defaults."""
        with self._database.write() as tx:
            store.project_lock(tx, project_id)
            store.project_quotas_set(tx, project_id, {})

    def admit(self, tx: Transaction, project_id: str, *, volumes: int, growth_gb: int,
              size_gb: int) -> None:  # fmt: skip
        """Let ``tx`` add so much to the project, to a volume of ``size_gb`` in the end; its row is
        held until ``tx`` ends. QuotaExceeded.
        """
        limits = {**self.defaults, **store.project_lock(tx, project_id)}
        used = store.project_usage(tx, project_id)
        for resource, requested, now in (
            ("volumes", volumes, used.volumes),
            ("gigabytes", growth_gb, used.gigabytes),
            ("per_volume_gigabytes", size_gb, 0),
        ):
            limit = limits[resource]
            if requested and limit != UNLIMITED and now + requested > limit:
                raise QuotaExceeded(resource=resource, requested=requested, used=now, limit=limit)
