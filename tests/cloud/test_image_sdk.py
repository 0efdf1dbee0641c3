"""openstacksdk's image proxy against the image service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from image import ImageCloud, image_cloud
from tokens import ALT

openstack = pytest.importorskip("openstack")
pytestmark = pytest.mark.clients


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path) as running:
        yield running


def _connect(cloud: ImageCloud, token: str) -> Any:
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="admin_token",
        auth={"endpoint": f"{cloud.url}/v2", "token": token},
    )


@pytest.fixture
def images(cloud: ImageCloud) -> Any:
    return _connect(cloud, "demo").image


def test_an_image_s_life(images: Any, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "disk.raw").write_bytes(data)
    image = images.create_image(
        "one",
        filename=str(tmp_path / "disk.raw"),
        disk_format="raw",
        container_format="bare",
        tags=["t1"],
        os_distro="x",
        validate_checksum=True,
        wait=True,
    )
    assert (image.status, image.size, image.virtual_size) == ("active", 3_000_000, 3_000_000)
    assert images.find_image("one").id == image.id
    assert images.find_image(image.id).os_distro == "x"
    assert [found.id for found in images.images(tag="t1")] == [image.id]
    images.download_image(image, output=str(tmp_path / "back.raw"))
    assert (tmp_path / "back.raw").read_bytes() == data

    changed = images.update_image(image.id, name="two", tags=["t1", "t2"], colour="red", min_ram=8)
    assert (changed.name, changed.tags, changed.min_ram) == ("two", ["t1", "t2"], 8)
    images.add_tag(image, "t3")
    images.remove_tag(image, "t1")
    assert images.get_image(image.id).tags == ["t2", "t3"]
    images.deactivate_image(image)
    assert images.get_image(image.id).status == "deactivated"
    images.reactivate_image(image)
    images.delete_image(image)
    assert images.find_image("two") is None
    with pytest.raises(openstack.exceptions.NotFoundException):
        images.get_image(image.id)


def test_a_refused_upload_tells_why_and_leaves_nothing(
    cloud: ImageCloud, images: Any, tmp_path: Path
) -> None:
    (tmp_path / "disk").write_bytes(b"not what it says" * 1000)
    with pytest.raises(openstack.exceptions.BadRequestException, match="not qcow2"):
        images.create_image(
            "bad", filename=str(tmp_path / "disk"), disk_format="qcow2", container_format="bare"
        )
    assert list(images.images()) == []
    assert cloud.stored() == []


def test_pages(images: Any) -> None:
    made = {images.create_image(f"i{number}", allow_duplicates=True).id for number in range(7)}
    found = [image.id for image in images.images(limit=3)]
    assert len(found) == 7
    assert set(found) == made


def test_sharing(cloud: ImageCloud, images: Any) -> None:
    image = images.create_image("shared")
    images.add_member(image, member_id=ALT)
    other = _connect(cloud, "alt").image
    assert list(other.images()) == []
    other.update_member(ALT, image, status="accepted")
    assert [found.name for found in other.images()] == ["shared"]
    assert [member.status for member in images.members(image)] == ["accepted"]
    images.remove_member(ALT, image)
    assert list(other.images()) == []


def test_what_the_service_says_of_itself(images: Any) -> None:
    assert images.get_images_schema().name == "images"
    assert images.get_image_schema().name == "image"
    assert images.get_members_schema().name == "members"
    assert images.get_member_schema().name == "member"
    assert [store.id for store in images.stores()] == ["file"]
    assert images.get_import_info().import_methods["value"] == [
        "glance-direct", "web-download", "copy-image",
    ]  # fmt: skip


def test_staging_and_importing(cloud: ImageCloud, images: Any, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "disk.raw").write_bytes(data)
    image = images.create_image("staged", disk_format="raw", container_format="bare")
    images.stage_image(image, filename=str(tmp_path / "disk.raw"))
    assert images.get_image(image.id).status == "uploading"
    images.import_image(images.get_image(image.id), method="glance-direct")
    whole = images.wait_for_status(images.get_image(image.id), status="active", wait=60)
    assert whole.size == len(data)
    (task,) = images.image_tasks(image)
    assert (task.type, task.image_id) == ("api_image_import", image.id)
    admin = _connect(cloud, "admin").image
    done = admin.wait_for_task(admin.get_task(task.id), status="success", wait=60)
    assert done.result == {"image_id": image.id}
    assert [found.id for found in admin.tasks()] == [task.id]
    (place,) = admin.image_locations(image)
    assert place["url"].startswith("file://")


def test_the_cache_proxy(tmp_path: Path) -> None:
    with image_cloud(tmp_path, cache_size=1 << 20) as cloud:
        image = cloud.create(disk_format="raw")["id"]
        cloud.upload(image, b"data")
        admin = _connect(cloud, "admin").image
        admin.queue_image(image)
        assert admin.get_image_cache().queued_images == [image]
        cloud.graph.cache.fill()
        (cached,) = admin.get_image_cache().cached_images
        assert (cached["image_id"], cached["size"]) == (image, 4)
        assert admin.cached_image_nodes(image) == ["localhost"]
        assert admin.prune_cache() == {"total_files_pruned": 0, "total_bytes_pruned": 0}
        admin.clean_cache()
        admin.cache_delete_image(image)
        assert admin.get_image_cache().cached_images == []
        admin.queue_image(image)
        admin.clear_cache("queue")
        assert admin.get_image_cache().queued_images == []


def test_metadata_definitions(cloud: ImageCloud) -> None:
    admin = _connect(cloud, "admin").image
    admin.create_metadef_namespace(namespace="n", visibility="public", description="d")
    admin.update_metadef_namespace("n", visibility="public", display_name="N")
    assert admin.get_metadef_namespace("n").display_name == "N"
    assert [found.namespace for found in admin.metadef_namespaces()] == ["n"]
    admin.create_metadef_object("n", name="o", properties={"p": {"title": "P", "type": "string"}})
    assert admin.get_metadef_object("o", "n").properties["p"]["type"] == "string"
    assert [found.name for found in admin.metadef_objects("n")] == ["o"]
    admin.update_metadef_object("o", "n", name="o", description="d")
    admin.delete_metadef_object("o", "n")
    admin.create_metadef_property("n", name="p", title="P", type="integer", minimum=1)
    admin.update_metadef_property("p", "n", name="p", title="Q", type="integer")
    assert admin.get_metadef_property("p", "n").title == "Q"
    assert [found.name for found in admin.metadef_properties("n")] == ["p"]
    admin.delete_metadef_property("p", "n")
    admin.create_metadef_resource_type_association("n", name="T")
    assert [found.name for found in admin.metadef_resource_types()] == ["T"]
    assert [found.name for found in admin.metadef_resource_type_associations("n")] == ["T"]
    admin.delete_metadef_resource_type_association("T", "n")
    admin.add_tag_to_metadef_namespace("n", "t")
    admin.remove_tag_from_metadef_namespace("n", "t")
    admin.delete_all_metadef_objects("n")
    admin.delete_all_metadef_properties("n")
    admin.delete_metadef_namespace("n")
    assert list(admin.metadef_namespaces()) == []
    for kind in ("namespace", "resource_type", "object", "property", "tag"):
        assert getattr(admin, f"get_metadef_{kind}_schema")().properties
    for kind in ("namespaces", "resource_types", "objects", "properties", "tags"):
        assert getattr(admin, f"get_metadef_{kind}_schema")().properties
    assert (admin.get_task_schema().name, admin.get_tasks_schema().name) == ("task", "tasks")
