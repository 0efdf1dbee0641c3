"""What every hypervisor driver promises of devices that come and go while a guest runs.

The fake, and libvirt with an emulated guest in a lab host of its own (libvirt's test hypervisor
has no such devices).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import guest
import msgspec
import pytest
from labhost import LabHost, missing, wait_for

from minicloud.domain.errors import Conflict, HostProblem
from minicloud.domain.ids import derive, domain_name, new_id
from minicloud.domain.states import Power
from minicloud.virt.driver import Device, DomainSpec, Driver, FileDisk, Nic
from minicloud.virt.fake import FakeDriver
from minicloud.virt.libvirt import disks
from minicloud.volume.backends import qemu_img

TAP = "tapmc7"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    lab = LabHost(tmp_path_factory.mktemp("lab"))
    try:
        lab.start()
        lab.run("ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
        lab.run("ip", "link", "set", TAP, "mtu", "1450", "up")
        yield lab
    finally:
        lab.stop()


@pytest.fixture(params=["fake", pytest.param("libvirt", marks=pytest.mark.host)])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    if request.param == "fake":
        yield FakeDriver(tmp_path / "fake")
        return
    if missing():
        pytest.skip(missing())
    pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")
    from minicloud.virt.libvirt.driver import LibvirtDriver

    driver = LibvirtDriver(request.getfixturevalue("lab").uri, "qemu", "tests are emulated")
    yield driver
    for domain in driver.list_domains():
        driver.ensure_absent(domain.server_id)
    driver.close()


def make_spec(directory: Path, *, deaf: bool = False) -> DomainSpec:
    server_id = new_id()
    guest.write_image(directory / "base.raw", deaf=deaf)
    return DomainSpec(
        server_id=server_id,
        name=domain_name(server_id),
        title="devices",
        vcpus=1,
        memory_mb=32,
        disks=(
            FileDisk(
                path=str(directory / "base.raw"), format="raw", target="vda", boot_index=0
            ),
        ),
        nics=(),
        console_log=str(directory / "console.log"),
    )  # fmt: skip


@pytest.fixture
def spec(tmp_path: Path) -> DomainSpec:
    return make_spec(tmp_path)


@pytest.fixture(params=["disk", "nic"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    if request.param == "nic":
        return Nic(tap=TAP, mac="fa:16:3e:00:00:07", mtu=1450, port_id=derive("a port"))
    return make_disk(tmp_path)


def make_disk(directory: Path, name: str = "extra.raw") -> FileDisk:
    path = directory / name
    disks.ensure_blank(path, 1, "raw")
    return FileDisk(path=str(path), format="raw", target="vdb", serial=derive("a volume"))


def boot(driver: Driver, spec: DomainSpec) -> None:
    driver.ensure_running(spec)
    if not isinstance(driver, FakeDriver):
        log = Path(spec.console_log)
        wait_for(
            lambda: guest.GREETING in driver.console_tail(log, max_bytes=1 << 20), "a boot", 60
        )


def test_a_device_comes_and_goes(driver: Driver, spec: DomainSpec, device: Device) -> None:
    boot(driver, spec)
    assert not driver.has_device(spec.server_id, device)
    for _ in range(2):
        driver.ensure_device(spec.server_id, device)
        assert driver.has_device(spec.server_id, device)
    for _ in range(2):
        driver.ensure_no_device(spec.server_id, device, limit_s=60)
        assert not driver.has_device(spec.server_id, device)
    driver.ensure_device(spec.server_id, device)
    assert driver.has_device(spec.server_id, device)


def test_a_device_is_there_after_a_reboot_until_it_is_gone(
    driver: Driver, spec: DomainSpec, device: Device
) -> None:
    boot(driver, spec)
    driver.ensure_device(spec.server_id, device)
    assert driver.reboot(spec.server_id, grace_s=60)
    assert driver.has_device(spec.server_id, device)
    driver.ensure_no_device(spec.server_id, device, limit_s=60)
    assert driver.reboot(spec.server_id, grace_s=60)
    assert not driver.has_device(spec.server_id, device)


def test_a_guest_that_is_off_gets_it_when_it_is_started_with_it(
    driver: Driver, spec: DomainSpec, device: Device
) -> None:
    nobody = derive("nobody")
    driver.ensure_device(nobody, device)
    driver.ensure_no_device(nobody, device, limit_s=1)
    assert not driver.has_device(nobody, device)
    boot(driver, spec)
    driver.ensure_stopped(spec.server_id, grace_s=0)
    driver.ensure_device(spec.server_id, device)
    assert driver.get(spec.server_id).power is Power.SHUTDOWN  # type: ignore[union-attr]  # is there
    assert not driver.has_device(spec.server_id, device)
    if isinstance(device, Nic):
        spec = msgspec.structs.replace(spec, nics=[device])
    else:
        spec = msgspec.structs.replace(spec, disks=[*spec.disks, device])
    driver.ensure_running(spec)
    assert driver.has_device(spec.server_id, device)
    driver.ensure_stopped(spec.server_id, grace_s=0)
    driver.ensure_no_device(spec.server_id, device, limit_s=1)
    assert not driver.has_device(spec.server_id, device)


def test_two_disks_under_one_name_are_refused(
    driver: Driver, spec: DomainSpec, tmp_path: Path
) -> None:
    boot(driver, spec)
    disk = make_disk(tmp_path)
    driver.ensure_device(spec.server_id, disk)
    other = msgspec.structs.replace(disk, serial=derive("another volume"))
    with pytest.raises(HostProblem, match="vdb"):
        driver.ensure_device(spec.server_id, other)
    assert not driver.has_device(spec.server_id, other)


def test_addresses_on_the_pci_bus(driver: Driver, spec: DomainSpec, tmp_path: Path) -> None:
    assert driver.device_addresses(spec.server_id) == {}
    boot(driver, spec)
    nic = Nic(tap=TAP, mac="fa:16:3e:00:00:07", mtu=1450, port_id=derive("a port"))
    driver.ensure_device(spec.server_id, nic)
    driver.ensure_device(spec.server_id, make_disk(tmp_path))
    found = driver.device_addresses(spec.server_id)
    assert set(found) == {"vda", "vdb", nic.mac}
    assert len(set(found.values())) == 3
    assert all(address.startswith("0000:") for address in found.values())


def test_what_a_guest_uses(driver: Driver, spec: DomainSpec, tmp_path: Path) -> None:
    assert driver.diagnostics(spec.server_id) is None
    boot(driver, spec)
    driver.ensure_device(spec.server_id, make_disk(tmp_path))
    nic = Nic(tap=TAP, mac="fa:16:3e:00:00:07", mtu=1450, port_id=derive("a port"))
    driver.ensure_device(spec.server_id, nic)
    found = driver.diagnostics(spec.server_id)
    assert found is not None
    assert (len(found.cpu_times_ns), found.memory_mb) == (1, 32)
    assert [disk.target for disk in found.disks] == ["vda", "vdb"]
    assert [(n.tap, n.mac) for n in found.nics] == [(TAP, nic.mac)]
    if not isinstance(driver, FakeDriver):
        assert found.cpu_times_ns[0] > 0
        assert found.disks[0].read_bytes > 0
    driver.ensure_stopped(spec.server_id, grace_s=0)
    assert driver.diagnostics(spec.server_id) is None


def test_a_guest_is_interrupted(driver: Driver, spec: DomainSpec) -> None:
    with pytest.raises(HostProblem, match="does not run"):
        driver.inject_nmi(spec.server_id)
    boot(driver, spec)
    driver.inject_nmi(spec.server_id)


def test_a_disk_grows(driver: Driver, spec: DomainSpec, tmp_path: Path) -> None:
    disk = make_disk(tmp_path)
    driver.ensure_disk_size(spec.server_id, disk, 2 << 30)
    boot(driver, spec)
    driver.ensure_device(spec.server_id, disk)
    driver.ensure_disk_size(spec.server_id, disk, 2 << 30)
    if not isinstance(driver, FakeDriver):
        assert Path(disk.path).stat().st_size == 2 << 30


def test_a_disk_goes_on_in_another_file(driver: Driver, spec: DomainSpec, tmp_path: Path) -> None:
    disk = msgspec.structs.replace(make_disk(tmp_path), foreign=True)
    below, above = Path(disk.path), tmp_path / "above.qcow2"
    disks.ensure_overlay(above, below, "raw", 1)
    driver.move_disk(spec.server_id, disk.serial, above.name)
    boot(driver, spec)
    driver.move_disk(spec.server_id, disk.serial, above.name)
    driver.ensure_device(spec.server_id, disk)
    for _ in range(2):
        driver.move_disk(spec.server_id, disk.serial, above.name)
        assert driver.has_device(spec.server_id, disk)
    if not isinstance(driver, FakeDriver):
        assert qemu_img.is_written(above)
        assert not qemu_img.is_written(below)
    assert driver.reboot(spec.server_id, grace_s=60)
    assert driver.has_device(spec.server_id, disk)
    if not isinstance(driver, FakeDriver):
        assert qemu_img.is_written(above)
    driver.ensure_no_device(spec.server_id, disk, limit_s=60)
    assert not qemu_img.is_written(above)


def test_a_disk_goes_to_another_place(driver: Driver, spec: DomainSpec, tmp_path: Path) -> None:
    old, new = make_disk(tmp_path), make_disk(tmp_path, "new.raw")
    ready: list[bool | None] = []

    def move() -> None:
        driver.ensure_disk_moved(
            spec.server_id,
            new,
            ready=lambda: ready.append(driver.has_device(spec.server_id, new)),
            cancelled=threading.Event(),
        )

    def look() -> bool | None:
        return driver.end_disk_move(spec.server_id, new)

    assert look() is None
    with pytest.raises(HostProblem, match="does not run"):
        move()
    boot(driver, spec)
    with pytest.raises(HostProblem, match="no disk vdb"):
        move()
    assert look() is None
    driver.ensure_device(spec.server_id, old)
    assert look() is False
    for _ in range(2):
        move()
        assert ready == [True]
        assert look() is True
    if not isinstance(driver, FakeDriver):
        assert qemu_img.is_written(Path(new.path))
        assert not qemu_img.is_written(Path(old.path))
    assert driver.reboot(spec.server_id, grace_s=60)
    assert look() is True
    driver.ensure_no_device(spec.server_id, new, limit_s=60)
    assert not driver.has_device(spec.server_id, new)


def test_a_disk_stays_when_its_new_place_is_refused(
    driver: Driver, spec: DomainSpec, tmp_path: Path
) -> None:
    old, new = make_disk(tmp_path), make_disk(tmp_path, "new.raw")

    def refuse() -> None:
        raise Conflict(reason="no")

    boot(driver, spec)
    driver.ensure_device(spec.server_id, old)
    with pytest.raises(Conflict, match="no"):
        driver.ensure_disk_moved(spec.server_id, new, ready=refuse, cancelled=threading.Event())
    for _ in range(2):
        assert driver.end_disk_move(spec.server_id, new) is False
    assert driver.end_disk_move(spec.server_id, old) is True
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(HostProblem, match="not waited for"):
        driver.ensure_disk_moved(spec.server_id, new, ready=refuse, cancelled=cancelled)
    assert driver.end_disk_move(spec.server_id, new) is False


def test_a_guest_that_keeps_its_disk(driver: Driver, tmp_path: Path) -> None:
    if isinstance(driver, FakeDriver):
        driver.fail("ensure_no_device", reason="the guest did not let disk vdb go")
    spec = make_spec(tmp_path, deaf=True)
    boot(driver, spec)
    disk = make_disk(tmp_path)
    driver.ensure_device(spec.server_id, disk)
    with pytest.raises(HostProblem, match="the guest did not let disk vdb go"):
        driver.ensure_no_device(spec.server_id, disk, limit_s=1)
    assert driver.has_device(spec.server_id, disk)
    driver.ensure_stopped(spec.server_id, grace_s=0)
    driver.ensure_no_device(spec.server_id, disk, limit_s=1)
    driver.ensure_running(spec)
    assert not driver.has_device(spec.server_id, disk)
