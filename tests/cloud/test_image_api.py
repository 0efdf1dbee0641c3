"""Images' records over HTTP: what clients see, may change, and may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from image import ImageCloud, image_cloud
from tokens import ALT, DEMO

UNKNOWN = "/v2/images/00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path_factory.mktemp("image")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path) as running:
        yield running


# -- discovery -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "status"), [("/", 300), ("/versions", 200), ("/v2", 300), ("/v2/", 300)]
)
def test_versions_need_no_token(cloud: ImageCloud, path: str, status: int) -> None:
    answer = requests.get(cloud.url + path, timeout=10)
    assert answer.status_code == status
    versions = answer.json()["versions"]
    assert [entry["status"] for entry in versions].count("CURRENT") == 1
    assert versions[-1] == {
        "id": "v2.0",
        "status": "SUPPORTED",
        "links": [{"rel": "self", "href": f"{cloud.url}/v2/"}],
    }


@pytest.mark.parametrize("name", ["image", "images", "member", "members"])
def test_schemas(cloud: ImageCloud, name: str) -> None:
    schema = cloud.call("GET", f"/v2/schemas/{name}").json()
    assert schema["name"] == name
    assert schema["properties"]


def test_the_image_schema_names_what_an_image_has(cloud: ImageCloud) -> None:
    schema = cloud.call("GET", "/v2/schemas/image").json()
    assert set(schema["properties"]) == {"stores", *cloud.create(name="plain")}


def test_information(cloud: ImageCloud) -> None:
    assert cloud.call("GET", "/v2/info/import").json()["import-methods"]["value"] == [
        "glance-direct", "web-download", "copy-image",
    ]  # fmt: skip
    stores = cloud.call("GET", "/v2/info/stores").json()["stores"]
    assert stores == [{"id": "file", "description": "Files of this service", "default": "true"}]
    assert cloud.call("GET", "/v2/info/stores/detail").status_code == 403
    (detail,) = cloud.call("GET", "/v2/info/stores/detail", "admin").json()["stores"]
    assert (detail["type"], detail["properties"]["data_dir"]) == ("file", str(cloud.files))


def test_a_token_is_needed(cloud: ImageCloud) -> None:
    answer = requests.get(cloud.url + "/v2/images", timeout=10)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert "WWW-Authenticate" in answer.headers


def test_an_image_without_an_id_is_not_there(cloud: ImageCloud) -> None:
    for method in ("GET", "DELETE"):
        assert cloud.call(method, "/v2/images/").status_code == 404
    assert cloud.call("DELETE", "/v2/images").status_code == 405
    image = cloud.create(name="x")
    for path in ("/locations", "/locations/-", "/locations/0", "/direct_url"):
        change = [{"op": "add", "path": path, "value": {"url": "http://images.example/x"}}]
        assert cloud.patch(image["id"], change).status_code == 403


# -- create --------------------------------------------------------------------------------------
def test_create(cloud: ImageCloud) -> None:
    answer = cloud.call(
        "POST",
        "/v2/images",
        json={
            "name": "cirros",
            "disk_format": "qcow2",
            "container_format": "bare",
            "min_ram": 64,
            "tags": ["b", "a", "b"],
            "os_distro": "cirros",
            "owner_specified.openstack.md5": "",
        },
    )
    assert answer.status_code == 201
    image = answer.json()
    assert answer.headers["Location"] == f"{cloud.url}/v2/images/{image['id']}"
    assert answer.headers["OpenStack-image-import-methods"].split(",") == [
        "glance-direct", "web-download", "copy-image",
    ]  # fmt: skip
    assert answer.headers["OpenStack-image-store-ids"] == "file"
    assert image["status"] == "queued"
    assert image["visibility"] == "shared"
    assert image["owner"] == DEMO
    assert image["tags"] == ["a", "b"]
    assert image["os_distro"] == "cirros"
    assert image["size"] is None
    assert image["file"] == f"/v2/images/{image['id']}/file"
    assert cloud.show(image["id"]) == image


def test_the_client_may_choose_the_id_once(cloud: ImageCloud) -> None:
    chosen = "3F8B6A1C-5F5D-4F0B-9B57-2E6C7E6F3A10"
    assert cloud.create(id=chosen)["id"] == chosen.lower()
    assert cloud.call("POST", "/v2/images", json={"id": chosen}).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"disk_format": "floppy"}, 400),
        ({"container_format": "box"}, 400),
        ({"visibility": "secret"}, 400),
        ({"name": "x" * 256}, 400),
        ({"name": "a\nb"}, 400),
        ({"min_disk": -1}, 400),
        ({"min_ram": 2**31}, 400),
        ({"min_ram": "64"}, 400),
        ({"id": "mine"}, 400),
        ({"tags": ["x" * 256]}, 400),
        ({"colour": 7}, 400),
        ({"colour": None}, 400),
        ({"colour": "a\x00b"}, 400),
        ({"status": "active"}, 403),
        ({"size": 5}, 403),
        ({"os_glance_thing": "1"}, 403),
        ({"visibility": "public"}, 403),
        ({"owner": ALT}, 403),
        ({f"p{number}": "" for number in range(129)}, 413),
        ([], 400),
    ],
)
def test_what_cannot_be_created(cloud: ImageCloud, body: Any, status: int) -> None:
    answer = cloud.call("POST", "/v2/images", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["title"]


def test_a_reader_creates_nothing(cloud: ImageCloud) -> None:
    assert cloud.call("POST", "/v2/images", "reader", json={}).status_code == 403


def test_errors_come_as_the_client_accepts(cloud: ImageCloud) -> None:
    for accept, kind in (("*/*", "text/html"), ("", "text/html"), ("image/png", "text/plain")):
        answer = cloud.call("GET", UNKNOWN, headers={"Accept": accept})
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith(kind)


# -- change --------------------------------------------------------------------------------------
def test_patch(cloud: ImageCloud) -> None:
    image = cloud.create(name="old", colour="red", tags=["x"])
    answer = cloud.patch(
        image["id"],
        [
            {"op": "replace", "path": "/name", "value": "new"},
            {"op": "add", "path": "/a~1b~0c", "value": "slashed"},
            {"op": "replace", "path": "/colour", "value": "blue"},
            {"op": "add", "path": "/tags/-", "value": "y"},
            {"op": "replace", "path": "/tags/0", "value": "z"},
            {"op": "add", "path": "/protected", "value": True},
        ],
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert changed["name"] == "new"
    assert changed["a/b~c"] == "slashed"
    assert changed["colour"] == "blue"
    assert changed["tags"] == ["y", "z"]
    assert changed["protected"] is True
    assert cloud.show(image["id"]) == changed
    assert cloud.patch(image["id"], [{"op": "remove", "path": "/colour"}]).status_code == 200
    assert "colour" not in cloud.show(image["id"])


def test_the_older_patch(cloud: ImageCloud) -> None:
    image = cloud.create(colour="red")
    answer = cloud.patch(
        image["id"],
        [{"replace": "/name", "value": "new"}, {"remove": "/colour"}, {"add": "/x", "value": "1"}],
        kind="application/openstack-images-v2.0-json-patch",
    )
    assert answer.status_code == 200, answer.text
    assert (answer.json()["name"], answer.json()["x"]) == ("new", "1")
    assert "colour" not in answer.json()


@pytest.mark.parametrize(
    ("operations", "status"),
    [
        ([{"op": "replace", "path": "/status", "value": "active"}], 403),
        ([{"op": "replace", "path": "/checksum", "value": "x"}], 403),
        ([{"op": "replace", "path": "/id", "value": "x"}], 403),
        ([{"op": "add", "path": "/os_glance_x", "value": "x"}], 403),
        ([{"op": "remove", "path": "/name"}], 403),
        ([{"op": "replace", "path": "/visibility", "value": "public"}], 403),
        ([{"op": "replace", "path": "/owner", "value": ALT}], 403),
        ([{"op": "replace", "path": "/nothing", "value": "x"}], 409),
        ([{"op": "remove", "path": "/nothing"}], 409),
        ([{"op": "remove", "path": "/tags/7"}], 409),
        ([{"op": "add", "path": "/x", "value": 1}], 400),
        ([{"op": "add", "path": "/x"}], 400),
        ([{"op": "move", "path": "/x", "from": "/y"}], 400),
        ([{"op": "add", "path": "/x/y", "value": "1"}], 400),
        ([{"op": "add", "path": "x", "value": "1"}], 400),
        ([{"op": "add", "path": "/~2", "value": "1"}], 400),
        ([{"op": "replace", "path": "/tags", "value": "x"}], 400),
        (["add"], 400),
        ({"op": "add"}, 400),
    ],
)
def test_patches_that_are_refused_change_nothing(
    cloud: ImageCloud, operations: Any, status: int
) -> None:
    image = cloud.create(name="same")
    good = {"op": "replace", "path": "/name", "value": "changed"}
    if isinstance(operations, list):
        operations = [good, *operations]
    assert cloud.patch(image["id"], operations).status_code == status
    assert cloud.show(image["id"]) == image


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_a_patch_names_its_kind(cloud: ImageCloud, kind: str) -> None:
    assert cloud.patch(cloud.create()["id"], [], kind=kind).status_code == 415


def test_tags(cloud: ImageCloud) -> None:
    path = f"/v2/images/{cloud.create()['id']}/tags"
    assert cloud.call("PUT", f"{path}/blue").status_code == 204
    assert cloud.call("PUT", f"{path}/blue").status_code == 204
    assert cloud.call("PUT", f"{path}/{'x' * 256}").status_code == 400
    assert cloud.call("DELETE", f"{path}/blue").status_code == 204
    assert cloud.call("DELETE", f"{path}/blue").status_code == 404


def test_delete(cloud: ImageCloud) -> None:
    image = cloud.create(protected=True)
    path = f"/v2/images/{image['id']}"
    assert cloud.call("DELETE", path).status_code == 403
    cloud.patch(image["id"], [{"op": "replace", "path": "/protected", "value": False}])
    assert cloud.call("DELETE", path).status_code == 204
    assert cloud.call("DELETE", path).status_code == 404
    assert cloud.call("GET", path).status_code == 404


# -- who sees what -------------------------------------------------------------------------------
def test_visibility(fresh: ImageCloud) -> None:
    ids = {}
    for visibility in ("public", "community", "shared", "private"):
        token = "admin" if visibility == "public" else "demo"
        ids[visibility] = fresh.create(token, name=visibility, visibility=visibility)["id"]
    assert set(fresh.names("demo")) == {"public", "community", "shared", "private"}
    assert set(fresh.names("alt")) == {"public"}
    assert set(fresh.names("alt", visibility="all")) == {"public", "community"}
    assert set(fresh.names("alt", visibility="community")) == {"community"}
    assert set(fresh.names("demo", visibility="private")) == {"private"}
    assert set(fresh.names("admin")) == set(fresh.names("service")) == set(ids)
    for visibility, status in (
        ("public", 200), ("community", 200), ("shared", 404), ("private", 404),
    ):  # fmt: skip
        path = f"/v2/images/{ids[visibility]}"
        assert fresh.call("GET", path, "alt").status_code == status
        change = [{"op": "add", "path": "/x", "value": "1"}]
        refused = 403 if status == 200 else 404
        assert fresh.patch(ids[visibility], change, "alt").status_code == refused
        assert fresh.call("DELETE", path, "alt").status_code == refused
        assert fresh.upload(ids[visibility], b"", "alt").status_code == refused
    # A service that passes a user's request on sees with the user's eyes.
    passed_on = fresh.call(
        "GET", f"/v2/images/{ids['private']}", "alt", headers={"X-Service-Token": "service"}
    )
    assert passed_on.status_code == 404


def test_members(fresh: ImageCloud) -> None:
    image = fresh.create(name="ours")
    path = f"/v2/images/{image['id']}/members"
    added = fresh.call("POST", path, json={"member": ALT})
    assert added.status_code == 200
    assert (added.json()["member_id"], added.json()["status"]) == (ALT, "pending")
    assert fresh.call("POST", path, json={"member": ALT}).status_code == 409
    # Pending: to be found by id, not in the way in lists.
    assert fresh.call("GET", f"/v2/images/{image['id']}", "alt").status_code == 200
    assert fresh.names("alt") == []
    assert fresh.names("alt", member_status="pending") == ["ours"]
    assert fresh.call("POST", path, "alt", json={"member": "other"}).status_code == 403
    # Accepting is the member's to do.
    answer = {"status": "accepted"}
    assert fresh.call("PUT", f"{path}/{ALT}", json=answer).status_code == 403
    assert fresh.call("PUT", f"{path}/{ALT}", "alt", json=answer).status_code == 200
    assert fresh.names("alt") == ["ours"]
    assert fresh.names("alt", visibility="shared") == ["ours"]
    assert [entry["status"] for entry in fresh.call("GET", path).json()["members"]] == ["accepted"]
    assert fresh.call("GET", f"{path}/{ALT}", "alt").json()["member_id"] == ALT
    assert fresh.call("DELETE", f"{path}/{ALT}", "alt").status_code == 403
    assert fresh.call("DELETE", f"{path}/{ALT}").status_code == 204
    assert fresh.call("GET", f"/v2/images/{image['id']}", "alt").status_code == 404
    private = fresh.create(visibility="private")
    refused = fresh.call("POST", f"/v2/images/{private['id']}/members", json={"member": ALT})
    assert refused.status_code == 403


# -- lists ---------------------------------------------------------------------------------------
def test_filters(fresh: ImageCloud) -> None:
    one = fresh.create(name="one", tags=["x", "y"], colour="red", min_ram=5)
    two = fresh.create(name="two, too", tags=["x"], disk_format="raw", protected=True)
    fresh.create(name="hidden", os_hidden=True)
    fresh.upload(two["id"], b"z" * 512)
    for query, names in (
        ({"name": "one"}, {"one"}),
        ({"name": 'in:one,"two, too"'}, {"one", "two, too"}),
        ({"id": f"in:{one['id']},{two['id']}"}, {"one", "two, too"}),
        ({"id": one["id"]}, {"one"}),
        ({"status": "active"}, {"two, too"}),
        ({"status": "in:active,queued"}, {"one", "two, too"}),
        ({"tag": ["x"]}, {"one", "two, too"}),
        ({"tag": ["x", "y"]}, {"one"}),
        ({"colour": "red"}, {"one"}),
        ({"colour": "blue"}, set()),
        ({"disk_format": "raw"}, {"two, too"}),
        ({"container_format": "bare"}, {"one", "two, too"}),
        ({"owner": DEMO}, {"one", "two, too"}),
        ({"owner": ALT}, set()),
        ({"size_min": 512}, {"two, too"}),
        ({"size_max": 511}, set()),
        ({"min_ram": 5}, {"one"}),
        ({"protected": "true"}, {"two, too"}),
        ({"os_hidden": "true"}, {"hidden"}),
        ({"member_status": "all"}, {"one", "two, too"}),
        ({"created_at": "gt:2000-01-01T00:00:00Z"}, {"one", "two, too"}),
        ({"updated_at": "lt:2000-01-01T00:00:00Z"}, set()),
    ):
        assert set(fresh.names(**query)) == names, query


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "-1"}, {"limit": "many"}, {"marker": "nobody"}, {"sort_key": "colour"},
        {"sort_dir": "up"}, {"sort": "name:up"}, {"sort": "name", "sort_key": "name"},
        {"visibility": "secret"}, {"member_status": "maybe"}, {"size_min": "-5"},
        {"size_max": "9" * 40}, {"name": 'in:"one'}, {"protected": "maybe"},
        {"created_at": "gt:yesterday"}, {"name": "a\x00"},
    ],
)  # fmt: skip
def test_lists_that_are_refused(cloud: ImageCloud, query: dict[str, str]) -> None:
    assert cloud.call("GET", "/v2/images", params=query).status_code == 400


def test_pages_cover_all_once_in_any_order(fresh: ImageCloud) -> None:
    for number in range(7):
        name = None if number == 3 else f"image{number % 3}"
        image = fresh.create(name=name, disk_format="raw")
        if number % 2:
            fresh.upload(image["id"], b"x" * (number * 10))
    everything = {image["id"] for image in fresh.call("GET", "/v2/images").json()["images"]}
    for order in ("sort_key=name&sort_dir=asc", "sort=size:desc,name:asc", "sort_key=created_at"):
        path, seen = f"/v2/images?limit=2&{order}", []
        while path:
            body = fresh.call("GET", path).json()
            assert body["first"] == f"/v2/images?limit=2&{order}".replace(":", "%3A").replace(
                ",", "%2C"
            )
            assert len(body["images"]) <= 2
            seen += [image["id"] for image in body["images"]]
            path = body.get("next")
        assert len(seen) == 7, order
        assert set(seen) == everything
    assert fresh.call("GET", "/v2/images?limit=0").json()["images"] == []


def test_sorted_by_name(fresh: ImageCloud) -> None:
    for name in ("b", "c", "a"):
        fresh.create(name=name)
    assert fresh.names(sort_key="name", sort_dir="asc") == ["a", "b", "c"]
    assert fresh.names(sort="name:desc") == ["c", "b", "a"]
    assert fresh.names() == ["a", "c", "b"]
