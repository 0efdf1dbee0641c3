"""Endpoints of backups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas, views
from minicloud.volume.backups import SERVICE, SETTABLE, BackupService
from minicloud.volume.kinds import BACKUPS
from minicloud.volume.query import answer, asked, parameters
from minicloud.volume.records import Backup
from minicloud.volume.states import BackupStatus
from minicloud.volume.volume_routes import Scoping, yes

_LIST = parameters(BACKUPS)
_METADATA = (3, 43)


class BackupRoutes:
    def __init__(self, backups: BackupService, scoped: Scoping) -> None:
        self._backups, self._scoped = backups, scoped

    def routes(self) -> list[Route]:
        scoped, one, down = self._scoped, "/backups/{backup_id}", views.BACKUP_DOWN
        admin = "volume_extension:backup_admin_actions:"
        return [
            Route(method="POST", path="/backups", handler=scoped(self.create), status=202,
                  policy="backup:create", summary="Back a volume up",
                  body=Body(type=schemas.BackupCreate, wrapper="backup",
                            since={"metadata": _METADATA, "availability_zone": (3, 51)})),
            Route(method="GET", path="/backups", handler=scoped(self.list), query=_LIST,
                  policy="backup:get_all", summary="List backups: ids and names"),
            Route(method="GET", path="/backups/detail", handler=scoped(self.detail), query=_LIST,
                  policy="backup:get_all", down=down, summary="List backups"),
            Route(method="GET", path=one, handler=scoped(self.show), policy="backup:get",
                  down=down, summary="Show a backup"),
            Route(method="PUT", path=one, handler=scoped(self.update), since=(3, 9),
                  policy="backup:update", summary="Change name and description",
                  body=Body(type=schemas.BackupUpdate, wrapper="backup",
                            since={"metadata": _METADATA})),
            Route(method="DELETE", path=one, handler=scoped(self.delete), status=202,
                  policy="backup:delete", summary="Delete a backup"),
            Route(method="POST", path=one + "/restore", handler=scoped(self.restore), status=202,
                  policy="backup:restore", summary="Give a volume the backup's bytes",
                  body=Body(type=schemas.BackupRestore, wrapper="restore")),
            Route(method="GET", path=one + "/export_record", handler=scoped(self.export),
                  policy="backup:export-import", summary="Export a backup's record"),
            Route(method="POST", path="/backups/import_record", handler=scoped(self.take_in),
                  status=201, policy="backup:export-import", summary="Import a backup's record",
                  body=Body(type=schemas.BackupRecord, wrapper="backup-record")),
            Route(method="POST", path=one + "/action", action="os-reset_status", status=202,
                  handler=scoped(self.reset_status), policy=admin + "reset_status",
                  summary="Backup action os-reset_status",
                  body=Body(type=schemas.BackupStatus, wrapper="os-reset_status")),
            Route(method="POST", path=one + "/action", action="os-force_delete", status=202,
                  handler=scoped(self.force_delete), policy=admin + "force_delete",
                  summary="Backup action os-force_delete", body=schemas.Argumentless),
        ]  # fmt: skip

    def create(self, call: Call, _project: str) -> Any:
        wanted: schemas.BackupCreate = call.body
        if wanted.availability_zone not in (None, "", views.ZONE):
            raise Invalid(reason=f"Availability zone '{wanted.availability_zone}' is invalid.")
        made = self._backups.create(
            call.ctx,
            wanted.volume_id,
            snapshot_id=wanted.snapshot_id or None,
            incremental=yes(wanted.incremental),
            force=yes(wanted.force),
            name=wanted.name or "",
            description=wanted.description or "",
            metadata=wanted.metadata or {},
        )
        return {"backup": views.backup_summary(made, call.base_url)}

    def list(self, call: Call, project: str) -> Any:
        return self._page(call, project, lambda each: views.backup_summary(each[0], call.base_url))

    def detail(self, call: Call, project: str) -> Any:
        shows_project = call.allowed("backup:backup_project_attribute")
        return self._page(
            call,
            project,
            lambda each: views.backup_view(*each, call.base_url, shows_project=shows_project),
        )

    def show(self, call: Call, _project: str) -> Any:
        shows_project = call.allowed("backup:backup_project_attribute")
        found, built = self._backups.get(call.ctx, _id(call))
        view = views.backup_view(found, built, call.base_url, shows_project=shows_project)
        return {"backup": view}

    def update(self, call: Call, _project: str) -> Any:
        wanted: schemas.BackupUpdate = call.body
        values: dict[str, Any] = {}
        for name in ("name", "description"):
            value = getattr(wanted, name)
            if value is not UNSET:
                values[name] = value or ""
        if wanted.metadata is not None:
            values["metadata"] = wanted.metadata
        if not values:
            raise Invalid(reason="Name a name, a description or metadata.")
        changed = self._backups.update(call.ctx, _id(call), values)
        return {"backup": views.backup_summary(changed, call.base_url)}

    def delete(self, call: Call, _project: str) -> Reply:
        self._backups.delete(call.ctx, _id(call))
        return Reply(status=202)

    def force_delete(self, call: Call, _project: str) -> Reply:
        self._backups.delete(call.ctx, _id(call), force=True)
        return Reply()

    def reset_status(self, call: Call, _project: str) -> Reply:
        known = [each.value for each in SETTABLE]
        if call.body.status.lower() not in known:
            raise Invalid(reason=f"Invalid status: use one of {', '.join(known)}.")
        status = BackupStatus(call.body.status.lower())
        self._backups.reset_status(call.ctx, _id(call), status)
        return Reply()

    def restore(self, call: Call, _project: str) -> Any:
        wanted: schemas.BackupRestore = call.body
        backup, volume = self._backups.restore(
            call.ctx, _id(call), wanted.volume_id or None, wanted.name
        )
        return {
            "restore": {
                "backup_id": backup.id,
                "volume_id": volume.id,
                "volume_name": volume.name,
            }
        }

    def export(self, call: Call, _project: str) -> Any:
        written = self._backups.export(call.ctx, _id(call))
        return {"backup-record": {"backup_service": SERVICE, "backup_url": written}}

    def take_in(self, call: Call, project: str) -> Any:
        wanted: schemas.BackupRecord = call.body
        made = self._backups.take_in(call.ctx, project, wanted.backup_service, wanted.backup_url)
        return {"backup": views.backup_summary(made, call.base_url)}

    def _page(self, call: Call, project: str, view: Callable[[tuple[Backup, int]], Any]) -> Any:
        wanted = asked(call, project, BACKUPS)
        return answer(
            call,
            "backups",
            self._backups.select(wanted),
            view,
            id_of=lambda each: each[0].id,
            count=lambda: self._backups.count(wanted),
        )


def _id(call: Call) -> str:
    return call.params["backup_id"]
