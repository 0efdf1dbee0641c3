"""Snapshots, clones, reverts and transfers, with the bytes looked at."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from volume import SERVER, VolumeCloud, volume_cloud

pytestmark = pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")
NEWEST = {"OpenStack-API-Version": "volume 3.71"}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path) as cloud:
        yield cloud


def qemu_io(where: list[str], command: str) -> str:
    done = subprocess.run(
        ["qemu-io", "-c", command, *where], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


class Guest:
    """The bytes of a volume as whoever has attached it sees them."""

    def __init__(self, cloud: VolumeCloud, volume_id: str) -> None:
        self.attachment = cloud.attach(volume_id)
        cloud.complete(self.attachment["id"])
        info = self.attachment["connection_info"]
        self.where = ["-f", "raw", f"nbd+unix:///{info['export']}?socket={info['socket']}"]

    def write(self, byte: int, at: str = "0") -> None:
        qemu_io(self.where, f"write -P {byte} {at} 64k")

    def reads(self, byte: int, at: str = "0") -> bool:
        return "verification failed" not in qemu_io(self.where, f"read -P {byte} {at} 64k")


def write(cloud: VolumeCloud, volume_id: str, byte: int) -> None:
    guest = Guest(cloud, volume_id)
    guest.write(byte)
    cloud.detach(guest.attachment["id"])


def has(cloud: VolumeCloud, volume_id: str, byte: int) -> bool:
    guest = Guest(cloud, volume_id)
    found = guest.reads(byte)
    cloud.detach(guest.attachment["id"])
    return found


def keep(cloud: VolumeCloud, volume_id: str, status: int = 202, **values: Any) -> dict[str, Any]:
    body = {"snapshot": {"volume_id": volume_id, **values}}
    answer: dict[str, Any] = cloud.ask("POST", "/snapshots", status, json=body)
    return dict(answer.get("snapshot", answer))


def test_a_snapshot_is_made_of_and_gone_back_to(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    write(cloud, volume["id"], 0x11)
    kept = keep(cloud, volume["id"], name="before", metadata={"why": "test"})
    assert (kept["status"], kept["size"], kept["volume_id"]) == ("creating", 1, volume["id"])
    write(cloud, volume["id"], 0x22)
    shown = cloud.ask("GET", f"/snapshots/{kept['id']}", 200)["snapshot"]
    assert (shown["status"], shown["name"], shown["metadata"]) == (
        "available", "before", {"why": "test"},
    )  # fmt: skip
    assert shown["os-extended-snapshot-attributes:progress"] == "100%"

    made = cloud.create(2, snapshot_id=kept["id"])
    assert (made["snapshot_id"], made["size"]) == (kept["id"], 2)
    assert has(cloud, made["id"], 0x11)
    assert has(cloud, volume["id"], 0x22)
    body = {"volume": {"size": None, "snapshot_id": kept["id"]}}
    assert cloud.ask("POST", "/volumes", 202, json=body)["volume"]["size"] == 1

    action = f"/volumes/{volume['id']}/action"
    revert = {"revert": {"snapshot_id": kept["id"]}}
    cloud.ask("POST", action, 202, json=revert, headers=NEWEST)
    assert cloud.show(volume["id"])["status"] == "available"
    assert has(cloud, volume["id"], 0x11)


def test_what_stands_in_the_way_of_a_delete(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    first, last = keep(cloud, volume["id"]), keep(cloud, volume["id"])
    refused = cloud.ask("DELETE", f"/volumes/{volume['id']}", 400)
    assert "dependent snapshots" in refused["badRequest"]["message"]
    older = {"revert": {"snapshot_id": first["id"]}}
    cloud.ask("POST", f"/volumes/{volume['id']}/action", 400, json=older, headers=NEWEST)
    cloud.ask("DELETE", f"/snapshots/{last['id']}", 202)
    cloud.ask("GET", f"/snapshots/{last['id']}", 404)
    cloud.ask("DELETE", f"/volumes/{volume['id']}?cascade=true", 202)
    cloud.ask("GET", f"/volumes/{volume['id']}", 404)
    cloud.ask("GET", f"/snapshots/{first['id']}", 404)
    assert list((cloud.files / "layers").iterdir()) == []


def test_a_snapshot_of_a_disk_in_use(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    guest = Guest(cloud, volume["id"])
    guest.write(0x11)
    keep(cloud, volume["id"], 400)
    keep(cloud, volume["id"], 400, force=False)
    kept = keep(cloud, volume["id"], force=True)
    guest.write(0x22)
    pid = cloud.pid(volume["id"])
    clients = {"OpenStack-API-Version": "volume 3.65"}
    unforced = {"snapshot": {"volume_id": volume["id"], "force": False}}
    cloud.ask("POST", "/snapshots", 400, json=unforced, headers=clients)
    unsaid = {"snapshot": {"volume_id": volume["id"]}}
    cloud.ask("POST", "/snapshots", 202, json=unsaid, headers=clients)
    body = {"snapshot": {"volume_id": volume["id"]}}
    cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)
    forced = {"snapshot": {"volume_id": volume["id"], "force": False}}
    cloud.ask("POST", "/snapshots", 400, json=forced, headers=NEWEST)
    assert cloud.pid(volume["id"]) == pid, "the guest's exporter went on"
    assert guest.reads(0x22)
    assert has(cloud, cloud.create(1, snapshot_id=kept["id"])["id"], 0x11)
    assert has(cloud, cloud.create(1, source_volid=volume["id"])["id"], 0x22)
    guest.write(0x33)
    assert guest.reads(0x33)
    cloud.kill(volume["id"])
    cloud.turn()
    assert guest.reads(0x33), "and on, after its death"


def test_a_snapshot_of_a_crowded_disk_waits_for_a_merge(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    cloud.complete(cloud.attach(volume["id"])["id"])
    body = {"snapshot": {"volume_id": volume["id"]}}

    def keep() -> str:
        made = cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)
        return str(made["snapshot"]["id"])

    def status(snapshot: str) -> str:
        return str(cloud.ask("GET", f"/snapshots/{snapshot}", 200)["snapshot"]["status"])

    for each in [keep() for _ in range(8)]:
        cloud.ask("DELETE", f"/snapshots/{each}", 202)
    for _ in range(7):
        assert status(keep()) == "available"
    late = keep()
    assert status(late) == "creating"
    give_up_at = time.monotonic() + 60
    while status(late) == "creating":
        cloud.turn()
        assert time.monotonic() < give_up_at
    assert status(late) == "available"
    while len(list((cloud.files / "layers").iterdir())) > 10:
        cloud.turn()
        assert time.monotonic() < give_up_at


def test_a_disk_in_use_grows_where_its_guest_comes_again(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    action = f"/volumes/{volume['id']}/action"
    guest = Guest(cloud, volume["id"])
    grow = {"os-extend": {"new_size": 3}}
    refused = cloud.ask("POST", action, 400, json=grow, headers=NEWEST)
    assert "Detach it first" in refused["badRequest"]["message"]
    cloud.ask("POST", action, 400, json=grow, headers={"OpenStack-API-Version": "volume 3.41"})
    cloud.detach(guest.attachment["id"])

    body = {"volume_uuid": volume["id"], "instance_uuid": SERVER,
            "connector": {"host": "lab1", "nbd_reconnect": True}}  # fmt: skip
    attachment = cloud.ask("POST", "/attachments", 200, json={"attachment": body})["attachment"]
    cloud.complete(attachment["id"])
    url = guest.where[-1].replace(guest.attachment["id"], attachment["id"])
    cloud.ask("POST", action, 202, json=grow, headers=NEWEST)
    shown = cloud.show(volume["id"])
    assert (shown["size"], shown["status"]) == (3, "in-use")
    assert "3 GiB" in subprocess.check_output(["qemu-img", "info", url], text=True)


def test_snapshots_are_found(cloud: VolumeCloud) -> None:
    volumes = [cloud.create(1)["id"] for _ in range(2)]
    kept = [keep(cloud, volumes[number % 2], name=f"s{number}")["id"] for number in range(4)]

    def found(query: str) -> list[str]:
        listed = cloud.ask("GET", f"/snapshots/detail{query}", 200, headers=NEWEST)["snapshots"]
        return [kept.index(each["id"]) for each in listed]

    assert found("") == [3, 2, 1, 0]
    assert found(f"?volume_id={volumes[0]}") == [2, 0]
    assert found("?name=s1") == [1]
    assert found("?name~=s&sort=name:asc&limit=2") == [0, 1]
    assert found(f"?sort=created_at:asc&marker={kept[1]}") == [2, 3]
    assert found("?status=error") == []
    assert found("?created_at=gt:2020-01-01T00:00:00") == [3, 2, 1, 0]
    assert found("?created_at=lt:2020-01-01T00:00:00") == []
    counted = cloud.ask("GET", "/snapshots?limit=1&with_count=true", 200, headers=NEWEST)
    assert (len(counted["snapshots"]), counted["count"]) == (1, 4)
    assert counted["snapshots_links"][0]["rel"] == "next"
    for wrong in ("sort=color", "marker=x", "created_at=gt:yesterday", "limit=-1"):
        cloud.ask("GET", f"/snapshots?{wrong}", 400, headers=NEWEST)
    cloud.ask("GET", f"/snapshots/{kept[0]}", 404, "alt")
    assert cloud.ask("GET", "/snapshots?all_tenants=1", 200, "alt") == {"snapshots": []}
    assert len(cloud.ask("GET", "/snapshots?all_tenants=1", 200, "admin")["snapshots"]) == 4


def test_a_snapshots_names_and_metadata_change(cloud: VolumeCloud) -> None:
    kept = keep(cloud, cloud.create(1)["id"], metadata={"a": "1"})
    path = f"/snapshots/{kept['id']}"
    body = {"snapshot": {"name": "new", "description": "text"}}
    changed = cloud.ask("PUT", path, 200, json=body)["snapshot"]
    assert (changed["name"], changed["description"]) == ("new", "text")
    merged = cloud.ask("POST", f"{path}/metadata", 200, json={"metadata": {"b": "2"}})
    assert merged == {"metadata": {"a": "1", "b": "2"}}
    cloud.ask("PUT", f"{path}/metadata/b", 200, json={"meta": {"b": "3"}})
    cloud.ask("DELETE", f"{path}/metadata/a", 200)
    assert cloud.ask("GET", f"{path}/metadata", 200) == {"metadata": {"b": "3"}}
    cloud.ask("GET", f"{path}/metadata/a", 404)
    assert cloud.ask("PUT", f"{path}/metadata", 200, json={"metadata": {}}) == {"metadata": {}}
    reset = {"os-reset_status": {"status": "error"}}
    cloud.ask("POST", f"{path}/action", 403, json=reset)
    cloud.ask("POST", f"{path}/action", 202, "admin", json=reset)
    assert cloud.ask("GET", path, 200)["snapshot"]["status"] == "error"
    cloud.ask("POST", f"{path}/action", 202, "admin", json={"os-force_delete": {}})
    cloud.ask("GET", path, 404)


def test_quotas_count_snapshots(tmp_path: Path) -> None:
    with volume_cloud(tmp_path, quotas={"snapshots": 1, "gigabytes": 3}) as cloud:
        volume = cloud.create(1)
        keep(cloud, volume["id"])
        over = cloud.ask("POST", "/snapshots", 413, json={"snapshot": {"volume_id": volume["id"]}})
        assert "snapshots" in over["overLimit"]["message"]
        cloud.ask("POST", "/volumes", 413, json={"volume": {"size": 2}})


def test_a_volume_goes_to_another_project(cloud: VolumeCloud) -> None:
    volume = cloud.create(1, name="gift")
    kept = keep(cloud, volume["id"])
    body = {"transfer": {"volume_id": volume["id"], "name": "offer"}}
    offer = cloud.ask("POST", "/volume-transfers", 202, json=body, headers=NEWEST)["transfer"]
    assert cloud.show(volume["id"])["status"] == "awaiting-transfer"
    cloud.ask("POST", "/volume-transfers", 400, json=body, headers=NEWEST)
    path = f"/volume-transfers/{offer['id']}"
    shown = cloud.ask("GET", path, 200, headers=NEWEST)["transfer"]
    assert "auth_key" not in shown
    accept = {"accept": {"auth_key": "wrong"}}
    cloud.ask("POST", f"{path}/accept", 400, "alt", json=accept, headers=NEWEST)
    accept = {"accept": {"auth_key": offer["auth_key"]}}
    cloud.ask("POST", f"{path}/accept", 202, "alt", json=accept, headers=NEWEST)
    cloud.ask("GET", f"/volumes/{volume['id']}", 404)
    assert cloud.show(volume["id"], "alt")["status"] == "available"
    cloud.ask("GET", f"/snapshots/{kept['id']}", 200, "alt")
    cloud.ask("GET", path, 404, headers=NEWEST)


def test_an_offer_is_taken_back(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    body = {"transfer": {"volume_id": volume["id"]}}
    offer = cloud.ask("POST", "/os-volume-transfer", 202, json=body)["transfer"]
    listed = cloud.ask("GET", "/os-volume-transfer/detail", 200)["transfers"]
    assert [each["id"] for each in listed] == [offer["id"]]
    cloud.ask("DELETE", f"/os-volume-transfer/{offer['id']}", 404, "alt")
    cloud.ask("DELETE", f"/os-volume-transfer/{offer['id']}", 202)
    assert cloud.show(volume["id"])["status"] == "available"


def test_groups_are_kept_together(cloud: VolumeCloud) -> None:
    (kind,) = cloud.ask("GET", "/types", 200, headers=NEWEST)["volume_types"]
    body = {"group_type": {"name": "pairs"}}
    pairs = cloud.ask("POST", "/group_types", 202, "admin", json=body, headers=NEWEST)
    consistent = {"group_type": {"name": "strict", "group_specs": {
        "consistent_group_snapshot_enabled": "<is> True"}}}  # fmt: skip
    cloud.ask("POST", "/group_types", 400, "admin", json=consistent, headers=NEWEST)
    body = {"group": {"group_type": pairs["group_type"]["id"], "volume_types": [kind["id"]]}}
    group = cloud.ask("POST", "/groups", 202, json=body, headers=NEWEST)["group"]
    first = cloud.ask(
        "POST", "/volumes", 202, json={"volume": {"size": 1, "group_id": group["id"]}},
        headers=NEWEST,
    )["volume"]  # fmt: skip
    second = cloud.create(1)
    path = f"/groups/{group['id']}"
    body = {"group": {"name": "database", "add_volumes": second["id"]}}
    cloud.ask("PUT", path, 202, json=body, headers=NEWEST)
    shown = cloud.ask("GET", f"{path}?list_volume=true", 200, headers=NEWEST)["group"]
    assert (shown["name"], shown["volumes"]) == ("database", [first["id"], second["id"]])
    cloud.ask("DELETE", f"/volumes/{first['id']}", 400)

    body = {"group_snapshot": {"group_id": group["id"], "name": "noon"}}
    kept = cloud.ask("POST", "/group_snapshots", 202, json=body, headers=NEWEST)["group_snapshot"]
    moments = cloud.ask("GET", "/snapshots/detail", 200, headers=NEWEST)["snapshots"]
    assert {each["group_snapshot_id"] for each in moments} == {kept["id"]}
    assert {each["volume_id"] for each in moments} == {first["id"], second["id"]}
    cloud.ask("DELETE", f"/snapshots/{moments[0]['id']}", 400)
    body = {"create-from-src": {"group_snapshot_id": kept["id"], "name": "again"}}
    again = cloud.ask("POST", "/groups/action", 202, json=body, headers=NEWEST)["group"]
    copies = cloud.ask("GET", f"/groups/{again['id']}?list_volume=true", 200, headers=NEWEST)
    assert len(copies["group"]["volumes"]) == 2
    cloud.ask("POST", f"{path}/action", 400, json={"delete": {"delete-volumes": True}},
              headers=NEWEST)  # fmt: skip
    cloud.ask("DELETE", f"/group_snapshots/{kept['id']}", 202, headers=NEWEST)
    assert cloud.ask("GET", "/snapshots", 200) == {"snapshots": []}
    cloud.ask("POST", f"{path}/action", 400, json={"delete": {"delete-volumes": False}},
              headers=NEWEST)  # fmt: skip
    cloud.ask("POST", f"{path}/action", 202, json={"delete": {"delete-volumes": True}},
              headers=NEWEST)  # fmt: skip
    cloud.ask("GET", path, 404, headers=NEWEST)
    cloud.ask("GET", f"/volumes/{second['id']}", 404)
