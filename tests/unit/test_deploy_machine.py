"""What the installer does to files and processes, on files and processes of the test's own."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from minicloud.deploy import blocks, daemons, files, processes
from minicloud.deploy.apparmor import AppArmor
from minicloud.deploy.ledger import Ledger, StartedProcess
from minicloud.deploy.names import DAEMONS
from minicloud.deploy.places import Places
from minicloud.deploy.supervisord import Supervisord
from minicloud.deploy.systemd import unit

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "deploy" / "state.json")


def test_a_file_is_written_once_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert files.write(path, "a", mode=0o640)
    assert not files.write(path, "a", mode=0o640)
    path.chmod(0o644)
    assert files.write(path, "a", mode=0o640)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "link"
    target.write_text("theirs")
    path.symlink_to(target)
    files.write(path, "ours", mode=0o600)
    assert target.read_text() == "theirs"
    assert not path.is_symlink()


def test_the_ledger_survives(tmp_path: Path, ledger: Ledger) -> None:
    ledger.note_made("user")
    ledger.note_made("user")
    ledger.note_process("libvirtd", StartedProcess(pid=1, start_ticks=2))
    again = Ledger(tmp_path / "deploy" / "state.json")
    assert again.record == ledger.record
    assert again.record.made == ["user"]
    again.forget_process("libvirtd")
    assert Ledger(tmp_path / "deploy" / "state.json").record.processes == {}


def test_only_the_very_process_is_ended(tmp_path: Path) -> None:
    child = processes.start_detached(["sleep", "60"], log=tmp_path / "log")
    process = processes.identify(child.pid)
    assert process is not None
    stranger = StartedProcess(pid=child.pid, start_ticks=process.start_ticks + 1)
    assert not processes.end(stranger)
    assert child.poll() is None
    assert processes.end(process)
    assert child.wait(5) != 0
    assert not processes.end(process)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 60 & wait; done"
    child = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    process = processes.identify(child.pid)
    assert process is not None
    assert processes.end(process, grace_s=0.2)
    assert child.wait(5) == -9


def test_what_stands_behind_a_killed_process_is_killed_too(tmp_path: Path) -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; wait; wait"
    log = tmp_path / "log"
    child = processes.start_detached(["bash", "-c", script], log=log)
    assert processes.wait_until(lambda: log.read_text().endswith("\n"), limit_s=5)
    leader, behind = processes.identify(child.pid), processes.identify(int(log.read_text()))
    assert leader is not None
    assert behind is not None
    assert processes.end(leader, grace_s=0.2)
    child.wait(5)
    assert processes.wait_until(lambda: not processes.is_alive(behind), limit_s=5)


def test_helpers_are_found_by_their_program_and_directory(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    child = subprocess.Popen(["tail", "-f", str(tmp_path / "x")])
    try:
        # For a moment after it was started, a process shows no arguments.
        assert processes.wait_until(
            lambda: processes.with_argument(f"{tmp_path}/", ["tail"]) != [], limit_s=5
        )
        found = processes.with_argument(f"{tmp_path}/", ["tail"])
        assert [process.pid for process in found] == [child.pid]
        assert processes.with_argument(f"{tmp_path}/", ["cat"]) == []
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(
    ("text", "started"),
    [
        ('{"time": "t", "message": "Started", "request_id": "r"}\n', True),
        ("2026-01-01T00:00:00.000Z INFO api minicloud.kit.daemon Started\n", True),
        ('{"message": "Started DHCP"}\n', False),
        ("", False),
    ],
)
def test_a_log_tells_whether_its_daemon_started(text: str, started: bool) -> None:
    assert daemons.has_started(text.encode()) is started


def test_daemons_are_started_anew_for_their_code_only(tmp_path: Path) -> None:
    for name in ("api/routes.py", "deploy/up.py", "cli/main.py"):
        path = tmp_path / "minicloud" / name
        path.parent.mkdir(parents=True)
        path.write_text("a = 1\n")
    (tmp_path / "setup.cfg").write_text("x")
    before = daemons.code_digest(tmp_path)
    (tmp_path / "minicloud/deploy/up.py").write_text("a = 2\n")
    (tmp_path / "minicloud/cli/main.py").write_text("a = 2\n")
    assert daemons.code_digest(tmp_path) == before
    (tmp_path / "minicloud/api/routes.py").write_text("a = 2\n")
    assert daemons.code_digest(tmp_path) != before


def test_each_daemon_has_a_unit_and_a_program(ledger: Ledger) -> None:
    settings = Supervisord(Places(), ledger).settings()
    for daemon in DAEMONS:
        text = (REPOSITORY / "etc" / "systemd" / unit(daemon)).read_text()
        assert f"ExecStart=/opt/minicloud/venv/bin/minicloud-{daemon}\n" in text
        assert ("User=minicloud" in text) == (daemon != "compute")
        assert ("KillMode=process" in text) == (daemon in ("compute", "volume"))
        assert f"[program:{daemon}]\ncommand=/opt/minicloud/venv/bin/minicloud-{daemon}\n" in (
            settings
        )


def test_a_block_comes_and_goes_and_leaves_the_rest() -> None:
    marks = blocks.Marks("# from", "# to")
    text = blocks.appended("a\nb", marks, ["x"])
    assert text == "a\nb\n# from\nx\n# to\n"
    assert blocks.appended(text, marks, ["y"]) == "a\nb\n# from\ny\n# to\n"
    assert blocks.without(text, marks) == "a\nb\n"


@pytest.mark.parametrize(
    ("include", "place"),
    [
        (
            "include if exists <abstractions/libvirt-qemu.d>",
            "abstractions/libvirt-qemu.d/minicloud",
        ),
        ("#include <local/abstractions/libvirt-qemu>", "local/abstractions/libvirt-qemu"),
    ],
)
def test_apparmor_rules_go_where_the_distribution_includes_them(
    tmp_path: Path, ledger: Ledger, include: str, place: str
) -> None:
    root = tmp_path / "apparmor.d"
    (root / "abstractions").mkdir(parents=True)
    (root / "abstractions" / "libvirt-qemu").write_text(f"  {include}\n")
    (root / "local" / "abstractions").mkdir(parents=True)
    local = root / "local" / "abstractions" / "libvirt-qemu"
    local.write_text("/mine r,\n")
    armor = AppArmor(Path("/state"), ledger, root)
    assert armor.allow()
    assert armor.allow()
    assert (root / place).read_text().count("/state/volume/exports/* rw,") == 1
    armor.remove()
    assert local.read_text() == "/mine r,\n"
    assert not (root / "abstractions" / "libvirt-qemu.d").exists()


def test_without_apparmor_nothing_is_written(tmp_path: Path, ledger: Ledger) -> None:
    assert not AppArmor(Path("/state"), ledger, tmp_path / "none").allow()
    assert list(tmp_path.iterdir()) == []
