"""Volumes that become another type or go to another backend, and files that become volumes.

A volume that moves while nobody has it is copied whole before its row says so; what is at the old
place goes last. One that a guest has goes as ``moving`` says.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import HostProblem, Invalid, MinicloudError
from minicloud.domain.ids import new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import messages, snapshot_store, store
from minicloud.volume.backends import Backends
from minicloud.volume.jobs import Jobs, try_now
from minicloud.volume.moving import Moving
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import GIB, Volume, VolumeType
from minicloud.volume.service import NewVolume, VolumeService, refused
from minicloud.volume.states import MOVES, VolumeStatus, of_attachments
from minicloud.volume.types import Types, backend_of
from minicloud.volume.types_store import front_end_limits

LOG = logging.getLogger(__name__)


class Retyping:
    def __init__(
        self,
        database: Database,
        backends: Backends,
        quotas: Quotas,
        types: Types,
        volumes: VolumeService,
        jobs: Jobs,
        moving: Moving,
    ) -> None:
        self._database, self._backends, self._quotas = database, backends, quotas
        self._types, self._volumes, self._jobs = types, volumes, jobs
        self._moving = moving

    def retype(self, ctx: Context, volume_id: str, named: str, *, may_move: bool) -> None:
        """Give the volume another type. Invalid: it would have to move and ``may_move`` is not
        said, or it has snapshots or is in a group.
        """
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            kind = self._types.choose(tx, ctx, volume.project_id, named, None)
            if kind.id == volume.type_id:
                raise Invalid(reason=f"Invalid volume: New type is the type it has: {kind.name}.")
            if volume.group_id is not None:
                raise Invalid(reason=f"Invalid volume: Volume {volume.id} belongs to a group.")
            wanted = backend_of(kind) or volume.backend
            if wanted != volume.backend:
                if not may_move:
                    raise Invalid(
                        reason=f"Invalid volume type: {kind.name} is on backend {wanted}: retype "
                        "with the migration policy on-demand."
                    )
                self._check_may_move(volume, wanted, snapshot_store.snapshots_of(tx, volume_id))
                self._check_limits(tx, volume, kind)
            several = kind.extra_specs.get("multiattach", "").lower() == "<is> true"
            if several != volume.multiattach and volume.attachments:
                raise refused(volume, "change multiattach of", ["available"])
            goal = {"type_id": kind.id, "backend": wanted, "multiattach": several}
            if wanted == volume.backend:
                self._volumes.move(tx, volume, "retype", {"goal": goal})
            else:
                self._set_out(tx, volume, goal, VolumeStatus.RETYPING)
        self._begin(ctx, volume_id)

    def migrate(self, ctx: Context, volume_id: str, host: str, *, lock: bool = False) -> None:
        """Move the volume to ``host@backend#pool``; ``lock``: in maintenance, if nobody has it.
        Invalid: that is no place of this host.
        """
        where, _, backend = host.partition("#")[0].partition("@")
        if where != self._volumes.host or backend not in self._backends.names():
            known = [f"{self._volumes.host}@{name}#{name}" for name in self._backends.names()]
            raise Invalid(reason=f"Invalid host: use one of {', '.join(known)}.")
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            if backend == volume.backend:
                raise Invalid(reason="Invalid host: the volume is there already.")
            self._check_may_move(volume, backend, snapshot_store.snapshots_of(tx, volume_id))
            if volume.group_id is not None:
                raise Invalid(reason=f"Invalid volume: Volume {volume.id} belongs to a group.")
            locked = lock and not volume.attachments
            status = VolumeStatus.MAINTENANCE if locked else VolumeStatus(volume.status)
            self._set_out(tx, volume, {"backend": backend}, status)
        self._begin(ctx, volume_id)

    def finish(self, volume: Volume) -> None:
        """From ``retyping``, or on its way, to what the goal says."""
        goal = volume.goal or {}
        if "target" in goal:
            self._moving.carry_on(volume)
        elif goal.get("backend", volume.backend) == volume.backend:
            self._arrive(volume, goal)
        else:
            lane = f"{volume.backend} {goal['backend']}"
            self._jobs.submit(lane, f"retype {volume.id}", lambda: self._move(volume, goal))

    def _begin(self, ctx: Context, volume_id: str) -> None:
        volume = self._volumes.get(ctx, volume_id)
        if volume.host == self._volumes.host:
            try_now(self.finish, volume)

    def _set_out(
        self, tx: Transaction, volume: Volume, goal: Mapping[str, Any], status: VolumeStatus
    ) -> None:
        """Begin the volume's way to ``goal``, shown by ``status``. Invalid."""
        if volume.attachments and volume.status == VolumeStatus.IN_USE.value:
            goal = {**goal, "target": self._moving.place(tx, volume, goal)}
        still = MOVES["retype"].start
        if not store.volume_set_out(tx, volume.id, still, {"status": status.value, "goal": goal}):
            raise refused(volume, "move", [each.value for each in still])

    def _check_limits(self, tx: Transaction, volume: Volume, kind: VolumeType) -> None:
        """Invalid: a guest was told of other limits."""
        if volume.attachments and front_end_limits(tx, volume.type_id) != front_end_limits(
            tx, kind.id
        ):
            raise Invalid(
                reason="Invalid volume: Front-end quality of service cannot change while a volume "
                "is in use."
            )

    def _check_may_move(self, volume: Volume, backend: str, snapshots: list[Any]) -> None:
        if backend not in self._backends.names():
            raise Invalid(reason=f"Invalid volume type: this host has no backend {backend}.")
        if snapshots:
            raise Invalid(
                reason=f"Invalid volume: Volume {volume.id} has snapshots, which would not move."
            )

    def _move(self, volume: Volume, goal: Mapping[str, Any]) -> None:
        with self._database.write() as tx:
            store.volume_leaves(tx, volume.id)
        try:
            source = self._backends.of(volume).disk(volume.bytes_id)
            target = self._backends.named(str(goal["backend"]))
            target.ensure_content(volume.bytes_id, source, volume.size_bytes)
        except HostProblem as problem:
            LOG.error("Volume %s does not move: %s", volume.id, problem.message)
            self._backends.named(str(goal["backend"])).ensure_absent(volume.bytes_id)
            self._end(volume, problem)
            return
        goal = {**goal, "from": volume.backend}
        with self._database.write() as tx:
            change = {"backend": goal["backend"], "goal": goal}
            store.volume_update(tx, volume.id, change, clock.now())
        self._arrive(volume, goal)

    def _arrive(self, volume: Volume, goal: Mapping[str, Any]) -> None:
        if "from" in goal:
            self._backends.named(str(goal["from"])).ensure_absent(volume.bytes_id)
        self._end(volume, None, goal)

    def _end(
        self, volume: Volume, problem: MinicloudError | None, goal: Mapping[str, Any] | None = None
    ) -> None:
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            now = store.volume_get(tx, volume.id)
            if now is None or (now.goal or {}) != (volume.goal if goal is None else goal):
                return
            values: dict[str, Any] = {
                key: (goal or {})[key] for key in ("type_id", "multiattach") if key in (goal or {})
            }
            if now.migrates:
                values["migration_status"] = "success" if problem is None else "error"
            status = of_attachments([each.status for each in now.attachments])
            values |= {"goal": None, "status": status.value}
            store.volume_update(tx, volume.id, values, clock.now())
            if problem is not None:
                messages.add(tx, volume.project_id, "VOLUME", volume.id, problem)

    # -- files that are there already ------------------------------------------------------------
    def manageable(self, host: str) -> list[tuple[str, int]]:
        """(name, bytes) of each file that can become a volume. Invalid: no such host."""
        backend = self._backends.named(self._backend_of_host(host))
        return list(backend.strangers().items())

    def manage(
        self,
        ctx: Context,
        asked: NewVolume,
        host: str,
        reference: str,
        *,
        bootable: bool,
    ) -> Volume:
        """A volume out of the file ``reference``. Invalid: there is none."""
        backend = self._backend_of_host(host)
        files = self._backends.named(backend).strangers()
        if reference not in files:
            raise Invalid(
                reason=f"Failed to manage existing volume: there is no file "
                f"managed/{reference[:255]} of backend {backend}."
            )
        size_gb = max(1, -(-files[reference] // GIB))
        now = clock.now()
        with self._database.write() as tx:
            kind = self._types.choose(tx, ctx, asked.project_id, asked.type_name, None)
            self._quotas.admit(tx, asked.project_id, volumes=1, gigabytes=size_gb, size_gb=size_gb)
            made = Volume(
                id=new_id(),
                project_id=asked.project_id,
                user_id=ctx.user_id,
                host=self._volumes.host,
                name=asked.name,
                description=asked.description,
                size_gb=size_gb,
                status=VolumeStatus.CREATING.value,
                bootable=bootable,
                created_at=now,
                updated_at=now,
                backend=backend,
                type_id=kind.id,
                goal={"manage": reference},
                metadata=dict(asked.metadata),
                attachments=(),
                type_name=kind.name,
            )
            store.volume_add(tx, made)
        try_now(self._volumes.finish_creating, made)
        return made

    def unmanage(self, ctx: Context, volume_id: str) -> None:
        """Forget the volume and keep its bytes as a file. Invalid: in use, or with snapshots."""
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            if snapshot_store.snapshots_of(tx, volume_id):
                raise Invalid(reason=f"Invalid volume: Volume {volume_id} has snapshots.")
            self._volumes.move(tx, volume, "delete", {"goal": {"unmanage": True}})
            volume = self._volumes.visible(tx, ctx, volume_id)
        if volume.host == self._volumes.host:
            try_now(self._volumes.finish_deleting, volume)

    def _backend_of_host(self, host: str) -> str:
        where, _, backend = host.partition("#")[0].partition("@")
        backend = backend or self._backends.names()[0]
        if where != self._volumes.host or backend not in self._backends.names():
            raise Invalid(reason=f"Service {host[:255]} could not be found.")
        return backend
