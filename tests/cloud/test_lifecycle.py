"""What is done to a server that runs: paused, suspended, rescued, rebuilt, copied, resized, moved.

Two hosts, so that a server can go from one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.db import hosts
from minicloud.domain.states import Power
from minicloud.virt.driver import FileDisk


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("lifecycle"), hosts=("lab1", "lab2")) as cloud:
        admin = cloud.user("admin")
        for number, ram in (("2", 1024), ("3", 16 * 1024 * 1024)):
            flavor = {"name": f"size{number}", "id": number, "vcpus": 2, "ram": ram, "disk": 2}
            admin.ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
        for number, ephemeral, swap in (("10", 1, 64), ("11", 2, 128), ("12", 2, 0), ("13", 0, 0)):
            flavor = {
                "name": f"local{number}", "id": number, "vcpus": int(number) - 9, "ram": 512,
                "disk": 1, "OS-FLV-EXT-DATA:ephemeral": ephemeral, "swap": swap,
            }  # fmt: skip
            admin.ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
        yield cloud


@pytest.fixture
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture
def admin(cloud: Cloud) -> User:
    return cloud.user("admin")


@pytest.fixture
def server_id(cloud: Cloud, user: User) -> Iterator[str]:
    """An ACTIVE server with a volume, gone without a trace after the test."""
    disk = {
        "boot_index": 0, "uuid": cloud.image_id, "source_type": "image",
        "destination_type": "local",
    }  # fmt: skip
    blank = {
        "boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 1,
        "delete_on_termination": True,
    }  # fmt: skip
    server_id = user.launch(cloud.image_id, block_device_mapping_v2=[disk, blank])
    assert wait_until(lambda: user.status(server_id) == "ACTIVE")
    yield server_id
    if user.status(server_id):
        user.delete(server_id)
    cloud.settle()
    assert not user.status(server_id)
    assert cloud.traces(server_id) == {}


def becomes(cloud: Cloud, user: User, server_id: str, status: str) -> dict[str, Any]:
    """The server, once it shows ``status`` and rests."""
    cloud.settle()
    server = user.server(server_id)
    assert (server["status"], server["OS-EXT-STS:task_state"]) == (status, None), (
        server.get("fault"),
        cloud.operations(server_id)[0],
    )
    return server


def domain(cloud: Cloud, server_id: str) -> dict[str, Power]:
    """Host -> power of each domain that the server has."""
    found = {}
    for name, host in cloud.hosts.items():
        info = host.driver.get(server_id)
        if info is not None:
            found[name] = info.power
    return found


def where(cloud: Cloud, server_id: str) -> str:
    host = cloud.server(server_id).host
    assert host is not None
    return host


def other(host: str) -> str:
    return "lab2" if host == "lab1" else "lab1"


def images(user: User, **query: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = user.ask("image", "GET", "/v2/images", 200, params=query)[
        "images"
    ]
    return listed


def memory_used(cloud: Cloud) -> int:
    """MiB claimed on all hosts."""
    with cloud.database.read() as tx:
        return sum(host.memory_mb_used for host in hosts.host_list(tx))


def moves(admin: User, server_id: str) -> list[tuple[str, str, str, str]]:
    """(type, status, from, to) of the server's moves, newest first."""
    path = "/v2.1/os-migrations"
    found = admin.ask("compute", "GET", path, 200, params={"instance_uuid": server_id})
    return [
        (m["migration_type"], m["status"], m["source_compute"], m["dest_compute"])
        for m in found["migrations"]
    ]


def moved_images(cloud: Cloud) -> list[str]:
    found = cloud.service_clients().own_image.images_by_properties().value
    return [image.name for image in found if (image.name or "").startswith("minicloud-move")]


def test_pause_and_unpause(cloud: Cloud, user: User, server_id: str) -> None:
    host = where(cloud, server_id)
    user.act(server_id, pause=None)
    assert becomes(cloud, user, server_id, "PAUSED")["OS-EXT-STS:power_state"] == 3
    assert domain(cloud, server_id) == {host: Power.PAUSED}
    refused = user.act(server_id, 409, pause=None)
    assert "while it is in vm_state paused" in refused["conflictingRequest"]["message"]
    user.act(server_id, unpause=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert domain(cloud, server_id) == {host: Power.RUNNING}


def test_suspend_and_resume(cloud: Cloud, user: User, server_id: str) -> None:
    host = where(cloud, server_id)
    user.act(server_id, suspend=None)
    becomes(cloud, user, server_id, "SUSPENDED")
    assert domain(cloud, server_id) == {host: Power.SHUTDOWN}
    cloud.turn()  # a report of a guest that is off is no news
    assert user.status(server_id) == "SUSPENDED"
    user.act(server_id, resume=None)
    becomes(cloud, user, server_id, "ACTIVE")
    log = cloud.hosts[host].storage.console_log(server_id).read_text()
    assert log.count("Booting") == 1


def test_rescue_boots_another_image_and_unrescue_the_own_disk(
    cloud: Cloud, user: User, server_id: str
) -> None:
    host = cloud.hosts[where(cloud, server_id)]
    answer = user.act(server_id, 200, rescue={"rescue_image_ref": cloud.image_id})
    assert answer["adminPass"]
    becomes(cloud, user, server_id, "RESCUE")
    assert host.storage.rescue_disk(server_id).exists()
    user.act(server_id, 409, reboot={"type": "HARD"})
    user.act(server_id, unrescue=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert not host.storage.rescue_disk(server_id).exists()
    bad = user.act(server_id, 400, rescue={"rescue_image_ref": server_id})
    assert "image" in bad["badRequest"]["message"]


def test_a_rescue_that_fails_leaves_no_disk_and_a_hard_reboot_mends_it(
    cloud: Cloud, user: User, server_id: str
) -> None:
    host = cloud.hosts[where(cloud, server_id)]
    host.driver.fail("ensure_running", reason="no memory for the guest")
    user.act(server_id, 200, rescue=None)
    cloud.settle()
    server = user.server(server_id)
    assert server["status"] == "ERROR"
    assert "no memory for the guest" in server["fault"]["message"]
    assert not host.storage.rescue_disk(server_id).exists()
    user.act(server_id, reboot={"type": "HARD"})
    becomes(cloud, user, server_id, "ACTIVE")


def test_rebuild_changes_the_image_and_keeps_ports_and_volumes(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    image_id = admin.make_image("second", b"another disk" * 1000)
    before = cloud.traces(server_id)
    body = {"imageRef": image_id, "name": "rebuilt", "metadata": {"a": "b"}}
    answer = user.act(server_id, rebuild=body)["server"]
    assert (answer["name"], answer["image"]["id"], answer["status"]) == (
        "rebuilt", image_id, "REBUILD",
    )  # fmt: skip
    assert answer["adminPass"]
    server = becomes(cloud, user, server_id, "ACTIVE")
    assert server["metadata"] == {"a": "b"}
    assert cloud.traces(server_id) == before
    user.act(server_id, os_stop=None)
    becomes(cloud, user, server_id, "SHUTOFF")
    user.act(server_id, rebuild={"imageRef": cloud.image_id})
    becomes(cloud, user, server_id, "SHUTOFF")


def test_an_image_of_a_server(cloud: Cloud, user: User, server_id: str) -> None:
    answer = user.act(server_id, createImage={"name": "shot", "metadata": {"why": "test"}})
    becomes(cloud, user, server_id, "ACTIVE")
    image = user.ask("image", "GET", f"/v2/images/{answer['image_id']}", 200)
    assert (image["status"], image["disk_format"], image["owner"]) == (
        "active", "qcow2", user.project_id,
    )  # fmt: skip
    assert (image["instance_uuid"], image["image_type"], image["why"]) == (
        server_id, "snapshot", "test",
    )  # fmt: skip
    host = cloud.hosts[where(cloud, server_id)]
    assert not host.storage.snapshot(server_id).exists()


def test_an_image_that_fails_is_not_left_queued(cloud: Cloud, user: User, server_id: str) -> None:
    host = cloud.hosts[where(cloud, server_id)]
    host.driver.fail("copy_running_disk", reason="no space is left")
    answer = user.act(server_id, createImage={"name": "shot"})
    becomes(cloud, user, server_id, "ACTIVE")
    gone = user.call("image", "GET", f"/v2/images/{answer['image_id']}")
    assert gone.status_code == 404
    assert "no space is left" in (cloud.operations(server_id)[0].message or "")


def test_an_image_that_the_image_service_refuses(cloud: Cloud, user: User, server_id: str) -> None:
    before = images(user)
    refused = user.act(server_id, 403, createImage={"name": "shot", "metadata": {"checksum": "x"}})
    assert "checksum" in refused["forbidden"]["message"]
    becomes(cloud, user, server_id, "ACTIVE")
    assert images(user) == before


def test_backups_rotate(cloud: Cloud, user: User, server_id: str) -> None:
    for number in range(3):
        body = {"name": f"daily{number}", "backup_type": "daily", "rotation": 2}
        user.act(server_id, createBackup=body)
        becomes(cloud, user, server_id, "ACTIVE")
    kept = images(user, backup_type="daily", instance_uuid=server_id)
    assert sorted(image["name"] for image in kept) == ["daily1", "daily2"]


def test_resize_confirmed(cloud: Cloud, user: User, server_id: str) -> None:
    user.act(server_id, resize={"flavorRef": "2"})
    server = becomes(cloud, user, server_id, "VERIFY_RESIZE")
    assert (server["flavor"]["original_name"], server["flavor"]["ram"]) == ("size2", 1024)
    host = where(cloud, server_id)
    assert domain(cloud, server_id)[host] is Power.RUNNING
    user.act(server_id, 409, os_stop=None)
    user.act(server_id, 204, confirmResize=None)
    becomes(cloud, user, server_id, "ACTIVE")
    cloud.settle()
    assert list(domain(cloud, server_id)) == [host]
    assert moved_images(cloud) == []
    assert memory_used(cloud) == 1024


def test_resize_reverted(cloud: Cloud, user: User, server_id: str) -> None:
    before = where(cloud, server_id)
    user.act(server_id, os_stop=None)
    becomes(cloud, user, server_id, "SHUTOFF")
    user.act(server_id, resize={"flavorRef": "2"})
    becomes(cloud, user, server_id, "VERIFY_RESIZE")
    user.act(server_id, revertResize=None)
    server = becomes(cloud, user, server_id, "SHUTOFF")
    assert server["flavor"]["original_name"] == "small"
    assert where(cloud, server_id) == before
    user.act(server_id, os_start=None)
    becomes(cloud, user, server_id, "ACTIVE")
    cloud.turn()
    assert list(domain(cloud, server_id)) == [before]
    assert memory_used(cloud) == 512


def local_disks(cloud: Cloud, server_id: str) -> list[tuple[str, str, int, int]]:
    """(name in the guest, file, GiB, MiB of swap space) of each, as the guest has them too."""
    found = [disk for disk in cloud.server(server_id).block_devices if not disk.is_volume]
    host = cloud.hosts[where(cloud, server_id)]
    files = {disk.target: Path(disk.path).name for disk in host.driver.domain(server_id).disks
             if isinstance(disk, FileDisk)}  # fmt: skip
    assert {name for name in files if name.startswith("vd")} == {
        "vda", *(disk.device for disk in found)
    }  # fmt: skip
    assert files["vda"] == "disk"
    return [(d.device, files[d.device], d.size_gb, d.swap_mb) for d in found]


def kept_files(cloud: Cloud, host: str, server_id: str) -> list[str]:
    directory = cloud.hosts[host].storage.server_dir(server_id)
    names = (path.name for path in directory.glob("*"))
    return sorted(name for name in names if name.startswith(("disk", "ephemeral")))


@pytest.fixture
def with_local_disks(cloud: Cloud, user: User) -> Iterator[str]:
    """An ACTIVE server on lab1 with an ephemeral disk of 1 GiB and 64 MiB of swap space."""
    cloud.enable_only("lab1")
    server_id = user.launch(cloud.image_id, flavorRef="10")
    becomes(cloud, user, server_id, "ACTIVE")
    yield server_id
    cloud.enable_only("lab1", "lab2")
    user.delete(server_id)
    cloud.settle()
    cloud.turn()
    assert cloud.traces(server_id) == {}


_BEFORE = [("vdb", "ephemeral1", 1, 0), ("vdc", "ephemeral2", 0, 64)]
_AFTER = {
    "11": [("vdb", "ephemeral1", 2, 0), ("vdc", "ephemeral3", 0, 128)],
    "12": [("vdb", "ephemeral1", 2, 0)],
}


@pytest.mark.parametrize("flavor", _AFTER)
@pytest.mark.parametrize("host", ["lab1", "lab2"])
@pytest.mark.parametrize("ends", ["confirmResize", "revertResize"])
def test_local_disks_are_resized(
    cloud: Cloud, user: User, with_local_disks: str, flavor: str, host: str, ends: str
) -> None:
    server_id = with_local_disks
    assert local_disks(cloud, server_id) == _BEFORE
    cloud.enable_only(host)
    user.act(server_id, resize={"flavorRef": flavor})
    becomes(cloud, user, server_id, "VERIFY_RESIZE")
    assert (where(cloud, server_id), local_disks(cloud, server_id)) == (host, _AFTER[flavor])
    assert cloud.hosts[host].driver.domain(server_id).vcpus == int(flavor) - 9
    assert moved_images(cloud) == []
    user.act(server_id, 204 if ends == "confirmResize" else 202, **{ends: None})
    becomes(cloud, user, server_id, "ACTIVE")
    cloud.turn()
    stays = host if ends == "confirmResize" else "lab1"
    disks = _AFTER[flavor] if ends == "confirmResize" else _BEFORE
    vcpus = int(flavor) - 9 if ends == "confirmResize" else 1
    assert (where(cloud, server_id), local_disks(cloud, server_id)) == (stays, disks)
    assert cloud.hosts[stays].driver.domain(server_id).vcpus == vcpus
    assert kept_files(cloud, stays, server_id) == ["disk", *(name for _, name, _, _ in disks)]
    left = "lab2" if stays == "lab1" else "lab1"
    assert server_id not in cloud.hosts[left].servers()


def test_a_resize_that_fails_leaves_local_disks_and_flavor(
    cloud: Cloud, user: User, with_local_disks: str
) -> None:
    server_id = with_local_disks
    cloud.hosts["lab1"].driver.fail("ensure_running", reason="no memory for the guest")
    user.act(server_id, resize={"flavorRef": "11"})
    becomes(cloud, user, server_id, "ACTIVE")
    assert "no memory for the guest" in (cloud.operations(server_id)[0].message or "")
    assert local_disks(cloud, server_id) == _BEFORE
    assert cloud.hosts["lab1"].driver.domain(server_id).vcpus == 1
    assert kept_files(cloud, "lab1", server_id) == ["disk", "ephemeral1", "ephemeral2"]
    refused = user.act(server_id, 400, resize={"flavorRef": "13"})["badRequest"]["message"]
    assert "the ephemeral disk of flavor local13 (0 GiB) is smaller" in refused


def test_local_disks_that_a_flavor_brings(cloud: Cloud, user: User, server_id: str) -> None:
    user.act(server_id, resize={"flavorRef": "11"})
    becomes(cloud, user, server_id, "VERIFY_RESIZE")
    added = [("vdc", "ephemeral2", 0, 128), ("vdd", "ephemeral3", 2, 0)]
    assert local_disks(cloud, server_id) == added
    volume = user.make_volume()
    path = f"/v2.1/servers/{server_id}/os-volume_attachments"
    body = {"volumeAttachment": {"volumeId": volume}}
    attached = user.ask("compute", "POST", path, 200, json=body)["volumeAttachment"]
    assert attached["device"] == "/dev/vde"
    user.act(server_id, revertResize=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert local_disks(cloud, server_id) == []
    assert kept_files(cloud, where(cloud, server_id), server_id) == ["disk"]
    assert len(cloud.traces(server_id)["attachments"]) == 2
    user.ask("compute", "DELETE", f"{path}/{volume}", 202)
    cloud.settle()
    user.ask("volume", "DELETE", f"/v3/{user.project_id}/volumes/{volume}", 202)


def test_a_resize_that_no_host_can_take_changes_nothing(
    cloud: Cloud, user: User, server_id: str
) -> None:
    user.ask(
        "compute", "POST", f"/v2.1/servers/{server_id}/action", 403,
        json={"resize": {"flavorRef": "3"}},
    )  # fmt: skip
    user.act(server_id, 400, resize={"flavorRef": "1"})
    user.act(server_id, 400, resize={"flavorRef": "nosuch"})
    assert user.status(server_id) == "ACTIVE"


@pytest.mark.parametrize("ends", ["confirmResize", "revertResize"])
def test_migrated_to_another_host(
    cloud: Cloud, user: User, admin: User, server_id: str, ends: str
) -> None:
    before = where(cloud, server_id)
    ports = cloud.traces(server_id)["ports"]
    path = f"/v2.1/servers/{server_id}/action"
    user.ask("compute", "POST", path, 403, json={"migrate": None})
    admin.ask("compute", "POST", path, 202, json={"migrate": None})
    becomes(cloud, user, server_id, "VERIFY_RESIZE")
    assert where(cloud, server_id) == other(before)
    assert domain(cloud, server_id) == {before: Power.SHUTDOWN, other(before): Power.RUNNING}
    cloud.turn()
    assert before in domain(cloud, server_id), "kept for a revert"
    assert moved_images(cloud) == []
    assert moves(admin, server_id) == [("migration", "finished", before, other(before))]
    user.act(server_id, 204 if ends == "confirmResize" else 202, **{ends: None})
    becomes(cloud, user, server_id, "ACTIVE")
    cloud.turn()
    stays = other(before) if ends == "confirmResize" else before
    end = "confirmed" if ends == "confirmResize" else "reverted"
    assert moves(admin, server_id) == [("migration", end, before, other(before))]
    assert domain(cloud, server_id) == {stays: Power.RUNNING}
    traces = cloud.traces(server_id)
    assert traces["ports"] == ports
    assert traces["attachments"] == ["attached"]
    assert f"wired on {stays}" in traces


def test_a_migration_that_fails_there_goes_back(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before = where(cloud, server_id)
    cloud.hosts[other(before)].driver.fail("ensure_running", reason="no memory for the guest")
    path = f"/v2.1/servers/{server_id}/action"
    admin.ask("compute", "POST", path, 202, json={"migrate": {"host": other(before)}})
    becomes(cloud, user, server_id, "ACTIVE")
    assert domain(cloud, server_id) == {before: Power.RUNNING}
    assert "no memory for the guest" in (cloud.operations(server_id)[0].message or "")
    assert moved_images(cloud) == []
    assert moves(admin, server_id) == [("migration", "error", before, other(before))]
    assert set(cloud.claims()) == {server_id}


def test_a_migration_that_takes_too_long_ends_in_error_and_a_reboot_mends_it(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before = where(cloud, server_id)
    there = cloud.hosts[other(before)]
    there.stop()
    path = f"/v2.1/servers/{server_id}/action"
    admin.ask("compute", "POST", path, 202, json={"migrate": {"host": there.name}})
    assert wait_until(lambda: cloud.operations(server_id)[0].host == there.name)
    cloud.expire(server_id)
    cloud.turn()
    server = user.server(server_id)
    assert server["status"] == "ERROR"
    assert "did not finish within" in server["fault"]["message"]
    there.start()
    user.act(server_id, reboot={"type": "HARD"})
    becomes(cloud, user, server_id, "ACTIVE")
    assert domain(cloud, server_id) == {before: Power.RUNNING}
    assert set(cloud.claims()) == {server_id}
    user.delete(server_id)
    cloud.settle()
    assert moved_images(cloud) == []


def test_shelved_and_unshelved(cloud: Cloud, user: User, server_id: str) -> None:
    ports = cloud.traces(server_id)["ports"]
    user.act(server_id, shelve=None)
    server = becomes(cloud, user, server_id, "SHELVED_OFFLOADED")
    assert server["OS-EXT-STS:power_state"] == 4 or server["OS-EXT-STS:power_state"] == 0
    assert cloud.traces_on_hosts(server_id) == {}
    assert server_id not in cloud.claims()
    (image,) = images(user, name="vm-shelved")
    assert image["status"] == "active"
    assert cloud.traces(server_id)["ports"] == ports
    user.act(server_id, 409, pause=None)
    user.act(server_id, unshelve=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert images(user, name="vm-shelved") == []
    assert cloud.traces(server_id)["attachments"] == ["attached"]
    assert cloud.traces(server_id)["ports"] == ports


def test_a_shelved_server_that_cannot_leave_its_host_comes_back_there(
    cloud: Cloud, user: User, server_id: str
) -> None:
    host = cloud.hosts[where(cloud, server_id)]
    host.driver.fail("ensure_absent", reason="libvirt is busy")
    user.act(server_id, shelve=None)
    becomes(cloud, user, server_id, "SHELVED")
    assert "libvirt is busy" in (cloud.operations(server_id)[0].message or "")
    user.act(server_id, unshelve=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert where(cloud, server_id) == host.name
    assert images(user, name="vm-shelved") == []


def test_a_shelved_server_is_deleted_with_all_it_has(
    cloud: Cloud, user: User, server_id: str
) -> None:
    user.act(server_id, shelve=None)
    becomes(cloud, user, server_id, "SHELVED_OFFLOADED")
    user.delete(server_id)
    cloud.settle()
    assert user.status(server_id) == ""
    assert cloud.traces(server_id) == {}
    assert images(user, name="vm-shelved") == []


def test_evacuated_from_a_dead_host(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    before = where(cloud, server_id)
    path = f"/v2.1/servers/{server_id}/action"
    body = {"evacuate": {"host": other(before)}}
    admin.ask("compute", "POST", path, 400, json=body)
    cloud.hosts[before].stop()
    cloud.silence(before)
    admin.ask("compute", "POST", path, 200, json=body)
    becomes(cloud, user, server_id, "ACTIVE")
    assert domain(cloud, server_id)[other(before)] is Power.RUNNING
    cloud.hosts[before].start()
    cloud.turn()
    cloud.settle()
    assert domain(cloud, server_id) == {other(before): Power.RUNNING}


def test_reset_state_ends_what_is_under_way(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    path = f"/v2.1/servers/{server_id}/action"
    user.ask("compute", "POST", path, 403, json={"os-resetState": {"state": "error"}})
    admin.ask("compute", "POST", path, 202, json={"os-resetState": {"state": "error"}})
    assert user.status(server_id) == "ERROR"
    admin.ask("compute", "POST", path, 202, json={"os-resetState": {"state": "active"}})
    assert user.status(server_id) == "ACTIVE"
    admin.ask("compute", "POST", path, 400, json={"os-resetState": {"state": "asleep"}})


def test_an_administrators_lock_is_not_for_its_owner_to_open(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    path = f"/v2.1/servers/{server_id}/action"
    admin.ask("compute", "POST", path, 202, json={"lock": None})
    user.act(server_id, 409, pause=None)
    user.ask("compute", "POST", path, 403, json={"unlock": None})
    admin.ask("compute", "POST", path, 202, json={"unlock": None})
    user.act(server_id, lock=None)
    user.act(server_id, unlock=None)
    user.act(server_id, 409, restore=None)
