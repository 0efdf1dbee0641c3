"""The pass: what a kill, a lost process or a failed command left undone is done here.

It runs at start and every few seconds and looks at rows, files and processes alone; each thing it
finds it hands to the method that a request would have called.
"""

from __future__ import annotations

import logging
from functools import partial

from minicloud.domain.errors import MinicloudError
from minicloud.kit.db import Database
from minicloud.volume import attachment_store, store
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.backends.base import Backend
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.service import VolumeService
from minicloud.volume.states import AttachmentStatus, VolumeStatus

LOG = logging.getLogger(__name__)


class Reconciler:
    def __init__(
        self,
        database: Database,
        backend: Backend,
        exporter: Exporter,
        desired: DesiredExports,
        volumes: VolumeService,
        attachments: AttachmentService,
    ) -> None:
        self._database, self._backend = database, backend
        self._exporter, self._desired = exporter, desired
        self._volumes, self._attachments = volumes, attachments

    def run(self) -> None:
        """One pass. What goes wrong with one thing does not keep it from the others."""
        self._finish_volumes()
        self._finish_attachments()
        self._match_exports()
        self._backend.sweep(self._known)

    def _finish_volumes(self) -> None:
        work = {
            VolumeStatus.CREATING: self._volumes.finish_creating,
            VolumeStatus.EXTENDING: self._volumes.finish_extending,
            VolumeStatus.DELETING: self._volumes.finish_deleting,
        }
        with self._database.read() as tx:
            unfinished = store.volumes_in(tx, self._volumes.host, list(work))
        for volume in unfinished:
            work[VolumeStatus(volume.status)](volume)

    def _finish_attachments(self) -> None:
        with self._database.read() as tx:
            rows = attachment_store.attachments_on(tx, self._volumes.host)
        for attachment in rows:
            if attachment.status != AttachmentStatus.DETACHING.value:
                continue
            try:
                self._attachments.finish_detaching(attachment)
            except MinicloudError as problem:
                LOG.error("Attachment %s stays detaching: %s", attachment.id, problem.message)

    def _match_exports(self) -> None:
        desired = self._desired.all()
        missing = {key for key, export in desired.items() if not self._exporter.runs(export)}
        for export_id in sorted(missing | (self._exporter.ids() - set(desired))):
            try:
                # Asked again in there: rows may have changed since.
                self._exporter.ensure(export_id, partial(self._desired.of, export_id))
            except MinicloudError as problem:
                LOG.error("Export %s: %s", export_id, problem.message)

    def _known(self) -> set[str]:
        with self._database.read() as tx:
            return store.volume_ids(tx, self._volumes.host)
