"""openstacksdk and the openstack command against the volume service, unchanged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from clients.command_line import CommandLine
from tokens import ADMIN, ALT, DEMO
from volume import HOST, SERVER, VolumeCloud, volume_cloud

openstack = pytest.importorskip("openstack")
pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path_factory.mktemp("volume")) as cloud:
        yield cloud


def proxy(cloud: VolumeCloud, token: str = "demo", project: str = DEMO) -> Any:
    url = f"{cloud.url}/v3/{project}"
    return openstack.connect(
        auth_type="admin_token",
        auth={"endpoint": url, "token": token},
        block_storage_endpoint_override=url,
        block_storage_api_version="3",
    ).block_storage


def test_a_volume_by_sdk(cloud: VolumeCloud) -> None:
    mine = proxy(cloud)
    volume = mine.create_volume(size=1, name="sdk", metadata={"a": "b"})
    volume = mine.wait_for_status(volume, "available", failures=["error"], interval=1)
    assert (volume.name, volume.size, volume.metadata) == ("sdk", 1, {"a": "b"})
    assert not volume.is_bootable
    assert mine.find_volume("sdk").id == volume.id
    assert [each.id for each in mine.volumes(name="sdk")] == [volume.id]
    assert [each.id for each in mine.volumes(status="error")] == []
    assert mine.update_volume(volume, name="renamed").name == "renamed"
    mine.extend_volume(volume, 2)
    assert mine.get_volume(volume.id).size == 2
    mine.set_volume_metadata(volume, c="d")
    assert mine.get_volume_metadata(volume).metadata == {"a": "b", "c": "d"}
    mine.delete_volume_metadata(volume, ["a"])
    assert mine.get_volume_metadata(volume).metadata == {"c": "d"}
    mine.delete_volume(volume)
    mine.wait_for_delete(volume)
    assert list(mine.volumes()) == []


def test_pages_by_sdk(cloud: VolumeCloud) -> None:
    mine = proxy(cloud)
    made = {mine.create_volume(size=1, name=f"page{number}").id for number in range(5)}
    assert {each.id for each in mine.volumes(limit=2)} == made
    assert mine.summary(all_projects=False).total_count == 5
    for each in made:
        mine.delete_volume(each)


@pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon")
def test_an_attachment_by_sdk(cloud: VolumeCloud) -> None:
    operator = proxy(cloud, "admin", ADMIN)
    volume = operator.create_volume(size=1)
    attachment = operator.create_attachment(volume, instance=SERVER, connector=None)
    assert attachment.status == "reserved"
    attachment = operator.update_attachment(attachment, connector={"host": HOST})
    assert attachment.connection_info["driver_volume_type"] == "nbd"
    operator.complete_attachment(attachment)
    assert [each.id for each in operator.attachments(instance_id=SERVER)] == [attachment.id]
    assert operator.get_volume(volume.id).attachments[0]["server_id"] == SERVER
    operator.delete_attachment(attachment)
    assert operator.get_volume(volume.id).status == "available"
    operator.delete_volume(volume)


def test_the_rest_by_sdk(cloud: VolumeCloud) -> None:
    mine, operator = proxy(cloud), proxy(cloud, "admin", ADMIN)
    assert [each.name for each in mine.types()] == ["__DEFAULT__"]
    assert mine.find_type("__DEFAULT__").is_public
    assert [each.name for each in mine.availability_zones()] == ["nova"]
    assert mine.get_limits().absolute.max_total_volumes == 50
    assert mine.get_quota_set(DEMO, usage=True).volumes == 50
    assert operator.update_quota_set(DEMO, volumes=7).volumes == 7
    operator.revert_quota_set(DEMO)
    assert mine.get_quota_set(DEMO).volumes == 50
    cloud.turn()
    assert "cinder-volume" in [each.binary for each in operator.services()]
    assert list(mine.extensions()) == []


def test_snapshots_and_backups_by_sdk(cloud: VolumeCloud) -> None:
    mine, operator = proxy(cloud), proxy(cloud, "admin", ADMIN)
    volume = mine.create_volume(size=1)
    snapshot = mine.create_snapshot(volume_id=volume.id, name="noon", metadata={"a": "b"})
    snapshot = mine.wait_for_status(snapshot, "available", failures=["error"], interval=1)
    assert mine.find_snapshot("noon").id == snapshot.id
    assert mine.update_snapshot(snapshot, name="evening").name == "evening"
    mine.set_snapshot_metadata(snapshot, c="d")
    assert mine.get_snapshot_metadata(snapshot).metadata == {"a": "b", "c": "d"}
    mine.delete_snapshot_metadata(snapshot, ["a"])
    assert [each.id for each in mine.snapshots(volume_id=volume.id)] == [snapshot.id]
    mine.revert_volume_to_snapshot(volume, snapshot)
    copy = mine.create_volume(size=1, snapshot_id=snapshot.id)
    assert mine.get_volume(copy.id).status == "available"

    backup = mine.create_backup(volume_id=volume.id, name="night")
    backup = mine.wait_for_status(backup, "available", failures=["error"], interval=1)
    assert mine.find_backup("night").id == backup.id
    part = mine.create_backup(volume_id=volume.id, is_incremental=True)
    part = mine.wait_for_status(part, "available", failures=["error"], interval=1)
    assert part.is_incremental
    mine.restore_backup(backup, volume_id=copy.id)
    copy = mine.wait_for_status(mine.get_volume(copy.id), "available", interval=1)
    operator.reset_backup_status(part, status="error")
    assert mine.get_backup(part.id).status == "error"
    for each in (part, backup):
        mine.delete_backup(each)
    operator.reset_snapshot_status(snapshot, status="error")
    mine.delete_snapshot(snapshot)
    mine.wait_for_delete(snapshot)
    for each in (copy, volume):
        mine.delete_volume(each)
    assert list(mine.volumes()) == []


def test_types_and_groups_by_sdk(cloud: VolumeCloud) -> None:
    mine, operator = proxy(cloud), proxy(cloud, "admin", ADMIN)
    kind = operator.create_type(name="gold", extra_specs={"tier": "1"})
    assert operator.update_type_extra_specs(kind, speed="fast")
    assert operator.get_type(kind).extra_specs == {"tier": "1", "speed": "fast"}
    operator.delete_type_extra_specs(kind, ["speed"])
    hidden = operator.create_type(name="hidden", is_public=False)
    operator.add_type_access(hidden, DEMO)
    assert [each["project_id"] for each in operator.get_type_access(hidden)] == [DEMO]
    assert mine.find_type("hidden").id == hidden.id
    operator.remove_type_access(hidden, DEMO)
    assert mine.find_type("hidden") is None

    pairs = operator.create_group_type(name="pairs")
    group = mine.create_group(name="db", group_type=pairs.id, volume_types=[kind.id])
    group = mine.get_group(group.id)
    assert group.status == "available"
    volume = mine.create_volume(size=1, volume_type="gold", group_id=group.id)
    kept = mine.create_group_snapshot(group_id=group.id, name="noon")
    assert [each.id for each in mine.group_snapshots()] == [kept.id]
    mine.delete_group_snapshot(kept)
    mine.delete_group(group, delete_volumes=True)
    assert mine.find_volume(volume.id) is None
    for each in (kind, hidden):
        operator.delete_type(each)
    operator.delete_group_type(pairs)


def test_transfers_and_the_operators_by_sdk(cloud: VolumeCloud) -> None:
    mine, theirs = proxy(cloud), proxy(cloud, "alt", ALT)
    operator = proxy(cloud, "admin", ADMIN)
    volume = mine.create_volume(size=1)
    offer = mine.create_transfer(volume_id=volume.id, name="gift")
    assert [each.id for each in mine.transfers()] == [offer.id]
    theirs.accept_transfer(offer.id, offer.auth_key)
    assert theirs.get_volume(volume.id).status == "available"
    theirs.delete_volume(volume)

    cloud.turn()
    assert [each.name for each in operator.backend_pools()] == [f"{HOST}@files#files"]
    assert operator.get_capabilities(f"{HOST}@files").volume_backend_name == "files"
    assert operator.get_quota_class_set("default").volumes == 50
    service = operator.find_service("cinder-volume", host=f"{HOST}@files")
    assert operator.disable_service(service, reason="repair").status == "disabled"
    operator.enable_service(service)
    volume = mine.create_volume(size=1)
    mine.set_volume_readonly(volume, readonly=True)
    mine.set_volume_bootable_status(volume, bootable=True)
    operator.reset_volume_status(volume, status="error")
    assert mine.get_volume(volume.id).status == "error"
    operator.delete_volume(volume, force=True)
    default = operator.update_quota_class_set("default", volumes=60)
    assert (default.volumes, mine.get_quota_set(DEMO).volumes) == (60, 60)
    operator.update_quota_class_set("default", volumes=50)
    assert {each.resource for each in mine.resource_filters()} >= {"volume", "snapshot"}


# -- the openstack command, in this process ------------------------------------------------------
@pytest.fixture(scope="module")
def run(cloud: VolumeCloud) -> CommandLine:
    """The administrator's."""
    return CommandLine(
        "--os-auth-type", "admin_token", "--os-token", "admin", "--os-endpoint",
        f"{cloud.url}/v3/{ADMIN}", "--os-volume-api-version", "3.71",
    )  # fmt: skip


def test_volumes_by_command(cloud: VolumeCloud, run: CommandLine) -> None:
    made = run.json("volume create --size 1 --property a=b cli")
    assert (made["name"], made["size"], made["properties"]) == ("cli", 1, {"a": "b"})
    assert [each["Name"] for each in run.json("volume list")] == ["cli"]
    run("volume set --size 2 --property c=d --bootable cli")
    shown = run.json("volume show cli")
    assert (shown["size"], shown["bootable"]) == (2, True)
    assert shown["properties"] == {"a": "b", "c": "d"}
    run("volume unset --property a cli")
    assert run.json("volume summary")["Total Count"] == 1

    kept = run.json("volume snapshot create --volume cli noon")
    assert run.json("volume snapshot show noon")["status"] == "available"
    run("volume snapshot set --name evening --property x=y noon")
    assert [each["Name"] for each in run.json("volume snapshot list")] == ["evening"]
    run("volume revert evening")
    copy = run.json(f"volume create --snapshot {kept['id']} copy")
    assert copy["snapshot_id"] == kept["id"]
    run.refused("volume delete cli")
    run("volume snapshot delete evening")

    run("volume backup create --name night cli")
    assert cloud.jobs.wait_idle(60)
    backup = run.json("volume backup show night")
    assert backup["status"] == "available"
    run("volume backup set --name day night")
    record = run.json("volume backup record export day")
    assert "minicloud.volume.vault" in str(record)
    run.refused("volume backup restore day copy")
    run("volume backup restore --force day copy")
    assert cloud.jobs.wait_idle(60)
    run("volume backup delete day")
    assert run.json("volume backup list") == []

    offer = run.json("volume transfer request create --name gift copy")
    assert [each["Name"] for each in run.json("volume transfer request list")] == ["gift"]
    run(f"volume transfer request accept {offer['id']} --auth-key {offer['auth_key']}")
    run("volume delete cli copy")
    assert run.json("volume list") == []


def test_types_and_the_operators_by_command(cloud: VolumeCloud, run: CommandLine) -> None:
    cloud.turn()
    run("volume type create --property tier=1 silver")
    assert run.json("volume type show silver")["properties"] == {"tier": "1"}
    run("volume type set --property speed=fast silver")
    run("volume type unset --property tier silver")
    assert "silver" in [each["Name"] for each in run.json("volume type list")]
    run("volume qos create --consumer front-end --property total_iops_sec=9 slow")
    run("volume qos associate slow silver")
    assert run.json("volume qos show slow")["associations"] == ["silver"]
    run("volume qos set --property read_iops_sec=5 slow")
    run("volume qos unset --property read_iops_sec slow")
    run("volume qos disassociate --all slow")
    run("volume qos delete slow")

    run("volume group type create pairs")
    run("volume group create --volume-group-type pairs --volume-type silver --name db")
    assert [each["Name"] for each in run.json("volume group list")] == ["db"]
    run("volume create --size 1 --type silver inside")
    run("volume group add volume db inside")
    run("volume group snapshot create db --name noon")
    assert [each["Name"] for each in run.json("volume group snapshot list")] == ["noon"]
    run("volume group snapshot delete noon")
    run("volume group delete --force db")
    run("volume group type delete pairs")

    made = run.json("volume create --size 1 plain")
    run(f"volume set --type silver {made['id']}")
    assert run.json("volume show plain")["type"] == "silver"
    run("volume set --read-only --image-property os=linux plain")
    run("volume set --state error plain")
    attachment = run.json("volume attachment list")
    assert attachment == []
    services = run.json("volume service list")
    assert "cinder-volume" in [each["Binary"] for each in services]
    run(f"volume service set --disable --disable-reason repair {HOST}@files cinder-volume")
    run(f"volume service set --enable {HOST}@files cinder-volume")
    assert [each["Name"] for each in run.json("volume backend pool list")] == [
        f"{HOST}@files#files"
    ]
    assert run.json(f"volume backend capability show {HOST}@files")
    assert run.json("volume message list") == []
    assert run.json("block storage resource filter list")
    assert run.json("block storage cluster list") == []
    run("volume delete --force plain")
    (cloud.files / "managed" / "old-disk").write_bytes(b"x" * 4096)
    run(f"volume create --remote-source source-name=old-disk --host {HOST}@files managed")
    assert run.json("volume show managed")["status"] == "available"
    run("volume delete managed")
    run("volume type delete silver")
