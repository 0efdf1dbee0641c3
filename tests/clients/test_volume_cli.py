"""Every ``openstack volume`` command on a live cloud, its effect looked at where the bytes are."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.command_line import CommandLine
from clients.conftest import CLOUDS, LiveCloud, until

pytestmark = [pytest.mark.clients, pytest.mark.host]

STATE = Path("/var/lib/minicloud/volume")
MANAGED, BACKUPS, EXPORTS = STATE / "data/managed", STATE / "backups", STATE / "exports"
HOST = socket.gethostname()
BACKEND, POOL = f"{HOST}@files", f"{HOST}@files#files"
GIB = 1 << 30


@pytest.fixture(scope="module")
def demo(live_cloud: LiveCloud) -> CommandLine:
    return _newest("minicloud")


@pytest.fixture(scope="module")
def admin(live_cloud: LiveCloud) -> CommandLine:
    return _newest("minicloud-admin")


def _newest(cloud: str) -> CommandLine:
    return CommandLine("--os-cloud", cloud, "--os-volume-api-version", "3.71", config=CLOUDS)


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def volume(demo: CommandLine, name: str) -> Iterator[str]:
    """The id of a volume of 1 GiB."""
    made: str = demo.json("volume create --size 1", name)["id"]
    becomes(demo, "volume", made, "available")
    yield made
    if made in demo("volume list"):
        demo("volume delete --cascade", made)


@pytest.fixture(scope="module")
def guest(live_cloud: LiveCloud) -> Iterator[str]:
    """A server's name; the server runs, and ssh leads into it."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    live_cloud.openstack(
        "server create --image tiny --flavor m1.nano --network private --key-name demo --wait", name
    )
    live_cloud.wait_for_ssh(name)
    yield name
    live_cloud.openstack("server delete --wait", name)


def becomes(client: CommandLine, noun: str, name: str, status: str) -> dict[str, Any]:
    """What ``NOUN show`` says of it, once it has the status."""
    shown: dict[str, Any] = {}

    def has() -> bool:
        shown.update(client.json(f"{noun} show", name))
        assert "error" not in shown["status"] or "error" in status, shown
        return bool(shown["status"] == status)

    until(has)
    return shown


def goes(client: CommandLine, noun: str, name: str) -> None:
    """Until ``NOUN list`` has no such line."""
    until(lambda: name not in client(f"{noun} list"))


# -- on the host ---------------------------------------------------------------------------------
def disk(thing: str, kind: str = "volumes") -> Path:
    """The file that has the bytes of a volume or, of ``kind`` snapshots, a snapshot."""
    return (STATE / "data" / kind / thing).resolve(strict=True)


def image_info(path: Path) -> dict[str, Any]:
    words = ["qemu-img", "info", "-U", "--output", "json", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write(volume: str, byte: int) -> None:
    """The volume's first MiB becomes that byte. Nobody else has it open."""
    _qemu_io(disk(volume), f"write -P {byte} 0 1M")


def holds(path: Path, byte: int) -> bool:
    """Whether the first MiB is all that byte."""
    return "verification failed" not in _qemu_io(path, f"read -P {byte} 0 1M", "-r", "-U")


def _qemu_io(path: Path, command: str, *options: str) -> str:
    form = path.suffix.lstrip(".")
    done = subprocess.run(
        ["qemu-io", *options, "-f", form, "-c", command, str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 MiB" in done.stdout or "verification failed" in done.stdout, done.stdout + done.stderr
    return done.stdout


# -- volumes -------------------------------------------------------------------------------------
def test_volumes(demo: CommandLine, admin: CommandLine, name: str) -> None:
    made = demo.json("volume create --size 1 --description d --property a=b --read-only", name)
    volume = made["id"]
    shown = becomes(demo, "volume", volume, "available")
    assert (shown["name"], shown["size"], shown["properties"]) == (
        name, 1, {"a": "b", "readonly": "True"}
    )  # fmt: skip
    assert image_info(disk(volume))["virtual-size"] == GIB

    other = f"{name}-2"
    demo("volume set --size 2 --property c=d --bootable --read-write --description e", volume)
    demo("volume set --image-property os=linux --name", other, volume)
    shown = demo.json("volume show", other)
    assert (shown["size"], shown["bootable"], shown["description"]) == (2, True, "e")
    assert shown["properties"] == {"a": "b", "c": "d", "readonly": "False"}
    assert shown["volume_image_metadata"] == {"os": "linux"}
    assert image_info(disk(volume))["virtual-size"] == 2 * GIB
    demo("volume unset --property a --image-property os", other)
    shown = demo.json("volume show", other)
    assert shown["properties"] == {"c": "d", "readonly": "False"}
    assert "volume_image_metadata" not in shown
    demo("volume set --no-property --property x=y", other)
    assert demo.json("volume show", other)["properties"]["x"] == "y"

    (row,) = demo.json("volume list --long --status available --property x=y --name", other)
    assert (row["ID"], row["Size"], row["Type"]) == (volume, 2, "__DEFAULT__")
    assert volume in admin("volume list --all-projects")
    before = demo.json("volume summary")["Total Size"]
    admin("volume set --state error", volume)
    assert [row["ID"] for row in demo.json("volume list --status error")] == [volume]
    assert "403" in demo.refused("volume delete --force", volume)
    path = disk(volume)
    admin("volume delete --force", volume)
    goes(demo, "volume", volume)
    assert not path.exists()
    assert demo.json("volume summary")["Total Size"] == before - 2


def test_volumes_of_volumes_and_images(demo: CommandLine, volume: str, name: str) -> None:
    write(volume, 7)
    copy = demo.json("volume create --source", volume, f"{name}-copy")["id"]
    becomes(demo, "volume", copy, "available")
    write(volume, 8)
    assert holds(disk(copy), 7)
    of_image = demo.json("volume create --size 1 --image tiny", f"{name}-tiny")["id"]
    shown = becomes(demo, "volume", of_image, "available")
    assert (shown["bootable"], shown["volume_image_metadata"]["image_name"]) == (True, "tiny")
    assert not holds(disk(of_image), 0)

    image = f"{name}-image"
    demo("image create --disk-format raw --container-format bare --volume", volume, image)
    becomes(demo, "image", image, "active")
    again = demo.json("volume create --size 1 --image", image, f"{name}-again")["id"]
    becomes(demo, "volume", again, "available")
    assert holds(disk(again), 8)
    demo("image delete", image)
    demo("volume delete", copy, of_image, again)
    for each in (copy, of_image, again):
        goes(demo, "volume", each)


def test_snapshots(demo: CommandLine, admin: CommandLine, volume: str, name: str) -> None:
    write(volume, 1)
    demo("volume snapshot create --property a=b --description d --volume", volume, name)
    snapshot = becomes(demo, "volume snapshot", name, "available")["id"]
    write(volume, 2)
    assert holds(disk(snapshot, "snapshots"), 1)
    assert image_info(disk(volume))["full-backing-filename"] == str(disk(snapshot, "snapshots"))

    demo("volume snapshot set --property c=d --description e --name", f"{name}-2", snapshot)
    demo("volume snapshot unset --property a", snapshot)
    shown = demo.json("volume snapshot show", f"{name}-2")
    assert (shown["description"], shown["properties"]) == ("e", {"c": "d"})
    (row,) = demo.json("volume snapshot list --long --status available --volume", volume)
    assert (row["ID"], row["Name"]) == (snapshot, f"{name}-2")
    assert snapshot in admin("volume snapshot list --all-projects --name", f"{name}-2")

    copy = demo.json("volume create --snapshot", snapshot, f"{name}-copy")["id"]
    becomes(demo, "volume", copy, "available")
    assert holds(disk(copy), 1)
    demo("volume revert", snapshot)
    becomes(demo, "volume", volume, "available")
    assert holds(disk(volume), 1)

    assert "dependent snapshots" in demo.refused("volume delete", volume)
    admin("volume snapshot set --state error", snapshot)
    assert demo.json("volume snapshot list --status error")[0]["ID"] == snapshot
    assert "501" in admin.refused("volume snapshot delete --remote", snapshot)
    frozen = disk(snapshot, "snapshots")
    admin("volume snapshot delete --force", snapshot)
    goes(demo, "volume snapshot", snapshot)
    assert not (STATE / "data/snapshots" / snapshot).exists()
    demo("volume delete", copy)
    goes(demo, "volume", copy)
    demo("volume snapshot create --volume", volume, name)
    demo("volume delete --cascade", volume)
    goes(demo, "volume", volume)
    assert not frozen.exists()


# -- backups -------------------------------------------------------------------------------------
def test_backups(demo: CommandLine, admin: CommandLine, volume: str, name: str) -> None:
    write(volume, 1)
    full = demo.json("volume backup create --property a=b --name", name, volume)["id"]
    becomes(demo, "volume backup", full, "available")
    stored = (BACKUPS / full / "data").stat().st_size
    assert stored > 0
    assert json.loads((BACKUPS / full / "manifest.json").read_text())["size_bytes"] == GIB
    write(volume, 2)
    part = demo.json("volume backup create --incremental --name", f"{name}-part", volume)["id"]
    assert becomes(demo, "volume backup", part, "available")["is_incremental"] is True
    snapshot = demo.json("volume snapshot create --volume", volume, name)["id"]
    becomes(demo, "volume snapshot", snapshot, "available")
    kept = demo.json("volume backup create --snapshot", snapshot, "--name", f"{name}-s", volume)
    assert becomes(demo, "volume backup", kept["id"], "available")["snapshot_id"] == snapshot

    demo("volume backup set --property c=d --description e --name", f"{name}-full", full)
    shown = demo.json("volume backup show", f"{name}-full")
    assert (shown["description"], shown["metadata"]) == ("e", {"a": "b", "c": "d"})
    # What the client asks for is no endpoint of the API's.
    assert "404" in demo.refused("volume backup unset --property a", full)
    demo("volume backup set --no-property", full)
    assert demo.json("volume backup show", full)["metadata"] == {}
    rows = demo.json("volume backup list --long --status available --volume", volume)
    assert {row["ID"] for row in rows} == {full, part, kept["id"]}
    assert full in admin("volume backup list --all-projects --name", f"{name}-full")

    restored = demo.json("volume backup restore", full, f"{name}-new")["volume_id"]
    becomes(demo, "volume", restored, "available")
    assert holds(disk(restored), 1)
    assert "--force" in demo.refused("volume backup restore", part, restored)
    demo("volume backup restore --force", part, restored)
    becomes(demo, "volume", restored, "available")
    assert holds(disk(restored), 2)
    made = demo.json("volume create --size 1 --backup", full, f"{name}-made")["id"]
    becomes(demo, "volume", made, "available")
    assert holds(disk(made), 1)

    assert "Incremental backups exist" in demo.refused("volume backup delete", full)
    demo("volume backup delete", kept["id"], part)
    for each in (kept["id"], part):
        goes(demo, "volume backup", each)
        assert not (BACKUPS / each).exists()
    admin("volume backup set --state error", full)
    becomes(demo, "volume backup", full, "error")
    admin("volume backup delete --force", full)
    goes(demo, "volume backup", full)
    assert not (BACKUPS / full).exists()
    demo("volume delete", restored, made)


def test_records_of_backups(live_cloud: LiveCloud, admin: CommandLine, name: str) -> None:
    """A backup that the cloud has forgotten is taken in again by its record."""
    volume = admin.json("volume create --size 1", name)["id"]
    becomes(admin, "volume", volume, "available")
    write(volume, 3)
    backup = admin.json("volume backup create --name", name, volume)["id"]
    becomes(admin, "volume backup", backup, "available")
    record = admin.json("volume backup record export", backup)
    aside = BACKUPS / f"{backup}.aside"
    shutil.copytree(BACKUPS / backup, aside)
    admin("volume backup delete", backup)
    goes(admin, "volume backup", backup)
    shutil.copytree(aside, BACKUPS / backup)
    shutil.rmtree(aside)
    subprocess.run(["chown", "-R", "--reference", BACKUPS, BACKUPS / backup], check=True)
    # The client posts the record to another endpoint than the API's.
    words = (record["backup_service"], record["backup_url"])
    assert "405" in admin.refused("volume backup record import", *words)
    volumes = live_cloud.connect("minicloud-admin").block_storage
    volumes.post("/backups/import_record", json={"backup-record": record})
    becomes(admin, "volume backup", backup, "available")

    admin("volume backup restore --force", backup, volume)
    becomes(admin, "volume", volume, "available")
    assert holds(disk(volume), 3)
    with (BACKUPS / backup / "data").open("r+b") as data:
        data.write(b"damaged")
    admin("volume backup restore --force", backup, volume)
    becomes(admin, "volume", volume, "error_restoring")
    (message,) = [row for row in admin.json("volume message list")
                  if row["Resource UUID"] == volume]  # fmt: skip
    assert "is damaged" in message["User Message"], message
    # The client shows no more of a message than its id.
    assert admin.json("volume message show", message["ID"])["ID"] == message["ID"]
    admin("volume message delete", message["ID"])
    assert message["ID"] not in admin("volume message list")
    admin("volume backup delete", backup)
    admin("volume delete --force", volume)


# -- types, quality of service, groups -------------------------------------------------------------
def test_types(demo: CommandLine, admin: CommandLine, name: str) -> None:
    admin("volume type create --private --project demo --description d --property k=v", name)
    try:
        assert name in demo("volume type list --private")
        shown = admin.json("volume type show", name)
        assert (shown["is_public"], shown["properties"]) == (False, {"k": "v"})
        assert len(shown["access_project_ids"]) == 1
        admin("volume type unset --project demo --property k", name)
        assert name not in demo("volume type list")
        words = demo.refused("volume create --size 1 --type", name, name)
        assert "could not be found" in words
        admin("volume type set --project demo --multiattach --description e", name)
        assert admin.json("volume type show", name)["properties"] == {"multiattach": "<is> True"}
        volume = demo.json("volume create --size 1 --type", name, name)["id"]
        assert becomes(demo, "volume", volume, "available")["multiattach"] is True
        demo("volume set --type __DEFAULT__", volume)
        assert becomes(demo, "volume", volume, "available")["multiattach"] is False
        demo("volume delete", volume)
        goes(demo, "volume", volume)
        assert [row["Name"] for row in demo.json("volume type list --default")] == ["__DEFAULT__"]
        words = admin.refused("volume type set --encryption-provider luks", name)
        assert "Volumes are not encrypted here" in words
        assert admin.json("volume type show --encryption-type", name)["encryption"] == {}
    finally:
        admin("volume type delete", name)
    assert name not in admin("volume type list")


def test_quality_of_service(admin: CommandLine, name: str) -> None:
    admin("volume type create", name)
    admin("volume qos create --consumer front-end --property total_iops_sec=9", name)
    admin("volume qos associate", name, name)
    admin("volume qos set --property read_iops_sec=5", name)
    (row,) = [row for row in admin.json("volume qos list") if row["Name"] == name]
    assert (row["Consumer"], row["Associations"]) == ("front-end", [name])
    assert row["Properties"] == {"total_iops_sec": "9", "read_iops_sec": "5"}
    admin("volume qos unset --property read_iops_sec", name)
    shown = admin.json("volume qos show", name)
    assert (shown["properties"], shown["associations"]) == ({"total_iops_sec": "9"}, [name])
    assert "still associated" in admin.refused("volume qos delete", name)
    admin("volume qos disassociate --volume-type", name, name)
    assert "associations" not in admin.json("volume qos show", name)
    admin("volume qos associate", name, name)
    admin("volume qos disassociate --all", name)
    admin("volume qos delete", name)
    assert name not in admin("volume qos list")
    admin("volume type delete", name)


def test_groups(demo: CommandLine, admin: CommandLine, volume: str, name: str) -> None:
    kind = f"{name}-kind"
    admin("volume group type create --description d", kind)
    admin("volume group type set --property k=v --description e", kind)
    assert admin.json("volume group type show", kind)["Properties"] == {"k": "v"}
    admin("volume group type set --no-property", kind)
    shown = admin.json("volume group type show", kind)
    assert (shown["Description"], shown["Properties"]) == ("e", {})
    assert kind in demo("volume group type list")

    demo("volume group create --volume-type __DEFAULT__ --volume-group-type", kind, "--name", name)
    becomes_group(demo, name)
    demo("volume group set --description d --name", f"{name}-2", name)
    demo("volume group add volume", f"{name}-2", volume)
    shown = demo.json("volume group show --volumes", f"{name}-2")
    assert (shown["Description"], shown["Volumes"]) == ("d", [volume])
    assert f"{name}-2" in admin("volume group list --all-projects")

    write(volume, 4)
    demo("volume group snapshot create --name", name, f"{name}-2")
    assert f"{name}" in demo("volume group snapshot list")
    kept = demo.json("volume group snapshot show", name)
    assert kept["Status"] == "available"
    write(volume, 5)
    for words, byte in (
        (("--group-snapshot", name), 4), (("--source-group", f"{name}-2"), 5)
    ):  # fmt: skip
        demo("volume group create", *words, "--name", f"{name}-copy")
        copied = becomes_group(demo, f"{name}-copy")
        (member,) = copied["Volumes"]
        assert holds(disk(member), byte)
        demo("volume group delete --force", f"{name}-copy")
        goes(demo, "volume", member)
    demo("volume group snapshot delete", name)
    goes(demo, "volume group snapshot", kept["ID"])
    demo("volume group remove volume", f"{name}-2", volume)
    assert demo.json("volume group show --volumes", f"{name}-2")["Volumes"] == []
    group = demo.json("volume group show", f"{name}-2")["ID"]
    # The client asks for an action of another name than the API's.
    assert "no such action" in admin.refused("volume group failover", group)
    demo("volume group delete", group)
    goes(demo, "volume group", group)
    admin("volume group type delete", kind)
    assert kind not in demo("volume group type list")


def becomes_group(client: CommandLine, name: str) -> dict[str, Any]:
    until(lambda: client.json("volume group show", name)["Status"] == "available")
    found: dict[str, Any] = client.json("volume group show --volumes", name)
    return found


def test_consistency_groups_are_not_there(admin: CommandLine, volume: str) -> None:
    for words in (
        admin.refused("consistency group create --volume-type __DEFAULT__ x"),
        admin.refused("consistency group list"),
        admin.refused("consistency group show x"),
        admin.refused("consistency group set --name y x"),
        admin.refused("consistency group add volume x", volume),
        admin.refused("consistency group remove volume x", volume),
        admin.refused("consistency group delete x"),
        admin.refused("consistency group snapshot create --consistency-group x y"),
        admin.refused("consistency group snapshot list"),
        admin.refused("consistency group snapshot show x"),
        admin.refused("consistency group snapshot delete x"),
    ):
        assert "The resource could not be found" in words


# -- other owners ----------------------------------------------------------------------------------
def test_transfer_requests(demo: CommandLine, admin: CommandLine, volume: str, name: str) -> None:
    offer = demo.json("volume transfer request create --name", name, volume)
    assert demo.json("volume show", volume)["status"] == "awaiting-transfer"
    shown = demo.json("volume transfer request show", name)
    assert (shown["id"], shown["volume_id"]) == (offer["id"], volume)
    demo("volume transfer request delete", offer["id"])
    assert demo.json("volume transfer request list") == []
    offer = demo.json("volume transfer request create --no-snapshots --name", name, volume)
    (row,) = demo.json("volume transfer request list")
    assert (row["ID"], row["Volume"]) == (offer["id"], volume)
    accept = ("volume transfer request accept", offer["id"], "--auth-key")
    assert "invalid auth key" in admin.refused(*accept, "0123456789abcdef")
    admin(*accept, offer["auth_key"])
    assert volume not in demo("volume list")
    assert admin.json("volume show", volume)["status"] == "available"
    admin("volume delete", volume)
    goes(admin, "volume", volume)


# -- operators -------------------------------------------------------------------------------------
def test_services_and_backends(admin: CommandLine, demo: CommandLine) -> None:
    words = ("volume service set", BACKEND, "cinder-volume")
    admin(*words, "--disable", "--disable-reason", "repair")
    (row,) = admin.json("volume service list --long --service cinder-volume")
    assert (row["Host"], row["Status"], row["Disabled Reason"]) == (BACKEND, "disabled", "repair")
    admin(*words, "--enable")
    admin("volume host set --disable", BACKEND)
    admin("volume host set --enable", BACKEND)
    (row,) = admin.json("volume service list --service cinder-volume --host", BACKEND)
    assert (row["Status"], row["State"]) == ("enabled", "up")
    assert "403" in demo.refused("volume service list")
    assert "no replica" in admin.refused("volume host failover --volume-backend x", BACKEND)

    (pool,) = admin.json("volume backend pool list --long")
    assert pool["Name"] == POOL
    room = shutil.disk_usage(STATE / "data")
    assert abs(float(pool["Capabilities"]["total_capacity_gb"]) - room.total / GIB) < 1
    assert "thin_provisioning" in admin("volume backend capability show", BACKEND)

    assert admin.json("block storage cluster list") == []
    assert "Cluster x could not be found" in admin.refused("block storage cluster show x")
    assert "Cluster x could not be found" in admin.refused("block storage cluster set --enable x")
    filters = admin.json("block storage resource filter list")
    assert {"volume", "snapshot", "backup"} <= {row["Resource"] for row in filters}
    assert "status" in admin.json("block storage resource filter show volume")["Filters"]


def test_log_levels(admin: CommandLine) -> None:
    names = "--service cinder-volume --log-prefix minicloud.volume"
    (before,) = {row["Level"] for row in admin.json(f"block storage log level list {names}")}
    try:
        admin(f"block storage log level set {names} debug")
        (now,) = {row["Level"] for row in admin.json(f"block storage log level list {names}")}
        assert now == "DEBUG"
    finally:
        admin(f"block storage log level set {names} {before}")


def test_files_become_volumes_and_volumes_files(admin: CommandLine, name: str) -> None:
    file = MANAGED / name
    file.write_bytes(b"\7" * (1 << 20))
    manage = ("volume create", "--remote-source", f"source-name={name}", "--host", POOL)
    volume = admin.json(*manage, f"{name}-1")["id"]
    becomes(admin, "volume", volume, "error")  # root's file is not the service's to write to
    (message,) = [row for row in admin.json("volume message list")
                  if row["Resource UUID"] == volume]  # fmt: skip
    assert "belongs to another user" in message["User Message"]
    admin("volume delete", volume)
    goes(admin, "volume", volume)
    subprocess.run(["chown", "--reference", MANAGED, file], check=True)
    volume = admin.json(*manage, name)["id"]
    becomes(admin, "volume", volume, "available")
    assert not file.exists()
    assert holds(disk(volume), 7)
    assert "501" in admin.refused(
        "volume snapshot create --remote-source source-name=x --volume", volume, "x"
    )
    assert admin.json("block storage snapshot manageable list", POOL) == []
    assert "the volume is there already" in admin.refused("volume migrate", volume, "--host", POOL)
    admin("volume delete --remote", volume)
    goes(admin, "volume", volume)
    (row,) = [row for row in admin.json("block storage volume manageable list --long", POOL)
              if volume in str(row["reference"])]  # fmt: skip
    assert row["safe_to_manage"] is True
    left = MANAGED / row["reference"]["source-name"]
    assert left.read_bytes()[: 1 << 20] == b"\7" * (1 << 20)
    left.unlink()


# -- in a guest ------------------------------------------------------------------------------------
def test_a_guest_has_the_volume(
    live_cloud: LiveCloud, demo: CommandLine, volume: str, guest: str, name: str
) -> None:
    demo("server add volume", guest, volume)
    shown = becomes(demo, "volume", volume, "in-use")
    assert [each["device"] for each in shown["attachments"]] == ["/dev/vdb"]
    assert (EXPORTS / f"{volume}.sock").is_socket()
    disks = until_guest(live_cloud, guest, "cat /sys/block/vdb/serial")
    assert volume.startswith(disks)
    (row,) = demo.json("volume attachment list --volume-id", volume)
    assert row["Server ID"] == demo.json("server show", guest)["id"]
    attached = demo.json("volume attachment show", row["ID"])
    assert (attached["Status"], attached["Volume ID"]) == ("attached", volume)

    demo("--os-compute-api-version 2.89 server volume set --delete-on-termination", guest, volume)
    (row,) = demo.json("--os-compute-api-version 2.89 server volume list", guest)
    assert row["Delete On Termination?"] is True
    demo(
        "--os-compute-api-version 2.89 server volume update --preserve-on-termination",
        guest, volume,
    )  # fmt: skip
    (row,) = demo.json("--os-compute-api-version 2.89 server volume list", guest)
    assert row["Delete On Termination?"] is False

    live_cloud.guest(guest, "yes | sudo dd of=/dev/vdb bs=1M count=1 iflag=fullblock && sync")
    demo("volume snapshot create --force --volume", volume, name)
    snapshot = becomes(demo, "volume snapshot", name, "available")["id"]
    with pytest.raises(AssertionError, match="in-use"):
        demo("volume revert", snapshot)
    copy = demo.json("volume create --snapshot", snapshot, f"{name}-copy")["id"]
    becomes(demo, "volume", copy, "available")
    demo("server remove volume", guest, volume)
    becomes(demo, "volume", volume, "available")
    assert not (EXPORTS / f"{volume}.sock").exists()
    demo("volume snapshot delete", snapshot)
    demo("volume delete", copy)


def test_attachments_by_hand(
    demo: CommandLine, admin: CommandLine, volume: str, guest: str
) -> None:
    made = demo.json("volume attachment create --no-connect", volume, guest)
    attachment = made["ID"]
    becomes(demo, "volume", volume, "reserved")
    changed = demo.json("volume attachment set --mountpoint /dev/vdx --host", HOST, attachment)
    assert (EXPORTS / f"{volume}.sock").is_socket()
    assert changed["Properties"]["driver_volume_type"] == "nbd"
    demo("volume attachment complete", attachment)
    becomes(demo, "volume", volume, "in-use")
    assert "using the Compute API" in demo.refused("volume attachment delete", attachment)
    admin("volume attachment delete", attachment)
    becomes(demo, "volume", volume, "available")
    assert demo.json("volume attachment list --volume-id", volume) == []
    assert not (EXPORTS / f"{volume}.sock").exists()


def until_guest(live_cloud: LiveCloud, guest: str, command: str) -> str:
    """What the command says in the guest, once it succeeds there."""
    give_up_at = time.monotonic() + 60
    while True:
        try:
            return live_cloud.guest(guest, command).strip()
        except AssertionError:
            if time.monotonic() > give_up_at:
                raise
