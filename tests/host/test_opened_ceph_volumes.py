"""Volumes in a real Ceph cluster that real guests open, by way of the volume service."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ceph_cluster
import guest
import pytest
from ceph_cluster import CephCluster, CephPool
from labhost import LabHost, missing, wait_for
from private_host import private_network
from volume import VolumeCloud, volume_cloud

from minicloud.client.volume import Attachment
from minicloud.compute.recipes.volumes import volume_disk
from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.models import BlockDevice
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, RbdDisk
from minicloud.virt.libvirt.keyring import CephUser
from minicloud.volume.backends.configured import Ceph
from minicloud.volume.backends.disks import RbdImage

_WHY_NOT = missing() or ceph_cluster.missing()
pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT),
    pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU"),
]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from guest_io import GuestIo  # noqa: E402 - only where libvirt is

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402

NEWEST = {"OpenStack-API-Version": "volume 3.71"}
SERVICE = {"X-Service-Token": "service"}
GIB = 1 << 30


@pytest.fixture(scope="module")
def ceph() -> Iterator[CephCluster]:
    """On the same network as the guests."""
    with private_network(), ceph_cluster.ceph_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(ceph: CephCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    lab = LabHost(tmp_path_factory.mktemp("lab"), shares_network=True)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def cloud(tmp_path: Path, ceph_pool: CephPool) -> Iterator[VolumeCloud]:
    settings = Ceph(pools={"ceph": ceph_pool.name}, conf=ceph_pool.conf, user=ceph_pool.user)
    with volume_cloud(tmp_path, ceph=settings, open_rbd={"ceph": None}) as cloud:
        cloud.turn()
        kind = {"name": "ceph", "extra_specs": {"volume_backend_name": "ceph"}}
        cloud.ask("POST", "/types", 200, "admin", json={"volume_type": kind})
        yield cloud


@pytest.fixture
def driver(lab: LabHost, tmp_path: Path, ceph_pool: CephPool) -> Iterator[LibvirtDriver]:
    keyring = tmp_path / "keyring"
    keyring.write_text(f"[client.{ceph_pool.user}]\n\tkey = {ceph_pool.key}\n")
    user = CephUser(name=ceph_pool.user, secret_uuid=new_id(), keyring=keyring)
    driver = LibvirtDriver(lab.uri, "qemu", "tests are emulated", user)
    yield driver
    for domain in driver.list_domains():
        driver.ensure_absent(domain.server_id)
    driver.close()


class Server:
    """A server on ``host`` that boots from a volume, or is to."""

    def __init__(
        self, cloud: VolumeCloud, driver: LibvirtDriver, lab: LabHost, host: str, volume_id: str
    ) -> None:
        self.cloud, self.lab, self.driver, self.volume_id = cloud, lab, driver, volume_id
        self.id = new_id()
        self.log = lab.directory / f"{self.id}.log"
        self.attachment = cloud.attach(volume_id, host, self.id)
        cloud.complete(self.attachment["id"])

    def disk(self) -> RbdDisk:
        """What compute makes of the attachment."""
        shown = self.cloud.ask("GET", f"/attachments/{self.attachment['id']}", 200)["attachment"]
        info = shown["connection_info"]
        found = volume_disk(
            Attachment(
                id=shown["id"], volume_id=self.volume_id, server_id=self.id, status="attached",
                connection_info={"driver_volume_type": info["driver_volume_type"], "data": info},
            ),
            BlockDevice(number=0, device="vda", source_type="volume", destination_type="volume",
                        boot_index=0),
        )  # fmt: skip
        assert isinstance(found, RbdDisk)
        return found

    def start(self) -> None:
        self.driver.ensure_running(
            DomainSpec(
                server_id=self.id, name=domain_name(self.id), title="guest", vcpus=1, memory_mb=32,
                disks=(self.disk(),), nics=(), console_log=str(self.log),
            )
        )  # fmt: skip
        wait_for(lambda: guest.GREETING in self.console(), "its boot", 120)

    def console(self) -> bytes:
        return self.driver.console_tail(self.log, max_bytes=1 << 20)

    @property
    def io(self) -> GuestIo:
        return GuestIo(self.lab, self.driver, self.id, self.volume_id)

    def does(self, command: str) -> None:
        self.io.does(command)

    def delete_attachment(self) -> None:
        self.cloud.ask("DELETE", f"/attachments/{self.attachment['id']}", 200, headers=SERVICE)


@pytest.fixture
def volume(cloud: VolumeCloud, ceph_pool: CephPool, tmp_path: Path) -> str:
    """A volume with the bytes of a guest."""
    volume_id = str(cloud.create(1, volume_type="ceph")["id"])
    base = tmp_path / "base.raw"
    guest.write_image(base)
    words = ["qemu-img", "convert", "-n", "-f", "raw", "--target-image-opts", str(base)]
    disk = image(ceph_pool, f"volume-{volume_id}")
    subprocess.run([*words, disk.arguments()[1]], check=True)
    return volume_id


def image(pool: CephPool, name: str, snapshot: str = "") -> RbdImage:
    return RbdImage(conf=pool.conf, user=pool.user, pool=pool.name, image=name, snapshot=snapshot)


def has(disk: RbdImage, data: int) -> bool:
    """Whether that is what tools read half a GiB into it."""
    words = ["qemu-io", "-r", "-c", f"read -P {data} 512M 64k", *disk.arguments()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return "failed" not in done.stdout


def act(cloud: VolumeCloud, volume_id: str, status: int = 202, **action: Any) -> None:
    body = {name.replace("_", "-", 1): value for name, value in action.items()}
    cloud.ask("POST", f"/volumes/{volume_id}/action", status, json=body, headers=NEWEST)


def test_a_volume_is_kept_cloned_and_grown_below_a_guest(
    cloud: VolumeCloud, driver: LibvirtDriver, lab: LabHost, volume: str, ceph_pool: CephPool
) -> None:
    server = Server(cloud, driver, lab, "lab1", volume)
    server.start()
    assert not cloud.is_served(volume), "no process of the volume service's is between"
    server.does("write -P 0x11 512M 64k")
    body = {"snapshot": {"volume_id": volume}}
    made = cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)["snapshot"]["id"]
    assert cloud.ask("GET", f"/snapshots/{made}", 200)["snapshot"]["status"] == "available"
    server.does("write -P 0x22 512M 64k")
    frozen = image(ceph_pool, f"snapshot-{made}", "frozen")
    assert has(frozen, 0x11)
    clone = cloud.create(1, source_volid=volume)
    assert cloud.show(clone["id"])["status"] == "available"
    assert has(image(ceph_pool, f"volume-{clone['id']}"), 0x22)
    act(cloud, volume, os_extend={"new_size": 2})
    assert cloud.show(volume)["status"] == "in-use"
    driver.ensure_disk_size(server.id, server.disk(), 2 * GIB)
    server.does("write -P 0x33 1536M 64k")
    act(cloud, volume, 400, revert={"snapshot_id": made})
    server.does("read -P 0x22 512M 64k")
    driver.ensure_stopped(server.id, grace_s=0)
    server.delete_attachment()
    assert cloud.show(volume)["status"] == "available"
    act(cloud, volume, revert={"snapshot_id": made})
    again = Server(cloud, driver, lab, "lab1", volume)
    again.start()
    again.does("read -P 0x11 512M 64k")


def test_a_host_that_nobody_hears_of_writes_no_more_when_its_server_is_elsewhere(
    cloud: VolumeCloud, driver: LibvirtDriver, lab: LabHost, volume: str
) -> None:
    lost = Server(cloud, driver, lab, "lost", volume)
    lost.start()
    lost.does("write -P 0x11 512M 64k")
    cloud.attach(volume, None, lost.id)
    lost.delete_attachment()
    assert "failed" in lost.io.said("write -P 0x22 512M 64k")
    assert driver.get(lost.id).power is Power.RUNNING  # type: ignore[union-attr]  # is there
    cloud.ask("DELETE", f"/attachments/{reserved(cloud, volume)}", 200, headers=SERVICE)
    assert cloud.show(volume)["status"] == "available"
    other = Server(cloud, driver, lab, "lab1", volume)
    other.start()
    other.does("read -P 0x11 512M 64k")
    other.does("write -P 0x33 512M 64k")
    assert "failed" in lost.io.said("write -P 0x22 512M 64k")
    assert "failed" in lost.io.said("read 512M 64k")
    other.does("read -P 0x33 512M 64k")


def reserved(cloud: VolumeCloud, volume: str) -> str:
    found = cloud.ask("GET", f"/attachments/detail?volume_id={volume}", 200)["attachments"]
    (attachment,) = found
    return str(attachment["id"])


def test_a_guest_that_died_holds_nothing_up(
    cloud: VolumeCloud, driver: LibvirtDriver, lab: LabHost, volume: str
) -> None:
    server = Server(cloud, driver, lab, "lab1", volume)
    server.start()
    server.does("write -P 0x11 512M 64k")
    lab.run("bash", "-c", f"kill -KILL $(cat /run/libvirt/qemu/{domain_name(server.id)}.pid)")
    wait_for(lambda: driver.get(server.id).power is not Power.RUNNING, "its end", 60)  # type: ignore[union-attr]  # is there
    server.start()
    server.does("read -P 0x11 512M 64k")
    lab.run("bash", "-c", f"kill -KILL $(cat /run/libvirt/qemu/{domain_name(server.id)}.pid)")
    server.delete_attachment()
    assert cloud.show(volume)["status"] == "available"
    cloud.ask("DELETE", f"/volumes/{volume}", 202)
    assert cloud.call("GET", f"/volumes/{volume}").status_code == 404


def test_a_key_that_is_missing_is_named(
    cloud: VolumeCloud, lab: LabHost, volume: str, ceph_pool: CephPool
) -> None:
    keyless = LibvirtDriver(lab.uri, "qemu", "tests are emulated")
    server = Server(cloud, keyless, lab, "lab1", volume)
    with pytest.raises(HostProblem, match=f"rbd_user = {ceph_pool.user}"):
        server.start()
    keyless.close()
