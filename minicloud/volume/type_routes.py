"""Endpoints of volume types, their extra specs and access, defaults, and qualities of service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from minicloud.domain.errors import Invalid, NotFound, NotImplementedHere
from minicloud.kit.web import Body, Call, Query, Reply, Route
from minicloud.kit.web.paging import page
from minicloud.volume import schemas, views
from minicloud.volume.access import checked_project
from minicloud.volume.query import links, pairs_of, text
from minicloud.volume.records import QosSpecs, VolumeType
from minicloud.volume.types import Types
from minicloud.volume.volume_routes import Scoping, yes

_LIST = Query(
    names=frozenset(("is_public", "limit", "marker", "offset", "sort", "sort_key", "sort_dir",
                     "extra_specs", "name", "with_count")),
    since={"extra_specs": (3, 52)},
    strict_from=(99, 0),
)  # fmt: skip
_SORT = ("created_at", "id", "name")
_VISIBLE_SPECS = ("multiattach", "RESKEY:availability_zones", "replication_enabled")
"""What of the extra specs a user may know."""


class TypeRoutes:
    def __init__(self, types: Types, scoped: Scoping) -> None:
        self._types, self._scoped = types, scoped

    def routes(self) -> list[Route]:
        scoped, one = self._scoped, "/types/{type_id}"
        specs = one + "/extra_specs"
        default = "/default-types/{target_id}"
        return [
            Route(method="GET", path="/types", handler=scoped(self.list), query=_LIST,
                  policy="volume_extension:type_get_all", summary="List volume types"),
            Route(method="POST", path="/types", handler=scoped(self.create),
                  policy="volume_extension:type_create", summary="Create a volume type",
                  body=Body(type=schemas.TypeCreate, wrapper="volume_type")),
            Route(method="GET", path=one, handler=scoped(self.show),
                  policy="volume_extension:type_get", summary="Show a volume type"),
            Route(method="PUT", path=one, handler=scoped(self.update),
                  policy="volume_extension:type_update", summary="Change a volume type",
                  body=Body(type=schemas.TypeUpdate, wrapper="volume_type")),
            Route(method="DELETE", path=one, handler=scoped(self.delete), status=202,
                  policy="volume_extension:type_delete", summary="Delete a volume type"),
            Route(method="GET", path=specs, handler=scoped(self.specs),
                  policy="volume_extension:types_extra_specs:index", summary="Show extra specs"),
            Route(method="POST", path=specs, handler=scoped(self.specs_merge),
                  policy="volume_extension:types_extra_specs:create", body=schemas.ExtraSpecs,
                  summary="Add extra specs"),
            Route(method="GET", path=specs + "/{key}", handler=scoped(self.spec),
                  policy="volume_extension:types_extra_specs:show", summary="Show one extra spec"),
            Route(method="PUT", path=specs + "/{key}", handler=scoped(self.spec_put),
                  policy="volume_extension:types_extra_specs:update", body=schemas.Metadata,
                  summary="Set one extra spec"),
            Route(method="DELETE", path=specs + "/{key}", handler=scoped(self.spec_delete),
                  policy="volume_extension:types_extra_specs:delete", status=202,
                  summary="Remove one extra spec"),
            Route(method="GET", path=one + "/os-volume-type-access", handler=scoped(self.access),
                  policy="volume_extension:volume_type_access:get_all_for_type",
                  summary="List the projects that may use a type"),
            Route(method="POST", path=one + "/action", action="addProjectAccess",
                  handler=scoped(self.access_add), status=202,
                  policy="volume_extension:volume_type_access:addProjectAccess",
                  summary="Let a project use a type",
                  body=Body(type=schemas.ProjectAccess, wrapper="addProjectAccess")),
            Route(method="POST", path=one + "/action", action="removeProjectAccess",
                  handler=scoped(self.access_remove), status=202,
                  policy="volume_extension:volume_type_access:removeProjectAccess",
                  summary="Keep a project from using a type",
                  body=Body(type=schemas.ProjectAccess, wrapper="removeProjectAccess")),
            Route(method="GET", path=one + "/encryption", handler=scoped(self.encryption),
                  policy="volume_extension:volume_type_encryption:get",
                  summary="Show a type's encryption: none"),
            Route(method="POST", path=one + "/encryption", handler=scoped(self.encrypt),
                  policy="volume_extension:volume_type_encryption:create",
                  body=schemas.Argumentless, summary="Not implemented"),
            Route(method="GET", path=one + "/encryption/{key}",
                  handler=scoped(self.encryption_item),
                  policy="volume_extension:volume_type_encryption:get",
                  summary="Show one fact of a type's encryption: there are none"),
            Route(method="PUT", path=one + "/encryption/{key}", handler=scoped(self.encrypt),
                  policy="volume_extension:volume_type_encryption:update",
                  body=schemas.Argumentless, summary="Not implemented"),
            Route(method="DELETE", path=one + "/encryption/{key}",
                  handler=scoped(self.encryption_item), status=202,
                  policy="volume_extension:volume_type_encryption:delete",
                  summary="Remove a type's encryption: there is none"),
            Route(method="GET", path="/default-types", handler=scoped(self.defaults),
                  since=(3, 62), policy="volume_extension:default_get_all",
                  summary="List the default types of projects"),
            Route(method="GET", path=default, handler=scoped(self.default), since=(3, 62),
                  policy="volume_extension:default_get", summary="Show a project's default type"),
            Route(method="PUT", path=default, handler=scoped(self.default_set), since=(3, 62),
                  policy="volume_extension:default_set_or_update",
                  summary="Set a project's default type",
                  body=Body(type=schemas.DefaultType, wrapper="default_type")),
            Route(method="DELETE", path=default, handler=scoped(self.default_unset),
                  since=(3, 62), policy="volume_extension:default_unset", status=204,
                  summary="Back to the cloud's default type"),
            *self._qos_routes(),
        ]  # fmt: skip

    def _qos_routes(self) -> list[Route]:
        scoped, one = self._scoped, "/qos-specs/{qos_id}"
        manage = "volume_extension:qos_specs_manage:"
        read, write = manage + "get", manage + "write"
        return [
            Route(method="GET", path="/qos-specs", handler=scoped(self.qos_list), policy=read,
                  summary="List qualities of service"),
            Route(method="POST", path="/qos-specs", handler=scoped(self.qos_create), policy=write,
                  summary="Create a quality of service",
                  body=Body(type=dict[schemas.Key, schemas.QosValue | None],
                            wrapper="qos_specs")),
            Route(method="GET", path=one, handler=scoped(self.qos_show), policy=read,
                  summary="Show a quality of service"),
            Route(method="PUT", path=one, handler=scoped(self.qos_merge), policy=write,
                  summary="Add to a quality of service",
                  body=Body(type=dict[schemas.Key, schemas.QosValue | None],
                            wrapper="qos_specs")),
            Route(method="DELETE", path=one, handler=scoped(self.qos_delete), policy=write,
                  status=202, summary="Delete a quality of service"),
            Route(method="PUT", path=one + "/delete_keys", handler=scoped(self.qos_remove_keys),
                  policy=write, status=202, body=schemas.QosKeys,
                  summary="Take from a quality of service"),
            Route(method="GET", path=one + "/associations", handler=scoped(self.qos_associations),
                  policy=read, summary="List the types that have it"),
            Route(method="GET", path=one + "/associate", handler=scoped(self.qos_associate),
                  policy=write, status=202, summary="Give it to a type"),
            Route(method="GET", path=one + "/disassociate", handler=scoped(self.qos_disassociate),
                  policy=write, status=202, summary="Take it from a type"),
            Route(method="GET", path=one + "/disassociate_all", policy=write, status=202,
                  handler=scoped(self.qos_disassociate_all), summary="Take it from all types"),
        ]  # fmt: skip

    # -- types -----------------------------------------------------------------------------------
    def list(self, call: Call, _project: str) -> Any:
        # Others always see the public ones and those that they may use.
        public: bool | None = None
        if call.ctx.is_admin:
            asked = call.query.get("is_public", "true")
            public = None if asked.lower() == "none" else call.flag("is_public", True)
        found = self._types.all(call.ctx, public=public)
        for name, value in _specs_asked(call).items():
            found = [each for each in found if each.extra_specs.get(name) == value]
        if "name" in call.query:
            found = [each for each in found if each.name == call.query["name"]]
        found = _sorted(call, found)
        found = found[call.number("offset", 0) :]
        limit = call.number("limit")
        shown, more = page(
            found, [each.id for each in found], limit=limit, marker=call.query.get("marker")
        )
        body: dict[str, Any] = {"volume_types": [self._view(call, each) for each in shown]}
        if more and shown:
            body["volume_type_links"] = links(call, shown[-1].id)
        return body

    def create(self, call: Call, _project: str) -> Any:
        asked: schemas.TypeCreate = call.body
        public = asked.is_public if asked.public is None else asked.public
        made = self._types.create(
            name=asked.name.strip(),
            description=asked.description,
            is_public=yes(public),
            extra_specs=asked.extra_specs or {},
        )
        return {"volume_type": self._view(call, made)}

    def show(self, call: Call, _project: str) -> Any:
        return {"volume_type": self._view(call, self._types.get(call.ctx, _id(call)))}

    def update(self, call: Call, _project: str) -> Any:
        asked: schemas.TypeUpdate = call.body
        values: dict[str, Any] = {}
        if asked.name is not UNSET:
            if not (asked.name or "").strip():
                raise Invalid(reason="Volume type name can not be empty.")
            values["name"] = str(asked.name).strip()
        if asked.description is not UNSET:
            values["description"] = asked.description
        public = asked.access_public if asked.is_public is UNSET else asked.is_public
        if public is not UNSET:
            values["is_public"] = yes(public)
        if not values:
            raise Invalid(
                reason="Specify volume type name, description, is_public or a combination thereof."
            )
        return {"volume_type": self._view(call, self._types.update(call.ctx, _id(call), values))}

    def delete(self, call: Call, _project: str) -> Reply:
        self._types.delete(call.ctx, _id(call))
        return Reply(status=202)

    def _view(self, call: Call, kind: VolumeType) -> Any:
        all_specs = call.allowed("volume_extension:access_types_extra_specs")
        view = views.type_view(
            kind, specs=all_specs, qos=call.allowed("volume_extension:access_types_qos_specs_id")
        )
        if not all_specs:
            view["extra_specs"] = {
                key: value for key, value in kind.extra_specs.items() if key in _VISIBLE_SPECS
            }
        return view

    # -- extra specs -----------------------------------------------------------------------------
    def specs(self, call: Call, _project: str) -> Any:
        return {"extra_specs": self._types.get(call.ctx, _id(call)).extra_specs}

    def specs_merge(self, call: Call, _project: str) -> Any:
        self._types.extra_specs_merge(call.ctx, _id(call), call.body.extra_specs)
        return {"extra_specs": call.body.extra_specs}

    def spec(self, call: Call, _project: str) -> Any:
        key = call.params["key"]
        specs = self._types.get(call.ctx, _id(call)).extra_specs
        if key not in specs:
            raise NotFound(kind="Volume Type extra spec", id=key)
        return {key: specs[key]}

    def spec_put(self, call: Call, _project: str) -> Any:
        if [*call.body] != [call.params["key"]]:
            raise Invalid(reason="Request body and URI mismatch: name the same one key.")
        self._types.extra_specs_merge(call.ctx, _id(call), call.body)
        return call.body

    def spec_delete(self, call: Call, _project: str) -> Reply:
        self._types.extra_spec_remove(call.ctx, _id(call), call.params["key"])
        return Reply(status=202)

    # -- access, encryption, defaults ------------------------------------------------------------
    def access(self, call: Call, _project: str) -> Any:
        found = self._types.access(call.ctx, _id(call))
        return {
            "volume_type_access": [
                {"volume_type_id": _id(call), "project_id": each} for each in found
            ]
        }

    def access_add(self, call: Call, _project: str) -> Reply:
        self._types.access_add(call.ctx, _id(call), call.body.project)
        return Reply()

    def access_remove(self, call: Call, _project: str) -> Reply:
        self._types.access_remove(call.ctx, _id(call), call.body.project)
        return Reply()

    def encryption(self, call: Call, _project: str) -> Any:
        self._types.get(call.ctx, _id(call))
        return {}

    def encryption_item(self, call: Call, _project: str) -> Any:
        self._types.get(call.ctx, _id(call))
        raise NotFound(kind="Volume type encryption for type", id=_id(call))

    def encrypt(self, call: Call, _project: str) -> Any:
        self._types.get(call.ctx, _id(call))
        raise NotImplementedHere(
            reason="Volumes are not encrypted here: there is no key manager. Encrypt the disk "
            "below the volume directory."
        )

    def defaults(self, _call: Call, _project: str) -> Any:
        return {
            "default_types": [
                {"project_id": project, "volume_type_id": kind}
                for project, kind in self._types.defaults().items()
            ]
        }

    def default(self, call: Call, _project: str) -> Any:
        target = checked_project(call.params["target_id"])
        found = self._types.default_get(target)
        return {"default_type": {"project_id": target, "volume_type_id": found}}

    def default_set(self, call: Call, _project: str) -> Any:
        target = checked_project(call.params["target_id"])
        chosen = self._types.default_set(call.ctx, target, call.body.volume_type)
        return {"default_type": {"project_id": target, "volume_type_id": chosen}}

    def default_unset(self, call: Call, _project: str) -> Reply:
        self._types.default_unset(checked_project(call.params["target_id"]))
        return Reply(status=204)

    # -- qualities of service --------------------------------------------------------------------
    def qos_list(self, call: Call, _project: str) -> Any:
        found = self._types.qos_all()
        shown, _ = page(
            found,
            [each.id for each in found],
            limit=call.number("limit"),
            marker=call.query.get("marker"),
        )
        return {"qos_specs": [_qos_view(each) for each in shown]}

    def qos_create(self, call: Call, _project: str) -> Any:
        specs = _texts(call.body)
        name = specs.pop("name", "").strip()
        if not name or len(name) > 255:
            raise Invalid(reason="Please specify a name for QoS specs, of at most 255 characters.")
        consumer = _consumer(specs.pop("consumer", "back-end"))
        return self._qos_answer(call, self._types.qos_create(name, consumer, specs))

    def qos_show(self, call: Call, _project: str) -> Any:
        return self._qos_answer(call, self._types.qos_get(call.params["qos_id"]))

    def qos_merge(self, call: Call, _project: str) -> Any:
        specs = _texts(call.body)
        consumer = specs.pop("consumer", None)
        self._types.qos_merge(
            call.params["qos_id"], specs, None if consumer is None else _consumer(consumer)
        )
        return {"qos_specs": call.body}

    def qos_delete(self, call: Call, _project: str) -> Reply:
        self._types.qos_delete(call.params["qos_id"], force=call.flag("force"))
        return Reply(status=202)

    def qos_remove_keys(self, call: Call, _project: str) -> Reply:
        self._types.qos_remove_keys(call.params["qos_id"], call.body.keys)
        return Reply(status=202)

    def qos_associations(self, call: Call, _project: str) -> Any:
        found = self._types.qos_associations(call.params["qos_id"])
        return {
            "qos_associations": [
                {"association_type": "volume_type", "name": each.name, "id": each.id}
                for each in found
            ]
        }

    def qos_associate(self, call: Call, _project: str) -> Reply:
        self._types.qos_associate(call.ctx, call.params["qos_id"], _type_asked(call))
        return Reply(status=202)

    def qos_disassociate(self, call: Call, _project: str) -> Reply:
        self._types.qos_disassociate(call.ctx, call.params["qos_id"], _type_asked(call))
        return Reply(status=202)

    def qos_disassociate_all(self, call: Call, _project: str) -> Reply:
        self._types.qos_disassociate_all(call.params["qos_id"])
        return Reply(status=202)

    def _qos_answer(self, call: Call, found: QosSpecs) -> Any:
        return {
            "qos_specs": _qos_view(found),
            "links": [{"rel": "self", "href": f"{call.base_url}/v3/qos-specs/{found.id}"},
                      {"rel": "bookmark", "href": f"{call.base_url}/qos-specs/{found.id}"}],
        }  # fmt: skip


def _id(call: Call) -> str:
    return call.params["type_id"]


def _sorted(call: Call, found: list[VolumeType]) -> list[VolumeType]:
    written = call.query.get("sort") or call.query.get("sort_key") or ""
    if not written:
        return found
    key, _, direction = written.split(",")[0].partition(":")
    direction = direction or call.query.get("sort_dir") or "desc"
    if key not in _SORT or direction not in ("asc", "desc"):
        raise Invalid(reason=f"Invalid sort: use {', '.join(_SORT)} with asc or desc.")
    return sorted(found, key=lambda each: getattr(each, key), reverse=direction == "desc")


def _specs_asked(call: Call) -> Mapping[str, str]:
    return pairs_of("extra_specs", text(call, "extra_specs"))


def _texts(body: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in body.items() if value is not None}


def _consumer(value: str) -> str:
    if value not in ("front-end", "back-end", "both"):
        raise Invalid(reason="Valid consumer of QoS specs are: front-end, back-end, both.")
    return value


def _qos_view(qos: QosSpecs) -> Any:
    return {"id": qos.id, "name": qos.name, "consumer": qos.consumer, "specs": dict(qos.specs)}


def _type_asked(call: Call) -> str:
    named = call.query.get("vol_type_id")
    if not named:
        raise Invalid(reason="Volume Type id must not be None: give vol_type_id.")
    return named
