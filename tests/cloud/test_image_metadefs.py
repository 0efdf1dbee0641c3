"""Metadata definitions over HTTP: namespaces and all that hangs on them; who sees and changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from image import ImageCloud, image_cloud
from tokens import ADMIN, DEMO

ALL = "/v2/metadefs/namespaces"
SIZE = {"title": "Size", "type": "integer", "minimum": 1, "enum": [1, 2], "default": 1}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path) as running:
        yield running


def ask(cloud: ImageCloud, method: str, path: str, body: Any = None, **more: Any) -> Any:
    """As the administrator; the answer's JSON, or its status when it has none or is an error."""
    token = more.pop("token", "admin")
    arguments = {} if body is None else {"json": body}
    answer = cloud.call(method, ALL + path, token, **arguments, **more)
    if answer.status_code >= 400 or not answer.content:
        return answer.status_code
    return answer.json()


def test_a_namespace_s_life(cloud: ImageCloud) -> None:
    made = cloud.call("POST", ALL, "admin", json={
        "namespace": "OS::Compute::Box", "display_name": "Box", "description": "A box",
        "resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}],
        "properties": {"size": SIZE},
        "objects": [{"name": "Box", "required": ["lid"], "properties": {"lid": SIZE}}],
        "tags": [{"name": "paper"}],
    })  # fmt: skip
    assert made.status_code == 201, made.text
    assert made.headers["Location"] == f"{cloud.url}{ALL}/OS::Compute::Box"
    shown = ask(cloud, "GET", "/OS::Compute::Box")
    assert shown == made.json()
    assert (shown["visibility"], shown["protected"], shown["owner"]) == ("private", False, ADMIN)
    assert shown["properties"] == {"size": {**SIZE, "name": "size"}}
    assert [(one["name"], one["required"]) for one in shown["objects"]] == [("Box", ["lid"])]
    assert shown["tags"] == [{"name": "paper"}]
    (association,) = shown["resource_type_associations"]
    assert (association["name"], association["prefix"]) == ("OS::Glance::Image", "hw_")
    prefixed = ask(cloud, "GET", "/OS::Compute::Box?resource_type=OS::Glance::Image")
    assert list(prefixed["properties"]) == ["hw_size"]
    assert prefixed["objects"][0]["required"] == ["hw_lid"]
    assert ask(cloud, "GET", "/OS::Compute::Box?resource_type=nosuch") == 404
    assert ask(cloud, "POST", "", {"namespace": "OS::Compute::Box"}) == 409

    change = {"namespace": "New", "visibility": "public", "protected": True}
    changed = ask(cloud, "PUT", "/OS::Compute::Box", change)
    assert (changed["namespace"], changed["visibility"], changed["owner"]) == (
        "New", "public", ADMIN,
    )  # fmt: skip
    assert "display_name" not in changed
    assert ask(cloud, "GET", "/OS::Compute::Box") == 404
    assert ask(cloud, "DELETE", "/New") == 403
    ask(cloud, "PUT", "/New", {**change, "protected": False})
    assert ask(cloud, "DELETE", "/New") == 204
    assert ask(cloud, "DELETE", "/New") == 404
    assert ask(cloud, "GET", "/New/properties") == 404


def test_who_sees_and_who_changes(cloud: ImageCloud) -> None:
    for name, visibility, owner in (("pub", "public", ADMIN), ("mine", "private", DEMO),
                                    ("other", "private", ADMIN)):  # fmt: skip
        ask(cloud, "POST", "", {"namespace": name, "visibility": visibility, "owner": owner})
    listed = ask(cloud, "GET", "", token="demo")
    assert {one["namespace"] for one in listed["namespaces"]} == {"pub", "mine"}
    assert ask(cloud, "GET", "/other", token="demo") == 404
    assert ask(cloud, "GET", "/other/tags", token="demo") == 404
    for method, path, body in (
        ("POST", "", {"namespace": "x"}), ("PUT", "/mine", {"namespace": "mine"}),
        ("DELETE", "/mine", None), ("POST", "/mine/properties", {"name": "x", **SIZE}),
        ("POST", "/mine/tags/x", None), ("DELETE", "/mine/objects", None),
    ):  # fmt: skip
        assert ask(cloud, method, path, body, token="demo") == 403


def test_lists_in_pages(cloud: ImageCloud) -> None:
    for number in range(5):
        ask(cloud, "POST", "", {"namespace": f"n{number}", "visibility": "public"})
    ask(cloud, "POST", "/n3/resource_types", {"name": "OS::Nova::Flavor"})
    page = ask(cloud, "GET", "?limit=2&sort_key=namespace&sort_dir=asc")
    assert page["first"] == f"{ALL}?limit=2&sort_key=namespace&sort_dir=asc"
    names = [one["namespace"] for one in page["namespaces"]]
    while "next" in page:
        page = cloud.call("GET", page["next"], "admin").json()
        names += [one["namespace"] for one in page["namespaces"]]
    assert names == [f"n{number}" for number in range(5)]
    typed = ask(cloud, "GET", "?resource_types=OS::Nova::Flavor,OS::Other")
    assert [one["namespace"] for one in typed["namespaces"]] == ["n3"]
    assert ask(cloud, "GET", "?visibility=private")["namespaces"] == []
    for query in ("limit=x", "sort_key=colour", "sort_dir=up", "visibility=secret"):
        assert ask(cloud, "GET", f"?{query}") == 400
    assert ask(cloud, "GET", "?marker=nosuch") == 404


def test_objects_properties_and_tags(cloud: ImageCloud) -> None:
    ask(cloud, "POST", "", {"namespace": "n"})
    made = ask(cloud, "POST", "/n/objects", {"name": "o", "description": "d"})
    assert (made["name"], made["properties"], made["self"]) == ("o", {}, f"{ALL}/n/objects/o")
    assert ask(cloud, "POST", "/n/objects", {"name": "o"}) == 409
    renamed = ask(cloud, "PUT", "/n/objects/o", {"name": "p", "properties": {"size": SIZE}})
    assert renamed["created_at"] == made["created_at"]
    assert ask(cloud, "GET", "/n/objects/o") == 404
    assert ask(cloud, "GET", "/n/objects/p")["properties"] == {"size": SIZE}
    assert [one["name"] for one in ask(cloud, "GET", "/n/objects")["objects"]] == ["p"]
    assert ask(cloud, "DELETE", "/n/objects/p") == 204
    assert ask(cloud, "DELETE", "/n/objects/p") == 404

    assert ask(cloud, "POST", "/n/properties", {"name": "a", **SIZE}) == {"name": "a", **SIZE}
    ask(cloud, "POST", "/n/properties", {"name": "b", **SIZE})
    assert ask(cloud, "PUT", "/n/properties/a", {"name": "b", **SIZE}) == 409
    assert set(ask(cloud, "GET", "/n/properties")["properties"]) == {"a", "b"}
    ask(cloud, "POST", "/n/resource_types", {"name": "OS::Nova::Flavor", "prefix": "hw:"})
    typed = ask(cloud, "GET", "/n/properties/hw:a?resource_type=OS::Nova::Flavor")
    assert typed["name"] == "a"
    assert ask(cloud, "GET", "/n/properties/a?resource_type=OS::Nova::Flavor") == 404
    assert ask(cloud, "DELETE", "/n/properties") == 204
    assert ask(cloud, "GET", "/n/properties")["properties"] == {}

    assert ask(cloud, "POST", "/n/tags/one")["name"] == "one"
    assert ask(cloud, "POST", "/n/tags/one") == 409
    many = {"tags": [{"name": "two"}, {"name": "three"}]}
    ask(cloud, "POST", "/n/tags", many, headers={"X-Openstack-Append": "True"})
    assert {one["name"] for one in ask(cloud, "GET", "/n/tags")["tags"]} == {"one", "two", "three"}
    ask(cloud, "POST", "/n/tags", many)
    assert {one["name"] for one in ask(cloud, "GET", "/n/tags")["tags"]} == {"two", "three"}
    assert ask(cloud, "PUT", "/n/tags/two", {"name": "2"})["name"] == "2"
    assert ask(cloud, "GET", "/n/tags/2")["name"] == "2"
    twice = {"tags": [{"name": "x"}, {"name": "x"}]}
    assert ask(cloud, "POST", "/n/tags", twice) == 400


def test_resource_types(cloud: ImageCloud) -> None:
    ask(cloud, "POST", "", {"namespace": "n"})
    made = ask(cloud, "POST", "/n/resource_types", {"name": "T", "properties_target": "image"})
    assert (made["name"], made["properties_target"]) == ("T", "image")
    assert ask(cloud, "POST", "/n/resource_types", {"name": "T"}) == 409
    found = cloud.call("GET", "/v2/metadefs/resource_types").json()["resource_types"]
    assert [one["name"] for one in found] == ["T"]
    listed = ask(cloud, "GET", "/n/resource_types")["resource_type_associations"]
    assert [one["name"] for one in listed] == ["T"]
    assert ask(cloud, "DELETE", "/n/resource_types/T") == 204
    assert ask(cloud, "DELETE", "/n/resource_types/T") == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {}), ("", {"namespace": ""}), ("", {"namespace": "x" * 81}),
        ("", {"namespace": "x", "visibility": "shared"}), ("", {"namespace": "x\ny"}),
        ("", {"namespace": "x", "objects": [{"description": "no name"}]}),
        ("", {"namespace": "x", "properties": {"p": {"title": "t"}}}),
        ("/n/properties", {"name": "x", "title": "t", "type": "colour"}),
        ("/n/properties", {"name": "x", "title": "t", "type": "string", "minLength": -1}),
        ("/n/objects", {"name": "x", "properties": []}),
        ("/n/resource_types", {"prefix": "x"}), ("/n/tags", {"tags": "x"}),
    ],
)  # fmt: skip
def test_what_is_wrong(cloud: ImageCloud, path: str, body: Any) -> None:
    ask(cloud, "POST", "", {"namespace": "n"})
    assert ask(cloud, "POST", path, body) == 400


@pytest.mark.parametrize(
    "name", ["namespace", "namespaces", "object", "objects", "property", "properties", "tag",
             "tags", "resource_type", "resource_types"]
)  # fmt: skip
def test_schemas(cloud: ImageCloud, name: str) -> None:
    schema = cloud.call("GET", f"/v2/schemas/metadefs/{name}").json()
    assert schema["properties"]
    assert cloud.call("GET", "/v2/schemas/metadefs/colour").status_code == 404
    assert cloud.call("GET", "/v2/schemas/task").json()["name"] == "task"
