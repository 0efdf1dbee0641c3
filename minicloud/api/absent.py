"""What this cloud has none of, said truly: empty lists, nothing to be found, refusals."""

from __future__ import annotations

from typing import Any

from minicloud.api.scope import server_of
from minicloud.domain.errors import Invalid, NotFound
from minicloud.kit.db import Database
from minicloud.kit.web import Call


class Shares:
    """Shared file systems of servers: there is no service for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, call: Call) -> Any:
        self._server(call)
        return {"shares": []}

    def show(self, call: Call) -> Any:
        self._server(call)
        raise NotFound(kind="Share attachment", id=call.params["share_id"])

    def create(self, call: Call) -> Any:
        self._server(call)
        raise Invalid(reason="There is no shared file system service in this cloud.")

    def _server(self, call: Call) -> None:
        with self._database.read() as tx:
            server_of(tx, call)


class Topology:
    """NUMA topology of servers: guests are not laid out by NUMA nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, call: Call) -> Any:
        with self._database.read() as tx:
            server_of(tx, call)
        return {"nodes": [], "pagesize_kb": None}
