"""What only the fake driver has: it survives SIGKILL and fails on request."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import derive, domain_name
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec
from minicloud.virt.fake import FakeDriver


@pytest.fixture
def spec(tmp_path: Path) -> DomainSpec:
    server_id = derive("fake")
    return DomainSpec(
        server_id=server_id,
        name=domain_name(server_id),
        title="web",
        vcpus=1,
        memory_mb=64,
        disks=(),
        nics=(),
        console_log=str(tmp_path / "console.log"),
    )


def test_domains_survive_the_process(tmp_path: Path, spec: DomainSpec) -> None:
    program = (
        "import msgspec, os, signal, sys\n"
        "from pathlib import Path\n"
        "from minicloud.virt.driver import DomainSpec\n"
        "from minicloud.virt.fake import FakeDriver\n"
        "spec = msgspec.convert(eval(sys.argv[2]), DomainSpec)\n"
        "FakeDriver(Path(sys.argv[1])).ensure_running(spec)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    values = {name: getattr(spec, name) for name in spec.__struct_fields__}
    command = [sys.executable, "-c", program, str(tmp_path / "fake"), repr(values)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    found = FakeDriver(tmp_path / "fake").get(spec.server_id)
    assert found is not None
    assert found.power is Power.RUNNING


def test_the_nth_call_fails_once(tmp_path: Path, spec: DomainSpec) -> None:
    driver = FakeDriver(tmp_path / "fake")
    driver.fail("ensure_stopped", nth=2, reason="no power switch")
    driver.ensure_running(spec)
    driver.ensure_stopped(spec.server_id, grace_s=0)
    driver.ensure_running(spec)
    with pytest.raises(HostProblem, match="no power switch"):
        driver.ensure_stopped(spec.server_id, grace_s=0)
    assert driver.get(spec.server_id).power is Power.RUNNING  # type: ignore[union-attr]  # it is there
    driver.ensure_stopped(spec.server_id, grace_s=0)


def test_a_failure_may_come_after_the_effect(tmp_path: Path, spec: DomainSpec) -> None:
    driver = FakeDriver(tmp_path / "fake")
    driver.fail("ensure_running", after=True)
    with pytest.raises(HostProblem):
        driver.ensure_running(spec)
    assert driver.get(spec.server_id) is not None


def test_faults_reach_other_processes(tmp_path: Path, spec: DomainSpec) -> None:
    FakeDriver(tmp_path / "fake").fail("ensure_running", times=2)
    driver = FakeDriver(tmp_path / "fake")
    for _ in range(2):
        with pytest.raises(HostProblem):
            driver.ensure_running(spec)
    driver.ensure_running(spec)


def test_a_guest_that_goes_off_by_itself(tmp_path: Path, spec: DomainSpec) -> None:
    driver = FakeDriver(tmp_path / "fake")
    told: list[tuple[str, Power]] = []
    driver.ensure_running(spec)
    driver.on_lifecycle(lambda server_id, power: told.append((server_id, power)))
    driver.crash_guest(spec.server_id)
    assert told == [(spec.server_id, Power.SHUTDOWN)]


def test_a_guest_that_does_not_listen(tmp_path: Path, spec: DomainSpec) -> None:
    driver = FakeDriver(tmp_path / "fake", guests_obey_shutdown=False)
    driver.ensure_running(spec)
    assert driver.reboot(spec.server_id, grace_s=60) is False
    driver.ensure_stopped(spec.server_id, grace_s=60)
    assert "going down" not in Path(spec.console_log).read_text()


def test_the_console_log_tells_of_boots(tmp_path: Path, spec: DomainSpec) -> None:
    driver = FakeDriver(tmp_path / "fake")
    driver.ensure_running(spec)
    driver.reboot(spec.server_id, grace_s=1)
    tail = driver.console_tail(Path(spec.console_log), max_bytes=1000).decode()
    assert tail.count("login:") == 2


def test_the_screen_it_was_told_of(tmp_path: Path, spec: DomainSpec) -> None:
    driver = FakeDriver(tmp_path, vnc_port=5907)
    driver.ensure_running(spec)
    assert driver.vnc_port(spec.server_id) == 5907
    driver.ensure_stopped(spec.server_id, grace_s=0)
    assert driver.vnc_port(spec.server_id) is None
