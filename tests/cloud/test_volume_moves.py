"""Volumes that go to another backend while servers use them, through a whole cloud: what users and
administrators see, what is refused meanwhile, and what becomes of it when something goes wrong.
The guests pretend; volumes, exports and files are real.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.domain.ids import new_id
from minicloud.virt.driver import FileDisk, NbdDisk

pytestmark = pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")
FILES, FAST = "lab1@files#files", "lab1@fast#fast"
NEWEST = {"OpenStack-API-Version": "volume 3.71"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("moves")
    with running(
        directory,
        hosts=("lab1", "lab2"),
        place_wait_s=0.3,
        volumes={"open_files": {"files": {"lab1"}}},
    ) as cloud:
        cloud.enable_only("lab1")
        admin = cloud.user("admin")
        for name in ("files", "fast"):
            kind = {"name": name, "extra_specs": {"volume_backend_name": name}}
            path = f"/v3/{admin.project_id}/types"
            admin.ask("volume", "POST", path, 200, json={"volume_type": kind})
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture(scope="module")
def admin(user: User) -> User:
    return user.as_admin()


@pytest.fixture
def server(cloud: Cloud, user: User) -> Iterator[str]:
    server_id: str = user.launch(cloud.image_id)
    cloud.settle()
    yield server_id
    for host in cloud.hosts.values():
        if not host.is_up:
            host.start()
    if user.status(server_id):
        user.delete(server_id)
    cloud.settle()
    settle(cloud)
    assert cloud.traces(server_id) == {}


@pytest.fixture
def volume(cloud: Cloud, user: User, server: str) -> str:
    volume = user.make_volume()
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    user.ask("compute", "POST", path, 200, json={"volumeAttachment": {"volumeId": volume}})
    cloud.settle()
    return volume


def shown(user: User, volume: str) -> dict[str, Any]:
    path = f"/v3/{user.project_id}/volumes/{volume}"
    return dict(user.ask("volume", "GET", path, 200)["volume"])


def listed(user: User, **query: str) -> list[dict[str, Any]]:
    path = f"/v3/{user.project_id}/volumes/detail"
    found = user.call("volume", "GET", path, params=query).json()["volumes"]
    return list(found)


def act(user: User, volume: str, status: int = 202, **action: Any) -> Any:
    path = f"/v3/{user.project_id}/volumes/{volume}/action"
    body = {name.replace("_", "-", 1): value for name, value in action.items()}
    return user.ask("volume", "POST", path, status, json=body, headers=NEWEST)


def retype(user: User, volume: str, name: str, status: int = 202) -> None:
    wish = {"new_type": name, "migration_policy": "on-demand"}
    act(user, volume, status, os_retype=wish)


def settle(cloud: Cloud) -> None:
    """Until both services have done all that there is to do."""
    for _ in range(3):
        cloud.rest.volume_turn()
        assert cloud.rest.volume_jobs.wait_idle(60)
        cloud.settle()


def held_up(cloud: Cloud, volume: str) -> None:
    """Its host is away when the volume service asks for the disk to be moved."""
    assert cloud.rest.volume_jobs.wait_idle(60)
    assert ("swap_volume", "queued", None) in cloud.unfinished(), volume


def disk_of(cloud: Cloud, server: str, volume: str) -> FileDisk | NbdDisk:
    disks = cloud.hosts["lab1"].driver.domain(server).disks
    (found,) = [disk for disk in disks if disk.serial == volume]
    return found


def bytes_of(cloud: Cloud) -> dict[str, set[str]]:
    """Backend -> what it has."""
    return {
        name: {path.name for path in (cloud.directory / f"volume-{where}" / "volumes").iterdir()}
        for name, where in (("files", "data"), ("fast", "fast"))
    }


def actions(user: User, server: str) -> list[str]:
    path = f"/v2.1/servers/{server}/os-instance-actions"
    return [each["action"] for each in user.ask("compute", "GET", path, 200)["instanceActions"]]


def test_a_volume_in_use_becomes_another_type_and_back(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    assert isinstance(disk_of(cloud, server, volume), FileDisk)
    retype(user, volume, "fast")
    settle(cloud)
    now = shown(admin, volume)
    assert (now["status"], now["volume_type"], now["migration_status"]) == (
        "in-use", "fast", "success",
    )  # fmt: skip
    assert now["os-vol-host-attr:host"] == FAST
    name = now["os-vol-mig-status-attr:name_id"]
    assert "migration_status" not in shown(user, volume)
    disk = disk_of(cloud, server, volume)
    assert isinstance(disk, NbdDisk)
    assert disk.socket.endswith(f"{name}.sock")
    (attached,) = now["attachments"]
    assert (attached["server_id"], attached["device"]) == (server, "/dev/vdb")
    assert attached["attachment_id"] == disk.export
    path = f"/v2.1/servers/{server}/os-volume_attachments/{volume}"
    one = user.call(
        "compute", "GET", path, headers={"OpenStack-API-Version": "compute 2.89"}
    ).json()["volumeAttachment"]
    assert (one["attachment_id"], one["volumeId"]) == (disk.export, volume)
    found = bytes_of(cloud)
    assert name in found["fast"]
    assert not {name, volume} & found["files"]
    assert actions(user, server)[0] == "swap_volume"

    user.act(server, reboot={"type": "HARD"})
    cloud.settle()
    assert disk_of(cloud, server, volume) == disk
    act(user, volume, 202, os_extend={"new_size": 2})
    settle(cloud)
    assert shown(user, volume)["status"] == "in-use"

    retype(user, volume, "files")
    settle(cloud)
    now = shown(admin, volume)
    assert (now["status"], now["volume_type"], now["size"]) == ("in-use", "files", 2)
    last = now["os-vol-mig-status-attr:name_id"]
    found = bytes_of(cloud)
    assert last in found["files"]
    assert not {name, volume, last} & found["fast"]
    assert isinstance(disk_of(cloud, server, volume), FileDisk)

    user.ask("compute", "DELETE", path, 202)
    cloud.settle()
    assert shown(user, volume)["status"] == "available"
    act(admin, volume, 202, os_migrate_volume={"host": FAST, "lock_volume": True})
    settle(cloud)
    now = shown(admin, volume)
    assert (now["status"], now["migration_status"]) == ("available", "success")
    assert last in bytes_of(cloud)["fast"]
    user.ask("volume", "DELETE", f"/v3/{user.project_id}/volumes/{volume}", 202)
    settle(cloud)
    assert not {last, volume} & set().union(*bytes_of(cloud).values())


def test_what_is_seen_and_refused_on_the_way(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    limits = f"/v3/{user.project_id}/limits"
    before = user.ask("volume", "GET", limits, 200)
    cloud.hosts["lab1"].stop()
    retype(user, volume, "fast")
    held_up(cloud, volume)
    source = shown(admin, volume)
    assert (source["status"], source["migration_status"]) == ("retyping", "migrating")
    assert [each["id"] for each in listed(user)].count(volume) == 1
    word = f"target:{volume}"
    assert word not in [each.get("migration_status") for each in listed(user)]
    (target,) = listed(admin, all_tenants="1", migration_status=word)
    assert (target["status"], target["volume_type"], target["size"]) == ("available", "fast", 1)
    assert target["id"] not in [each["id"] for each in listed(user)]
    assert user.ask("volume", "GET", limits, 200) == before
    place = target["id"]

    retype(user, volume, "files", 400)
    act(admin, volume, 400, os_migrate_volume={"host": FILES})
    act(user, volume, 400, os_extend={"new_size": 3})
    act(user, volume, 202, os_begin_detaching={})
    assert shown(user, volume)["status"] == "retyping"
    for path, body in (
        ("snapshots", {"snapshot": {"volume_id": volume, "force": True}}),
        ("backups", {"backup": {"volume_id": volume, "force": True}}),
        ("volumes", {"volume": {"source_volid": volume, "size": 1}}),
    ):
        user.ask("volume", "POST", f"/v3/{user.project_id}/{path}", 400, json=body)
    for each in (volume, place):
        user.ask("volume", "DELETE", f"/v3/{user.project_id}/volumes/{each}", 400)
        act(admin, each, 400, os_force_delete={})
    act(user, volume, 403, os_migrate_volume_completion={"new_volume": place})
    act(admin, volume, 400, os_migrate_volume_completion={"new_volume": "x"})
    act(admin, volume, 404, os_migrate_volume_completion={"new_volume": new_id()})
    act(admin, place, 400, os_migrate_volume_completion={"new_volume": volume})
    other = user.make_volume()
    said = act(admin, volume, 400, os_migrate_volume_completion={"new_volume": other})
    assert said["badRequest"]["message"] == "Invalid volume: Destination volume not mid-migration."
    said = act(admin, other, 400, os_migrate_volume_completion={"new_volume": place})
    assert said["badRequest"]["message"] == "Invalid volume: Source volume not mid-migration."
    plain = user.make_volume()
    asked = {"new_volume": plain, "error": False}
    assert act(admin, other, 200, os_migrate_volume_completion=asked) == {"save_volume_id": plain}

    cloud.hosts["lab1"].start()
    settle(cloud)
    assert shown(user, volume)["status"] == "in-use"
    assert shown(admin, volume)["migration_status"] == "success"
    gone = user.call("volume", "GET", f"/v3/{user.project_id}/volumes/{place}")
    assert gone.status_code == 404
    assert listed(admin, all_tenants="1", migration_status=word) == []


def test_who_may_ask_for_the_swap_and_for_which_volumes(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    path = f"/v2.1/servers/{server}/os-volume_attachments/{volume}"
    other = user.make_volume()

    def swap(
        who: User, status: int, new: str, words: str, path: str = path, version: str = "2.1"
    ) -> None:
        answer = who.call(
            "compute", "PUT", path, json={"volumeAttachment": {"volumeId": new}},
            headers={"OpenStack-API-Version": f"compute {version}"},
        )  # fmt: skip
        assert answer.status_code == status, answer.text
        assert words in answer.text

    swap(user, 403, other, "swap")
    swap(admin, 409, other, f"volume {volume} is not migrating; this API should only be called by")
    swap(admin, 409, other, "is not migrating", version="2.85")
    swap(admin, 404, other, "could not be found", path=path.replace(server, new_id()))
    swap(admin, 404, other, "could not be found", path=path.replace(volume, new_id()))
    act(admin, volume, 202, os_reset_status={"migration_status": "migrating"})
    act(admin, volume, 400, os_reset_status={"migration_status": "flying"})
    swap(admin, 400, new_id(), "could not be found")
    swap(admin, 400, other, "is not the place to which volume")
    swap(admin, 400, volume, "New volume must be detached in order to swap.")
    act(admin, volume, 202, os_reset_status={"migration_status": "none"})
    assert shown(admin, volume)["migration_status"] is None

    cloud.hosts["lab1"].stop()
    act(admin, volume, 202, os_migrate_volume={"host": FAST})
    held_up(cloud, volume)
    assert shown(user, volume)["status"] == "in-use"
    (target,) = listed(admin, all_tenants="1", migration_status=f"target:{volume}")
    swap(admin, 202, target["id"], "")
    assert [each[0] for each in cloud.unfinished()] == ["swap_volume"]
    cloud.hosts["lab1"].start()
    settle(cloud)
    assert shown(admin, volume)["os-vol-host-attr:host"] == FAST
    swap(admin, 409, other, "is not migrating")


@pytest.mark.parametrize("how", ["stopped", "locked", "copy fails", "guest is cut off"])
def test_a_volume_stays_where_it_cannot_move(
    cloud: Cloud, user: User, admin: User, server: str, volume: str, how: str
) -> None:
    host = cloud.hosts["lab1"]
    disk = disk_of(cloud, server, volume)
    if how == "stopped":
        user.act(server, os_stop=None)
    elif how == "locked":
        user.act(server, lock=None)
    elif how == "copy fails":
        host.driver.fail("ensure_disk_moved", reason="its new place may be full")
    else:
        host.driver.crash_guest(server)
        host.stop()
    if how != "guest is cut off":
        cloud.settle()
    retype(user, volume, "fast")
    if how == "guest is cut off":
        held_up(cloud, volume)
        host.start()
    settle(cloud)
    now = shown(admin, volume)
    assert (now["status"], now["migration_status"]) == ("in-use", "error")
    assert (now["os-vol-host-attr:host"], now["os-vol-mig-status-attr:name_id"]) == (FILES, None)
    assert volume in bytes_of(cloud)["files"]
    assert listed(admin, all_tenants="1", migration_status=f"target:{volume}") == []
    if how in ("stopped", "locked"):
        path = f"/v3/{user.project_id}/messages"
        told = user.ask("volume", "GET", path, 200, headers=NEWEST)["messages"]
        assert volume in [each["resource_uuid"] for each in told]
    if how == "locked":
        user.act(server, unlock=None)
    if how in ("stopped", "guest is cut off"):
        user.act(server, reboot={"type": "HARD"})
    cloud.settle()
    assert disk_of(cloud, server, volume) == disk
    retype(user, volume, "fast")
    settle(cloud)
    assert shown(admin, volume)["os-vol-host-attr:host"] == FAST


def test_a_volume_with_snapshots_or_of_several_servers_does_not_move(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    body = {"snapshot": {"volume_id": volume, "force": True}}
    path = f"/v3/{user.project_id}/snapshots"
    kept = user.ask("volume", "POST", path, 202, json=body)["snapshot"]["id"]
    settle(cloud)
    retype(user, volume, "fast", 400)
    act(admin, volume, 400, os_migrate_volume={"host": FAST})
    act(user, volume, 400, os_retype={"new_type": "fast", "migration_policy": "never"})
    assert shown(user, volume)["status"] == "in-use"
    user.ask("volume", "DELETE", f"{path}/{kept}", 202)
    settle(cloud)


def test_a_volume_goes_with_its_server_on_the_way(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    path = f"/v2.1/servers/{server}/os-volume_attachments/{volume}"
    wish = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": True}}
    newest = {"OpenStack-API-Version": "compute 2.85"}
    user.ask("compute", "PUT", path, 202, json=wish, headers=newest)
    cloud.hosts["lab1"].stop()
    retype(user, volume, "fast")
    held_up(cloud, volume)
    user.delete(server)
    cloud.hosts["lab1"].start()
    gone = f"/v3/{user.project_id}/volumes/{volume}"

    def is_gone() -> bool:
        cloud.turn()
        cloud.rest.volume_turn()
        return user.call("volume", "GET", gone).status_code == 404

    assert wait_until(is_gone, 60)
    settle(cloud)
    assert user.status(server) == ""
    assert volume not in set().union(*bytes_of(cloud).values())


def test_a_move_that_took_too_long_is_undone_when_its_host_is_back(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    """It had told that the guest goes over, and died before that."""
    host = cloud.hosts["lab1"]
    disk = disk_of(cloud, server, volume)
    host.stop()
    retype(user, volume, "fast")
    held_up(cloud, volume)
    (target,) = listed(admin, all_tenants="1", migration_status=f"target:{volume}")
    client = cloud.service_clients().volume
    claim = client.attachment_create(target["id"], server, {"host": "lab1"}).value
    client.attachment_complete(claim.id)
    assert shown(admin, volume)["migration_status"] == "completing"
    cloud.expire(server)
    cloud.reconciler.run()
    assert [each[:2] for each in cloud.unfinished()] == [("swap_volume", "stuck")]
    assert user.status(server) == "ACTIVE"
    host.start()
    settle(cloud)
    now = shown(admin, volume)
    assert (now["migration_status"], now["os-vol-host-attr:host"]) == ("error", FILES)
    assert disk_of(cloud, server, volume) == disk
    assert [each["attachment_id"] for each in now["attachments"]] != [claim.id]


def test_the_last_server_goes_while_its_guest_goes_over(
    cloud: Cloud, user: User, admin: User, server: str, volume: str
) -> None:
    """What it wrote last is in the new place."""
    cloud.hosts["lab1"].stop()
    retype(user, volume, "fast")
    held_up(cloud, volume)
    (target,) = listed(admin, all_tenants="1", migration_status=f"target:{volume}")
    client = cloud.service_clients().volume
    claim = client.attachment_create(target["id"], server, {"host": "lab1"}).value
    client.attachment_complete(claim.id)
    user.delete(server)
    cloud.hosts["lab1"].start()
    settle(cloud)
    now = shown(admin, volume)
    assert (now["status"], now["migration_status"]) == ("available", "success")
    assert now["os-vol-host-attr:host"] == FAST
    assert now["os-vol-mig-status-attr:name_id"] == target["id"]
