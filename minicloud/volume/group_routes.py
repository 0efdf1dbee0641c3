"""Endpoints of groups, their types and their snapshots."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from minicloud.domain.errors import Invalid, NotFound, NotImplementedHere
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.kit.web.paging import page
from minicloud.volume import schemas, views
from minicloud.volume.groups import GROUP_STATUSES, GroupService
from minicloud.volume.kinds import GROUP_SNAPSHOTS, GROUPS
from minicloud.volume.query import answer, asked, parameters
from minicloud.volume.volume_routes import Scoping, yes

_TYPES, _GROUPS, _KEPT = (3, 11), (3, 13), (3, 14)


class GroupRoutes:
    def __init__(self, groups: GroupService, scoped: Scoping) -> None:
        self._groups, self._scoped = groups, scoped

    def routes(self) -> list[Route]:
        return [*self._type_routes(), *self._group_routes(), *self._kept_routes()]

    def _type_routes(self) -> list[Route]:
        scoped, one, manage = self._scoped, "/group_types/{type_id}", "group:group_types_manage"
        specs, of_specs = one + "/group_specs", "group:group_types_specs"
        return [
            Route(method="GET", path="/group_types", handler=scoped(self.types), since=_TYPES,
                  policy="group:group_types_get", summary="List group types"),
            Route(method="POST", path="/group_types", handler=scoped(self.type_create),
                  since=_TYPES, policy=manage, status=202, summary="Create a group type",
                  body=Body(type=schemas.GroupTypeCreate, wrapper="group_type")),
            Route(method="GET", path=one, handler=scoped(self.type_show), since=_TYPES,
                  policy="group:group_types_get", summary="Show a group type"),
            Route(method="PUT", path=one, handler=scoped(self.type_update), since=_TYPES,
                  policy=manage, summary="Change a group type",
                  body=Body(type=schemas.GroupTypeUpdate, wrapper="group_type")),
            Route(method="DELETE", path=one, handler=scoped(self.type_delete), since=_TYPES,
                  policy=manage, status=202, summary="Delete a group type"),
            Route(method="GET", path=specs, handler=scoped(self.specs), since=_TYPES,
                  policy=of_specs, summary="Show group specs"),
            Route(method="POST", path=specs, handler=scoped(self.specs_merge), since=_TYPES,
                  policy=of_specs, status=202, body=schemas.GroupSpecs, summary="Add group specs"),
            Route(method="GET", path=specs + "/{key}", handler=scoped(self.spec), since=_TYPES,
                  policy=of_specs, summary="Show one group spec"),
            Route(method="PUT", path=specs + "/{key}", handler=scoped(self.spec_put),
                  since=_TYPES, policy=of_specs, body=schemas.Metadata,
                  summary="Set one group spec"),
            Route(method="DELETE", path=specs + "/{key}", handler=scoped(self.spec_delete),
                  since=_TYPES, policy=of_specs, status=202, summary="Remove one group spec"),
        ]  # fmt: skip

    def _group_routes(self) -> list[Route]:
        scoped, one, down = self._scoped, "/groups/{group_id}", views.GROUP_DOWN
        query = parameters(GROUPS, "list_volume", since={"list_volume": (3, 25)})
        action = one + "/action"
        return [
            Route(method="POST", path="/groups", handler=scoped(self.create), since=_GROUPS,
                  policy="group:create", status=202, summary="Create a group",
                  body=Body(type=schemas.GroupCreate, wrapper="group")),
            Route(method="GET", path="/groups", handler=scoped(self.list), since=_GROUPS,
                  query=query, policy="group:get_all", summary="List groups: ids and names"),
            Route(method="GET", path="/groups/detail", handler=scoped(self.detail),
                  since=_GROUPS, query=query, policy="group:get_all", down=down,
                  summary="List groups"),
            Route(method="POST", path="/groups/action", action="create-from-src",
                  handler=scoped(self.create_from), since=_KEPT, status=202,
                  policy="group:create", summary="Create a group like another",
                  body=Body(type=schemas.GroupFromSource, wrapper="create-from-src")),
            Route(method="GET", path=one, handler=scoped(self.show), since=_GROUPS, query=query,
                  policy="group:get", down=down, summary="Show a group"),
            Route(method="PUT", path=one, handler=scoped(self.update), since=_GROUPS, status=202,
                  policy="group:update", summary="Change a group and its members",
                  body=Body(type=schemas.GroupUpdate, wrapper="group")),
            Route(method="POST", path=action, action="delete", handler=scoped(self.delete),
                  since=_GROUPS, status=202, policy="group:delete", summary="Delete a group",
                  body=Body(type=schemas.GroupDelete, wrapper="delete")),
            Route(method="POST", path=action, action="reset_status", since=(3, 20), status=202,
                  handler=scoped(self.reset_status), policy="group:reset_status",
                  summary="Declare what a group is",
                  body=Body(type=schemas.GroupStatus, wrapper="reset_status")),
            *(
                Route(method="POST", path=action, action=name, handler=scoped(self.refuse),
                      since=(3, 38), policy="group:replication", body=schemas.Argumentless,
                      status=202, summary="Not implemented")
                for name in ("enable_replication", "disable_replication", "failover_replication",
                             "list_replication_targets")
            ),
        ]  # fmt: skip

    def _kept_routes(self) -> list[Route]:
        scoped, one = self._scoped, "/group_snapshots/{kept_id}"
        down = views.GROUP_SNAPSHOT_DOWN
        query = parameters(GROUP_SNAPSHOTS)
        return [
            Route(method="POST", path="/group_snapshots", handler=scoped(self.keep), since=_KEPT,
                  policy="group:create_group_snapshot", status=202, summary="Snapshot a group",
                  body=Body(type=schemas.GroupSnapshotCreate, wrapper="group_snapshot")),
            Route(method="GET", path="/group_snapshots", handler=scoped(self.kept_list),
                  since=_KEPT, query=query, policy="group:get_all_group_snapshots",
                  summary="List group snapshots: ids and names"),
            Route(method="GET", path="/group_snapshots/detail", handler=scoped(self.kept_detail),
                  since=_KEPT, query=query, policy="group:get_all_group_snapshots", down=down,
                  summary="List group snapshots"),
            Route(method="GET", path=one, handler=scoped(self.kept_show), since=_KEPT, down=down,
                  policy="group:get_group_snapshot", summary="Show a group snapshot"),
            Route(method="DELETE", path=one, handler=scoped(self.forget), since=_KEPT,
                  policy="group:delete_group_snapshot", status=202,
                  summary="Delete a group snapshot"),
            Route(method="POST", path=one + "/action", action="reset_status", since=(3, 19),
                  status=202, handler=scoped(self.kept_reset),
                  policy="group:reset_group_snapshot_status",
                  summary="Declare what a group snapshot is",
                  body=Body(type=schemas.GroupStatus, wrapper="reset_status")),
        ]  # fmt: skip

    # -- types -----------------------------------------------------------------------------------
    def types(self, call: Call, _project: str) -> Any:
        found = self._groups.types(call.ctx)
        shown, _ = page(
            found,
            [each.id for each in found],
            limit=call.number("limit"),
            marker=call.query.get("marker"),
        )
        specs = call.allowed("group:access_group_types_specs")
        return {"group_types": [views.group_type_view(each, specs=specs) for each in shown]}

    def type_create(self, call: Call, _project: str) -> Any:
        wanted: schemas.GroupTypeCreate = call.body
        made = self._groups.type_create(
            wanted.name.strip(),
            wanted.description,
            wanted.group_specs or {},
            is_public=yes(wanted.is_public),
        )
        return {"group_type": views.group_type_view(made, specs=True)}

    def type_show(self, call: Call, _project: str) -> Any:
        found = self._groups.type_get(call.ctx, call.params["type_id"])
        specs = call.allowed("group:access_group_types_specs")
        return {"group_type": views.group_type_view(found, specs=specs)}

    def type_update(self, call: Call, _project: str) -> Any:
        wanted: schemas.GroupTypeUpdate = call.body
        values: dict[str, Any] = {}
        if wanted.name is not UNSET:
            if not (wanted.name or "").strip():
                raise Invalid(reason="Group type name can not be empty.")
            values["name"] = str(wanted.name).strip()
        if wanted.description is not UNSET:
            values["description"] = wanted.description
        if wanted.is_public is not UNSET:
            values["is_public"] = yes(wanted.is_public)
        changed = self._groups.type_update(call.ctx, call.params["type_id"], values)
        return {"group_type": views.group_type_view(changed, specs=True)}

    def type_delete(self, call: Call, _project: str) -> Reply:
        self._groups.type_delete(call.ctx, call.params["type_id"])
        return Reply(status=202)

    def specs(self, call: Call, _project: str) -> Any:
        return {"group_specs": self._groups.type_get(call.ctx, call.params["type_id"]).group_specs}

    def specs_merge(self, call: Call, _project: str) -> Any:
        self._groups.specs_merge(call.ctx, call.params["type_id"], call.body.group_specs)
        return {"group_specs": call.body.group_specs}

    def spec(self, call: Call, _project: str) -> Any:
        key = call.params["key"]
        specs = self._groups.type_get(call.ctx, call.params["type_id"]).group_specs
        if key not in specs:
            raise NotFound(kind="Group Type spec", id=key)
        return {key: specs[key]}

    def spec_put(self, call: Call, _project: str) -> Any:
        if [*call.body] != [call.params["key"]]:
            raise Invalid(reason="Request body and URI mismatch: name the same one key.")
        self._groups.specs_merge(call.ctx, call.params["type_id"], call.body)
        return call.body

    def spec_delete(self, call: Call, _project: str) -> Reply:
        self._groups.spec_remove(call.ctx, call.params["type_id"], call.params["key"])
        return Reply(status=202)

    # -- groups ----------------------------------------------------------------------------------
    def create(self, call: Call, project: str) -> Any:
        wanted: schemas.GroupCreate = call.body
        if wanted.availability_zone not in (None, "", views.ZONE):
            raise Invalid(reason=f"Availability zone '{wanted.availability_zone}' is invalid.")
        made = self._groups.create(
            call.ctx,
            project,
            group_type=wanted.group_type,
            volume_types=wanted.volume_types,
            name=wanted.name or "",
            description=wanted.description or "",
        )
        return {"group": {"id": made.id, "name": made.name or None}}

    def create_from(self, call: Call, project: str) -> Any:
        wanted: schemas.GroupFromSource = call.body
        made = self._groups.create_from(
            call.ctx,
            project,
            group_snapshot_id=wanted.group_snapshot_id,
            source_group_id=wanted.source_group_id,
            name=wanted.name or "",
            description=wanted.description or "",
        )
        return {"group": {"id": made.id, "name": made.name or None}}

    def list(self, call: Call, project: str) -> Any:
        found = self._groups.select(asked(call, project, GROUPS))
        return answer(
            call,
            "groups",
            found,
            lambda each: {"id": each.id, "name": each.name or None},
            id_of=lambda each: each.id,
        )

    def detail(self, call: Call, project: str) -> Any:
        found = self._groups.select(asked(call, project, GROUPS))
        inside = self._groups.members([each.id for each in found])
        shows = call.flag("list_volume")
        return answer(
            call,
            "groups",
            found,
            lambda each: views.group_view(each, inside[each.id] if shows else None),
            id_of=lambda each: each.id,
        )

    def show(self, call: Call, _project: str) -> Any:
        found = self._groups.get(call.ctx, call.params["group_id"])
        inside = None
        if call.flag("list_volume"):
            inside = self._groups.members([found.id])[found.id]
        return {"group": views.group_view(found, inside)}

    def update(self, call: Call, _project: str) -> Reply:
        wanted: schemas.GroupUpdate = call.body
        values: dict[str, Any] = {}
        for name in ("name", "description"):
            value = getattr(wanted, name)
            if value is not UNSET and value is not None:
                values[name] = value
        add, remove = _ids(wanted.add_volumes), _ids(wanted.remove_volumes)
        if not (values or add or remove):
            raise Invalid(
                reason="Name, description, add_volumes and remove_volumes can not be all empty."
            )
        self._groups.update(call.ctx, call.params["group_id"], values, add, remove)
        return Reply(status=202)

    def delete(self, call: Call, _project: str) -> Reply:
        with_volumes = yes(call.body.delete_volumes)
        self._groups.delete(call.ctx, call.params["group_id"], with_volumes=with_volumes)
        return Reply()

    def reset_status(self, call: Call, _project: str) -> Reply:
        self._groups.reset_status(call.ctx, call.params["group_id"], _status(call))
        return Reply()

    def refuse(self, _call: Call, _project: str) -> Reply:
        raise NotImplementedHere(reason="There is no replication here.")

    # -- group snapshots -------------------------------------------------------------------------
    def keep(self, call: Call, _project: str) -> Any:
        wanted: schemas.GroupSnapshotCreate = call.body
        made = self._groups.keep(
            call.ctx, wanted.group_id, wanted.name or "", wanted.description or ""
        )
        return {
            "group_snapshot": {
                "id": made.id,
                "name": made.name or None,
                "group_type_id": made.group_type_id,
            }
        }

    def kept_list(self, call: Call, project: str) -> Any:
        found = self._groups.kept_select(asked(call, project, GROUP_SNAPSHOTS))
        return answer(
            call,
            "group_snapshots",
            found,
            lambda each: {"id": each.id, "name": each.name or None},
            id_of=lambda each: each.id,
        )

    def kept_detail(self, call: Call, project: str) -> Any:
        found = self._groups.kept_select(asked(call, project, GROUP_SNAPSHOTS))
        return answer(
            call, "group_snapshots", found, views.group_snapshot_view, id_of=lambda each: each.id
        )

    def kept_show(self, call: Call, _project: str) -> Any:
        found = self._groups.kept(call.ctx, call.params["kept_id"])
        return {"group_snapshot": views.group_snapshot_view(found)}

    def forget(self, call: Call, _project: str) -> Reply:
        self._groups.forget(call.ctx, call.params["kept_id"])
        return Reply(status=202)

    def kept_reset(self, call: Call, _project: str) -> Reply:
        self._groups.kept_reset_status(call.ctx, call.params["kept_id"], _status(call))
        return Reply()


def _ids(written: str | None) -> list[str]:
    return [each.strip() for each in (written or "").split(",") if each.strip()]


def _status(call: Call) -> str:
    status = str(call.body.status).lower()
    if status not in GROUP_STATUSES:
        raise Invalid(reason=f"Invalid status: use one of {', '.join(GROUP_STATUSES)}.")
    return status
