"""Volumes in a Ceph cluster: through their exports, and while parts of either are dead or away."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ceph_cluster import CephCluster, CephPool, ceph_cluster, missing
from volume import HOST, VolumeCloud, volume_cloud

from minicloud.volume.backends.configured import Ceph

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon"
)
GIB = 1024**3
_PATIENCE_S = 120.0
SERVICE = {"X-Service-Token": "service"}


class Guest:
    """Somebody who has a volume attached, and comes again when its exporter was away."""

    def __init__(self, cloud: VolumeCloud, volume_id: str) -> None:
        self._cloud = cloud
        self.attachment = cloud.attach(volume_id, nbd_reconnect=True)
        cloud.complete(self.attachment["id"])
        info = self.attachment["connection_info"]
        self._disk = (
            f"driver=nbd,server.type=unix,server.path={info['socket']},export={info['export']},"
            "reconnect-delay=120"
        )

    def begin(self, *commands: str) -> subprocess.Popen[str]:
        words = [word for command in commands for word in ("-c", command)]
        return subprocess.Popen(
            ["qemu-io", "--image-opts", self._disk, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def do(self, *commands: str) -> None:
        ended(self.begin(*commands))

    def has(self, data: int, at: str = "0") -> None:
        self.do(f"read -P {data} {at} 64k")

    def writes(self, data: int, at: str = "0") -> None:
        self.do(f"write -P {data} {at} 64k", "flush")

    def leave(self) -> None:
        self._cloud.detach(self.attachment["id"])


def ended(running: subprocess.Popen[str]) -> None:
    """Wait until it has done all of it."""
    said, _ = running.communicate(timeout=_PATIENCE_S)
    assert running.returncode == 0, said
    assert "failed" not in said.lower(), said


@contextlib.contextmanager
def ceph_cloud(directory: Path, pool: CephPool) -> Iterator[VolumeCloud]:
    """With a type ``ceph``, whose volumes are in ``pool``."""
    settings = Ceph(pools={"ceph": pool.name}, conf=pool.conf, user=pool.user)
    with volume_cloud(directory, ceph=settings) as cloud:
        cloud.turn()
        kind = {"name": "ceph", "extra_specs": {"volume_backend_name": "ceph"}}
        cloud.ask("POST", "/types", 200, "admin", json={"volume_type": kind})
        yield cloud


@pytest.fixture
def cloud(tmp_path: Path, ceph_pool: CephPool) -> Iterator[VolumeCloud]:
    with ceph_cloud(tmp_path, ceph_pool) as cloud:
        yield cloud


def made(cloud: VolumeCloud, **values: Any) -> str:
    """A volume of the type ``ceph``, or of what it is made of."""
    if not {"snapshot_id", "source_volid"} & set(values):
        values.setdefault("volume_type", "ceph")
    volume_id = str(cloud.create(**values)["id"])
    becomes(cloud, volume_id, "available")
    return volume_id


def becomes(cloud: VolumeCloud, volume_id: str, status: str) -> None:
    until(cloud, lambda: cloud.show(volume_id)["status"] == status)


def until(cloud: VolumeCloud, holds: Callable[[], bool]) -> None:
    """Pass after pass, as the service does."""
    give_up_at = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at
        cloud.turn()
        time.sleep(0.1)


def kept(cloud: VolumeCloud, volume_id: str, status: str = "available") -> str:
    asked = {"snapshot": {"volume_id": volume_id, "force": True}}
    moment = str(cloud.ask("POST", "/snapshots", 202, json=asked)["snapshot"]["id"])
    assert of_snapshot(cloud, moment) == status
    return moment


def of_snapshot(cloud: VolumeCloud, snapshot_id: str) -> str:
    return str(cloud.ask("GET", f"/snapshots/{snapshot_id}", 200)["snapshot"]["status"])


def is_gone(cloud: VolumeCloud, path: str) -> bool:
    return bool(cloud.call("GET", path).status_code == 404)


# -- what volumes do -----------------------------------------------------------------------------
def test_a_volumes_life(cloud: VolumeCloud, ceph_pool: CephPool) -> None:
    volume = made(cloud)
    assert cloud.show(volume, "admin")["os-vol-host-attr:host"] == f"{HOST}@ceph#ceph"
    guest = Guest(cloud, volume)
    guest.has(0)
    guest.writes(0x11)
    moment = kept(cloud, volume)
    guest.writes(0x22)
    of_moment, clone = made(cloud, snapshot_id=moment), made(cloud, source_volid=volume)
    for each, data in ((of_moment, 0x11), (clone, 0x22)):
        other = Guest(cloud, each)
        other.has(data)
        other.leave()

    grow = {"os-extend": {"new_size": 2}}
    newer = {"OpenStack-API-Version": "volume 3.44"}
    cloud.ask("POST", f"/volumes/{volume}/action", 202, json=grow, headers=newer)
    becomes(cloud, volume, "in-use")
    guest.writes(0x33, at=str(2 * GIB - 65536))
    guest.has(0x22)
    guest.leave()

    revert = {"revert": {"snapshot_id": moment}}
    cloud.ask("POST", f"/volumes/{volume}/action", 202, json=revert)
    becomes(cloud, volume, "available")
    guest = Guest(cloud, volume)
    guest.has(0x11)
    guest.leave()

    cloud.ask("DELETE", f"/volumes/{volume}?cascade=true", 202)
    until(cloud, lambda: is_gone(cloud, f"/volumes/{volume}"))
    guest = Guest(cloud, of_moment)
    guest.has(0x11)
    guest.leave()
    for each in (of_moment, clone):
        cloud.ask("DELETE", f"/volumes/{each}", 202)
        until(cloud, lambda gone=each: is_gone(cloud, f"/volumes/{gone}"))  # type: ignore[misc]
    assert images(ceph_pool) == [[], []]


def images(pool: CephPool) -> list[Any]:
    """What the pool has, and its trash."""
    found = []
    for words in (("ls", pool.name), ("trash", "ls", pool.name)):
        line = ["rbd", "-c", str(pool.conf), "--id", pool.user, *words, "--format", "json"]
        found.append(json.loads(subprocess.run(line, capture_output=True, check=True).stdout))
    return found


def test_a_snapshot_under_writes_has_all_that_were_answered(cloud: VolumeCloud) -> None:
    guest = Guest(cloud, made(cloud))
    guest.writes(0x11)
    words = [f"write -P {at % 200 + 1} {at * 64}k 64k" for at in range(1, 1500)]
    running = guest.begin(*words)
    assert running.stdout is not None
    answered = 0
    for line in running.stdout:
        answered += "wrote" in line
        if answered == 100:
            break
    moment = kept(cloud, guest.attachment["volume_id"] or "")
    ended(running)
    guest.has(1499 % 200 + 1, at="95936k")
    other = Guest(cloud, made(cloud, snapshot_id=moment))
    other.has(0x11)
    other.do(*(f"read -P {at % 200 + 1} {at * 64}k 64k" for at in range(1, 101)))


def test_types_and_pools_on_the_wire(cloud: VolumeCloud, ceph: CephCluster) -> None:
    until(cloud, lambda: state_of_ceph(cloud)["free_capacity_gb"] != "unknown")
    pools = cloud.ask("GET", "/scheduler-stats/get_pools?detail=true", 200, "admin")["pools"]
    found = {each["name"]: each["capabilities"] for each in pools}
    assert set(found) == {f"{HOST}@ceph#ceph", f"{HOST}@files#files"}
    mine = found[f"{HOST}@ceph#ceph"]
    assert (mine["storage_protocol"], mine["backend_state"]) == ("ceph", "up")
    assert 0 < mine["free_capacity_gb"] <= mine["total_capacity_gb"]
    named = cloud.ask("GET", f"/capabilities/{HOST}@ceph", 200, "admin")
    assert (named["storage_protocol"], named["volume_backend_name"]) == ("ceph", "ceph")
    services = cloud.ask("GET", "/os-services?binary=cinder-volume", 200, "admin")["services"]
    assert [each["host"] for each in services] == [f"{HOST}@ceph", f"{HOST}@files"]


# -- what dies -----------------------------------------------------------------------------------
def test_a_killed_exporter_loses_nothing_and_holds_nobody_up(cloud: VolumeCloud) -> None:
    volume = made(cloud)
    guest = Guest(cloud, volume)
    guest.writes(0x11)
    running = guest.begin(*(f"write -P {at % 200 + 1} {at * 64}k 64k" for at in range(1, 1500)))
    assert running.stdout is not None
    for line in running.stdout:
        if "wrote" in line:
            break
    cloud.kill(volume)
    cloud.turn()
    # The dead one is fenced: this would wait for half a minute otherwise.
    begun = time.monotonic()
    kept(cloud, volume)
    assert time.monotonic() - begun < 25
    ended(running)
    guest.has(0x11)
    guest.do(*(f"read -P {at % 200 + 1} {at * 64}k 64k" for at in range(1, 1500)))
    cloud.kill(volume)
    guest.leave()
    cloud.ask("DELETE", f"/volumes/{volume}?cascade=true", 202)
    until(cloud, lambda: is_gone(cloud, f"/volumes/{volume}"))


def test_guests_wait_for_an_osd_that_comes_again(tmp_path: Path) -> None:
    if missing():
        pytest.skip(missing())
    with ceph_cluster(durable=True) as cluster, ceph_cloud(tmp_path, cluster.new_pool()) as cloud:
        guest = Guest(cloud, made(cloud))
        guest.writes(0x11)
        cluster.kill("osd")
        running = guest.begin("write -P 0x22 64k 64k", "flush")
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(2)
        cluster.start("osd")
        ended(running)
        guest.has(0x11)
        guest.has(0x22, at="64k")


def test_a_cluster_that_is_away_holds_up_its_own_volumes_alone(
    cloud: VolumeCloud, ceph: CephCluster
) -> None:
    volume, victim, origin = made(cloud), made(cloud), made(cloud)
    moment, doomed = kept(cloud, origin), kept(cloud, origin)
    guest = Guest(cloud, volume)
    guest.writes(0x11)
    dead = Guest(cloud, origin)
    ceph.stop()
    try:
        cloud.kill(origin)
        cloud.turn()
        begun = time.monotonic()
        cloud.turn()
        assert time.monotonic() - begun < 60
        until(cloud, lambda: state_of_ceph(cloud)["backend_state"] == "down")
        assert state_of_ceph(cloud)["free_capacity_gb"] == "unknown"

        files = cloud.create()["id"]
        becomes(cloud, files, "available")
        other = Guest(cloud, files)
        other.writes(0x44)
        other.leave()

        late = [cloud.create(volume_type="ceph")["id"], cloud.create(snapshot_id=moment)["id"]]
        kept_late = kept(cloud, volume, "creating")
        cloud.ask("DELETE", f"/volumes/{victim}", 202)
        cloud.ask("DELETE", f"/snapshots/{doomed}", 202)
        claim = cloud.attach(late[0], host=None, status=400)
        assert "creating" in claim["badRequest"]["message"]
        cloud.turn()
        assert [cloud.show(each)["status"] for each in late] == ["creating"] * 2
        assert cloud.show(victim)["status"] == "deleting"
        assert of_snapshot(cloud, doomed) == "deleting"
        assert of_snapshot(cloud, kept_late) == "creating"
    finally:
        ceph.go_on()
    for each in late:
        becomes(cloud, each, "available")
    until(cloud, lambda: is_gone(cloud, f"/volumes/{victim}"))
    until(cloud, lambda: is_gone(cloud, f"/snapshots/{doomed}"))
    until(cloud, lambda: of_snapshot(cloud, kept_late) == "available")
    until(cloud, lambda: state_of_ceph(cloud)["backend_state"] == "up")
    until(cloud, lambda: cloud.is_served(origin))
    guest.has(0x11)
    dead.has(0)
    dead.writes(0x55)


def state_of_ceph(cloud: VolumeCloud) -> dict[str, Any]:
    asked = "/scheduler-stats/get_pools?detail=true&backend_name=ceph"
    (pool,) = cloud.ask("GET", asked, 200, "admin")["pools"]
    found: dict[str, Any] = pool["capabilities"]
    return found


# -- what cannot be ------------------------------------------------------------------------------
def test_a_configuration_that_cannot_work_is_refused(tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    conf.write_text("[global]\n")
    for settings, word in (
        (Ceph(pools={"files": "volumes"}, conf=conf), "files is the name of a backend"),
        (Ceph(pools={"ceph": ""}, conf=conf), "NAME:POOL"),
        (Ceph(pools={"a": "volumes", "b": "volumes"}, conf=conf), "a and b have the same pool"),
    ):
        with pytest.raises(ValueError, match=word), volume_cloud(tmp_path, ceph=settings):
            pass
    if missing():
        pytest.skip(missing())
    for settings, word in (
        (Ceph(pools={"ceph": "volumes"}, conf=conf, user="client.x"), "client.minicloud it is"),
        (Ceph(pools={"ceph": "volumes"}, conf=tmp_path / "none"), "copy it from the cluster"),
    ):
        with pytest.raises(ValueError, match=word), volume_cloud(tmp_path, ceph=settings):
            pass
