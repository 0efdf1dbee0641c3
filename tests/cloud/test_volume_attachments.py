"""Attachments as compute uses them: claims, exports by QEMU's own daemons, and who may disturb."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tokens import SERVICE
from volume import HOST, SERVER, VolumeCloud, volume_cloud

from minicloud.client.rest import RestClient
from minicloud.client.volume import VolumeClient
from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.volume import attachments, exports

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon"
)
OTHER_SERVER = "99999999-2222-4333-8444-555555555555"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path) as cloud:
        yield cloud


def url_of(attachment: dict[str, Any]) -> str:
    info = attachment["connection_info"]
    if "socket" in info:
        return f"nbd+unix:///{info['export']}?socket={info['socket']}"
    return f"nbd://{info['host']}:{info['port']}/{info['export']}"


def disk_io(url: str, command: str) -> str:
    done = subprocess.run(
        ["qemu-io", "-f", "raw", "-c", command, url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def status(cloud: VolumeCloud, volume: dict[str, Any]) -> str:
    return str(cloud.show(volume["id"])["status"])


# -- the life of an attachment -------------------------------------------------------------------
def test_from_available_to_in_use_and_back(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    claim = cloud.attach(volume["id"], host=None)
    assert (claim["status"], claim["connection_info"], claim["attached_at"]) == ("reserved", {}, "")
    assert status(cloud, volume) == "reserved"

    path = f"/attachments/{claim['id']}"
    body = {"attachment": {"connector": {"host": HOST, "mountpoint": "/dev/vdc"}}}
    connected = cloud.ask("PUT", path, 200, json=body)["attachment"]
    assert (connected["status"], status(cloud, volume)) == ("attaching", "attaching")
    info = connected["connection_info"]
    assert (info["driver_volume_type"], info["size_bytes"]) == ("nbd", 1024**3)
    assert (info["volume_id"], info["access_mode"]) == (volume["id"], "rw")

    cloud.complete(claim["id"])
    cloud.complete(claim["id"])
    shown = cloud.show(volume["id"])
    assert shown["status"] == "in-use"
    (use,) = shown["attachments"]
    assert (use["server_id"], use["device"], use["attachment_id"], use["host_name"]) == (
        SERVER,
        "/dev/vdc",
        claim["id"],
        None,
    )
    assert cloud.show(volume["id"], "admin")["attachments"][0]["host_name"] == HOST
    cloud.ask("DELETE", f"/volumes/{volume['id']}", 400)
    cloud.ask("DELETE", f"/volumes/{volume['id']}?force=true", 400, "admin")

    assert cloud.detach(claim["id"]) == {"attachments": []}
    assert status(cloud, volume) == "available"
    cloud.ask("GET", path, 404)
    cloud.ask("DELETE", f"/volumes/{volume['id']}", 202)


def test_what_is_written_through_an_export_is_in_the_volume(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    first = cloud.attach(volume["id"])
    assert "1 GiB" in subprocess.check_output(["qemu-img", "info", url_of(first)], text=True)
    disk_io(url_of(first), "write -P 0x5a 1M 64k")
    disk_io(url_of(first), "flush")
    disk_io(url_of(first), "discard 4M 1M")
    cloud.detach(first["id"])
    second = cloud.attach(volume["id"])
    assert second["id"] != first["id"]
    disk_io(url_of(second), "read -P 0x5a 1M 64k")
    disk_io(url_of(second), "read -P 0 2M 64k")


def test_an_export_ends_with_its_attachment(cloud: VolumeCloud) -> None:
    attachment = cloud.attach(cloud.create()["id"])
    assert cloud.is_served(attachment["volume_id"])
    pid = cloud.pid(attachment["volume_id"])
    cloud.detach(attachment["id"])
    command = Path(f"/proc/{pid}/cmdline")  # of a process not yet reaped: empty
    assert not command.exists() or command.read_bytes() == b""
    assert sorted(path.name for path in cloud.sockets.iterdir()) == ["lock", "qmp"]
    assert list((cloud.sockets / "qmp").iterdir()) == []


def test_qemus_user_reaches_a_socket_it_can_name_and_finds_none(cloud: VolumeCloud) -> None:
    attachment = cloud.attach(cloud.create()["id"])
    path = Path(attachment["connection_info"]["socket"])
    assert path.stat().st_mode & 0o777 == 0o666
    assert cloud.sockets.stat().st_mode & 0o777 == 0o711
    assert path.stem == attachment["volume_id"]
    assert (cloud.sockets / "qmp").stat().st_mode & 0o777 == 0o700, "who has QMP has all files"


def test_a_volume_is_claimed_once(cloud: VolumeCloud) -> None:
    volume = cloud.create()

    def claim(number: int) -> int:
        server = f"{number:08d}-2222-4333-8444-555555555555"
        body = {"attachment": {"volume_uuid": volume["id"], "instance_uuid": server}}
        return int(cloud.call("POST", "/attachments", json=body).status_code)

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(claim, range(8)))
    assert answers == [200] + [400] * 7


def test_a_migrating_server_has_the_volume_twice(tmp_path: Path) -> None:
    with volume_cloud(tmp_path, nbd_address="127.0.0.1", nbd_ports=range(21810, 21830)) as cloud:
        volume = cloud.create()
        source = cloud.attach(volume["id"])
        cloud.complete(source["id"])
        assert (
            "in-use"
            in cloud.attach(volume["id"], server=OTHER_SERVER, status=400)["badRequest"]["message"]
        )
        target = cloud.attach(volume["id"], host="lab2")
        assert status(cloud, volume) == "in-use"
        disk_io(url_of(source), "write -P 0x11 0 4k")
        disk_io(url_of(target), "read -P 0x11 0 4k")
        cloud.complete(target["id"])
        left = cloud.detach(source["id"])["attachments"]
        assert [each["id"] for each in left] == [target["id"]]
        assert status(cloud, volume) == "in-use"
        pid = cloud.pid(target["volume_id"])
        cloud.turn()
        assert cloud.pid(target["volume_id"]) == pid, "a pass must not take the disk from a guest"
        disk_io(url_of(target), "read -P 0x11 0 4k")


# -- other hosts ---------------------------------------------------------------------------------
def test_without_an_address_other_hosts_are_refused(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    refusal = cloud.attach(volume["id"], host="lab2", status=400)
    assert "nbd_address" in refusal["badRequest"]["message"]
    assert status(cloud, volume) == "available", "nothing is left of it"


def test_other_hosts_get_a_port_each(tmp_path: Path) -> None:
    ports = range(21840, 21843)
    with (
        socket.socket() as busy,
        volume_cloud(tmp_path, nbd_address="127.0.0.1", nbd_ports=ports) as cloud,
    ):
        busy.bind(("127.0.0.1", 21841))
        busy.listen()
        first, second = (cloud.attach(cloud.create()["id"], host="lab2") for _ in range(2))
        assert [each["connection_info"]["port"] for each in (first, second)] == [21840, 21842]
        assert "socket" not in first["connection_info"]
        disk_io(url_of(second), "write 0 4k")
        third = cloud.create()
        cloud.attach(third["id"], host="lab2", status=503)
        assert status(cloud, third) == "available"
        cloud.detach(first["id"])
        again = cloud.attach(third["id"], host="lab2")
        assert again["connection_info"]["port"] == 21840


def test_a_port_that_a_stranger_took_meanwhile_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_meanwhile: list[int] = []

    with ExitStack() as strangers:

        def free_for_a_moment(address: str, ports: Iterable[int], taken: set[int]) -> int | None:
            port = exports.free_port(address, ports, taken)
            if port is not None and len(taken_meanwhile) < 2:
                stranger = strangers.enter_context(socket.create_server((address, port)))
                taken_meanwhile.append(stranger.getsockname()[1])
            return port

        monkeypatch.setattr(attachments, "free_port", free_for_a_moment)
        ports = range(21870, 21880)
        with volume_cloud(tmp_path, nbd_address="127.0.0.1", nbd_ports=ports) as cloud:
            made = cloud.attach(cloud.create()["id"], host="lab2")
            assert len(set(taken_meanwhile)) == 2
            assert made["connection_info"]["port"] not in taken_meanwhile
            disk_io(url_of(made), "write 0 4k")


def test_ports_are_not_given_twice_at_once(tmp_path: Path) -> None:
    with volume_cloud(tmp_path, nbd_address="127.0.0.1", nbd_ports=range(21850, 21870)) as cloud:
        volumes = [cloud.create()["id"] for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda each: cloud.attach(each, host="lab2"), volumes))
        assert len({each["connection_info"]["port"] for each in made}) == 8
        for each in made:
            disk_io(url_of(each), "read 0 4k")


# -- who may disturb -----------------------------------------------------------------------------
def test_a_user_cannot_take_a_disk_from_a_running_server(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    attachment = cloud.attach(volume["id"])
    cloud.complete(attachment["id"])
    path = f"/attachments/{attachment['id']}"
    body = {"attachment": {"connector": {"host": HOST}}}
    cloud.ask("DELETE", path, 409)
    cloud.ask("PUT", path, 409, json=body)
    assert cloud.is_served(attachment["volume_id"])
    cloud.ask("PUT", path, 200, json=body, headers={"X-Service-Token": "service"})
    elsewhere = {"attachment": {"connector": {"host": "lab2"}}}
    cloud.ask("PUT", path, 400, json=elsewhere, headers={"X-Service-Token": "service"})
    cloud.ask("DELETE", path, 200, "admin")


def test_a_user_gives_up_what_is_only_reserved(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    attachment = cloud.attach(volume["id"], host=None)
    cloud.ask("DELETE", f"/attachments/{attachment['id']}", 200)
    assert status(cloud, volume) == "available"


def test_another_projects_attachment_does_not_exist(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    attachment = cloud.attach(volume["id"])
    path = f"/attachments/{attachment['id']}"
    passed_on = {"X-Service-Token": "service"}
    body = {"attachment": {"connector": {"host": HOST}}}
    for headers in ({}, passed_on):
        cloud.ask("GET", path, 404, "alt", headers=headers)
        cloud.ask("PUT", path, 404, "alt", json=body, headers=headers)
        cloud.ask("DELETE", path, 404, "alt", headers=headers)
        found = cloud.ask("GET", "/attachments?all_tenants=1", 200, "alt", headers=headers)
        assert found == {"attachments": []}
        claim = {"attachment": {"volume_uuid": volume["id"], "instance_uuid": SERVER}}
        cloud.ask("POST", "/attachments", 404, "alt", json=claim, headers=headers)
    assert cloud.is_served(attachment["volume_id"])


def test_beginning_a_detach_and_thinking_better_of_it(cloud: VolumeCloud) -> None:
    volume = cloud.create()
    action = f"/volumes/{volume['id']}/action"
    cloud.ask("POST", action, 400, json={"os-begin_detaching": None})
    attachment = cloud.attach(volume["id"])
    cloud.complete(attachment["id"])
    cloud.ask("POST", action, 202, json={"os-begin_detaching": None})
    assert status(cloud, volume) == "detaching"
    cloud.ask("POST", action, 202, json={"os-roll_detaching": None})
    assert status(cloud, volume) == "in-use"


# -- lists and refusals --------------------------------------------------------------------------
def test_attachments_are_found_by_server_and_volume(cloud: VolumeCloud) -> None:
    volumes = [cloud.create() for _ in range(3)]
    mine = [cloud.attach(each["id"], host=None) for each in volumes[:2]]
    other = cloud.attach(volumes[2]["id"], host=None, server=OTHER_SERVER)

    def found(query: str) -> list[str]:
        listed = cloud.ask("GET", f"/attachments{query}", 200)["attachments"]
        return [each["id"] for each in listed]

    assert found("") == [mine[0]["id"], mine[1]["id"], other["id"]]
    assert found(f"?instance_id={SERVER}") == [each["id"] for each in mine]
    assert found(f"?volume_id={volumes[2]['id']}") == [other["id"]]
    assert found("?status=attached") == []
    page = cloud.ask("GET", "/attachments/detail?limit=2", 200)
    assert [each["id"] for each in page["attachments"]] == [each["id"] for each in mine]
    rest = page["attachments_links"][0]["href"][len(cloud.url) :]
    assert [each["id"] for each in cloud.ask("GET", "/" + rest, 200)["attachments"]] == [
        other["id"]
    ]
    cloud.ask("GET", "/attachments?marker=nothing", 400)


@pytest.mark.parametrize(
    "connector",
    [
        {"ip": "10.0.0.1"},
        {"host": ""},
        {"host": 5},
        {"host": "a\u0000"},
        {"host": "x" * 2000},
        {"host": HOST, "deep": {"er": 1}},
        {"host": HOST, "mountpoint": 7},
        {f"k{number}": 1 for number in range(65)},
        "lab1",
    ],
)
def test_wrong_connectors_are_400(cloud: VolumeCloud, connector: Any) -> None:
    volume = cloud.create()
    claim = {"volume_uuid": volume["id"], "instance_uuid": SERVER, "connector": connector}
    cloud.ask("POST", "/attachments", 400, json={"attachment": claim})
    assert status(cloud, volume) == "available"


def test_completing_needs_a_connection(cloud: VolumeCloud) -> None:
    attachment = cloud.attach(cloud.create()["id"], host=None)
    path = f"/attachments/{attachment['id']}/action"
    cloud.ask("POST", path, 400, json={"os-complete": None})
    cloud.ask("POST", path, 400, json={"os-paint": None})
    older = {"OpenStack-API-Version": "volume 3.43"}
    cloud.ask("POST", path, 404, json={"os-complete": None}, headers=older)


# -- the pass ------------------------------------------------------------------------------------
def test_a_lost_exporter_comes_back_under_the_same_name(cloud: VolumeCloud) -> None:
    attachment = cloud.attach(cloud.create()["id"])
    cloud.complete(attachment["id"])
    disk_io(url_of(attachment), "write -P 0x77 0 4k")
    disk_io(url_of(attachment), "flush")
    cloud.kill(attachment["volume_id"])
    assert not cloud.is_served(attachment["volume_id"])
    cloud.turn()
    disk_io(url_of(attachment), "read -P 0x77 0 4k")


# -- compute's client ----------------------------------------------------------------------------
def client(cloud: VolumeCloud, token: str, *, passed_on: bool = True) -> VolumeClient:
    headers = {"X-Auth-Token": token, **({"X-Service-Token": "service"} if passed_on else {})}
    catalog = f"{cloud.url}/v3/{SERVICE}"
    return VolumeClient(RestClient("block-storage", lambda: catalog, lambda: headers))


def test_compute_attaches_with_the_users_token(cloud: VolumeCloud) -> None:
    compute = client(cloud, "demo")
    project = cloud.show(cloud.create()["id"])["os-vol-tenant-attr:tenant_id"]
    made = compute.volume_create(
        project_id=project, size_gb=1, name="root", metadata={"minicloud-server": SERVER}
    )
    assert (made.token_ms, made.value.status) == (0.1, "creating")
    volume_id = made.value.id
    assert compute.volume_get(volume_id).value.status == "available"
    (found,) = compute.volumes_by_metadata("minicloud-server", SERVER).value
    assert (found.id, found.project_id, found.size_gb) == (volume_id, project, 1)
    assert compute.volumes_by_metadata("minicloud-server", "x").value == []

    claim = compute.attachment_create(volume_id, SERVER).value
    assert claim.connection_info is None
    attached = compute.attachment_update(claim.id, {"host": HOST, "mountpoint": "/dev/vdb"}).value
    assert attached.connection_info is not None
    assert attached.connection_info["driver_volume_type"] == "nbd"
    data = attached.connection_info["data"]
    assert (data["export"], data["size_bytes"]) == (claim.id, 1024**3)
    assert Path(data["socket"]).is_socket()
    compute.attachment_complete(claim.id)
    assert compute.attachments_of_server(SERVER).value == [compute.attachment_get(claim.id).value]
    with pytest.raises(Invalid):
        compute.volume_delete(volume_id)
    compute.attachment_delete(claim.id)
    compute.volume_delete(volume_id)
    for gone in (
        lambda: compute.volume_get(volume_id),
        lambda: compute.attachment_delete(claim.id),
        lambda: compute.attachment_create(volume_id, SERVER),
    ):
        with pytest.raises(NotFound):
            gone()


def test_compute_acts_for_a_project_on_its_own(cloud: VolumeCloud) -> None:
    compute = client(cloud, "service", passed_on=False)
    theirs = cloud.create(metadata={"minicloud-server": SERVER})
    project = cloud.show(theirs["id"])["os-vol-tenant-attr:tenant_id"]
    made = compute.volume_create(project_id=project, size_gb=1).value
    assert status(cloud, {"id": made.id}) == "available"
    attachment = compute.attachment_create(theirs["id"], SERVER, {"host": HOST}).value
    assert [each.id for each in compute.attachments_of_server(SERVER).value] == [attachment.id]
    assert compute.volumes_by_metadata("minicloud-server", SERVER).value[0].id == theirs["id"]
    compute.attachment_delete(attachment.id)


def test_compute_hears_of_a_quota(tmp_path: Path) -> None:
    with (
        volume_cloud(
            tmp_path, quotas={"volumes": 0, "gigabytes": 9, "per_volume_gigabytes": -1}
        ) as cloud,
        pytest.raises(NotAllowed, match="Quota exceeded for volumes"),
    ):
        client(cloud, "demo").volume_create(project_id="d" * 32, size_gb=1)
