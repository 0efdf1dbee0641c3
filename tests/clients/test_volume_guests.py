"""What a guest wrote to a volume is there whatever dies, looked at inside a real guest."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keystoneauth1.exceptions
import openstack
import pytest
from clients.conftest import LiveCloud, until

pytestmark = [pytest.mark.clients, pytest.mark.host]

LIMIT_S = 240
LOOP = """
i=0
while true; do
    printf '%08d' $i | dd of=/dev/DISK bs=4096 seek=$i conv=sync,fsync 2>/run/said || exit 1
    echo 3 > /proc/sys/vm/drop_caches
    [ $(dd if=/dev/DISK bs=4096 skip=$i count=1 2>/run/said | head -c 8) = $(printf '%08d' $i) ] ||
        exit 2
    i=$((i + 1))
    echo $i > /run/count.new && mv /run/count.new /run/count
done
"""
"""Writes numbered blocks with sync and reads them back; ``count`` of them are acknowledged."""


class Lab:
    """The demo project's cloud and one server of it with ssh."""

    def __init__(self, live_cloud: LiveCloud, sdk: Any, server: Any) -> None:
        self.live, self.sdk, self.server = live_cloud, sdk, server

    def run(self, script: str) -> str:
        """What ``script`` prints, run by root in the guest."""
        return str(self.live.guest(self.server.name, f"sudo sh -c '{script}'"))

    def script(self, name: str, text: str) -> str:
        """The path of a script in the guest."""
        self.live.guest(self.server.name, f"cat > /tmp/{name} <<'END'\n{text}\nEND")
        return f"/tmp/{name}"

    def disks(self) -> set[str]:
        return {name for name in self.run("ls /sys/block").split() if name.startswith("vd")}

    def make(self, **values: Any) -> Any:
        made = self.sdk.block_storage.create_volume(name=f"guests-{uuid.uuid4().hex[:6]}", **values)
        self.until_is(made, "available")
        return made

    def power(self) -> str | None:
        """The server's status, while nothing is being done to it."""
        server = tried(lambda: self.sdk.compute.get_server(self.server.id))
        return str(server.status) if server and not server.task_state else None

    def status(self, volume: Any) -> str:
        return str(self.sdk.block_storage.get_volume(volume.id).status)

    def until_is(self, volume: Any, status: str) -> None:
        until(lambda: self.status(volume) == status, LIMIT_S)

    def attach(self, volume: Any) -> str:
        """The disk that the guest has then."""
        before = self.disks()
        self.sdk.compute.create_volume_attachment(self.server, volume_id=volume.id)
        self.until_is(volume, "in-use")
        until(lambda: self.disks() > before, LIMIT_S)
        (disk,) = self.disks() - before
        return disk

    def detach(self, volume: Any) -> None:
        self.sdk.compute.delete_volume_attachment(self.server, volume.id)
        self.until_is(volume, "available")

    def digest(self, disk: str) -> str:
        return self.run(f"dd if=/dev/{disk} bs=64k count=16 2>/dev/null | md5sum").split()[0]

    def errors(self) -> str:
        return self.run('dmesg | grep -iE "i/o error|buffer i/o|blk_update" || true')


def tried(answer: Callable[[], Any]) -> Any:
    """None while the cloud does not answer."""
    try:
        return answer()
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ConnectFailure):
        return None


def processes(found: Callable[[list[str]], bool]) -> list[int]:
    """The processes whose arguments are ``found``."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if found(words):
                pids.append(int(entry.name))
    return pids


def exporters(volume: Any) -> list[int]:
    return processes(
        lambda words: words[0] == "qemu-storage-daemon" and any(volume.id in each for each in words)
    )


def kill(pids: list[int]) -> None:
    """kill -9 all at once, and wait for their ends."""
    handles = [os.pidfd_open(pid) for pid in pids]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in handles:
        assert select.select([handle], [], [], 30)[0]
        os.close(handle)


@pytest.fixture(scope="module")
def lab(live_cloud: LiveCloud) -> Iterator[Lab]:
    name = f"guests-{uuid.uuid4().hex[:6]}"
    live_cloud.openstack(
        "server create --image tiny --flavor m1.nano --network private --key-name demo --wait", name
    )
    live_cloud.wait_for_ssh(name, limit_s=LIMIT_S)
    sdk = live_cloud.connect()
    lab = Lab(live_cloud, sdk, sdk.compute.find_server(name))
    try:
        yield lab
    finally:
        live_cloud.openstack("server delete --wait", name)
        for volume in sdk.block_storage.volumes():
            if volume.name.startswith("guests-"):
                sdk.block_storage.delete_volume(volume)


def test_copies_have_what_the_guest_wrote_and_growth_keeps_it(lab: Lab) -> None:
    sdk = lab.sdk.block_storage
    volume = lab.make(size=1)
    disk = lab.attach(volume)
    lab.run(f"dd if=/dev/urandom of=/dev/{disk} bs=64k count=16 conv=fsync 2>/dev/null")
    before = lab.digest(disk)
    snapshot = sdk.create_snapshot(volume_id=volume.id, force=True)
    backup = sdk.create_backup(volume_id=volume.id, force=True)
    until(lambda: sdk.get_backup(backup.id).status == "available", LIMIT_S)
    until(lambda: sdk.get_snapshot(snapshot.id).status == "available", LIMIT_S)
    clone = lab.make(size=1, source_volume_id=volume.id)
    lab.run(f"dd if=/dev/urandom of=/dev/{disk} bs=64k count=16 conv=fsync 2>/dev/null")
    after = lab.digest(disk)
    assert after != before
    sdk.default_microversion = "3.42"
    sdk.extend_volume(volume, 2)
    until(lambda: lab.run(f"cat /sys/block/{disk}/size").strip() == str(2 << 21), LIMIT_S)
    assert lab.digest(disk) == after
    lab.detach(volume)
    of_snapshot = lab.make(size=1, snapshot_id=snapshot.id)
    restored = lab.make(size=1, backup_id=backup.id)
    for copy in (of_snapshot, clone, restored):
        assert lab.digest(lab.attach(copy)) == before
    for copy in (of_snapshot, clone, restored):
        lab.detach(copy)
    sdk.delete_backup(backup)
    sdk.delete_snapshot(snapshot)
    assert lab.errors() == ""


def test_acknowledged_writes_outlive_exporter_and_host(lab: Lab) -> None:
    volume = lab.make(size=1)
    disk = lab.attach(volume)
    loop = lab.script("loop", LOOP.replace("DISK", disk))
    lab.run(f"setsid sh {loop} </dev/null >/dev/null 2>&1 &")

    def count() -> int:
        return int(lab.run("cat /run/count 2>/dev/null || echo 0"))

    for _ in range(3):
        written = count()
        until(lambda written=written: count() > written, LIMIT_S)
        kill(exporters(volume))
        until(lambda: exporters(volume), LIMIT_S)
    written = count()
    until(lambda: count() > written, LIMIT_S)
    assert lab.errors() == ""

    # Now all that a host has at once; what was acknowledged before is there afterwards.
    written = count()
    compute = processes(lambda words: words[0] in ("minicloud-compute", "minicloud-volume"))
    domain = processes(
        lambda words: "qemu-system" in words[0] and any(lab.server.id in each for each in words)
    )
    assert len(compute) == 2
    assert domain
    kill([*compute, *domain, *exporters(volume)])
    until(lambda: lab.power() == "SHUTOFF", LIMIT_S)
    until(lambda: tried(lambda: lab.status(volume)) == "in-use", LIMIT_S)
    lab.sdk.compute.start_server(lab.server)
    until(lambda: lab.power() == "ACTIVE", LIMIT_S)
    lab.live.wait_for_ssh(lab.server.name, limit_s=LIMIT_S)
    command = f'dd if=/dev/{disk} bs=4096 count={written} 2>/run/said | tr -d "\\\\000" | md5sum'
    numbers = "".join(f"{number:08d}" for number in range(written))
    assert lab.run(command).split()[0] == hashlib.md5(numbers.encode()).hexdigest()
    assert lab.errors() == ""
    lab.detach(volume)


def test_a_disk_that_the_guest_keeps_stays_its_disk(lab: Lab) -> None:
    """The guest's kernel has halted: it lets nothing go."""
    volume = lab.make(size=1)
    disk = lab.attach(volume)
    lab.run(f"printf kept | dd of=/dev/{disk} conv=sync,fsync 2>/run/said")
    lab.run("(sleep 1; halt -f) </dev/null >/dev/null 2>&1 &")
    until(
        lambda: "System halted" in lab.live.openstack("console log show", lab.server.name), LIMIT_S
    )

    def detachments() -> dict[str, Any]:
        actions = lab.sdk.compute.server_actions(lab.server)
        return {each.request_id: each for each in actions if each.action == "detach_volume"}

    before = detachments()
    lab.sdk.compute.delete_volume_attachment(lab.server, volume.id)

    def failed() -> bool:
        (asked,) = set(detachments()) - set(before)
        events = lab.sdk.compute.get_server_action(asked, lab.server).events
        return "Error" in {each["result"] for each in events}

    until(failed, LIMIT_S)
    until(lambda: lab.status(volume) == "in-use", LIMIT_S)
    assert [each.volume_id for each in lab.sdk.compute.volume_attachments(lab.server)] == [
        volume.id
    ]
    assert exporters(volume)
    lab.sdk.compute.reboot_server(lab.server, "HARD")
    until(lambda: lab.power() == "ACTIVE", LIMIT_S)
    lab.live.wait_for_ssh(lab.server.name, limit_s=LIMIT_S)
    assert lab.run(f"head -c 4 /dev/{disk}") == "kept"
    lab.detach(volume)
