"""Servers whose root disk is a volume, and volumes that a launch makes, through a whole cloud."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.virt.driver import FileDisk, NbdDisk

SINCE_2_93 = {"OpenStack-API-Version": "compute 2.93"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("boot"), place_wait_s=0.3) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


def launch(cloud: Cloud, user: User, *disks: dict[str, Any], image: str = "") -> str:
    server: str = user.launch(image, block_device_mapping_v2=list(disks))
    cloud.settle(60)
    assert user.status(server) == "ACTIVE", user.server(server)
    return server


def end(cloud: Cloud, user: User, server: str, *, kept: str = "") -> None:
    user.delete(server)
    cloud.settle(60)
    assert cloud.traces(server) == ({"volumes": [kept]} if kept else {})


def from_image(cloud: Cloud, **more: Any) -> dict[str, Any]:
    return {
        "source_type": "image", "destination_type": "volume", "uuid": cloud.image_id,
        "volume_size": 1, "boot_index": 0, **more,
    }  # fmt: skip


def volumes(user: User) -> dict[str, dict[str, Any]]:
    path = f"/v3/{user.project_id}/volumes/detail"
    return {v["id"]: v for v in user.ask("volume", "GET", path, 200)["volumes"]}


def volume_ids(user: User, server: str) -> list[str]:
    return [v["id"] for v in user.server(server)["os-extended-volumes:volumes_attached"]]


def test_boot_from_a_volume_made_of_an_image(cloud: Cloud, user: User) -> None:
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True, tag="root"))
    shown = user.server(server)
    assert shown["image"] == ""
    (volume,) = volume_ids(user, server)
    assert volumes(user)[volume]["status"] == "in-use"
    assert volumes(user)[volume]["volume_image_metadata"]["image_id"] == cloud.image_id
    found = cloud.hosts["lab1"].driver.domain(server).disks[0]
    assert isinstance(found, NbdDisk)
    assert (found.target, found.boot_index, found.serial) == ("vda", 0, volume)
    assert found.reconnect_s > 0
    path = f"/v2.1/servers/{server}/os-volume_attachments/{volume}"
    answer = user.call("compute", "DELETE", path)
    assert answer.status_code == 400
    assert "root device" in answer.text
    for there, back in (
        ({"os_stop": {}}, {"os_start": {}}),
        ({"shelve": None}, {"unshelve": None}),
    ):
        user.act(server, **there)
        cloud.settle(60)
        user.act(server, **back)
        cloud.settle(60)
        assert user.status(server) == "ACTIVE", user.server(server)
        assert volume_ids(user, server) == [volume]
    end(cloud, user, server)
    assert volume not in volumes(user)


def test_a_root_volume_that_stays_boots_the_next_server(cloud: Cloud, user: User) -> None:
    server = launch(cloud, user, from_image(cloud))
    (volume,) = volume_ids(user, server)
    end(cloud, user, server, kept=volume)
    assert volumes(user)[volume]["status"] == "available"
    again = launch(
        cloud, user,
        {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": 0,
         "delete_on_termination": True},
    )  # fmt: skip
    assert volume_ids(user, again) == [volume]
    end(cloud, user, again)
    assert volume not in volumes(user)


def test_boot_from_a_snapshot(cloud: Cloud, user: User) -> None:
    server = launch(cloud, user, from_image(cloud))
    (volume,) = volume_ids(user, server)
    body = {"snapshot": {"volume_id": volume, "force": True}}
    path = f"/v3/{user.project_id}/snapshots"
    snapshot = user.ask("volume", "POST", path, 202, json=body)["snapshot"]["id"]
    cloud.settle(60)
    twin = launch(
        cloud, user,
        {"source_type": "snapshot", "destination_type": "volume", "uuid": snapshot,
         "boot_index": 0, "delete_on_termination": True},
    )  # fmt: skip
    (copy,) = volume_ids(user, twin)
    assert volumes(user)[copy]["snapshot_id"] == snapshot
    end(cloud, user, twin)
    end(cloud, user, server, kept=volume)


def test_volumes_that_a_launch_makes(cloud: Cloud, user: User) -> None:
    root = {"source_type": "image", "destination_type": "local", "uuid": cloud.image_id,
            "boot_index": 0}  # fmt: skip
    kept = {"source_type": "blank", "destination_type": "volume", "volume_size": 2}
    gone = from_image(cloud, boot_index=-1, delete_on_termination=True)
    server = launch(cloud, user, root, kept, gone, image=cloud.image_id)
    first, second = volume_ids(user, server)
    assert (volumes(user)[first]["size"], volumes(user)[second]["size"]) == (2, 1)
    # What its maker's server was does not count any more when another has it.
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    user.ask("compute", "DELETE", f"{path}/{second}", 202)
    cloud.settle(60)
    other = user.launch(cloud.image_id)
    cloud.settle(60)
    body = {"volumeAttachment": {"volumeId": second}}
    user.ask("compute", "POST", f"/v2.1/servers/{other}/os-volume_attachments", 200, json=body)
    user.delete(server)
    cloud.settle(60)
    assert cloud.traces_on_hosts(server) == {}
    assert volumes(user)[first]["status"] == "available"
    assert volumes(user)[second]["status"] == "in-use"
    user.delete(other)
    cloud.settle(60)
    for each in (first, second):
        user.ask("volume", "DELETE", f"/v3/{user.project_id}/volumes/{each}", 202)


def test_a_launch_that_fails_leaves_the_users_volume_until_the_server_goes(
    cloud: Cloud, user: User
) -> None:
    volume = user.make_volume()
    cloud.hosts["lab1"].driver.fail("ensure_running", reason="no memory")
    disks = [
        {"source_type": "image", "destination_type": "local", "uuid": cloud.image_id,
         "boot_index": 0},
        {"source_type": "volume", "destination_type": "volume", "uuid": volume,
         "delete_on_termination": True},
        {"source_type": "blank", "destination_type": "volume", "volume_size": 1},
    ]  # fmt: skip
    before = set(volumes(user))
    server: str = user.launch(cloud.image_id, block_device_mapping_v2=disks)
    cloud.settle(60)
    assert user.status(server) == "ERROR"
    assert set(volumes(user)) == before
    assert volumes(user)[volume]["status"] == "available"
    user.delete(server)
    cloud.settle(60)
    assert volume not in volumes(user)
    assert cloud.traces(server) == {}


def test_a_server_on_a_volume_is_resized(cloud: Cloud, user: User) -> None:
    flavor = {"flavor": {"name": "larger", "id": "77", "vcpus": 1, "ram": 768, "disk": 9}}
    cloud.user("admin").ask("compute", "POST", "/v2.1/flavors", 200, json=flavor)
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    user.act(server, resize={"flavorRef": "77"})
    cloud.settle(60)
    assert user.status(server) == "VERIFY_RESIZE", user.server(server)
    user.act(server, status=204, confirmResize=None)
    cloud.settle(60)
    assert user.status(server) == "ACTIVE"
    end(cloud, user, server)


def rebuild(user: User, server: str, image: str, status: int = 202, **headers: str) -> Any:
    path = f"/v2.1/servers/{server}/action"
    body = {"rebuild": {"imageRef": image}}
    return user.ask("compute", "POST", path, status, json=body, headers=headers)


def starts_with(cloud: Cloud, volume: str, data: bytes) -> bool:
    """Whether the volume, which may be in use, has ``data`` at its start."""
    disk = (cloud.directory / "volume-data" / "volumes" / volume).resolve()
    raw = cloud.directory / "look.raw"
    command = ["qemu-img", "convert", "-U", "-O", "raw", str(disk), str(raw)]
    subprocess.run(command, check=True)
    with raw.open("rb") as file:
        return file.read(len(data)) == data


def test_a_root_volume_gets_the_bytes_of_another_image(cloud: Cloud, user: User) -> None:
    second = cloud.user("admin").make_image("second", b"another system" * 1000, os_type="linux")
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    (volume,) = volume_ids(user, server)
    before = cloud.traces(server)
    refused = rebuild(user, server, second, 400)["badRequest"]["message"]
    assert refused == (
        f"Image {second} is unacceptable: Unable to rebuild with a different image for a "
        "volume-backed server."
    )
    rebuild(user, server, cloud.image_id)  # before 2.93 the same image leaves all as it is
    cloud.settle(60)
    assert volumes(user)[volume]["volume_image_metadata"]["image_id"] == cloud.image_id
    answer = rebuild(user, server, second, **SINCE_2_93)["server"]
    assert (answer["status"], answer["image"]) == ("REBUILD", "")
    cloud.settle(60)
    assert user.status(server) == "ACTIVE", user.server(server)
    after = cloud.traces(server)
    assert {**after, "attachments": 0} == {**before, "attachments": 0}
    assert after["attachments"] == ["attached"]
    shown = volumes(user)[volume]
    assert (shown["status"], shown["volume_image_metadata"]["image_id"]) == ("in-use", second)
    assert cloud.server(server).image_properties["os_type"] == "linux"
    assert starts_with(cloud, volume, b"another system")
    end(cloud, user, server)


def test_a_stopped_server_stays_so_when_its_root_volume_is_rebuilt(
    cloud: Cloud, user: User
) -> None:
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    user.act(server, os_stop=None)
    cloud.settle(60)
    rebuild(user, server, cloud.image_id, **SINCE_2_93)
    cloud.settle(60)
    assert user.status(server) == "SHUTOFF", user.server(server)
    assert cloud.traces(server)["attachments"] == ["attached"]
    end(cloud, user, server)


def test_what_a_root_volume_cannot_be_rebuilt_with(cloud: Cloud, user: User) -> None:
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    large = user.make_image("large", b"x", min_disk=2)
    refused = rebuild(user, server, large, 400, **SINCE_2_93)["badRequest"]["message"]
    assert refused.startswith("Volume is smaller than the minimum size specified in image")
    refused = rebuild(user, server, server, 400, **SINCE_2_93)["badRequest"]["message"]
    assert refused == "Cannot find image for rebuild"
    assert user.status(server) == "ACTIVE"
    end(cloud, user, server)


def test_a_root_volume_that_cannot_be_rebuilt_leaves_the_reason_and_can_be_rebuilt_again(
    cloud: Cloud, user: User
) -> None:
    broken = user.make_image("broken", b"no disk" * 100, container_format="ovf")
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    (volume,) = volume_ids(user, server)
    rebuild(user, server, broken, **SINCE_2_93)
    cloud.settle(60)
    shown = user.server(server)
    assert shown["status"] == "ERROR"
    assert f"volume {volume} did not get the bytes of image {broken}" in shown["fault"]["message"]
    assert cloud.traces(server)["attachments"] == ["reserved"]
    assert volume_ids(user, server) == [volume]
    rebuild(user, server, cloud.image_id, **SINCE_2_93)
    cloud.settle(60)
    assert user.status(server) == "ACTIVE", user.server(server)
    assert volumes(user)[volume]["status"] == "in-use"
    end(cloud, user, server)


def test_a_refused_reimage_leaves_the_volume_attached(cloud: Cloud, user: User) -> None:
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    (volume,) = volume_ids(user, server)
    image = user.make_image("passing", b"gone soon" * 100)
    cloud.hosts["lab1"].stop()
    rebuild(user, server, image, **SINCE_2_93)
    user.ask("image", "DELETE", f"/v2/images/{image}", 204)
    cloud.hosts["lab1"].start()
    cloud.settle(60)
    shown = user.server(server)
    assert shown["status"] == "ERROR"
    assert "unable to access requested image" in shown["fault"]["message"]
    assert volumes(user)[volume]["status"] == "in-use"
    end(cloud, user, server)


def rescue(user: User, server: str, image: str | None, status: int, **headers: str) -> Any:
    path = f"/v2.1/servers/{server}/action"
    body = {"rescue": {"rescue_image_ref": image} if image else None}
    return user.ask("compute", "POST", path, status, json=body, headers=headers)


def test_a_server_on_a_volume_is_rescued_with_its_disks_at_their_places(
    cloud: Cloud, user: User
) -> None:
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True))
    (volume,) = volume_ids(user, server)
    driver = cloud.hosts["lab1"].driver
    before = driver.domain(server).disks
    last = user.make_image(
        "last", b"rescue" * 100, hw_rescue_device="disk", hw_rescue_bus="virtio"
    )  # fmt: skip
    since, until = ({"OpenStack-API-Version": f"compute 2.{n}"} for n in (87, 86))
    for image, headers in ((last, until), (None, since), (cloud.image_id, since)):
        refused = rescue(user, server, image, 400, **headers)["badRequest"]["message"]
        assert refused == (
            f"Instance {server} cannot be rescued: Cannot rescue a volume-backed instance"
        )
    rescue(user, server, last, 200, **since)
    cloud.settle(60)
    assert user.status(server) == "RESCUE", user.server(server)
    root, rescuer = driver.domain(server).disks[:2]
    assert isinstance(root, NbdDisk) and isinstance(rescuer, FileDisk)
    assert (root.target, root.boot_index, root.serial) == ("vda", None, volume)
    assert (rescuer.target, rescuer.boot_index) == ("vdb", 0)
    assert rescuer.path.endswith("disk.rescue")
    assert volume_ids(user, server) == [volume]
    user.act(server, unrescue=None)
    cloud.settle(60)
    assert user.status(server) == "ACTIVE", user.server(server)
    assert driver.domain(server).disks == before
    assert volumes(user)[volume]["status"] == "in-use"
    end(cloud, user, server)


def test_a_rescue_disk_on_another_bus(cloud: Cloud, user: User) -> None:
    blank = {"source_type": "blank", "destination_type": "volume", "volume_size": 1,
             "delete_on_termination": True}  # fmt: skip
    root = {"source_type": "image", "destination_type": "local", "uuid": cloud.image_id,
            "boot_index": 0}  # fmt: skip
    server = launch(cloud, user, root, blank, image=cloud.image_id)
    driver = cloud.hosts["lab1"].driver
    for properties, target, is_cdrom in (
        ({"hw_rescue_device": "cdrom"}, "sdb", True),
        ({"hw_rescue_bus": "sata"}, "sdb", False),
        ({"hw_rescue_bus": "virtio"}, "vdc", False),
    ):
        image = user.make_image("rescue", b"rescue" * 100, **properties)
        rescue(user, server, image, 200)
        cloud.settle(60)
        assert user.status(server) == "RESCUE", user.server(server)
        disks = [disk for disk in driver.domain(server).disks if disk.target != "sda"]
        assert [disk.boot_index for disk in disks] == [None, None, 0]
        assert (disks[-1].target, disks[-1].cdrom) == (target, is_cdrom)
        user.act(server, unrescue=None)
        cloud.settle(60)
    for properties in ({"hw_rescue_device": "floppy"}, {"hw_rescue_bus": "usb"}):
        image = user.make_image("rescue", b"rescue" * 100, **properties)
        rescue(user, server, image, 400)
    end(cloud, user, server)


def test_an_image_of_a_server_on_volumes_boots_the_next_one(cloud: Cloud, user: User) -> None:
    blank = {
        "source_type": "blank", "destination_type": "volume", "volume_size": 2, "boot_index": -1,
        "delete_on_termination": True,
    }  # fmt: skip
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True), blank)
    answer = user.act(server, createImage={"name": "shot", "metadata": {"why": "test"}})
    cloud.settle(60)
    assert user.status(server) == "ACTIVE"
    image = user.ask("image", "GET", f"/v2/images/{answer['image_id']}", 200)
    assert (image["status"], image["size"], image["why"]) == ("active", 0, "test")
    path = f"/v3/{user.project_id}/snapshots"
    query = {"name": "snapshot for shot"}
    snapshots = user.ask("volume", "GET", path, 200, params=query)["snapshots"]
    assert sorted(snapshot["size"] for snapshot in snapshots) == [1, 2]

    copy: str = user.launch(answer["image_id"])
    cloud.settle(60)
    assert user.status(copy) == "ACTIVE", user.server(copy)
    assert sorted(volumes(user)[v]["size"] for v in volume_ids(user, copy)) == [1, 2]
    end(cloud, user, copy)
    for snapshot in snapshots:  # a volume that has one would stay
        user.ask("volume", "DELETE", f"{path}/{snapshot['id']}", 202)
    assert wait_until(lambda: not user.ask("volume", "GET", path, 200, params=query)["snapshots"])
    end(cloud, user, server)


def test_an_image_that_the_quota_of_snapshots_forbids_leaves_nothing(
    cloud: Cloud, user: User
) -> None:
    blank = {
        "source_type": "blank", "destination_type": "volume", "volume_size": 1, "boot_index": -1,
        "delete_on_termination": True,
    }  # fmt: skip
    server = launch(cloud, user, from_image(cloud, delete_on_termination=True), blank)
    admin = cloud.user("admin")
    path = f"/v3/{admin.project_id}/os-quota-sets/{user.project_id}"
    before = user.ask("volume", "GET", f"/v3/{user.project_id}/snapshots", 200)["snapshots"]
    quota = {"snapshots": len(before) + 1}
    admin.ask("volume", "PUT", path, 200, json={"quota_set": quota})
    refused = user.act(server, 403, createImage={"name": "too-many"})["forbidden"]["message"]
    assert "snapshot" in refused.lower()
    admin.ask("volume", "PUT", path, 200, json={"quota_set": {"snapshots": -1}})
    assert user.status(server) == "ACTIVE"
    snapshots = user.ask("volume", "GET", f"/v3/{user.project_id}/snapshots", 200)["snapshots"]
    images = user.ask("image", "GET", "/v2/images", 200, params={"name": "too-many"})["images"]
    assert (snapshots, images) == (before, [])
    end(cloud, user, server)
