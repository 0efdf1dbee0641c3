"""Snapshots: what a volume had at one moment, to make volumes of and to go back to.

The row comes first and goes last, as with volumes. A volume in use goes on in another file while
the one it had is kept, so what is kept is what the guest had written by then: as after a power
cut, not more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import HostProblem, Invalid, MinicloudError, NotFound, Unavailable
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import listing, messages, store
from minicloud.volume import snapshot_store as rows
from minicloud.volume.access import is_visible
from minicloud.volume.backends import Backends
from minicloud.volume.backends.base import Backend, StoreAway
from minicloud.volume.jobs import try_now
from minicloud.volume.listing import Listing
from minicloud.volume.live import PATIENCE_S, LiveVolumes
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import Snapshot, Volume
from minicloud.volume.service import METADATA_ITEMS, VolumeService, refused
from minicloud.volume.states import SnapshotStatus, VolumeStatus

LOG = logging.getLogger(__name__)
_S = SnapshotStatus
DELETABLE = (_S.AVAILABLE, _S.ERROR, _S.ERROR_DELETING)
SETTABLE = (_S.AVAILABLE, _S.ERROR, _S.CREATING, _S.ERROR_DELETING)


class SnapshotService:
    def __init__(
        self,
        database: Database,
        backends: Backends,
        live: LiveVolumes,
        quotas: Quotas,
        volumes: VolumeService,
    ) -> None:
        self._database, self._backends, self._live = database, backends, live
        self._quotas, self._volumes = quotas, volumes

    # -- reading ---------------------------------------------------------------------------------
    def get(self, ctx: Context, snapshot_id: str) -> Snapshot:
        """NotFound also for another project's."""
        with self._database.read() as tx:
            return self.visible(tx, ctx, snapshot_id)

    def select(self, asked: Listing) -> list[Snapshot]:
        with self._database.read() as tx:
            return rows.snapshots_select(tx, listing.page(tx, asked))

    def count(self, asked: Listing) -> int:
        with self._database.read() as tx:
            return listing.count(tx, asked)

    # -- life ------------------------------------------------------------------------------------
    def create(
        self,
        ctx: Context,
        volume_id: str,
        *,
        name: str,
        description: str,
        metadata: Mapping[str, str],
        in_use: bool,
    ) -> Snapshot:
        """What the volume has now. ``in_use``: also while it is attached. Invalid,
        QuotaExceeded.
        """
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            made = self.begin(
                tx, ctx, volume, name=name, description=description, metadata=metadata,
                in_use=in_use,
            )  # fmt: skip
        if volume.host == self._volumes.host:
            try_now(self.finish_creating, made)
        return made

    def begin(
        self,
        tx: Transaction,
        ctx: Context,
        volume: Volume,
        *,
        name: str,
        description: str,
        metadata: Mapping[str, str],
        in_use: bool,
        group_snapshot_id: str | None = None,
    ) -> Snapshot:
        """The row of a new snapshot; the caller holds the volume's."""
        allowed = [VolumeStatus.AVAILABLE.value]
        if in_use:
            allowed += [VolumeStatus.IN_USE.value, VolumeStatus.RESERVED.value,
                        VolumeStatus.ATTACHING.value, VolumeStatus.DETACHING.value]  # fmt: skip
        if volume.status not in allowed:
            raise refused(volume, "snapshot", allowed)
        if volume.migrates:
            raise Invalid(
                reason="Invalid volume: Snapshot cannot be created while volume is migrating."
            )
        self._quotas.admit(tx, volume.project_id, snapshots=1, gigabytes=volume.size_gb)
        now = clock.now()
        made = Snapshot(
            id=new_id(),
            project_id=volume.project_id,
            user_id=ctx.user_id,
            volume_id=volume.id,
            name=name,
            description=description,
            size_gb=volume.size_gb,
            status=_S.CREATING.value,
            group_snapshot_id=group_snapshot_id,
            created_at=now,
            updated_at=now,
            metadata=dict(metadata),
            host=volume.host,
            backend=volume.backend,
            volume_bytes_id=volume.bytes_id,
        )
        rows.snapshot_add(tx, made)
        return made

    def finish_creating(self, snapshot: Snapshot) -> None:
        """From ``creating`` to ``available``, or to ``error``."""
        to: SnapshotStatus = _S.AVAILABLE
        problem: MinicloudError | None = None
        try:
            backend = self._backends.of(snapshot)
            self._live.keep(backend, snapshot.id, snapshot.volume_id, snapshot.volume_bytes_id)
        except StoreAway:
            raise
        except Unavailable as failed:
            if clock.now() - snapshot.created_at < PATIENCE_S:
                LOG.warning("Snapshot %s is tried again: %s", snapshot.id, failed.message)
                return
            to, problem = _S.ERROR, failed
        except HostProblem as failed:
            to, problem = _S.ERROR, failed
        self._end(snapshot, to, problem)
        try:
            self._live.match(snapshot.volume_id)
        except (HostProblem, StoreAway) as failed:
            LOG.error("Exports of volume %s: %s", snapshot.volume_id, failed.message)

    def delete(self, ctx: Context, snapshot_id: str, *, force: bool = False) -> None:
        """Invalid: it is busy, unless ``force``; or it belongs to a group snapshot."""
        with self._database.write() as tx:
            snapshot = self._held(tx, ctx, snapshot_id)
            if snapshot.status == _S.DELETING.value:
                return
            if snapshot.group_snapshot_id is not None and not force:
                raise Invalid(
                    reason=f"Invalid snapshot: Snapshot {snapshot_id} belongs to the group "
                    f"snapshot {snapshot.group_snapshot_id}: delete that."
                )
            start = tuple(_S) if force else DELETABLE
            if not rows.snapshot_move(tx, snapshot_id, start, _S.DELETING):
                raise Invalid(
                    reason=f"Invalid snapshot: Snapshot {snapshot_id} status must be "
                    f"{' or '.join(each.value for each in DELETABLE)} to delete, but current "
                    f"status is {snapshot.status}."
                )
        if snapshot.host == self._volumes.host:
            try_now(self.finish_deleting, snapshot)

    def finish_deleting(self, snapshot: Snapshot) -> None:
        """From ``deleting`` to gone; where the backend cannot, the next pass tries again."""
        try:
            backend = self._backends.of(snapshot)
            backend.ensure_snapshot_absent(snapshot.id)
            self._compact(snapshot.volume_id, backend)
        except HostProblem as problem:
            LOG.error("Snapshot %s stays deleting: %s", snapshot.id, problem.message)
            return
        with self._database.write() as tx:
            rows.snapshot_remove(tx, snapshot.id)
        LOG.info("Snapshot %s is deleted", snapshot.id)

    def revert(self, ctx: Context, volume_id: str, snapshot_id: str) -> None:
        """Make the volume what its latest snapshot has. Invalid: it is another one, or the volume
        is not available.
        """
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            snapshot = self.visible(tx, ctx, snapshot_id)
            latest = rows.snapshots_of(tx, volume_id)[-1:]
            if [each.id for each in latest] != [snapshot.id]:
                raise Invalid(
                    reason=f"Invalid snapshot: Volume {volume_id} is reverted to its latest "
                    f"snapshot only, which {snapshot_id} is not."
                )
            if snapshot.status != _S.AVAILABLE.value:
                raise Invalid(
                    reason=f"Invalid snapshot: Snapshot {snapshot_id} is {snapshot.status}, not "
                    "available."
                )
            self._volumes.move(tx, volume, "revert", {"goal": {"snapshot_id": snapshot_id}})
        if volume.host == self._volumes.host:
            try_now(self.finish_reverting, self._volumes.get(ctx, volume_id))

    def finish_reverting(self, volume: Volume) -> None:
        try:
            snapshot_id = str((volume.goal or {}).get("snapshot_id"))
            self._backends.of(volume).revert(volume.bytes_id, snapshot_id, volume.size_bytes)
        except HostProblem as problem:
            LOG.error("Volume %s is not reverted: %s", volume.id, problem.message)
            with self._database.write() as tx:
                if store.volume_move(tx, volume.id, "failed", clock.now()):
                    messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)
            return
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            store.volume_follow(tx, volume.id, after=VolumeStatus.REVERTING)
        LOG.info("Volume %s is reverted to its snapshot", volume.id)

    # -- changes of the row alone ----------------------------------------------------------------
    def update(
        self,
        ctx: Context,
        snapshot_id: str,
        values: Mapping[str, Any],
        metadata: Mapping[str, str] | None = None,
    ) -> Snapshot:
        """Change columns, and replace the metadata unless None."""
        with self._database.write() as tx:
            self._held(tx, ctx, snapshot_id)
            rows.snapshot_update(tx, snapshot_id, values)
            if metadata is not None:
                rows.metadata_remove(tx, snapshot_id)
                rows.metadata_put(tx, snapshot_id, metadata)
            return self.visible(tx, ctx, snapshot_id)

    def metadata_merge(
        self, ctx: Context, snapshot_id: str, pairs: Mapping[str, str]
    ) -> Mapping[str, str]:
        with self._database.write() as tx:
            self._held(tx, ctx, snapshot_id)
            rows.metadata_put(tx, snapshot_id, pairs)
            merged = self.visible(tx, ctx, snapshot_id).metadata
            if len(merged) > METADATA_ITEMS:
                raise Invalid(reason=f"A snapshot has at most {METADATA_ITEMS} metadata items.")
            return merged

    def metadata_remove(self, ctx: Context, snapshot_id: str, key: str) -> None:
        with self._database.write() as tx:
            self._held(tx, ctx, snapshot_id)
            if not rows.metadata_remove(tx, snapshot_id, [key]):
                raise NotFound(kind="Metadata key", id=key)

    def reset_status(self, ctx: Context, snapshot_id: str, status: SnapshotStatus) -> None:
        with self._database.write() as tx:
            self._held(tx, ctx, snapshot_id)
            rows.snapshot_update(tx, snapshot_id, {"status": status.value})

    # -- parts -----------------------------------------------------------------------------------
    def visible(self, tx: Transaction, ctx: Context, snapshot_id: str) -> Snapshot:
        found = rows.snapshot_get(tx, snapshot_id) if is_uuid(snapshot_id) else None
        if found is None or not is_visible(ctx, found.project_id):
            raise NotFound(kind="Snapshot", id=snapshot_id)
        return found

    def _held(self, tx: Transaction, ctx: Context, snapshot_id: str) -> Snapshot:
        self.visible(tx, ctx, snapshot_id)
        rows.snapshot_lock(tx, snapshot_id)
        return self.visible(tx, ctx, snapshot_id)

    def _compact(self, volume_id: str, backend: Backend) -> None:
        """What only the snapshot needed goes, unless a guest has the volume."""
        with self._database.read() as tx:
            volume = store.volume_get(tx, volume_id)
        if volume is not None and volume.status == VolumeStatus.AVAILABLE.value:
            backend.compact(volume.bytes_id, self._live.idle(volume_id))

    def _end(self, snapshot: Snapshot, to: SnapshotStatus, problem: MinicloudError | None) -> None:
        with self._database.write() as tx:
            moved = rows.snapshot_move(tx, snapshot.id, [_S.CREATING], to)
            if moved and problem is not None:
                messages.add(tx, snapshot.project_id, "VOLUME_SNAPSHOT", snapshot.id, problem)
        if problem is not None:
            LOG.error("Snapshot %s: %s", snapshot.id, problem.message)
        elif moved:
            LOG.info("Snapshot %s of volume %s is kept", snapshot.id, snapshot.volume_id)
