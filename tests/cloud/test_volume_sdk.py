"""openstacksdk and the openstack command against the volume service, unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokens import ADMIN, DEMO
from volume import HOST, SERVER, VolumeCloud, volume_cloud

openstack = pytest.importorskip("openstack")
pytestmark = pytest.mark.clients
CLI = Path(sys.executable).with_name("openstack")


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
    assert list(mine.snapshots()) == []
    assert mine.get_limits().absolute.max_total_volumes == 50
    assert mine.get_quota_set(DEMO, usage=True).volumes == 50
    assert operator.update_quota_set(DEMO, volumes=7).volumes == 7
    operator.revert_quota_set(DEMO)
    assert mine.get_quota_set(DEMO).volumes == 50
    cloud.turn()
    assert "cinder-volume" in [each.binary for each in operator.services()]
    assert list(mine.extensions()) == []


@pytest.mark.skipif(not CLI.exists(), reason="needs python-openstackclient")
def test_volumes_by_command(cloud: VolumeCloud) -> None:
    def run(*words: str) -> Any:
        command = [CLI, "--os-auth-type", "admin_token", "--os-token", "demo", "--os-endpoint",
                   f"{cloud.url}/v3/{DEMO}", "volume", *words]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "json" in words else done.stdout

    made = run("create", "--size", "1", "--property", "a=b", "cli", "-f", "json")
    assert (made["name"], made["size"], made["properties"]) == ("cli", 1, {"a": "b"})
    (listed,) = run("list", "-f", "json")
    assert (listed["Name"], listed["Status"], listed["Size"]) == ("cli", "available", 1)
    assert run("show", "cli", "-f", "json")["id"] == made["id"]
    run("set", "--size", "2", "--property", "c=d", "cli")
    shown = run("show", made["id"], "-f", "json")
    assert (shown["size"], shown["properties"]) == (2, {"a": "b", "c": "d"})
    run("delete", "cli")
    assert run("list", "-f", "json") == []
