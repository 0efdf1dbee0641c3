"""Backups, moves between backends, and files that become volumes: the bytes are looked at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_volume_snapshots import NEWEST, Guest, has, keep, write
from volume import VolumeCloud, volume_cloud

pytestmark = pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path, more_backends={"fast": tmp_path / "fast"}) as cloud:
        yield cloud


def back_up(cloud: VolumeCloud, volume_id: str, **values: Any) -> dict[str, Any]:
    body = {"backup": {"volume_id": volume_id, **values}}
    made = cloud.ask("POST", "/backups", 202, json=body, headers=NEWEST)["backup"]
    assert cloud.jobs.wait_idle(60)
    return shown(cloud, made["id"])


def shown(cloud: VolumeCloud, backup_id: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.ask("GET", f"/backups/{backup_id}", 200, headers=NEWEST)["backup"]
    return found


def stored(cloud: VolumeCloud, backup_id: str) -> int:
    return (cloud.files / "backups" / backup_id / "data").stat().st_size


def test_full_and_incremental_backups_come_back(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    refused = {"backup": {"volume_id": volume["id"], "incremental": True}}
    cloud.ask("POST", "/backups", 400, json=refused)
    guest = Guest(cloud, volume["id"])
    guest.write(0x11)
    guest.write(0x12, "100M")
    cloud.ask("POST", "/backups", 400, json={"backup": {"volume_id": volume["id"]}})
    full = back_up(cloud, volume["id"], force=True, name="full", metadata={"a": "b"})
    assert (full["status"], full["object_count"], full["is_incremental"]) == ("available", 2, False)
    assert full["metadata"] == {"a": "b"}
    assert cloud.show(volume["id"])["status"] == "in-use"
    guest.write(0x22)
    cloud.detach(guest.attachment["id"])
    part = back_up(cloud, volume["id"], incremental=True)
    assert (part["object_count"], part["is_incremental"]) == (1, True), "what changed, no more"
    assert shown(cloud, full["id"])["has_dependent_backups"]
    cloud.ask("DELETE", f"/backups/{full['id']}", 400)
    write(cloud, volume["id"], 0x33)

    body = {"restore": {"volume_id": volume["id"]}}
    cloud.ask("POST", f"/backups/{full['id']}/restore", 202, json=body)
    assert cloud.jobs.wait_idle(60)
    assert cloud.show(volume["id"])["status"] == "available"
    assert has(cloud, volume["id"], 0x11)
    new = cloud.ask("POST", f"/backups/{part['id']}/restore", 202, json={"restore": {}})["restore"]
    made = cloud.create(2, backup_id=part["id"])
    assert cloud.jobs.wait_idle(60)
    for volume_id in (new["volume_id"], made["id"]):
        again = Guest(cloud, volume_id)
        assert again.reads(0x22)
        assert again.reads(0x12, "100M")
    for backup in (part, full):
        cloud.ask("DELETE", f"/backups/{backup['id']}", 202)
        cloud.ask("GET", f"/backups/{backup['id']}", 404)
    assert list((cloud.files / "backups").iterdir()) == []


def test_a_backup_of_a_snapshot(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    write(cloud, volume["id"], 0x11)
    kept = keep(cloud, volume["id"])
    write(cloud, volume["id"], 0x22)
    backup = back_up(cloud, volume["id"], snapshot_id=kept["id"])
    assert (backup["status"], backup["snapshot_id"]) == ("available", kept["id"])
    assert has(cloud, volume["id"], 0x22)
    made = cloud.create(1, backup_id=backup["id"])
    assert cloud.jobs.wait_idle(60)
    assert has(cloud, made["id"], 0x11)


def test_a_damaged_backup_is_no_volume(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    write(cloud, volume["id"], 0x11)
    backup = back_up(cloud, volume["id"])
    data = cloud.files / "backups" / backup["id"] / "data"
    data.write_bytes(bytes(data.stat().st_size))
    made = cloud.create(1, backup_id=backup["id"])
    assert cloud.jobs.wait_idle(60)
    assert cloud.show(made["id"])["status"] == "error"
    (message,) = cloud.ask("GET", "/messages", 200, headers=NEWEST)["messages"]
    assert (message["resource_uuid"], message["message_level"]) == (made["id"], "ERROR")
    assert "damaged" in message["user_message"]
    cloud.ask("DELETE", f"/messages/{message['id']}", 204, headers=NEWEST)
    cloud.ask("GET", f"/messages/{message['id']}", 404, headers=NEWEST)
    too_small = {"restore": {"volume_id": cloud.create(1)["id"]}}
    big = back_up(cloud, cloud.create(2)["id"])
    cloud.ask("POST", f"/backups/{big['id']}/restore", 400, json=too_small)


def test_a_record_brings_a_backup_back(cloud: VolumeCloud) -> None:
    volume = cloud.create(1, token="admin")
    body = {"backup": {"volume_id": volume["id"], "name": "kept"}}
    made = cloud.ask("POST", "/backups", 202, "admin", json=body)["backup"]
    assert cloud.jobs.wait_idle(60)
    path = f"/backups/{made['id']}"
    cloud.ask("GET", f"{path}/export_record", 403)
    record = cloud.ask("GET", f"{path}/export_record", 200, "admin")
    wanted = {"backup-record": record["backup-record"]}
    cloud.ask("POST", "/backups/import_record", 400, "admin", json=wanted)
    directory = cloud.files / "backups" / made["id"]
    directory.rename(directory.with_suffix(".away"))
    cloud.ask("DELETE", path, 202, "admin")
    cloud.ask("POST", "/backups/import_record", 400, "admin", json=wanted)
    directory.with_suffix(".away").rename(directory)
    taken = cloud.ask("POST", "/backups/import_record", 201, "admin", json=wanted)["backup"]
    assert (taken["id"], taken["name"]) == (made["id"], "kept")
    strange = {"backup-record": {"backup_service": "cinder.swift", "backup_url": "x"}}
    cloud.ask("POST", "/backups/import_record", 400, "admin", json=strange)


# -- types, retype, manage -----------------------------------------------------------------------
def make_type(cloud: VolumeCloud, name: str, **specs: str) -> str:
    body = {"volume_type": {"name": name, "extra_specs": specs}}
    return str(cloud.ask("POST", "/types", 200, "admin", json=body)["volume_type"]["id"])


def test_a_volume_moves_to_the_backend_of_its_type(cloud: VolumeCloud) -> None:
    fast = make_type(cloud, "fast", volume_backend_name="fast")
    volume = cloud.create(1)
    write(cloud, volume["id"], 0x11)
    action = f"/volumes/{volume['id']}/action"
    cloud.ask("POST", action, 400, json={"os-retype": {"new_type": "fast"}})
    moving = {"os-retype": {"new_type": fast, "migration_policy": "on-demand"}}
    cloud.ask("POST", action, 202, json=moving)
    assert cloud.jobs.wait_idle(60)
    now = cloud.show(volume["id"], "admin")
    assert (now["volume_type"], now["status"]) == ("fast", "available")
    assert now["os-vol-host-attr:host"] == "lab1@fast#fast"
    assert has(cloud, volume["id"], 0x11)
    assert list((cloud.files / "layers").iterdir()) == []
    back = {"os-migrate_volume": {"host": "lab1@files#files"}}
    cloud.ask("POST", action, 403, json=back)
    cloud.ask("POST", action, 202, "admin", json=back)
    assert cloud.jobs.wait_idle(60)
    assert cloud.show(volume["id"], "admin")["os-vol-host-attr:host"] == "lab1@files#files"
    assert has(cloud, volume["id"], 0x11)
    cloud.ask("POST", action, 400, "admin", json={"os-migrate_volume": {"host": "moon"}})
    made = cloud.create(1, volume_type="fast")
    assert cloud.show(made["id"], "admin")["os-vol-host-attr:host"] == "lab1@fast#fast"
    nowhere = make_type(cloud, "nowhere", volume_backend_name="nowhere")
    lost = cloud.create(1, volume_type=nowhere)
    assert cloud.show(lost["id"])["status"] == "error"


def test_types_are_kept_from_others_and_kept_while_used(cloud: VolumeCloud) -> None:
    gold = make_type(cloud, "gold", tier="1")
    path = f"/types/{gold}"
    cloud.ask("POST", "/types", 403, json={"volume_type": {"name": "mine"}})
    cloud.ask("POST", "/types", 409, "admin", json={"volume_type": {"name": "gold"}})
    assert "tier" not in cloud.ask("GET", path, 200)["volume_type"]["extra_specs"]
    cloud.ask("PUT", f"{path}/extra_specs/tier", 200, "admin", json={"tier": "2"})
    assert cloud.ask("GET", f"{path}/extra_specs", 200, "admin") == {"extra_specs": {"tier": "2"}}
    cloud.ask("DELETE", f"{path}/extra_specs/tier", 202, "admin")
    hidden = {"volume_type": {"os-volume-type-access:is_public": False}}
    cloud.ask("PUT", path, 200, "admin", json=hidden)
    cloud.ask("GET", path, 404)
    cloud.ask("POST", "/volumes", 404, json={"volume": {"size": 1, "volume_type": "gold"}})
    project = cloud.show(cloud.create(1)["id"])["os-vol-tenant-attr:tenant_id"]
    access = {"addProjectAccess": {"project": project}}
    cloud.ask("POST", f"{path}/action", 202, "admin", json=access)
    cloud.ask("POST", f"{path}/action", 409, "admin", json=access)
    listed = cloud.ask("GET", f"{path}/os-volume-type-access", 200, "admin")
    assert listed["volume_type_access"] == [{"volume_type_id": gold, "project_id": project}]
    default = {"default_type": {"volume_type": "gold"}}
    cloud.ask("PUT", f"/default-types/{project}", 200, "admin", json=default, headers=NEWEST)
    assert cloud.show(cloud.create(1)["id"])["volume_type"] == "gold"
    cloud.ask("DELETE", f"/default-types/{project}", 204, "admin", headers=NEWEST)
    cloud.ask("DELETE", path, 400, "admin")
    assert cloud.ask("GET", f"{path}/encryption", 200, "admin") == {}


def test_a_quality_of_service_reaches_the_hypervisor(cloud: VolumeCloud) -> None:
    gold = make_type(cloud, "gold")
    body = {"qos_specs": {"name": "slow", "consumer": "front-end", "total_iops_sec": "100"}}
    made = cloud.ask("POST", "/qos-specs", 200, "admin", json=body)["qos_specs"]
    assert made["specs"] == {"total_iops_sec": "100"}
    path = f"/qos-specs/{made['id']}"
    cloud.ask("PUT", path, 200, "admin", json={"qos_specs": {"read_iops_sec": "5"}})
    cloud.ask("PUT", f"{path}/delete_keys", 202, "admin", json={"keys": ["read_iops_sec"]})
    cloud.ask("GET", f"{path}/associate?vol_type_id={gold}", 202, "admin")
    (having,) = cloud.ask("GET", f"{path}/associations", 200, "admin")["qos_associations"]
    assert having["id"] == gold
    guest = Guest(cloud, cloud.create(1, volume_type="gold")["id"])
    assert guest.attachment["connection_info"]["qos_specs"] == {"total_iops_sec": "100"}
    cloud.ask("DELETE", path, 400, "admin")
    cloud.ask("DELETE", f"{path}?force=true", 202, "admin")
    cloud.ask("GET", path, 404, "admin")


def test_several_servers_have_a_volume_that_allows_it(cloud: VolumeCloud) -> None:
    make_type(cloud, "shared", multiattach="<is> True")
    volume = cloud.create(1, volume_type="shared")
    assert volume["multiattach"] is True
    first = Guest(cloud, volume["id"])
    other = cloud.attach(volume["id"], server="99999999-2222-4333-8444-555555555555")
    cloud.complete(other["id"])
    first.write(0x11)
    where = ["-f", "raw", first.where[-1].replace(first.attachment["id"], other["id"])]
    second = Guest.__new__(Guest)
    second.where = where
    assert second.reads(0x11), "one file behind both"
    cloud.detach(first.attachment["id"])
    assert cloud.show(volume["id"])["status"] == "in-use"
    assert second.reads(0x11)
    cloud.detach(other["id"])
    assert cloud.show(volume["id"])["status"] == "available"


def test_a_read_only_volume_is_not_written(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    action = f"/volumes/{volume['id']}/action"
    cloud.ask("POST", action, 202, json={"os-update_readonly_flag": {"readonly": True}})
    assert cloud.show(volume["id"])["metadata"]["readonly"] == "True"
    wanted = {"volume_uuid": volume["id"], "mode": "rw"}
    cloud.ask("POST", "/attachments", 400, json={"attachment": wanted}, headers=NEWEST)
    guest = Guest(cloud, volume["id"])
    assert guest.attachment["connection_info"]["access_mode"] == "ro"
    with pytest.raises(Exception, match="returned non-zero"):
        guest.write(0x11)


def test_a_file_becomes_a_volume_and_a_file_again(cloud: VolumeCloud) -> None:
    place = cloud.files / "managed" / "old-disk"
    place.write_bytes(b"\x11" * 65536 + bytes(1024**3))
    listed = cloud.ask("GET", "/manageable_volumes?host=lab1@files", 200, "admin", headers=NEWEST)
    (found,) = listed["manageable-volumes"]
    assert (found["reference"], found["size"]) == ({"source-name": "old-disk"}, 2)
    body = {"volume": {"host": "lab1@files", "ref": {"source-name": "old-disk"}, "name": "mine"}}
    cloud.ask("POST", "/os-volume-manage", 403, json=body)
    made = cloud.ask("POST", "/os-volume-manage", 202, "admin", json=body)["volume"]
    assert not place.exists()
    cloud.ask("POST", "/os-volume-manage", 400, "admin", json=body)
    assert cloud.show(made["id"], "admin")["status"] == "available"
    action = f"/volumes/{made['id']}/action"
    cloud.ask("POST", action, 202, "admin", json={"os-unmanage": {}})
    cloud.ask("GET", f"/volumes/{made['id']}", 404, "admin")
    kept = cloud.files / "managed" / f"volume-{made['id']}"
    with kept.open("rb") as file:
        assert file.read(65536) == b"\x11" * 65536


def test_the_older_way_to_attach(cloud: VolumeCloud) -> None:
    volume = cloud.create(1)
    action = f"/volumes/{volume['id']}/action"
    passed_on = {"X-Service-Token": "service"}

    def do(status: int, name: str, arguments: Any = None) -> Any:
        return cloud.ask("POST", action, status, json={name: arguments}, headers=passed_on)

    do(202, "os-reserve")
    assert cloud.show(volume["id"])["status"] == "attaching"
    do(400, "os-reserve")
    do(202, "os-unreserve")
    assert cloud.show(volume["id"])["status"] == "available"
    do(202, "os-reserve")
    info = do(200, "os-initialize_connection", {"connector": {"host": "lab1"}})["connection_info"]
    assert info["driver_volume_type"] == "nbd"
    assert cloud.is_served(volume["id"])
    server = "99999999-2222-4333-8444-555555555555"
    do(400, "os-attach", {"mountpoint": "/dev/vdb"})
    do(202, "os-attach", {"instance_uuid": server, "mountpoint": "/dev/vdb"})
    shown_now = cloud.show(volume["id"])
    assert shown_now["status"] == "in-use"
    (use,) = shown_now["attachments"]
    assert (use["server_id"], use["device"]) == (server, "/dev/vdb")
    do(202, "os-begin_detaching")
    do(202, "os-terminate_connection", {"connector": {"host": "lab1"}})
    assert not cloud.is_served(volume["id"])
    do(202, "os-detach", {})
    assert cloud.show(volume["id"])["status"] == "available"


def test_places_and_their_room(cloud: VolumeCloud) -> None:
    cloud.turn()
    pools = cloud.ask("GET", "/scheduler-stats/get_pools?detail=true", 200, "admin")["pools"]
    assert [each["name"] for each in pools] == ["lab1@fast#fast", "lab1@files#files"]
    assert pools[0]["capabilities"]["free_capacity_gb"] > 0
    able = cloud.ask("GET", "/capabilities/lab1@files", 200, "admin")
    assert able["volume_backend_name"] == "files"
    cloud.ask("GET", "/capabilities/moon", 404, "admin")
    order = {"host": "lab1@files", "binary": "cinder-volume", "disabled_reason": "repair"}
    cloud.ask("PUT", "/os-services/disable-log-reason", 200, "admin", json=order)
    listed = cloud.ask("GET", "/os-services?binary=cinder-volume", 200, "admin")["services"]
    assert [(each["host"], each["status"], each["disabled_reason"]) for each in listed] == [
        ("lab1@fast", "disabled", "repair"),
        ("lab1@files", "disabled", "repair"),
    ]
    assert cloud.show(cloud.create(1)["id"])["status"] == "error"
    order = {"host": "lab1@files", "binary": "cinder-volume"}
    cloud.ask("PUT", "/os-services/enable", 200, "admin", json=order)
    assert cloud.show(cloud.create(1)["id"])["status"] == "available"
