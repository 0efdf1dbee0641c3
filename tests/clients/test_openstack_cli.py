"""The real ``openstack`` client against a live cloud with real guests, each effect checked."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.command_line import CommandLine
from clients.conftest import CLOUDS, LiveCloud, until

pytestmark = [pytest.mark.clients, pytest.mark.host]


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def server(live_cloud, name: str) -> Iterator[dict]:
    yield live_cloud.openstack_json(
        "server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private",
        "--key-name", "demo", "--wait", name,
    )  # fmt: skip
    if name in live_cloud.openstack("server", "list", "-f", "value", "-c", "Name"):
        live_cloud.openstack("server", "delete", "--wait", name)


def domains() -> str:
    return subprocess.run(
        ["virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_token_and_catalog(live_cloud) -> None:
    assert live_cloud.openstack_json("token", "issue")["project_id"]
    types = {entry["Type"] for entry in live_cloud.openstack_json("catalog", "list")}
    assert {"identity", "compute", "image", "network", "block-storage"} <= types


def test_what_a_new_cloud_has(live_cloud) -> None:
    flavors = {f["ID"]: f["Name"] for f in live_cloud.openstack_json("flavor", "list")}
    assert flavors["42"] == "m1.nano"
    assert flavors["4"] == "m1.large"
    networks = {n["Name"] for n in live_cloud.openstack_json("network", "list")}
    assert {"private", "public"} <= networks
    assert "tiny" in {i["Name"] for i in live_cloud.openstack_json("image", "list")}


def test_image_create_and_delete(live_cloud, name: str, tmp_path: Path) -> None:
    data = tmp_path / "image.raw"
    data.write_bytes(b"\0" * 4096)
    made = live_cloud.openstack_json(
        "image", "create", "--disk-format", "raw", "--container-format", "bare", "--file",
        str(data), name,
    )  # fmt: skip
    shown = live_cloud.openstack_json("image", "show", made["id"])
    assert (shown["status"], shown["size"]) == ("active", 4096)
    live_cloud.openstack("image", "delete", name)


def test_a_servers_life(live_cloud, server: dict, name: str) -> None:
    assert server["status"] == "ACTIVE"
    assert f"minicloud-{server['id']}" in domains()
    assert live_cloud.openstack_json("server", "show", name)["addresses"]["private"]

    live_cloud.wait_for_ssh(name)
    assert live_cloud.guest(name, "hostname").strip() == name
    assert "tiny: ready" in live_cloud.openstack("console", "log", "show", name)
    url = "http://169.254.169.254/openstack/latest/password"
    post = f"wget -qO- --post-data sealed {url}"
    assert live_cloud.guest(name, f"{post} && {post} || wget -qO- {url}").strip() == "sealed"

    events = live_cloud.openstack_json("server", "event", "list", name)
    assert [event["Action"] for event in events] == ["create"]
    request = events[0]["Request ID"]
    shown = live_cloud.openstack_json("server", "event", "show", name, request)
    steps = [e["event"] for e in shown["events"] if e["event"].startswith("step_")]
    assert len(set(steps)) == 28

    live_cloud.openstack("server", "stop", name)
    live_cloud.wait_for_status(name, "SHUTOFF")
    live_cloud.openstack("server", "start", name)
    live_cloud.wait_for_status(name, "ACTIVE")
    live_cloud.openstack("server", "reboot", "--hard", "--wait", name)
    live_cloud.wait_for_ssh(name)  # which hears of the next one, and need not be killed for it
    live_cloud.openstack("server", "reboot", "--soft", "--wait", name)
    assert live_cloud.openstack_json("server", "show", name)["status"] == "ACTIVE"

    live_cloud.openstack("server", "delete", "--wait", name)
    assert server["id"] not in domains()


def test_a_blank_volume_is_a_second_disk_in_the_guest(live_cloud, name: str) -> None:
    live_cloud.openstack(
        "server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private",
        "--key-name", "demo", "--wait", "--block-device",
        "source_type=blank,destination_type=volume,volume_size=1,delete_on_termination=true", name,
    )  # fmt: skip
    try:
        live_cloud.wait_for_ssh(name)
        assert " vdb\n" in live_cloud.guest(name, "cat /proc/partitions")
        made = live_cloud.openstack_json("server", "show", name)
        attached = [
            volume
            for volume in live_cloud.openstack_json("volume", "list")
            if [a for a in volume["Attached to"] if a["server_id"] == made["id"]]
        ]
        assert [v["Attached to"][0]["device"] for v in attached] == ["/dev/vdb"]
    finally:
        live_cloud.openstack("server", "delete", "--wait", name)
    left = {volume["ID"] for volume in live_cloud.openstack_json("volume", "list")}
    assert attached[0]["ID"] not in left


def test_volume_create_and_delete(live_cloud, name: str) -> None:
    made = live_cloud.openstack_json("volume", "create", "--size", "1", name)
    assert made["size"] == 1
    live_cloud.openstack("volume", "delete", name)


def test_a_projects_clean_up(live_cloud: LiveCloud, admin: CommandLine, name: str) -> None:
    project = admin.json("project create", name)["id"]
    admin("role add --user admin member --project", project)
    theirs = CommandLine("--os-cloud", "minicloud-admin", "--os-project-name", name, config=CLOUDS)
    theirs("network create", name)
    theirs("subnet create --subnet-range 10.44.0.0/24 --network", name, name)
    theirs("router create", name)
    theirs("router add subnet", name, name)
    volume = theirs.json("volume create --size 1", name)["id"]
    theirs("volume snapshot create --volume", volume, name)
    found = admin("project cleanup --dry-run --project", project)
    for noun in ("Network", "Subnet", "Router", "Volume", "Snapshot"):
        assert f"| {noun} " in found
    admin("project cleanup --auto-approve --project", project)
    until(lambda: theirs.json("volume list") == [])
    assert name not in theirs("network list") + theirs("router list") + theirs("subnet list")
    admin("project delete", project)


def test_what_the_client_says_of_a_cloud(demo: CommandLine) -> None:
    versions = {row["Service Type"]: row for row in demo.json("versions show")}
    assert versions["compute"]["Max Microversion"] == "2.100"
    assert versions["block-storage"]["Max Microversion"] == "3.71"
    assert demo.json("configuration show")["auth.username"] == "demo"
    demo("cloud cache delete")


def test_refusals_are_told(live_cloud, name: str) -> None:
    with pytest.raises(AssertionError, match=r"No Image found|could not be found|not found"):
        live_cloud.openstack(
            "server", "create", "--image", "nosuch", "--flavor", "m1.nano", "--network", "private",
            name,
        )  # fmt: skip
