"""A guest with QEMU's own agent, which does in it what only the inside can."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.command_line import CommandLine
from clients.conftest import CHECKOUT, LiveCloud, until

pytestmark = [pytest.mark.clients, pytest.mark.host, pytest.mark.slow]


@pytest.fixture
def guest(live_cloud: LiveCloud, demo: CommandLine, tmp_path: Path) -> Iterator[str]:
    name, file = f"agent-{uuid.uuid4().hex[:8]}", tmp_path / "agent.qcow2"
    subprocess.run([CHECKOUT / "tools" / "build-image", "--agent", file], check=True)
    demo("image create --disk-format qcow2 --container-format bare --file", str(file), name)
    try:
        demo("server create --flavor m1.nano --network private --key-name demo --wait --image",
             name, name)  # fmt: skip
        live_cloud.wait_for_ssh(name)
        until(lambda: live_cloud.guest(name, "pidof qemu-ga || true").strip())
        yield name
        demo("server delete --wait", name)
    finally:
        demo("image delete", name)


def test_its_password_is_set_and_it_is_turned_off(
    guest: str, live_cloud: LiveCloud, demo: CommandLine
) -> None:
    demo("server set --password", "of: the operator", guest)
    kept = live_cloud.guest(guest, "sudo grep ^root: /etc/shadow").split(":")[1]
    salt = kept.split("$")[2]
    again = live_cloud.guest(guest, f"mkpasswd -m sha512 -S {salt} 'of: the operator'")
    assert kept == again.strip()

    demo("server stop", guest)
    live_cloud.wait_for_status(guest, "SHUTOFF")
    assert "reboot: Power down" in demo("console log show", guest)
