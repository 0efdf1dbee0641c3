"""Guests whose QEMU opens images of a real Ceph cluster, with a key that libvirt has for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import ceph_cluster
import guest
import msgspec
import pytest
from ceph_cluster import CephCluster, CephPool
from labhost import LabHost, missing, wait_for
from private_host import private_network

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, FileDisk, RbdDisk
from minicloud.virt.libvirt import disks
from minicloud.virt.libvirt.keyring import CephUser

_WHY_NOT = missing() or ceph_cluster.missing()
pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from guest_io import GuestIo  # noqa: E402 - only where libvirt is

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402

SECRET = new_id()
MIB = 1 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[CephCluster]:
    with private_network(), ceph_cluster.ceph_cluster(durable=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def lab(cluster: CephCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    lab = LabHost(tmp_path_factory.mktemp("lab"), shares_network=True)
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


class Host:
    """A host that may use a pool of the cluster, where the images ``root`` and ``data`` are."""

    def __init__(self, lab: LabHost, cluster: CephCluster, pool: CephPool, directory: Path) -> None:
        self.lab, self.cluster, self.pool, self.directory = lab, cluster, pool, directory
        self.server_id = new_id()
        self.log = directory / "console.log"
        self.keyring = directory / "keyring"
        self.keyring.write_text(f"[client.{pool.user}]\n\tkey = {pool.key}\n")
        self.driver = self.driver_as(self.user)
        base = directory / "base.raw"
        guest.write_image(base)
        self.pool.rbd("import", "--dest-pool", pool.name, str(base), "root")
        self.pool.rbd("create", f"{pool.name}/data", "--size", "64M")

    @property
    def user(self) -> CephUser:
        return CephUser(name=self.pool.user, secret_uuid=SECRET, keyring=self.keyring)

    def driver_as(self, user: CephUser) -> LibvirtDriver:
        return LibvirtDriver(self.lab.uri, "qemu", "tests are emulated", user)

    def watchers(self, image: str) -> int:
        found = json.loads(self.pool.rbd("status", "--format", "json", f"{self.pool.name}/{image}"))
        return len(found["watchers"])

    def disk(self, image: str, target: str) -> RbdDisk:
        host, _, port = self.pool.monitor.rpartition(":")
        return RbdDisk(
            image=f"{self.pool.name}/{image}", target=target, monitors=[(host, int(port))],
            user=self.pool.user, secret_uuid=SECRET, serial=f"{image}-{self.server_id}",
            boot_index=0 if image == "root" else None,
        )  # fmt: skip

    def spec(self, *more: RbdDisk | FileDisk) -> DomainSpec:
        return DomainSpec(
            server_id=self.server_id, name=domain_name(self.server_id), title="guest", vcpus=1,
            memory_mb=32, disks=more or (self.disk("root", "vda"),), nics=(),
            console_log=str(self.log),
        )  # fmt: skip

    def wait_for_boot(self, times: int = 1) -> None:
        def greeted() -> bool:
            seen = self.driver.console_tail(self.log, max_bytes=MIB).count(guest.GREETING)
            return seen >= times

        wait_for(greeted, f"boot {times} of the guest", 120)

    def io(self, image: str) -> GuestIo:
        return GuestIo(self.lab, self.driver, self.server_id, f"{image}-{self.server_id}")

    def secrets(self) -> str:
        return self.lab.run("virsh", "-q", "secret-list")


@pytest.fixture
def host(lab: LabHost, cluster: CephCluster, tmp_path: Path) -> Iterator[Host]:
    pool = cluster.new_pool()
    host = Host(lab, cluster, pool, tmp_path)
    yield host
    host.driver.ensure_absent(host.server_id)
    host.driver.close()
    if SECRET in host.secrets():
        lab.run("virsh", "-q", "secret-undefine", SECRET)


def test_a_guest_boots_from_an_image_and_nobody_is_shown_the_key(host: Host) -> None:
    host.driver.ensure_running(host.spec())
    host.wait_for_boot()
    assert host.watchers("root") == 1
    assert SECRET in host.secrets()
    pid = int(host.lab.run("cat", f"/run/libvirt/qemu/{domain_name(host.server_id)}.pid"))
    shown = host.lab.run("cat", f"/proc/{pid}/cmdline")
    assert '"driver":"rbd"' in shown and host.pool.key not in shown
    definition = host.lab.run("virsh", "dumpxml", "--security-info", host.server_id)
    assert SECRET in definition and host.pool.key not in definition
    with pytest.raises(subprocess.CalledProcessError):
        host.lab.run("virsh", "secret-get-value", SECRET)
    assert host.lab.run("find", "/etc/libvirt/secrets", "-type", "f") == "", "in memory alone"


def test_a_disk_comes_grows_is_kept_and_goes_while_the_guest_runs(host: Host) -> None:
    host.driver.ensure_running(host.spec())
    host.wait_for_boot()
    data = host.disk("data", "vdb")
    for _ in range(2):
        host.driver.ensure_device(host.server_id, data)
    assert host.driver.has_device(host.server_id, data)
    assert set(host.driver.device_addresses(host.server_id)) == {"vda", "vdb"}
    host.io("data").does("write -P 0x11 0 1M")
    host.pool.rbd("snap", "create", "--no-progress", f"{host.pool.name}/data@kept")
    host.io("data").does("write -P 0x22 0 1M")
    host.pool.rbd("resize", "--no-progress", f"{host.pool.name}/data", "--size", "128M")
    host.driver.ensure_disk_size(host.server_id, data, 128 * MIB)
    host.io("data").does("write -P 0x33 127M 1M")
    host.io("data").does("read -P 0x22 0 1M")
    host.driver.ensure_no_device(host.server_id, data, limit_s=120)
    assert not host.driver.has_device(host.server_id, data)
    wait_for(lambda: not host.watchers("data"), "the end of the guest's watch", 60)
    kept = host.directory / "kept.raw"
    host.pool.rbd("export", "--no-progress", f"{host.pool.name}/data@kept", str(kept))
    assert kept.read_bytes()[:MIB] == b"\x11" * MIB


def test_a_guest_waits_while_the_cluster_is_away(host: Host) -> None:
    host.driver.ensure_running(host.spec(host.disk("root", "vda"), host.disk("data", "vdb")))
    host.io("data").does("write -P 0x11 0 64k")
    host.cluster.kill("osd")
    host.io("data").begin("aio_write -P 0x22 64k 64k")
    assert host.driver.get(host.server_id).power is Power.RUNNING  # type: ignore[union-attr]  # is there
    host.cluster.start("osd")
    host.io("data").begin("aio_flush")
    host.io("data").does("read -P 0x11 0 64k")
    host.io("data").does("read -P 0x22 64k 64k")


def test_a_cluster_that_does_not_answer_holds_no_start_up(host: Host) -> None:
    host.driver.ensure_running(host.spec())
    host.wait_for_boot()
    host.cluster.stop()
    try:
        with pytest.raises(HostProblem, match="no monitor of the Ceph cluster answers"):
            host.driver.ensure_device(host.server_id, host.disk("data", "vdb"))
        with pytest.raises(HostProblem, match="no monitor of the Ceph cluster answers"):
            host.driver.reboot(host.server_id, grace_s=60)
        assert host.driver.get(host.server_id).power is Power.RUNNING  # type: ignore[union-attr]  # is there
        host.driver.ensure_stopped(host.server_id, grace_s=0)
        with pytest.raises(HostProblem, match="no monitor of the Ceph cluster answers"):
            host.driver.ensure_running(host.spec())
    finally:
        host.cluster.go_on()
    host.driver.ensure_running(host.spec())
    host.wait_for_boot(2)


def test_the_secret_is_there_again_after_libvirtd_was_killed(host: Host) -> None:
    host.driver.ensure_running(host.spec())
    host.wait_for_boot()
    host.lab.kill_libvirtd()
    host.lab.start_libvirtd()
    assert SECRET not in host.secrets()
    host.io("root").does("read 0 512")
    assert host.driver.reboot(host.server_id, grace_s=120)
    host.wait_for_boot(2)
    host.lab.kill_libvirtd()
    host.lab.start_libvirtd()
    host.driver.ensure_device(host.server_id, host.disk("data", "vdb"))
    host.driver.ensure_suspended(host.server_id)
    host.lab.kill_libvirtd()
    host.lab.start_libvirtd()
    host.driver.ensure_resumed(host.spec(host.disk("root", "vda"), host.disk("data", "vdb")))
    host.io("data").does("write -P 0x11 0 64k")
    host.driver.ensure_stopped(host.server_id, grace_s=0)
    host.lab.kill_libvirtd()
    host.lab.start_libvirtd()
    host.driver.ensure_running(host.spec())
    host.wait_for_boot(3)


def test_a_volume_of_no_user_is_opened_as_the_hosts_own(host: Host) -> None:
    nameless = msgspec.structs.replace(host.disk("root", "vda"), user="", secret_uuid="")
    host.driver.ensure_running(host.spec(nameless))
    host.wait_for_boot()


def test_a_disk_goes_into_another_image_while_the_guest_writes(host: Host) -> None:
    host.driver.ensure_running(host.spec(host.disk("root", "vda"), host.disk("data", "vdb")))
    host.io("data").does("write -P 0x11 0 1M")
    host.pool.rbd("create", f"{host.pool.name}/next", "--size", "64M")
    data = host.disk("data", "vdb")
    there = msgspec.structs.replace(data, image=f"{host.pool.name}/next", user="", secret_uuid="")
    host.lab.run("virsh", "-q", "secret-undefine", SECRET)

    def ready() -> None:
        host.io("data").does("write -P 0x22 1M 64k")

    host.driver.ensure_disk_moved(host.server_id, there, ready=ready, cancelled=threading.Event())
    assert (host.watchers("data"), host.watchers("next")) == (0, 1)
    host.io("data").does("read -P 0x11 0 1M")
    host.io("data").does("read -P 0x22 1M 64k")
    assert host.driver.end_disk_move(host.server_id, there)
    assert host.driver.reboot(host.server_id, grace_s=120)
    host.io("data").does("read -P 0x22 1M 64k")
    host.driver.ensure_no_device(host.server_id, data, limit_s=120)
    wait_for(lambda: not host.watchers("next"), "the end of the guest's watch", 60)


def test_the_secret_of_an_operator_is_left_alone(host: Host) -> None:
    definition, key = host.directory / "secret.xml", host.directory / "key"
    usage = "<usage type='ceph'><name>an operator's</name></usage>"
    definition.write_text(f"<secret private='no'><uuid>{SECRET}</uuid>{usage}</secret>")
    key.write_text(host.pool.key)
    host.lab.run("virsh", "-q", "secret-define", str(definition))
    host.lab.run("virsh", "-q", "secret-set-value", SECRET, "--file", str(key))
    host.keyring.unlink()
    unset = host.driver_as(CephUser())
    unset.ensure_running(host.spec())
    host.wait_for_boot()
    unset.ensure_stopped(host.server_id, grace_s=0)
    unset.close()
    host.driver.ensure_running(host.spec())
    host.wait_for_boot(2)
    assert host.lab.run("virsh", "-q", "secret-get-value", SECRET).strip() == host.pool.key


def test_what_is_missing_is_named(host: Host) -> None:
    nobody = host.driver_as(CephUser())
    with pytest.raises(HostProblem, match=f"no secret {SECRET} .*rbd_user = {host.pool.user}"):
        nobody.ensure_running(host.spec())
    nobody.close()
    host.keyring.unlink()
    with pytest.raises(HostProblem, match=r"keyring .* cannot be read"):
        host.driver.ensure_running(host.spec())
    host.keyring.write_text("[client.somebody]\n")
    with pytest.raises(HostProblem, match=f"no key of client.{host.pool.user}"):
        host.driver.ensure_running(host.spec())


def test_a_qemu_without_the_driver_is_named(host: Host) -> None:
    (driver,) = Path("/usr/lib").glob("*/qemu/block-rbd.so")
    others = host.directory / "others"
    shutil.copytree(driver.parent, others, ignore=shutil.ignore_patterns(driver.name))
    host.lab.run("mount", "--bind", str(others), str(driver.parent))
    try:
        with pytest.raises(HostProblem, match="apt install qemu-block-extra"):
            host.driver.ensure_running(host.spec())
    finally:
        host.lab.run("umount", str(driver.parent))
    host.driver.ensure_running(host.spec())
    host.wait_for_boot()


def test_a_plugged_disk_needs_the_secret_too(host: Host) -> None:
    overlay = host.directory / "own" / "disk"
    disks.ensure_overlay(overlay, host.directory / "base.raw", "raw", 1)
    own = FileDisk(path=str(overlay), format="qcow2", target="vda", boot_index=0)
    host.driver.ensure_running(host.spec(own))
    assert SECRET not in host.secrets()
    data = host.disk("data", "vdb")
    host.driver.ensure_device(host.server_id, data)
    host.io("data").does("write -P 0x11 0 64k")
    host.driver.ensure_stopped(host.server_id, grace_s=0)
    assert host.watchers("data") == 0
