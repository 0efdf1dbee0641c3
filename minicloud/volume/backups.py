"""Backups: a volume's bytes kept elsewhere, whole or as the difference to the last one.

A backup is taken from a moment that the backend keeps for it, so the volume may be written
meanwhile. Its row comes first and goes last; the vault's directory gets its name when it is whole.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from minicloud.domain.errors import HostProblem, Invalid, MinicloudError, NotFound, Unavailable
from minicloud.domain.ids import derive, is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import backup_store as rows
from minicloud.volume import listing, messages, snapshot_store, store
from minicloud.volume.access import is_visible
from minicloud.volume.backends import Backends, qemu_img
from minicloud.volume.backends.base import StoreAway
from minicloud.volume.backends.disks import Disk, DiskFile
from minicloud.volume.filling import Filling
from minicloud.volume.jobs import Jobs
from minicloud.volume.listing import Listing
from minicloud.volume.live import PATIENCE_S, LiveVolumes
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import GIB, Backup, Snapshot, Volume
from minicloud.volume.scratch import Scratch
from minicloud.volume.service import NewVolume, VolumeService, refused
from minicloud.volume.states import BackupStatus, SnapshotStatus, VolumeStatus
from minicloud.volume.vault import Vault

LOG = logging.getLogger(__name__)
_B = BackupStatus
DELETABLE = (_B.AVAILABLE, _B.ERROR, _B.ERROR_DELETING)
SETTABLE = (_B.AVAILABLE, _B.ERROR)
SERVICE = "minicloud.volume.vault"
"""The name that exported records carry."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known of a backup to find it again in the vault."""

    id: str
    volume_id: str
    size_gb: int
    object_count: int
    parent_id: str | None
    name: str
    description: str
    data_at: float


class BackupService:
    def __init__(
        self,
        database: Database,
        backends: Backends,
        live: LiveVolumes,
        quotas: Quotas,
        vault: Vault,
        filling: Filling,
        volumes: VolumeService,
        jobs: Jobs,
        scratch: Scratch,
    ) -> None:
        self._database, self._backends, self._live = database, backends, live
        self._quotas, self._vault, self._filling = quotas, vault, filling
        self._volumes, self._jobs, self._scratch = volumes, jobs, scratch

    # -- reading ---------------------------------------------------------------------------------
    def get(self, ctx: Context, backup_id: str) -> tuple[Backup, int]:
        """(the backup, how many are built upon it). NotFound also for another project's."""
        with self._database.read() as tx:
            found = self._visible(tx, ctx, backup_id)
            return found, rows.dependents(tx, [backup_id]).get(backup_id, 0)

    def select(self, asked: Listing) -> list[tuple[Backup, int]]:
        with self._database.read() as tx:
            found = rows.backups_select(tx, listing.page(tx, asked))
            built = rows.dependents(tx, [each.id for each in found])
        return [(each, built.get(each.id, 0)) for each in found]

    def count(self, asked: Listing) -> int:
        with self._database.read() as tx:
            return listing.count(tx, asked)

    # -- taking ----------------------------------------------------------------------------------
    def create(
        self,
        ctx: Context,
        volume_id: str,
        *,
        snapshot_id: str | None,
        incremental: bool,
        force: bool,
        name: str,
        description: str,
        metadata: Mapping[str, str],
    ) -> Backup:
        """Keep what the volume, or a snapshot of it, has. Invalid: the volume is in use, unless
        ``force`` or a snapshot is named; or there is no whole backup to build upon.
        """
        backup_id, now = new_id(), clock.now()
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            snapshot = self._snapshot(tx, volume, snapshot_id)
            below = rows.latest_of(tx, volume_id, volume.project_id) if incremental else None
            if incremental and below is None:
                raise Invalid(
                    reason="Invalid backup: No backups available to do an incremental backup."
                )
            self._quotas.admit(tx, volume.project_id, backups=1, backup_gigabytes=volume.size_gb)
            if snapshot is None:
                allowed = ["available", *(["in-use"] if force else [])]
                if volume.status not in allowed:
                    raise refused(volume, "back up", allowed)
                goal = {"goal": {"backup_id": backup_id}}
                self._volumes.move(tx, volume, "back_up", goal)
            made = Backup(
                id=backup_id,
                project_id=volume.project_id,
                user_id=ctx.user_id,
                volume_id=volume_id,
                snapshot_id=snapshot_id,
                parent_id=below.id if below else None,
                host=volume.host,
                name=name,
                description=description,
                metadata=dict(metadata),
                size_gb=snapshot.size_gb if snapshot else volume.size_gb,
                object_count=0,
                status=_B.CREATING.value,
                fail_reason=None,
                restore_volume_id=None,
                created_at=now,
                updated_at=now,
                data_at=snapshot.created_at if snapshot else now,
            )
            rows.backup_add(tx, made)
            if snapshot is not None:
                snapshot_store.snapshot_move(
                    tx, snapshot.id, [SnapshotStatus.AVAILABLE], SnapshotStatus.BACKING_UP
                )
        if made.host == self._volumes.host:
            self.finish_creating(made)
        return made

    def finish_creating(self, backup: Backup) -> None:
        with self._database.read() as tx:
            volume = store.volume_get(tx, backup.volume_id)
        lane = volume.backend if volume else ""
        self._jobs.submit(lane, f"backup {backup.id}", lambda: self._take(backup))

    def _take(self, backup: Backup) -> None:
        problem: MinicloudError | None = None
        stored = 0
        try:
            stored = self._store(backup)
        except MinicloudError as failed:
            waited = clock.now() - backup.created_at
            if isinstance(failed, StoreAway) or (
                isinstance(failed, Unavailable) and waited < PATIENCE_S
            ):
                raise  # the pass tries again
            problem = failed
            LOG.error("Backup %s: %s", backup.id, failed.message)
        with self._database.write() as tx:
            if problem is None:
                rows.backup_move(tx, backup.id, [_B.CREATING], _B.AVAILABLE, object_count=stored)
            else:
                reason = problem.message[:255]
                rows.backup_move(tx, backup.id, [_B.CREATING], _B.ERROR, fail_reason=reason)
                messages.add(tx, backup.project_id, "VOLUME_BACKUP", backup.id, problem)
            self._give_back(tx, backup)

    def _give_back(self, tx: Transaction, backup: Backup) -> None:
        """What was backed up is there for other things again."""
        if backup.snapshot_id:
            snapshot_store.snapshot_move(
                tx, backup.snapshot_id, [SnapshotStatus.BACKING_UP], SnapshotStatus.AVAILABLE
            )
            return
        store.volume_lock(tx, backup.volume_id)
        volume = store.volume_get(tx, backup.volume_id)
        if volume is not None and (volume.goal or {}).get("backup_id") == backup.id:
            store.volume_follow(tx, backup.volume_id, after=VolumeStatus.BACKING_UP)

    def _store(self, backup: Backup) -> int:
        with self._database.read() as tx:
            volume = store.volume_get(tx, backup.volume_id)
        if volume is None:
            raise NotFound(kind="Volume", id=backup.volume_id)
        backend = self._backends.of(volume)
        if backup.snapshot_id:
            source = backend.snapshot_disk(backup.snapshot_id)
            return self._write(backup, source)
        with self._live.moment(backend, derive("backup", backup.id), volume) as source:
            return self._write(backup, source)

    def _write(self, backup: Backup, source: Disk) -> int:
        if isinstance(source, DiskFile) and source.format == "raw":
            return self._vault.write(backup.id, source.path, backup.parent_id)
        with self._scratch.file() as path:
            qemu_img.copy(source, path, "raw")
            return self._vault.write(backup.id, path, backup.parent_id)

    # -- restoring -------------------------------------------------------------------------------
    def restore(
        self, ctx: Context, backup_id: str, volume_id: str | None, name: str | None
    ) -> tuple[Backup, Volume]:
        """Give a volume, or a new one, the backup's bytes: (the backup, the volume). Invalid: the
        volume is not available, or too small.
        """
        backup = self._filling.backup(ctx, backup_id)
        if volume_id is None:
            asked = NewVolume(
                project_id=backup.project_id,
                size_gb=backup.size_gb,
                name=name or f"restore_backup_{backup_id}",
                description="auto-created_from_restore_from_backup",
                backup_id=backup_id,
            )
            return backup, self._volumes.create(ctx, asked)
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            if volume.size_gb < backup.size_gb:
                raise Invalid(
                    reason=f"Invalid input received: volume size {volume.size_gb} is too small to "
                    f"restore backup of size {backup.size_gb}."
                )
            self._volumes.move(tx, volume, "restore", {"goal": {"restore": backup_id}})
            moved = rows.backup_move(
                tx, backup_id, [_B.AVAILABLE], _B.RESTORING, restore_volume_id=volume_id
            )
            if not moved:
                raise Invalid(reason=f"Invalid backup: Backup {backup_id} is not available.")
            volume = self._volumes.visible(tx, ctx, volume_id)
        if volume.host == self._volumes.host:
            self.finish_restoring(volume)
        return backup, volume

    def finish_restoring(self, volume: Volume) -> None:
        self._jobs.submit(volume.backend, f"restore {volume.id}", lambda: self._restore(volume))

    def _restore(self, volume: Volume) -> None:
        backup_id = str((volume.goal or {}).get("restore"))
        problem: MinicloudError | None = None
        try:
            self._filling.restore(volume, backup_id)
        except StoreAway:
            raise  # the pass tries again
        except MinicloudError as failed:
            problem = failed
            LOG.error("Volume %s is not restored: %s", volume.id, failed.message)
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            if problem is None:
                store.volume_follow(tx, volume.id, after=VolumeStatus.RESTORING)
            elif store.volume_move(tx, volume.id, "restore_failed", clock.now()):
                messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)
            rows.backup_move(tx, backup_id, [_B.RESTORING], _B.AVAILABLE)

    # -- going -----------------------------------------------------------------------------------
    def delete(self, ctx: Context, backup_id: str, *, force: bool = False) -> None:
        """Invalid: others are built upon it, or it is busy (unless ``force``)."""
        with self._database.write() as tx:
            backup = self._held(tx, ctx, backup_id)
            if backup.status == _B.DELETING.value:
                return
            if rows.dependents(tx, [backup_id]):
                raise Invalid(
                    reason="Invalid backup: Incremental backups exist for this backup: delete "
                    "them first."
                )
            start = tuple(_B) if force else DELETABLE
            if not rows.backup_move(tx, backup_id, start, _B.DELETING):
                raise Invalid(
                    reason=f"Invalid backup: Backup status must be "
                    f"{' or '.join(each.value for each in DELETABLE)}, but is {backup.status}."
                )
            self._give_back(tx, backup)
        if backup.host == self._volumes.host:
            self.finish_deleting(backup)

    def finish_deleting(self, backup: Backup) -> None:
        try:
            self._vault.remove(backup.id)
        except HostProblem as problem:
            LOG.error("Backup %s stays deleting: %s", backup.id, problem.message)
            return
        with self._database.write() as tx:
            rows.backup_remove(tx, backup.id)
        LOG.info("Backup %s is deleted", backup.id)

    # -- changes of the row alone ----------------------------------------------------------------
    def update(self, ctx: Context, backup_id: str, values: Mapping[str, Any]) -> Backup:
        with self._database.write() as tx:
            self._held(tx, ctx, backup_id)
            rows.backup_update(tx, backup_id, values)
            return self._visible(tx, ctx, backup_id)

    def reset_status(self, ctx: Context, backup_id: str, status: BackupStatus) -> None:
        self.update(ctx, backup_id, {"status": status.value})

    # -- records ---------------------------------------------------------------------------------
    def export(self, ctx: Context, backup_id: str) -> str:
        """What another cloud with the same vault needs to have the backup. Invalid: it is not
        whole.
        """
        backup = self._filling.backup(ctx, backup_id)
        record = Record(
            id=backup.id,
            volume_id=backup.volume_id,
            size_gb=backup.size_gb,
            object_count=backup.object_count,
            parent_id=backup.parent_id,
            name=backup.name,
            description=backup.description,
            data_at=backup.data_at,
        )
        return base64.b64encode(msgspec.json.encode(record)).decode()

    def take_in(self, ctx: Context, project_id: str, service: str, written: str) -> Backup:
        """The backup of an exported record, from this host's vault. Invalid: it is no record, or
        its bytes are not there, or the backup is here already.
        """
        if service != SERVICE:
            raise Invalid(reason=f"Invalid input received: backup_service must be {SERVICE}.")
        try:
            record = msgspec.json.decode(base64.b64decode(written, validate=True), type=Record)
        except (ValueError, msgspec.DecodeError):
            raise Invalid(reason="Invalid input received: backup_url is no record.") from None
        if not is_uuid(record.id) or not is_uuid(record.volume_id):
            raise Invalid(reason="Invalid input received: the record names no backup.")
        try:
            manifest = self._vault.manifest(record.id)
        except HostProblem:
            raise Invalid(
                reason=f"Invalid backup: the bytes of backup {record.id} are not in the vault."
            ) from None
        size_gb = max(1, -(-manifest.size_bytes // GIB))
        now = clock.now()
        with self._database.write() as tx:
            if rows.backup_get(tx, record.id) is not None:
                raise Invalid(reason=f"Invalid backup: Backup {record.id} is here already.")
            parent = record.parent_id
            if parent is not None and (not is_uuid(parent) or rows.backup_get(tx, parent) is None):
                raise Invalid(
                    reason="Invalid backup: import the backup that this one is built upon first."
                )
            self._quotas.admit(tx, project_id, backups=1, backup_gigabytes=size_gb)
            made = Backup(
                id=record.id,
                project_id=project_id,
                user_id=ctx.user_id,
                volume_id=record.volume_id,
                snapshot_id=None,
                parent_id=parent,
                host=self._volumes.host,
                name=record.name[:255],
                description=record.description[:255],
                metadata={},
                size_gb=size_gb,
                object_count=max(0, min(record.object_count, 2**31 - 1)),
                status=_B.AVAILABLE.value,
                fail_reason=None,
                restore_volume_id=None,
                created_at=now,
                updated_at=now,
                data_at=record.data_at,
            )
            rows.backup_add(tx, made)
        return made

    # -- parts -----------------------------------------------------------------------------------
    def _snapshot(
        self, tx: Transaction, volume: Volume, snapshot_id: str | None
    ) -> Snapshot | None:
        if snapshot_id is None:
            return None
        found = snapshot_store.snapshot_get(tx, snapshot_id) if is_uuid(snapshot_id) else None
        if found is None or found.project_id != volume.project_id:
            raise NotFound(kind="Snapshot", id=snapshot_id)
        if found.volume_id != volume.id:
            raise Invalid(reason=f"Invalid snapshot: {snapshot_id} is of another volume.")
        if found.status != SnapshotStatus.AVAILABLE.value:
            raise Invalid(reason=f"Invalid snapshot: {snapshot_id} is {found.status}.")
        return found

    def _visible(self, tx: Transaction, ctx: Context, backup_id: str) -> Backup:
        found = rows.backup_get(tx, backup_id) if is_uuid(backup_id) else None
        if found is None or not is_visible(ctx, found.project_id):
            raise NotFound(kind="Backup", id=backup_id)
        return found

    def _held(self, tx: Transaction, ctx: Context, backup_id: str) -> Backup:
        self._visible(tx, ctx, backup_id)
        rows.backup_lock(tx, backup_id)
        return self._visible(tx, ctx, backup_id)
