"""Volumes that go to another backend below a real QEMU that writes: as files and by exports, with a
guest that is paused or killed on the way, a place that is full, and daemons that die.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import guest
import pytest
from labhost import LabHost, missing, wait_for
from volume import VolumeCloud, volume_cloud

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.states import Power
from minicloud.virt.driver import Disk, DomainSpec, FileDisk, NbdDisk
from minicloud.virt.libvirt import disks
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
HERE = {"host": "lab1", "mountpoint": "/dev/vdb", "local_files": True, "nbd_reconnect": True}
MIB = 1 << 20


class World:
    """A volume service with two backends, and a server of this host that has a volume."""

    def __init__(
        self, lab: LabHost, cloud: VolumeCloud, driver: LibvirtDriver, directory: Path
    ) -> None:
        self.lab, self.cloud, self.driver = lab, cloud, driver
        self.server_id = new_id()
        self.volume_id = str(cloud.create(1)["id"])
        own, base = directory / self.server_id, directory / "base.raw"
        guest.write_image(base)
        disks.ensure_overlay(own / "disk", base, "raw", 1)
        self.root = FileDisk(path=str(own / "disk"), format="qcow2", target="vda", boot_index=0)
        self.log = own / "console.log"
        self.attachment = self.claim(self.volume_id)
        self.complete(self.attachment)
        self.asked = threading.Event()
        self.place = ""
        """The volume that the volume service made for the move."""
        self.written = 0

    def claim(self, volume_id: str) -> str:
        body = {"volume_uuid": volume_id, "instance_uuid": self.server_id,
                "connector": HERE}  # fmt: skip
        made = self.cloud.ask("POST", "/attachments", 200, json={"attachment": body})
        return str(made["attachment"]["id"])

    def complete(self, attachment: str) -> None:
        self.cloud.complete(attachment)

    def disk(self, attachment: str) -> Disk:
        shown = self.cloud.ask("GET", f"/attachments/{attachment}", 200)["attachment"]
        info = shown["connection_info"]
        if info["driver_volume_type"] == "local":
            return FileDisk(
                path=info["device_path"], format=info["format"], target="vdb",
                serial=self.volume_id, foreign=True, direct=info["direct_io"],
            )  # fmt: skip
        return NbdDisk(export=info["export"], target="vdb", socket=info["socket"],
                       serial=self.volume_id, reconnect_s=info["reconnect_delay"])  # fmt: skip

    def start(self) -> None:
        spec = DomainSpec(
            server_id=self.server_id, name=domain_name(self.server_id), title="guest", vcpus=1,
            memory_mb=32, disks=(self.root, self.disk(self.attachment)), nics=(),
            console_log=str(self.log),
        )  # fmt: skip
        self.driver.ensure_running(spec)

    # -- what the guest does ---------------------------------------------------------------------
    def io(self, command: str) -> None:
        """Fails on an I/O error and on other bytes."""
        GuestIo(self.lab, self.driver, self.server_id, self.volume_id).does(command)

    def flush(self) -> None:
        GuestIo(self.lab, self.driver, self.server_id, self.volume_id).begin("flush")

    def write_next(self) -> None:
        """A MiB that says which one it is."""
        self.io(f"write -P {self.written % 255 + 1} {self.written}M 1M")
        self.written += 1

    def read_all(self) -> None:
        for number in range(self.written):
            self.io(f"read -P {number % 255 + 1} {number}M 1M")

    def writing(self) -> threading.Thread:
        """Writes until the disk has moved, and a little more."""

        def write() -> None:
            while not self.moved.is_set():
                self.write_next()
            for _ in range(3):
                self.write_next()

        self.moved = threading.Event()
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        return thread

    # -- the move --------------------------------------------------------------------------------
    def set_out(self, backend: str) -> None:
        self.asked.clear()
        body = {"os-migrate_volume": {"host": f"lab1@{backend}#{backend}"}}
        path = f"/volumes/{self.volume_id}/action"
        self.cloud.ask("POST", path, 202, "admin", json=body, headers=NEWEST)
        assert self.cloud.jobs.wait_idle(60)
        assert self.asked.is_set()

    def move(self, ready: Callable[[], None] = lambda: None) -> str:
        """The host's part, up to the guest's; the new attachment."""
        attachment = self.claim(self.place)

        def tell() -> None:
            ready()
            self.complete(attachment)

        self.driver.ensure_disk_moved(
            self.server_id, self.disk(attachment), ready=tell, cancelled=threading.Event()
        )
        return attachment

    def end(self, attachment: str, *, failed: bool = False) -> None:
        gone = attachment if failed else self.attachment
        self.cloud.detach(gone)
        body = {"os-migrate_volume_completion": {"new_volume": self.place, "error": failed}}
        path = f"/volumes/{self.volume_id}/action"
        said = self.cloud.ask("POST", path, 200, "admin", json=body, headers=NEWEST)
        assert said == {"save_volume_id": self.volume_id}
        if not failed:
            self.attachment = attachment

    def shown(self) -> dict[str, Any]:
        return dict(self.cloud.show(self.volume_id, "admin"))

    def names(self) -> dict[str, list[str]]:
        """Backend -> the volumes that it has."""
        return {
            name: sorted(path.name for path in (directory / "volumes").iterdir())
            for name, directory in (("files", self.cloud.files), ("fast", self.fast))
        }

    @property
    def fast(self) -> Path:
        return self.cloud.more_backends["fast"]

    def layers(self) -> int:
        return sum(len(list((each / "layers").iterdir())) for each in (self.cloud.files, self.fast))

    def qemu(self) -> int:
        (pid,) = (
            int(entry.parent.name)
            for entry in Path("/proc").glob("[0-9]*/cmdline")
            if self.server_id in _text(entry) and "qemu-system" in _text(entry)
        )
        return pid


def _text(entry: Path) -> str:
    try:
        return entry.read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(params=["opened", "exported"])
def world(
    request: pytest.FixtureRequest, lab: LabHost, driver: LibvirtDriver, tmp_path: Path
) -> Iterator[World]:
    worlds: list[World] = []

    class AskTest(Guests):
        """A compute service that says yes; the test does what its host would."""

        def swap(self, server_id: str, volume_id: str, new_id: str) -> None:
            (world,) = worlds
            assert (server_id, volume_id) == (world.server_id, world.volume_id)
            world.place = new_id
            world.asked.set()

    opened: dict[str, None] = {"files": None} if request.param == "opened" else {}
    with volume_cloud(
        tmp_path,
        guests=AskTest,
        open_files=opened,
        more_backends={"fast": tmp_path / "fast"},
    ) as cloud:
        worlds.append(World(lab, cloud, driver, tmp_path))
        yield worlds[0]
        # While its volumes are there: without them its QEMU would wait for them.
        driver.ensure_absent(worlds[0].server_id)


def test_a_volume_moves_there_and_back_below_a_guest_that_writes(world: World) -> None:
    world.start()
    for _ in range(8):
        world.write_next()
    for backend in ("fast", "files"):
        writing = world.writing()
        world.set_out(backend)
        attachment = world.move()
        world.moved.set()
        writing.join(60)
        world.read_all()
        world.end(attachment)
        now = world.shown()
        assert (now["status"], now["migration_status"]) == ("in-use", "success")
        name = now["os-vol-mig-status-attr:name_id"]
        assert world.names() == {"files": [], "fast": [], backend: [name]}
        assert world.layers() == 1
        world.write_next()
        world.cloud.turn()
        assert world.driver.end_disk_move(world.server_id, world.disk(attachment)) is True
        ask = world.driver._connection.ask_qemu
        nodes = ask(world.server_id, "query-named-block-nodes", {"flat": True})
        clients = [each for each in nodes if each["node-name"].startswith("mc-")]
        assert len(clients) == isinstance(world.disk(attachment), NbdDisk)
        assert world.driver.reboot(world.server_id, grace_s=60)
        world.read_all()
    world.driver.ensure_stopped(world.server_id, grace_s=0)
    world.start()
    world.read_all()


def test_an_exporter_dies_after_the_move(world: World) -> None:
    world.start()
    world.write_next()
    world.set_out("fast")
    attachment = world.move()
    world.end(attachment)
    name = world.shown()["os-vol-mig-status-attr:name_id"]
    world.cloud.kill(name)
    world.cloud.turn()
    world.write_next()
    world.read_all()


def test_a_paused_guest_has_its_disk_moved(world: World) -> None:
    world.start()
    world.write_next()
    world.driver.ensure_paused(world.server_id)
    world.set_out("fast")
    world.end(world.move())
    assert world.driver.get(world.server_id).power is Power.PAUSED  # type: ignore[union-attr]
    world.read_all()
    world.write_next()


def test_a_copy_goes_on_while_nobody_waits_for_it(world: World, lab: LabHost) -> None:
    """The host's daemon dies in the middle, and libvirt's: the next one finds the copy."""
    world.start()
    for _ in range(4):
        world.write_next()
    world.set_out("fast")
    attachment = world.claim(world.place)
    new = world.disk(attachment)

    def die() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.driver.ensure_disk_moved(world.server_id, new, ready=die, cancelled=threading.Event())
    lab.kill_libvirtd()
    lab.start_libvirtd()
    world.write_next()
    live = world.driver._connection.live_definition(world.server_id)
    assert live is not None
    assert "<mirror" in live
    world.driver.ensure_disk_moved(
        world.server_id, new, ready=lambda: world.complete(attachment),
        cancelled=threading.Event(),
    )  # fmt: skip
    world.write_next()
    world.end(attachment)
    world.read_all()


def test_a_guest_is_killed_on_the_way(world: World) -> None:
    world.start()
    world.write_next()
    world.flush()
    world.set_out("fast")

    def kill() -> None:
        os.kill(world.qemu(), signal.SIGKILL)
        wait_for(lambda: _is_off(world), "its end", 30)

    attachment = world.claim(world.place)
    new = world.disk(attachment)
    with pytest.raises(HostProblem):
        world.driver.ensure_disk_moved(
            world.server_id, new, ready=kill, cancelled=threading.Event()
        )
    assert world.driver.end_disk_move(world.server_id, new) is None
    world.end(attachment, failed=True)
    now = world.shown()
    assert (now["status"], now["migration_status"]) == ("in-use", "error")
    assert world.names() == {"files": [world.volume_id], "fast": []}
    world.start()
    world.read_all()


def test_a_place_that_fails_leaves_the_guest_where_it_was(world: World) -> None:
    """As a full disk would: what is written there is refused."""
    world.start()
    for _ in range(4):
        world.write_next()
    world.set_out("fast")
    attachment = world.claim(world.place)
    new = world.disk(attachment)
    began = threading.Event()

    def lose() -> None:
        began.set()
        world.cloud.kill(world.place)
        world.io(f"write -P {world.written % 255 + 1} {world.written}M 1M")
        world.written += 1

    with pytest.raises(HostProblem):
        world.driver.ensure_disk_moved(
            world.server_id, new, ready=lose, cancelled=threading.Event()
        )
    assert began.is_set()
    assert world.driver.end_disk_move(world.server_id, new) is False
    world.end(attachment, failed=True)
    assert world.names() == {"files": [world.volume_id], "fast": []}
    world.read_all()
    world.set_out("fast")
    world.end(world.move())
    world.read_all()


def _is_off(world: World) -> bool:
    found = world.driver.get(world.server_id)
    return found is None or found.power is not Power.RUNNING
