"""What real guests are kept to: read back from their QEMU, and counted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import guest
import msgspec
import pytest
from labhost import LabHost, missing

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import domain_name, new_id
from minicloud.virt.driver import DomainSpec, FileDisk, Nic
from minicloud.virt.libvirt import disks

pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(missing()), reason=missing())]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402 - only where libvirt is

TAP = "tapmc1"
SLOW = {"total_iops_sec": 20, "total_bytes_sec": 1 << 20, "total_bytes_sec_max": 1 << 21}


@pytest.fixture
def spec(tmp_path: Path) -> DomainSpec:
    server_id = new_id()
    base, own = tmp_path / "base.raw", tmp_path / "disk"
    guest.write_image(base)
    disks.ensure_overlay(own, base, "raw", 1)
    return DomainSpec(
        server_id=server_id,
        name=domain_name(server_id),
        title="guest",
        vcpus=1,
        memory_mb=32,
        disks=(
            FileDisk(path=str(own), format="qcow2", target="vda", boot_index=0,
                     limits={"write_iops_sec": 300}),
        ),
        nics=(),
        console_log=str(tmp_path / "console.log"),
    )  # fmt: skip


def volume(directory: Path) -> FileDisk:
    path = directory / "volume.raw"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    return FileDisk(path=str(path), format="raw", target="vdb", serial=new_id(), foreign=True,
                    limits=SLOW)  # fmt: skip


def asked(driver: LibvirtDriver, server_id: str, disk: FileDisk) -> dict[str, Any]:
    """What QEMU says of a disk."""
    found = driver._connection.ask_qemu(server_id, "query-block", {})
    (one,) = [each for each in found if each.get("inserted", {}).get("file") == disk.path]
    shown: dict[str, Any] = one
    return shown


def limits(shown: dict[str, Any]) -> dict[str, int]:
    names = {
        "bps": "total_bytes_sec", "bps_max": "total_bytes_sec_max", "iops": "total_iops_sec",
        "iops_wr": "write_iops_sec",
    }  # fmt: skip
    inserted = shown["inserted"]
    return {names[name]: inserted[name] for name in names if inserted.get(name)}


def test_a_guest_cannot_pass_its_disks_limits(
    driver: LibvirtDriver, spec: DomainSpec, tmp_path: Path
) -> None:
    driver.ensure_running(spec)
    (root,) = spec.disks
    assert isinstance(root, FileDisk)
    assert limits(asked(driver, spec.server_id, root)) == root.limits
    plugged = volume(tmp_path)
    driver.ensure_device(spec.server_id, plugged)
    shown = asked(driver, spec.server_id, plugged)
    assert limits(shown) == SLOW

    line = f'qemu-io -d {shown["qdev"]} "write -P 0x{{:02x}} {{}}k 4k"'
    began, count = time.monotonic(), 60
    for number in range(count):
        command = {"command-line": line.format(number + 1, 4 * number)}
        said = driver._connection.ask_qemu(spec.server_id, "human-monitor-command", command)
        assert "rror" not in said, said
    took = time.monotonic() - began
    # QEMU lets a tenth of a second's worth pass at once.
    assert count <= SLOW["total_iops_sec"] * (took + 0.1) + 1, took
    assert Path(plugged.path).read_bytes()[59 * 4096] == 60

    again = [root, msgspec.structs.replace(plugged, limits={"total_iops_sec": 7})]
    driver.ensure_stopped(spec.server_id, grace_s=0)
    driver.ensure_running(msgspec.structs.replace(spec, disks=again))
    assert limits(asked(driver, spec.server_id, plugged)) == {"total_iops_sec": 7}


def test_limits_that_contradict_each_other_are_refused(
    driver: LibvirtDriver, spec: DomainSpec, tmp_path: Path
) -> None:
    driver.ensure_running(spec)
    disk = msgspec.structs.replace(
        volume(tmp_path), limits={"total_iops_sec": 5, "read_iops_sec": 5}
    )
    with pytest.raises(HostProblem, match="cannot be set at the same time"):
        driver.ensure_device(spec.server_id, disk)
    assert not driver.has_device(spec.server_id, disk)


def test_processors_and_nics_are_kept_to_their_limits(
    lab: LabHost, driver: LibvirtDriver, spec: DomainSpec
) -> None:
    given = msgspec.structs.replace(spec, cpu_limits={"shares": 512})
    driver.ensure_running(given)
    shown = ET.fromstring(lab.run("virsh", "-c", "qemu:///system", "dumpxml", spec.name))
    assert shown.findtext("cputune/shares") == "512"
    driver.ensure_stopped(spec.server_id, grace_s=0)
    with pytest.raises(HostProblem, match="cgroup cpu is required"):  # a lab host has none
        driver.ensure_running(msgspec.structs.replace(spec, cpu_limits={"quota": 50000}))

    lab.run("ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
    lab.run("ip", "link", "set", TAP, "mtu", "1450", "up")
    nic = Nic(tap=TAP, mac="fa:16:3e:00:00:01", mtu=1450, port_id=new_id(),
              limits={"inbound_average": 1000, "outbound_average": 500})  # fmt: skip
    try:
        driver.ensure_running(msgspec.structs.replace(given, nics=(nic,)))
    except HostProblem as problem:
        assert "(tc " in problem.message
        pytest.skip("this kernel cannot shape traffic")
    assert "rate 8Mbit" in lab.run("tc", "class", "show", "dev", TAP)
    assert "rate 4Mbit" in lab.run("tc", "filter", "show", "dev", TAP, "parent", "ffff:")
