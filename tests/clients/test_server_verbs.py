"""What the real ``openstack`` client does to a server that runs, each effect seen in the guest."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.command_line import CommandLine

pytestmark = [pytest.mark.clients, pytest.mark.host, pytest.mark.slow]

INSTANCES = Path("/var/lib/minicloud/compute/instances")


class Guest:
    """One server of a test, by the client's words and by what is in it."""

    def __init__(self, cloud, name: str) -> None:
        self.cloud, self.name = cloud, name
        made = cloud.openstack_json(
            "server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private",
            "--key-name", "demo", "--wait", name,
        )  # fmt: skip
        self.id = made["id"]

    def do(self, line: str) -> str:
        """``openstack LINE NAME``"""
        return self.cloud.openstack(line, self.name)

    def becomes(self, status: str) -> None:
        self.cloud.wait_for_status(self.name, status)

    def says(self, command: str) -> str:
        self.cloud.wait_for_ssh(self.name)
        return self.cloud.guest(self.name, command).strip()

    def domain(self) -> str:
        """What libvirt says of the domain's state; empty where there is none."""
        done = subprocess.run(
            ["virsh", "-q", "-c", "qemu:///system", "domstate", self.id],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture
def guest(live_cloud) -> Iterator[Guest]:
    guest = Guest(live_cloud, f"t-{uuid.uuid4().hex[:8]}")
    yield guest
    if guest.name in live_cloud.openstack("server", "list", "-f", "value", "-c", "Name"):
        guest.do("server delete --wait")


def test_paused_suspended_locked_and_rescued(guest: Guest, live_cloud) -> None:
    guest.says("echo kept > kept; sync; sudo touch /run/alive")

    guest.do("server pause")
    guest.becomes("PAUSED")
    assert guest.domain() == "paused"
    guest.do("server unpause")
    guest.becomes("ACTIVE")
    assert guest.domain() == "running"

    guest.do("server suspend")
    guest.becomes("SUSPENDED")
    assert guest.domain() == "shut off"
    guest.do("server resume")
    guest.becomes("ACTIVE")
    assert guest.says("ls /run/alive") == "/run/alive", "its memory is what it was"

    live_cloud.openstack(
        "server ssh --private", guest.name, "--", "-l", "cirros", "-i", str(live_cloud.key),
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "sudo touch /run/by-the-client",
    )  # fmt: skip
    assert guest.says("ls /run/by-the-client") == "/run/by-the-client"

    guest.do("server lock")
    with pytest.raises(AssertionError, match="locked"):
        live_cloud.openstack("server", "stop", guest.name)
    guest.do("server unlock")

    guest.do("server rescue --image tiny")
    guest.becomes("RESCUE")
    assert guest.says("ls kept || echo none").endswith("none")
    assert " vdb\n" in live_cloud.guest(guest.name, "cat /proc/partitions")
    guest.do("server unrescue")
    guest.becomes("ACTIVE")
    assert guest.says("cat kept") == "kept"
    actions = {e["Action"] for e in live_cloud.openstack_json("server", "event", "list", guest.id)}
    assert {"pause", "unpause", "suspend", "resume", "rescue", "unrescue"} <= actions


def test_copied_backed_up_and_rebuilt(guest: Guest, live_cloud) -> None:
    guest.says("echo kept > kept; sync")
    image = f"{guest.name}-image"
    live_cloud.openstack("server", "image", "create", "--wait", "--name", image, guest.name)
    copy = f"{guest.name}-copy"
    try:
        live_cloud.openstack(
            "server", "create", "--image", image, "--flavor", "m1.nano", "--network", "private",
            "--key-name", "demo", "--wait", copy,
        )  # fmt: skip
        live_cloud.wait_for_ssh(copy)
        assert live_cloud.guest(copy, "cat kept").strip() == "kept"
    finally:
        live_cloud.openstack("server", "delete", "--wait", copy)
        live_cloud.openstack("image", "delete", image)

    backups = [f"{guest.name}-monday", f"{guest.name}-tuesday"]
    for backup in backups:
        live_cloud.openstack(
            "server", "backup", "create", "--wait", "--type", "daily", "--rotate", "1",
            "--name", backup, guest.name,
        )  # fmt: skip
        guest.becomes("ACTIVE")
    listed = live_cloud.openstack("image", "list", "-f", "value", "-c", "Name").splitlines()
    assert [name for name in listed if name in backups] == backups[1:]
    live_cloud.openstack("image", "delete", backups[1])

    live_cloud.openstack("server", "rebuild", "--image", "tiny", "--wait", guest.name)
    assert guest.says("ls kept || echo none").endswith("none")


@pytest.fixture
def larger(admin: CommandLine) -> Iterator[list[str]]:
    """Two flavors with disks of 2 and 3 GiB."""
    names = [f"t-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for disk, name in zip((2, 3), names, strict=True):
        admin(f"flavor create --ram 192 --disk {disk}", name)
    yield names
    admin("flavor delete", *names)


def test_resized_confirmed_reverted_and_shelved(
    guest: Guest, live_cloud, larger: list[str]
) -> None:
    small = int(guest.says("echo kept > kept; sync; cat /sys/block/vda/size"))
    guest.do(f"server resize --flavor {larger[0]} --wait")
    guest.becomes("VERIFY_RESIZE")
    large = int(guest.says("cat /sys/block/vda/size"))
    assert large > small
    guest.do("server resize confirm")
    guest.becomes("ACTIVE")
    assert not (INSTANCES / guest.id / "disk.before").exists()

    guest.do(f"server resize --flavor {larger[1]} --wait")
    guest.becomes("VERIFY_RESIZE")
    guest.says("rm kept; sync")
    guest.do("server resize revert")
    guest.becomes("ACTIVE")
    assert guest.says("cat kept; cat /sys/block/vda/size").split() == ["kept", str(large)]

    guest.do("server shelve")
    guest.becomes("SHELVED_OFFLOADED")
    assert guest.domain() == ""
    assert not (INSTANCES / guest.id).exists()
    guest.do("server unshelve")
    guest.becomes("ACTIVE")
    assert guest.says("cat kept") == "kept"

    live_cloud.openstack(
        "server", "set", "--state", "error", "--auto-approve", guest.id, cloud="minicloud-admin"
    )
    guest.becomes("ERROR")
    live_cloud.openstack("server", "delete", "--force", "--wait", guest.id, cloud="minicloud-admin")
