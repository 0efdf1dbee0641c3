"""The pass: what a kill, a lost process or a failed command left undone is done here.

It runs at start and every few seconds and looks at rows, files and processes alone; each thing it
finds it hands to the method that a request would have called.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from minicloud.domain.errors import MinicloudError
from minicloud.domain.ids import derive
from minicloud.kit.db import Database
from minicloud.volume import attachment_store, backup_store, snapshot_store, store
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.backends import Backends
from minicloud.volume.backends.base import Known
from minicloud.volume.backups import BackupService
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.imaging import Imaging
from minicloud.volume.live import LiveVolumes
from minicloud.volume.messages import MessageService
from minicloud.volume.moving import Moving
from minicloud.volume.presence import Roll
from minicloud.volume.records import Volume
from minicloud.volume.retyping import Retyping
from minicloud.volume.scratch import Scratch
from minicloud.volume.service import VolumeService
from minicloud.volume.snapshots import SnapshotService
from minicloud.volume.states import AttachmentStatus, BackupStatus, SnapshotStatus, VolumeStatus

LOG = logging.getLogger(__name__)


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Who finishes what."""

    volumes: VolumeService
    snapshots: SnapshotService
    attachments: AttachmentService
    imaging: Imaging
    retyping: Retyping
    moving: Moving
    messages: MessageService
    backups: BackupService


class Reconciler:
    def __init__(
        self,
        database: Database,
        backends: Backends,
        exporter: Exporter,
        desired: DesiredExports,
        live: LiveVolumes,
        roll: Roll,
        services: Services,
        scratch: Scratch,
    ) -> None:
        self._database, self._backends, self._roll = database, backends, roll
        self._scratch = scratch
        self._exporter, self._desired, self._live = exporter, desired, live
        self._services, self._host = services, services.volumes.host
        self._starts = True

    def run(self) -> None:
        """One pass. What goes wrong with one thing does not keep it from the others."""
        self._match_exports()
        self._roll.report()
        self._finish_volumes()
        self._finish_snapshots()
        self._finish_backups()
        self._finish_attachments()
        self._merge_layers()
        for name, backend in self._backends:
            try:
                backend.sweep(partial(self._known, name))
            except MinicloudError as problem:
                LOG.error("Backend %s is not swept: %s", name, problem.message)
        self._scratch.sweep()
        self._services.messages.forget_old()

    def _finish_volumes(self) -> None:
        here = self._services
        work: dict[VolumeStatus, Callable[[Volume], object]] = {
            VolumeStatus.CREATING: here.volumes.finish_creating,
            VolumeStatus.DOWNLOADING: self._finish_downloading,
            VolumeStatus.EXTENDING: here.volumes.finish_extending,
            VolumeStatus.REVERTING: here.snapshots.finish_reverting,
            VolumeStatus.UPLOADING: here.imaging.finish_uploading,
            VolumeStatus.RESTORING: here.backups.finish_restoring,
            VolumeStatus.RETYPING: here.retyping.finish,
            VolumeStatus.DELETING: here.volumes.finish_deleting,
        }
        with self._database.read() as tx:
            unfinished = store.volumes_in(tx, self._host, list(work))
            moving = store.volumes_moving(tx, self._host)
        turns = [(work[VolumeStatus(each.status)], each) for each in unfinished]
        turns += [(here.moving.tidy, each) for each in moving if each.target_of]
        known = {each.id for each in unfinished}
        turns += [
            (here.retyping.finish, each)
            for each in moving
            if each.migrates and each.id not in known
        ]
        for finish, volume in turns:
            try:
                finish(volume)
            except MinicloudError as problem:
                LOG.error("Volume %s stays %s: %s", volume.id, volume.status, problem.message)

    def _finish_downloading(self, volume: Volume) -> None:
        if volume.goal and "reimage" in volume.goal:
            self._services.imaging.finish_reimaging(volume)
        else:
            self._services.volumes.finish_creating(volume)

    def _finish_snapshots(self) -> None:
        with self._database.read() as tx:
            unfinished = snapshot_store.snapshots_in(
                tx, self._host, [SnapshotStatus.CREATING, SnapshotStatus.DELETING]
            )
        here = self._services.snapshots
        for snapshot in unfinished:
            try:
                if snapshot.status == SnapshotStatus.CREATING.value:
                    here.finish_creating(snapshot)
                else:
                    here.finish_deleting(snapshot)
            except MinicloudError as problem:
                LOG.error("Snapshot %s stays %s: %s", snapshot.id, snapshot.status, problem.message)

    def _finish_backups(self) -> None:
        with self._database.write() as tx:
            backup_store.backups_end_restores(tx, self._host)
        with self._database.read() as tx:
            unfinished = backup_store.backups_in(
                tx, self._host, [BackupStatus.CREATING, BackupStatus.DELETING]
            )
        for backup in unfinished:
            if backup.status == BackupStatus.CREATING.value:
                self._services.backups.finish_creating(backup)
            else:
                self._services.backups.finish_deleting(backup)

    def _finish_attachments(self) -> None:
        with self._database.read() as tx:
            rows = attachment_store.attachments_on(tx, self._host)
        for attachment in rows:
            if attachment.status != AttachmentStatus.DETACHING.value:
                continue
            try:
                self._services.attachments.finish_detaching(attachment)
            except MinicloudError as problem:
                LOG.error("Attachment %s stays detaching: %s", attachment.id, problem.message)

    def _merge_layers(self) -> None:
        """Of volumes in use; what nobody has is compacted when a snapshot goes."""
        in_use = self._desired.attached()
        for name, backend in self._backends:
            here = {each.bytes_id: each.id for each in in_use if each.backend == name}
            try:
                deep = backend.mergeable(here) if here else ()
            except MinicloudError as problem:
                LOG.error("Backend %s cannot tell what to merge: %s", name, problem.message)
                continue
            for bytes_id in deep:
                try:
                    backend.merge(bytes_id, self._live.merging(here[bytes_id]))
                except MinicloudError as problem:
                    LOG.error("Layers of volume %s: %s", here[bytes_id], problem.message)

    def _match_exports(self) -> None:
        desired = self._desired.all()
        # A daemon whose service was killed may lack an export that was being added.
        missing = {
            bytes_id
            for bytes_id, exports in desired.items()
            if self._starts or not self._exporter.is_alive(bytes_id, exports)
        }
        self._starts = False
        for bytes_id in sorted(missing | (self._exporter.ids() - set(desired))):
            try:
                # Asked again in there: rows may have changed since.
                self._live.serve(bytes_id)
            except MinicloudError as problem:
                LOG.error("Exports of volume %s: %s", bytes_id, problem.message)

    def _known(self, backend: str) -> Known:
        with self._database.read() as tx:
            volumes = store.volumes_on(tx, self._host)
            snapshots = snapshot_store.snapshot_ids(tx, self._host)
        return Known(
            volumes={each.bytes_id for each in volumes if backend in _places(each)},
            # Moments that are kept only while something is made of them.
            snapshots=snapshots.union(*(_moments(each) for each in volumes)),
        )


def _places(volume: Volume) -> set[str]:
    goal = volume.goal or {}
    return {volume.backend, *(str(goal[key]) for key in ("backend", "from") if key in goal)}


def _moments(volume: Volume) -> set[str]:
    goal = volume.goal or {}
    found = set()
    if volume.status == VolumeStatus.CREATING.value:
        found.add(derive("clone", volume.id))
    for key, word in (("image_id", "upload"), ("backup_id", "backup")):
        if key in goal:
            found.add(derive(word, str(goal[key])))
    return found
