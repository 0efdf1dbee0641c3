"""Every ``openstack image`` command against a live cloud, each effect checked."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.command_line import CommandLine
from clients.conftest import LiveCloud, until

pytestmark = [pytest.mark.clients, pytest.mark.host]
DATA = os.urandom(300_000)


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "disk.raw").write_bytes(DATA)
    return tmp_path / "disk.raw"


@pytest.fixture
def image(demo: CommandLine, name: str, data: Path) -> Iterator[str]:
    """The id of an active image."""
    made = demo.json(
        "image", "create", "--disk-format", "raw", "--container-format", "bare", "--file",
        str(data), "--min-disk", "1", "--min-ram", "64", "--property", "os_distro=x", "--tag",
        "t1", name,
    )  # fmt: skip
    yield made["id"]
    if name in demo("image", "list", "-f", "value", "-c", "Name"):
        demo("image", "delete", made["id"])


def test_create_show_list_save_delete(
    demo: CommandLine, admin: CommandLine, image: str, name: str, data: Path, tmp_path: Path
) -> None:
    shown = demo.json("image", "show", name)
    assert (shown["id"], shown["status"], shown["size"]) == (image, "active", len(DATA))
    assert (shown["min_disk"], shown["min_ram"], shown["tags"]) == (1, 64, ["t1"])
    assert shown["properties"]["os_distro"] == "x"
    (row,) = demo.json("image", "list", "--name", name, "--tag", "t1", "--long")
    assert (row["ID"], row["Visibility"], row["Size"]) == (image, "shared", len(DATA))
    listed = demo.json("image", "list", "--property", "os_distro=x", "--sort", "size:asc")
    assert image in {one["ID"] for one in listed}
    demo("image", "save", "--file", str(tmp_path / "saved"), name)
    assert (tmp_path / "saved").read_bytes() == DATA
    demo("image", "delete", name)
    with pytest.raises(AssertionError, match="No Image found"):
        demo("image", "show", image)


def test_set_and_unset(demo: CommandLine, admin: CommandLine, image: str, name: str) -> None:
    demo("image", "set", "--min-ram", "128", "--property", "colour=red", "--tag", "t2",
         "--protected", "--community", image)  # fmt: skip
    shown = demo.json("image", "show", image)
    assert (shown["min_ram"], shown["protected"], shown["visibility"]) == (128, True, "community")
    assert (set(shown["tags"]), shown["properties"]["colour"]) == ({"t1", "t2"}, "red")
    with pytest.raises(AssertionError, match="protected"):
        demo("image", "delete", image)
    demo("image", "unset", "--property", "colour", "--tag", "t1", image)
    demo("image", "set", "--unprotected", "--private", "--hidden", image)
    shown = demo.json("image", "show", image)
    assert "colour" not in shown["properties"]
    assert (shown["tags"], shown["visibility"]) == (["t2"], "private")
    assert image not in demo("image", "list")
    assert image in demo("image", "list", "--hidden")
    with pytest.raises(AssertionError, match=r"403|allow"):
        demo("image", "set", "--public", image)
    admin("image", "set", "--public", image)
    demo("image", "set", "--deactivate", image)
    assert demo.json("image", "show", image)["status"] == "deactivated"
    # The client takes the refusal's words for the data, whose checksum is another.
    with pytest.raises(AssertionError, match="checksum mismatch"):
        demo("image", "save", "--file", os.devnull, image)
    demo("image", "set", "--activate", image)
    assert demo.json("image", "show", image)["status"] == "active"


def test_members(demo: CommandLine, admin: CommandLine, image: str, name: str) -> None:
    other = admin.json("project", "show", "alt_demo")["id"]
    added = demo.json("image", "add", "project", image, other)
    assert (added["member_id"], added["status"]) == (other, "pending")
    (row,) = demo.json("image", "member", "list", image)
    assert (row["Member ID"], row["Status"]) == (other, "pending")
    got = demo.json("image", "member", "get", image, other)
    assert got["status"] == "pending"
    demo("image", "remove", "project", image, other)
    assert demo.json("image", "member", "list", image) == []


def test_stage_import_and_its_task(
    demo: CommandLine, admin: CommandLine, name: str, data: Path
) -> None:
    assert "glance-direct" in str(demo.json("image", "import", "info"))
    (store,) = demo.json("image", "stores", "list")
    assert store["ID"] == "file"
    made = demo.json("image", "create", "--disk-format", "raw", "--container-format", "bare", name)
    try:
        # The client does not tell of the refusal.
        demo("image", "import", "--method", "web-download", "--uri", "http://127.0.0.1/x", name)
        assert demo.json("image", "show", name)["status"] == "queued"
        demo("image", "stage", "--file", str(data), name)
        assert demo.json("image", "show", name)["status"] == "uploading"
        demo("image", "import", "--method", "glance-direct", name)
        until(lambda: demo.json("image", "show", name)["status"] == "active")
        assert demo.json("image", "show", name)["size"] == len(DATA)
        tasks = admin.json("image", "task", "list", "--status", "success")
        shown = admin.json("image", "task", "show", tasks[0]["ID"])
        assert (shown["status"], shown["input"]["image_id"]) == ("success", made["id"])
        admin("image", "import", "--method", "copy-image", "--all-stores", name)
    finally:
        demo("image", "delete", name)


def test_the_cache(admin: CommandLine, image: str) -> None:
    admin("cached", "image", "queue", image)
    assert image in admin("cached", "image", "list")
    admin("cached", "image", "delete", image)
    assert image not in admin("cached", "image", "list")
    admin("cached", "image", "queue", image)
    admin("cached", "image", "clear")
    assert image not in admin("cached", "image", "list")


def test_metadata_definitions(
    live_cloud: LiveCloud, demo: CommandLine, admin: CommandLine, name: str
) -> None:
    made = admin.json("image metadef namespace create --display-name Box --public", name)
    try:
        assert (made["namespace"], made["display_name"]) == (name, "Box")
        assert name in demo("image metadef namespace list")
        admin("image metadef namespace set --public --description 'A box' --tag paper", name)
        shown = demo.json("image metadef namespace show", name)
        assert (shown["description"], "paper" in str(shown)) == ("A box", True)
        admin("image metadef namespace unset --all-tags", name)
        # The client shows a tag that it has set in the same process for as long as that lives.
        answer = live_cloud.connect().image.get(f"/metadefs/namespaces/{name}")
        assert answer.json().get("tags", []) == []

        kind = f"OS::{name}"
        admin("image metadef resource type association create", name, kind)
        assert kind in admin("image metadef resource type list")
        assert kind in admin("image metadef resource type association list", name)
        admin("image metadef resource type association delete", name, kind)
        assert kind not in admin("image metadef resource type association list", name)

        schema = '{"minimum": 1, "readonly": true}'
        made = admin.json(
            "image metadef property create --name size --title Size --type integer",
            "--schema", schema, name,
        )  # fmt: skip
        assert (made["name"], made["type"]) == ("size", "integer")
        admin("image metadef property set --title 'How large'", name, "size")
        assert admin.json("image metadef property show", name, "size")["title"] == "How large"
        assert "size" in admin("image metadef property list", name)
        admin("image metadef property delete", name, "size")
        assert admin("image metadef property list -f value", name) == ""

        made = admin.json("image metadef object create lid --namespace", name)
        assert made["name"] == "lid"
        admin("image metadef object update --name cover", name, "lid")
        assert admin.json("image metadef object show", name, "cover")["name"] == "cover"
        assert "cover" in admin("image metadef object list", name)
        assert "nosuch" in admin.refused(
            "image metadef object property show", name, "cover", "nosuch"
        )
        admin("image metadef object delete", name, "cover")
        assert admin("image metadef object list -f value", name) == ""
    finally:
        admin("image metadef namespace delete", name)
    assert name not in admin("image metadef namespace list")
