"""A cloud for the real clients: the one on this machine, or one made for the tests.

Where no cloud is installed, ``tools/up`` installs one and ``tools/down --purge`` removes it at the
end. An installed cloud is brought up to date and otherwise left alone: tests remove what they made.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = Path("/opt/minicloud/venv/bin")
CONFIG = Path("/etc/minicloud")


class LiveCloud:
    """The command lines of a running cloud, as the demo user unless told otherwise."""

    key = Path("~/.config/openstack/minicloud_demo_key").expanduser()

    def minicloud(self, *words: str, cloud: str = "minicloud") -> str:
        return _run([str(VENV / "minicloud"), "--cloud", cloud, *words])

    def openstack(self, *words: str, cloud: str = "minicloud") -> str:
        client = Path(sys.executable).parent / "openstack"
        return _run([str(client), "--os-cloud", cloud, *words])

    def openstack_json(self, *words: str, cloud: str = "minicloud") -> Any:
        return json.loads(self.openstack(*words, "-f", "json", cloud=cloud))

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


def _run(words: list[str]) -> str:
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(CONFIG / "clouds.yaml")},
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
