"""kill -9 of each daemon in the middle of a launch and of a delete, on a live cloud.

A launch ends ACTIVE, or ERROR with a reason; a delete ends; and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.host]

LIMIT_S = 120


def process_of(daemon: str) -> int | None:
    """The daemon's process now; None while it is being started again."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (entry / "cmdline").read_bytes().split(b"\0")[0]
            if name == f"minicloud-{daemon}".encode():
                return int(entry.name)
    return None


def kill(daemon: str) -> None:
    pid = until(lambda: process_of(daemon))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until(answer: Callable, *, limit_s: float = LIMIT_S):
    """The first true answer."""
    give_up_at = time.monotonic() + limit_s
    while True:
        found = answer()
        if found:
            return found
        assert time.monotonic() < give_up_at, "it never came"
        time.sleep(0.05)


def remains() -> set[str]:
    """What servers leave on a host: domains, TAPs, directories, exporters."""
    virsh = ["virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"]
    names = subprocess.run(virsh, capture_output=True, text=True, check=True).stdout.split()
    links = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    taps = [link["ifname"] for link in json.loads(links) if link["ifname"].startswith("tap")]
    directories = Path("/var/lib/minicloud/compute/instances").iterdir()
    exports = Path("/var/lib/minicloud/volume/exports").glob("*.sock")
    return {*names, *taps, *(d.name for d in directories), *(e.name for e in exports)}


def answered(live_cloud, *words: str) -> dict | list | None:
    """JSON of a command of the CLI; None while the cloud does not answer."""
    try:
        return json.loads(live_cloud.minicloud(*words, "-o", "json"))
    except AssertionError as problem:
        assert "could not be found" not in str(problem), problem
        return None


def ended(live_cloud, name: str) -> str | None:
    server = answered(live_cloud, "show", name)
    if server and server["status"] in ("ACTIVE", "ERROR"):
        return server["status"] if not server.get("fault") else server["fault"]["message"]
    return None


def gone(live_cloud, name: str) -> bool:
    servers = answered(live_cloud, "list")
    return servers is not None and name not in {server["name"] for server in servers}


def try_to(live_cloud, *words: str) -> bool:
    try:
        live_cloud.minicloud(*words)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("moment_s", [0.0, 0.12, 0.3])
@pytest.mark.parametrize(
    "daemon", ["compute", "conductor", "scheduler", "image", "network", "volume", "api"]
)
def test_a_killed_daemon_loses_and_leaks_nothing(live_cloud, daemon: str, moment_s: float) -> None:
    for noun in ("image", "network", "volume"):  # back from the kill before
        until(lambda noun=noun: try_to(live_cloud, noun, "list"))
    before = remains()
    name = f"killed-{daemon}-{moment_s}"
    live_cloud.minicloud(
        "launch", "tiny", name, "--flavor", "m1.nano", "--volume", "1", "--wait=none", "-q"
    )
    time.sleep(moment_s)  # the moment itself is what is tested
    kill(daemon)
    result = until(lambda: ended(live_cloud, name))
    assert result == "ACTIVE" or len(result) > 20

    until(lambda: try_to(live_cloud, "delete", name, "--no-wait"))
    time.sleep(moment_s / 2)
    kill(daemon)
    until(lambda: gone(live_cloud, name))
    until(lambda: remains() <= before)
    volumes = until(lambda: answered(live_cloud, "volume", "list") or ["none"])
    assert volumes == ["none"] or not [v for v in volumes if v["status"] == "in-use"]
