"""Volumes in a real Ceph cluster that servers' guests open for themselves, through a whole cloud:
who gets them so, and what becomes of them when servers change. The guests pretend.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from ceph_cluster import CephCluster, CephPool
from cloud import Cloud, running, wait_until
from user import User

from minicloud.cmd.volume import Settings, build
from minicloud.kit.db import Database
from minicloud.virt.driver import Disk, NbdDisk, RbdDisk
from minicloud.volume.backends.configured import Ceph

pytestmark = pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")


@pytest.fixture(scope="module")
def pool(ceph: CephCluster) -> CephPool:
    return ceph.new_pool()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, pool: CephPool) -> Iterator[Cloud]:
    settings = {
        "ceph": Ceph(pools={"ceph": pool.name}, conf=pool.conf, user=pool.user),
        "open_rbd": {"ceph": {"lab1", "lab2"}},
    }
    names = ("lab1", "lab2", "lab3")
    directory = tmp_path_factory.mktemp("ceph")
    with running(directory, hosts=names, place_wait_s=0.3, volumes=settings) as cloud:
        cloud.rest.volume_turn()
        cloud.enable_only("lab1")
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    user = cloud.user()
    admin = user.as_admin()
    for name, backend, more in (
        ("files", "files", {}),
        ("ceph", "ceph", {}),
        ("shared", "ceph", {"multiattach": "<is> True"}),
    ):
        specs = {"volume_backend_name": backend, **more}
        body = {"volume_type": {"name": name, "extra_specs": specs}}
        admin.ask("volume", "POST", f"/v3/{admin.project_id}/types", 200, json=body)
    return user


@pytest.fixture
def server(cloud: Cloud, user: User) -> str:
    return launch(cloud, user)


def launch(cloud: Cloud, user: User, **values: Any) -> str:
    server: str = user.launch("" if values else cloud.image_id, **values)
    cloud.settle(60)
    return server


def make(user: User, kind: str = "ceph") -> str:
    body = {"volume": {"size": 1, "volume_type": kind}}
    path = f"/v3/{user.project_id}/volumes"
    made = user.ask("volume", "POST", path, 202, json=body)["volume"]["id"]
    assert shown(user, made)["status"] == "available"
    return str(made)


def shown(user: User, volume: str) -> dict[str, Any]:
    path = f"/v3/{user.project_id}/volumes/{volume}"
    return dict(user.ask("volume", "GET", path, 200)["volume"])


def attach(cloud: Cloud, user: User, server: str, volume: str) -> None:
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    user.ask("compute", "POST", path, 200, json={"volumeAttachment": {"volumeId": volume}})
    cloud.settle()


def disk_of(cloud: Cloud, server: str, volume: str) -> Disk:
    host = cloud.server(server).host
    assert host is not None
    disks = cloud.hosts[host].driver.domain(server).disks
    (found,) = [disk for disk in disks if disk.serial == volume]
    return found


def is_opened(cloud: Cloud, server: str, volume: str) -> bool:
    return isinstance(disk_of(cloud, server, volume), RbdDisk) and not list(
        (cloud.rest.volume_dir / "qmp").glob(f"{volume}*")
    )


def act(cloud: Cloud, user: User, server: str, **action: Any) -> None:
    user.act(server, **action)
    cloud.settle(60)


def test_a_server_opens_its_volume_grows_it_and_lets_it_go(
    cloud: Cloud, user: User, server: str, pool: CephPool
) -> None:
    volume = make(user)
    attach(cloud, user, server, volume)
    host, _, port = pool.monitor.rpartition(":")
    assert disk_of(cloud, server, volume) == RbdDisk(
        image=f"{pool.name}/volume-{volume}",
        target="vdb",
        monitors=[(host, int(port))],
        user=pool.user,
        serial=volume,
    )
    assert is_opened(cloud, server, volume), "by no process of the volume service's"
    assert shown(user, volume)["status"] == "in-use"

    path = f"/v3/{user.project_id}/volumes/{volume}/action"
    newest = {"OpenStack-API-Version": "volume 3.71"}
    body = {"os-extend": {"new_size": 2}}
    user.ask("volume", "POST", path, 202, json=body, headers=newest)
    cloud.settle()
    assert (shown(user, volume)["status"], shown(user, volume)["size"]) == ("in-use", 2)
    assert cloud.operations(server)[0].verb == "extend_volume"
    kept = {"snapshot": {"volume_id": volume, "force": True}}
    path = f"/v3/{user.project_id}/snapshots"
    snapshot = user.ask("volume", "POST", path, 202, json=kept)["snapshot"]["id"]
    found = user.ask("volume", "GET", f"{path}/{snapshot}", 200)["snapshot"]
    assert found["status"] == "available"
    user.ask("volume", "DELETE", f"{path}/{snapshot}", 202)

    user.ask("compute", "DELETE", f"/v2.1/servers/{server}/os-volume_attachments/{volume}", 202)
    cloud.settle()
    assert shown(user, volume)["status"] == "available"
    user.ask("volume", "DELETE", f"/v3/{user.project_id}/volumes/{volume}", 202)


def test_nobody_is_told_the_key(cloud: Cloud, user: User, server: str, pool: CephPool) -> None:
    volume = make(user)
    attach(cloud, user, server, volume)
    service = cloud.service_clients().volume
    (found,) = service.attachments_of_server(server).value
    assert found.connection_info is not None
    assert found.connection_info["driver_volume_type"] == "rbd"
    told = json.dumps(found.connection_info["data"])
    assert pool.user in told and pool.key not in told


def test_a_server_on_a_volume_stops_starts_and_is_shelved(cloud: Cloud, user: User) -> None:
    root = {"source_type": "image", "destination_type": "volume", "uuid": cloud.image_id,
            "volume_size": 1, "boot_index": 0, "volume_type": "ceph",
            "delete_on_termination": True}  # fmt: skip
    server = launch(cloud, user, block_device_mapping_v2=[root])
    (attached,) = user.server(server)["os-extended-volumes:volumes_attached"]
    volume = attached["id"]
    assert is_opened(cloud, server, volume)
    assert disk_of(cloud, server, volume).boot_index == 0
    act(cloud, user, server, os_stop={})
    act(cloud, user, server, os_start={})
    assert is_opened(cloud, server, volume)
    act(cloud, user, server, rebuild={"imageRef": cloud.image_id, "name": "again"})
    assert is_opened(cloud, server, volume)
    newer = {"OpenStack-API-Version": "compute 2.87"}
    path = f"/v2.1/servers/{server}/action"
    image = user.make_image("r", b"rescue", hw_rescue_device="disk", hw_rescue_bus="virtio")
    rescue = {"rescue": {"rescue_image_ref": image}}
    user.ask("compute", "POST", path, 200, json=rescue, headers=newer)
    cloud.settle(60)
    assert is_opened(cloud, server, volume), "beside the rescue disk"
    assert disk_of(cloud, server, volume).boot_index is None
    act(cloud, user, server, unrescue=None)
    assert disk_of(cloud, server, volume).boot_index == 0
    act(cloud, user, server, shelve=None)
    assert shown(user, volume)["status"] == "reserved"
    act(cloud, user, server, unshelve=None)
    assert is_opened(cloud, server, volume)
    user.delete(server)
    cloud.settle()
    path = f"/v3/{user.project_id}/volumes/{volume}"
    user.ask("volume", "GET", path, 404)


def test_a_server_that_is_migrated_has_its_volume_where_it_is_then(
    cloud: Cloud, user: User, server: str
) -> None:
    volume = make(user)
    attach(cloud, user, server, volume)
    cloud.enable_only("lab2")
    try:
        act(cloud, user.as_admin(), server, migrate=None)
        assert cloud.server(server).host == "lab2"
        assert is_opened(cloud, server, volume)
        act(cloud, user, server, revertResize=None)
        assert cloud.server(server).host == "lab1"
        assert is_opened(cloud, server, volume)
        assert shown(user, volume)["status"] == "in-use"
    finally:
        cloud.enable_only("lab1")


def test_a_server_takes_its_volume_to_another_host(cloud: Cloud, user: User, server: str) -> None:
    volume = make(user)
    attach(cloud, user, server, volume)
    cloud.hosts["lab1"].stop()
    cloud.silence("lab1")
    try:
        cloud.enable_only("lab2", "lab3")
        evacuate(cloud, user, server, "lab2")
        assert is_opened(cloud, server, volume)
        cloud.hosts["lab1"].start()
        cloud.settle()
        cloud.hosts["lab2"].stop()
        cloud.silence("lab2")
        evacuate(cloud, user, server, "lab3")
        assert isinstance(disk_of(cloud, server, volume), NbdDisk), "that host has no key"
        assert shown(user, volume)["status"] == "in-use"
    finally:
        for name in ("lab1", "lab2"):
            if not cloud.hosts[name].is_up:
                cloud.hosts[name].start()
        cloud.settle()
        cloud.enable_only("lab1")


def evacuate(cloud: Cloud, user: User, server: str, to: str) -> None:
    path = f"/v2.1/servers/{server}/action"
    headers = {"OpenStack-API-Version": "compute 2.14"}
    body = {"evacuate": {"host": to}}
    user.as_admin().ask("compute", "POST", path, 200, json=body, headers=headers)
    assert wait_until(lambda: cloud.turn() or cloud.server(server).host == to, 60)
    cloud.settle()


def test_a_server_takes_its_volume_along_while_it_runs(
    cloud: Cloud, user: User, server: str
) -> None:
    volume = make(user)
    attach(cloud, user, server, volume)
    cloud.enable_only("lab1", "lab2", "lab3")
    try:
        move(cloud, user, server, "lab2")
        assert is_opened(cloud, server, volume)
        move(cloud, user, server, "lab3", ends_on="lab2")
        assert is_opened(cloud, server, volume), "that host could not share it"
        assert shown(user, volume)["status"] == "in-use"
    finally:
        cloud.enable_only("lab1")


def move(cloud: Cloud, user: User, server: str, to: str, ends_on: str = "") -> None:
    path = f"/v2.1/servers/{server}/action"
    headers = {"OpenStack-API-Version": "compute 2.90"}
    body = {"os-migrateLive": {"host": to, "block_migration": "auto"}}
    user.as_admin().ask("compute", "POST", path, 202, json=body, headers=headers)
    cloud.settle(60)
    assert cloud.server(server).host == (ends_on or to)
    assert user.server(server)["status"] == "ACTIVE"


def test_a_volume_in_use_comes_to_ceph_and_leaves_it(
    cloud: Cloud, user: User, server: str, pool: CephPool
) -> None:
    volume = user.make_volume()
    attach(cloud, user, server, volume)
    assert isinstance(disk_of(cloud, server, volume), NbdDisk)
    retype(cloud, user, volume, "ceph")
    assert is_opened(cloud, server, volume)
    moved = disk_of(cloud, server, volume)
    assert isinstance(moved, RbdDisk)
    assert moved.image.removeprefix(f"{pool.name}/") in pool.rbd("ls", pool.name)
    retype(cloud, user, volume, "files")
    assert isinstance(disk_of(cloud, server, volume), NbdDisk)
    assert moved.image.removeprefix(f"{pool.name}/") not in pool.rbd("ls", pool.name)


def retype(cloud: Cloud, user: User, volume: str, kind: str) -> None:
    path = f"/v3/{user.project_id}/volumes/{volume}/action"
    body = {"os-retype": {"new_type": kind, "migration_policy": "on-demand"}}
    user.ask("volume", "POST", path, 202, json=body)

    def moved() -> bool:
        cloud.rest.volume_turn()
        assert cloud.rest.volume_jobs.wait_idle(60)
        cloud.settle()
        found = shown(user, volume)
        return (found["status"], found["volume_type"]) == ("in-use", kind)

    assert wait_until(moved, 60), shown(user, volume)


def test_hosts_without_the_key_and_shared_volumes_use_exports(cloud: Cloud, user: User) -> None:
    cloud.enable_only("lab3")
    elsewhere = launch(cloud, user)
    cloud.enable_only("lab1")
    volume = make(user)
    attach(cloud, user, elsewhere, volume)
    assert isinstance(disk_of(cloud, elsewhere, volume), NbdDisk)
    shared = make(user, "shared")
    here = launch(cloud, user)
    attach(cloud, user, here, shared)
    assert isinstance(disk_of(cloud, here, shared), NbdDisk)


def test_an_image_is_one_servers(cloud: Cloud, user: User, server: str) -> None:
    volume = make(user)
    attach(cloud, user, server, volume)
    service = cloud.service_clients().volume
    with pytest.raises(Exception, match="status must be available"):
        service.attachment_create(volume, launch(cloud, user))
    second = service.attachment_create(volume, server).value
    with pytest.raises(Exception, match="is open on host lab1"):
        service.attachment_update(second.id, {"host": "lab3", "nbd_reconnect": True})
    moving = service.attachment_update(second.id, {"host": "lab2"}).value
    assert moving.connection_info is not None, "as when the server moves while it runs"
    assert moving.connection_info["driver_volume_type"] == "rbd"
    service.attachment_delete(second.id)
    assert shown(user, volume)["status"] == "in-use"


@pytest.mark.parametrize("chosen", [{"open_rbd": {"files": None}}, {"open_files": {"ceph": None}}])
def test_backends_of_the_other_kind_are_refused(
    tmp_path_factory: pytest.TempPathFactory, pool: CephPool, chosen: dict[str, Any]
) -> None:
    directory = tmp_path_factory.mktemp("refused")
    database = Database(f"sqlite:///{directory}/volume.sqlite")
    settings = Settings(
        host="lab1",
        data_dir=directory / "data",
        export_dir=directory / "e",
        quotas={},
        ceph=Ceph(pools={"ceph": pool.name}, conf=pool.conf, user=pool.user),
        **chosen,
    )
    with pytest.raises(ValueError, match=min(chosen)):
        build(settings, database, lambda *_: None)  # type: ignore[arg-type,return-value]  # unused
    database.close()
