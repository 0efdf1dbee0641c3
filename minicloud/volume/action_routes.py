"""Actions of volumes, a row each: the body's one key says which."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.kit.clock import iso_micro
from minicloud.kit.web import Body, Call, Reply, Route, Version
from minicloud.volume import schemas, views
from minicloud.volume.attachment_routes import check_connector
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.imaging import Imaging
from minicloud.volume.moving import Moving
from minicloud.volume.records import MIGRATING
from minicloud.volume.retyping import Retyping
from minicloud.volume.service import VolumeService
from minicloud.volume.snapshots import SnapshotService
from minicloud.volume.states import SETTABLE, VolumeStatus
from minicloud.volume.volume_routes import Scoped, Scoping, size_of, yes

_MEMBERS = "volume_extension:volume_actions:"
_ADMINS = "volume_extension:volume_admin_actions:"
_IN_USE: Version = (3, 42)


class ActionRoutes:
    def __init__(
        self,
        volumes: VolumeService,
        snapshots: SnapshotService,
        attachments: AttachmentService,
        imaging: Imaging,
        retyping: Retyping,
        moving: Moving,
        scoped: Scoping,
        *,
        way: views.Way,
    ) -> None:
        self._volumes, self._snapshots, self._attachments = volumes, snapshots, attachments
        self._imaging, self._retyping, self._moving = imaging, retyping, moving
        self._scoped, self._way = scoped, way

    def routes(self) -> list[Route]:
        row = self._row
        image = "volume_extension:volume_image_metadata:"
        return [
            row("os-extend", self.extend, "volume:extend", schemas.Extend, until=(3, 41)),
            row("os-extend", self.extend_in_use, "volume:extend_attached_volume", schemas.Extend,
                since=_IN_USE),
            row("os-extend_volume_completion", self.extend_completion,
                _ADMINS + "extend_volume_complete", schemas.ExtendCompletion, since=(3, 71)),
            row("os-set_bootable", self.set_bootable, _MEMBERS + "set_bootable",
                schemas.SetBootable, status=200),
            row("os-update_readonly_flag", self.set_readonly, _MEMBERS + "update_readonly_flag",
                schemas.SetReadonly),
            row("os-reserve", self.reserve, _MEMBERS + "reserve"),
            row("os-unreserve", self.unreserve, _MEMBERS + "unreserve"),
            row("os-begin_detaching", self.begin_detaching, _MEMBERS + "begin_detaching"),
            row("os-roll_detaching", self.roll_detaching, _MEMBERS + "roll_detaching"),
            row("os-attach", self.attach, _MEMBERS + "attach", schemas.Attach),
            row("os-detach", self.detach, _MEMBERS + "detach", schemas.Detach, may_be_null=True),
            row("os-force_detach", self.force_detach, _ADMINS + "force_detach",
                schemas.ForceDetach),
            row("os-initialize_connection", self.initialize, _MEMBERS + "initialize_connection",
                schemas.WithConnector, status=200),
            row("os-terminate_connection", self.terminate, _MEMBERS + "terminate_connection",
                schemas.WithConnector),
            row("os-reset_status", self.reset_status, _ADMINS + "reset_status",
                schemas.ResetStatus),
            row("os-force_delete", self.force_delete, _ADMINS + "force_delete"),
            row("os-set_image_metadata", self.set_image_metadata, image + "set",
                schemas.ImageMetadata, status=200),
            row("os-unset_image_metadata", self.unset_image_metadata, image + "remove",
                schemas.ImageMetadataKey, status=200),
            row("os-show_image_metadata", self.show_image_metadata, image + "show", status=200),
            row("os-volume_upload_image", self.upload, _MEMBERS + "upload_image",
                schemas.UploadImage),
            row("os-reimage", self.reimage, "volume:reimage", schemas.Reimage, since=(3, 68)),
            row("os-retype", self.retype, "volume:retype", schemas.Retype),
            row("os-migrate_volume", self.migrate, _ADMINS + "migrate_volume", schemas.Migrate),
            row("os-migrate_volume_completion", self.migrate_completion,
                _ADMINS + "migrate_volume_completion", schemas.MigrateCompletion, status=200),
            row("os-unmanage", self.unmanage, "volume_extension:volume_unmanage"),
            row("revert", self.revert, "volume:revert_to_snapshot", schemas.Revert,
                since=(3, 40)),
        ]  # fmt: skip

    def _row(
        self,
        action: str,
        handler: Scoped,
        policy: str,
        arguments: Any = None,
        status: int = 202,
        *,
        since: Version | None = None,
        until: Version | None = None,
        may_be_null: bool = False,
    ) -> Route:
        body: Any = schemas.Argumentless
        if arguments is not None:
            newer = {"visibility": (3, 1), "protected": (3, 1), "cluster": (3, 16)}
            body = Body(type=arguments, wrapper=action, may_be_null=may_be_null, since=newer)
        return Route(
            method="POST",
            path="/volumes/{volume_id}/action",
            action=action,
            handler=self._scoped(handler),
            policy=policy,
            body=body,
            status=status,
            since=since,
            until=until,
            summary=f"Volume action {action}",
        )

    # -- size and flags --------------------------------------------------------------------------
    def extend(self, call: Call, _project: str) -> Reply:
        self._volumes.extend(call.ctx, _id(call), size_of(call.body.new_size), in_use=False)
        return Reply()

    def extend_in_use(self, call: Call, _project: str) -> Reply:
        self._volumes.extend(call.ctx, _id(call), size_of(call.body.new_size), in_use=True)
        return Reply()

    def extend_completion(self, call: Call, _project: str) -> Reply:
        # A host that says its guest has seen the growth. The volume did not wait for it.
        self._volumes.get(call.ctx, _id(call))
        return Reply()

    def set_bootable(self, call: Call, _project: str) -> Reply:
        self._volumes.update(call.ctx, _id(call), {"bootable": yes(call.body.bootable)})
        return Reply()

    def set_readonly(self, call: Call, _project: str) -> Reply:
        self._volumes.set_readonly(call.ctx, _id(call), yes(call.body.readonly))
        return Reply()

    # -- attaching -------------------------------------------------------------------------------
    def reserve(self, call: Call, _project: str) -> Reply:
        self._attachments.reserve(call.ctx, _id(call))
        return Reply()

    def unreserve(self, call: Call, _project: str) -> Reply:
        self._attachments.unreserve(call.ctx, _id(call))
        return Reply()

    def begin_detaching(self, call: Call, _project: str) -> Reply:
        self._volumes.act(call.ctx, _id(call), "begin_detaching")
        return Reply()

    def roll_detaching(self, call: Call, _project: str) -> Reply:
        self._volumes.act(call.ctx, _id(call), "roll_detaching")
        return Reply()

    def attach(self, call: Call, _project: str) -> Reply:
        asked: schemas.Attach = call.body
        if bool(asked.instance_uuid) == bool(asked.host_name):
            raise Invalid(
                reason="Invalid request to attach volume to an invalid target: name either "
                "instance_uuid or host_name."
            )
        self._attachments.attach(
            call.ctx,
            _id(call),
            server_id=asked.instance_uuid or "",
            host=asked.host_name or "",
            mountpoint=asked.mountpoint,
            mode=asked.mode or "rw",
        )
        return Reply()

    def detach(self, call: Call, _project: str) -> Reply:
        self._attachments.detach(call.ctx, _id(call), call.body.attachment_id)
        return Reply()

    def force_detach(self, call: Call, _project: str) -> Reply:
        self._attachments.detach(call.ctx, _id(call), call.body.attachment_id)
        return Reply()

    def initialize(self, call: Call, _project: str) -> Any:
        check_connector(call.body.connector)
        attachment, volume = self._attachments.initialize(call.ctx, _id(call), call.body.connector)
        qos = self._attachments.qos_by_type().get(volume.type_id)
        flat = views.connection(attachment, volume, self._way, qos)
        kind = flat.pop("driver_volume_type")
        return {"connection_info": {"driver_volume_type": kind, "data": flat}}

    def terminate(self, call: Call, _project: str) -> Reply:
        self._attachments.terminate(call.ctx, _id(call), call.body.connector)
        return Reply()

    # -- for administrators ----------------------------------------------------------------------
    def reset_status(self, call: Call, _project: str) -> Reply:
        asked: schemas.ResetStatus = call.body
        if asked.status is None and asked.attach_status is None and asked.migration_status is None:
            raise Invalid(reason="Name a status, an attach_status or a migration_status.")
        if asked.attach_status not in (None, "detached", "attached"):
            raise Invalid(reason="Invalid attach_status: use attached or detached.")
        if asked.migration_status is not None:
            word = asked.migration_status.lower()
            if word not in (*MIGRATING, "success", "error", "none"):
                raise Invalid(reason=f"Volume migration status: {word} is invalid.")
            self._volumes.update(
                call.ctx, _id(call), {"migration_status": None if word == "none" else word}
            )
        if asked.status is None:
            # What is attached follows from the volume's attachments here.
            self._volumes.get(call.ctx, _id(call))
            return Reply()
        known = [each.value for each in SETTABLE]
        if asked.status.lower() not in known:
            raise Invalid(reason=f"Invalid status: use one of {', '.join(known)}.")
        status = VolumeStatus(asked.status.lower())
        self._volumes.reset_status(call.ctx, _id(call), status)
        return Reply()

    def force_delete(self, call: Call, _project: str) -> Reply:
        self._volumes.delete(call.ctx, _id(call), force=True)
        return Reply()

    def retype(self, call: Call, _project: str) -> Reply:
        moves = call.body.migration_policy == "on-demand"
        self._retyping.retype(call.ctx, _id(call), call.body.new_type, may_move=moves)
        return Reply()

    def migrate(self, call: Call, _project: str) -> Reply:
        if call.body.cluster or not call.body.host:
            raise Invalid(reason="Name a host: there are no clusters here.")
        lock = yes(call.body.lock_volume)
        self._retyping.migrate(call.ctx, _id(call), call.body.host, lock=lock)
        return Reply()

    def migrate_completion(self, call: Call, _project: str) -> Any:
        asked: schemas.MigrateCompletion = call.body
        saved = self._moving.complete(
            call.ctx, _id(call), asked.new_volume, failed=yes(asked.error)
        )
        return {"save_volume_id": saved}

    def unmanage(self, call: Call, _project: str) -> Reply:
        self._retyping.unmanage(call.ctx, _id(call))
        return Reply()

    # -- images and snapshots --------------------------------------------------------------------
    def set_image_metadata(self, call: Call, _project: str) -> Any:
        merged = self._volumes.image_metadata_merge(call.ctx, _id(call), call.body.metadata)
        return {"metadata": merged}

    def unset_image_metadata(self, call: Call, _project: str) -> Reply:
        self._volumes.image_metadata_remove(call.ctx, _id(call), call.body.key)
        return Reply()

    def show_image_metadata(self, call: Call, _project: str) -> Any:
        return {"metadata": self._volumes.get(call.ctx, _id(call)).image_metadata}

    def upload(self, call: Call, _project: str) -> Any:
        asked: schemas.UploadImage = call.body
        if asked.visibility == "public":
            call.check(_MEMBERS + "upload_public")
        volume, image = self._imaging.upload(
            call.ctx,
            _id(call),
            name=asked.image_name,
            disk_format=asked.disk_format or "raw",
            container_format=asked.container_format or "bare",
            force=yes(asked.force),
            visibility=asked.visibility,
            protected=None if asked.protected is None else yes(asked.protected),
        )
        return {
            "os-volume_upload_image": {
                "id": volume.id,
                "updated_at": iso_micro(volume.updated_at),
                "status": volume.status,
                "display_description": volume.description or None,
                "size": volume.size_gb,
                "volume_type": {"id": volume.type_id, "name": volume.type_name},
                "image_id": image["id"],
                "container_format": asked.container_format or "bare",
                "disk_format": asked.disk_format or "raw",
                "image_name": asked.image_name,
                "protected": image.get("protected", False),
                "visibility": image.get("visibility", "shared"),
            }
        }

    def reimage(self, call: Call, _project: str) -> Reply:
        reserved = yes(call.body.reimage_reserved)
        if reserved:
            call.check("volume:reimage_reserved")
        self._imaging.reimage(call.ctx, _id(call), call.body.image_id, reserved=reserved)
        return Reply()

    def revert(self, call: Call, _project: str) -> Reply:
        self._snapshots.revert(call.ctx, _id(call), call.body.snapshot_id)
        return Reply()


def _id(call: Call) -> str:
    return call.params["volume_id"]
