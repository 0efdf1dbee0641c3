"""A cloud with volumes in files and in Ceph, by the real ``openstack``: what users do with either,
between the two, and while the cluster is away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ceph_cluster import CephCluster, CephPool
from clients.command_line import CommandLine
from clients.conftest import CLOUDS, CONFIG, LiveCloud, until
from clients.test_volume_guests import processes

pytestmark = [pytest.mark.clients, pytest.mark.host, pytest.mark.timeout(900)]

FILES = Path("/var/lib/minicloud/volume/data/volumes")
CEPH = CONFIG / "ceph-of-the-tests"
POOL = f"{socket.gethostname()}@ceph#ceph"
LIMIT_S = 300


@pytest.fixture(scope="module")
def demo(live_cloud: LiveCloud) -> CommandLine:
    return _newest("minicloud")


@pytest.fixture(scope="module")
def admin(live_cloud: LiveCloud) -> CommandLine:
    return _newest("minicloud-admin")


def _newest(cloud: str) -> CommandLine:
    return CommandLine("--os-cloud", cloud, "--os-volume-api-version", "3.71", config=CLOUDS)


@pytest.fixture(scope="module")
def pool(live_cloud: LiveCloud, admin: CommandLine, ceph: CephCluster) -> Iterator[CephPool]:
    """The pool of the backend ``ceph``; types of its name and of ``files``. All goes at the end."""
    pool = ceph.new_pool()
    path = CONFIG / "volume.conf"
    before = path.read_text() if path.exists() else None
    try:
        conf = _given_to_the_service(pool)
        path.write_text(
            f"{before or ''}\n[volume]\nrbd_backends = ceph:{pool.name}\nrbd_user = {pool.user}\n"
            f"ceph_conf = {conf}\n"
        )
        path.chmod(0o644)
        _restart(admin, "volume")
        for each in ("ceph", "files"):
            admin("volume type create --property", f"volume_backend_name={each}", each)
        yield pool
    finally:
        admin("volume type delete ceph files")
        path.unlink() if before is None else path.write_text(before)
        shutil.rmtree(CEPH, ignore_errors=True)
        _restart(admin, "volume")


def _given_to_the_service(pool: CephPool) -> Path:
    """The cluster's configuration, with a keyring that only the service's user reads."""
    CEPH.mkdir(mode=0o750)
    keyring, conf = CEPH / "keyring", CEPH / "ceph.conf"
    keyring.touch(0o600)
    keyring.write_text(f"[client.{pool.user}]\nkey = {pool.key}\n")
    conf.write_text(f"[global]\nmon_host = {pool.monitor}\nkeyring = {keyring}\n")
    for each in (CEPH, keyring, conf):
        subprocess.run(["chown", "--reference", FILES, each], check=True)
    return conf


def _restart(admin: CommandLine, *daemons: str) -> None:
    """The supervisor starts them again."""
    for daemon in daemons:
        old = until(lambda daemon=daemon: _process(daemon))
        os.kill(old, signal.SIGKILL)
        until(lambda daemon=daemon, old=old: _process(daemon) not in (None, old))

    def answers() -> bool:
        with contextlib.suppress(AssertionError):
            return "cinder-volume" in admin("volume service list")
        return False

    until(answers)


def _process(daemon: str) -> int | None:
    return next(iter(processes(lambda words: words[0] == f"minicloud-{daemon}")), None)


@contextlib.contextmanager
def _opened_by_guests(admin: CommandLine, pool: CephPool) -> Iterator[None]:
    """Guests of this host open what is in Ceph for themselves."""
    key = f"[libvirt]\nrbd_user = {pool.user}\nrbd_keyring = {CEPH / 'keyring'}\n"
    wanted = {
        CONFIG / "volume.conf": "open_rbd = ceph:all\n",
        CONFIG / "compute.conf": f"\n{key}rbd_secret_uuid = {uuid.uuid4()}\n",
    }
    before = {path: path.read_text() for path in wanted}
    try:
        for path, more in wanted.items():
            path.write_text(before[path] + more)
        _restart(admin, "volume", "compute")
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)
        _restart(admin, "volume", "compute")


class Things:
    """What a test makes, which goes at its end whatever it is in then."""

    def __init__(self, demo: CommandLine, admin: CommandLine) -> None:
        self._demo, self._admin = demo, admin
        self.volumes: list[str] = []

    def volume(self, *words: str) -> str:
        """The id of a new volume."""
        made = str(self._demo.json("volume create", *words, f"t-{uuid.uuid4().hex[:8]}")["id"])
        self.volumes.append(made)
        becomes(self._demo, "volume", made, "available")
        return made

    def remove(self) -> None:
        for each in reversed(self.volumes):
            if each in self._admin("volume list --all-projects"):
                self._admin("volume delete --cascade", each)
        until(lambda: not set(self.volumes) & self._left(), LIMIT_S)

    def _left(self) -> set[str]:
        return {row["ID"] for row in self._admin.json("volume list --all-projects")}


@pytest.fixture
def things(demo: CommandLine, admin: CommandLine) -> Iterator[Things]:
    things = Things(demo, admin)
    yield things
    things.remove()


def becomes(client: CommandLine, noun: str, name: str, status: str) -> dict[str, Any]:
    """What ``NOUN show`` says of it, once it has the status."""
    shown: dict[str, Any] = {}

    def has() -> bool:
        shown.update(client.json(f"{noun} show", name))
        assert "error" not in shown["status"], shown
        return bool(shown["status"] == status)

    until(has, LIMIT_S)
    return shown


def is_in_ceph(pool: CephPool, volume: str) -> bool:
    return f"volume-{volume}" in _rbd(pool, "ls", pool.name).split()


def fill(pool: CephPool, volume: str, data: int) -> None:
    _io(pool, volume, f"write -P {data} 0 1M")


def holds(pool: CephPool, volume: str, data: int) -> bool:
    return "verification failed" not in _io(pool, volume, f"read -P {data} 0 1M")


def _io(pool: CephPool, volume: str, command: str) -> str:
    if is_in_ceph(pool, volume):
        disk = ["-f", "raw", f"rbd:{pool.name}/volume-{volume}:id={pool.user}:conf={pool.conf}"]
    else:
        layer = (FILES / volume).resolve()
        disk = ["-f", layer.suffix[1:], str(layer)]
    return _run("qemu-io", "-c", command, *disk)


def _rbd(pool: CephPool, *words: str) -> str:
    return _run("rbd", "-c", str(pool.conf), "--id", pool.user, *words)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_copies_of_every_kind(
    demo: CommandLine, admin: CommandLine, pool: CephPool, things: Things
) -> None:
    volume = things.volume("--type", "ceph", "--size", "1")
    assert admin.json("volume show", volume)["os-vol-host-attr:host"] == POOL
    assert is_in_ceph(pool, volume)
    fill(pool, volume, 0x11)
    snapshot = demo.json("volume snapshot create --volume", volume, "moment")["id"]
    becomes(demo, "volume snapshot", snapshot, "available")
    backup = demo.json("volume backup create", volume)["id"]
    becomes(demo, "volume backup", backup, "available")
    becomes(demo, "volume", volume, "available")
    fill(pool, volume, 0x22)
    of_snapshot = things.volume("--snapshot", snapshot)
    clone = things.volume("--source", volume)
    assert is_in_ceph(pool, of_snapshot)
    assert holds(pool, of_snapshot, 0x11)
    assert holds(pool, clone, 0x22)
    demo("volume set --size 2", clone)
    assert becomes(demo, "volume", clone, "available")["size"] == 2
    assert holds(pool, clone, 0x22)

    demo("volume revert", snapshot)
    becomes(demo, "volume", volume, "available")
    assert holds(pool, volume, 0x11)
    demo("volume backup restore --force", backup, clone)
    becomes(demo, "volume", clone, "available")
    assert holds(pool, clone, 0x11)

    # An image out of it, and a volume of files out of that.
    demo("volume snapshot delete", snapshot)
    until(lambda: snapshot not in demo("volume snapshot list"))
    image = f"t-{uuid.uuid4().hex[:8]}"
    demo("image create --container-format bare --disk-format qcow2 --volume", volume, image)
    becomes(demo, "volume", volume, "available")
    until(lambda: demo.json("image show", image)["status"] == "active", LIMIT_S)
    of_image = things.volume("--image", image, "--size", "1")
    assert not is_in_ceph(pool, of_image)
    assert holds(pool, of_image, 0x11)
    demo("image delete", image)
    demo("volume backup delete", backup)

    # From files into Ceph, and back.
    for kind, there in (("ceph", True), ("files", False)):
        admin("volume set --retype-policy on-demand --type", kind, of_image)
        until(lambda kind=kind: demo.json("volume show", of_image)["type"] == kind, LIMIT_S)
        becomes(demo, "volume", of_image, "available")
        assert is_in_ceph(pool, of_image) is there
        assert (FILES / of_image).exists() is not there
        assert holds(pool, of_image, 0x11)

    things.remove()
    assert [name for name in _rbd(pool, "ls", pool.name).split() if "image" not in name] == []


def test_a_guest_that_boots_from_ceph_and_a_cluster_that_is_away(
    live_cloud: LiveCloud, demo: CommandLine, admin: CommandLine, ceph: CephCluster,
    pool: CephPool, things: Things,
) -> None:  # fmt: skip
    root = things.volume("--type", "ceph", "--size", "1", "--image", "tiny", "--bootable")
    data = things.volume("--type", "ceph", "--size", "1")
    name = f"t-{uuid.uuid4().hex[:8]}"
    demo("server create --flavor m1.nano --network private --key-name demo --volume", root, name)
    try:
        live_cloud.wait_for_status(name, "ACTIVE")
        live_cloud.wait_for_ssh(name, limit_s=LIMIT_S)
        demo("server add volume", name, data)
        becomes(demo, "volume", data, "in-use")
        in_guest = live_cloud.guest
        until(lambda: "vdb" in in_guest(name, "ls /sys/block"))
        in_guest(name, "printf before | sudo dd of=/dev/vdb conv=fsync,sync")
        snapshot = demo.json("volume snapshot create --force --volume", data, "moment")["id"]
        becomes(demo, "volume snapshot", snapshot, "available")
        in_guest(name, "printf behind | sudo dd of=/dev/vdb conv=fsync,sync")

        with _away(ceph):
            late = demo.json("volume create --type ceph --size 1 late")["id"]
            things.volumes.append(late)
            in_time = things.volume("--size", "1")
            demo("volume delete", in_time)

            def is_down() -> bool:
                pools = admin.json("volume backend pool list --long")
                states = {each["Name"]: each["Capabilities"]["backend_state"] for each in pools}
                return "down" in states[POOL]

            until(is_down)
            assert demo.json("volume show", late)["status"] == "creating"
            assert demo.json("volume show", data)["status"] == "in-use"
        becomes(demo, "volume", late, "available")
        assert in_guest(name, "sudo head -c 6 /dev/vdb") == "behind"
        in_guest(name, "sync && sudo dmesg | grep -c login || true")

        demo("server remove volume", name, data)
        becomes(demo, "volume", data, "available")
        demo("volume revert", snapshot)
        becomes(demo, "volume", data, "available")
        demo("server add volume", name, data)
        becomes(demo, "volume", data, "in-use")
        until(lambda: "vd" in in_guest(name, "ls /sys/block | grep -v vda; true"))
        assert in_guest(name, "sudo head -c 6 /dev/vd[b-z]") == "before"
    finally:
        demo("server delete --wait", name)


def test_a_guest_that_opens_its_volumes_for_itself(
    live_cloud: LiveCloud, demo: CommandLine, admin: CommandLine, pool: CephPool, things: Things
) -> None:
    with _opened_by_guests(admin, pool):
        root = things.volume("--type", "ceph", "--size", "1", "--image", "tiny", "--bootable")
        data = things.volume("--type", "ceph", "--size", "1")
        name = f"t-{uuid.uuid4().hex[:8]}"
        demo(
            "server create --flavor m1.nano --network private --key-name demo --volume", root, name
        )
        try:
            live_cloud.wait_for_status(name, "ACTIVE")
            live_cloud.wait_for_ssh(name, limit_s=LIMIT_S)
            demo("server add volume", name, data)
            becomes(demo, "volume", data, "in-use")
            in_guest = live_cloud.guest
            until(lambda: "vdb" in in_guest(name, "ls /sys/block"))
            server = demo.json("server show", name)["id"]
            defined = _run("virsh", "-c", "qemu:///system", "dumpxml", "--security-info", server)
            assert defined.count("protocol='rbd'") == 2
            assert pool.key not in defined
            assert not processes(
                lambda words: words[0] == "qemu-storage-daemon" and data in str(words)
            )

            in_guest(name, "printf before | sudo dd of=/dev/vdb conv=fsync,sync")
            snapshot = demo.json("volume snapshot create --force --volume", data, "moment")["id"]
            becomes(demo, "volume snapshot", snapshot, "available")
            in_guest(name, "printf behind | sudo dd of=/dev/vdb conv=fsync,sync")
            demo("volume set --size 2", data)
            until(lambda: in_guest(name, "cat /sys/block/vdb/size").strip() == str(2 << 21))

            (qemu,) = processes(lambda words: "qemu-system" in words[0] and server in str(words))
            os.kill(qemu, signal.SIGKILL)
            live_cloud.wait_for_status(name, "SHUTOFF")
            demo("server start", name)
            live_cloud.wait_for_status(name, "ACTIVE")
            live_cloud.wait_for_ssh(name, limit_s=LIMIT_S)
            assert in_guest(name, "sudo head -c 6 /dev/vdb") == "behind"

            demo("server remove volume", name, data)
            becomes(demo, "volume", data, "available")
            of_snapshot = things.volume("--snapshot", snapshot)
            demo("server add volume", name, of_snapshot)
            becomes(demo, "volume", of_snapshot, "in-use")
            until(lambda: "vd" in in_guest(name, "ls /sys/block | grep -v vda; true"))
            assert in_guest(name, "sudo head -c 6 /dev/vd[b-z]") == "before"
        finally:
            demo("server delete --wait", name)


@contextlib.contextmanager
def _away(ceph: CephCluster) -> Iterator[None]:
    ceph.stop()
    try:
        yield
    finally:
        ceph.go_on()
