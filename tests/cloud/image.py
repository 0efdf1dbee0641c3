"""The image service on a free loopback port, for tests that talk HTTP to it.

As a program (``image.py DIRECTORY [PORT]``) it serves until its standard input ends, so that a
test may kill it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from tokens import authenticate

from minicloud.cmd.image import Graph, Settings, build
from minicloud.image.fetch import Fetcher, Rules
from minicloud.image.policies import RULES
from minicloud.image.quotas import RESOURCES
from minicloud.image.stores.files import FileStore
from minicloud.image.transfer import Limits
from minicloud.kit.db import Database, migrate
from minicloud.kit.policy import Policy
from minicloud.kit.web import WebServer, build_app

PATCH = "application/openstack-images-v2.1-json-patch"


class ImageCloud:
    """A running image service and a client's view of it."""

    graph: Graph

    def __init__(self, web: WebServer, graph: Graph, database: Database, files: Path) -> None:
        self.url = "http://{}:{}".format(*web.address)
        self.graph = graph
        self.database = database
        self.files = files

    @classmethod
    def at(cls, url: str, files: Path) -> ImageCloud:
        """A client's view of a service in another process."""
        cloud = cls.__new__(cls)
        cloud.url, cloud.files = url, files
        return cloud

    def call(self, method: str, path: str, token: str = "demo", **arguments: Any) -> Any:
        headers = {"X-Auth-Token": token, "Accept": "application/json"}
        headers.update(arguments.pop("headers", {}))
        return requests.request(method, self.url + path, headers=headers, timeout=60, **arguments)

    def create(self, token: str = "demo", **attributes: Any) -> dict[str, Any]:
        """A new image, qcow2 unless said otherwise."""
        body = {"disk_format": "qcow2", "container_format": "bare", **attributes}
        answer = self.call("POST", "/v2/images", token, json=body)
        assert answer.status_code == 201, answer.text
        image: dict[str, Any] = answer.json()
        return image

    def show(self, image_id: str, token: str = "demo") -> dict[str, Any]:
        answer = self.call("GET", f"/v2/images/{image_id}", token)
        assert answer.status_code == 200, answer.text
        image: dict[str, Any] = answer.json()
        return image

    def upload(self, image_id: str, data: Any, token: str = "demo", **headers: str) -> Any:
        return self.call(
            "PUT", f"/v2/images/{image_id}/file", token, data=data,
            headers={"Content-Type": "application/octet-stream", **headers},
        )  # fmt: skip

    def patch(self, image_id: str, operations: Any, token: str = "demo", kind: str = PATCH) -> Any:
        return self.call(
            "PATCH", f"/v2/images/{image_id}", token, json=operations,
            headers={"Content-Type": kind},
        )  # fmt: skip

    def names(self, token: str = "demo", **query: Any) -> list[str]:
        answer = self.call("GET", "/v2/images", token, params=query)
        assert answer.status_code == 200, answer.text
        return [image["name"] for image in answer.json()["images"]]

    def sweep(self) -> None:
        self.graph.sweeper.sweep()

    def until(self, image_id: str, *statuses: str, token: str = "demo") -> dict[str, Any]:
        """The image once it has one of ``statuses``."""
        deadline = time.monotonic() + 60
        while True:
            image = self.show(image_id, token)
            if image["status"] in statuses:
                return image
            assert time.monotonic() < deadline, image
            threading.Event().wait(0.02)

    def stored(self) -> list[str]:
        """Files in the data directory."""
        return sorted(path.name for path in self.files.iterdir())


@contextlib.contextmanager
def image_cloud(
    directory: Path, *, url: str | None = None, max_size: int = 64 * 1024**2, **settings: Any
) -> Iterator[ImageCloud]:
    """The service with its tables and files below ``directory``; ``max_size`` in bytes."""
    database = Database(url or f"sqlite:///{directory / 'image.sqlite'}")
    migrate.upgrade("image", database)
    given = {
        "stores": [FileStore(directory / "data")],
        "limits": Limits(size=max_size, virtual_size=max_size),
        "quotas": lambda _project: dict.fromkeys(RESOURCES, -1),
        **settings,
    }
    fetcher, who = given.pop("fetcher", None), given.pop("authenticate", authenticate)
    graph = build(
        Settings(directory=directory, **given), database, Policy(RULES), who,
        fetcher=fetcher,
    )  # fmt: skip
    web = WebServer(build_app(graph.service), host="127.0.0.1", port=0)
    graph.runner.start()
    web.start()
    try:
        yield ImageCloud(web, graph, database, directory / "data")
    finally:
        web.stop()
        graph.runner.stop()
        database.close()


if __name__ == "__main__":
    # A port of this machine from which it may fetch; dead, it is believed alive for 2 seconds.
    ports = [int(port) for port in sys.argv[2:]]
    rules = Rules(ports=ports, networks=[ipaddress.ip_network("127.0.0.1/32")])
    with image_cloud(Path(sys.argv[1]), lease_s=2.0, fetcher=Fetcher(rules)) as cloud:
        print(cloud.url, flush=True)
        sys.stdin.read()
