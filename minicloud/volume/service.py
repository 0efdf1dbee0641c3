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

from minicloud.domain.errors import HostProblem, Invalid, MinicloudError, NotFound
from minicloud.domain.ids import derive, is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import listing, messages, snapshot_store, store
from minicloud.volume.access import is_visible
from minicloud.volume.backends import Backends
from minicloud.volume.backends.qemu_img import Busy
from minicloud.volume.filling import Filling
from minicloud.volume.guests import Guests
from minicloud.volume.images import Images, check_fits, image_metadata
from minicloud.volume.jobs import Jobs, try_now
from minicloud.volume.listing import Listing
from minicloud.volume.live import LiveVolumes
from minicloud.volume.presence import Roll
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import Snapshot, Usage, Volume, VolumeType
from minicloud.volume.states import ALONE, MOVES, SnapshotStatus, VolumeStatus
from minicloud.volume.types import Types, backend_of

LOG = logging.getLogger(__name__)
METADATA_ITEMS = 128


class NewVolume(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume is asked to be. At most one source; ``size_gb`` None: its source's."""

    project_id: str
    size_gb: int | None = None
    name: str = ""
    description: str = ""
    metadata: Mapping[str, str] = {}
    type_name: str | None = None
    """Or its id; None: the default, or the source's."""
    image_id: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    backup_id: str | None = None
    multiattach: bool = False
    group_id: str | None = None


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """What a new volume takes over from what it is made of."""

    size_gb: int | None = None
    least_gb: int = 0
    bootable: bool = False
    type_id: str | None = None
    host: str | None = None
    backend: str | None = None
    image_metadata: Mapping[str, str] = {}


class VolumeService:
    """``host``: the name of this host, which has the files of ``backends``."""

    def __init__(
        self,
        database: Database,
        backends: Backends,
        live: LiveVolumes,
        quotas: Quotas,
        types: Types,
        images: Images,
        filling: Filling,
        jobs: Jobs,
        roll: Roll,
        guests: Guests,
        *,
        host: str,
    ) -> None:
        self._database, self._backends, self._live = database, backends, live
        self._quotas, self._types, self._images = quotas, types, images
        self._filling, self._jobs, self._roll = filling, jobs, roll
        self._guests = guests
        self.host = host

    # -- reading ---------------------------------------------------------------------------------
    def get(self, ctx: Context, volume_id: str) -> Volume:
        """NotFound also for another project's volume."""
        with self._database.read() as tx:
            return self.visible(tx, ctx, volume_id)

    def select(self, asked: Listing) -> list[Volume]:
        with self._database.read() as tx:
            return store.volumes_select(tx, listing.page(tx, asked))

    def count(self, asked: Listing) -> int:
        with self._database.read() as tx:
            return listing.count(tx, asked)

    def summary(self, project_id: str | None) -> tuple[Usage, Mapping[str, Sequence[str]]]:
        """How much there is, and metadata key -> values. None: in all projects."""
        with self._database.read() as tx:
            return store.project_usage(tx, project_id), store.metadata_values(tx, project_id)

    # -- making ----------------------------------------------------------------------------------
    def create(self, ctx: Context, asked: NewVolume) -> Volume:
        """A new volume, as it is before it has bytes. QuotaExceeded; Invalid and NotFound for
        what it is to be made of.
        """
        source = self._source(ctx, asked)
        size_gb = asked.size_gb or source.size_gb
        if size_gb is None:
            raise Invalid(reason="Invalid input received: a volume needs a size.")
        _check_size(asked, source, size_gb)
        now = clock.now()
        with self._database.write() as tx:
            kind = self._types.choose(tx, ctx, asked.project_id, asked.type_name, source.type_id)
            made = Volume(
                id=new_id(),
                project_id=asked.project_id,
                user_id=ctx.user_id,
                host=source.host or self.host,
                name=asked.name,
                description=asked.description,
                size_gb=size_gb,
                status=VolumeStatus.CREATING.value,
                bootable=source.bootable,
                created_at=now,
                updated_at=now,
                backend=_backend(kind, source),
                type_id=kind.id,
                snapshot_id=asked.snapshot_id,
                source_volid=asked.source_volid,
                image_id=asked.image_id,
                backup_id=asked.backup_id,
                multiattach=asked.multiattach or _says_multiattach(kind),
                group_id=asked.group_id,
                metadata=dict(asked.metadata),
                image_metadata=source.image_metadata,
                attachments=(),
                type_name=kind.name,
            )
            self._quotas.admit(tx, asked.project_id, volumes=1, gigabytes=size_gb, size_gb=size_gb)
            if asked.group_id:
                _check_group(store.group_of(tx, asked.group_id), asked, kind)
            if asked.snapshot_id and not snapshot_store.snapshot_lock(tx, asked.snapshot_id):
                raise NotFound(kind="Snapshot", id=asked.snapshot_id)
            store.volume_add(tx, made)
            closed = not self._roll.takes_volumes(tx, made.host)
        if closed:
            problem = HostProblem(reason="No valid backend was found: the operator disabled it.")
            self._end(made, "create_failed", problem)
        elif made.host == self.host:
            try_now(self.finish_creating, made)
        return made

    def finish_creating(self, volume: Volume) -> None:
        """From ``creating`` to ``available``, or to ``error`` where it cannot be made. What takes
        long is done by a job.
        """
        if volume.image_id or volume.backup_id:
            self._jobs.submit(volume.backend, f"create {volume.id}", lambda: self._fill(volume))
        else:
            self._fill(volume)

    def _fill(self, volume: Volume) -> None:
        if volume.image_id:
            with self._database.write() as tx:
                store.volume_move(tx, volume.id, "download", clock.now())
        try:
            self._filling.fill(volume)
        except MinicloudError as problem:
            if problem.retryable and not isinstance(problem, HostProblem):
                raise  # somebody is away: the pass tries again
            self._end(volume, "create_failed", problem)
            return
        self._end(volume, "created")

    # -- growing ---------------------------------------------------------------------------------
    def extend(self, ctx: Context, volume_id: str, size_gb: int, *, in_use: bool) -> None:
        """Make a volume larger. ``in_use``: also while guests have it. Invalid: not larger, or in
        use by a guest that would not bear it.
        """
        with self._database.write() as tx:
            volume = self.held(tx, ctx, volume_id)
            if size_gb <= volume.size_gb:
                raise Invalid(
                    reason=f"Invalid input received: New size for extend must be greater than "
                    f"current size. (current: {volume.size_gb}, extended: {size_gb})."
                )
            growth = size_gb - volume.size_gb
            self._quotas.admit(tx, volume.project_id, volumes=0, gigabytes=growth, size_gb=size_gb)
            verb = "extend"
            if in_use and volume.status == VolumeStatus.IN_USE.value:
                verb = "extend_in_use"
                if not _all_reconnect(volume):
                    raise Invalid(
                        reason=f"Invalid volume: Volume {volume.id} cannot grow while it is "
                        "attached: a guest's NBD connection does not come back after a pause. "
                        "Detach it first."
                    )
            self.move(tx, volume, verb, {"size_gb": size_gb})
        if volume.host == self.host:
            try_now(self.finish_extending, msgspec.structs.replace(volume, size_gb=size_gb))

    def finish_extending(self, volume: Volume) -> None:
        try:
            self._backends.of(volume).grow(
                volume.bytes_id, volume.size_bytes, self._live.pausing(volume.id)
            )
        except Busy:
            # Its guest has the file open, and makes it larger when it is told.
            self._guests.grown(volume)
            return
        except HostProblem as problem:
            self._end(volume, "extend_failed", problem)
            return
        self._settle(volume, VolumeStatus.EXTENDING)
        self._guests.grown(volume)

    # -- going -----------------------------------------------------------------------------------
    def delete(
        self, ctx: Context, volume_id: str, *, force: bool = False, cascade: bool = False
    ) -> None:
        """Invalid: it is attached, busy with something else (unless ``force``), or has snapshots
        (unless ``cascade``).
        """
        with self._database.write() as tx:
            volume = self.held(tx, ctx, volume_id)
            if volume.status == VolumeStatus.DELETING.value:
                return
            left = snapshot_store.snapshots_of(tx, volume_id)
            if left and not cascade:
                raise Invalid(
                    reason=f"Invalid volume: Volume {volume_id} still has {len(left)} dependent "
                    "snapshots; delete them first, or delete with cascade."
                )
            if volume.group_id is not None and not force:
                raise Invalid(
                    reason=f"Invalid volume: Volume {volume_id} belongs to group "
                    f"{volume.group_id}: take it out first."
                )
            self.move(tx, volume, "force_delete" if force else "delete")
            for snapshot in left:
                gone = snapshot_store.snapshot_move(
                    tx, snapshot.id, _DELETABLE, SnapshotStatus.DELETING
                )
                if not gone:
                    raise Invalid(
                        reason=f"Invalid volume: Snapshot {snapshot.id} of volume {volume_id} is "
                        f"{snapshot.status}."
                    )
        if volume.host == self.host:
            try_now(self.finish_deleting, volume)

    def finish_deleting(self, volume: Volume) -> None:
        """From ``deleting`` to gone, its snapshots first. Where the backend cannot, it stays
        ``deleting`` and the next pass tries again.
        """
        try:
            with self._database.read() as tx:
                left = snapshot_store.snapshots_of(tx, volume.id)
            backend = self._backends.of(volume)
            for snapshot in left:
                backend.ensure_snapshot_absent(snapshot.id)
                with self._database.write() as tx:
                    snapshot_store.snapshot_remove(tx, snapshot.id)
            if volume.goal and "unmanage" in volume.goal:
                name = backend.release(volume.bytes_id)
                LOG.info("The bytes of volume %s are the file managed/%s", volume.id, name)
            backend.ensure_absent(volume.bytes_id)
            backend.ensure_snapshot_absent(derive("clone", volume.id))
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
            self.held(tx, ctx, volume_id)
            store.volume_update(tx, volume_id, values, clock.now())
            if metadata is not None:
                store.metadata_remove(tx, volume_id)
                store.metadata_put(tx, volume_id, metadata)
            return self.visible(tx, ctx, volume_id)

    def set_readonly(self, ctx: Context, volume_id: str, readonly: bool) -> None:
        """Invalid unless it is available: a guest was told what it has."""
        with self._database.write() as tx:
            volume = self.held(tx, ctx, volume_id)
            if volume.status != VolumeStatus.AVAILABLE.value:
                raise refused(volume, "update readonly flag", [VolumeStatus.AVAILABLE.value])
            store.volume_update(tx, volume_id, {"readonly": readonly}, clock.now())

    def metadata_merge(
        self, ctx: Context, volume_id: str, pairs: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Add or replace ``pairs``; all metadata then. Invalid: too many."""
        with self._database.write() as tx:
            self.held(tx, ctx, volume_id)
            store.metadata_put(tx, volume_id, pairs)
            merged = self.visible(tx, ctx, volume_id).metadata
            if len(merged) > METADATA_ITEMS:
                raise Invalid(reason=f"A volume has at most {METADATA_ITEMS} metadata items.")
            return merged

    def metadata_remove(self, ctx: Context, volume_id: str, key: str) -> None:
        with self._database.write() as tx:
            self.held(tx, ctx, volume_id)
            if not store.metadata_remove(tx, volume_id, [key]):
                raise NotFound(kind="Metadata key", id=key)

    def image_metadata_merge(
        self, ctx: Context, volume_id: str, pairs: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Add or replace what the volume says of its image; all of it then."""
        with self._database.write() as tx:
            self.held(tx, ctx, volume_id)
            store.image_metadata_put(tx, volume_id, pairs)
            merged = self.visible(tx, ctx, volume_id).image_metadata
            if len(merged) > METADATA_ITEMS:
                raise Invalid(reason=f"A volume has at most {METADATA_ITEMS} image properties.")
            return merged

    def image_metadata_remove(self, ctx: Context, volume_id: str, key: str) -> None:
        with self._database.write() as tx:
            self.held(tx, ctx, volume_id)
            if not store.image_metadata_remove(tx, volume_id, [key]):
                raise NotFound(kind="Metadata key", id=key)

    def act(self, ctx: Context, volume_id: str, verb: str) -> None:
        """A verb of ``states.MOVES`` that changes the status and nothing else."""
        with self._database.write() as tx:
            volume = self.visible(tx, ctx, volume_id)
            if verb == "begin_detaching" and volume.migrates:
                return  # its guest goes on elsewhere, which users are not to see
            self.move(tx, volume, verb)

    def reset_status(self, ctx: Context, volume_id: str, status: VolumeStatus) -> None:
        """Declare what a volume is, for an administrator who knows better."""
        with self._database.write() as tx:
            self.held(tx, ctx, volume_id)
            store.volume_declare(tx, volume_id, status, clock.now())

    # -- for the other services of this package --------------------------------------------------
    def visible(self, tx: Transaction, ctx: Context, volume_id: str) -> Volume:
        volume = store.volume_get(tx, volume_id) if is_uuid(volume_id) else None
        if volume is None or not is_visible(ctx, volume.project_id):
            raise NotFound(kind="Volume", id=volume_id)
        return volume

    def held(self, tx: Transaction, ctx: Context, volume_id: str) -> Volume:
        """The volume, whose row is held until ``tx`` ends."""
        self.visible(tx, ctx, volume_id)
        store.volume_lock(tx, volume_id)
        return self.visible(tx, ctx, volume_id)

    def move(
        self, tx: Transaction, volume: Volume, verb: str, values: Mapping[str, Any] | None = None
    ) -> None:
        """Take the volume through ``verb``. Invalid: its status is another."""
        if not store.volume_move(tx, volume.id, verb, clock.now(), values=values):
            raise refused(volume, verb, [status.value for status in MOVES[verb].start])

    # -- parts -----------------------------------------------------------------------------------
    def _source(self, ctx: Context, asked: NewVolume) -> _Source:
        named = [
            name
            for name in ("image_id", "snapshot_id", "source_volid", "backup_id")
            if getattr(asked, name)
        ]
        if len(named) > 1:
            raise Invalid(
                reason="Invalid input received: a volume is made of one thing, not of "
                f"{' and '.join(named)}."
            )
        if asked.image_id:
            image = self._images.describe(ctx, asked.image_id)
            if asked.size_gb is not None:
                check_fits(image, asked.size_gb)
            return _Source(bootable=True, image_metadata=image_metadata(image))
        with self._database.read() as tx:
            if asked.snapshot_id:
                return self._source_snapshot(tx, ctx, asked.snapshot_id)
            if asked.source_volid:
                return self._source_volume(tx, ctx, asked.source_volid)
        if asked.backup_id:
            backup = self._filling.backup(ctx, asked.backup_id)
            return _Source(size_gb=backup.size_gb, least_gb=backup.size_gb)
        return _Source()

    def _source_snapshot(self, tx: Transaction, ctx: Context, snapshot_id: str) -> _Source:
        snapshot: Snapshot | None = None
        if is_uuid(snapshot_id):
            snapshot = snapshot_store.snapshot_get(tx, snapshot_id)
        if snapshot is None or not is_visible(ctx, snapshot.project_id):
            raise NotFound(kind="Snapshot", id=snapshot_id)
        if snapshot.status != SnapshotStatus.AVAILABLE.value:
            raise Invalid(
                reason=f"Invalid snapshot: Snapshot {snapshot_id} must be available, but is "
                f"{snapshot.status}."
            )
        of = store.volume_get(tx, snapshot.volume_id)
        assert of is not None, "a volume with snapshots stays"
        return _of_volume(of, snapshot.size_gb)

    def _source_volume(self, tx: Transaction, ctx: Context, volume_id: str) -> _Source:
        of = self.visible(tx, ctx, volume_id)
        still = (VolumeStatus.AVAILABLE.value, VolumeStatus.IN_USE.value)
        if of.status not in still or of.migrates:
            raise refused(of, "clone", ["available", "in-use"])
        return _of_volume(of, of.size_gb)

    def _end(self, volume: Volume, verb: str, problem: MinicloudError | None = None) -> None:
        if problem is not None:
            LOG.error("Volume %s: %s", volume.id, problem.message)
        with self._database.write() as tx:
            # Of this size: a late turn must not end a later extension.
            if store.volume_move(tx, volume.id, verb, clock.now(), size_gb=volume.size_gb):
                LOG.info("Volume %s is %s", volume.id, MOVES[verb].to.value)
                if problem is not None:
                    messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)

    def _settle(self, volume: Volume, after: VolumeStatus) -> None:
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            now = store.volume_get(tx, volume.id)
            if now is not None and now.size_gb == volume.size_gb:
                store.volume_follow(tx, volume.id, after=after)


_DELETABLE = (SnapshotStatus.AVAILABLE, SnapshotStatus.ERROR, SnapshotStatus.ERROR_DELETING)


def _of_volume(of: Volume, size_gb: int) -> _Source:
    return _Source(
        size_gb=size_gb,
        least_gb=size_gb,
        bootable=of.bootable,
        type_id=of.type_id,
        host=of.host,
        backend=of.backend,
        image_metadata=of.image_metadata,
    )


def _check_size(asked: NewVolume, source: _Source, size_gb: int) -> None:
    if size_gb < source.least_gb:
        what = "snapshot" if asked.snapshot_id else "backup" if asked.backup_id else "source volume"
        raise Invalid(
            reason=f"Invalid input received: Volume size '{size_gb}'GB cannot be smaller than the "
            f"{what} size {source.least_gb}GB. They must be >= original {what} size."
        )


def _backend(kind: VolumeType, source: _Source) -> str:
    wanted = backend_of(kind)
    if source.backend is not None:
        if wanted is not None and wanted != source.backend:
            raise Invalid(
                reason=f"Invalid volume type: {kind.name} is not on backend {source.backend}, "
                "where the source is. Make the volume with the source's type, then retype it."
            )
        return source.backend
    return wanted or "files"


def _check_group(
    group: tuple[str, Sequence[str]] | None, asked: NewVolume, kind: VolumeType
) -> None:
    """Invalid and NotFound: the volume cannot be made in the group."""
    if group is None or group[0] != asked.project_id:
        raise NotFound(kind="Group", id=asked.group_id)
    if kind.id not in group[1]:
        raise Invalid(
            reason=f"Invalid volume type: {kind.name} is not one of group {asked.group_id}'s."
        )


def _says_multiattach(kind: VolumeType) -> bool:
    return kind.extra_specs.get("multiattach", "").lower() == "<is> true"


def _all_reconnect(volume: Volume) -> bool:
    return all(
        each.opens_file or (each.connector or {}).get("nbd_reconnect")
        for each in volume.attachments
    )


def refused(volume: Volume, verb: str, allowed: Sequence[str]) -> Invalid:
    """Cinder's answer to a wrong state is 400, whatever the verb."""
    attached = " and it must not be attached" if verb in ALONE else ""
    return Invalid(
        reason=f"Invalid volume: Volume {volume.id} status must be {' or '.join(allowed)} to "
        f"{verb.replace('_', ' ')}{attached}, but current status is {volume.status}."
    )
