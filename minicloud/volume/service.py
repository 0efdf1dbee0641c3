"""Volumes: what may be done to them and in which order rows and files change.

The row comes first when a volume is made and goes last when it is deleted, so a kill in between
leaves a row that says what was meant, and the pass in ``reconcile.py`` finishes it with the
methods below.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import HostProblem, Invalid, NotFound
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import listing, store
from minicloud.volume.access import is_visible
from minicloud.volume.backends.base import Backend
from minicloud.volume.listing import Listing
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import GIB, Usage, Volume
from minicloud.volume.states import MOVES, VolumeStatus

LOG = logging.getLogger(__name__)
METADATA_ITEMS = 128


class VolumeService:
    """``host``: the name of this host, which has the files of ``backend``."""

    def __init__(self, database: Database, backend: Backend, quotas: Quotas, *, host: str) -> None:
        self._database, self._backend, self._quotas = database, backend, quotas
        self.host = host

    # -- reading ---------------------------------------------------------------------------------
    def get(self, ctx: Context, volume_id: str) -> Volume:
        """NotFound also for another project's volume."""
        with self._database.read() as tx:
            return self._visible(tx, ctx, volume_id)

    def select(self, asked: Listing) -> list[Volume]:
        with self._database.read() as tx:
            return listing.volumes_list(tx, asked)

    def summary(self, project_id: str | None) -> tuple[Usage, Mapping[str, Sequence[str]]]:
        """How much there is, and metadata key -> values. None: in all projects."""
        with self._database.read() as tx:
            return store.project_usage(tx, project_id), store.metadata_values(tx, project_id)

    # -- life ------------------------------------------------------------------------------------
    def create(
        self,
        ctx: Context,
        *,
        project_id: str,
        size_gb: int,
        name: str,
        description: str,
        metadata: Mapping[str, str],
    ) -> Volume:
        """A new blank volume, as it is before its file exists. QuotaExceeded."""
        now = clock.now()
        volume = Volume(
            id=new_id(),
            project_id=project_id,
            user_id=ctx.user_id,
            host=self.host,
            name=name,
            description=description,
            size_gb=size_gb,
            status=VolumeStatus.CREATING.value,
            bootable=False,
            created_at=now,
            updated_at=now,
            metadata=dict(metadata),
            attachments=(),
        )
        with self._database.write() as tx:
            self._quotas.admit(tx, project_id, volumes=1, growth_gb=size_gb, size_gb=size_gb)
            store.volume_add(tx, volume)
        self.finish_creating(volume)
        return volume

    def finish_creating(self, volume: Volume) -> None:
        """From ``creating`` to ``available``, or to ``error`` where the backend cannot."""
        self._finish(volume, "created", "create_failed")

    def extend(self, ctx: Context, volume_id: str, size_gb: int) -> None:
        """Make an available volume larger. Invalid: not larger, or in use."""
        with self._database.write() as tx:
            if not store.volume_lock(tx, volume_id):
                raise NotFound(kind="Volume", id=volume_id)
            volume = self._visible(tx, ctx, volume_id)
            if size_gb <= volume.size_gb:
                raise Invalid(
                    reason=f"Invalid input received: New size for extend must be greater than "
                    f"current size. (current: {volume.size_gb}, extended: {size_gb})."
                )
            growth = size_gb - volume.size_gb
            self._quotas.admit(tx, volume.project_id, volumes=0, growth_gb=growth, size_gb=size_gb)
            self._move(tx, volume, "extend", {"size_gb": size_gb})
        self.finish_extending(msgspec.structs.replace(volume, size_gb=size_gb))

    def finish_extending(self, volume: Volume) -> None:
        self._finish(volume, "extended", "extend_failed")

    def delete(self, ctx: Context, volume_id: str, *, force: bool = False) -> None:
        """Invalid: it is attached, or busy with something else (unless ``force``)."""
        with self._database.write() as tx:
            volume = self._visible(tx, ctx, volume_id)
            if volume.status == VolumeStatus.DELETING.value:
                return
            self._move(tx, volume, "force_delete" if force else "delete")
        if volume.host == self.host:
            self.finish_deleting(volume)

    def finish_deleting(self, volume: Volume) -> None:
        """From ``deleting`` to gone. Where the backend cannot, the volume stays ``deleting`` and
        the next pass tries again.
        """
        try:
            self._backend.ensure_absent(volume.id)
        except HostProblem as problem:
            LOG.error("Volume %s stays deleting: %s", volume.id, problem.message)
            return
        with self._database.write() as tx:
            store.volume_remove(tx, volume.id)
        LOG.info("Volume %s is deleted", volume.id)

    # -- changes of the row alone ----------------------------------------------------------------
    def update(
        self,
        ctx: Context,
        volume_id: str,
        values: Mapping[str, Any],
        metadata: Mapping[str, str] | None = None,
    ) -> Volume:
        """Change columns, and replace the metadata unless None."""
        with self._database.write() as tx:
            self._held(tx, ctx, volume_id)
            store.volume_update(tx, volume_id, values, clock.now())
            if metadata is not None:
                store.metadata_remove(tx, volume_id)
                store.metadata_put(tx, volume_id, metadata)
            return self._visible(tx, ctx, volume_id)

    def metadata_merge(
        self, ctx: Context, volume_id: str, pairs: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Add or replace ``pairs``; all metadata then. Invalid: too many."""
        with self._database.write() as tx:
            self._held(tx, ctx, volume_id)
            store.metadata_put(tx, volume_id, pairs)
            merged = self._visible(tx, ctx, volume_id).metadata
            if len(merged) > METADATA_ITEMS:
                raise Invalid(reason=f"A volume has at most {METADATA_ITEMS} metadata items.")
            return merged

    def metadata_remove(self, ctx: Context, volume_id: str, key: str) -> None:
        with self._database.write() as tx:
            self._held(tx, ctx, volume_id)
            if not store.metadata_remove(tx, volume_id, [key]):
                raise NotFound(kind="Metadata key", id=key)

    def move(self, ctx: Context, volume_id: str, verb: str) -> None:
        """A verb of ``states.MOVES`` that changes the status and nothing else."""
        with self._database.write() as tx:
            self._move(tx, self._visible(tx, ctx, volume_id), verb)

    def reset_status(self, ctx: Context, volume_id: str, status: VolumeStatus) -> None:
        """Declare what a volume is, for an administrator who knows better."""
        with self._database.write() as tx:
            self._held(tx, ctx, volume_id)
            store.volume_declare(tx, volume_id, status, clock.now())

    # -- parts -----------------------------------------------------------------------------------
    def _visible(self, tx: Transaction, ctx: Context, volume_id: str) -> Volume:
        volume = store.volume_get(tx, volume_id) if is_uuid(volume_id) else None
        if volume is None or not is_visible(ctx, volume.project_id):
            raise NotFound(kind="Volume", id=volume_id)
        return volume

    def _held(self, tx: Transaction, ctx: Context, volume_id: str) -> Volume:
        volume = self._visible(tx, ctx, volume_id)
        if not store.volume_lock(tx, volume_id):
            raise NotFound(kind="Volume", id=volume_id)
        return volume

    def _move(
        self, tx: Transaction, volume: Volume, verb: str, values: Mapping[str, Any] | None = None
    ) -> None:
        if not store.volume_move(tx, volume.id, verb, clock.now(), values=values):
            raise refused(volume, verb, [status.value for status in MOVES[verb].start])

    def _finish(self, volume: Volume, done: str, failed: str) -> None:
        try:
            self._backend.ensure(volume.id, volume.size_gb * GIB)
        except HostProblem as problem:
            LOG.error("Volume %s: %s", volume.id, problem.message)
            done = failed
        with self._database.write() as tx:
            # Of this size: a late turn must not end a later extension.
            if store.volume_move(tx, volume.id, done, clock.now(), size_gb=volume.size_gb):
                LOG.info("Volume %s is %s", volume.id, MOVES[done].to.value)


def refused(volume: Volume, verb: str, allowed: Sequence[str]) -> Invalid:
    """Cinder's answer to a wrong state is 400, whatever the verb."""
    attached = " and it must not be attached" if verb in ("delete", "extend") else ""
    return Invalid(
        reason=f"Invalid volume: Volume {volume.id} status must be {' or '.join(allowed)} to "
        f"{verb.replace('_', ' ')}{attached}, but current status is {volume.status}."
    )
