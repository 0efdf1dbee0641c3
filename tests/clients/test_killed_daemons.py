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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.conftest import LiveCloud, until
from keystoneauth1.exceptions import ClientException
from openstack.connection import Connection
from openstack.exceptions import NotFoundException, SDKException

pytestmark = [pytest.mark.clients, pytest.mark.host]


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


def remains() -> set[str]:
    """What servers leave on a host: domains, TAPs, directories, exporters."""
    virsh = ["virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"]
    names = subprocess.run(virsh, capture_output=True, text=True, check=True).stdout.split()
    links = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    taps = [link["ifname"] for link in json.loads(links) if link["ifname"].startswith("tap")]
    directories = Path("/var/lib/minicloud/compute/instances").iterdir()
    exports = Path("/var/lib/minicloud/volume/exports").glob("*.sock")
    return {*names, *taps, *(d.name for d in directories), *(e.name for e in exports)}


def answered(ask: Callable[[], Any]) -> Any:
    """What the cloud says; None while it does not answer."""
    try:
        return ask()
    except NotFoundException:
        raise
    except (ClientException, SDKException):
        return None


def ended(sdk: Connection, name: str) -> str | None:
    """ACTIVE or the reason of ERROR, once the launch has ended."""
    for server in answered(lambda: list(sdk.compute.servers(name=f"^{name}$"))) or ():
        if server.status in ("ACTIVE", "ERROR"):
            return str(server.fault["message"] if server.fault else server.status)
    return None


def gone(sdk: Connection, name: str) -> bool:
    return answered(lambda: list(sdk.compute.servers(name=f"^{name}$"))) == []


def try_to(live_cloud, *words: str) -> bool:
    try:
        live_cloud.minicloud(*words)
    except AssertionError:
        return False
    return True


@pytest.fixture(scope="module")
def sdk(live_cloud: LiveCloud) -> Iterator[Connection]:
    with live_cloud.connect() as connection:
        yield connection


@pytest.mark.parametrize("moment_s", [0.0, 0.12, 0.3])
@pytest.mark.parametrize(
    "daemon", ["compute", "conductor", "scheduler", "image", "network", "volume", "api"]
)
def test_a_killed_daemon_loses_and_leaks_nothing(
    live_cloud: LiveCloud, sdk: Connection, daemon: str, moment_s: float
) -> None:
    for noun in (sdk.image.images, sdk.network.networks, sdk.block_storage.volumes):
        until(lambda noun=noun: answered(lambda: list(noun())) is not None)  # after the kill before
    before = remains()
    name = f"killed-{daemon}-{moment_s}"
    live_cloud.minicloud(
        "launch", "tiny", name, "--flavor", "m1.nano", "--volume", "1", "--wait=none", "-q"
    )
    time.sleep(moment_s)  # the moment itself is what is tested
    kill(daemon)
    result = until(lambda: ended(sdk, name))
    assert result == "ACTIVE" or len(result) > 20

    until(lambda: try_to(live_cloud, "delete", name, "--no-wait"))
    time.sleep(moment_s / 2)
    kill(daemon)
    until(lambda: gone(sdk, name))
    until(lambda: remains() <= before)
    volumes = until(
        lambda: answered(lambda: [v.status for v in sdk.block_storage.volumes()] or [""])
    )
    assert "in-use" not in volumes
