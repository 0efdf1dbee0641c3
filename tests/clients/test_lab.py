"""Lab hosts beside a live cloud: a server on one of them, and no trace afterwards."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.conftest import CHECKOUT, LiveCloud

pytestmark = [pytest.mark.clients, pytest.mark.host]


def lab(*words: str) -> str:
    done = subprocess.run(
        ["bash", str(CHECKOUT / "tools" / "lab"), *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def lab_host(live_cloud: LiveCloud) -> Iterator[str]:
    """lab1, the only host that takes servers."""
    lab("1")
    service = ["compute", "service", "set", socket.gethostname(), "nova-compute"]
    live_cloud.openstack(*service, "--disable", cloud="minicloud-admin")
    try:
        yield "lab1"
    finally:
        live_cloud.openstack(*service, "--enable", cloud="minicloud-admin")
        lab("down")


def hosts(live_cloud: LiveCloud) -> dict[str, str]:
    listed = live_cloud.minicloud("host", "list", "-o", "json", cloud="minicloud-admin")
    return {host["hypervisor_hostname"]: host["state"] for host in json.loads(listed)}


def traces() -> set[str]:
    """What a lab leaves on the machine: devices, namespaces, rules, files, processes."""
    found = {path.name for path in Path("/sys/class/net").glob("mclab*")}
    found |= {path.name for path in Path("/run/netns").glob("minicloud-lab*")}
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    found |= {line for line in tables.stdout.splitlines() if "minicloud_lab" in line}
    for place in ("lab/*", "deploy/hosts/*"):
        found |= {str(path) for path in Path("/var/lib/minicloud").glob(place)}
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"/var/lib/minicloud/lab/" in words:
            found.add(words.decode(errors="replace"))
    return found


def test_a_lab_host_runs_servers_and_leaves_no_trace(live_cloud: LiveCloud, lab_host: str) -> None:
    assert hosts(live_cloud)[lab_host] == "up"
    # Its volume comes from this machine over TLS, by the certificate that the host was given.
    live_cloud.minicloud("launch", "tiny", "in-the-lab", "--volume", "1", "--wait=active")
    server_id = json.loads(live_cloud.minicloud("show", "in-the-lab", "-o", "json"))["id"]
    shown = json.loads(
        live_cloud.minicloud("show", server_id, "-o", "json", cloud="minicloud-admin")
    )
    assert shown["OS-EXT-SRV-ATTR:host"] == lab_host
    assert shown["id"] in lab("sh", lab_host, "virsh", "-q", "list", "--name")

    disks = lab("sh", lab_host, "virsh", "-q", "dumpxml", f"minicloud-{server_id}")
    assert "tls='yes'" in disks

    again = lab("1")
    assert "10.210.0.11, running" in again  # the second run changed nothing
    assert shown["id"] in lab("sh", lab_host, "virsh", "-q", "list", "--name")

    lab("down")
    assert traces() == set()
    assert "in-the-lab" not in live_cloud.minicloud("list")


def test_a_lab_can_be_taken_down_twice(live_cloud: LiveCloud) -> None:
    assert "no host runs" in lab("down")


def test_a_server_moves_to_a_lab_host_and_back_with_its_disk(live_cloud: LiveCloud) -> None:
    here = socket.gethostname()
    lab("down")
    # Placed before there is another host: to name one is for administrators.
    live_cloud.minicloud("launch", "tiny", "mover", "--wait=active")
    lab("1")
    try:
        live_cloud.wait_for_ssh("mover")
        live_cloud.guest("mover", "echo kept > kept; sync")
        for target in ("lab1", here):
            move(live_cloud, "mover", target)
        live_cloud.wait_for_ssh("mover")
        assert live_cloud.guest("mover", "cat kept").strip() == "kept"
        moves = live_cloud.openstack_json("server", "migration", "list", cloud="minicloud-admin")
        assert [(m["Status"], m["Dest Compute"]) for m in moves][:2] == [
            ("confirmed", here),
            ("confirmed", "lab1"),
        ]
    finally:
        live_cloud.openstack("server", "delete", "--wait", "mover")
        lab("down")


def move(live_cloud: LiveCloud, name: str, target: str) -> None:
    admin = {"cloud": "minicloud-admin"}
    shown = json.loads(live_cloud.minicloud("show", name, "-o", "json"))
    live_cloud.openstack(
        "--os-compute-api-version", "2.56", "server", "migrate", "--host", target, "--wait",
        shown["id"], **admin,
    )  # fmt: skip
    live_cloud.wait_for_status(shown["id"], "VERIFY_RESIZE")
    live_cloud.openstack("server", "migration", "confirm", shown["id"], **admin)
    live_cloud.wait_for_status(shown["id"], "ACTIVE")
    moved = live_cloud.openstack_json("server", "show", shown["id"], **admin)
    assert moved["OS-EXT-SRV-ATTR:host"] == target
