"""Endpoints of snapshots, their metadata and their actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from minicloud.domain.errors import Invalid, NotFound, NotImplementedHere
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas, views
from minicloud.volume.kinds import SNAPSHOTS
from minicloud.volume.query import answer, asked, parameters
from minicloud.volume.records import Snapshot
from minicloud.volume.snapshots import SETTABLE, SnapshotService
from minicloud.volume.states import SnapshotStatus
from minicloud.volume.volume_routes import Scoping, yes

_LIST = parameters(SNAPSHOTS, since={"metadata": (3, 22)})
_ADMINS = "volume_extension:snapshot_admin_actions:"
_WITHOUT_FORCE = (3, 66)
_CLIENTS = (3, 65)
"""What openstacksdk asks for snapshots with. The openstack command leaves ``force`` out where the
service knows 3.66, and sends the request at 3.65 all the same: there, saying nothing is no "no".
"""


class SnapshotRoutes:
    def __init__(self, snapshots: SnapshotService, scoped: Scoping) -> None:
        self._snapshots, self._scoped = snapshots, scoped

    def routes(self) -> list[Route]:
        scoped, one, down = self._scoped, "/snapshots/{snapshot_id}", views.SNAPSHOT_DOWN
        metadata = one + "/metadata"
        create = Route(method="POST", path="/snapshots", handler=scoped(self.create), until=(3, 64),
                       policy="volume:create_snapshot", status=202, down=down,
                       summary="Keep what a volume has now",
                       body=Body(type=schemas.SnapshotCreate, wrapper="snapshot"))  # fmt: skip
        return [
            create,
            replace(create, handler=scoped(self.create_unforced), since=_CLIENTS, until=_CLIENTS),
            replace(create, handler=scoped(self.create_in_use), since=_WITHOUT_FORCE, until=None),
            Route(method="GET", path="/snapshots", handler=scoped(self.list), query=_LIST,
                  policy="volume:get_all_snapshots", down=down, summary="List snapshots"),
            Route(method="GET", path="/snapshots/detail", handler=scoped(self.detail),
                  query=_LIST, policy="volume:get_all_snapshots", down=down,
                  summary="List snapshots in detail"),
            Route(method="GET", path=one, handler=scoped(self.show), policy="volume:get_snapshot",
                  down=down, summary="Show a snapshot"),
            Route(method="PUT", path=one, handler=scoped(self.update), down=down,
                  policy="volume:update_snapshot", summary="Change name and description",
                  body=Body(type=schemas.VolumeUpdate, wrapper="snapshot")),
            Route(method="DELETE", path=one, handler=scoped(self.delete), status=202,
                  policy="volume:delete_snapshot", summary="Delete a snapshot"),
            Route(method="GET", path=metadata, handler=scoped(self.metadata),
                  policy="volume:get_snapshot_metadata", summary="Show metadata"),
            Route(method="POST", path=metadata, handler=scoped(self.metadata_merge),
                  policy="volume:update_snapshot_metadata", body=schemas.MetadataBody,
                  summary="Add metadata"),
            Route(method="PUT", path=metadata, handler=scoped(self.metadata_replace),
                  policy="volume:update_snapshot_metadata", body=schemas.MetadataBody,
                  summary="Replace metadata"),
            Route(method="GET", path=metadata + "/{key}", handler=scoped(self.item),
                  policy="volume:get_snapshot_metadata", summary="Show one metadata item"),
            Route(method="PUT", path=metadata + "/{key}", handler=scoped(self.item_put),
                  policy="volume:update_snapshot_metadata", body=schemas.MetaBody,
                  summary="Set one metadata item"),
            Route(method="DELETE", path=metadata + "/{key}", handler=scoped(self.item_delete),
                  policy="volume:delete_snapshot_metadata", summary="Remove one metadata item"),
            self._action("os-reset_status", self.reset_status, _ADMINS + "reset_status",
                         Body(type=schemas.SnapshotStatus, wrapper="os-reset_status")),
            self._action("os-force_delete", self.force_delete, _ADMINS + "force_delete",
                         schemas.Argumentless),
            self._action("os-update_snapshot_status", self.reset_status,
                         "snapshot_extension:snapshot_actions:update_snapshot_status",
                         Body(type=schemas.SnapshotStatus, wrapper="os-update_snapshot_status")),
            self._action("os-unmanage", self.unmanage, "snapshot_extension:snapshot_unmanage",
                         schemas.Argumentless),
        ]  # fmt: skip

    def _action(self, name: str, handler: Any, policy: str, body: Any) -> Route:
        return Route(
            method="POST", path="/snapshots/{snapshot_id}/action", action=name,
            handler=self._scoped(handler), policy=policy, body=body, status=202,
            summary=f"Snapshot action {name}",
        )  # fmt: skip

    # -- snapshots -------------------------------------------------------------------------------
    def create(self, call: Call, project: str) -> Any:
        force = call.body.force
        return self._create(call, in_use=force is not None and yes(force))

    def create_unforced(self, call: Call, project: str) -> Any:
        force = call.body.force
        return self._create(call, in_use=force is None or yes(force))

    def create_in_use(self, call: Call, project: str) -> Any:
        """Since 3.66 a volume in use needs no word of force; what says otherwise is refused."""
        force = call.body.force
        if force is not None and not yes(force):
            raise Invalid(
                reason="Invalid input received: since version 3.66 a snapshot of a volume in use "
                "needs no force, and force=false means nothing: leave it out."
            )
        return self._create(call, in_use=True)

    def _create(self, call: Call, *, in_use: bool) -> Any:
        asked_for: schemas.SnapshotCreate = call.body
        made = self._snapshots.create(
            call.ctx,
            asked_for.volume_id,
            name=asked_for.name or asked_for.display_name or "",
            description=asked_for.description or asked_for.display_description or "",
            metadata=asked_for.metadata or {},
            in_use=in_use,
        )
        return {"snapshot": views.snapshot_view(made)}

    def list(self, call: Call, project: str) -> Any:
        return self._page(call, project, views.snapshot_view)

    def detail(self, call: Call, project: str) -> Any:
        return self._page(call, project, views.snapshot_detail)

    def show(self, call: Call, _project: str) -> Any:
        found = self._snapshots.get(call.ctx, _id(call))
        return {"snapshot": views.snapshot_detail(found)}

    def update(self, call: Call, _project: str) -> Any:
        wanted: schemas.VolumeUpdate = call.body
        values = {}
        for column, new, old in (
            ("name", wanted.name, wanted.display_name),
            ("description", wanted.description, wanted.display_description),
        ):
            value = old if new is UNSET else new
            if value is not UNSET:
                values[column] = value or ""
        if not values and wanted.metadata is None:
            raise Invalid(reason="Name a name, a description or metadata.")
        changed = self._snapshots.update(call.ctx, _id(call), values, wanted.metadata)
        return {"snapshot": views.snapshot_view(changed)}

    def delete(self, call: Call, _project: str) -> Reply:
        self._snapshots.delete(call.ctx, _id(call))
        return Reply(status=202)

    # -- metadata --------------------------------------------------------------------------------
    def metadata(self, call: Call, _project: str) -> Any:
        return {"metadata": self._snapshots.get(call.ctx, _id(call)).metadata}

    def metadata_merge(self, call: Call, _project: str) -> Any:
        merged = self._snapshots.metadata_merge(call.ctx, _id(call), call.body.metadata)
        return {"metadata": merged}

    def metadata_replace(self, call: Call, _project: str) -> Any:
        changed = self._snapshots.update(call.ctx, _id(call), {}, call.body.metadata)
        return {"metadata": changed.metadata}

    def item(self, call: Call, _project: str) -> Any:
        key = call.params["key"]
        metadata = self._snapshots.get(call.ctx, _id(call)).metadata
        if key not in metadata:
            raise NotFound(kind="Metadata key", id=key)
        return {"meta": {key: metadata[key]}}

    def item_put(self, call: Call, _project: str) -> Any:
        if [*call.body.meta] != [call.params["key"]]:
            raise Invalid(reason="The request body and the URL name different keys.")
        self._snapshots.metadata_merge(call.ctx, _id(call), call.body.meta)
        return {"meta": call.body.meta}

    def item_delete(self, call: Call, _project: str) -> Reply:
        self._snapshots.metadata_remove(call.ctx, _id(call), call.params["key"])
        return Reply(status=200)

    # -- actions ---------------------------------------------------------------------------------
    def reset_status(self, call: Call, _project: str) -> Reply:
        known = [each.value for each in SETTABLE]
        status = call.body.status.lower()
        if status not in known:
            raise Invalid(reason=f"Invalid status: use one of {', '.join(known)}.")
        self._snapshots.reset_status(call.ctx, _id(call), SnapshotStatus(status))
        return Reply()

    def force_delete(self, call: Call, _project: str) -> Reply:
        self._snapshots.delete(call.ctx, _id(call), force=True)
        return Reply()

    def unmanage(self, call: Call, _project: str) -> Reply:
        self._snapshots.get(call.ctx, _id(call))
        raise NotImplementedHere(
            reason="A snapshot has no file of its own that could be left: make a volume of it and "
            "unmanage that."
        )

    def _page(self, call: Call, project: str, view: Callable[[Snapshot], Any]) -> Any:
        wanted = asked(call, project, SNAPSHOTS)
        return answer(
            call,
            "snapshots",
            self._snapshots.select(wanted),
            view,
            id_of=lambda each: each.id,
            count=lambda: self._snapshots.count(wanted),
        )


def _id(call: Call) -> str:
    return call.params["snapshot_id"]
