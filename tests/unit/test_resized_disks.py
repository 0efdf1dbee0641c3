"""A server's disks when its flavor changes: which there are, and their files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minicloud.compute.storage import FileStorage
from minicloud.domain.disks import resized_disks
from minicloud.domain.models import BlockDevice, Flavor
from minicloud.virt.libvirt.disks import image_info

SERVER = "3f0e6a5e-35b9-4c5b-8f5e-0a6a7c6f7d10"


def flavor(ephemeral: int, swap: int) -> Flavor:
    return Flavor(id="f", name="f", vcpus=1, ram=1, disk=1, ephemeral=ephemeral, swap=swap)


def local(number: int, device: str, *, gb: int = 0, mb: int = 0) -> BlockDevice:
    return BlockDevice(
        number=number, device=device, source_type="blank", destination_type="local", size_gb=gb,
        swap_mb=mb, guest_format="swap" if mb else "",
    )  # fmt: skip


def volume(number: int, device: str) -> BlockDevice:
    return BlockDevice(
        number=number, device=device, source_type="volume", destination_type="volume",
        volume_id="v", size_gb=5,
    )  # fmt: skip


EPHEMERAL, SWAP, VOLUME = local(1, "vdb", gb=1), local(2, "vdc", mb=64), volume(3, "vdd")


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        ([EPHEMERAL, SWAP], (1, 64), (1, 64), [EPHEMERAL, SWAP]),
        ([EPHEMERAL, SWAP], (1, 64), (3, 64), [local(1, "vdb", gb=3), SWAP]),
        ([SWAP, VOLUME], (0, 64), (0, 32), [VOLUME, local(4, "vdc", mb=32)]),
        ([SWAP, VOLUME], (0, 64), (0, 0), [VOLUME]),
        ([VOLUME], (0, 0), (0, 32), [VOLUME, local(4, "vdb", mb=32)]),
        ([VOLUME], (0, 0), (2, 0), [VOLUME, local(4, "vdb", gb=2)]),
        # The user's own division of what the flavor gave.
        ([EPHEMERAL, local(2, "vdc", gb=1)], (2, 0), (4, 0), [EPHEMERAL, local(2, "vdc", gb=1)]),
        ([EPHEMERAL], (2, 0), (4, 0), [EPHEMERAL]),
    ],
)
def test_what_a_flavor_makes_of_disks(
    before: list[BlockDevice],
    old: tuple[int, int],
    new: tuple[int, int],
    after: list[BlockDevice],
) -> None:
    assert resized_disks(before, flavor(*old), flavor(*new)) == after


@pytest.mark.skipif(not shutil.which("mkfs.ext4"), reason="needs e2fsprogs")
@pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-utils")
def test_a_kept_disk_comes_back_as_it_was(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "instances", tmp_path / "images")
    storage.ensure_dir(SERVER)
    for number in (1, 2):
        storage.ensure_ephemeral(SERVER, number, 1, filesystem="ext4", label="ephemeral0")
    disk = storage.ephemeral_disk(SERVER, 1)
    before = disk.read_bytes()
    for _ in range(2):
        storage.keep_disk(SERVER, disk.name)
        storage.grow_disk(SERVER, disk.name, 3)
    assert image_info(disk, "qcow2").virtual_size == 3 << 30
    for _ in range(2):
        storage.restore_kept(SERVER)
        storage.drop_other_disks(SERVER, {1})
    assert disk.read_bytes() == before
    assert [path.name for path in storage.server_dir(SERVER).iterdir()] == [disk.name]
