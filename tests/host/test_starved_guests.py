"""A real guest whose disk lies on a file system without space: it stands still, sees no error, and
goes on when there is space.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import guest
import pytest
from labhost import LabHost, missing, wait_for

from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, FileDisk
from minicloud.virt.libvirt import disks

pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(missing()), reason=missing())]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402 - only where libvirt is


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """8 MiB, before there is a lab host, so that it sees the same."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def driver(small: Path, tmp_path: Path) -> Iterator[LibvirtDriver]:
    lab = LabHost(tmp_path / "lab")
    lab.directory.mkdir()
    try:
        lab.start()
        driver = LibvirtDriver(lab.uri, "qemu", "tests are emulated")
        yield driver
        driver.close()
    finally:
        lab.stop()


def test_a_guest_without_space_waits_for_it(
    driver: LibvirtDriver, small: Path, tmp_path: Path
) -> None:
    server_id = new_id()
    guest.write_image(tmp_path / "base.raw", writes=True)
    disk, log = small / "disk", tmp_path / "console.log"
    disks.ensure_overlay(disk, tmp_path / "base.raw", "raw", 1)
    spec = DomainSpec(
        server_id=server_id,
        name=domain_name(server_id),
        title="guest",
        vcpus=1,
        memory_mb=32,
        disks=(FileDisk(path=str(disk), format="qcow2", target="vda", boot_index=0),),
        nics=(),
        console_log=str(log),
    )

    def stands_still() -> bool:
        found = driver.get(server_id)
        return found is not None and found.power is Power.PAUSED

    def said() -> bytes:
        return driver.console_tail(log, max_bytes=1 << 16)

    driver.ensure_running(spec)
    assert driver.retry_writes(server_id) is False
    wait_for(stands_still, "the guest to find no space", 120)
    for _ in range(2):
        assert driver.retry_writes(server_id) is True
        wait_for(stands_still, "the guest to find none again", 60)

    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    assert driver.retry_writes(server_id) is True
    wait_for(lambda: guest.WRITTEN in said(), "the guest to have written all", 120)
    assert driver.retry_writes(server_id) is False
    driver.ensure_paused(server_id)
    assert driver.retry_writes(server_id) is False, "that is for a person to end"
    assert stands_still()
    driver.ensure_stopped(server_id, grace_s=0)
    told = subprocess.run(
        ["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x5a 1M 32M", disk],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "failed" not in told.stdout + told.stderr
