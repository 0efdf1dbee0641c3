"""The keeper of the daemons on machines without systemd, with programs that only say they run."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minicloud.deploy import daemons
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.names import DAEMONS
from minicloud.deploy.places import Places
from minicloud.deploy.processes import identify, wait_until
from minicloud.deploy.supervisord import Supervisord

SUPERVISORD = Path(sys.executable).with_name("supervisord")
PROGRAM = "#!/bin/bash\nid -un\necho x Started\nexec -a ${0##*/} sleep 600\n"
LIMIT_S = 20.0

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not SUPERVISORD.exists(), reason="needs the package supervisor"),
]


@pytest.fixture
def places() -> Iterator[Places]:
    # Not tmp_path: others than root have to get to the programs.
    with tempfile.TemporaryDirectory(prefix="minicloud-test-") as name:
        root = Path(name)
        root.chmod(0o755)
        for part in ("config", "state", "logs", "run", "venv/bin"):
            (root / part).mkdir(parents=True)
        found = Places(
            config=root / "config",
            state=root / "state",
            logs=root / "logs",
            run=root / "run",
            venv=root / "venv",
        )
        found.program("supervisord").symlink_to(SUPERVISORD)
        for daemon in DAEMONS:
            program = found.program(f"minicloud-{daemon}")
            program.write_text(PROGRAM)
            program.chmod(0o755)
        yield found


@pytest.fixture
def keeper(places: Places) -> Iterator[Supervisord]:
    keeper = Supervisord(places, Ledger(places.ledger), user="nobody")
    yield keeper
    keeper.stop()


def running_after(keeper: Supervisord, count: int) -> dict[str, int]:
    assert wait_until(lambda: len(keeper.running()) == count, limit_s=LIMIT_S)
    return keeper.running()


def test_daemons_start_as_their_users_and_log(places: Places, keeper: Supervisord) -> None:
    assert keeper.install()
    assert keeper.running() == {}
    keeper.restart(DAEMONS)
    running_after(keeper, len(DAEMONS))
    for daemon in DAEMONS:
        log = places.log(daemon).read_text()
        assert log.split()[0] == ("root" if daemon == "compute" else "nobody")
        assert daemons.has_started(log.encode())


def test_installing_again_leaves_daemons_alone(places: Places, keeper: Supervisord) -> None:
    keeper.install()
    keeper.restart(DAEMONS)
    before = running_after(keeper, len(DAEMONS))
    again = Supervisord(places, Ledger(places.ledger), user="nobody")
    assert not again.install()
    assert again.running() == before


def test_one_is_started_anew_without_the_others(keeper: Supervisord) -> None:
    keeper.install()
    keeper.restart(DAEMONS)
    before = running_after(keeper, len(DAEMONS))
    keeper.restart(["api"])
    after = running_after(keeper, len(DAEMONS))
    assert {daemon for daemon in DAEMONS if before[daemon] != after[daemon]} == {"api"}


def test_a_killed_daemon_comes_back(keeper: Supervisord) -> None:
    keeper.install()
    keeper.restart(["image"])
    pid = running_after(keeper, 1)["image"]
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: keeper.running().get("image", pid) != pid, limit_s=LIMIT_S)


def test_a_killed_supervisord_leaves_no_orphans(places: Places, keeper: Supervisord) -> None:
    keeper.install()
    keeper.restart(DAEMONS)
    orphans = running_after(keeper, len(DAEMONS)).values()
    os.kill(Ledger(places.ledger).record.processes["supervisord"].pid, signal.SIGKILL)
    assert wait_until(lambda: keeper.running() == {}, limit_s=LIMIT_S)
    assert all(identify(pid) for pid in orphans)
    assert keeper.install()  # as tools/up does
    assert not any(identify(pid) for pid in orphans)
    keeper.restart(["api"])
    running_after(keeper, 1)


def test_stopping_leaves_nothing(places: Places, keeper: Supervisord) -> None:
    keeper.install()
    keeper.restart(DAEMONS)
    pids = running_after(keeper, len(DAEMONS)).values()
    assert set(keeper.stop()) == set(DAEMONS)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    keeper.remove()
    assert list(places.config.iterdir()) == []
    assert keeper.stop() == []
