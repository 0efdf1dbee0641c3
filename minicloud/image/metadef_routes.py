"""The endpoints of metadata definitions: handlers that only translate."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from minicloud.domain.errors import Invalid, NotFound
from minicloud.image import metadef_schemas as schemas
from minicloud.image.metadef_service import OBJECT, PROPERTY, TAG, MetadefQuery, Metadefs, Whole
from minicloud.image.metadef_store import SORT_KEYS
from minicloud.image.requests import choice, page_size
from minicloud.kit import clock
from minicloud.kit.web import Call, Query, Reply, Route

_ALL = "/v2/metadefs/namespaces"
_ONE = f"{_ALL}/{{namespace}}"
_QUERY = ("visibility", "resource_types", "sort_key", "sort_dir", "limit", "marker")
_OF_TYPE = Query(names=frozenset({"resource_type"}), strict_from=None)


class MetadefRoutes:
    def __init__(self, metadefs: Metadefs) -> None:
        self._metadefs = metadefs

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path=_ALL, handler=self.page, policy="get_metadef_namespaces",
                  query=Query(names=frozenset(_QUERY), strict_from=None)),
            Route(method="POST", path=_ALL, handler=self.create, policy="add_metadef_namespace",
                  status=201, body=schemas.NewNamespace),
            Route(method="GET", path=_ONE, handler=self.show, policy="get_metadef_namespace",
                  query=_OF_TYPE),
            Route(method="PUT", path=_ONE, handler=self.update,
                  policy="modify_metadef_namespace", body=schemas.NamespaceFields),
            Route(method="DELETE", path=_ONE, handler=self.delete, status=204,
                  policy="delete_metadef_namespace"),
            *self._object_routes(),
            *self._property_routes(),
            *self._tag_routes(),
            Route(method="GET", path="/v2/metadefs/resource_types", handler=self.resource_types,
                  policy="list_metadef_resource_types"),
            Route(method="GET", path=f"{_ONE}/resource_types", handler=self.associations,
                  policy="get_metadef_resource_type"),
            Route(method="POST", path=f"{_ONE}/resource_types", handler=self.associate,
                  policy="add_metadef_resource_type_association", status=201,
                  body=schemas.NewAssociation),
            Route(method="DELETE", path=f"{_ONE}/resource_types/{{name}}", status=204,
                  handler=self.dissociate, policy="remove_metadef_resource_type_association"),
        ]  # fmt: skip

    def _object_routes(self) -> list[Route]:
        path = f"{_ONE}/objects"
        return [
            Route(method="GET", path=path, handler=self.objects, policy="get_metadef_objects"),
            Route(method="POST", path=path, handler=self.object_add, policy="add_metadef_object",
                  status=201, body=schemas.NewObject),
            Route(method="DELETE", path=path, policy="delete_metadef_object", status=204,
                  handler=lambda call: self._clear(call, OBJECT)),
            Route(method="GET", path=f"{path}/{{name}}", handler=self.object,
                  policy="get_metadef_object"),
            Route(method="PUT", path=f"{path}/{{name}}", handler=self.object_update,
                  policy="modify_metadef_object", body=schemas.NewObject),
            Route(method="DELETE", path=f"{path}/{{name}}", policy="delete_metadef_object",
                  status=204, handler=lambda call: self._remove(call, OBJECT)),
        ]  # fmt: skip

    def _property_routes(self) -> list[Route]:
        path = f"{_ONE}/properties"
        return [
            Route(method="GET", path=path, handler=self.properties,
                  policy="get_metadef_properties"),
            Route(method="POST", path=path, handler=self.property_add, status=201,
                  policy="add_metadef_property", body=schemas.NewProperty),
            Route(method="DELETE", path=path, policy="remove_metadef_property", status=204,
                  handler=lambda call: self._clear(call, PROPERTY)),
            Route(method="GET", path=f"{path}/{{name}}", handler=self.property,
                  policy="get_metadef_property", query=_OF_TYPE),
            Route(method="PUT", path=f"{path}/{{name}}", handler=self.property_update,
                  policy="modify_metadef_property", body=schemas.NewProperty),
            Route(method="DELETE", path=f"{path}/{{name}}", policy="remove_metadef_property",
                  status=204, handler=lambda call: self._remove(call, PROPERTY)),
        ]  # fmt: skip

    def _tag_routes(self) -> list[Route]:
        path = f"{_ONE}/tags"
        return [
            Route(method="GET", path=path, handler=self.tags, policy="get_metadef_tags"),
            Route(method="POST", path=path, handler=self.tags_set, policy="add_metadef_tags",
                  status=201, body=schemas.NewTags),
            Route(method="DELETE", path=path, policy="delete_metadef_tags", status=204,
                  handler=lambda call: self._clear(call, TAG)),
            Route(method="GET", path=f"{path}/{{name}}", handler=self.tag,
                  policy="get_metadef_tag"),
            Route(method="POST", path=f"{path}/{{name}}", handler=self.tag_add,
                  policy="add_metadef_tag", status=201),
            Route(method="PUT", path=f"{path}/{{name}}", handler=self.tag_update,
                  policy="modify_metadef_tag", body=schemas.NewTag),
            Route(method="DELETE", path=f"{path}/{{name}}", policy="delete_metadef_tag",
                  status=204, handler=lambda call: self._remove(call, TAG)),
        ]  # fmt: skip

    # -- namespaces ------------------------------------------------------------------------------
    def page(self, call: Call) -> dict[str, Any]:
        query = call.query
        visibility = query.get("visibility")
        if visibility is not None:
            choice("visibility", visibility, ("public", "private"))
        wanted = query.get("resource_types", "").split(",")
        found, more = self._metadefs.page(
            call.ctx,
            MetadefQuery(
                visibility=visibility,
                resource_types=[name for name in wanted if name],
                sort=(
                    choice("sort_key", query.get("sort_key", "created_at"), SORT_KEYS),
                    choice("sort_dir", query.get("sort_dir", "desc"), ("asc", "desc")),
                ),
                marker=query.get("marker"),
                limit=page_size(query),
            ),
        )  # fmt: skip
        pairs = [pair for pair in query.items(multi=True) if pair[0] != "marker"]
        body: dict[str, Any] = {
            "namespaces": [
                schemas.namespace_view(one.namespace, one.associations) for one in found
            ],
            "first": f"{_ALL}?{urlencode(pairs)}" if pairs else _ALL,
            "schema": "/v2/schemas/metadefs/namespaces",
        }
        if more and found:
            marker = ("marker", found[-1].namespace.namespace)
            body["next"] = f"{_ALL}?{urlencode([*pairs, marker])}"
        return body

    def show(self, call: Call) -> dict[str, Any]:
        whole = self._metadefs.show(call.ctx, call.params["namespace"])
        view = _whole_view(whole)
        wanted = call.query.get("resource_type")
        if wanted is not None:
            prefix = self._metadefs.prefix(call.ctx, whole.namespace.namespace, wanted)
            _prefix(view, prefix)
        return view

    def create(self, call: Call) -> Reply:
        whole = self._metadefs.create(call.ctx, call.body)
        return Reply(
            body=_whole_view(whole),
            headers={"Location": f"{call.base_url}{_ALL}/{whole.namespace.namespace}"},
        )

    def update(self, call: Call) -> dict[str, Any]:
        whole = self._metadefs.update(call.ctx, call.params["namespace"], call.body)
        return schemas.namespace_view(whole.namespace, whole.associations)

    def delete(self, call: Call) -> None:
        self._metadefs.delete(call.ctx, call.params["namespace"])

    # -- objects ---------------------------------------------------------------------------------
    def objects(self, call: Call) -> dict[str, Any]:
        name = call.params["namespace"]
        found = self._metadefs.items(call.ctx, name, OBJECT)
        return {
            "objects": [schemas.object_view(name, item) for item in found],
            "first": f"{_ALL}/{name}/objects",
            "schema": "/v2/schemas/metadefs/objects",
        }

    def object(self, call: Call) -> dict[str, Any]:
        name = call.params["namespace"]
        item = self._metadefs.item(call.ctx, name, OBJECT, call.params["name"])
        return schemas.object_view(name, item)

    def object_add(self, call: Call) -> dict[str, Any]:
        name = call.params["namespace"]
        item = self._metadefs.item_add(call.ctx, name, OBJECT, *call.body.item())
        return schemas.object_view(name, item)

    def object_update(self, call: Call) -> dict[str, Any]:
        name = call.params["namespace"]
        item = self._metadefs.item_update(
            call.ctx, name, OBJECT, call.params["name"], *call.body.item()
        )
        return schemas.object_view(name, item)

    # -- properties ------------------------------------------------------------------------------
    def properties(self, call: Call) -> dict[str, Any]:
        found = self._metadefs.items(call.ctx, call.params["namespace"], PROPERTY)
        return {"properties": {item.name: schemas.property_view(item) for item in found}}

    def property(self, call: Call) -> Any:
        namespace, name = call.params["namespace"], call.params["name"]
        wanted = call.query.get("resource_type")
        prefix = ""
        if wanted is not None:
            prefix = self._metadefs.prefix(call.ctx, namespace, wanted)
            if not name.startswith(prefix):
                raise NotFound(kind="Property", id=name)
        item = self._metadefs.item(call.ctx, namespace, PROPERTY, name.removeprefix(prefix))
        return schemas.property_view(item)

    def property_add(self, call: Call) -> Any:
        item = self._metadefs.item_add(
            call.ctx, call.params["namespace"], PROPERTY, *call.body.item()
        )
        return schemas.property_view(item)

    def property_update(self, call: Call) -> Any:
        item = self._metadefs.item_update(
            call.ctx, call.params["namespace"], PROPERTY, call.params["name"], *call.body.item()
        )
        return schemas.property_view(item)

    # -- tags ------------------------------------------------------------------------------------
    def tags(self, call: Call) -> dict[str, Any]:
        name = call.params["namespace"]
        found = self._metadefs.items(call.ctx, name, TAG)
        return {
            "tags": [schemas.tag_view(item) for item in found],
            "first": f"{_ALL}/{name}/tags",
            "schema": "/v2/schemas/metadefs/tags",
        }

    def tags_set(self, call: Call) -> dict[str, Any]:
        append = call.headers.get("X-Openstack-Append", "").lower() in ("true", "1", "yes")
        names = [tag.name for tag in call.body.tags]
        if len(set(names)) != len(names):
            raise Invalid(reason="Every tag may be named only once.")
        found = self._metadefs.tags_set(call.ctx, call.params["namespace"], names, append=append)
        return {"tags": [schemas.tag_view(item) for item in found]}

    def tag(self, call: Call) -> dict[str, Any]:
        return schemas.tag_view(
            self._metadefs.item(call.ctx, call.params["namespace"], TAG, call.params["name"])
        )

    def tag_add(self, call: Call) -> dict[str, Any]:
        tag = schemas.new_tag(call.params["name"])
        return schemas.tag_view(
            self._metadefs.item_add(call.ctx, call.params["namespace"], TAG, tag.name, {})
        )

    def tag_update(self, call: Call) -> dict[str, Any]:
        item = self._metadefs.item_update(
            call.ctx, call.params["namespace"], TAG, call.params["name"], call.body.name, {}
        )
        return schemas.tag_view(item)

    # -- resource types --------------------------------------------------------------------------
    def resource_types(self, _call: Call) -> dict[str, Any]:
        return {
            "resource_types": [
                {
                    "name": one.name,
                    "created_at": clock.iso(one.created_at),
                    "updated_at": clock.iso(one.updated_at),
                }
                for one in self._metadefs.resource_types()
            ]
        }

    def associations(self, call: Call) -> dict[str, Any]:
        found = self._metadefs.associations(call.ctx, call.params["namespace"])
        return {"resource_type_associations": [schemas.association_view(one) for one in found]}

    def associate(self, call: Call) -> dict[str, Any]:
        return schemas.association_view(
            self._metadefs.associate(call.ctx, call.params["namespace"], call.body)
        )

    def dissociate(self, call: Call) -> None:
        self._metadefs.dissociate(call.ctx, call.params["namespace"], call.params["name"])

    def _clear(self, call: Call, kind: str) -> None:
        self._metadefs.item_remove(call.ctx, call.params["namespace"], kind, None)

    def _remove(self, call: Call, kind: str) -> None:
        self._metadefs.item_remove(call.ctx, call.params["namespace"], kind, call.params["name"])


def _whole_view(whole: Whole) -> dict[str, Any]:
    return {
        **schemas.namespace_view(whole.namespace, whole.associations),
        **schemas.parts_view(whole.namespace.namespace, whole.items),
    }


def _prefix(view: dict[str, Any], prefix: str) -> None:
    """Properties as they are called at resources of one type."""
    holders = [view, *view.get("objects", ())]
    for holder in holders:
        if "properties" in holder:
            named = holder["properties"].items()
            holder["properties"] = {prefix + name: value for name, value in named}
    for described in view.get("objects", ()):
        described["required"] = [prefix + name for name in described["required"]]
