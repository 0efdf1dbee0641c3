"""What a project may have: defaults from the configuration and the class ``default``, limits of
its own, and the check.

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
CLASS = "default"
"""The one quota class that means something: the defaults of every project."""
DEFAULTS = {
    "volumes": 10, "gigabytes": 1000, "per_volume_gigabytes": UNLIMITED, "snapshots": 10,
    "backups": 10, "backup_gigabytes": 1000, "groups": 10,
}  # fmt: skip
"""The names of a quota set, with OpenStack's own defaults."""
RESOURCES = tuple(DEFAULTS)


class Quotas:
    """``defaults``: resource -> limit; for what is missing ``DEFAULTS`` holds."""

    def __init__(self, database: Database, defaults: Mapping[str, int]) -> None:
        self._database = database
        self._configured = {**DEFAULTS, **defaults}

    def defaults(self) -> dict[str, int]:
        return self.class_limits(CLASS)

    def limits(self, project_id: str) -> dict[str, int]:
        with self._database.read() as tx:
            return {**self._defaults(tx), **store.project_quotas(tx, project_id)}

    def usage(self, project_id: str) -> Usage:
        with self._database.read() as tx:
            return store.project_usage(tx, project_id)

    def change(self, project_id: str, limits: Mapping[str, int]) -> dict[str, int]:
        """Set limits of the project's own; the others stay. All limits now."""
        with self._database.write() as tx:
            own = {**store.project_lock(tx, project_id), **limits}
            store.project_quotas_set(tx, project_id, own)
            return {**self._defaults(tx), **own}

    def reset(self, project_id: str) -> None:
        """Back to the defaults."""
        with self._database.write() as tx:
            store.project_lock(tx, project_id)
            store.project_quotas_set(tx, project_id, {})

    def class_limits(self, name: str) -> dict[str, int]:
        with self._database.read() as tx:
            return {**self._configured, **store.class_quotas(tx, name)}

    def class_change(self, name: str, limits: Mapping[str, int]) -> dict[str, int]:
        with self._database.write() as tx:
            own = {**store.class_quotas(tx, name), **limits}
            store.class_quotas_set(tx, name, own)
        return {**self._configured, **own}

    def admit(
        self,
        tx: Transaction,
        project_id: str,
        *,
        volumes: int = 0,
        gigabytes: int = 0,
        size_gb: int = 0,
        snapshots: int = 0,
        backups: int = 0,
        backup_gigabytes: int = 0,
        groups: int = 0,
    ) -> None:
        """Let ``tx`` add so much to the project, and a volume of ``size_gb`` in the end; the
        project's row is held until ``tx`` ends. QuotaExceeded.
        """
        own = store.project_lock(tx, project_id)
        limits = {**self._defaults(tx), **own}
        used = store.project_usage(tx, project_id)
        for resource, requested, now in (
            ("volumes", volumes, used.volumes),
            ("gigabytes", gigabytes, used.gigabytes),
            ("per_volume_gigabytes", size_gb, 0),
            ("snapshots", snapshots, used.snapshots),
            ("backups", backups, used.backups),
            ("backup_gigabytes", backup_gigabytes, used.backup_gigabytes),
            ("groups", groups, used.groups),
        ):
            limit = limits[resource]
            if requested and limit != UNLIMITED and now + requested > limit:
                raise QuotaExceeded(resource=resource, requested=requested, used=now, limit=limit)

    def _defaults(self, tx: Transaction) -> dict[str, int]:
        return {**self._configured, **store.class_quotas(tx, CLASS)}
