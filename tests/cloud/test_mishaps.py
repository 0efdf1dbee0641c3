"""What goes wrong in a cloud, and that a launch gets through it or ends with a reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.domain.steps import STEPS
from minicloud.kit.context import Context


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("mishaps"), call_timeout_s=1.0, place_wait_s=0.3) as cloud:
        yield cloud


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud with two hosts."""
    with running(tmp_path, hosts=("lab1", "lab2")) as cloud:
        yield cloud


@pytest.fixture
def user(cloud: Cloud) -> User:
    return cloud.user()


def check_whole(cloud: Cloud, user: User, server_id: str) -> None:
    """ACTIVE, with one of everything and every step recorded; then gone without a trace."""
    assert user.status(server_id) == "ACTIVE", user.server(server_id)
    assert len(cloud.traces(server_id)["ports"]) == 1
    having = [host for host in cloud.hosts.values() if server_id in host.servers()]
    assert [host.name for host in having] == [cloud.claims()[server_id]]
    # The API notes its call to the scheduler when that is answered or given up.
    assert wait_until(lambda: missing_steps(user, server_id) == [], 15.0), missing_steps(
        user, server_id
    )
    end(cloud, user, server_id)


def missing_steps(user: User, server_id: str) -> list[str]:
    return [step["name"] for step in user.trace(server_id) if step["start"] is None]


def end(cloud: Cloud, user: User, server_id: str) -> None:
    user.delete(server_id)
    cloud.settle()
    assert not user.status(server_id)
    assert cloud.traces(server_id) == {}
    for host in cloud.hosts.values():
        assert len(host.network.taps()) == len(host.network.ports())


# -- messages --------------------------------------------------------------------------------------
def test_a_lost_cast_is_found_by_the_host(cloud: Cloud, user: User) -> None:
    cloud.transport.drop("operation_run")
    server_id = user.launch(cloud.image_id)
    assert user.status(server_id) == "BUILD"
    cloud.settle()
    check_whole(cloud, user, server_id)


def test_a_lost_call_is_made_by_the_conductor(cloud: Cloud, user: User) -> None:
    cloud.transport.drop("place")
    server_id = user.launch(cloud.image_id)
    assert user.status(server_id) == "BUILD"
    cloud.settle()
    check_whole(cloud, user, server_id)


def test_every_message_twice(cloud: Cloud, user: User) -> None:
    for method in ("place", "operation_run", "operation_take", "operation_finish"):
        cloud.transport.duplicate(method)
    server_id = user.launch(cloud.image_id)
    cloud.settle()
    check_whole(cloud, user, server_id)


def test_an_old_message_does_not_stop_the_newer_operation(cloud: Cloud, user: User) -> None:
    server_id = user.launch(cloud.image_id)
    cloud.settle()
    (create,) = cloud.operations(server_id)
    cloud.rest.services["volume"].stop()
    user.delete(server_id)
    busy = cloud.hosts["lab1"].manager.busy_servers
    assert wait_until(lambda: server_id in busy())
    host = cloud.compute_client("lab1")
    host.operation_run(Context(), operation_id=create.id, server_id=server_id)
    cloud.rest.services["volume"].start()
    assert wait_until(lambda: not user.status(server_id), 3.0)  # without any pass
    assert cloud.traces(server_id) == {}


def test_a_lost_end_is_told_again(cloud: Cloud, user: User) -> None:
    cloud.transport.drop("operation_finish")
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: user.status(server_id) == "ACTIVE")
    check_whole(cloud, user, server_id)


def test_lost_stops_are_found(cloud: Cloud, user: User) -> None:
    server_id = user.launch(cloud.image_id)
    cloud.settle()
    cloud.transport.drop("operation_run")
    user.act(server_id, os_stop=None)
    cloud.settle()
    assert user.status(server_id) == "SHUTOFF"
    cloud.transport.drop("operation_run")
    end(cloud, user, server_id)


# -- daemons away ----------------------------------------------------------------------------------
def test_the_scheduler_is_away_for_a_while(cloud: Cloud, user: User) -> None:
    cloud.stop_daemon("scheduler")
    server_id = user.launch(cloud.image_id)
    assert user.status(server_id) == "BUILD"
    cloud.turn()
    cloud.start_scheduler()
    cloud.settle()
    check_whole(cloud, user, server_id)


def test_the_conductor_is_away_for_a_while(cloud: Cloud, user: User) -> None:
    cloud.stop_daemon("conductor")
    asked = cloud.transport.sent["operation_take"]
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: cloud.transport.sent["operation_take"] > asked)
    assert user.status(server_id) == "BUILD"
    cloud.start_conductor()
    cloud.settle()
    check_whole(cloud, user, server_id)


@pytest.mark.parametrize("service", ["image", "network", "volume", "identity"])
def test_a_service_is_away_for_a_moment(cloud: Cloud, user: User, service: str) -> None:
    cloud.transport.delay("operation_run", 0.2)
    server_id = user.launch(cloud.image_id)
    cloud.transport.delay("operation_run", 0)
    away = cloud.rest.services[service]
    away.stop()
    back = threading.Timer(0.6, away.start)
    back.start()
    back.join()
    cloud.settle()
    check_whole(cloud, user, server_id)


def test_the_host_dies_and_comes_back(cloud: Cloud, user: User) -> None:
    cloud.rest.services["volume"].stop()
    server_id = user.launch(cloud.image_id)
    host = cloud.hosts["lab1"]
    assert wait_until(lambda: "wired on lab1" in cloud.traces_on_hosts(server_id))
    host.stop()
    cloud.rest.services["volume"].start()
    assert user.status(server_id) == "BUILD"
    host.start()
    cloud.settle()
    check_whole(cloud, user, server_id)


# -- hosts -----------------------------------------------------------------------------------------
def test_a_host_that_fails_is_left_for_another(pair: Cloud) -> None:
    user = pair.user()
    pair.hosts["lab1"].driver.fail("ensure_running", times=100, reason="lab1 is broken")
    server_ids = [user.launch(pair.image_id) for _ in range(2)]
    pair.settle()
    for server_id in server_ids:
        assert pair.claims()[server_id] == "lab2"
        assert len(user.trace(server_id)) == len(STEPS)
        check_whole(pair, user, server_id)
    assert pair.hosts["lab1"].servers() == set()


def test_a_launch_that_fails_everywhere_says_why(pair: Cloud) -> None:
    user = pair.user()
    for host in pair.hosts.values():
        host.driver.fail("ensure_running", times=100, reason=f"{host.name} is broken")
    server_id = user.launch(pair.image_id)
    pair.settle()
    server = user.server(server_id)
    assert server["status"] == "ERROR"
    assert "RetryFilter" in server["fault"]["message"]
    assert "is broken" in server["fault"]["message"]
    assert pair.traces(server_id) == {}
    end(pair, user, server_id)


def test_the_number_of_tries_is_limited(tmp_path: Path) -> None:
    with running(tmp_path, hosts=("lab1", "lab2", "lab3"), max_attempts=2) as cloud:
        user = cloud.user()
        for host in cloud.hosts.values():
            host.network.fail("ensure_port", f"{host.name} has no bridge")
        server_id = user.launch(cloud.image_id)
        cloud.settle()
        server = user.server(server_id)
        assert server["status"] == "ERROR"
        assert "has no bridge" in server["fault"]["message"]
        (operation,) = cloud.operations(server_id)
        assert operation.attempt == 2
        assert cloud.traces(server_id) == {}
        end(cloud, user, server_id)


def test_a_host_that_goes_down_before_it_begins(pair: Cloud) -> None:
    user = pair.user()
    pair.transport.drop("operation_run")
    server_id = user.launch(pair.image_id)
    chosen = pair.claims()[server_id]
    pair.hosts[chosen].stop()
    pair.silence(chosen)
    pair.settle()
    assert pair.claims()[server_id] != chosen
    pair.hosts[chosen].start()
    check_whole(pair, user, server_id)


def test_an_undo_that_fails_is_tried_again(cloud: Cloud, user: User) -> None:
    host = cloud.hosts["lab1"]
    host.driver.fail("ensure_running", reason="no")
    host.network.fail("ensure_no_port", "the kernel is stubborn")
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: user.status(server_id) == "ERROR")
    assert "stubborn" in user.server(server_id)["fault"]["message"]
    assert cloud.traces(server_id)["ports"]
    user.act(server_id, 409, reboot={"type": "HARD"})
    host.network.fail("ensure_no_port", None)
    cloud.settle()
    assert cloud.traces(server_id) == {}
    assert "stubborn" in str(cloud.operations(server_id)[0].message)
    end(cloud, user, server_id)


def test_a_delete_that_fails_is_tried_again(cloud: Cloud, user: User) -> None:
    host = cloud.hosts["lab1"]
    server_id = user.launch(cloud.image_id)
    cloud.settle()
    host.driver.fail("ensure_absent", reason="the guest does not let go")
    user.delete(server_id)
    assert wait_until(lambda: user.status(server_id) == "ERROR")
    cloud.settle()
    assert not user.status(server_id)
    assert cloud.traces(server_id) == {}


def test_an_operation_out_of_time_ends_with_a_reason(cloud: Cloud, user: User) -> None:
    cloud.transport.drop("place")
    server_id = user.launch(cloud.image_id)
    cloud.expire(server_id)
    cloud.turn()
    server = user.server(server_id)
    assert server["status"] == "ERROR"
    assert "did not finish within" in server["fault"]["message"]
    end(cloud, user, server_id)


def test_a_launch_that_ends_after_its_time_is_active_all_the_same(cloud: Cloud, user: User) -> None:
    cloud.rest.services["volume"].stop()
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: "wired on lab1" in cloud.traces_on_hosts(server_id))
    cloud.expire(server_id)
    cloud.reconciler.run()
    assert user.status(server_id) == "ERROR"
    cloud.rest.services["volume"].start()
    cloud.settle()
    check_whole(cloud, user, server_id)
