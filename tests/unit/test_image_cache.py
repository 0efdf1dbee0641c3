"""Base images of a host: what is removed, and what must never be, with real disks on them."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from minicloud.client.image import Image
from minicloud.compute.image_sweep import ImageSweep
from minicloud.compute.images import ImageCache
from minicloud.compute.recipes import HostTools
from minicloud.compute.storage import FileStorage
from minicloud.domain.errors import HostProblem
from minicloud.hostnet.fake import FakeHostNetwork
from minicloud.virt.driver import DomainSpec
from minicloud.virt.fake import FakeDriver

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-utils")
SERVER, OTHER = "3f0e6a5e-35b9-4c5b-8f5e-0a6a7c6f7d10", "7a0e6a5e-35b9-4c5b-8f5e-0a6a7c6f7d11"
IMAGE = "11111111-2222-4333-8444-555555555555"
UNUSED_S = 3600.0
DATA = b"a system" * 1000


class Images:
    """The image service, as much of it as a cache asks for."""

    def __init__(self) -> None:
        self.fetched = 0

    def image_download(self, image_id: str, target: Path, image: Image) -> None:
        assert image.os_hash_value == hashlib.sha512(DATA).hexdigest()
        self.fetched += 1
        target.write_bytes(DATA)


class Host:
    """``during``: what happens while the cache looks at which bases are in use, after it has."""

    def __init__(self, path: Path) -> None:
        self.during: Callable[[], object] = lambda: None
        self.storage = Storage(path, self)
        self.cache = ImageCache(self.storage)
        self.images = Images()

    @property
    def base(self) -> Path:
        return self.storage.base_image(IMAGE)

    def ensure(self, server_id: str = SERVER) -> None:
        image = Image(
            id=IMAGE, name="system", status="active", disk_format="raw", container_format="bare",
            size=len(DATA), virtual_size=None, checksum=None, os_hash_algo="sha512",
            os_hash_value=hashlib.sha512(DATA).hexdigest(), min_disk=0, min_ram=0,
            visibility="public", owner=None, properties={}, created_at=0.0, updated_at=0.0,
        )  # fmt: skip
        self.cache.ensure(image, self.images, server_id=server_id)  # type: ignore[arg-type]

    def make_root(self, server_id: str = SERVER) -> None:
        self.storage.ensure_dir(server_id)
        self.storage.ensure_root(server_id, IMAGE, 1)

    def launch(self, server_id: str = SERVER) -> None:
        """As the recipe does it: from the first step to the end of the operation."""
        self.ensure(server_id)
        self.make_root(server_id)
        self.cache.release(server_id)

    def grow_old(self) -> None:
        """The base was last used a day ago."""
        day_ago = self.base.stat().st_mtime - 86400
        os.utime(self.base, (day_ago, day_ago))

    def sweep(self) -> list[str]:
        return self.cache.remove_unused(UNUSED_S)


class Storage(FileStorage):
    def __init__(self, path: Path, host: Host) -> None:
        super().__init__(path / "instances", path / "images")
        self._host = host

    def bases_in_use(self) -> frozenset[str]:
        found = super().bases_in_use()
        self._host.during()
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_base_goes_when_nothing_has_used_it_for_long(host: Host) -> None:
    host.launch()
    host.storage.remove(SERVER)
    assert host.sweep() == []
    host.grow_old()
    assert host.sweep() == [IMAGE]
    assert not host.base.exists()
    host.launch()
    assert host.images.fetched == 2


@pytest.mark.parametrize("name", ["disk", "disk.rescue", "disk.before", "disk.part", "more/disk"])
def test_a_base_with_any_disk_on_it_stays(host: Host, name: str) -> None:
    host.launch()
    place = host.storage.server_dir(SERVER) / name
    place.parent.mkdir(exist_ok=True)
    host.storage.root_disk(SERVER).rename(place)
    host.grow_old()
    assert host.sweep() == []
    # It counts as used until now.
    place.unlink()
    assert host.sweep() == []
    assert host.base.exists()


def test_other_files_are_no_disks_on_a_base(host: Host) -> None:
    host.launch()
    directory = host.storage.server_dir(SERVER)
    host.storage.copy_root(SERVER)
    host.storage.root_disk(SERVER).unlink()
    (directory / "console.log").write_bytes(b"QF")
    (directory / "config.iso").write_bytes(b"\0" * 64)
    os.mkfifo(directory / "pipe")
    (directory / "gone").symlink_to(directory / "nowhere")
    host.grow_old()
    assert host.sweep() == [IMAGE]


@pytest.mark.parametrize(
    "damaged", [b"QFI\xfb", b"QFI\xfb\0\0\0\3" + b"\0\0\0\0\0\0\2\0\0\0\0\x20"]
)
def test_a_disk_that_cannot_be_read_keeps_every_base(host: Host, damaged: bytes) -> None:
    host.launch()
    host.storage.root_disk(SERVER).write_bytes(damaged)
    host.grow_old()
    with pytest.raises(HostProblem, match="disk"):
        host.sweep()
    assert host.base.exists()


def test_a_base_that_an_operation_has_asked_for_stays(host: Host) -> None:
    host.ensure()
    host.grow_old()
    assert host.sweep() == []
    host.make_root()
    host.cache.release(SERVER)
    host.storage.remove(SERVER)
    assert host.sweep() == [IMAGE]


@pytest.mark.parametrize("begun", ["before", "during"])
@pytest.mark.parametrize("ended", ["during", "after"])
def test_a_launch_that_races_with_the_removal(host: Host, begun: str, ended: str) -> None:
    """Its disk is made after the look at the disks, and before or after the removal."""
    host.launch(OTHER)
    host.storage.remove(OTHER)
    if begun == "before":
        host.ensure()
    host.grow_old()

    def during() -> None:
        if begun == "during":
            host.ensure()
        if ended == "during":
            host.make_root()
            host.cache.release(SERVER)

    host.during = during
    assert host.sweep() == []
    host.make_root()
    host.cache.release(SERVER)
    host.during = lambda: None
    assert host.sweep() == []
    assert host.images.fetched == 1


def test_a_launch_that_comes_a_moment_late_fetches_anew(host: Host) -> None:
    host.launch(OTHER)
    host.storage.remove(OTHER)
    host.grow_old()
    assert host.sweep() == [IMAGE]
    host.launch()
    assert (host.images.fetched, host.base.exists()) == (2, True)


def test_launches_beside_removals_never_lose_their_base(host: Host) -> None:
    over, problems = threading.Event(), []

    def sweep() -> None:
        while not over.is_set():
            try:
                host.cache.remove_unused(0.0)
            except HostProblem as problem:
                problems.append(problem)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(40):
            host.launch()
            assert host.base.exists()
            host.storage.remove(SERVER)
    finally:
        over.set()
        sweeper.join()
    assert problems == []
    assert host.images.fetched > 1


def test_nothing_goes_while_a_guests_disks_are_not_to_be_seen(host: Host, tmp_path: Path) -> None:
    driver = FakeDriver(tmp_path / "domains", vcpus=1, memory_mb=1024)
    tools = HostTools(
        name="lab1", driver=driver, network=FakeHostNetwork(tmp_path / "network"),
        storage=host.storage, images=host.cache, shutdown_s=1, detach_s=1,
        always_config_drive=False,
    )  # fmt: skip
    host.launch()
    spec = DomainSpec(
        server_id=SERVER, name="guest", title="guest", vcpus=1, memory_mb=64, disks=[], nics=[],
        console_log=str(tmp_path / "console.log"),
    )  # fmt: skip
    driver.ensure_running(spec)
    away = tmp_path / "not mounted"
    host.storage.server_dir(SERVER).rename(away)
    host.grow_old()
    ImageSweep(tools, unused_s=UNUSED_S).run()
    assert host.base.exists()
    away.rename(host.storage.server_dir(SERVER))
    ImageSweep(tools, unused_s=UNUSED_S).run()
    assert host.base.exists()
    driver.ensure_absent(SERVER)
    host.storage.remove(SERVER)
    host.grow_old()
    ImageSweep(tools, unused_s=0).run()
    assert host.base.exists()
    ImageSweep(tools, unused_s=UNUSED_S).run()
    assert not host.base.exists()
