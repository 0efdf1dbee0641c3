"""Volumes as disks of real guests: the exporter dies, the volume grows, snapshots are taken, and
the guest sees no error.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import guest
import pytest
from labhost import LabHost, missing, wait_for
from volume import VolumeCloud, volume_cloud

from minicloud.domain.ids import domain_name, new_id
from minicloud.virt.driver import DomainSpec, FileDisk, NbdDisk
from minicloud.virt.libvirt import disks

pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(missing()), reason=missing())]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from guest_io import GuestIo  # noqa: E402 - only where libvirt is

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402

NEWEST = {"OpenStack-API-Version": "volume 3.71"}


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path) as cloud:
        yield cloud


def boot(driver: LibvirtDriver, directory: Path) -> str:
    """The id of a server that has greeted."""
    server_id = new_id()
    own = directory / server_id
    base = directory / "base.raw"
    guest.write_image(base)
    disks.ensure_overlay(own / "disk", base, "raw", 1)
    spec = DomainSpec(
        server_id=server_id,
        name=domain_name(server_id),
        title="guest",
        vcpus=1,
        memory_mb=32,
        disks=(FileDisk(path=str(own / "disk"), format="qcow2", target="vda", boot_index=0),),
        nics=(),
        console_log=str(own / "console.log"),
    )
    driver.ensure_running(spec)
    return server_id


def attach(cloud: VolumeCloud, driver: LibvirtDriver, server_id: str, volume_id: str) -> NbdDisk:
    body = {"volume_uuid": volume_id, "instance_uuid": server_id,
            "connector": {"host": "lab1", "nbd_reconnect": True}}  # fmt: skip
    made = cloud.ask("POST", "/attachments", 200, json={"attachment": body})["attachment"]
    info = made["connection_info"]
    disk = NbdDisk(export=info["export"], target="vdb", socket=info["socket"], serial=volume_id,
                   reconnect_s=info["reconnect_delay"])  # fmt: skip
    driver.ensure_device(server_id, disk)
    cloud.complete(made["id"])
    return disk


@pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")
def test_a_guests_disk_outlives_its_exporter_and_grows(
    cloud: VolumeCloud, lab: LabHost, driver: LibvirtDriver, tmp_path: Path
) -> None:
    server_id = boot(driver, tmp_path)
    volume = cloud.create(1)
    io = GuestIo(lab, driver, server_id, volume["id"])
    disk = attach(cloud, driver, server_id, volume["id"])
    io.does("write -P 0x11 0 64k")

    cloud.kill(volume["id"])
    cloud.turn()
    io.does("read -P 0x11 0 64k")
    io.does("write -P 0x22 1M 64k")

    body = {"snapshot": {"volume_id": volume["id"]}}
    kept = cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)["snapshot"]
    io.does("write -P 0x33 0 64k")
    copy = cloud.create(1, snapshot_id=kept["id"])
    other = subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "read -P 0x11 0 64k", str(cloud.disk(copy["id"]))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "failed" not in other.stdout

    grow = {"os-extend": {"new_size": 2}}
    cloud.ask("POST", f"/volumes/{volume['id']}/action", 202, json=grow, headers=NEWEST)
    driver.ensure_disk_size(server_id, disk, 2 << 30)
    io.does("write -P 0x44 1536M 64k")
    io.does("read -P 0x33 0 64k")

    attachment = cloud.show(volume["id"])["attachments"][0]["attachment_id"]
    driver.ensure_no_device(server_id, disk, limit_s=60)
    cloud.detach(attachment)
    assert cloud.show(volume["id"])["status"] == "available"
    wait_for(lambda: not driver.has_device(server_id, disk), "the disk to go", 10)
    nodes = driver._connection.ask_qemu(server_id, "query-named-block-nodes", {"flat": True})
    assert not [each for each in nodes if each["node-name"].startswith("mc-")]


@pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU")
def test_layers_are_merged_while_the_guest_writes(
    cloud: VolumeCloud, lab: LabHost, driver: LibvirtDriver, tmp_path: Path
) -> None:
    server_id = boot(driver, tmp_path)
    volume = cloud.create(1)
    io = GuestIo(lab, driver, server_id, volume["id"])
    attach(cloud, driver, server_id, volume["id"])
    body = {"snapshot": {"volume_id": volume["id"], "force": True}}
    kept = []
    for number in range(4):
        io.does(f"write -P {number + 1} {number * 48}M 96M")
        made = cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)
        kept.append(made["snapshot"]["id"])

    def layers() -> int:
        return len(list((cloud.files / "layers").iterdir()))

    assert layers() == 5
    for each in kept:
        cloud.ask("DELETE", f"/snapshots/{each}", 202)
    other = cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)["snapshot"]["id"]
    cloud.ask("DELETE", f"/snapshots/{other}", 202)
    assert layers() == 6
    size = 3 * 48 + 96  # MiB
    writes, give_up_at = 0, time.monotonic() + 300
    while layers() > 2:
        assert time.monotonic() < give_up_at
        cloud.turn()
        # Above what was written before, some of it while the blocks below are on their way.
        io.does(f"write -P 0x77 {writes % size}M 4k")
        io.does(f"read -P 0x77 {writes % size}M 4k")
        writes += 1
        if writes == 3:
            cloud.kill(volume["id"])
    for at in range(size):
        skipped = 4 if at < writes else 0  # KiB
        number = min(at // 48, 3) + 1
        where = f"{at * 1024 + skipped}k {1024 - skipped}k"
        io.does(f"read -P {number} {where}")
        if skipped:
            io.does(f"read -P 0x77 {at}M 4k")
