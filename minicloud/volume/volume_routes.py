"""Endpoints of volumes, their metadata and their actions: query and body in, view out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from minicloud.domain.errors import Invalid, NotFound
from minicloud.kit.web import Body, Call, Query, Reply, Route
from minicloud.volume import schemas, views
from minicloud.volume.kinds import VOLUMES
from minicloud.volume.listing import Listing
from minicloud.volume.query import answer, parameters, project_asked, text
from minicloud.volume.query import asked as asked_of
from minicloud.volume.records import TARGET, Volume
from minicloud.volume.service import NewVolume, VolumeService

_HOST_ATTRIBUTE = "volume_extension:volume_host_attribute"
Scoped = Callable[[Call, str], Any]
"""A handler that is told which project the request is about."""
Scoping = Callable[[Scoped], Callable[[Call], Any]]
"""Makes a handler of one that is told the project."""


class VolumeRoutes:
    def __init__(self, volumes: VolumeService, scoped: Scoping) -> None:
        self._volumes, self._scoped = volumes, scoped

    def routes(self) -> list[Route]:
        scoped, down = self._scoped, views.VOLUME_DOWN
        metadata = "/volumes/{volume_id}/metadata"
        return [
            Route(method="POST", path="/volumes", handler=scoped(self.create), status=202,
                  policy="volume:create", body=schemas.VolumeCreateBody, down=down,
                  summary="Create a volume, blank or of something"),
            Route(method="GET", path="/volumes", handler=scoped(self.list), query=_LIST,
                  policy="volume:get_all", summary="List volumes: ids and names"),
            Route(method="GET", path="/volumes/detail", handler=scoped(self.detail), query=_LIST,
                  policy="volume:get_all", down=down, summary="List volumes"),
            Route(method="GET", path="/volumes/summary", handler=scoped(self.sum_up),
                  policy="volume:get_all", since=(3, 12), down=views.SUMMARY_DOWN,
                  summary="Count volumes and their size"),
            Route(method="GET", path="/volumes/{volume_id}", handler=scoped(self.show),
                  policy="volume:get", down=down, summary="Show a volume"),
            Route(method="PUT", path="/volumes/{volume_id}", handler=scoped(self.update),
                  policy="volume:update", down=down, summary="Change name and description",
                  body=Body(type=schemas.VolumeUpdate, wrapper="volume")),
            Route(method="DELETE", path="/volumes/{volume_id}", handler=scoped(self.delete),
                  policy="volume:delete", status=202, summary="Delete a volume",
                  query=_DELETE),
            Route(method="GET", path=metadata, handler=scoped(self.metadata),
                  policy="volume:get_volume_metadata", summary="Show metadata"),
            Route(method="POST", path=metadata, handler=scoped(self.metadata_merge),
                  policy="volume:create_volume_metadata", body=schemas.MetadataBody,
                  summary="Add metadata"),
            Route(method="PUT", path=metadata, handler=scoped(self.metadata_replace),
                  policy="volume:update_volume_metadata", body=schemas.MetadataBody,
                  summary="Replace metadata"),
            Route(method="GET", path=metadata + "/{key}", handler=scoped(self.item),
                  policy="volume:get_volume_metadata", summary="Show one metadata item"),
            Route(method="PUT", path=metadata + "/{key}", handler=scoped(self.item_put),
                  policy="volume:update_volume_metadata", body=schemas.MetaBody,
                  summary="Set one metadata item"),
            Route(method="DELETE", path=metadata + "/{key}", handler=scoped(self.item_delete),
                  policy="volume:delete_volume_metadata", summary="Remove one metadata item"),
        ]  # fmt: skip

    # -- volumes ---------------------------------------------------------------------------------
    def create(self, call: Call, project: str) -> Any:
        asked: schemas.VolumeCreate = call.body.volume
        _check_place(asked)
        volume = self._volumes.create(
            call.ctx,
            NewVolume(
                project_id=project,
                size_gb=None if asked.size is None else size_of(asked.size),
                name=asked.name or asked.display_name or "",
                description=asked.description or asked.display_description or "",
                metadata=asked.metadata or {},
                type_name=asked.volume_type or None,
                image_id=asked.imageRef or asked.image_id or None,
                snapshot_id=asked.snapshot_id or None,
                source_volid=asked.source_volid or None,
                backup_id=asked.backup_id or None,
                multiattach=asked.multiattach is not None and yes(asked.multiattach),
                group_id=asked.group_id or None,
            ),
        )
        return {
            "volume": views.volume_view(volume, call.base_url, privileged=self._privileged(call))
        }

    def list(self, call: Call, project: str) -> Any:
        return self._page(call, project, lambda each: views.volume_summary(each, call.base_url))

    def detail(self, call: Call, project: str) -> Any:
        privileged = self._privileged(call)
        return self._page(
            call,
            project,
            lambda each: views.volume_detail(each, call.base_url, privileged=privileged),
        )

    def sum_up(self, call: Call, project: str) -> Any:
        usage, metadata = self._volumes.summary(project_asked(call, project))
        return {
            "volume-summary": {
                "total_size": usage.volume_gigabytes,
                "total_count": usage.volumes,
                "metadata": metadata,
            }
        }

    def show(self, call: Call, _project: str) -> Any:
        return self._shown(call, self._volumes.get(call.ctx, call.params["volume_id"]))

    def update(self, call: Call, _project: str) -> Any:
        asked: schemas.VolumeUpdate = call.body
        values = {}
        for column, new, old in (
            ("name", asked.name, asked.display_name),
            ("description", asked.description, asked.display_description),
        ):
            value = old if new is UNSET else new
            if value is not UNSET:
                values[column] = value or ""
        if not values and asked.metadata is None:
            raise Invalid(reason="Name a name, a description or metadata.")
        volume = self._volumes.update(call.ctx, call.params["volume_id"], values, asked.metadata)
        return {
            "volume": views.volume_view(volume, call.base_url, privileged=self._privileged(call))
        }

    def delete(self, call: Call, _project: str) -> Reply:
        force = call.flag("force")
        if force:
            call.check("volume:force_delete")
        cascade = call.flag("cascade")
        self._volumes.delete(call.ctx, call.params["volume_id"], force=force, cascade=cascade)
        return Reply(status=202)

    # -- metadata --------------------------------------------------------------------------------
    def metadata(self, call: Call, _project: str) -> Any:
        return {"metadata": self._volumes.get(call.ctx, call.params["volume_id"]).metadata}

    def metadata_merge(self, call: Call, _project: str) -> Any:
        merged = self._volumes.metadata_merge(
            call.ctx, call.params["volume_id"], call.body.metadata
        )
        return {"metadata": merged}

    def metadata_replace(self, call: Call, _project: str) -> Any:
        volume = self._volumes.update(call.ctx, call.params["volume_id"], {}, call.body.metadata)
        return {"metadata": volume.metadata}

    def item(self, call: Call, _project: str) -> Any:
        key = call.params["key"]
        metadata = self._volumes.get(call.ctx, call.params["volume_id"]).metadata
        if key not in metadata:
            raise NotFound(kind="Metadata key", id=key)
        return {"meta": {key: metadata[key]}}

    def item_put(self, call: Call, _project: str) -> Any:
        if [*call.body.meta] != [call.params["key"]]:
            raise Invalid(reason="The request body and the URL name different keys.")
        self._volumes.metadata_merge(call.ctx, call.params["volume_id"], call.body.meta)
        return {"meta": call.body.meta}

    def item_delete(self, call: Call, _project: str) -> Reply:
        self.item(call, _project)
        self._volumes.metadata_remove(call.ctx, call.params["volume_id"], call.params["key"])
        return Reply(status=200)

    # -- parts -----------------------------------------------------------------------------------
    def _privileged(self, call: Call) -> bool:
        return call.allowed(_HOST_ATTRIBUTE)

    def _shown(self, call: Call, volume: Volume) -> Any:
        privileged = self._privileged(call)
        return {"volume": views.volume_detail(volume, call.base_url, privileged=privileged)}

    def _page(self, call: Call, project: str, view: Callable[[Volume], Any]) -> Any:
        asked = _asked(call, project)
        if asked is None:
            return {"volumes": []}
        return answer(
            call,
            "volumes",
            self._volumes.select(asked),
            view,
            id_of=lambda each: each.id,
            count=lambda: self._volumes.count(asked),
        )


_NOTHING_HAS = ("consistencygroup_id", "encryption_key_id")
"""Filters on what no volume of ours has: they match nothing."""
_LIST = parameters(
    VOLUMES, *_NOTHING_HAS, "availability_zone",
    since={"glance_metadata": (3, 4), "group_id": (3, 10)},
)  # fmt: skip
_DELETE = Query(
    names=frozenset(("cascade", "force")), since={"force": (3, 23)}, strict_from=(99, 0)
)


def _asked(call: Call, project: str) -> Listing | None:
    """The list that the query describes; None: nothing can match."""
    if any(call.query.get(name) for name in _NOTHING_HAS):
        return None
    if (text(call, "availability_zone") or views.ZONE) != views.ZONE:
        return None
    asked = asked_of(call, project, VOLUMES)
    if call.ctx.is_admin:
        return asked
    return msgspec.structs.replace(asked, without={"migration_status": f"{TARGET}:"})


def size_of(value: int | str) -> int:
    size = int(value)
    if size < 1:
        raise Invalid(reason="Invalid input received: Volume size must be at least 1 GiB.")
    return size


def yes(value: bool | str | None) -> bool:
    """A flag as clients write it; null is no."""
    return str(value).lower() in ("true", "1", "t", "yes", "on", "y")


def _check_place(asked: schemas.VolumeCreate) -> None:
    if asked.source_replica or asked.consistencygroup_id:
        raise Invalid(reason="There are no replicas and consistency groups here: use groups.")
    if asked.availability_zone not in (None, "", views.ZONE):
        raise Invalid(reason=f"Availability zone '{asked.availability_zone}' is invalid.")
