"""Groups of volumes that are kept together: snapshots of all of them at once.

A group snapshot is a snapshot of each member, taken one after the other and each as after a power
cut; a group type that asks for more (``consistent_group_snapshot_enabled``) is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import Exists, Invalid, NotFound
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import listing, snapshot_store, store
from minicloud.volume.access import is_visible
from minicloud.volume.attachment_store import values_of
from minicloud.volume.jobs import try_now
from minicloud.volume.listing import Listing
from minicloud.volume.models import group_snapshots, group_types, groups, snapshots, volumes
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import Group, GroupSnapshot, GroupType, Volume
from minicloud.volume.service import NewVolume, VolumeService
from minicloud.volume.snapshots import SnapshotService
from minicloud.volume.states import SnapshotStatus, VolumeStatus
from minicloud.volume.types import Types

LOG = logging.getLogger(__name__)
CONSISTENT = "consistent_group_snapshot_enabled"
_MEMBER = (VolumeStatus.AVAILABLE.value, VolumeStatus.IN_USE.value)
GROUP_STATUSES = ("available", "error", "creating", "deleting", "updating")


class GroupService:
    def __init__(
        self,
        database: Database,
        quotas: Quotas,
        types: Types,
        volumes: VolumeService,
        snapshots: SnapshotService,
    ) -> None:
        self._database, self._quotas, self._types = database, quotas, types
        self._volumes, self._snapshots = volumes, snapshots

    # -- types -----------------------------------------------------------------------------------
    def types(self, ctx: Context) -> list[GroupType]:
        with self._database.read() as tx:
            query = sa.select(group_types).order_by(group_types.c.created_at.desc())
            found = [GroupType(**values_of(row)) for row in tx.execute(query).mappings()]
        return [each for each in found if each.is_public or ctx.is_admin]

    def type_get(self, ctx: Context, type_id: str) -> GroupType:
        with self._database.read() as tx:
            return self._type(tx, ctx, type_id)

    def type_create(
        self, name: str, description: str | None, specs: Mapping[str, str], *, is_public: bool
    ) -> GroupType:
        _check_specs(specs)
        made = GroupType(
            id=new_id(),
            name=name,
            description=description,
            is_public=is_public,
            group_specs=dict(specs),
            created_at=clock.now(),
        )
        values = {field: getattr(made, field) for field in made.__struct_fields__}
        try:
            with self._database.write() as tx:
                tx.execute(group_types.insert().values(values))
        except sa.exc.IntegrityError:
            raise Exists(kind="Group Type", id=name) from None
        return made

    def type_update(self, ctx: Context, type_id: str, values: Mapping[str, Any]) -> GroupType:
        try:
            with self._database.write() as tx:
                self._type_held(tx, ctx, type_id)
                if values:
                    change = group_types.update().where(group_types.c.id == type_id)
                    tx.execute(change.values(dict(values)))
                return self._type(tx, ctx, type_id)
        except sa.exc.IntegrityError:
            raise Exists(kind="Group Type", id=str(values.get("name"))) from None

    def type_delete(self, ctx: Context, type_id: str) -> None:
        """Invalid: groups have it."""
        with self._database.write() as tx:
            self._type_held(tx, ctx, type_id)
            used = sa.select(groups.c.id).where(groups.c.group_type_id == type_id).limit(1)
            if tx.execute(used).first() is not None:
                raise Invalid(reason="Target group type is still in use.")
            tx.execute(group_types.delete().where(group_types.c.id == type_id))

    def specs_merge(self, ctx: Context, type_id: str, specs: Mapping[str, str]) -> None:
        _check_specs(specs)
        with self._database.write() as tx:
            kind = self._type_held(tx, ctx, type_id)
            self._specs_set(tx, type_id, {**kind.group_specs, **specs})

    def spec_remove(self, ctx: Context, type_id: str, key: str) -> None:
        with self._database.write() as tx:
            specs = dict(self._type_held(tx, ctx, type_id).group_specs)
            if specs.pop(key, None) is None:
                raise NotFound(kind="Group Type spec", id=key)
            self._specs_set(tx, type_id, specs)

    # -- groups ----------------------------------------------------------------------------------
    def get(self, ctx: Context, group_id: str) -> Group:
        with self._database.read() as tx:
            return self._group(tx, ctx, group_id)

    def select(self, asked: Listing) -> list[Group]:
        with self._database.read() as tx:
            query = listing.page(tx, asked)
            return [Group(**values_of(row)) for row in tx.execute(query).mappings()]

    def members(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Group id -> the ids of its volumes."""
        found: dict[str, list[str]] = {each: [] for each in ids}
        query = sa.select(volumes.c.group_id, volumes.c.id).where(volumes.c.group_id.in_(ids))
        with self._database.read() as tx:
            for row in tx.execute(query.order_by(volumes.c.created_at, volumes.c.id)):
                found[row.group_id].append(row.id)
        return found

    def create(
        self,
        ctx: Context,
        project_id: str,
        *,
        group_type: str,
        volume_types: Sequence[str],
        name: str,
        description: str,
    ) -> Group:
        with self._database.write() as tx:
            kind = self._type_named(tx, ctx, group_type)
            types = [
                self._types.choose(tx, ctx, project_id, each, None).id for each in volume_types
            ]
            return self._add(
                tx, ctx, project_id, kind.id, types, name=name, description=description
            )

    def create_from(
        self,
        ctx: Context,
        project_id: str,
        *,
        group_snapshot_id: str | None,
        source_group_id: str | None,
        name: str,
        description: str,
    ) -> Group:
        """A group like another, or as it was at a group snapshot, with volumes of its own."""
        if bool(group_snapshot_id) == bool(source_group_id):
            raise Invalid(reason="Name either group_snapshot_id or source_group_id.")
        with self._database.write() as tx:
            kept = self._kept(tx, ctx, group_snapshot_id) if group_snapshot_id else None
            source = self._group(tx, ctx, kept.group_id if kept else str(source_group_id))
            made = self._add(
                tx, ctx, project_id, source.group_type_id, source.volume_types, name=name,
                description=description, group_snapshot_id=group_snapshot_id,
                source_group_id=source_group_id,
            )  # fmt: skip
            moments = snapshot_store.snapshots_of_group(tx, kept.id) if kept else []
        if kept:
            for each in moments:
                self._volumes.create(
                    ctx,
                    NewVolume(project_id=project_id, snapshot_id=each.id, group_id=made.id),
                )
        else:
            for volume_id in self.members([source.id])[source.id]:
                self._volumes.create(
                    ctx,
                    NewVolume(project_id=project_id, source_volid=volume_id, group_id=made.id),
                )
        return made

    def update(
        self,
        ctx: Context,
        group_id: str,
        values: Mapping[str, Any],
        add: Sequence[str],
        remove: Sequence[str],
    ) -> None:
        """Change columns and members. Invalid: a volume that cannot join, or is no member."""
        with self._database.write() as tx:
            group = self._held(tx, ctx, group_id)
            for volume_id in add:
                volume = self._volumes.held(tx, ctx, volume_id)
                self._check_may_join(group, volume)
                store.volume_update(tx, volume_id, {"group_id": group_id}, clock.now())
            for volume_id in remove:
                volume = self._volumes.held(tx, ctx, volume_id)
                if volume.group_id != group_id:
                    raise Invalid(
                        reason=f"Invalid volume: Volume {volume_id} is not in group {group_id}."
                    )
                store.volume_update(tx, volume_id, {"group_id": None}, clock.now())
            self._change(tx, group_id, values)

    def delete(self, ctx: Context, group_id: str, *, with_volumes: bool) -> None:
        """Invalid: it has volumes (unless ``with_volumes``) or group snapshots."""
        with self._database.write() as tx:
            self._held(tx, ctx, group_id)
            kept = sa.select(group_snapshots.c.id).where(group_snapshots.c.group_id == group_id)
            if tx.execute(kept.limit(1)).first() is not None:
                raise Invalid(reason=f"Invalid group: Group {group_id} still has group snapshots.")
            query = sa.select(volumes).where(volumes.c.group_id == group_id)
            members = store.volumes_select(tx, query)
            if members and not with_volumes:
                raise Invalid(
                    reason=f"Invalid group: Group {group_id} still contains volumes. The "
                    "delete-volumes flag is required to delete it."
                )
            for volume in members:
                if snapshot_store.snapshots_of(tx, volume.id):
                    raise Invalid(
                        reason=f"Invalid group: Volume {volume.id} of it still has snapshots."
                    )
                self._volumes.move(tx, volume, "delete", {"group_id": None})
            tx.execute(groups.delete().where(groups.c.id == group_id))
        for volume in members:
            if volume.host == self._volumes.host:
                try_now(self._volumes.finish_deleting, volume)

    def reset_status(self, ctx: Context, group_id: str, status: str) -> None:
        with self._database.write() as tx:
            self._held(tx, ctx, group_id)
            self._change(tx, group_id, {"status": status})

    # -- group snapshots -------------------------------------------------------------------------
    def kept(self, ctx: Context, group_snapshot_id: str) -> GroupSnapshot:
        with self._database.read() as tx:
            return self._kept(tx, ctx, group_snapshot_id)

    def kept_select(self, asked: Listing) -> list[GroupSnapshot]:
        with self._database.read() as tx:
            query = listing.page(tx, asked)
            found = [values_of(row) for row in tx.execute(query).mappings()]
            kinds = {
                row.id: row.group_type_id
                for row in tx.execute(
                    sa.select(groups.c.id, groups.c.group_type_id).where(
                        groups.c.id.in_({each["group_id"] for each in found})
                    )
                )
            }
        return [
            GroupSnapshot(**each, group_type_id=kinds.get(each["group_id"], "")) for each in found
        ]

    def keep(self, ctx: Context, group_id: str, name: str, description: str) -> GroupSnapshot:
        """A snapshot of every member. Invalid: there is none, or one cannot be kept."""
        now = clock.now()
        with self._database.write() as tx:
            group = self._held(tx, ctx, group_id)
            query = sa.select(volumes).where(volumes.c.group_id == group_id)
            members = store.volumes_select(tx, query.order_by(volumes.c.created_at))
            if not members:
                raise Invalid(reason=f"Invalid group: Group {group_id} is empty.")
            made = GroupSnapshot(
                id=new_id(),
                project_id=group.project_id,
                user_id=ctx.user_id,
                group_id=group_id,
                name=name,
                description=description,
                status="available",
                created_at=now,
                updated_at=now,
                group_type_id=group.group_type_id,
            )
            columns = [str(column.name) for column in group_snapshots.columns]
            tx.execute(
                group_snapshots.insert().values({key: getattr(made, key) for key in columns})
            )
            begun = [
                self._snapshots.begin(
                    tx, ctx, volume, name=name, description=description, metadata={},
                    in_use=True, group_snapshot_id=made.id,
                )
                for volume in members
            ]  # fmt: skip
        for snapshot in begun:
            if snapshot.host == self._volumes.host:
                try_now(self._snapshots.finish_creating, snapshot)
        return made

    def forget(self, ctx: Context, group_snapshot_id: str) -> None:
        with self._database.write() as tx:
            self._kept(tx, ctx, group_snapshot_id)
            moments = snapshot_store.snapshots_of_group(tx, group_snapshot_id)
            for each in moments:
                gone = snapshot_store.snapshot_move(
                    tx,
                    each.id,
                    [SnapshotStatus.AVAILABLE, SnapshotStatus.ERROR,
                     SnapshotStatus.ERROR_DELETING, SnapshotStatus.DELETING],
                    SnapshotStatus.DELETING,
                )  # fmt: skip
                if not gone:
                    raise Invalid(
                        reason=f"Invalid group snapshot: Snapshot {each.id} is {each.status}."
                    )
            tx.execute(
                snapshots.update()
                .where(snapshots.c.group_snapshot_id == group_snapshot_id)
                .values(group_snapshot_id=None)
            )
            tx.execute(group_snapshots.delete().where(group_snapshots.c.id == group_snapshot_id))
        for each in moments:
            if each.host == self._volumes.host:
                try_now(self._snapshots.finish_deleting, each)

    def kept_reset_status(self, ctx: Context, group_snapshot_id: str, status: str) -> None:
        with self._database.write() as tx:
            self._kept(tx, ctx, group_snapshot_id)
            change = group_snapshots.update().where(group_snapshots.c.id == group_snapshot_id)
            tx.execute(change.values(status=status, updated_at=clock.now()))

    # -- parts -----------------------------------------------------------------------------------
    def _add(
        self,
        tx: Transaction,
        ctx: Context,
        project_id: str,
        group_type_id: str,
        types: Sequence[str],
        *,
        name: str,
        description: str,
        group_snapshot_id: str | None = None,
        source_group_id: str | None = None,
    ) -> Group:
        self._quotas.admit(tx, project_id, groups=1)
        now = clock.now()
        made = Group(
            id=new_id(),
            project_id=project_id,
            user_id=ctx.user_id,
            name=name,
            description=description,
            group_type_id=group_type_id,
            volume_types=list(types),
            status="available",
            group_snapshot_id=group_snapshot_id,
            source_group_id=source_group_id,
            created_at=now,
            updated_at=now,
        )
        values = {field: getattr(made, field) for field in made.__struct_fields__}
        tx.execute(groups.insert().values(values))
        return made

    def _check_may_join(self, group: Group, volume: Volume) -> None:
        if volume.group_id not in (None, group.id) or volume.project_id != group.project_id:
            raise Invalid(reason=f"Invalid volume: Volume {volume.id} is in another group.")
        if volume.status not in _MEMBER:
            raise Invalid(
                reason=f"Invalid volume: Volume {volume.id} is {volume.status}, not available or "
                "in-use."
            )
        if volume.type_id not in group.volume_types:
            raise Invalid(
                reason=f"Invalid volume: the type {volume.type_name} of volume {volume.id} is not "
                "one of the group's."
            )

    def _change(self, tx: Transaction, group_id: str, values: Mapping[str, Any]) -> None:
        change = groups.update().where(groups.c.id == group_id)
        tx.execute(change.values(updated_at=clock.now(), **values))

    def _group(self, tx: Transaction, ctx: Context, group_id: str) -> Group:
        row = None
        if is_uuid(group_id):
            query = sa.select(groups).where(groups.c.id == group_id)
            row = tx.execute(query).mappings().one_or_none()
        if row is None or not is_visible(ctx, row["project_id"]):
            raise NotFound(kind="Group", id=group_id)
        return Group(**values_of(row))

    def _held(self, tx: Transaction, ctx: Context, group_id: str) -> Group:
        self._group(tx, ctx, group_id)
        tx.execute(groups.update().where(groups.c.id == group_id).values(id=groups.c.id))
        return self._group(tx, ctx, group_id)

    def _kept(self, tx: Transaction, ctx: Context, kept_id: str) -> GroupSnapshot:
        row = None
        if is_uuid(kept_id):
            query = (
                sa.select(group_snapshots, groups.c.group_type_id)
                .join(groups)
                .where(group_snapshots.c.id == kept_id)
            )
            row = tx.execute(query).mappings().one_or_none()
        if row is None or not is_visible(ctx, row["project_id"]):
            raise NotFound(kind="Group snapshot", id=kept_id)
        return GroupSnapshot(**values_of(row))

    def _type(self, tx: Transaction, ctx: Context, type_id: str) -> GroupType:
        row = None
        if is_uuid(type_id):
            query = sa.select(group_types).where(group_types.c.id == type_id)
            row = tx.execute(query).mappings().one_or_none()
        if row is None or not (row["is_public"] or ctx.is_admin):
            raise NotFound(kind="Group type", id=type_id)
        return GroupType(**values_of(row))

    def _type_named(self, tx: Transaction, ctx: Context, named: str) -> GroupType:
        query = sa.select(group_types.c.id).where(group_types.c.name == named)
        return self._type(tx, ctx, tx.execute(query).scalar_one_or_none() or named)

    def _type_held(self, tx: Transaction, ctx: Context, type_id: str) -> GroupType:
        self._type(tx, ctx, type_id)
        held = group_types.update().where(group_types.c.id == type_id)
        tx.execute(held.values(id=group_types.c.id))
        return self._type(tx, ctx, type_id)

    def _specs_set(self, tx: Transaction, type_id: str, specs: Mapping[str, str]) -> None:
        change = group_types.update().where(group_types.c.id == type_id)
        tx.execute(change.values(group_specs=dict(specs)))


def _check_specs(specs: Mapping[str, str]) -> None:
    if specs.get(CONSISTENT, "").lower() == "<is> true":
        raise Invalid(
            reason=f"{CONSISTENT} cannot be had: the snapshots of a group are taken one after the "
            "other."
        )
