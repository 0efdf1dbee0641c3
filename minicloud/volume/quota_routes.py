"""Endpoints of quotas and limits."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Forbidden, Invalid
from minicloud.kit.web import Body, Call, Query, Reply, Route
from minicloud.volume import schemas
from minicloud.volume.access import checked_project, sees_all
from minicloud.volume.quotas import RESOURCES, Quotas
from minicloud.volume.volume_routes import Scoping

_LIMITS = Query(
    names=frozenset(("project_id", "tenant_id")),
    since={"project_id": (3, 39)},
    strict_from=(99, 0),
)


class QuotaRoutes:
    def __init__(self, quotas: Quotas, scoped: Scoping) -> None:
        self._quotas, self._scoped = quotas, scoped

    def routes(self) -> list[Route]:
        scoped, one = self._scoped, "/os-quota-sets/{target_id}"
        return [
            Route(method="GET", path="/limits", handler=scoped(self.limits),
                  policy="limits_extension:used_limits", summary="Limits and what is used",
                  query=_LIMITS),
            Route(method="GET", path=one, handler=scoped(self.show),
                  policy="volume_extension:quotas:show", summary="Quotas of a project"),
            Route(method="GET", path=one + "/defaults", handler=scoped(self.defaults),
                  policy="volume_extension:quotas:show", summary="Default quotas"),
            Route(method="PUT", path=one, handler=scoped(self.update),
                  policy="volume_extension:quotas:update", summary="Set quotas of a project",
                  body=Body(type=schemas.QuotaSet, wrapper="quota_set")),
            Route(method="DELETE", path=one, handler=scoped(self.delete),
                  policy="volume_extension:quotas:delete", summary="Back to the default quotas"),
            Route(method="GET", path="/os-quota-class-sets/{name}", handler=scoped(self.of_class),
                  policy="volume_extension:quota_classes:get", summary="Quotas of a class"),
            Route(method="PUT", path="/os-quota-class-sets/{name}",
                  handler=scoped(self.update_class),
                  policy="volume_extension:quota_classes:update", summary="Set quotas of a class",
                  body=Body(type=schemas.QuotaClass, wrapper="quota_class_set")),
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
                    "totalSnapshotsUsed": usage.snapshots,
                    "totalBackupsUsed": usage.backups,
                    "totalBackupGigabytesUsed": usage.backup_gigabytes,
                },
            }
        }

    def show(self, call: Call, _project: str) -> Any:
        target = self._target(call)
        limits: dict[str, Any] = dict(self._quotas.limits(target))
        if call.flag("usage"):
            usage = self._quotas.usage(target)
            limits = {
                name: {"limit": limits[name], "in_use": getattr(usage, name, 0), "reserved": 0}
                for name in RESOURCES
            }
        return {"quota_set": {"id": target, **limits}}

    def defaults(self, call: Call, _project: str) -> Any:
        return {"quota_set": {"id": self._target(call), **self._quotas.defaults()}}

    def update(self, call: Call, _project: str) -> Any:
        asked: schemas.QuotaSet = call.body
        values = {name: getattr(asked, name) for name in RESOURCES}
        limits = {name: int(value) for name, value in values.items() if value is not None}
        return {"quota_set": self._quotas.change(self._target(call), limits)}

    def delete(self, call: Call, _project: str) -> Reply:
        self._quotas.reset(self._target(call))
        return Reply(status=200)

    def of_class(self, call: Call, _project: str) -> Any:
        name = _class(call)
        return {"quota_class_set": {"id": name, **self._quotas.class_limits(name)}}

    def update_class(self, call: Call, _project: str) -> Any:
        asked: schemas.QuotaClass = call.body
        values = {name: getattr(asked, name) for name in RESOURCES}
        limits = {name: int(value) for name, value in values.items() if value is not None}
        return {"quota_class_set": self._quotas.class_change(_class(call), limits)}

    def _target(self, call: Call) -> str:
        target = checked_project(call.params["target_id"])
        if target != call.ctx.project_id and not sees_all(call.ctx):
            raise Forbidden(action="volume_extension:quotas:show")
        return target


def _class(call: Call) -> str:
    name = call.params["name"]
    if len(name) > 255 or not name.isprintable():
        raise Invalid(reason="This is no name of a quota class.")
    return name
