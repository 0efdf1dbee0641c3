"""Volumes whose files real guests open: snapshots, growth, stops and kills, and what they wrote."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guest
import pytest
from labhost import LabHost, missing, wait_for
from volume import VolumeCloud, volume_cloud

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, FileDisk
from minicloud.virt.libvirt import disks, xml
from minicloud.volume.guests import Guests

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(bool(missing()), reason=missing()),
    pytest.mark.skipif(not shutil.which("qemu-storage-daemon"), reason="needs QEMU"),
]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from guest_io import GuestIo  # noqa: E402 - only where libvirt is

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402

NEWEST = {"OpenStack-API-Version": "volume 3.71"}
HERE = {"host": "lab1", "local_files": True}
GIB = 1 << 30


class World:
    """A volume service, and a server of this host that has one of its volumes."""

    def __init__(
        self, cloud: VolumeCloud, lab: LabHost, driver: LibvirtDriver, directory: Path
    ) -> None:
        self.cloud, self.lab, self.driver = cloud, lab, driver
        self.server_id = new_id()
        self.volume_id = str(cloud.create(1)["id"])
        own = directory / self.server_id
        base = directory / "base.raw"
        guest.write_image(base)
        disks.ensure_overlay(own / "disk", base, "raw", 1)
        self.root = FileDisk(path=str(own / "disk"), format="qcow2", target="vda", boot_index=0)
        self.log = str(own / "console.log")
        self.attachment = self.connect()
        self.fails = ""
        """What to answer the volume service with; the guest goes on in its file."""

    def connect(self) -> str:
        body = {"volume_uuid": self.volume_id, "instance_uuid": self.server_id,
                "connector": HERE}  # fmt: skip
        made = self.cloud.ask("POST", "/attachments", 200, json={"attachment": body})
        self.cloud.complete(made["attachment"]["id"])
        return str(made["attachment"]["id"])

    def disk(self) -> FileDisk:
        """What the attachment says now."""
        shown = self.cloud.ask("GET", f"/attachments/{self.attachment}", 200)["attachment"]
        info = shown["connection_info"]
        assert info["driver_volume_type"] == "local"
        return FileDisk(
            path=info["device_path"], format=info["format"], target="vdb", serial=self.volume_id,
            foreign=True, direct=info["direct_io"],
        )  # fmt: skip

    def spec(self) -> DomainSpec:
        return DomainSpec(
            server_id=self.server_id, name=domain_name(self.server_id), title="guest", vcpus=1,
            memory_mb=32, disks=(self.root, self.disk()), nics=(), console_log=self.log,
        )  # fmt: skip

    def start(self) -> None:
        self.driver.ensure_running(self.spec())

    @property
    def guest(self) -> GuestIo:
        return GuestIo(self.lab, self.driver, self.server_id, self.volume_id)

    def io(self, command: str) -> None:
        """Do what a guest's driver would. Fails on an I/O error and on other bytes."""
        self.guest.does(command)

    @property
    def layers(self) -> Path:
        return self.cloud.files / "layers"

    def open_file(self) -> Path:
        """The file that the guest writes."""
        live = self.driver._connection.live_definition(self.server_id)
        assert live is not None
        found = xml.disk_files(live, self.volume_id)
        assert found is not None
        return Path(found[1][0])

    def act(self, status: int = 202, **action: Any) -> Any:
        path = f"/volumes/{self.volume_id}/action"
        body = {name.replace("_", "-", 1): value for name, value in action.items()}
        return self.cloud.ask("POST", path, status, json=body, headers=NEWEST)

    def keep(self) -> str:
        body = {"snapshot": {"volume_id": self.volume_id}}
        made = self.cloud.ask("POST", "/snapshots", 202, json=body, headers=NEWEST)
        return str(made["snapshot"]["id"])

    def snapshot_status(self, snapshot_id: str) -> str:
        shown = self.cloud.ask("GET", f"/snapshots/{snapshot_id}", 200)
        return str(shown["snapshot"]["status"])

    def reads(self, thing: Path, command: str) -> bool:
        form = "qcow2" if thing.suffix == ".qcow2" else "raw"
        done = subprocess.run(
            ["qemu-io", "-U", "-r", "-f", form, "-c", command, str(thing)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return "failed" not in done.stdout

    def kept(self, snapshot_id: str) -> Path:
        return (self.cloud.files / "snapshots" / snapshot_id).resolve()

    def kill_qemu(self) -> None:
        (pid,) = (
            int(entry.parent.name)
            for entry in Path("/proc").glob("[0-9]*/cmdline")
            if self.server_id in _text(entry) and "qemu-system" in _text(entry)
        )
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
        wait_for(lambda: self.driver.get(self.server_id).power is not Power.RUNNING, "its end", 30)  # type: ignore[union-attr]  # is there


def _text(entry: Path) -> str:
    try:
        return entry.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def world(lab: LabHost, driver: LibvirtDriver, tmp_path: Path) -> Iterator[World]:
    worlds: list[World] = []

    class AskDriver(Guests):
        """Compute's part, by the driver that compute has."""

        def go_on(self, volume_id: str, file: Path) -> None:
            (world,) = worlds
            world.driver.move_disk(world.server_id, volume_id, file.name)
            if world.fails:
                raise Unavailable(service="compute", reason=world.fails)

    with volume_cloud(tmp_path, guests=AskDriver, open_files={"files": None}) as cloud:
        worlds.append(World(cloud, lab, driver, tmp_path))
        yield worlds[0]


def test_a_guest_goes_on_in_the_new_file(world: World) -> None:
    world.start()
    world.io("write -P 0x11 0 64k")
    first = world.keep()
    assert world.snapshot_status(first) == "available"
    assert world.open_file() == world.cloud.disk(world.volume_id)
    world.io("read -P 0x11 0 64k")
    world.io("write -P 0x22 0 64k")
    second = world.keep()
    world.io("write -P 0x33 0 64k")
    assert world.reads(world.kept(first), "read -P 0x11 0 64k")
    assert world.reads(world.kept(second), "read -P 0x22 0 64k")
    world.driver.move_disk(world.server_id, world.volume_id, world.kept(second).name)
    assert world.open_file() == world.cloud.disk(world.volume_id), "an old request changes nothing"
    clone = world.cloud.create(1, source_volid=world.volume_id)
    assert world.cloud.show(clone["id"])["status"] == "available"
    world.io("write -P 0x44 0 64k")
    assert world.reads(world.cloud.disk(clone["id"]), "read -P 0x33 0 64k")
    assert not world.cloud.is_served(world.volume_id), "no process serves it"

    world.cloud.ask("DELETE", f"/snapshots/{first}", 202)
    world.cloud.ask("DELETE", f"/snapshots/{second}", 202)
    world.cloud.turn()
    world.io("read -P 0x44 0 64k")
    assert world.driver.reboot(world.server_id, grace_s=60)
    world.io("read -P 0x44 0 64k")
    world.guest.begin("flush")
    world.kill_qemu()
    world.start()
    world.io("read -P 0x44 0 64k")


def test_a_guest_makes_its_file_larger(world: World) -> None:
    world.start()
    world.act(os_extend={"new_size": 2})
    assert world.cloud.show(world.volume_id)["status"] == "in-use"
    world.driver.ensure_disk_size(world.server_id, world.disk(), 2 * GIB)
    world.io("write -P 0x11 1536M 64k")
    world.keep()
    world.act(os_extend={"new_size": 3})
    world.cloud.turn()
    assert world.cloud.show(world.volume_id)["status"] == "extending", "the guest has not done so"
    world.driver.ensure_disk_size(world.server_id, world.disk(), 3 * GIB)
    world.cloud.turn()
    shown = world.cloud.show(world.volume_id)
    assert (shown["status"], shown["size"]) == ("in-use", 3)
    world.io("write -P 0x22 2560M 64k")
    world.io("read -P 0x11 1536M 64k")
    world.driver.ensure_stopped(world.server_id, grace_s=0)
    world.act(os_extend={"new_size": 4})
    assert world.cloud.show(world.volume_id)["status"] == "in-use", "a guest that is off lets it be"
    world.start()
    world.io("write -P 0x33 3584M 64k")


def test_a_volume_is_given_back_when_its_file_is_closed(world: World) -> None:
    world.start()
    service = {"X-Service-Token": "service"}
    path = f"/attachments/{world.attachment}"
    assert world.cloud.call("DELETE", path, headers=service).status_code == 500
    assert world.cloud.show(world.volume_id)["status"] == "detaching"
    world.cloud.turn()
    assert world.cloud.show(world.volume_id)["status"] == "detaching", "the guest has it"
    disk = world.disk()
    world.driver.ensure_no_device(world.server_id, disk, limit_s=60)
    world.cloud.turn()
    assert world.cloud.show(world.volume_id)["status"] == "available"
    world.attachment = world.connect()
    world.driver.ensure_device(world.server_id, world.disk())
    world.io("write -P 0x11 0 64k")
    world.driver.ensure_no_device(world.server_id, world.disk(), limit_s=60)
    world.cloud.detach(world.attachment)
    assert world.cloud.show(world.volume_id)["status"] == "available"


def test_nothing_is_written_or_merged_below_a_guest(world: World) -> None:
    world.start()
    kept = world.keep()
    world.io("write -P 0x11 0 64k")
    world.act(400, revert={"snapshot_id": kept})
    world.cloud.ask("DELETE", f"/snapshots/{kept}", 202)
    assert len(list(world.layers.iterdir())) == 2
    # Declared free by somebody who is wrong.
    status = {"os-reset_status": {"status": "available"}}
    path = f"/volumes/{world.volume_id}/action"
    world.cloud.ask("POST", path, 202, "admin", json=status, headers=NEWEST)
    again = world.keep()
    world.io("write -P 0x22 0 64k")
    world.cloud.ask("DELETE", f"/snapshots/{again}", 202)
    world.cloud.turn()
    world.io("read -P 0x22 0 64k")
    assert world.open_file() == world.cloud.disk(world.volume_id)
    world.driver.ensure_stopped(world.server_id, grace_s=0)
    world.start()
    world.io("read -P 0x22 0 64k")


def test_a_suspended_guest_goes_on_in_the_file_that_its_volume_is_then(world: World) -> None:
    world.start()
    world.io("write -P 0x11 0 64k")
    world.driver.ensure_suspended(world.server_id)
    kept = world.keep()
    assert world.snapshot_status(kept) == "available"
    world.driver.ensure_resumed(world.spec())
    assert world.open_file() == world.cloud.disk(world.volume_id)
    world.io("read -P 0x11 0 64k")
    world.io("write -P 0x22 0 64k")
    world.driver.ensure_suspended(world.server_id)
    again = world.keep()
    world.driver.ensure_resumed(world.spec())
    world.io("read -P 0x22 0 64k")
    world.io("write -P 0x33 0 64k")
    assert world.reads(world.kept(kept), "read -P 0x11 0 64k")
    assert world.reads(world.kept(again), "read -P 0x22 0 64k")


def test_a_snapshot_whose_answer_is_lost_is_taken_once(world: World) -> None:
    world.start()
    world.io("write -P 0x11 0 64k")
    world.fails = "the answer is lost"
    kept = world.keep()
    assert world.snapshot_status(kept) == "creating"
    world.io("write -P 0x22 0 64k")
    world.fails = ""
    world.cloud.turn()
    assert world.snapshot_status(kept) == "available"
    assert world.reads(world.kept(kept), "read -P 0x11 0 64k")
    assert world.open_file() == world.cloud.disk(world.volume_id)
    world.io("read -P 0x22 0 64k")


def test_a_file_that_stands_on_another_is_refused(world: World) -> None:
    world.start()
    stray = world.layers / "stray.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(stray), "1G"], check=True)
    with pytest.raises(HostProblem, match="does not stand on"):
        world.driver.move_disk(world.server_id, world.volume_id, stray.name)
    assert world.open_file() == world.cloud.disk(world.volume_id)
