"""Who may do what with images: every route tried by everybody, in earnest.

The image is one of the project ``demo``; ``demo`` is a member of it, ``reader`` a reader, ``alt`` a
member of another project, ``service`` a service, and ``nobody`` has no token. Whoever is let in
succeeds; of the others, those who may not know of it are told that it is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from image import PATCH, ImageCloud, image_cloud
from tokens import ALT

from minicloud.image import store
from minicloud.image.fetch import Fetcher, Rules
from minicloud.image.records import Location
from minicloud.image.stores.files import FileStore
from minicloud.image.stores.http import HttpStore

EVERYBODY = {"admin", "demo", "reader", "alt", "service", "nobody"}
PEOPLE = EVERYBODY - {"nobody"}
ADMIN = {"admin"}
READERS = {"admin", "demo", "reader", "service"}
WRITERS = {"admin", "demo", "service"}
"""Those of the image's project, and a service that acts for it."""
OWNERS = {"admin", "demo"}

Setup = Callable[[ImageCloud], str]


def _queued(cloud: ImageCloud) -> str:
    return str(cloud.create(disk_format="raw", visibility="private", tags=["t"])["id"])


def _active(cloud: ImageCloud) -> str:
    image_id = _queued(cloud)
    assert cloud.upload(image_id, b"data").status_code == 204
    return image_id


def _deactivated(cloud: ImageCloud) -> str:
    image_id = _active(cloud)
    assert cloud.call("POST", f"/v2/images/{image_id}/actions/deactivate").status_code == 204
    return image_id


def _staged(cloud: ImageCloud) -> str:
    image_id = _queued(cloud)
    assert cloud.call("PUT", f"/v2/images/{image_id}/stage", data=b"x").status_code == 204
    return image_id


def _in_two_stores(cloud: ImageCloud) -> str:
    image_id = _active(cloud)
    with cloud.database.write() as tx:
        store.location_add(tx, image_id, Location(store="more", name=image_id), 1.0)
    return image_id


def _cached(cloud: ImageCloud) -> str:
    image_id = _active(cloud)
    assert cloud.call("PUT", f"/v2/cache/{image_id}", "admin").status_code == 202
    return image_id


def _shared(cloud: ImageCloud) -> str:
    return str(cloud.create(disk_format="raw", visibility="shared")["id"])


def _with_member(cloud: ImageCloud) -> str:
    image_id = _shared(cloud)
    member = {"member": ALT}
    assert cloud.call("POST", f"/v2/images/{image_id}/members", json=member).status_code == 200
    return image_id


def _task(cloud: ImageCloud) -> str:
    body = {"type": "import", "input": {"import_from": "http://images.example/x",
                                        "import_from_format": "raw"}}  # fmt: skip
    return str(cloud.call("POST", "/v2/tasks", "admin", json=body).json()["id"])


def _space(cloud: ImageCloud) -> str:
    """A public namespace of the administrator's, with one of each kind."""
    name = f"n{len(cloud.call('GET', '/v2/metadefs/namespaces', 'admin').json()['namespaces'])}"
    spec = {"title": "t", "type": "string"}
    body = {
        "namespace": name, "visibility": "public", "properties": {"one": spec},
        "objects": [{"name": "one"}], "tags": [{"name": "one"}],
        "resource_type_associations": [{"name": "one"}],
    }  # fmt: skip
    assert cloud.call("POST", "/v2/metadefs/namespaces", "admin", json=body).status_code == 201
    return name


_JSON: dict[str, Any] = {"name": "other", "title": "t", "type": "string"}
_NEW_TASK = {"type": "import", "input": {"import_from": "http://images.example/x",
                                         "import_from_format": "raw"}}  # fmt: skip
_IMPORT = {"method": {"name": "glance-direct"}}
_SPACE = "/v2/metadefs/namespaces/{namespace}"

TABLE: list[tuple[set[str], str, str, Setup | None, Any]] = [
    (EVERYBODY, "GET", "/", None, None),
    (EVERYBODY, "GET", "/v2", None, None),
    (EVERYBODY, "GET", "/versions", None, None),
    (PEOPLE, "GET", "/v2/schemas/{schema}", None, None),
    (PEOPLE, "GET", "/v2/schemas/metadefs/{schema}", None, None),
    (PEOPLE, "GET", "/v2/info/import", None, None),
    (PEOPLE, "GET", "/v2/info/stores", None, None),
    (ADMIN, "GET", "/v2/info/stores/detail", None, None),
    (PEOPLE, "GET", "/v2/info/usage", None, None),
    (PEOPLE, "GET", "/v2/images", None, None),
    (PEOPLE - {"reader"}, "POST", "/v2/images", None, {"name": "x"}),
    (READERS, "GET", "/v2/images/{id}", _queued, None),
    (WRITERS, "PATCH", "/v2/images/{id}", _queued,
     [{"op": "replace", "path": "/name", "value": "x"}]),
    (WRITERS, "DELETE", "/v2/images/{id}", _queued, None),
    (WRITERS, "PUT", "/v2/images/{id}/tags/{tag}", _queued, None),
    (WRITERS, "DELETE", "/v2/images/{id}/tags/{tag}", _queued, None),
    (WRITERS, "POST", "/v2/images/{id}/actions/deactivate", _active, None),
    (WRITERS, "POST", "/v2/images/{id}/actions/reactivate", _deactivated, None),
    (ADMIN, "DELETE", "/v2/stores/{store}/{id}", _in_two_stores, None),
    (WRITERS, "PUT", "/v2/images/{id}/file", _queued, b"data"),
    (READERS, "GET", "/v2/images/{id}/file", _active, None),
    (WRITERS, "PUT", "/v2/images/{id}/stage", _queued, b"data"),
    (WRITERS, "POST", "/v2/images/{id}/import", _staged, _IMPORT),
    (ADMIN | {"service"}, "GET", "/v2/images/{id}/locations", _active, None),
    (WRITERS, "POST", "/v2/images/{id}/locations", _queued, {"url": "http://images.example/x"}),
    (READERS, "GET", "/v2/images/{id}/tasks", _active, None),
    (ADMIN, "GET", "/v2/tasks", None, None),
    (ADMIN, "POST", "/v2/tasks", None, _NEW_TASK),
    (ADMIN, "GET", "/v2/tasks/{task}", _task, None),
    (READERS, "GET", "/v2/images/{id}/members", _shared, None),
    (OWNERS, "POST", "/v2/images/{id}/members", _shared, {"member": "somebody"}),
    (READERS | {"alt"}, "GET", "/v2/images/{id}/members/{member}", _with_member, None),
    (ADMIN | {"alt"}, "PUT", "/v2/images/{id}/members/{member}", _with_member,
     {"status": "accepted"}),
    (OWNERS, "DELETE", "/v2/images/{id}/members/{member}", _with_member, None),
    (ADMIN, "GET", "/v2/cache", None, None),
    (ADMIN, "DELETE", "/v2/cache", None, None),
    (ADMIN, "PUT", "/v2/cache/{id}", _active, None),
    (ADMIN, "DELETE", "/v2/cache/{id}", _cached, None),
    (ADMIN, "POST", "/v2/cache/clean", None, None),
    (ADMIN, "POST", "/v2/cache/prune", None, None),
    (ADMIN, "GET", "/v2/cache/nodes/{id}", _cached, None),
    (PEOPLE, "GET", "/v2/metadefs/namespaces", None, None),
    (ADMIN, "POST", "/v2/metadefs/namespaces", None, {"namespace": "made"}),
    (PEOPLE, "GET", "/v2/metadefs/resource_types", None, None),
    (PEOPLE, "GET", _SPACE, _space, None),
    (ADMIN, "PUT", _SPACE, _space, {"namespace": "renamed"}),
    (ADMIN, "DELETE", _SPACE, _space, None),
    (PEOPLE, "GET", f"{_SPACE}/resource_types", _space, None),
    (ADMIN, "POST", f"{_SPACE}/resource_types", _space, {"name": "other"}),
    (ADMIN, "DELETE", f"{_SPACE}/resource_types/{{name}}", _space, None),
    (ADMIN, "POST", f"{_SPACE}/tags", _space, {"tags": [_JSON]}),
    (ADMIN, "POST", f"{_SPACE}/tags/{{new}}", _space, None),
    *((ADMIN, "POST", f"{_SPACE}/{kind}", _space, _JSON) for kind in ("objects", "properties")),
]  # fmt: skip
for _kind in ("objects", "properties", "tags"):
    TABLE += [
        (PEOPLE, "GET", f"{_SPACE}/{_kind}", _space, None),
        (ADMIN, "DELETE", f"{_SPACE}/{_kind}", _space, None),
        (PEOPLE, "GET", f"{_SPACE}/{_kind}/{{name}}", _space, None),
        (ADMIN, "PUT", f"{_SPACE}/{_kind}/{{name}}", _space, _JSON),
        (ADMIN, "DELETE", f"{_SPACE}/{_kind}/{{name}}", _space, None),
    ]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageCloud]:
    directory = tmp_path_factory.mktemp("image")
    fetcher = Fetcher(Rules(), resolve=lambda _host, _port: ["192.0.2.1"])
    stores = [FileStore(directory / "data"), FileStore(directory / "more", "more"),
              HttpStore(fetcher)]  # fmt: skip
    with image_cloud(directory, stores=stores, fetcher=fetcher, cache_size=1 << 20) as running:
        yield running


def _path(cloud: ImageCloud, path: str, setup: Setup | None) -> str:
    made = "" if setup is None else setup(cloud)
    values = {"schema": "tag" if "metadefs" in path else "image", "tag": "t", "store": "more",
              "member": ALT, "id": made, "task": made, "namespace": made, "name": "one",
              "new": "two"}  # fmt: skip
    return path.format(**values)


@pytest.mark.parametrize(
    ("who", "method", "path", "setup", "body"), TABLE, ids=[f"{r[1]} {r[2]}" for r in TABLE]
)
def test_who_may(
    cloud: ImageCloud, who: set[str], method: str, path: str, setup: Setup | None, body: Any
) -> None:
    let_in = set()
    for name in sorted(EVERYBODY):
        arguments: dict[str, Any] = {"json": body} if isinstance(body, dict | list) else {}
        if isinstance(body, bytes):
            arguments = {"data": body, "headers": {"Content-Type": "application/octet-stream"}}
        if method == "PATCH":
            arguments["headers"] = {"Content-Type": PATCH}
        if path.endswith("/namespaces") and method == "POST":
            arguments["json"] = {"namespace": f"made-by-{name}"}
        answer = cloud.call(method, _path(cloud, path, setup), name, **arguments)
        if answer.status_code < 400:
            let_in.add(name)
        elif name == "nobody":
            assert answer.status_code == 401
        else:
            assert answer.status_code in (403, 404), (name, answer.status_code, answer.text)
    assert let_in == who


def test_the_table_is_complete(cloud: ImageCloud) -> None:
    rows = {(row.method, _shape(row.path)) for row in cloud.graph.service.routes if not row.alias}
    assert rows == {(method, _shape(path)) for _, method, path, _, _ in TABLE}


def _shape(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_another_project_s_image_is_not_there(cloud: ImageCloud, tmp_path: Path) -> None:
    image_id = _active(cloud)
    for path in ("", "/file", "/members", "/tasks"):
        assert cloud.call("GET", f"/v2/images/{image_id}{path}", "alt").status_code == 404
    assert cloud.call("DELETE", f"/v2/images/{image_id}", "alt").status_code == 404
    assert cloud.call("PUT", f"/v2/images/{image_id}/file", "alt", data=b"x").status_code == 404
