"""Servers whose root disk is a volume, by the real ``openstack`` client: rebuilt and rescued."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from clients.conftest import until

pytestmark = [pytest.mark.clients, pytest.mark.host, pytest.mark.slow]


@pytest.fixture(scope="module")
def name(live_cloud: Any) -> Iterator[str]:
    """A server on a volume of the demo image."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    live_cloud.openstack(
        "server", "create", "--boot-from-volume", "1", "--image", "tiny", "--flavor", "m1.nano",
        "--network", "private", "--key-name", "demo", "--wait", name,
    )  # fmt: skip
    volume = root_volume(live_cloud, name)
    yield name
    live_cloud.openstack("server", "delete", "--wait", name)
    until(lambda: live_cloud.openstack_json("volume show", volume)["status"] == "available")
    live_cloud.openstack("volume", "delete", volume)


def root_volume(cloud: Any, name: str) -> str:
    (volume,) = cloud.openstack_json("server", "volume", "list", name)
    return str(volume["Volume ID"])


def disks(cloud: Any, name: str) -> list[tuple[str, str]]:
    """The disks of the guest's definition: (name, place in the order of booting)."""
    server = cloud.openstack_json("server", "show", name)
    done = subprocess.run(
        ["virsh", "-q", "-c", "qemu:///system", "dumpxml", server["id"]],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = []
    for disk in ET.fromstring(done.stdout).findall("devices/disk[@device='disk']"):
        target, boot = disk.find("target"), disk.find("boot")
        assert target is not None
        found.append((target.get("dev", ""), "" if boot is None else boot.get("order", "")))
    return found


def test_the_volume_gets_the_image_anew(live_cloud: Any, name: str) -> None:
    volume = root_volume(live_cloud, name)
    live_cloud.wait_for_ssh(name)
    live_cloud.guest(name, "echo kept > kept; sync")
    live_cloud.openstack(
        "--os-compute-api-version", "2.93", "server", "rebuild", "--image", "tiny",
        "--reimage-boot-volume", "--wait", name,
    )  # fmt: skip
    assert root_volume(live_cloud, name) == volume
    assert live_cloud.openstack_json("volume", "show", volume)["status"] == "in-use"
    live_cloud.wait_for_ssh(name)
    assert live_cloud.guest(name, "ls kept || echo none").strip().endswith("none")


def test_a_rescue_disk_boots_beside_the_volume(live_cloud: Any, name: str, tmp_path: Path) -> None:
    data = tmp_path / "image"
    live_cloud.openstack("image", "save", "--file", str(data), "tiny")
    shape = live_cloud.openstack_json("image", "show", "tiny")["disk_format"]
    image = f"{name}-rescue"
    live_cloud.openstack(
        "image", "create", "--disk-format", shape, "--file", str(data),
        "--property", "hw_rescue_device=disk", "--property", "hw_rescue_bus=virtio", image,
    )  # fmt: skip
    try:
        live_cloud.openstack(
            "--os-compute-api-version", "2.87", "server", "rescue", "--image", image, name
        )
        live_cloud.wait_for_status(name, "RESCUE")
        assert disks(live_cloud, name) == [("vda", ""), ("vdb", "1")]
        live_cloud.wait_for_ssh(name)
        assert " vdb\n" in live_cloud.guest(name, "cat /proc/partitions")
        live_cloud.openstack("server", "unrescue", name)
        live_cloud.wait_for_status(name, "ACTIVE")
        assert disks(live_cloud, name) == [("vda", "1")]
        live_cloud.wait_for_ssh(name)
    finally:
        live_cloud.openstack("image", "delete", image)
