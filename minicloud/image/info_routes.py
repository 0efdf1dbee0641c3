"""What the service says about itself: versions, schemas, import methods, stores, usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.image import documents
from minicloud.image.quotas import Quotas
from minicloud.image.stores.registry import Stores
from minicloud.kit.db import Database
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Call, Route


class InfoRoutes:
    def __init__(
        self, database: Database, stores: Stores, quotas: Quotas, methods: Sequence[str]
    ) -> None:
        self._database = database
        self._stores = stores
        self._quotas = quotas
        self._methods = methods

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/", handler=_versions, policy=PUBLIC, status=300),
            Route(method="GET", path="/v2", handler=_versions, policy=PUBLIC, status=300),
            Route(method="GET", path="/versions", handler=_versions, policy=PUBLIC),
            Route(method="GET", path="/v2/schemas/{name}", handler=_schema,
                  policy="get_schemas"),
            Route(method="GET", path="/v2/schemas/metadefs/{name}", handler=_metadef_schema,
                  policy="get_schemas"),
            Route(method="GET", path="/v2/info/import", handler=self.methods, policy="get_info"),
            Route(method="GET", path="/v2/info/stores", handler=self.stores, policy="get_info"),
            Route(method="GET", path="/v2/info/stores/detail", handler=self.stores_detail,
                  policy="stores_info_detail"),
            Route(method="GET", path="/v2/info/usage", handler=self.usage, policy="get_usage"),
        ]  # fmt: skip

    def methods(self, _call: Call) -> dict[str, Any]:
        return {
            "import-methods": {
                "description": "Import methods available.",
                "type": "array",
                "value": list(self._methods),
            }
        }

    def stores(self, _call: Call) -> dict[str, Any]:
        found = []
        for one in self._stores:
            view = {"id": one.id, "description": one.description}
            if one is self._stores.default:
                view["default"] = "true"
            if one.read_only:
                view["read-only"] = "true"
            found.append(view)
        return {"stores": found}

    def stores_detail(self, call: Call) -> dict[str, Any]:
        plain = self.stores(call)["stores"]
        return {
            "stores": [
                {**view, "type": one.kind, "weight": 0, "properties": dict(one.properties())}
                for view, one in zip(plain, self._stores, strict=True)
            ]
        }

    def usage(self, call: Call) -> dict[str, Any]:
        quota = self._quotas.of(call.ctx.project_id or None)
        with self._database.read() as tx:
            return {"usage": quota.usage(tx)}


def _versions(call: Call) -> dict[str, Any]:
    return documents.versions(call.base_url)


def _schema(call: Call) -> dict[str, Any]:
    return _named(documents.SCHEMAS, call.params["name"])


def _metadef_schema(call: Call) -> dict[str, Any]:
    return _named(documents.METADEF_SCHEMAS, call.params["name"])


def _named(schemas: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    if name not in schemas:
        raise NotFound(kind="Schema", id=name)
    return schemas[name]
