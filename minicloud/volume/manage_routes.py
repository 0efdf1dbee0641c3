"""Endpoints for files that are there already: to become volumes, and no snapshots."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Invalid, NotImplementedHere
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas, views
from minicloud.volume.records import GIB
from minicloud.volume.retyping import Retyping
from minicloud.volume.service import NewVolume
from minicloud.volume.volume_routes import Scoping, yes

_SINCE = (3, 8)
_HOST_ATTRIBUTE = "volume_extension:volume_host_attribute"


class ManageRoutes:
    def __init__(self, retyping: Retyping, scoped: Scoping) -> None:
        self._retyping, self._scoped = retyping, scoped

    def routes(self) -> list[Route]:
        scoped = self._scoped
        body = Body(type=schemas.ManageVolume, wrapper="volume", since={"cluster": (3, 16)})
        manage = Route(method="POST", path="/os-volume-manage", handler=scoped(self.manage),
                       policy="volume_extension:volume_manage", status=202, body=body,
                       down=views.VOLUME_DOWN, summary="Make a file a volume")  # fmt: skip
        listing = "volume_extension:list_manageable"
        snapshots = "snapshot_extension:list_manageable"
        return [
            manage,
            Route(method="POST", path="/manageable_volumes", handler=scoped(self.manage),
                  policy="volume_extension:volume_manage", status=202, body=body, since=_SINCE,
                  down=views.VOLUME_DOWN, summary="Make a file a volume"),
            Route(method="GET", path="/os-volume-manage", handler=scoped(self.list),
                  policy=listing, summary="List files that can become volumes"),
            Route(method="GET", path="/os-volume-manage/detail", handler=scoped(self.list),
                  policy=listing, summary="List files that can become volumes"),
            Route(method="GET", path="/manageable_volumes", handler=scoped(self.list),
                  policy=listing, since=_SINCE, summary="List files that can become volumes"),
            Route(method="GET", path="/manageable_volumes/detail", handler=scoped(self.list),
                  policy=listing, since=_SINCE, summary="List files that can become volumes"),
            Route(method="GET", path="/manageable_snapshots", handler=scoped(self.snapshots),
                  policy=snapshots, since=_SINCE, summary="List files that can become snapshots"),
            Route(method="GET", path="/manageable_snapshots/detail",
                  handler=scoped(self.snapshots), policy=snapshots, since=_SINCE,
                  summary="List files that can become snapshots"),
            Route(method="GET", path="/os-snapshot-manage", handler=scoped(self.snapshots),
                  policy=snapshots, summary="List files that can become snapshots"),
            Route(method="POST", path="/os-snapshot-manage", handler=scoped(self.refuse),
                  policy="snapshot_extension:snapshot_manage", body=schemas.Argumentless,
                  summary="Not implemented"),
            Route(method="POST", path="/manageable_snapshots", handler=scoped(self.refuse),
                  policy="snapshot_extension:snapshot_manage", body=schemas.Argumentless,
                  since=_SINCE, summary="Not implemented"),
        ]  # fmt: skip

    def manage(self, call: Call, project: str) -> Any:
        wanted: schemas.ManageVolume = call.body
        reference = wanted.ref.get("source-name")
        if wanted.host is None or reference is None:
            raise Invalid(
                reason="Name a host, and a file by its name in the backend's directory managed: "
                "{'source-name': ...}."
            )
        if wanted.availability_zone not in (None, "", views.ZONE):
            raise Invalid(reason=f"Availability zone '{wanted.availability_zone}' is invalid.")
        asked = NewVolume(
            project_id=project,
            name=wanted.name or "",
            description=wanted.description or "",
            metadata=wanted.metadata or {},
            type_name=wanted.volume_type or None,
        )
        made = self._retyping.manage(
            call.ctx, asked, wanted.host, reference, bootable=yes(wanted.bootable)
        )
        privileged = call.allowed(_HOST_ATTRIBUTE)
        return {"volume": views.volume_view(made, call.base_url, privileged=privileged)}

    def list(self, call: Call, _project: str) -> Any:
        return {
            "manageable-volumes": [
                {
                    "reference": {"source-name": name},
                    "size": max(1, -(-size // GIB)),
                    "safe_to_manage": True,
                    "reason_not_safe": None,
                    "cinder_id": None,
                    "extra_info": None,
                }
                for name, size in self._retyping.manageable(_host(call))
            ]
        }

    def snapshots(self, call: Call, _project: str) -> Any:
        self._retyping.manageable(_host(call))
        return {"manageable-snapshots": []}

    def refuse(self, _call: Call, _project: str) -> Reply:
        raise NotImplementedHere(reason="A file can become a volume here, but no snapshot.")


def _host(call: Call) -> str:
    host = call.query.get("host")
    if not host:
        raise Invalid(reason="Either host or cluster must be specified: give host.")
    return host
