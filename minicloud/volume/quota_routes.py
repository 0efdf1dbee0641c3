"""Endpoints of quotas and limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.domain.errors import Forbidden
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas
from minicloud.volume.access import checked_project, sees_all
from minicloud.volume.quotas import RESOURCES, Quotas
from minicloud.volume.volume_routes import Scoped


class QuotaRoutes:
    def __init__(self, quotas: Quotas, scoped: Callable[[Scoped], Any]) -> None:
        self._quotas, self._scoped = quotas, scoped

    def routes(self) -> list[Route]:
        scoped, one = self._scoped, "/os-quota-sets/{target_id}"
        return [
            Route(method="GET", path="/limits", handler=scoped(self.limits),
                  policy="limits_extension:used_limits", summary="Limits and what is used"),
            Route(method="GET", path=one, handler=scoped(self.show),
                  policy="volume_extension:quotas:show", summary="Quotas of a project"),
            Route(method="GET", path=one + "/defaults", handler=scoped(self.defaults),
                  policy="volume_extension:quotas:show", summary="Default quotas"),
            Route(method="PUT", path=one, handler=scoped(self.update),
                  policy="volume_extension:quotas:update", summary="Set quotas of a project",
                  body=Body(type=schemas.QuotaSet, wrapper="quota_set")),
            Route(method="DELETE", path=one, handler=scoped(self.delete),
                  policy="volume_extension:quotas:delete", summary="Back to the default quotas"),
        ]  # fmt: skip

    def limits(self, call: Call, project: str) -> Any:
        other = call.query.get("project_id")
        if other is not None and call.allowed("limits_extension:used_limits_of_others"):
            project = checked_project(other)
        limits, usage = self._quotas.limits(project), self._quotas.usage(project)
        return {
            "limits": {
                "rate": [],
                "absolute": {
                    "maxTotalVolumes": limits["volumes"],
                    "maxTotalVolumeGigabytes": limits["gigabytes"],
                    "maxTotalSnapshots": limits["snapshots"],
                    "maxTotalBackups": limits["backups"],
                    "maxTotalBackupGigabytes": limits["backup_gigabytes"],
                    "totalVolumesUsed": usage.volumes,
                    "totalGigabytesUsed": usage.gigabytes,
                    "totalSnapshotsUsed": 0,
                    "totalBackupsUsed": 0,
                    "totalBackupGigabytesUsed": 0,
                },
            }
        }

    def show(self, call: Call, _project: str) -> Any:
        target = self._target(call)
        limits: dict[str, Any] = dict(self._quotas.limits(target))
        if call.flag("usage"):
            usage = self._quotas.usage(target)
            used = {"volumes": usage.volumes, "gigabytes": usage.gigabytes}
            limits = {
                name: {"limit": limits[name], "in_use": used.get(name, 0), "reserved": 0}
                for name in RESOURCES
            }
        return {"quota_set": {"id": target, **limits}}

    def defaults(self, call: Call, _project: str) -> Any:
        return {"quota_set": {"id": self._target(call), **self._quotas.defaults}}

    def update(self, call: Call, _project: str) -> Any:
        asked: schemas.QuotaSet = call.body
        values = {name: getattr(asked, name) for name in RESOURCES}
        limits = {name: int(value) for name, value in values.items() if value is not None}
        return {"quota_set": self._quotas.change(self._target(call), limits)}

    def delete(self, call: Call, _project: str) -> Reply:
        self._quotas.reset(self._target(call))
        return Reply(status=200)

    def _target(self, call: Call) -> str:
        target = checked_project(call.params["target_id"])
        if target != call.ctx.project_id and not sees_all(call.ctx):
            raise Forbidden(action="volume_extension:quotas:show")
        return target
