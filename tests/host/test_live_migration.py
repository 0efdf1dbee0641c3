"""Guests that go from one libvirtd to another while they count, and what may go wrong meanwhile.

Two hosts, each with a libvirtd and directories of its own. Whatever is killed, in the end the guest
counts on, on one host.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import counting_guest as guest
import msgspec
import pytest
from labhost import LabHost, missing, wait_for

from minicloud.compute.passages import Passages, through
from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.models import MigrationDoor
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, FileDisk, NbdDisk
from minicloud.virt.libvirt import disks

pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(missing()), reason=missing())]
libvirt = pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402 - only where libvirt is
from minicloud.virt.libvirt.migration import Place  # noqa: E402

_LIMIT_S = 90
_INSIDE = "/run/minicloud/migrations"


class Host:
    """One of the two, with the directory that its servers' files are in."""

    def __init__(self, directory: Path, name: str, *, shares_network: bool = False) -> None:
        self.lab = LabHost(directory / "host", name, shares_network=shares_network)
        self.lab.start()
        self.servers = directory / "servers"
        self.servers.mkdir()
        self.passages = Passages(address="127.0.0.1")
        root = self.lab.uri.partition("socket=")[2].removesuffix("/run/libvirt/libvirt-sock")
        self.sockets = Path(root + _INSIDE)
        self.driver = self.new_driver()

    def new_driver(self) -> LibvirtDriver:
        place = Place(directory=self.sockets, inside=_INSIDE)
        return LibvirtDriver(self.lab.uri, "qemu", "tests are emulated", migrations=place)

    def own(self, spec: DomainSpec) -> Path:
        return self.servers / spec.server_id

    def here(self, spec: DomainSpec) -> DomainSpec:
        """The server as it is on this host: its files are elsewhere on each."""
        own = self.own(spec)
        moved = [
            msgspec.structs.replace(disk, path=str(own / Path(disk.path).name))
            if isinstance(disk, FileDisk)
            else disk
            for disk in spec.disks
        ]
        return msgspec.structs.replace(spec, disks=moved, console_log=str(own / "console.log"))

    def make_ready(self, spec: DomainSpec, base: Path | None) -> DomainSpec:
        """Empty disks for a guest that is to come."""
        here = self.here(spec)
        disks.ensure_empty(self.own(spec) / "disk", 1 << 30, base)
        disks.ensure_config_drive(self.own(spec) / "config.iso", {"a": b"b"})
        return self.driver.expect(here)

    def power(self, spec: DomainSpec) -> Power | None:
        found = self.driver.get(spec.server_id)
        return found.power if found else None

    def counts(self, spec: DomainSpec) -> list[int]:
        return guest.counted(self.own(spec) / "console.log")

    def slow_down(self, spec: DomainSpec) -> None:
        """One mebibyte a second, for the next migration: it lasts until somebody ends it."""
        connection = libvirt.open(self.lab.uri)
        connection.lookupByUUIDString(spec.server_id).migrateSetMaxSpeed(1)
        connection.close()

    def close(self) -> None:
        self.driver.close()
        self.lab.stop()


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Host]]:
    with contextlib.ExitStack() as end:
        found = []
        for name in ("lab1", "lab2"):
            host = Host(tmp_path_factory.mktemp(name), name)
            end.callback(host.close)
            found.append(host)
        yield found[0], found[1]


class World:
    """A guest that counts on ``source``, and all that takes it to ``target``."""

    def __init__(self, source: Host, target: Host, directory: Path) -> None:
        self.source, self.target = source, target
        self.base = directory / "base.raw"
        guest.write_image(self.base)
        server_id = new_id()
        plain = DomainSpec(
            server_id=server_id,
            name=domain_name(server_id),
            title="a guest that moves",
            vcpus=1,
            memory_mb=32,
            disks=(
                FileDisk(path="/disk", format="qcow2", target="vda", boot_index=0),
                FileDisk(path="/config.iso", format="raw", target="sda", cdrom=True,
                         readonly=True),
            ),
            nics=(),
            console_log="",
        )  # fmt: skip
        self.spec = source.here(plain)
        own = source.own(self.spec)
        disks.ensure_overlay(own / "disk", self.base, "raw", 1)
        disks.ensure_config_drive(own / "config.iso", {"a": b"b"})
        self.steps: list[Mapping[str, int]] = []
        self.wish: Callable[[], str] = lambda: ""

    def start(self) -> None:
        self.source.driver.ensure_running(self.spec)
        wait_for(lambda: len(self.source.counts(self.spec)) > 5, "its first numbers", _LIMIT_S)

    def move(self, *, whole: bool = False, paused: bool = False) -> None:
        """As the recipe does. HostProblem."""
        there = self.target.make_ready(self.spec, None if whole else self.base)
        self.there = there
        door = self.target.passages.open(
            self.spec.server_id, self.target.driver.ways_in(self.spec.server_id)
        )
        self.go(door, there, whole, paused)

    def go(self, door: MigrationDoor, there: DomainSpec, whole: bool, paused: bool) -> None:
        driver = self.source.driver
        try:
            with through(door, driver.ways_out(self.spec.server_id)):
                driver.migrate(there, whole=whole, paused=paused, steer=self.steer)
        finally:
            driver.forget_ways(self.spec.server_id)

    def steer(self, progress: Mapping[str, int]) -> str:
        if progress:
            self.steps.append(progress)
        return self.wish()

    def end_of_move(self, **how: Any) -> Host:
        """Where the guest is in the end, as the conductor would have it: put back where its move
        has failed, or it has not come.
        """
        try:
            self.move(**how)
            self.target.driver.ensure_arrived(self.there, paused=False)
        except HostProblem:
            self.target.driver.ensure_absent(self.spec.server_id)
            self.source.driver.ensure_stays(self.spec.server_id, paused=False)
            found = self.source
        else:
            self.source.driver.ensure_absent(self.spec.server_id)
            found = self.target
        self.target.passages.close(self.spec.server_id)
        self.target.driver.forget_ways(self.spec.server_id)
        return found

    def check_runs_on(self, host: Host) -> None:
        """The guest counts on, there alone, without a number missing or twice."""
        other = self.target if host is self.source else self.source
        assert other.power(self.spec) is None
        assert host.power(self.spec) is Power.RUNNING
        last = self.numbers()[-1]
        wait_for(lambda: self.numbers()[-1] > last + 5, "more numbers", _LIMIT_S)
        found = self.numbers()
        assert found == list(range(found[0], found[0] + len(found))), "it was never started anew"
        disk = host.own(self.spec) / "disk"
        wait_for(lambda: guest.written(disk) > last, "the number on its disk", _LIMIT_S)
        assert host.driver.console_tail(host.own(self.spec) / "console.log", max_bytes=9)

    def numbers(self) -> list[int]:
        return [*self.source.counts(self.spec), *self.target.counts(self.spec)]

    def end(self) -> None:
        for host in (self.source, self.target):
            host.driver.ensure_absent(self.spec.server_id)
            assert not (host.sockets / self.spec.server_id).exists()


@pytest.fixture
def world(hosts: tuple[Host, Host], tmp_path: Path) -> Iterator[World]:
    world = World(*hosts, tmp_path)
    yield world
    world.end()


@pytest.mark.parametrize("whole", [False, True])
def test_a_guest_moves_and_counts_on(world: World, whole: bool) -> None:
    world.start()
    assert world.end_of_move(whole=whole) is world.target
    world.check_runs_on(world.target)
    disk = world.target.own(world.spec) / "disk"
    assert disks.backing_name(disk) == ("" if whole else str(world.base))
    # The same by what it is started with next time.
    world.target.driver.ensure_stopped(world.spec.server_id, grace_s=0)
    before = len(world.target.counts(world.spec))
    world.target.driver.ensure_running(world.there)
    wait_for(lambda: len(world.target.counts(world.spec)) > before, "its next life", _LIMIT_S)


def test_there_and_back(world: World) -> None:
    world.start()
    world.source.slow_down(world.spec)

    def has_begun() -> bool:
        return any(
            step["memory_total_bytes"] > step["memory_remaining_bytes"] for step in world.steps
        )

    world.wish = lambda: "pause" if has_begun() else ""
    assert world.end_of_move() is world.target
    assert has_begun()
    disks.remove_tree(world.source.own(world.spec))
    world.spec, world.source, world.target = world.there, world.target, world.source
    world.wish = lambda: ""
    assert world.end_of_move() is world.target
    world.check_runs_on(world.target)


def test_a_paused_guest_stays_so(world: World) -> None:
    world.start()
    world.source.driver.ensure_paused(world.spec.server_id)
    world.move(paused=True)
    world.target.driver.ensure_arrived(world.there, paused=True)
    assert world.target.power(world.spec) is Power.PAUSED
    assert world.source.power(world.spec) is None
    world.target.passages.close(world.spec.server_id)
    world.target.driver.forget_ways(world.spec.server_id)
    world.target.driver.ensure_running(world.there)
    world.check_runs_on(world.target)


def test_a_volume_is_opened_by_its_new_name(world: World, tmp_path: Path) -> None:
    """As an exporter offers it: to each host by a name of its own."""
    file, exports = tmp_path / "volume.raw", {}
    file.write_bytes(bytes(1 << 20))
    with contextlib.ExitStack() as end:
        for number, host in enumerate((world.source, world.target)):
            path = tmp_path / f"{number}.sock"
            opened = f"driver=raw,file.driver=file,file.locking=off,file.filename={file}"
            command = ["qemu-nbd", "-t", "-k", str(path), "-x", f"v{number}", "--shared=4",
                       "--image-opts", opened]  # fmt: skip
            process = subprocess.Popen(command)
            end.callback(process.wait)
            end.callback(process.terminate)
            wait_for(path.exists, "an export", _LIMIT_S)
            exports[host] = NbdDisk(
                export=f"v{number}", target="vdb", socket=str(path), serial="a-volume"
            )
        world.spec = msgspec.structs.replace(
            world.spec, disks=[*world.spec.disks, exports[world.source]]
        )
        world.start()
        here = world.target.here

        def there(spec: DomainSpec) -> DomainSpec:
            found = here(spec)
            return msgspec.structs.replace(found, disks=[*found.disks[:2], exports[world.target]])

        world.target.here = there  # type: ignore[method-assign]
        try:
            assert world.end_of_move() is world.target
        finally:
            world.target.here = here  # type: ignore[method-assign]
        world.check_runs_on(world.target)
        assert world.target.driver.has_device(world.spec.server_id, exports[world.target])
        connection = libvirt.open(world.target.lab.uri)
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            text = connection.lookupByUUIDString(world.spec.server_id).XMLDesc(flags)
            assert ("name='v1'" in text, "name='v0'" in text) == (True, False)
        connection.close()
        world.target.driver.ensure_absent(world.spec.server_id)


def test_aborted(world: World) -> None:
    world.start()
    world.source.slow_down(world.spec)
    world.wish = lambda: "abort" if world.steps else ""
    with pytest.raises(HostProblem, match="aborted"):
        world.move()
    assert world.end_of_move() is world.source
    world.check_runs_on(world.source)
    world.wish = lambda: ""
    world.source.slow_down(world.spec)
    world.wish = lambda: "pause" if len(world.steps) > 9 else ""
    disks.remove_tree(world.target.own(world.spec))
    assert world.end_of_move() is world.target
    world.check_runs_on(world.target)


@pytest.mark.parametrize("killed", ["source", "target", "door"])
@pytest.mark.parametrize("after", [0, 2])
def test_killed_in_the_middle(world: World, killed: str, after: int) -> None:
    """``after``: how many looks at the migration there have been."""
    world.start()
    world.source.slow_down(world.spec)
    done = threading.Event()

    def kill() -> str:
        if len(world.steps) > after and not done.is_set():
            done.set()
            if killed == "door":
                world.target.passages.close(world.spec.server_id)
            else:
                host = world.source if killed == "source" else world.target
                host.lab.kill_libvirtd()
                threading.Thread(target=host.lab.start_libvirtd).start()
        return ""

    world.wish = kill
    found = world.end_of_move()
    assert done.is_set()
    world.check_runs_on(found)


def test_killed_at_the_end(world: World) -> None:
    """At each of many moments around the one at which the guest goes over."""
    world.start()
    for number in range(6):
        if world.target.own(world.spec).exists():
            disks.remove_tree(world.target.own(world.spec))
        host = world.source if number % 2 else world.target
        timer = threading.Timer(0.1 + 0.06 * number, host.lab.kill_libvirtd)
        timer.start()
        back = threading.Thread(target=lambda t=timer, h=host: (t.join(), h.lab.start_libvirtd()))
        back.start()
        found = world.end_of_move()
        back.join()
        world.check_runs_on(found)
        if found is world.target:
            disks.remove_tree(world.source.own(world.spec))
            world.spec, world.source, world.target = world.there, world.target, world.source


def test_without_a_way(world: World) -> None:
    world.start()
    there = world.target.make_ready(world.spec, world.base)
    door = world.target.passages.open(
        world.spec.server_id, world.target.driver.ways_in(world.spec.server_id)
    )
    wrong = msgspec.structs.replace(door, key="wrong." + door.key.partition(".")[2])
    with pytest.raises(HostProblem):
        world.go(wrong, there, False, False)
    forged = msgspec.structs.replace(door, key=door.key.partition(".")[0] + "." + "0" * 64)
    with pytest.raises(HostProblem):
        world.go(forged, there, False, False)
    world.target.passages.close(world.spec.server_id)
    with pytest.raises(HostProblem):
        world.go(door, there, False, False)
    world.target.driver.forget_ways(world.spec.server_id)
    world.check_runs_on(world.source)
