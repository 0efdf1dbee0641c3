"""Volumes that go to another backend while a guest writes to them.

A new volume is made there, and the compute service is asked to put it in the old one's place: its
host has the guest's disk copied and calls ``complete``. Then the two rows exchange where their
bytes are, so the volume keeps its id, and what is left of the other row is deleted.

The guest has the new place, or is about to, from the moment when its attachment there is complete
(``completing``): every write goes to both until it has gone over. Where the server is gone before
``complete``, that tells which bytes are the volume's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from minicloud.domain.errors import (
    HostProblem,
    Invalid,
    MinicloudError,
    Unauthenticated,
    Unavailable,
)
from minicloud.domain.ids import new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import messages, store
from minicloud.volume.attachment_store import attachments_give
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.guests import Guests
from minicloud.volume.jobs import Jobs
from minicloud.volume.records import TARGET, Volume
from minicloud.volume.service import VolumeService, refused
from minicloud.volume.states import AttachmentStatus, VolumeStatus, of_attachments

LOG = logging.getLogger(__name__)


class Moving:
    def __init__(
        self,
        database: Database,
        volumes: VolumeService,
        attachments: AttachmentService,
        guests: Guests,
        jobs: Jobs,
    ) -> None:
        self._database, self._volumes, self._attachments = database, volumes, attachments
        self._guests, self._jobs = guests, jobs

    def place(self, tx: Transaction, volume: Volume, goal: Mapping[str, Any]) -> str:
        """The id of a new volume for the bytes of ``volume``, as ``goal`` says. Invalid: not one
        guest alone has it.
        """
        users = [each for each in volume.attachments if each.server_id]
        if len(users) != 1 or len(volume.attachments) != 1:
            raise refused(volume, "move", ["available", "in-use by one server"])
        now = clock.now()
        target = replace(
            volume,
            id=new_id(),
            status=VolumeStatus.CREATING.value,
            backend=str(goal["backend"]),
            type_id=str(goal.get("type_id", volume.type_id)),
            migration_status=f"{TARGET}:{volume.id}",
            name_id=None,
            snapshot_id=None,
            source_volid=None,
            image_id=None,
            backup_id=None,
            group_id=None,
            goal=None,
            metadata={},
            image_metadata={},
            attachments=(),
            created_at=now,
            updated_at=now,
        )
        store.volume_add(tx, target)
        return target.id

    def carry_on(self, volume: Volume) -> None:
        """Whatever is next on the volume's way."""
        self._jobs.submit("compute", f"move {volume.id}", lambda: self._carry_on(volume.id))

    def complete(self, ctx: Context, volume_id: str, target_id: str, *, failed: bool) -> str:
        """The guest has the new place, or, if ``failed``, the old one: the id under which its
        server knows the volume. Invalid: the one is not on its way to the other.
        """
        volume = self._volumes.get(ctx, volume_id)
        target = self._volumes.get(ctx, target_id)
        if not (volume.migration_status or target.migration_status):
            return target.id
        if not volume.migration_status:
            raise Invalid(reason="Invalid volume: Source volume not mid-migration.")
        if not target.migration_status:
            raise Invalid(reason="Invalid volume: Destination volume not mid-migration.")
        if target.target_of != volume.id:
            raise Invalid(
                reason="Invalid volume: Destination has migration_status "
                f"{target.migration_status}, expected {TARGET}:{volume.id}."
            )
        if failed:
            self._stay(volume, target, None)
        else:
            self._arrive(volume, target)
        return volume.id

    def tidy(self, target: Volume) -> None:
        """Remove a place to which its volume does not go any more."""
        with self._database.read() as tx:
            volume = store.volume_get(tx, target.target_of)
        goes = volume is not None and volume.migrates and _target(volume) == target.id
        if not goes and not target.attachments:
            self._drop(target)

    def _carry_on(self, volume_id: str) -> None:
        with self._database.write() as tx:
            store.volume_lock(tx, volume_id)
            volume = store.volume_get(tx, volume_id)
            if volume is None or not volume.migrates or not _target(volume):
                return
            store.volume_leaves(tx, volume_id)
        target = self._made(_target(volume))
        if target is None:
            self._stay(volume, None, HostProblem(reason="The volume's new place was deleted."))
        elif target.attachments:
            pass  # the guest is being moved: its host calls ``complete``
        elif volume.migration_status == "completing":
            if not volume.attachments:
                self._arrive(volume, target)
        elif not volume.attachments:
            self._stay(volume, target, HostProblem(reason="No server has the volume any more."))
        elif target.status == VolumeStatus.ERROR.value:
            self._stay(volume, target, HostProblem(reason="Its new place could not be made."))
        elif target.status == VolumeStatus.AVAILABLE.value:
            self._ask(volume, target)

    def _made(self, target_id: str) -> Volume | None:
        with self._database.read() as tx:
            target = store.volume_get(tx, target_id)
        if target is not None and target.status == VolumeStatus.CREATING.value:
            self._volumes.finish_creating(target)
            with self._database.read() as tx:
                return store.volume_get(tx, target_id)
        return target

    def _ask(self, volume: Volume, target: Volume) -> None:
        server_id = volume.attachments[0].server_id
        try:
            self._guests.swap(server_id, volume.id, target.id)
        except (Unavailable, Unauthenticated):
            raise  # the compute service is away: the pass asks again
        except MinicloudError as problem:
            self._stay(volume, target, problem)

    def _arrive(self, volume: Volume, target: Volume) -> None:
        """The volume is where ``target`` was."""
        for each in volume.attachments:
            self._attachments.release(each.id, volume)
        now = clock.now()
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            store.volume_lock(tx, target.id)
            old, new = store.volume_get(tx, volume.id), store.volume_get(tx, target.id)
            if old is None or new is None or new.target_of != old.id:
                return
            attachments_give(tx, new.id, old.id)
            store.volume_update(
                tx,
                old.id,
                {
                    "backend": new.backend,
                    "name_id": _name_id(old.id, new),
                    "type_id": new.type_id,
                    "goal": None,
                    "status": _status(new),
                    "migration_status": "success",
                },
                now,
            )
            store.volume_update(
                tx,
                new.id,
                {
                    "backend": old.backend,
                    "name_id": _name_id(new.id, old),
                    "type_id": old.type_id,
                    "description": f"migration src for {old.id}",
                    "status": VolumeStatus.DELETING.value,
                    "migration_status": "deleting",
                },
                now,
            )
            left = store.volume_get(tx, new.id)
        LOG.info("Volume %s is on backend %s", old.id, new.backend)
        if left is not None:
            self._volumes.finish_deleting(left)

    def _stay(self, volume: Volume, target: Volume | None, problem: MinicloudError | None) -> None:
        """The volume is where it was."""
        if target is not None:
            for each in target.attachments:
                self._attachments.release(each.id, target)
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            now = store.volume_get(tx, volume.id)
            if now is None or not now.migrates or _target(now) != _target(volume):
                return
            values = {"goal": None, "status": _status(now), "migration_status": "error"}
            store.volume_update(tx, volume.id, values, clock.now())
            if problem is not None:
                messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)
        LOG.error(
            "Volume %s does not move: %s",
            volume.id,
            "its guest could not" if problem is None else problem.message,
        )
        if target is not None:
            self._drop(target)

    def _drop(self, target: Volume) -> None:
        """Delete a place that is one still, and nobody's."""
        values = {"status": VolumeStatus.DELETING.value, "migration_status": "deleting"}
        with self._database.write() as tx:
            store.volume_lock(tx, target.id)
            now = store.volume_get(tx, target.id)
            if now is None or now.target_of != target.target_of or now.attachments:
                return
            store.volume_update(tx, target.id, values, clock.now())
        self._volumes.finish_deleting(now)


def _target(volume: Volume) -> str:
    return str((volume.goal or {}).get("target", ""))


def _name_id(volume_id: str, place: Volume) -> str | None:
    return None if place.bytes_id == volume_id else place.bytes_id


def _status(volume: Volume) -> str:
    kept = [each for each in volume.attachments if each.status != AttachmentStatus.DETACHING.value]
    return of_attachments([each.status for each in kept]).value
