"""Volumes that servers have as files, through a whole cloud: who gets them so, and how a guest goes
on in another file. The guests pretend; the files are real.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.cmd.volume import hosts_of
from minicloud.domain.ids import new_id
from minicloud.virt.driver import FileDisk, NbdDisk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")
SNAPSHOTS = "/v2.1/os-assisted-volume-snapshots"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    sharing = {"open_files": {"files": {"lab1", "lab2"}}}
    names = ("lab1", "lab2", "lab3")
    directory = tmp_path_factory.mktemp("files")
    with running(directory, hosts=names, place_wait_s=0.3, volumes=sharing) as cloud:
        cloud.enable_only("lab1")
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture
def server(cloud: Cloud, user: User) -> str:
    return launch(cloud, user)


def launch(cloud: Cloud, user: User) -> str:
    server: str = user.launch(cloud.image_id)
    cloud.settle()
    return server


def attach(cloud: Cloud, user: User, server: str, volume: str) -> None:
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    user.ask("compute", "POST", path, 200, json={"volumeAttachment": {"volumeId": volume}})
    cloud.settle()


def disk_of(cloud: Cloud, server: str, volume: str) -> FileDisk | NbdDisk:
    host = cloud.server(server).host
    assert host is not None
    disks = cloud.hosts[host].driver.domain(server).disks
    (found,) = [disk for disk in disks if disk.serial == volume]
    return found


def link(cloud: Cloud, volume: str) -> str:
    return str((cloud.directory / "volume-data" / "volumes" / volume).resolve())


def path_of(cloud: Cloud, server: str, volume: str) -> str:
    found = disk_of(cloud, server, volume)
    assert isinstance(found, FileDisk)
    return found.path


def keep(user: User, volume: str) -> str:
    body = {"snapshot": {"volume_id": volume, "force": True}}
    path = f"/v3/{user.project_id}/snapshots"
    return str(user.ask("volume", "POST", path, 202, json=body)["snapshot"]["id"])


def shown(user: User, kind: str, thing: str) -> dict[str, Any]:
    path = f"/v3/{user.project_id}/{kind}s/{thing}"
    return dict(user.ask("volume", "GET", path, 200)[kind])


def test_a_server_has_the_file_and_goes_on_in_the_next(
    cloud: Cloud, user: User, server: str
) -> None:
    volume = user.make_volume()
    attach(cloud, user, server, volume)
    disk = disk_of(cloud, server, volume)
    assert isinstance(disk, FileDisk)
    assert (disk.path, disk.format, disk.foreign) == (link(cloud, volume), "raw", True)
    assert list((cloud.rest.volume_dir / "qmp").iterdir()) == []
    kept = keep(user, volume)
    assert shown(user, "snapshot", kept)["status"] == "available"
    assert path_of(cloud, server, volume) == link(cloud, volume) != disk.path
    assert user.server(server)["OS-EXT-STS:task_state"] is None

    user.act(server, os_stop={})
    cloud.settle()
    assert shown(user, "snapshot", keep(user, volume))["status"] == "available"
    user.act(server, os_start={})
    cloud.settle()
    assert path_of(cloud, server, volume) == link(cloud, volume)

    user.ask("compute", "DELETE", f"/v2.1/servers/{server}/os-volume_attachments/{volume}", 202)
    cloud.settle()
    assert shown(user, "volume", volume)["status"] == "available"


def test_a_snapshot_waits_for_a_guest_that_is_busy_or_away(
    cloud: Cloud, user: User, server: str
) -> None:
    volume = user.make_volume()
    attach(cloud, user, server, volume)
    host = cloud.hosts["lab1"]
    with host.manager._turn(server) as turn, turn.guest:
        kept = keep(user, volume)
    before = path_of(cloud, server, volume)
    assert shown(user, "snapshot", kept)["status"] == "creating"
    assert before != link(cloud, volume)
    cloud.rest.volume_turn()
    assert shown(user, "snapshot", kept)["status"] == "available"
    assert path_of(cloud, server, volume) == link(cloud, volume)

    host.driver.fail("move_disk", after=True, reason="the answer is lost")
    kept = keep(user, volume)
    assert shown(user, "snapshot", kept)["status"] == "creating"
    path = f"/v3/{user.project_id}/volumes"
    body = {"volume": {"size": 1, "source_volid": volume}}
    host.driver.fail("move_disk", reason="not now")
    clone = user.ask("volume", "POST", path, 202, json=body)["volume"]["id"]
    cloud.rest.volume_turn()
    assert shown(user, "snapshot", kept)["status"] == "available"
    assert shown(user, "volume", clone)["status"] == "available"
    assert path_of(cloud, server, volume) == link(cloud, volume)


@pytest.mark.parametrize("stopped", [False, True])
def test_an_image_of_a_server_waits_for_snapshots_that_its_guest_makes_possible(
    cloud: Cloud, user: User, stopped: bool
) -> None:
    root = {"source_type": "image", "destination_type": "volume", "uuid": cloud.image_id,
            "volume_size": 1, "boot_index": 0, "delete_on_termination": True}  # fmt: skip
    server: str = user.launch("", block_device_mapping_v2=[root])
    cloud.settle(60)
    (shown_volume,) = user.server(server)["os-extended-volumes:volumes_attached"]
    volume = shown_volume["id"]
    if stopped:
        user.act(server, os_stop={})
        cloud.settle()
    else:
        assert path_of(cloud, server, volume) == link(cloud, volume)
    before = link(cloud, volume)
    user.act(server, createImage={"name": "image"})

    def done() -> bool:
        cloud.turn()
        cloud.rest.volume_turn()
        return cloud.is_idle()

    assert wait_until(done, 60), cloud.unfinished()
    assert cloud.operations(server)[0].state == "done", cloud.operations(server)[0]
    assert link(cloud, volume) != before
    if not stopped:
        assert path_of(cloud, server, volume) == link(cloud, volume)


def test_hosts_without_the_directory_and_shared_volumes_use_exports(
    cloud: Cloud, user: User
) -> None:
    cloud.enable_only("lab3")
    elsewhere = launch(cloud, user)
    cloud.enable_only("lab1")
    volume = user.make_volume()
    attach(cloud, user, elsewhere, volume)
    assert isinstance(disk_of(cloud, elsewhere, volume), NbdDisk)
    user.delete(elsewhere)
    cloud.settle()

    admin = user.as_admin()
    project = admin.project_id
    made = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    admin.ask("volume", "POST", f"/v3/{project}/types", 200, json=made)
    body = {"volume": {"size": 1, "volume_type": "shared"}}
    path = f"/v3/{user.project_id}/volumes"
    shared = user.ask("volume", "POST", path, 202, json=body)["volume"]["id"]
    here = launch(cloud, user)
    attach(cloud, user, here, shared)
    assert isinstance(disk_of(cloud, here, shared), NbdDisk)


def test_a_file_has_one_opener(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    attach(cloud, user, server, volume)
    service = cloud.service_clients().volume
    connector = {"host": "lab3", "nbd_reconnect": True}
    second = service.attachment_create(volume, server).value
    with pytest.raises(Exception, match="is open on host lab1"):
        service.attachment_update(second.id, connector)
    service.attachment_delete(second.id)
    assert shown(user, "volume", volume)["status"] == "in-use"


def test_a_server_takes_its_file_to_another_host(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    attach(cloud, user, server, volume)
    keep(user, volume)
    cloud.hosts["lab1"].stop()
    cloud.silence("lab1")
    try:
        cloud.enable_only("lab2")
        body = {"evacuate": {"host": "lab2"}}
        path = f"/v2.1/servers/{server}/action"
        headers = {"OpenStack-API-Version": "compute 2.14"}
        user.as_admin().ask("compute", "POST", path, 200, json=body, headers=headers)
        assert wait_until(lambda: cloud.turn() or cloud.server(server).host == "lab2", 60)
        cloud.settle()
        assert path_of(cloud, server, volume) == link(cloud, volume)
        assert shown(user, "snapshot", keep(user, volume))["status"] == "available"
        assert path_of(cloud, server, volume) == link(cloud, volume)
    finally:
        cloud.hosts["lab1"].start()
        cloud.settle()
        cloud.enable_only("lab1")


def test_who_may_ask_a_guest_and_for_what(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    attach(cloud, user, server, volume)
    admin = user.as_admin()
    info = {"snapshot_id": new_id(), "type": "qcow2", "new_file": "next.qcow2", "id": "mine"}
    body = {"snapshot": {"volume_id": volume, "create_info": info}}
    user.ask("compute", "POST", SNAPSHOTS, 403, json=body)
    assert admin.ask("compute", "POST", SNAPSHOTS, 200, json=body) == {
        "snapshot": {"id": "mine", "volumeId": volume}
    }
    assert Path(path_of(cloud, server, volume)).name == "next.qcow2"
    for wrong in (
        {"new_file": "../../etc/passwd"},
        {"new_file": ".."},
        {"new_file": ""},
        {"type": "raw"},
        {"more": 1},
    ):
        bad = {"snapshot": {"volume_id": volume, "create_info": {**info, **wrong}}}
        admin.ask("compute", "POST", SNAPSHOTS, 400, json=bad)
    nobodys = {"snapshot": {"volume_id": new_id(), "create_info": info}}
    refused = admin.ask("compute", "POST", SNAPSHOTS, 400, json=nobodys)
    assert "No volume Block Device Mapping" in refused["badRequest"]["message"]
    nobodys["snapshot"]["volume_id"] = "%"
    admin.ask("compute", "POST", SNAPSHOTS, 400, json=nobodys)


def test_how_hosts_are_named() -> None:
    assert hosts_of({}) == {}
    assert hosts_of({"files": "all", "fast": "a + b"}) == {"files": None, "fast": {"a", "b"}}
    with pytest.raises(ValueError, match="HOST"):
        hosts_of({"files": "a++b"})
