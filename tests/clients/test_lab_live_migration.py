"""Real guests that go from one host to another while they run, as they and their users see it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.conftest import LiveCloud, until
from clients.lab_guests import Guest, Lab, lab_guests, on_host, who

pytestmark = [pytest.mark.clients, pytest.mark.host]

_ADMIN = "minicloud-admin"
_VERSION = ("--os-compute-api-version", "2.90")
_LONG_S = 300
_BOOT = "cat /proc/sys/kernel/random/boot_id"
_WRITER = """(n=0; while :; do n=$((n+1)); printf '%08d' $n | dd of=/dev/vdb bs=8 count=1 conv=notrunc,fsync 2>/dev/null || echo failed >>/tmp/failed; usleep 100000; done </dev/null >/dev/null 2>&1 &)"""  # noqa: E501 - one line for the guest's shell
_WRITTEN = "dd if=/dev/vdb bs=8 count=1 iflag=direct,fullblock 2>/dev/null || head -c 8 /dev/vdb"


@pytest.fixture(scope="module")
def guests(live_cloud: LiveCloud) -> Iterator[Lab]:
    with lab_guests(live_cloud) as made:
        yield made


@pytest.fixture
def volume(live_cloud: LiveCloud, guests: Lab) -> Iterator[str]:
    """Attached to ``a1``, which writes a number to it ten times a second."""
    guest, name = guests.a1, "lab-live"
    live_cloud.openstack("volume", "create", "--size", "1", name, cloud=_ADMIN)
    until(lambda: shown(live_cloud, "volume", name)["status"] == "available")
    server = guest.server.id
    live_cloud.openstack("server", "add", "volume", server, name, cloud=_ADMIN)
    until(lambda: guest.run("test -b /dev/vdb") is not None)
    guest.says(_WRITER)
    try:
        yield name
    finally:
        live_cloud.openstack("server", "remove", "volume", server, name, cloud=_ADMIN)
        until(lambda: shown(live_cloud, "volume", name)["status"] == "available")
        live_cloud.openstack("volume", "delete", name, cloud=_ADMIN)


def shown(live_cloud: LiveCloud, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        live_cloud.openstack(*_VERSION, kind, "show", name, "-f", "json", cloud=_ADMIN)
    )
    return found


def migrate(live_cloud: LiveCloud, guest: Guest, host: str = "") -> None:
    chosen = ["--host", host] if host else []
    live_cloud.openstack(
        *_VERSION, "server", "migrate", "--live-migration", *chosen, "--wait", guest.server.id,
        cloud=_ADMIN,
    )  # fmt: skip


def host_of(live_cloud: LiveCloud, guest: Guest) -> str:
    return str(shown(live_cloud, "server", guest.server.id)["OS-EXT-SRV-ATTR:host"])


def domains(guest: Guest) -> list[str]:
    """The hosts that have the guest."""
    hosts = ("lab1", "lab2", socket.gethostname())
    words = ("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--uuid")
    return [host for host in hosts if guest.server.id in (on_host(host, *words) or "")]


def files(guest: Guest) -> list[str]:
    """The hosts that have files of the guest."""
    hosts = ("lab1", "lab2", socket.gethostname())
    place = f"/var/lib/minicloud/compute/instances/{guest.server.id}"
    return [host for host in hosts if on_host(host, "ls", place)]


@contextlib.contextmanager
def connected(guest: Guest, live_cloud: LiveCloud) -> Iterator[subprocess.Popen[str]]:
    """One ssh connection through the guest's floating IP, by which it prints a line ten times a
    second.
    """
    script = "n=0; while :; do n=$((n+1)); echo $n; usleep 100000; done"
    argv = ["ssh", "-i", str(live_cloud.key), "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
            "-o", "ConnectTimeout=20", f"root@{guest.floating}", script]  # fmt: skip
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    found = [process.stdout.readline() for _ in range(count)]
    assert all(found), "the connection has ended"
    return [int(line) for line in found]


def written(guest: Guest) -> int:
    return int(guest.says(f"sync; echo 3 >/proc/sys/vm/drop_caches; {_WRITTEN}").lstrip("0") or "0")


@pytest.mark.timeout(1200)
def test_a_guest_goes_on_as_if_nothing_had_happened(
    live_cloud: LiveCloud, guests: Lab, volume: str
) -> None:
    guest, neighbour, other = guests.a1, guests.a2, guests.b1
    boot = guest.says(_BOOT)
    guests.a.give_floating_ip(guest)
    until(lambda: who(guest.floating))
    neighbour.says(f"(ping -i 0.2 {guest.address} >/tmp/pings 2>&1 &)")
    for target in ("lab2", "lab1"):
        with connected(guest, live_cloud) as process:
            before, number = lines(process, 5)[-1], written(guest)
            migrate(live_cloud, guest, target if target == "lab1" else "")
            # What came while it moved was kept for us: read past it, to what it says now.
            found = lines(process, 200)
            assert found == list(range(before + 1, before + 201)), "the same connection"
        assert host_of(live_cloud, guest) == target
        guest.is_now_on(target)
        assert guest.says(_BOOT) == boot
        until(lambda number=number: written(guest) > number)
        assert guest.run("test -e /tmp/failed") is None
        assert domains(guest) == [target]
        until(lambda target=target: files(guest) == [target])
        attached = shown(live_cloud, "volume", volume)["attachments"]
        assert [each["host_name"] for each in attached] == [target]
        assert guest.pings(neighbour.address) and neighbour.pings(guest.address)
        assert guest.pings("172.24.4.1")
        assert not other.asks(guest.address) or other.asks(guest.address)[0].endswith("b1")
    neighbour.says("killall -INT ping; true")
    until(lambda: "packet loss" in neighbour.says("cat /tmp/pings"))
    sent, received = (int(word) for word in _counts(neighbour.says("cat /tmp/pings")))
    assert sent - received <= 50, "no more than a few seconds for both ways"
    guests.a.take_floating_ip(guest)


def _counts(said: str) -> tuple[str, str]:
    words = said.split(" packets transmitted, ")
    return words[0].split()[-1], words[1].split()[0]


def test_to_this_machine_and_back(live_cloud: LiveCloud, guests: Lab) -> None:
    """Where QEMU has a user of its own."""
    guest = guests.b1
    boot = guest.says(_BOOT)
    for target in (socket.gethostname(), "lab1"):
        migrate(live_cloud, guest, target)
        guest.is_now_on(target)
        assert host_of(live_cloud, guest) == target
        assert domains(guest) == [target]
        until(lambda: guest.run(_BOOT) is not None)
        assert guest.says(_BOOT) == boot
        assert guest.pings(guests.b2.address)
        assert not (on_host(target, "ls", "/run/minicloud/migrations") or "").strip()


def begin(live_cloud: LiveCloud, guest: Guest, speed: int) -> int:
    """A migration to the other lab host that is under way, at so many MiB a second: its number."""
    assert set_speed(guest, speed)
    other = "lab2" if guest.host == "lab1" else "lab1"
    live_cloud.openstack(
        *_VERSION, "server", "migrate", "--live-migration", "--host", other, guest.server.id,
        cloud=_ADMIN,
    )  # fmt: skip

    def running() -> list[dict[str, Any]]:
        found = json.loads(
            live_cloud.openstack(
                *_VERSION, "server", "migration", "list", "--server", guest.server.id, "-f",
                "json", cloud=_ADMIN,
            )
        )  # fmt: skip
        return [each for each in found if each["Status"] == "running"]

    (one,) = until(running)
    return int(one["Id"])


def set_speed(guest: Guest, speed: int) -> bool:
    """Whether the guest, which may be on its way, is where it was last."""
    words = ("virsh", "-c", "qemu:///system", "migrate-setspeed", guest.server.id, str(speed))
    return on_host(guest.host, *words) is not None


def check_is_on_one_host(live_cloud: LiveCloud, guest: Guest, boot: str) -> None:
    """When all has come to rest, the guest runs on, where its row says, and nowhere else."""
    until(lambda: shown(live_cloud, "server", guest.server.id)["status"] == "ACTIVE", _LONG_S)
    host = host_of(live_cloud, guest)
    guest.is_now_on(host)
    assert domains(guest) == [host]
    until(lambda: files(guest) == [host])
    until(lambda: guest.run(_BOOT) is not None)
    assert guest.says(_BOOT) == boot


@pytest.mark.timeout(900)
def test_aborted(live_cloud: LiveCloud, guests: Lab) -> None:
    guest = guests.b1
    boot, host = guest.says(_BOOT), guest.host
    number = begin(live_cloud, guest, 1)
    admin = live_cloud.connect(_ADMIN).compute

    def in_progress() -> bool:
        # The client's own command for it asks with server and migration in each other's place.
        found = admin.get_server_migration(number, guest.server.id)
        assert found.status == "running"
        total, left = found.memory_total_bytes or 0, found.memory_remaining_bytes or 0
        return bool(total > left > 0)

    until(in_progress)
    assert guest.says(_BOOT) == boot
    live_cloud.openstack(
        *_VERSION, "server", "migration", "abort", guest.server.id, str(number), cloud=_ADMIN
    )
    check_is_on_one_host(live_cloud, guest, boot)
    assert guest.host == host
    number = begin(live_cloud, guest, 1)
    live_cloud.openstack(
        *_VERSION, "server", "migration", "force", "complete", guest.server.id, str(number),
        cloud=_ADMIN,
    )  # fmt: skip
    set_speed(guest, 500)  # what is left need not take long
    check_is_on_one_host(live_cloud, guest, boot)
    assert guest.host != host


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "victim",
    ["source compute", "target compute", "source libvirtd", "target libvirtd", "conductor"],
)
def test_killed_in_the_middle(live_cloud: LiveCloud, guests: Lab, victim: str) -> None:
    guest = guests.b1
    boot = guest.says(_BOOT)
    number = begin(live_cloud, guest, 4)
    found = live_cloud.connect(_ADMIN).compute.get_server_migration(number, guest.server.id)
    end, _, daemon = victim.rpartition(" ")
    host = {"source": guest.host, "target": found.dest_compute, "": socket.gethostname()}[end]
    assert kill(host, daemon), f"{victim} does not run"
    check_is_on_one_host(live_cloud, guest, boot)


def kill(host: str, daemon: str) -> bool:
    """SIGKILL. Who keeps the daemons starts it again."""
    if host == socket.gethostname():
        name = {"compute": "minicloud-compute", "conductor": "minicloud-conductor"}.get(daemon)
        assert name is not None, "nobody would start this machine's libvirtd again"
        pids = [entry.name for entry in Path("/proc").glob("[0-9]*") if is_daemon(entry, name)]
        return [os.kill(int(pid), signal.SIGKILL) for pid in pids] == [None]
    return on_host(host, "bash", "-c", f"kill -9 $(cat /run/minicloud/{daemon}.pid)") is not None


def is_daemon(entry: Path, name: str) -> bool:
    """Whether a process is this machine's own daemon of that name, and no lab host's."""
    try:
        words = (entry / "cmdline").read_bytes()
        here = (entry / "ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:
        return False
    return here and words.split(b"\0")[0].startswith(name.encode())
