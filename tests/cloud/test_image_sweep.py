"""Base images of hosts, through a whole cloud: what servers do keeps theirs."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from cloud import Cloud, running
from user import User

from minicloud.compute.image_sweep import ImageSweep
from minicloud.compute.storage import Storage

UNUSED_S = 3600.0


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("sweep"), hosts=("lab1", "lab2")) as cloud:
        flavor = {"name": "larger", "id": "2", "vcpus": 2, "ram": 1024, "disk": 2}
        cloud.user("admin").ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


def storage(cloud: Cloud) -> Storage:
    return cloud.hosts["lab1"].storage


def swept(cloud: Cloud) -> set[str]:
    """The images that are on lab1 after a sweep long after all that was done so far."""
    for base in storage(cloud).bases():
        os.utime(base, (0, 0))
    ImageSweep(cloud.hosts["lab1"].tools, unused_s=UNUSED_S).run()
    return {base.stem for base in storage(cloud).bases()}


def becomes(cloud: Cloud, user: User, server_id: str, status: str) -> None:
    cloud.settle()
    assert user.status(server_id) == status, user.server(server_id).get("fault")


def test_a_server_keeps_its_base_through_all_that_is_done_to_it(cloud: Cloud, user: User) -> None:
    cloud.enable_only("lab1")
    rescue = user.make_image("rescue", b"rescue" * 100)
    second = user.make_image("second", b"second" * 100)
    server_id = user.launch(cloud.image_id)
    becomes(cloud, user, server_id, "ACTIVE")
    user.act(server_id, 200, rescue={"rescue_image_ref": rescue})
    becomes(cloud, user, server_id, "RESCUE")
    assert swept(cloud) == {cloud.image_id, rescue}
    user.act(server_id, unrescue=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert swept(cloud) == {cloud.image_id}
    user.act(server_id, resize={"flavorRef": "2"})
    becomes(cloud, user, server_id, "VERIFY_RESIZE")
    assert swept(cloud) == {cloud.image_id}
    user.act(server_id, revertResize=None)
    becomes(cloud, user, server_id, "ACTIVE")
    assert swept(cloud) == {cloud.image_id}
    user.act(server_id, os_stop=None)
    becomes(cloud, user, server_id, "SHUTOFF")
    assert swept(cloud) == {cloud.image_id}
    user.act(server_id, rebuild={"imageRef": second})
    becomes(cloud, user, server_id, "SHUTOFF")
    assert swept(cloud) == {second}
    # Kept on this host until the move is confirmed.
    cloud.enable_only("lab2")
    path = f"/v2.1/servers/{server_id}/action"
    user.as_admin().ask("compute", "POST", path, 202, json={"migrate": None})
    becomes(cloud, user, server_id, "VERIFY_RESIZE")
    assert swept(cloud) == {second}
    user.act(server_id, 204, confirmResize=None)
    cloud.settle()
    cloud.turn()
    assert swept(cloud) == set()
    user.delete(server_id)
    cloud.settle()
    assert cloud.traces(server_id) == {}


def test_launches_beside_a_sweep_without_pause(cloud: Cloud, user: User) -> None:
    cloud.enable_only("lab1")
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            cloud.hosts["lab1"].tools.images.remove_unused(0.0)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(3):
            servers = [user.launch(cloud.image_id) for _ in range(4)]
            cloud.settle(60)
            for server_id in servers:
                assert user.status(server_id) == "ACTIVE", user.server(server_id)
            assert storage(cloud).base_image(cloud.image_id).exists()
            for server_id in servers:
                user.delete(server_id)
            cloud.settle(60)
    finally:
        over.set()
        sweeper.join()
    assert cloud.operations(servers[0])[0].state == "done"
    assert swept(cloud) == set()
