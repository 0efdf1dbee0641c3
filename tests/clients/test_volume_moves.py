"""Volumes that go to another backend, by the real ``openstack``, while a real guest writes: what it
reads afterwards, what libvirt shows, and what is left, with daemons killed on the way.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from clients.command_line import CommandLine
from clients.conftest import CLOUDS, CONFIG, LiveCloud, until
from clients.test_lab import lab_host as lab_host  # the fixture
from clients.test_volume_guests import LIMIT_S, LOOP, Lab, kill, processes, tried
from clients.test_volume_guests import lab as lab  # the fixture

from minicloud.domain.ids import domain_name

pytestmark = [pytest.mark.clients, pytest.mark.host]
HOME = Path("/var/lib/minicloud/volume")
PLACES = {"files": HOME / "data" / "volumes", "fast": HOME / "fast" / "volumes"}
HOST = socket.gethostname()


@pytest.fixture(scope="module")
def admin(live_cloud: LiveCloud) -> Iterator[CommandLine]:
    """With a second backend, and types of both. All goes at the end."""
    admin = CommandLine(
        "--os-cloud", "minicloud-admin", "--os-volume-api-version", "3.71", config=CLOUDS
    )
    path = CONFIG / "volume.conf"
    before = path.read_text() if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n[volume]\nmore_backends = fast:{HOME / 'fast'}\n")
        path.chmod(0o644)
        restart(admin)
        for each in PLACES:
            admin("volume type create --property", f"volume_backend_name={each}", each)
        yield admin
    finally:
        admin("volume type delete files fast")
        path.unlink() if before is None else path.write_text(before)
        restart(admin)


def daemons(*names: str) -> list[int]:
    return processes(lambda words: words[0] in names)


def restart(admin: CommandLine) -> None:
    """The supervisor starts the volume service again."""
    old = daemons("minicloud-volume")
    kill(old)

    def answers() -> bool:
        with contextlib.suppress(AssertionError):
            return "cinder-volume" in admin("volume service list")
        return False

    until(lambda: set(daemons("minicloud-volume")) - set(old), LIMIT_S)
    until(answers, LIMIT_S)


@pytest.fixture
def volume(lab: Lab, admin: CommandLine) -> Iterator[Any]:
    made = lab.make(size=1, volume_type="files")
    yield made
    if lab.status(made) == "in-use":
        if lab.power() != "ACTIVE":
            lab.sdk.compute.start_server(lab.server)
            until(lambda: lab.power() == "ACTIVE", LIMIT_S)
        lab.detach(made)
    lab.sdk.block_storage.delete_volume(made)
    until(lambda: not tried(lambda: lab.sdk.block_storage.find_volume(made.id)), LIMIT_S)


def shown(lab: Lab, volume: Any) -> Any:
    """All that an administrator sees of it; None while the service is away."""
    admin = lab.live.connect("minicloud-admin").block_storage
    return tried(lambda: admin.get_volume(volume.id))


def ends(lab: Lab, volume: Any, status: str) -> Any:
    """What the volume is when its migration has ended so."""

    def ended() -> Any:
        now = shown(lab, volume)
        at_rest = now and now.status == "in-use" and now.migration_status in ("success", "error")
        return now if at_rest else None

    now = until(ended, LIMIT_S)
    assert now.migration_status == status
    return now


def disk_of(lab: Lab, volume: Any) -> ET.Element:
    """As libvirt shows it, of the guest that runs and of the next start."""
    found = []
    for how in ((), ("--inactive",)):
        text = subprocess.run(
            ["virsh", "-c", "qemu:///system", "dumpxml", domain_name(lab.server.id), *how],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        (disk,) = [
            each
            for each in ET.fromstring(text).iterfind("devices/disk")
            if each.findtext("serial") == volume.id
        ]
        found.append(disk)
    sockets = [host.get("socket") for each in found for host in each.iterfind("source/host")]
    assert len(sockets) == 2
    assert sockets[0] == sockets[1]
    return found[0]


def check_place(lab: Lab, volume: Any, backend: str) -> None:
    """The volume is there, its guest has it there, and nothing of it is anywhere else."""
    now = shown(lab, volume)
    assert now.host == f"{HOST}@{backend}#{backend}"
    name = now.migration_id or volume.id
    (attached,) = now.attachments
    source = disk_of(lab, volume).find("source")
    assert source is not None
    assert source.get("name") == attached["attachment_id"]
    (socket_path,) = [host.get("socket") for host in source.iterfind("host")]
    assert str(socket_path).endswith(f"/{name}.sock")

    def bytes_are_there_alone() -> bool:
        has = {each: {path.name for path in place.iterdir()} for each, place in PLACES.items()}
        others = set().union(*(names for each, names in has.items() if each != backend))
        return name in has[backend] and not {name, volume.id} & others

    until(bytes_are_there_alone, LIMIT_S)
    admin = lab.live.connect("minicloud-admin").block_storage
    until(lambda: [each.id for each in admin.volumes(all_projects=True)] == [volume.id], LIMIT_S)


def test_a_guest_writes_while_its_volume_becomes_another_type(
    lab: Lab, admin: CommandLine, volume: Any
) -> None:
    disk = lab.attach(volume)
    serial = lab.run(f"cat /sys/block/{disk}/serial")
    lab.run(f"dd if=/dev/urandom of=/dev/{disk} bs=64k seek=8192 count=64 conv=fsync 2>/dev/null")
    digest = f"dd if=/dev/{disk} bs=64k skip=8192 count=64 2>/dev/null | md5sum"
    before = lab.run(digest)
    loop = lab.script("loop", LOOP.replace("DISK", disk))
    lab.run(f"rm -f /run/count; setsid sh {loop} </dev/null >/dev/null 2>&1 &")

    def count() -> int:
        return int(lab.run("cat /run/count 2>/dev/null || echo 0"))

    demo = CommandLine("--os-cloud", "minicloud", config=CLOUDS)
    for backend in ("fast", "files"):
        written = count()
        until(lambda written=written: count() > written, LIMIT_S)
        demo("volume set --migration-policy on-demand --type", backend, volume.id)
        assert ends(lab, volume, "success").volume_type == backend
        check_place(lab, volume, backend)
        written = count()
        until(lambda written=written: count() > written, LIMIT_S)
        assert lab.run(f"cat /sys/block/{disk}/serial") == serial
        assert lab.run(f"echo 3 > /proc/sys/vm/drop_caches; {digest}") == before
    assert lab.errors() == ""
    action, *_ = lab.sdk.compute.server_actions(lab.server)
    assert action.action == "swap_volume"
    lab.sdk.compute.reboot_server(lab.server, "HARD")
    until(lambda: lab.power() == "ACTIVE", LIMIT_S)
    lab.live.wait_for_ssh(lab.server.name, limit_s=LIMIT_S)
    assert lab.run(digest) == before


@pytest.mark.parametrize(
    "victims",
    [("minicloud-compute",), ("minicloud-volume",), ("minicloud-compute", "minicloud-volume")],
)
def test_daemons_are_killed_while_it_moves(
    lab: Lab, admin: CommandLine, volume: Any, victims: tuple[str, ...]
) -> None:
    disk = lab.attach(volume)
    lab.run(f"dd if=/dev/urandom of=/dev/{disk} bs=64k count=512 conv=fsync 2>/dev/null")
    digest = f"dd if=/dev/{disk} bs=64k count=512 2>/dev/null | md5sum"
    digest = f"echo 3 > /proc/sys/vm/drop_caches; {digest}"
    before = lab.run(digest)
    for backend in ("fast", "files"):
        old = daemons(*victims)
        assert len(old) == len(victims)
        admin("volume migrate --host", f"{HOST}@{backend}#{backend}", volume.id)
        kill(old)
        ends(lab, volume, "success")
        check_place(lab, volume, backend)
        assert lab.run(digest) == before
        lab.run(f"printf {backend} | dd of=/dev/{disk} seek=99999 conv=sync,fsync 2>/run/said")
        assert lab.run(f"dd if=/dev/{disk} skip=99999 count=1 2>/run/said").startswith(backend)
    assert lab.errors() == ""


def test_the_volume_of_a_server_that_is_off_stays(
    lab: Lab, admin: CommandLine, volume: Any
) -> None:
    lab.attach(volume)
    lab.live.openstack("server stop", lab.server.name)
    lab.live.wait_for_status(lab.server.name, "SHUTOFF")
    admin("volume migrate --host", f"{HOST}@fast#fast", volume.id)
    assert ends(lab, volume, "error").migration_id is None
    assert (PLACES["files"] / volume.id).exists()
    until(lambda: not list(PLACES["fast"].iterdir()), LIMIT_S)
    lab.sdk.compute.start_server(lab.server)
    until(lambda: lab.power() == "ACTIVE", LIMIT_S)
    lab.live.wait_for_ssh(lab.server.name, limit_s=LIMIT_S)


@pytest.fixture
def far(live_cloud: LiveCloud, lab_host: str) -> Iterator[Lab]:
    """A server of another host, with ssh by a floating IP."""
    sdk = live_cloud.connect()
    line = "server create --image tiny --flavor m1.nano --network private --key-name demo --wait"
    live_cloud.openstack(line, "far")
    floating = live_cloud.openstack_json("floating ip create public")["floating_ip_address"]
    try:
        live_cloud.openstack("server add floating ip far", floating)
        live_cloud.wait_for_ssh("far", limit_s=LIMIT_S)
        yield Lab(live_cloud, sdk, sdk.compute.find_server("far"))
    finally:
        live_cloud.openstack("server delete --wait far")
        live_cloud.openstack("floating ip delete", floating)


def test_a_volume_moves_below_a_guest_of_another_host(
    far: Lab, admin: CommandLine, lab_host: str
) -> None:
    """Its disk comes over TLS, from either backend."""
    assert admin.json("server show", far.server.id)["OS-EXT-SRV-ATTR:host"] == lab_host
    made = far.make(size=1, volume_type="files")
    disk = far.attach(made)
    far.run(f"dd if=/dev/urandom of=/dev/{disk} bs=64k count=64 conv=fsync 2>/dev/null")
    before, exports = far.digest(disk), set()
    for backend in ("fast", "files"):
        admin("volume migrate --host", f"{HOST}@{backend}#{backend}", made.id)
        (attached,) = ends(far, made, "success").attachments
        way = admin.json("volume attachment show", attached["attachment_id"])["Properties"]
        assert way["tls"] is True
        exports.add((way["export"], way["port"]))
        far.run("echo 3 > /proc/sys/vm/drop_caches")
        assert far.digest(disk) == before
    assert len(exports) == 2
    assert far.errors() == ""
    far.detach(made)
    far.sdk.block_storage.delete_volume(made)
