"""A cloud for the real clients: the one on this machine, or one made for the tests.

Where no cloud is installed, ``tools/up`` installs one and ``tools/down --purge`` removes it at the
end. An installed cloud is brought up to date and otherwise left alone: tests remove what they made.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from clients.command_line import CommandLine

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = Path("/opt/minicloud/venv/bin")
CONFIG = Path("/etc/minicloud")
CLOUDS = CONFIG / "clouds.yaml"


class LiveCloud:
    """The command lines of a running cloud, as the demo user unless told otherwise."""

    key = Path("~/.config/openstack/minicloud_demo_key").expanduser()

    def minicloud(self, *words: str, cloud: str = "minicloud") -> str:
        return _run([str(VENV / "minicloud"), "--cloud", cloud, *words])

    def openstack(self, line: str, *words: str, cloud: str = "minicloud") -> str:
        return _account(cloud)(line, *words)

    def openstack_json(self, line: str, *words: str, cloud: str = "minicloud") -> Any:
        return _account(cloud).json(line, *words)

    def connect(self, cloud: str = "minicloud") -> Any:
        """openstacksdk's."""
        return openstack.connect(cloud, load_envvars=False, config_files=[str(CLOUDS)])

    def wait_for_status(self, server: str, status: str) -> None:
        """Until the server has the status, and nothing is being done to it."""
        shown: dict[str, Any] = {}

        def has() -> bool:
            shown.update(self.openstack_json("server show", server))
            assert shown["status"] != "ERROR" or status == "ERROR", shown
            return (shown["status"], shown["OS-EXT-STS:task_state"]) == (status, None)

        until(has)

    def guest(self, server: str, command: str) -> str:
        """What ``command`` prints in the guest, by ssh."""
        return self.minicloud("ssh", server, "--key", str(self.key), "--", command)

    def wait_for_ssh(self, server: str, *, limit_s: float = 120) -> None:
        """Until the guest runs a command by ssh; what it last said when it never does."""
        give_up_at = time.monotonic() + limit_s
        while True:
            try:
                self.guest(server, "true")
                return
            except AssertionError:
                if time.monotonic() > give_up_at:
                    raise


def until(answer: Callable[[], Any], limit_s: float = 120) -> Any:
    """The first true answer."""
    give_up_at = time.monotonic() + limit_s
    while not (found := answer()):
        assert time.monotonic() < give_up_at, "it never came"
        time.sleep(0.1)  # pacing of a poll: the condition is the loop's
    return found


def _account(cloud: str) -> CommandLine:
    return CommandLine("--os-cloud", cloud, config=CLOUDS)


def _run(words: list[str]) -> str:
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(CLOUDS)},
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def live_cloud() -> Iterator[LiveCloud]:
    if os.geteuid() != 0:
        pytest.skip("needs root: tools/up installs a cloud on this machine")
    ours = not (CONFIG / "secrets.json").exists()
    up = subprocess.run(
        ["bash", str(CHECKOUT / "tools" / "up"), "--image", "built", "--no-launch"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert up.returncode == 0, up.stdout + up.stderr
    yield LiveCloud()
    if ours:
        down = subprocess.run(
            ["bash", str(CHECKOUT / "tools" / "down"), "--purge"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert down.returncode == 0, down.stdout + down.stderr


@pytest.fixture(scope="session")
def demo(live_cloud: LiveCloud) -> CommandLine:
    """The demo user's ``openstack``."""
    return _account("minicloud")


@pytest.fixture(scope="session")
def admin(live_cloud: LiveCloud) -> CommandLine:
    """The administrator's ``openstack``."""
    return _account("minicloud-admin")
