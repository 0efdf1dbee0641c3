"""The network service on a free loopback port, for tests that talk HTTP to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
from tokens import authenticate

from minicloud.kit.db import Database, migrate
from minicloud.kit.web import WebServer, build_app
from minicloud.network.hints import Hints
from minicloud.network.routes import rest_service
from minicloud.network.service import NetworkService, Settings

QUOTA = {
    "network": 100,
    "subnet": 100,
    "port": 500,
    "router": 10,
    "floatingip": 50,
    "subnetpool": 20,
    "rbac_policy": 20,
    "security_group": 10,
    "security_group_rule": 100,
}


class NetworkCloud:
    """A running network service and a client's view of it."""

    def __init__(self, web: WebServer, database: Database) -> None:
        self.url = "http://{}:{}".format(*web.address)
        self.database = database

    def call(self, method: str, path: str, token: str = "demo", **arguments: Any) -> Any:
        """``path`` below /v2.0; one that begins with two slashes is taken as is."""
        headers = {"X-Auth-Token": token, **arguments.pop("headers", {})}
        path = path[1:] if path.startswith("//") else f"/v2.0{path}"
        return requests.request(method, self.url + path, headers=headers, timeout=60, **arguments)

    def ask(self, method: str, path: str, status: int, token: str = "demo", **more: Any) -> Any:
        """``call`` that must answer ``status``; the JSON of the answer."""
        answer = self.call(method, path, token, **more)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, status: int, kind: str, **more: Any) -> str:
        """The message of a refusal that must have this status and NeutronError type."""
        error = self.ask(method, path, status, **more)["NeutronError"]
        assert error["type"] == kind, error
        message: str = error["message"]
        return message

    def make(self, noun: str, token: str = "demo", **values: Any) -> dict[str, Any]:
        """A new network, subnet, port, security_group or security_group_rule."""
        path = f"/{noun.replace('_', '-')}s".replace("policys", "policies")
        made: dict[str, Any] = self.ask("POST", path, 201, token, json={noun: values})[noun]
        return made

    def network(self, cidr: str = "10.0.0.0/26", token: str = "demo", **values: Any) -> str:
        """The id of a new network with one subnet."""
        network_id: str = self.make("network", token, name="net", **values)["id"]
        self.make("subnet", token, network_id=network_id, cidr=cidr, ip_version=4)
        return network_id

    def show(self, noun: str, identity: str, token: str = "demo") -> dict[str, Any]:
        path = f"/{noun.replace('_', '-')}s/{identity}".replace("policys", "policies")
        found: dict[str, Any] = self.ask("GET", path, 200, token)[noun]
        return found


@contextlib.contextmanager
def network_cloud(
    directory: Path,
    *,
    url: str | None = None,
    quota: Mapping[str, int] = QUOTA,
    hints: Hints | None = None,
    **settings: Any,
) -> Iterator[NetworkCloud]:
    """The service on a database of its own below ``directory``, or at ``url``. A second one at
    the same ``url`` is another daemon of the same cloud.
    """
    database = Database(url or f"sqlite:///{directory / 'network.sqlite'}")
    migrate.upgrade("network", database)
    service = NetworkService(database, Settings(quota=quota, **settings))
    web = WebServer(
        build_app(rest_service(service, authenticate, hints=hints)),
        host="127.0.0.1",
        port=0,
        threads=16,
    )
    web.start()
    try:
        yield NetworkCloud(web, database)
    finally:
        web.stop()
        database.close()
