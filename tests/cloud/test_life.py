"""What becomes of a server after its launch: stopped, started, deleted at a bad moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.compute.recipes import RECIPES, Job
from minicloud.domain.states import Power
from minicloud.kit.operations import Recipe


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("life")) as cloud:
        yield cloud


@pytest.fixture
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture
def server_id(cloud: Cloud, user: User) -> Iterator[str]:
    """An ACTIVE server, gone without a trace after the test."""
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: user.status(server_id) == "ACTIVE")
    yield server_id
    answer = user.call("compute", "DELETE", f"/v2.1/servers/{server_id}")
    assert answer.status_code in (204, 404)  # the test may have deleted it itself
    cloud.settle()
    assert not user.status(server_id)
    assert cloud.traces(server_id) == {}


def becomes(user: User, server_id: str, status: str) -> bool:
    def arrived() -> bool:
        server = user.server(server_id)
        return server["status"] == status and server["OS-EXT-STS:task_state"] is None

    return wait_until(arrived)


def power(cloud: Cloud, server_id: str) -> Power | None:
    domain = cloud.hosts["lab1"].driver.get(server_id)
    return None if domain is None else domain.power


def test_stop_start_reboot(cloud: Cloud, user: User, server_id: str) -> None:
    user.act(server_id, os_stop=None)
    assert becomes(user, server_id, "SHUTOFF")
    assert power(cloud, server_id) is Power.SHUTDOWN
    user.act(server_id, 409, os_stop=None)
    user.act(server_id, os_start=None)
    assert becomes(user, server_id, "ACTIVE")
    assert power(cloud, server_id) is Power.RUNNING
    for kind in ("SOFT", "HARD"):
        user.act(server_id, reboot={"type": kind})
        assert becomes(user, server_id, "ACTIVE")
        assert power(cloud, server_id) is Power.RUNNING
    log = cloud.hosts["lab1"].storage.console_log(server_id).read_text()
    assert log.count("Booting") == 4
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    done = user.ask("compute", "GET", path, 200)["instanceActions"]
    assert [each["action"] for each in done] == ["reboot", "reboot", "start", "stop", "create"]


def test_a_guest_that_goes_off_by_itself_is_seen(cloud: Cloud, user: User, server_id: str) -> None:
    cloud.hosts["lab1"].driver.crash_guest(server_id)

    def seen() -> bool:
        cloud.turn()
        return user.status(server_id) == "SHUTOFF"

    assert wait_until(seen)
    user.act(server_id, os_start=None)
    assert becomes(user, server_id, "ACTIVE")


def test_a_report_from_before_does_not_undo_a_stop(
    cloud: Cloud, user: User, server_id: str
) -> None:
    cloud.transport.delay("host_report", 0.2)
    report = threading.Thread(target=cloud.hosts["lab1"].reporter.run)
    report.start()
    user.act(server_id, os_stop=None)
    assert becomes(user, server_id, "SHUTOFF")
    report.join()
    cloud.transport.delay("host_report", 0)
    assert user.status(server_id) == "SHUTOFF"


def test_a_vanished_tap_comes_back(cloud: Cloud, user: User, server_id: str) -> None:
    host = cloud.hosts["lab1"]
    (port_id,) = cloud.traces(server_id)["ports"]
    before = host.network.taps()
    host.network.lose_tap(port_id)
    cloud.turn()
    assert host.network.taps() == before


def test_a_failed_start_leaves_the_server_as_it_was(
    cloud: Cloud, user: User, server_id: str
) -> None:
    user.act(server_id, os_stop=None)
    assert becomes(user, server_id, "SHUTOFF")
    cloud.hosts["lab1"].driver.fail("ensure_running", reason="no memory for the guest")
    user.act(server_id, os_start=None)
    assert becomes(user, server_id, "SHUTOFF")
    newest = cloud.operations(server_id)[0]
    assert (newest.verb, newest.state) == ("start", "failed")
    assert newest.message is not None
    assert "no memory for the guest" in newest.message


def test_a_locked_server_is_not_deleted(cloud: Cloud, user: User, server_id: str) -> None:
    user.act(server_id, lock=None)
    user.delete(server_id, 409)
    user.act(server_id, unlock=None)


def test_delete_while_launching(cloud: Cloud, user: User) -> None:
    """The launch hangs at the volume service; the delete does not wait for it."""
    volume = cloud.rest.services["volume"]
    volume.stop()
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: "wired on lab1" in cloud.traces_on_hosts(server_id))
    user.delete(server_id)
    volume.start()
    cloud.settle()
    assert not user.status(server_id)
    assert cloud.traces(server_id) == {}
    states = {each.verb: each.state for each in cloud.operations(server_id)}
    assert states == {"create": "cancelled", "delete": "done"}


def test_delete_before_a_host_is_found(cloud: Cloud, user: User) -> None:
    cloud.transport.drop("place")
    cloud.transport.call_timeout_s, normal = 0.2, cloud.transport.call_timeout_s
    server_id = user.launch(cloud.image_id)
    cloud.transport.call_timeout_s = normal
    user.delete(server_id)
    assert not user.status(server_id)
    cloud.settle()
    assert cloud.traces(server_id) == {}


def test_delete_twice_at_once(cloud: Cloud, user: User, server_id: str) -> None:
    gate = threading.Barrier(4)
    answers = []

    def delete() -> None:
        gate.wait()
        answers.append(user.call("compute", "DELETE", f"/v2.1/servers/{server_id}").status_code)

    threads = [threading.Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {204, 404}
    assert 204 in answers


def test_a_server_deleted_while_its_host_is_down_is_reaped(tmp_path: Path) -> None:
    with running(tmp_path) as cloud:
        user, host = cloud.user(), cloud.hosts["lab1"]
        server_id = user.launch(cloud.image_id)
        assert wait_until(lambda: user.status(server_id) == "ACTIVE")
        host.stop()
        user.delete(server_id)
        assert user.status(server_id) == "ACTIVE"
        cloud.silence("lab1")
        cloud.turn()
        assert not user.status(server_id)
        assert "claim" not in cloud.traces(server_id)
        assert server_id in host.servers()
        host.start()
        cloud.settle()
        assert cloud.traces(server_id) == {}
        assert host.network.taps() == frozenset()


@pytest.mark.parametrize("step", ["record", "copy"])
def test_a_server_deleted_in_the_middle_of_its_image_while_no_host_is_up(
    tmp_path: Path, step: str
) -> None:
    """Nothing is left of the image when the host is back; whole ones stay."""

    def die(_job: Job) -> None:
        raise SystemExit

    whole = RECIPES["createImage"]
    steps = [s._replace(do=die) if s.name == step else s for s in whole.steps]
    with running(tmp_path) as cloud:
        user, host = cloud.user(), cloud.hosts["lab1"]
        server_id = user.launch(cloud.image_id)
        assert wait_until(lambda: user.status(server_id) == "ACTIVE")
        kept = user.act(server_id, createImage={"name": "kept"})["image_id"]
        cloud.settle()
        host.stop()
        host.recipes = {**RECIPES, "createImage": Recipe("createImage", steps)}
        host.start()
        action = {"createImage": {"name": "shot"}}
        path = f"/v2.1/servers/{server_id}/action"
        asked = threading.Thread(target=user.call, args=("compute", "POST", path),
                                 kwargs={"json": action}, daemon=True)  # fmt: skip
        asked.start()
        assert wait_until(lambda: cloud.operations(server_id)[0].verb == "createImage")
        assert wait_until(lambda: not host.manager.busy_servers())
        host.stop()
        host.recipes = RECIPES
        user.delete(server_id)
        cloud.silence("lab1")
        cloud.turn()
        assert not user.status(server_id)
        host.start()
        cloud.settle()
        assert cloud.traces(server_id) == {}
        images = user.ask("image", "GET", "/v2/images", 200)["images"]
        assert [i["id"] for i in images if i.get("instance_uuid") == server_id] == [kept]


def test_a_launch_cut_off_at_its_port_is_reaped_when_the_host_is_back(tmp_path: Path) -> None:
    """The host died before it had any disk of the server, which is deleted meanwhile."""
    with running(tmp_path) as cloud:
        user, host = cloud.user(), cloud.hosts["lab1"]
        cloud.rest.services["volume"].stop()
        server_id = user.launch(cloud.image_id)
        assert wait_until(lambda: "wired on lab1" in cloud.traces_on_hosts(server_id))
        host.stop()
        cloud.rest.services["volume"].start()
        assert host.driver.get(server_id) is None
        user.delete(server_id)
        cloud.silence("lab1")
        cloud.turn()
        assert not user.status(server_id)
        assert cloud.traces(server_id)["ports"]
        host.start()
        cloud.settle()
        assert cloud.traces(server_id) == {}
