"""Volumes made of images and images made of volumes, with the real image service beside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_services import RestServices
from user import User
from volume import end_exporters

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-utils")
NEWEST = {"OpenStack-API-Version": "volume 3.71"}
MIB = 1024**2


class Services:
    """identity, image and volume, and one user of them."""

    def __init__(self, rest: RestServices, directory: Path) -> None:
        self.rest, self.directory = rest, directory
        self.user = User(rest, "demo")

    def ask(self, method: str, path: str, status: int, **more: Any) -> Any:
        project = self.user.project_id
        return self.user.ask("volume", method, f"/v3/{project}{path}", status, **more)

    def create(self, **values: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.ask("POST", "/volumes", 202, json={"volume": values})["volume"]
        assert self.rest.volume_jobs.wait_idle(60)
        return made

    def show(self, volume_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.ask("GET", f"/volumes/{volume_id}", 200)["volume"]
        return shown

    def disk(self, volume_id: str) -> Path:
        return (self.directory / "volume-data" / "volumes" / volume_id).resolve()

    def starts_with(self, volume_id: str, data: bytes) -> bool:
        raw = self.directory / "look.raw"
        command = ["qemu-img", "convert", "-O", "raw", str(self.disk(volume_id)), str(raw)]
        subprocess.run(command, check=True)
        with raw.open("rb") as file:
            return file.read(len(data)) == data


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    tmp_path = tmp_path_factory.mktemp("cloud")
    rest = RestServices(tmp_path, host="lab1", token_cache_s=60.0, urls={})
    try:
        rest.bootstrap()
        yield Services(rest, tmp_path)
    finally:
        end_exporters(rest.volume_dir)
        rest.close()


def test_a_volume_of_an_image_is_bootable_and_knows_it(services: Services) -> None:
    data = b"boot me " * 100_000
    image_id = services.user.make_image("system", data)
    made = services.create(size=1, imageRef=image_id, name="root")
    shown = services.show(made["id"])
    assert (shown["status"], shown["bootable"]) == ("available", "true")
    assert shown["volume_image_metadata"]["image_id"] == image_id
    assert shown["volume_image_metadata"]["image_name"] == "system"
    assert services.starts_with(made["id"], data)
    before = len(services.rest.noted)
    again = services.create(size=2, imageRef=image_id)
    fetched = [each for each in services.rest.noted[before:] if each.path.endswith("/file")]
    assert fetched == [], "its bytes are here already"
    assert services.starts_with(again["id"], data)
    copy = services.create(source_volid=made["id"])
    assert services.show(copy["id"])["bootable"] == "true"
    assert services.show(copy["id"])["volume_image_metadata"]["image_id"] == image_id


def test_a_qcow2_image_becomes_its_content(services: Services, tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(b"inside" + bytes(4 * MIB))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(qcow2)], check=True)
    image_id = services.user.make_image("packed", qcow2.read_bytes(), disk_format="qcow2")
    made = services.create(size=1, imageRef=image_id)
    assert services.show(made["id"])["status"] == "available"
    assert services.starts_with(made["id"], b"inside")


def test_images_that_do_not_fit_are_refused_before_anything_is_made(services: Services) -> None:
    image_id = services.user.make_image("system", b"x" * 1000, min_disk=3)
    before = services.ask("GET", "/volumes", 200)
    for volume in (
        {"size": 1, "imageRef": image_id},
        {"size": 1, "imageRef": "11111111-2222-4333-8444-555555555555"},
        {"imageRef": image_id},
        {"size": 1, "imageRef": "not/an/id"},
    ):
        services.ask("POST", "/volumes", 400, json={"volume": volume})
    assert services.ask("GET", "/volumes", 200) == before


def test_a_volume_becomes_an_image_and_that_a_volume(services: Services) -> None:
    data = b"written " * 1000
    image_id = services.user.make_image("system", data)
    volume = services.create(size=1, imageRef=image_id)
    order = {"os-volume_upload_image": {"image_name": "copy", "disk_format": "qcow2",
                                        "container_format": "bare"}}  # fmt: skip
    action = f"/volumes/{volume['id']}/action"
    answer = services.ask("POST", action, 202, json=order)["os-volume_upload_image"]
    assert (answer["image_name"], answer["status"]) == ("copy", "uploading")
    assert services.rest.volume_jobs.wait_idle(60)
    assert services.show(volume["id"])["status"] == "available"
    image = services.user.ask("image", "GET", f"/v2/images/{answer['image_id']}", 200)
    assert (image["status"], image["disk_format"], image["min_disk"]) == ("active", "qcow2", 1)
    again = services.create(size=1, imageRef=image["id"])
    assert services.starts_with(again["id"], data)
    services.ask("POST", action, 400, json={"os-volume_upload_image": {
        "image_name": "x", "disk_format": "floppy"}})  # fmt: skip


def test_a_volume_gets_another_image(services: Services) -> None:
    first, second = (services.user.make_image(name, name.encode() * 100) for name in ("one", "two"))
    volume = services.create(size=1, imageRef=first)
    action = f"/volumes/{volume['id']}/action"
    order = {"os-reimage": {"image_id": second, "reimage_reserved": False}}
    services.ask("POST", action, 202, json=order, headers=NEWEST)
    assert services.rest.volume_jobs.wait_idle(60)
    shown = services.show(volume["id"])
    assert (shown["status"], shown["volume_image_metadata"]["image_id"]) == ("available", second)
    assert services.starts_with(volume["id"], b"two")


def test_while_the_image_service_is_away_nothing_is_begun(services: Services) -> None:
    image_id = services.user.make_image("system", b"patience" * 1000)
    body = {"volume": {"size": 1, "imageRef": image_id}}
    image_service = services.rest.services["image"]
    image_service.stop()
    services.ask("POST", "/volumes", 503, json=body)
    image_service.start()
    made = services.create(size=1, imageRef=image_id)
    order = {"os-volume_upload_image": {"image_name": "copy"}}
    action = f"/volumes/{made['id']}/action"
    image_service.stop()
    services.ask("POST", action, 503, json=order)
    image_service.start()
    assert services.show(made["id"])["status"] == "available"
