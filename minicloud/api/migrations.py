"""Migrations, as operators list them, and the live ones of a server with their progress."""

from __future__ import annotations

from typing import Any

from minicloud.api.schemas.migrations import (
    is_running_live,
    migration_view,
    server_migration_view,
)
from minicloud.api.scope import server_of
from minicloud.api.server_queries import moment
from minicloud.db import migrations
from minicloud.db.migrations import LIVE, RUNNING, MigrationQuery
from minicloud.domain.errors import NotFound
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Query
from minicloud.kit.web.paging import next_link

_MOST = 1000
_EQUAL = {
    "instance_uuid": "server_id",
    "status": "status",
    "source_compute": "source",
    "migration_type": "kind",
    "user_id": "user_id",
    "project_id": "project_id",
}
QUERY = Query(
    names=frozenset(
        (*_EQUAL, "host", "hidden", "limit", "marker", "changes-since", "changes-before")
    ),
    once=frozenset(("limit", "marker", "changes-since", "changes-before", "user_id", "project_id")),
    since={
        **dict.fromkeys(("limit", "marker", "changes-since"), (2, 59)),
        "changes-before": (2, 66),
        **dict.fromkeys(("user_id", "project_id"), (2, 80)),
    },
    strict_from=(2, 59),
)


class Migrations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, call: Call) -> Any:
        limit = call.number("limit", _MOST)
        limit = min(_MOST if limit is None else limit, _MOST)
        query = MigrationQuery(
            equal={
                column: call.query[name] for name, column in _EQUAL.items() if name in call.query
            },
            host=call.query.get("host"),
            changes_since=moment(call, "changes-since"),
            changes_before=moment(call, "changes-before"),
            limit=limit + 1,
            marker=call.query.get("marker"),
        )
        with self._database.read() as tx:
            found = migrations.migration_list(tx, query)
        shown = found[:limit]
        body: dict[str, Any] = {"migrations": [migration_view(m, call.base_url) for m in shown]}
        if shown and len(found) > limit and "limit" in call.query:
            href = next_link(call.base_url + call.path, call.query, shown[-1].id)
            body["migrations_links"] = [{"rel": "next", "href": href}]
        return body

    def of_server(self, call: Call) -> Any:
        with self._database.read() as tx:
            server = server_of(tx, call)
            wanted = {"server_id": server.id, "kind": LIVE, "status": list(RUNNING)}
            found = migrations.migration_list(tx, MigrationQuery(equal=wanted))
        return {"migrations": [server_migration_view(migration) for migration in found]}

    def one_of_server(self, call: Call) -> Any:
        text = call.params["migration_id"]
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise NotFound(kind="Migration", id=text[:64])
        with self._database.read() as tx:
            server = server_of(tx, call)
            migration = migrations.migration_get(tx, server.id, int(text))
        if not is_running_live(migration):
            raise NotFound(kind="In-progress live migration", id=f"{text} for server {server.id}")
        return {"migration": server_migration_view(migration)}
