"""The libvirt driver on a real libvirtd and QEMU, emulated, in a lab host of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import guest
import msgspec
import pytest
from labhost import LabHost, missing, wait_for

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import domain_name, new_id
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, FileDisk, Nic
from minicloud.virt.libvirt import disks

pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(missing()), reason=missing())]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402 - only where libvirt is

TAP = "tapmc1"


@dataclasses.dataclass
class Host:
    lab: LabHost
    driver: LibvirtDriver
    directory: Path

    def spec(self, *, deaf: bool = False, nic: bool = False) -> DomainSpec:
        """A server with an overlay and a config drive, as a launch makes them."""
        server_id = new_id()
        own = self.directory / server_id
        base = self.directory / ("deaf.raw" if deaf else "base.raw")
        guest.write_image(base, deaf=deaf)
        disks.ensure_overlay(own / "disk", base, "raw", 1)
        disks.ensure_config_drive(own / "config.iso", {"openstack/latest/meta_data.json": b"{}"})
        tap = Nic(tap=TAP, mac="fa:16:3e:00:00:01", mtu=1450, port_id=new_id())
        return DomainSpec(
            server_id=server_id,
            name=domain_name(server_id),
            title="a <lab> guest & more",
            vcpus=1,
            memory_mb=32,
            disks=(
                FileDisk(path=str(own / "disk"), format="qcow2", target="vda", boot_index=0),
                FileDisk(path=str(own / "config.iso"), format="raw", target="sda", cdrom=True),
            ),
            nics=(tap,) if nic else (),
            console_log=str(own / "console.log"),
        )

    def boots(self, spec: DomainSpec) -> int:
        """How often the guest has greeted."""
        log = self.driver.console_tail(Path(spec.console_log), max_bytes=1 << 20)
        return log.count(guest.GREETING)

    def wait_for_boot(self, spec: DomainSpec, times: int = 1) -> None:
        wait_for(lambda: self.boots(spec) >= times, f"boot {times} of the guest", 60)

    def power(self, spec: DomainSpec) -> Power | None:
        found = self.driver.get(spec.server_id)
        return found.power if found else None


@pytest.fixture
def host(lab: LabHost, tmp_path: Path) -> Iterator[Host]:
    driver = LibvirtDriver(lab.uri, "qemu", "tests are emulated")
    yield Host(lab, driver, tmp_path)
    for domain in driver.list_domains():
        driver.ensure_absent(domain.server_id)
    driver.close()


def test_the_screen_of_a_running_guest(host: Host) -> None:
    spec = host.spec()
    host.driver.ensure_running(spec)
    port = host.driver.vnc_port(spec.server_id)
    assert port is not None
    greet = (
        f"import socket; s = socket.create_connection(('127.0.0.1', {port}), 5); "
        "print(s.recv(12).decode())"
    )
    assert host.lab.run("/usr/bin/python3", "-c", greet).startswith("RFB 003.")
    host.driver.ensure_stopped(spec.server_id, grace_s=0)
    assert host.driver.vnc_port(spec.server_id) is None


def test_host_info(host: Host) -> None:
    info = host.driver.host_info()
    assert info.hypervisor_type == "QEMU"
    assert info.hypervisor_version > 1_000_000
    assert info.cpu_arch == "x86_64"


def test_the_life_of_a_server(host: Host) -> None:
    host.lab.run("ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
    host.lab.run("ip", "link", "set", TAP, "mtu", "1450", "up")
    spec = host.spec(nic=True)
    for _ in range(2):
        host.driver.ensure_running(spec)
    assert host.power(spec) is Power.RUNNING
    assert [d.server_id for d in host.driver.list_domains()] == [spec.server_id]
    host.wait_for_boot(spec)

    assert host.driver.reboot(spec.server_id, grace_s=30) is True
    host.wait_for_boot(spec, 2)

    host.driver.ensure_stopped(spec.server_id, grace_s=30)
    assert host.power(spec) is Power.SHUTDOWN
    host.driver.ensure_running(msgspec.structs.replace(spec, memory_mb=48))
    host.wait_for_boot(spec, 3)
    assert "49152 KiB" in host.lab.run("virsh", "-q", "dominfo", spec.name).split("Max memory:")[1]

    for _ in range(2):
        host.driver.ensure_absent(spec.server_id)
    assert host.power(spec) is None
    assert TAP in host.lab.run("ip", "-o", "link"), "the TAP belongs to hostnet"


def test_a_guest_that_does_not_listen(host: Host) -> None:
    spec = host.spec(deaf=True)
    host.driver.ensure_running(spec)
    host.wait_for_boot(spec)
    assert host.driver.reboot(spec.server_id, grace_s=0.5) is False
    assert host.power(spec) is Power.RUNNING
    began = time.monotonic()
    host.driver.ensure_stopped(spec.server_id, grace_s=0.5)
    assert 0.5 <= time.monotonic() - began < 10
    assert host.power(spec) is Power.SHUTDOWN


def test_a_paused_guest_goes_on_and_can_be_cut_off(host: Host) -> None:
    spec = host.spec()
    host.driver.ensure_running(spec)
    host.lab.run("virsh", "suspend", spec.name)
    assert host.power(spec) is Power.PAUSED
    host.driver.ensure_running(spec)
    assert host.power(spec) is Power.RUNNING
    host.lab.run("virsh", "suspend", spec.name)
    began = time.monotonic()
    host.driver.ensure_stopped(spec.server_id, grace_s=60)
    assert time.monotonic() - began < 30, "a paused guest cannot hear a request"


def test_the_guest_survives_libvirtd_and_the_driver_reconnects(host: Host) -> None:
    spec = host.spec()
    told: queue.Queue[tuple[str, Power]] = queue.Queue()
    host.driver.on_lifecycle(lambda server_id, power: told.put((server_id, power)))
    host.driver.ensure_running(spec)
    assert told.get(timeout=10) == (spec.server_id, Power.RUNNING)
    host.lab.kill_libvirtd()
    restart = threading.Timer(0.5, host.lab.start_libvirtd)
    restart.start()
    assert host.power(spec) is Power.RUNNING, "a call meanwhile waits for the daemon"
    restart.join()
    host.wait_for_boot(spec)
    while not told.empty():
        told.get()
    host.driver.ensure_stopped(spec.server_id, grace_s=30)
    assert told.get(timeout=10) == (spec.server_id, Power.SHUTDOWN), "subscribed again"


def test_an_unreachable_libvirt_says_what_to_do(tmp_path: Path) -> None:
    driver = LibvirtDriver(f"qemu:///system?socket={tmp_path}/none", "qemu", "a test")
    with pytest.raises(HostProblem, match=r"cannot be reached: .*none.*start libvirtd"):
        driver.list_domains()
    driver.close()


def test_qemu_that_dies_is_seen(host: Host) -> None:
    spec = host.spec()
    told: queue.Queue[tuple[str, Power]] = queue.Queue()
    host.driver.ensure_running(spec)
    host.driver.on_lifecycle(lambda server_id, power: told.put((server_id, power)))
    host.lab.run("bash", "-c", f"kill -KILL $(cat /run/libvirt/qemu/{spec.name}.pid)")
    assert told.get(timeout=10) == (spec.server_id, Power.SHUTDOWN)
    host.driver.ensure_running(spec)
    assert host.power(spec) is Power.RUNNING


def test_a_stranger_is_left_alone(host: Host) -> None:
    spec = host.spec()
    definition = host.directory / "stranger.xml"
    definition.write_text(
        f"<domain type='qemu'><name>pet</name><uuid>{spec.server_id}</uuid>"
        "<memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>"
    )
    host.lab.run("virsh", "define", str(definition))
    assert host.driver.list_domains() == []
    assert host.driver.get(spec.server_id) is None
    host.driver.ensure_stopped(spec.server_id, grace_s=0)
    host.driver.ensure_absent(spec.server_id)
    with pytest.raises(HostProblem, match=r"pet .* was not made by minicloud"):
        host.driver.ensure_running(spec)
    assert "pet" in host.lab.run("virsh", "list", "--all", "--name")
    host.lab.run("virsh", "undefine", "pet")


def test_what_qemu_refuses_is_told_in_words(host: Host) -> None:
    spec = host.spec(nic=True)
    missing_tap = msgspec.structs.replace(
        spec, nics=(msgspec.structs.replace(spec.nics[0], tap="tapnone"),)
    )
    with pytest.raises(HostProblem, match=r"could not start domain .*a TAP .* has not been made"):
        host.driver.ensure_running(missing_tap)
    rubbish = Path(spec.disks[0].path)  # type: ignore[union-attr]  # the first is a file
    rubbish.write_bytes(b"rubbish" * 1000)
    with pytest.raises(HostProblem, match="not in qcow2 format"):
        host.driver.ensure_running(msgspec.structs.replace(spec, nics=()))
    host.driver.ensure_absent(spec.server_id)


_RUN_AND_BE_KILLED = """
import sys, msgspec
from minicloud.virt.driver import DomainSpec
from minicloud.virt.libvirt.driver import LibvirtDriver
driver = LibvirtDriver(sys.argv[1], "qemu", "a test")
driver.list_domains()
print("ready", flush=True)
driver.ensure_running(msgspec.json.decode(sys.argv[2], type=DomainSpec))
"""


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.04])
def test_a_start_cut_short_is_finished_by_the_next(host: Host, after_s: float) -> None:
    spec = host.spec()
    arguments = [host.lab.uri, msgspec.json.encode(spec).decode()]
    with subprocess.Popen(
        [sys.executable, "-c", _RUN_AND_BE_KILLED, *arguments], stdout=subprocess.PIPE
    ) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"ready\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            victim.wait(after_s)
        victim.kill()
    host.driver.ensure_running(spec)
    assert host.power(spec) is Power.RUNNING
    host.wait_for_boot(spec)
    assert host.boots(spec) == 1
    host.driver.ensure_absent(spec.server_id)
    assert host.driver.list_domains() == []


def test_several_at_once(host: Host) -> None:
    specs = [host.spec() for _ in range(4)]
    with ThreadPoolExecutor(len(specs)) as pool:
        list(pool.map(host.driver.ensure_running, specs))
        assert len(host.driver.list_domains()) == len(specs)
        list(pool.map(lambda spec: host.driver.ensure_absent(spec.server_id), specs))
    assert host.driver.list_domains() == []
