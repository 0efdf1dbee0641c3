"""Attachments: a server's claim on a volume, and the export that goes with it.

The compare-and-set from ``available`` to ``reserved`` is the claim; while it lasts the volume's
status follows from its attachments, under the volume's row. An export starts after the row wants
it and ends before the row is gone, so a kill in between leaves a row from which the pass in
``reconcile.py`` starts or ends the same export.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from minicloud.domain.errors import Conflict, HostProblem, Invalid, NotFound, Unavailable
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import attachment_store, store, types_store
from minicloud.volume.access import is_visible
from minicloud.volume.attachment_store import PortTaken
from minicloud.volume.backends import Backends
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import free_port
from minicloud.volume.live import LiveVolumes
from minicloud.volume.processes import PortInUse
from minicloud.volume.records import OPENS_FILE, Attachment, Volume
from minicloud.volume.service import refused
from minicloud.volume.states import MOVES, AttachmentStatus, VolumeStatus

LOG = logging.getLogger(__name__)
_TRIES = 20
_CLOSED_S = 3.0
"""A guest that has let its disk go closes the file a moment later."""
_A = AttachmentStatus
_SHARED = (VolumeStatus.RESERVED.value, VolumeStatus.ATTACHING.value, VolumeStatus.IN_USE.value,
           VolumeStatus.DETACHING.value)  # fmt: skip
"""What a volume is while others have it that may have several."""
_CLAIMED = frozenset(
    each.value for each in (VolumeStatus.RESERVED, VolumeStatus.ATTACHING, VolumeStatus.IN_USE)
)
"""Statuses in which the server that has a claim may make another."""


class AttachmentService:
    """``address`` and ``ports``: where exports to other hosts listen; an empty address: nowhere.
    ``open_files`` and ``open_images``: backend -> the hosts whose guests open a volume's file, or
    its image in Ceph, None: all hosts.
    """

    def __init__(
        self,
        database: Database,
        backends: Backends,
        live: LiveVolumes,
        desired: DesiredExports,
        *,
        host: str,
        address: str,
        ports: Sequence[int],
        open_files: Mapping[str, Collection[str] | None],
        open_images: Mapping[str, Collection[str] | None],
    ) -> None:
        self._database, self._backends = database, backends
        self._live, self._desired = live, desired
        self._open_files, self._open_images = open_files, open_images
        self._host, self._address, self._ports = host, address, ports

    # -- reading ---------------------------------------------------------------------------------
    def get(self, ctx: Context, attachment_id: str) -> tuple[Attachment, Volume]:
        """NotFound also for another project's."""
        with self._database.read() as tx:
            return self._visible(tx, ctx, attachment_id)

    def select(
        self,
        *,
        project_id: str | None,
        filters: Mapping[str, str],
        limit: int,
        marker: str | None,
        offset: int,
    ) -> list[tuple[Attachment, Volume]]:
        """Oldest first, each with its volume. ``project_id`` None: of all projects. Invalid: no
        such marker.
        """
        with self._database.read() as tx:
            after = attachment_store.attachment_get(tx, marker) if marker else None
            if marker and (after is None or project_id not in (None, after.project_id)):
                raise Invalid(reason=f"marker [{marker[:64]}] not found")
            found = attachment_store.attachments_list(
                tx, project_id=project_id, filters=filters, limit=limit, marker=after,
                offset=offset,
            )  # fmt: skip
            volumes = store.volumes_by_id(tx, {each.volume_id for each in found})
        return [(each, volumes[each.volume_id]) for each in found if each.volume_id in volumes]

    # -- verbs -----------------------------------------------------------------------------------
    def create(
        self,
        ctx: Context,
        volume_id: str,
        server_id: str,
        connector: Mapping[str, Any] | None = None,
        mode: str | None = None,
    ) -> tuple[Attachment, Volume]:
        """Claim the volume for the server, and export it where there is a connector. Invalid: the
        volume is not available; a second claim by the same server is let through, for a migration
        has two. ``mode``: rw or ro; None: what the volume allows.
        """
        attachment_id = new_id()
        with self._database.write() as tx:
            volume = store.volume_get(tx, volume_id) if is_uuid(volume_id) else None
            if volume is None or not is_visible(ctx, volume.project_id):
                raise NotFound(kind="Volume", id=volume_id)
            self._reserve(tx, volume, server_id)
            self._add(tx, attachment_id, volume, server_id, mode)
        if connector is not None:
            try:
                return self.connect(ctx, attachment_id, connector)
            except (Invalid, HostProblem, Unavailable):
                self.release(attachment_id, volume)
                raise
        return self.get(ctx, attachment_id)

    def connect(
        self, ctx: Context, attachment_id: str, connector: Mapping[str, Any]
    ) -> tuple[Attachment, Volume]:
        """Export the volume to the connector's host. Repeating it is fine. Invalid: the host
        cannot be served, or the attachment is in use by another one.
        """
        with self._database.read() as tx:
            attachment, volume = self._visible(tx, ctx, attachment_id)
        if attachment.status == _A.ATTACHED.value:
            self._check_may_disturb(ctx, attachment)
            if connector["host"] != attachment.host:
                raise Invalid(
                    reason=f"Invalid volume: attachment {attachment_id} is in use on host "
                    f"{attachment.host}."
                )
        else:
            self._connect_row(attachment, volume, connector)
        served = self._match(attachment, volume, connector)
        with self._database.read() as tx:
            row = attachment_store.attachment_get(tx, attachment_id)
        if row is not None and row.opens_file:
            self._backends.of(volume).open_to_guests(volume.bytes_id)
        elif attachment_id not in served:
            raise Conflict(reason=f"Attachment {attachment_id} was given up meanwhile.")
        return self.get(ctx, attachment_id)

    def complete(self, ctx: Context, attachment_id: str) -> None:
        """The host has the disk: the volume is in use. Invalid: it was never connected."""
        with self._database.write() as tx:
            attachment, volume = self._visible(tx, ctx, attachment_id)
            if volume.target_of:
                store.volume_completes(tx, volume.target_of)
            store.volume_lock(tx, volume.id)
            if attachment.status == _A.ATTACHED.value:
                return
            done = attachment_store.attachment_move(
                tx, attachment_id, [_A.ATTACHING], _A.ATTACHED, attached_at=clock.now()
            )
            if not done:
                raise Invalid(
                    reason=f"Invalid volume: attachment {attachment_id} is {attachment.status}, "
                    "not attaching."
                )
            self._follow(tx, volume.id)
        LOG.info("Volume %s is in use by server %s", volume.id, attachment.server_id)

    def delete(self, ctx: Context, attachment_id: str) -> list[tuple[Attachment, Volume]]:
        """End the export and give the volume back; the attachments it still has. Conflict: a
        server uses it, and the caller is neither an administrator nor a service.
        """
        with self._database.read() as tx:
            attachment, volume = self._visible(tx, ctx, attachment_id)
        self._check_may_disturb(ctx, attachment)
        self.release(attachment_id, volume)
        with self._database.read() as tx:
            left = attachment_store.attachments_of_volumes(tx, [volume.id]).get(volume.id, [])
        return [(each, volume) for each in left]

    def finish_detaching(self, attachment: Attachment) -> None:
        """From ``detaching`` to gone. HostProblem: the exporter does not end, or a guest that opens
        the file still has it open.
        """
        self._live.match(attachment.volume_id)
        if attachment.opens_file:
            self._wait_until_closed(attachment)
        with self._database.write() as tx:
            store.volume_lock(tx, attachment.volume_id)
            if not attachment_store.attachment_remove(tx, attachment.id):
                return  # somebody else was faster; the volume may be about other things by now
            self._follow(tx, attachment.volume_id)
        LOG.info("Attachment %s of volume %s is gone", attachment.id, attachment.volume_id)

    # -- the older way: actions of a volume ------------------------------------------------------
    def reserve(self, ctx: Context, volume_id: str) -> None:
        """Claim the volume; what connects it comes later."""
        with self._database.write() as tx:
            volume = self._volume(tx, ctx, volume_id)
            if volume.multiattach and volume.status == VolumeStatus.IN_USE.value:
                store.volume_declare(tx, volume_id, VolumeStatus.ATTACHING, clock.now())
            elif not store.volume_move(tx, volume_id, "reserve_bare", clock.now()):
                raise refused(volume, "reserve", ["available"])

    def unreserve(self, ctx: Context, volume_id: str) -> None:
        """Back to what the volume's attachments make it."""
        with self._database.write() as tx:
            volume = self._volume(tx, ctx, volume_id)
            if volume.status == VolumeStatus.ATTACHING.value:
                self._follow(tx, volume_id)

    def initialize(
        self, ctx: Context, volume_id: str, connector: Mapping[str, Any]
    ) -> tuple[Attachment, Volume]:
        """Export the volume to the connector's host; may be repeated."""
        with self._database.write() as tx:
            volume = self._volume(tx, ctx, volume_id)
            found = [
                each
                for each in volume.attachments
                if each.host == connector["host"] and each.status != _A.DETACHING.value
            ]
            attachment_id = found[0].id if found else new_id()
            if not found:
                if volume.status not in ("available", "attaching", "reserved") and not (
                    volume.multiattach and volume.status in _SHARED
                ):
                    raise refused(volume, "initialize connection", ["available", "attaching"])
                self._add(tx, attachment_id, volume, "", None)
        if found and found[0].status == _A.ATTACHED.value:
            return self.get(ctx, attachment_id)
        try:
            return self.connect(ctx, attachment_id, connector)
        except (Invalid, HostProblem, Unavailable):
            if not found:
                self.release(attachment_id, volume)
            raise

    def terminate(self, ctx: Context, volume_id: str, connector: Mapping[str, Any]) -> None:
        """End the exports to the connector's host; what is attached stays so until it is detached.
        Without a host: all of them.
        """
        with self._database.write() as tx:
            volume = self._volume(tx, ctx, volume_id)
        for each in volume.attachments:
            if connector.get("host") not in (None, each.host):
                continue
            self._check_may_disturb(ctx, each)
            if each.status == _A.ATTACHED.value:
                with self._database.write() as tx:
                    store.volume_lock(tx, volume_id)
                    attachment_store.attachment_unplug(tx, each.id)
                self._live.match(volume_id)
            else:
                self.release(each.id, volume)

    def attach(
        self, ctx: Context, volume_id: str, *, server_id: str, host: str, mountpoint: str,
        mode: str,
    ) -> None:  # fmt: skip
        """Note that a server, or a host, has the volume. Invalid: another has it."""
        with self._database.write() as tx:
            volume = self._volume(tx, ctx, volume_id)
            if volume.readonly and mode == "rw":
                raise Invalid(
                    reason=f"Invalid attaching mode 'rw' for volume {volume.id}: it is read-only."
                )
            waiting = [each for each in volume.attachments if each.status != _A.ATTACHED.value
                       and each.server_id in ("", server_id)]  # fmt: skip
            if not waiting and volume.attachments and not volume.multiattach:
                raise refused(volume, "attach", ["available", "attaching"])
            if volume.status not in ("available", "attaching", "reserved", "in-use"):
                raise refused(volume, "attach", ["available", "attaching"])
            attachment_id = waiting[0].id if waiting else new_id()
            if not waiting:
                self._add(tx, attachment_id, volume, server_id, mode)
            known = (waiting[0].connector if waiting else None) or {}
            connector = {**known, "mountpoint": mountpoint}
            if host:
                connector["host"] = host
            attachment_store.attachment_move(
                tx, attachment_id, list(_A), _A.ATTACHED, attached_at=clock.now(),
                server_id=server_id, connector=connector, mode=mode,
            )  # fmt: skip
            self._follow(tx, volume_id)

    def detach(self, ctx: Context, volume_id: str, attachment_id: str | None) -> None:
        """Give the volume back; without an id: what alone has it. Invalid: several have."""
        with self._database.write() as tx:
            volume = self._volume(tx, ctx, volume_id)
        found = [each for each in volume.attachments if attachment_id in (None, each.id)]
        if attachment_id is not None and not found:
            raise NotFound(kind="Volume attachment", id=attachment_id)
        if len(found) > 1:
            raise Invalid(
                reason=f"Invalid volume: Volume {volume_id} has several attachments: name one."
            )
        if not found:
            with self._database.write() as tx:
                self._volume(tx, ctx, volume_id)
                self._follow(tx, volume_id)
        for each in found:
            self._check_may_disturb(ctx, each)
            self.release(each.id, volume)

    def qos_by_type(self) -> Mapping[str, Mapping[str, str]]:
        """Type id -> what a hypervisor is to keep its volumes to."""
        with self._database.read() as tx:
            specs = {each.id: each for each in types_store.qos_all(tx)}
            kinds = types_store.types_all(tx) if specs else []
        return {
            kind.id: specs[kind.qos_specs_id].specs
            for kind in kinds
            if kind.qos_specs_id in specs
            and specs[kind.qos_specs_id].consumer in ("front-end", "both")
        }

    def release(self, attachment_id: str, volume: Volume) -> None:
        """End the export and give the volume back; fine when that was done."""
        with self._database.write() as tx:
            store.volume_lock(tx, volume.id)
            found = attachment_store.attachment_get(tx, attachment_id)
            if found is None:
                return
            attachment_store.attachment_move(tx, attachment_id, list(_A), _A.DETACHING)
            self._follow(tx, volume.id)
        if volume.host == self._host:
            self.finish_detaching(found)

    # -- parts -----------------------------------------------------------------------------------
    def _visible(
        self, tx: Transaction, ctx: Context, attachment_id: str
    ) -> tuple[Attachment, Volume]:
        found = None
        if is_uuid(attachment_id):
            found = attachment_store.attachment_get(tx, attachment_id)
        volume = store.volume_get(tx, found.volume_id) if found else None
        if found is None or volume is None or not is_visible(ctx, found.project_id):
            raise NotFound(kind="Volume attachment", id=attachment_id)
        return found, volume

    def _volume(self, tx: Transaction, ctx: Context, volume_id: str) -> Volume:
        """The volume, whose row is held until ``tx`` ends."""
        if is_uuid(volume_id):
            store.volume_lock(tx, volume_id)
        found = store.volume_get(tx, volume_id) if is_uuid(volume_id) else None
        if found is None or not is_visible(ctx, found.project_id):
            raise NotFound(kind="Volume", id=volume_id)
        return found

    def _reserve(self, tx: Transaction, volume: Volume, server_id: str) -> None:
        if store.volume_move(tx, volume.id, "reserve", clock.now()):
            return
        store.volume_lock(tx, volume.id)
        now = store.volume_get(tx, volume.id)
        if now is None:
            raise NotFound(kind="Volume", id=volume.id)
        mine = server_id and any(each.server_id == server_id for each in now.attachments)
        if now.multiattach and now.status in _SHARED and (now.attachments or server_id):
            return
        if not mine or now.status not in _CLAIMED:
            raise refused(now, "reserve", [each.value for each in MOVES["reserve"].start])

    def _match(
        self, attachment: Attachment, volume: Volume, connector: Mapping[str, Any]
    ) -> set[str]:
        """The attachments served. A port that a stranger took since it was found free is given up
        for another, as long as no host was told of it.
        """
        for _ in range(_TRIES):
            try:
                return self._live.match(volume.id)
            except PortInUse:
                if attachment.status == _A.ATTACHED.value:
                    raise
                self._connect_row(replace(attachment, port=None), volume, connector)
        return self._live.match(volume.id)

    def _connect_row(
        self, attachment: Attachment, volume: Volume, connector: Mapping[str, Any]
    ) -> None:
        if volume.host != self._host:
            raise Unavailable(service=f"Volume host {volume.host}", reason="this is another one")
        direct = self._opens_file(attachment, volume, connector)
        remote = not direct and self._desired.is_remote(connector["host"])
        if remote and not self._address:
            raise Invalid(
                reason=f"Volumes are exported on host {self._host} alone, not to "
                f"{connector['host']}: the operator has set no nbd_address."
            )
        for _ in range(_TRIES):
            try:
                with self._database.write() as tx:
                    store.volume_lock(tx, volume.id)
                    self._check_opener(tx, attachment, volume, direct=direct)
                    port = self._port(tx, attachment) if remote else None
                    known = {**connector, OPENS_FILE: direct}
                    if not attachment_store.attachment_connect(tx, attachment.id, known, port):
                        raise Conflict(reason=f"Attachment {attachment.id} is being detached.")
                    self._follow(tx, volume.id)
                    return
            except PortTaken:
                continue
        raise Unavailable(service="Volume export", reason="ports are in great demand")

    def _opens_file(
        self, attachment: Attachment, volume: Volume, connector: Mapping[str, Any]
    ) -> bool:
        """Whether the connector's host sees the volume's bytes, and may have them for itself."""
        if volume.multiattach or attachment.mode != "rw":
            return False
        if connector.get("local_files") is True and _sees(self._open_files, volume, connector):
            return True
        return _sees(self._open_images, volume, connector)

    def _check_opener(
        self, tx: Transaction, attachment: Attachment, volume: Volume, *, direct: bool
    ) -> None:
        """Invalid: a guest that opens the volume for itself is alone. QEMU locks a file that it has
        open; an image goes over to another host with its server, as that moves.
        """
        rows = attachment_store.attachments_of_volumes(tx, [attachment.volume_id])
        for each in rows.get(attachment.volume_id, ()):
            if each.id == attachment.id or not each.connector or not (direct or each.opens_file):
                continue
            moves = direct and each.opens_file and each.server_id == attachment.server_id
            if not (moves and volume.backend in self._open_images):
                raise Invalid(
                    reason=f"Invalid volume: Volume {attachment.volume_id} is open on host "
                    f"{each.host} by attachment {each.id}, which cannot share it."
                )

    def _wait_until_closed(self, attachment: Attachment) -> None:
        """A guest that still has the volume open is cut off, or HostProblem."""
        with self._database.read() as tx:
            volume = store.volume_get(tx, attachment.volume_id)

        def unused() -> bool:
            with self._database.read() as tx:
                rows = attachment_store.attachments_of_volumes(tx, [attachment.volume_id])
            known = rows.get(attachment.volume_id, ())
            return [each.id for each in known if each.connector] == [attachment.id]

        if volume is None or not unused():
            return
        backend, give_up_at = self._backends.of(volume), time.monotonic() + _CLOSED_S
        while backend.is_written(volume.bytes_id) and time.monotonic() < give_up_at:
            time.sleep(0.1)
        backend.close_to_guests(volume.bytes_id, unused)

    def _port(self, tx: Transaction, attachment: Attachment) -> int:
        if attachment.port is not None:
            return attachment.port
        port = free_port(self._address, self._ports, attachment_store.ports_taken(tx))
        if port is None:
            raise Unavailable(service="Volume export", reason="no port of nbd_ports is free")
        return port

    def _check_may_disturb(self, ctx: Context, attachment: Attachment) -> None:
        """A volume that a server uses is compute's to take away: the guest would lose its disk
        without notice, and another's data could come under the same name.
        """
        if ctx.is_admin or ctx.is_service or not attachment.server_id:
            return
        if attachment.status != _A.RESERVED.value:
            raise Conflict(
                reason=f"Detach volume from instance {attachment.server_id} using the Compute API"
            )

    def _follow(self, tx: Transaction, volume_id: str) -> None:
        """Make the volume what its attachments make it; the caller holds its row."""
        store.volume_follow(tx, volume_id)

    def _add(
        self,
        tx: Transaction,
        attachment_id: str,
        volume: Volume,
        server_id: str,
        mode: str | None,
    ) -> None:
        if volume.readonly and mode == "rw":
            raise Invalid(
                reason=f"Invalid attaching mode 'rw' for volume {volume.id}: it is read-only."
            )
        attachment_store.attachment_add(
            tx,
            Attachment(
                id=attachment_id,
                volume_id=volume.id,
                project_id=volume.project_id,
                server_id=server_id,
                status=_A.RESERVED.value,
                mode=mode or ("ro" if volume.readonly else "rw"),
                connector=None,
                port=None,
                created_at=clock.now(),
                attached_at=None,
            ),
        )


def _sees(
    hosts: Mapping[str, Collection[str] | None], volume: Volume, connector: Mapping[str, Any]
) -> bool:
    chosen = hosts.get(volume.backend, ())
    return chosen is None or connector["host"] in chosen
