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
