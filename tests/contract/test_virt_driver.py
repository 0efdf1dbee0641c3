"""What every hypervisor driver promises, of the fake and of libvirt's own test hypervisor."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import derive, domain_name
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, Driver, FileDisk, NbdDisk, Nic
from minicloud.virt.fake import FakeDriver

MakeDriver = Callable[[], Driver]


@pytest.fixture(params=["fake", "libvirt"])
def make_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeDriver]:
    """Makes drivers of one and the same host."""
    drivers: list[Driver] = []

    def make() -> Driver:
        if request.param == "fake":
            drivers.append(FakeDriver(tmp_path / "fake"))
        else:
            pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")
            from minicloud.virt.libvirt.driver import LibvirtDriver

            drivers.append(LibvirtDriver("test:///default", "test", "this is a test"))
        return drivers[-1]

    yield make
    for driver in drivers:
        for domain in driver.list_domains():
            driver.ensure_absent(domain.server_id)
    for driver in drivers:
        driver.close()


@pytest.fixture
def driver(make_driver: MakeDriver) -> Driver:
    return make_driver()


@pytest.fixture
def spec(tmp_path: Path) -> DomainSpec:
    return make_spec(tmp_path, 1)


def make_spec(directory: Path, number: int) -> DomainSpec:
    server_id = derive("contract", number)
    disk = directory / f"disk-{number}.raw"
    disk.touch()
    return DomainSpec(
        server_id=server_id,
        name=domain_name(server_id),
        title=f'server <{number}> & "friends"',
        vcpus=1,
        memory_mb=64,
        disks=(
            FileDisk(path=str(disk), format="raw", target="vda", boot_index=0),
            NbdDisk(export="v", target="vdb", socket="/run/v.sock"),
        ),
        nics=(Nic(tap=f"tap{number}", mac="fa:16:3e:00:00:01", mtu=1450, port_id=f"p{number}"),),
        console_log=str(directory / "logs" / f"{number}.log"),
    )


def power(driver: Driver, server_id: str) -> Power | None:
    found = driver.get(server_id)
    return found.power if found else None


def test_host_info(driver: Driver) -> None:
    info = driver.host_info()
    assert info.vcpus > 0
    assert info.memory_mb > 0
    assert info.hypervisor_version > 0
    assert info.virt_type_reason


def test_a_server_that_was_never_there(driver: Driver, tmp_path: Path) -> None:
    nobody = derive("nobody")
    assert driver.get(nobody) is None
    assert driver.list_domains() == []
    driver.ensure_stopped(nobody, grace_s=5)
    driver.ensure_absent(nobody)
    assert driver.reboot(nobody, grace_s=5) is False
    assert driver.console_tail(tmp_path / "none.log", max_bytes=10) == b""


def test_ensure_running_twice(driver: Driver, spec: DomainSpec) -> None:
    driver.ensure_running(spec)
    driver.ensure_running(spec)
    assert power(driver, spec.server_id) is Power.RUNNING
    assert [domain.server_id for domain in driver.list_domains()] == [spec.server_id]


def test_stop_and_start_again(driver: Driver, spec: DomainSpec) -> None:
    driver.ensure_running(spec)
    for grace_s in (5.0, 0.0):
        driver.ensure_stopped(spec.server_id, grace_s=grace_s)
        driver.ensure_stopped(spec.server_id, grace_s=grace_s)
        assert power(driver, spec.server_id) is Power.SHUTDOWN
        assert len(driver.list_domains()) == 1
        driver.ensure_running(msgspec.structs.replace(spec, memory_mb=128))
        assert power(driver, spec.server_id) is Power.RUNNING


@pytest.mark.parametrize("stopped_first", [True, False])
def test_ensure_absent(driver: Driver, spec: DomainSpec, stopped_first: bool) -> None:
    driver.ensure_running(spec)
    if stopped_first:
        driver.ensure_stopped(spec.server_id, grace_s=0)
    driver.ensure_absent(spec.server_id)
    driver.ensure_absent(spec.server_id)
    assert driver.get(spec.server_id) is None
    assert driver.list_domains() == []


def test_reboot(driver: Driver, spec: DomainSpec) -> None:
    driver.ensure_running(spec)
    assert driver.reboot(spec.server_id, grace_s=5) is True
    assert power(driver, spec.server_id) is Power.RUNNING


def test_reboot_of_a_stopped_server_does_nothing(driver: Driver, spec: DomainSpec) -> None:
    driver.ensure_running(spec)
    driver.ensure_stopped(spec.server_id, grace_s=0)
    assert driver.reboot(spec.server_id, grace_s=5) is False
    assert power(driver, spec.server_id) is Power.SHUTDOWN


def test_a_missing_disk_is_refused_by_name(driver: Driver, spec: DomainSpec) -> None:
    Path(spec.disks[0].path).unlink()  # type: ignore[union-attr]  # the first is a file
    with pytest.raises(HostProblem, match=r"disk vda .* is missing: .*disk-1\.raw"):
        driver.ensure_running(spec)
    assert driver.get(spec.server_id) is None


def test_a_name_in_use_is_refused(driver: Driver, spec: DomainSpec, tmp_path: Path) -> None:
    spec = msgspec.structs.replace(spec, name="twice")
    other = msgspec.structs.replace(make_spec(tmp_path, 2), name="twice")
    driver.ensure_running(spec)
    with pytest.raises(HostProblem, match=r"twice.* already exists"):
        driver.ensure_running(other)
    driver.ensure_absent(spec.server_id)


def test_a_domain_without_a_name_is_refused(driver: Driver, spec: DomainSpec) -> None:
    with pytest.raises(HostProblem, match="name"):
        driver.ensure_running(msgspec.structs.replace(spec, name=""))


def test_another_driver_of_the_same_host_sees_the_domain(
    make_driver: MakeDriver, spec: DomainSpec
) -> None:
    first, second = make_driver(), make_driver()
    second.list_domains()
    first.ensure_running(spec)
    first.close()
    assert power(second, spec.server_id) is Power.RUNNING


def test_changes_of_power_are_told(driver: Driver, spec: DomainSpec) -> None:
    told: queue.Queue[tuple[str, Power]] = queue.Queue()
    driver.on_lifecycle(lambda server_id, state: told.put((server_id, state)))
    driver.ensure_running(spec)
    assert told.get(timeout=5) == (spec.server_id, Power.RUNNING)
    driver.ensure_stopped(spec.server_id, grace_s=0)
    assert told.get(timeout=5) == (spec.server_id, Power.SHUTDOWN)


def test_many_threads_at_once(driver: Driver, tmp_path: Path) -> None:
    specs = [make_spec(tmp_path, number) for number in range(12)]
    barrier = threading.Barrier(len(specs))

    def life(spec: DomainSpec) -> None:
        barrier.wait()
        driver.ensure_running(spec)
        assert power(driver, spec.server_id) is Power.RUNNING
        driver.ensure_stopped(spec.server_id, grace_s=5)
        driver.ensure_running(spec)

    with ThreadPoolExecutor(len(specs)) as pool:
        list(pool.map(life, specs))
        assert len(driver.list_domains()) == len(specs)
        list(pool.map(lambda spec: driver.ensure_absent(spec.server_id), specs))
    assert driver.list_domains() == []


def test_only_a_running_guest_has_a_screen(driver: Driver, spec: DomainSpec) -> None:
    assert driver.vnc_port(derive("nobody")) is None
    driver.ensure_running(spec)
    port = driver.vnc_port(spec.server_id)
    # The hypervisors that run no guests serve no screen either.
    assert port is None or 0 < port < 65536
    driver.ensure_stopped(spec.server_id, grace_s=0)
    assert driver.vnc_port(spec.server_id) is None
    for kind in ("novnc", "serial"):
        assert driver.open_console(spec.server_id, kind) is None
        assert driver.open_console(derive("nobody"), kind) is None


def test_the_end_of_the_console_log(driver: Driver, tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"0123456789")
    assert driver.console_tail(log, max_bytes=4) == b"6789"
    assert driver.console_tail(log, max_bytes=100) == b"0123456789"
