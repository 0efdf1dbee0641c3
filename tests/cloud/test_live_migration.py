"""Servers that go to another host while they run: stories of two hosts, and what is refused."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.compute import manager
from minicloud.conductor.endings import end_operation
from minicloud.domain.errors import Unavailable
from minicloud.domain.ids import derive
from minicloud.domain.models import MigrationDoor, Outcome
from minicloud.domain.states import Power
from minicloud.kit.context import Context
from minicloud.kit.operations import run
from minicloud.virt.driver import DomainSpec, Ways

_AUTO = {"host": None, "block_migration": "auto"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("live"), hosts=("lab1", "lab2")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture(scope="module")
def admin(cloud: Cloud) -> User:
    return cloud.user("admin")


@pytest.fixture
def server_id(cloud: Cloud, user: User) -> Iterator[str]:
    """An ACTIVE server with a disk of its own and a volume, gone without a trace afterwards."""
    cloud.enable_only("lab1", "lab2")
    yield from launched(cloud, user, cloud.image_id)


@pytest.fixture
def on_volumes(cloud: Cloud, user: User, admin: User) -> Iterator[str]:
    """An ACTIVE server without a disk that is a file."""
    root = {
        "boot_index": 0, "uuid": cloud.image_id, "source_type": "image",
        "destination_type": "volume", "volume_size": 1, "delete_on_termination": True,
    }  # fmt: skip
    yield from launched(cloud, user, "", root)


def launched(cloud: Cloud, user: User, image_id: str, *disks: dict[str, Any]) -> Iterator[str]:
    local = {
        "boot_index": 0, "uuid": cloud.image_id, "source_type": "image",
        "destination_type": "local",
    }  # fmt: skip
    blank = {
        "boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 1,
        "delete_on_termination": True,
    }  # fmt: skip
    mapping = [*(disks or (local,)), blank]
    server_id = user.launch(image_id, block_device_mapping_v2=mapping)
    becomes(cloud, user, server_id, "ACTIVE")
    yield server_id
    for host in cloud.hosts.values():
        host.driver.moving.set()
    user.delete(server_id)
    cloud.settle()
    cloud.turn()
    assert cloud.traces(server_id) == {}


def becomes(cloud: Cloud, user: User, server_id: str, status: str) -> None:
    cloud.settle()
    assert user.status(server_id) == status, cloud.operations(server_id)[0]


def where(cloud: Cloud, server_id: str) -> str:
    return str(cloud.server(server_id).host)


def other(host: str) -> str:
    return "lab2" if host == "lab1" else "lab1"


def guests(cloud: Cloud, server_id: str) -> dict[str, Power]:
    """Host -> the server's guest there."""
    found = {name: host.driver.get(server_id) for name, host in cloud.hosts.items()}
    return {name: domain.power for name, domain in found.items() if domain is not None}


def ask(who: User, server_id: str, status: int, body: dict[str, Any], version: str = "2.90") -> Any:
    return who.ask(
        "compute", "POST", f"/v2.1/servers/{server_id}/action", status,
        json={"os-migrateLive": body}, headers={"OpenStack-API-Version": f"compute {version}"},
    )  # fmt: skip


def moves(admin: User, server_id: str) -> list[tuple[str, str, str, str]]:
    path = f"/v2.1/os-migrations?instance_uuid={server_id}"
    found = admin.ask("compute", "GET", path, 200)["migrations"]
    return [
        (m["migration_type"], m["status"], m["source_compute"], m["dest_compute"]) for m in found
    ]


def action(admin: User, server_id: str) -> dict[str, Any]:
    """The newest of the server's actions."""
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    found: list[dict[str, Any]] = admin.ask("compute", "GET", path, 200)["instanceActions"]
    return found[0]


def check_is_whole(cloud: Cloud, user: User, server_id: str, host: str) -> None:
    """The guest, and all that is the server's, is on ``host`` and nowhere else."""
    cloud.turn()
    assert where(cloud, server_id) == host
    assert cloud.claims()[server_id] == host
    traces = cloud.traces(server_id)
    assert {name for name in traces if " on " in name or name.startswith("on ")} == {
        f"on {host}", f"wired on {host}",
    }  # fmt: skip
    assert set(traces["attachments"]) == {"attached"}
    assert len(traces["attachments"]) == len(traces["volumes"])
    shown = user.server(server_id)
    assert shown["OS-EXT-STS:task_state"] is None
    attached = {each["id"] for each in shown["os-extended-volumes:volumes_attached"]}
    assert attached == set(traces["volumes"])
    network = cloud.service_clients().network
    for port in network.ports_of_server(server_id).value:
        assert port.host == host
        assert "migrating_to" not in port.profile
    for each in cloud.hosts.values():
        assert not any(port.awaited for port in each.network.wiring().ports)


@pytest.mark.parametrize("paused", [False, True])
def test_a_server_moves_while_it_runs(
    cloud: Cloud, user: User, admin: User, server_id: str, paused: bool
) -> None:
    before = where(cloud, server_id)
    status, power = "ACTIVE", Power.RUNNING
    if paused:
        user.act(server_id, pause=None)
        cloud.settle()
        status, power = "PAUSED", Power.PAUSED
    known = cloud.traces(server_id)
    addresses = user.server(server_id)["addresses"]
    ask(admin, server_id, 202, _AUTO)
    becomes(cloud, user, server_id, status)
    assert guests(cloud, server_id) == {other(before): power}
    check_is_whole(cloud, user, server_id, other(before))
    assert moves(admin, server_id) == [("live-migration", "completed", before, other(before))]
    done = action(admin, server_id)
    assert (done["action"], done["message"]) == ("live-migration", None)
    after = cloud.traces(server_id)
    assert (after["ports"], after["volumes"]) == (known["ports"], known["volumes"])
    assert user.server(server_id)["addresses"] == addresses
    if paused:
        user.act(server_id, unpause=None)
        becomes(cloud, user, server_id, "ACTIVE")
    # What the server is now it is for all that may follow, the way back too.
    ask(admin, server_id, 202, {"host": before, "block_migration": True})
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, before)


def test_a_server_on_volumes_moves(cloud: Cloud, user: User, admin: User, on_volumes: str) -> None:
    before = where(cloud, on_volumes)
    ask(admin, on_volumes, 202, {"host": other(before), "block_migration": False})
    becomes(cloud, user, on_volumes, "ACTIVE")
    check_is_whole(cloud, user, on_volumes, other(before))
    ask(admin, on_volumes, 202, {"host": None, "block_migration": True})
    becomes(cloud, user, on_volumes, "ACTIVE")
    assert "Block migration can not be used" in action(admin, on_volumes)["message"]
    ask(admin, on_volumes, 400, {"host": None, "block_migration": True}, "2.33")


def test_while_it_moves(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    before = where(cloud, server_id)
    cloud.hosts[before].driver.moving.clear()
    ask(admin, server_id, 202, _AUTO)
    path = f"/v2.1/servers/{server_id}/migrations"

    def shown(version: str = "2.90") -> list[dict[str, Any]]:
        headers = {"OpenStack-API-Version": f"compute {version}"}
        found = admin.ask("compute", "GET", path, 200, headers=headers)["migrations"]
        return list(found)

    assert wait_until(lambda: shown() and shown()[0]["memory_total_bytes"])
    (one,) = shown()
    assert one["status"] == "running"
    assert (one["source_compute"], one["dest_compute"]) == (before, other(before))
    assert one["memory_processed_bytes"] + one["memory_remaining_bytes"] == 2 << 20
    assert (one["disk_total_bytes"], one["server_uuid"]) == (0, server_id)
    assert {"uuid", "user_id", "project_id"} <= set(one)
    assert not {"uuid", "user_id", "project_id"} & set(shown("2.23")[0])
    assert admin.ask("compute", "GET", f"{path}/{one['id']}", 200)["migration"] == one
    server = user.server(server_id)
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("MIGRATING", "migrating")
    assert where(cloud, server_id) == before
    awaited = cloud.hosts[other(before)].network.wiring().ports
    assert [port.awaited for port in awaited if port.device_id == server_id] == [True]
    cloud.turn()
    assert server_id in cloud.hosts[other(before)].servers(), "what is made ready stays"
    user.act(server_id, 409, os_stop=None)
    path_of_consoles = f"/v2.1/servers/{server_id}/remote-consoles"
    console = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    user.ask("compute", "POST", path_of_consoles, 409, json=console)
    ask(admin, server_id, 409, _AUTO)
    cloud.hosts[before].driver.moving.set()
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, other(before))
    assert shown() == []
    admin.ask("compute", "GET", f"{path}/{one['id']}", 404)


def test_aborted(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    before, number = held(cloud, admin, server_id)
    path = f"/v2.1/servers/{server_id}/migrations"
    user.ask("compute", "DELETE", f"{path}/{number}", 403)
    admin.ask("compute", "DELETE", f"{path}/{number + 1000}", 404)
    admin.ask("compute", "DELETE", f"{path}/{derive('x')}", 404)
    admin.ask("compute", "DELETE", f"{path}/{number}", 202)
    assert action(admin, server_id)["action"] == "live_migration_cancel"
    becomes(cloud, user, server_id, "ACTIVE")
    assert guests(cloud, server_id) == {before: Power.RUNNING}
    check_is_whole(cloud, user, server_id, before)
    assert moves(admin, server_id) == [("live-migration", "cancelled", before, other(before))]
    admin.ask("compute", "DELETE", f"{path}/{number}", 409)


def test_forced_to_an_end(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    before, number = held(cloud, admin, server_id)
    path = f"/v2.1/servers/{server_id}/migrations"
    wish = {"force_complete": None}
    user.ask("compute", "POST", f"{path}/{number}/action", 403, json=wish)
    admin.ask("compute", "POST", f"{path}/{number + 1000}/action", 400, json=wish)
    admin.ask("compute", "POST", f"{path}/{number}/action", 202, json=wish)
    assert action(admin, server_id)["action"] == "live_migration_force_complete"
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, other(before))
    admin.ask("compute", "POST", f"{path}/{number}/action", 409, json=wish)


def test_aborted_before_it_has_begun(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    before = where(cloud, server_id)
    there = cloud.hosts[other(before)]
    there.stop()
    ask(admin, server_id, 202, _AUTO)
    assert wait_until(lambda: cloud.operations(server_id)[0].host == there.name)
    path = f"/v2.1/servers/{server_id}/migrations"
    (one,) = admin.ask("compute", "GET", path, 200)["migrations"]
    assert one["status"] == "queued"
    older = {"OpenStack-API-Version": "compute 2.64"}
    admin.ask("compute", "DELETE", f"{path}/{one['id']}", 400, headers=older)
    admin.ask("compute", "DELETE", f"{path}/{one['id']}", 202)
    there.start()
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, before)
    assert moves(admin, server_id) == [("live-migration", "cancelled", before, there.name)]


def test_aborted_just_as_a_stage_ends(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before = where(cloud, server_id)
    there = cloud.hosts[other(before)]
    there.stop()
    ask(admin, server_id, 202, _AUTO)
    assert wait_until(lambda: cloud.operations(server_id)[0].host == there.name)
    path = f"/v2.1/servers/{server_id}/migrations"
    (one,) = admin.ask("compute", "GET", path, 200)["migrations"]
    read_before = cloud.operations(server_id)[0]
    admin.ask("compute", "DELETE", f"{path}/{one['id']}", 202)
    outcome = Outcome(
        operation_id=read_before.id, host=there.name, epoch=0, result="failed", message="no"
    )
    with cloud.database.write() as tx:
        end_operation(tx, read_before, outcome, max_attempts=1)
    there.start()
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, before)
    assert moves(admin, server_id) == [("live-migration", "cancelled", before, there.name)]


def held(cloud: Cloud, admin: User, server_id: str) -> tuple[str, int]:
    """A migration that does not go on: where from, and its number."""
    before = where(cloud, server_id)
    cloud.hosts[before].driver.moving.clear()
    ask(admin, server_id, 202, _AUTO)
    path = f"/v2.1/servers/{server_id}/migrations"

    def running() -> list[int]:
        found = admin.ask("compute", "GET", path, 200)["migrations"]
        return [one["id"] for one in found if one["status"] == "running"]

    assert wait_until(running)
    return before, running()[0]


@pytest.mark.parametrize(
    ("method", "where_it_fails"),
    [("migrate", "source"), ("take_in", "target"), ("ways_in", "target"), ("ways_out", "source"),
     ("ensure_arrived", "target")],
)  # fmt: skip
def test_what_fails_leaves_the_server_where_it_is(
    cloud: Cloud, user: User, admin: User, server_id: str, method: str, where_it_fails: str
) -> None:
    before = where(cloud, server_id)
    host = before if where_it_fails == "source" else other(before)
    if method == "ensure_arrived":
        lose_on_the_way(cloud, server_id, before)
    else:
        cloud.hosts[host].driver.fail(method, reason="the wire is cut")
    ask(admin, server_id, 202, _AUTO)
    if method == "ensure_arrived":
        cloud.settle()
        assert "has not come here" in action(admin, server_id)["message"]
        assert guests(cloud, server_id) == {}
        user.act(server_id, reboot={"type": "HARD"})
        becomes(cloud, user, server_id, "ACTIVE")
    else:
        becomes(cloud, user, server_id, "ACTIVE")
        assert "the wire is cut" in action(admin, server_id)["message"]
    assert guests(cloud, server_id) == {before: Power.RUNNING}
    check_is_whole(cloud, user, server_id, before)
    assert moves(admin, server_id) == [("live-migration", "error", before, other(before))]


def lose_on_the_way(cloud: Cloud, server_id: str, before: str) -> None:
    """The guest leaves one host and never comes to the other."""
    driver = cloud.hosts[before].driver
    moving = driver.migrate

    def lost(*args: Any, **kwargs: Any) -> None:
        driver.migrate = moving  # type: ignore[method-assign]
        driver.ensure_absent(server_id)

    driver.migrate = lost  # type: ignore[method-assign]


def test_the_word_of_its_arrival_is_lost(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before = where(cloud, server_id)
    cloud.hosts[other(before)].driver.fail("take_in", after=True, reason="the wire is cut")
    ask(admin, server_id, 202, _AUTO)
    becomes(cloud, user, server_id, "ACTIVE")
    assert guests(cloud, server_id) == {before: Power.RUNNING}, "on one host alone"
    check_is_whole(cloud, user, server_id, before)


def test_killed_where_the_guest_stands_still_behind(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    """The guest may run on the other host: nothing there is touched."""
    before = where(cloud, server_id)
    there, driver = cloud.hosts[other(before)], cloud.hosts[before].driver
    moving, killed = driver.migrate, threading.Event()

    def cut_short(spec: DomainSpec, **how: Any) -> None:
        driver.migrate = moving  # type: ignore[method-assign]
        moving(spec, **how)
        driver.ensure_running(spec)
        driver.ensure_paused(server_id)
        cloud.hosts[before].stop()
        killed.set()

    driver.migrate = cut_short  # type: ignore[method-assign]
    ask(admin, server_id, 202, _AUTO)
    assert killed.wait(30)
    operation = cloud.operations(server_id)[0]
    assert (operation.recipe, operation.live) == ("live-migration:move", True)
    cloud.hosts[before].start()
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, there.name)
    assert guests(cloud, server_id) == {there.name: Power.RUNNING}
    assert moves(admin, server_id) == [("live-migration", "completed", before, there.name)]


def test_a_hypervisor_that_does_not_tell_whether_the_guest_has_come(
    cloud: Cloud, user: User, admin: User, server_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked until it does: the guest may run there, and nowhere else any more."""
    before = where(cloud, server_id)
    driver = cloud.hosts[other(before)].driver
    monkeypatch.setattr(manager, "run", functools.partial(run, patience_s=0.0))
    asked: list[str] = []

    def away(spec: DomainSpec, **_how: Any) -> None:
        asked.append(spec.server_id)
        raise Unavailable(service="libvirt", reason="it is being restarted")

    def again() -> bool:
        cloud.turn()
        return len(asked) > 2

    with monkeypatch.context() as patch:
        patch.setattr(driver, "ensure_arrived", away)
        ask(admin, server_id, 202, _AUTO)
        assert wait_until(again)
        assert guests(cloud, server_id) == {other(before): Power.RUNNING}
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, other(before))


def test_who_asks_twice_for_a_door_waits_for_the_first(
    cloud: Cloud, server_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cloud.hosts[other(where(cloud, server_id))]
    begun, go_on = threading.Event(), threading.Event()
    expected = there.driver.ways_in

    def slow(server: str) -> Ways:
        begun.set()
        assert go_on.wait(30)
        return expected(server)

    def ask_for_door() -> MigrationDoor:
        return there.manager.migration_open(Context(), server_id=server_id, disks=[])

    monkeypatch.setattr(there.driver, "ways_in", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask_for_door)
        assert begun.wait(30)
        with pytest.raises(Unavailable, match="an earlier try"):
            ask_for_door()
        go_on.set()
        assert first.result(30).port
    assert ask_for_door().port
    there.tools.passages.close(server_id)
    there.driver.forget_ways(server_id)


def test_given_up_without_a_word_to_its_host(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before, _ = held(cloud, admin, server_id)
    admin.act(server_id, os_resetState={"state": "active"})
    host = cloud.hosts[before]
    assert wait_until(lambda: server_id not in host.manager.busy_servers())
    becomes(cloud, user, server_id, "ACTIVE")
    assert where(cloud, server_id) == before
    assert guests(cloud, server_id) == {before: Power.RUNNING}
    assert cloud.claims()[server_id] == before
    host.driver.moving.set()
    ask(admin, server_id, 202, _AUTO)
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, other(before))
    assert [status for _, status, _, _ in moves(admin, server_id)] == ["completed", "cancelled"]


def test_attachments_that_an_earlier_move_left_at_a_third_host(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before = where(cloud, server_id)
    (volume_id,) = cloud.traces(server_id)["volumes"]
    client = cloud.service_clients().volume
    left = client.attachment_create(volume_id, server_id, {"host": "lab3"}).value
    ask(admin, server_id, 202, _AUTO)
    becomes(cloud, user, server_id, "ACTIVE")
    check_is_whole(cloud, user, server_id, other(before))
    path = f"/v3/{admin.project_id}/volumes/{volume_id}"
    (kept,) = admin.ask("volume", "GET", path, 200)["volume"]["attachments"]
    assert (kept["attachment_id"], kept["host_name"]) == (left.id, other(before))


def test_a_target_that_goes_down_holds_up_nobody(
    cloud: Cloud, user: User, admin: User, server_id: str
) -> None:
    before = where(cloud, server_id)
    there = cloud.hosts[other(before)]
    there.stop()
    ask(admin, server_id, 202, _AUTO)
    assert wait_until(lambda: cloud.operations(server_id)[0].host == there.name)
    cloud.silence(there.name)
    becomes(cloud, user, server_id, "ACTIVE")
    assert "went down" in action(admin, server_id)["message"]
    there.start()
    cloud.turn()
    check_is_whole(cloud, user, server_id, before)


def test_deleted_while_it_moves(cloud: Cloud, user: User, admin: User) -> None:
    server_id = user.launch(cloud.image_id)
    becomes(cloud, user, server_id, "ACTIVE")
    before, _ = held(cloud, admin, server_id)
    user.delete(server_id)
    cloud.settle()
    cloud.hosts[before].driver.moving.set()
    cloud.turn()
    assert user.status(server_id) == ""
    assert cloud.traces(server_id) == {}
    assert [status for _, status, _, _ in moves(admin, server_id)] == ["cancelled"]


def test_refused(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    before = where(cloud, server_id)
    ask(user, server_id, 403, _AUTO)
    ask(admin, derive("nobody"), 404, _AUTO)
    ask(admin, server_id, 400, {**_AUTO, "host": "nosuch"})
    for body in (
        {"host": None}, {"block_migration": "auto"}, {**_AUTO, "disk_over_commit": False},
        {**_AUTO, "force": True}, {**_AUTO, "block_migration": "perhaps"}, {**_AUTO, "host": 5},
        {**_AUTO, "other": 1}, {**_AUTO, "block_migration": None},
    ):  # fmt: skip
        ask(admin, server_id, 400, body)
    ask(admin, server_id, 400, {**_AUTO, "force": True}, "2.67")
    ask(admin, server_id, 400, {**_AUTO, "force": False, "host": before}, "2.29")
    first = {"host": None, "block_migration": True, "disk_over_commit": False}
    ask(admin, server_id, 400, {**first, "block_migration": "auto"}, "2.24")
    ask(admin, server_id, 400, {"host": None, "block_migration": True}, "2.24")
    ask(admin, server_id, 400, first, "2.25")
    said = ask(admin, server_id, 400, {**first, "host": before}, "2.1")
    assert f"to current host ({before})" in said["badRequest"]["message"]
    said = ask(admin, server_id, 400, {**first, "block_migration": False}, "2.1")
    assert "is not on shared storage" in said["badRequest"]["message"]
    user.act(server_id, lock=None)
    ask(user.as_admin(), server_id, 202, first, "2.24")
    becomes(cloud, user, server_id, "ACTIVE")
    assert where(cloud, server_id) == other(before)
    user.act(server_id, unlock=None)
    user.act(server_id, os_stop=None)
    cloud.settle()
    ask(admin, server_id, 409, _AUTO)
    assert user.status(server_id) == "SHUTOFF"


def test_no_valid_host(cloud: Cloud, user: User, admin: User, server_id: str) -> None:
    """Since 2.34 what comes of it stands in the server's actions; before, it was a 400."""
    before = where(cloud, server_id)
    cloud.enable_only(before)
    for body in (_AUTO, {**_AUTO, "host": before}):
        ask(admin, server_id, 202, body)
        cloud.settle()
        done = action(admin, server_id)
        assert done["action"] == "live-migration"
        assert "No valid host" in done["message"]
        assert "the server is there now" in done["message"]
        assert user.status(server_id) == "ACTIVE"
    said = ask(admin, server_id, 400, _AUTO, "2.33")
    assert "No valid host" in said["badRequest"]["message"]
    found = {status for _, status, _, _ in moves(admin, server_id)}
    assert found == {"error"}
    check_is_whole(cloud, user, server_id, before)


def test_a_volume_whose_file_the_guest_opens_keeps_it_where_it_is(tmp_path: Path) -> None:
    volumes = {"open_files": {"files": None}}
    with running(tmp_path, hosts=("lab1", "lab2"), volumes=volumes) as cloud:
        user, admin = cloud.user(), cloud.user("admin")
        for server_id in launched(cloud, user, cloud.image_id):
            before = where(cloud, server_id)
            ask(admin, server_id, 202, _AUTO)
            becomes(cloud, user, server_id, "ACTIVE")
            assert "which cannot share it" in action(admin, server_id)["message"]
            assert guests(cloud, server_id) == {before: Power.RUNNING}
            check_is_whole(cloud, user, server_id, before)
