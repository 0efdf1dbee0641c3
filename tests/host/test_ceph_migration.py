"""A guest that opens a volume in Ceph takes it to another host while it runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import ceph_cluster
import msgspec
import pytest
from ceph_cluster import CephCluster, CephPool
from labhost import missing, wait_for
from private_host import private_network

from minicloud.domain.ids import new_id
from minicloud.virt.driver import RbdDisk
from minicloud.virt.libvirt.keyring import CephUser

_WHY_NOT = missing() or ceph_cluster.missing()
pytestmark = [pytest.mark.host, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT)]
pytest.importorskip("libvirt", reason="the libvirt bindings are not installed")

from guest_io import GuestIo  # noqa: E402 - only where libvirt is
from test_live_migration import _INSIDE, Host, World  # noqa: E402

from minicloud.virt.libvirt.driver import LibvirtDriver  # noqa: E402
from minicloud.virt.libvirt.migration import Place  # noqa: E402


class CephHost(Host):
    """A host with the key of the pool's user, under a UUID of its own."""

    def __init__(self, directory: Path, name: str, pool: CephPool) -> None:
        keyring = directory / "keyring"
        keyring.write_text(f"[client.{pool.user}]\nkey = {pool.key}\n")
        self.user = CephUser(name=pool.user, secret_uuid=new_id(), keyring=keyring)
        super().__init__(directory, name, shares_network=True)

    def new_driver(self) -> LibvirtDriver:
        place = Place(directory=self.sockets, inside=_INSIDE)
        return LibvirtDriver(self.lab.uri, "qemu", "emulated", self.user, migrations=place)


@pytest.fixture(scope="module")
def ceph() -> Iterator[CephCluster]:
    """On the same network as the guests."""
    with private_network(), ceph_cluster.ceph_cluster() as cluster:
        yield cluster


@pytest.fixture
def world(tmp_path: Path, ceph_pool: CephPool) -> Iterator[World]:
    with contextlib.ExitStack() as end:
        hosts = []
        for name in ("lab1", "lab2"):
            (tmp_path / name).mkdir()
            hosts.append(CephHost(tmp_path / name, name, ceph_pool))
            end.callback(hosts[-1].close)
        world = World(hosts[0], hosts[1], tmp_path)
        yield world
        world.end()


def test_a_guest_takes_its_image_along(world: World, ceph_pool: CephPool) -> None:
    pool = ceph_pool
    pool.rbd("create", f"{pool.name}/data", "--size", "64M")
    host, _, port = pool.monitor.rpartition(":")
    volume = RbdDisk(
        image=f"{pool.name}/data", target="vdb", monitors=[(host, int(port))], user=pool.user,
        serial="a-volume",
    )  # fmt: skip
    world.spec = msgspec.structs.replace(world.spec, disks=[*world.spec.disks, volume])
    world.start()
    server = world.spec.server_id
    GuestIo(world.source.lab, world.source.driver, server, "a-volume").does("write -P 0x11 0 64k")
    assert world.end_of_move() is world.target
    world.check_runs_on(world.target)
    there = GuestIo(world.target.lab, world.target.driver, server, "a-volume")
    there.does("read -P 0x11 0 64k")
    there.does("write -P 0x22 0 64k")
    wait_for(lambda: len(watchers(pool)) == 1, "the end of the source's watch", 60)
    world.target.driver.ensure_stopped(server, grace_s=0)
    world.target.driver.ensure_running(world.there)
    there.does("read -P 0x22 0 64k")


def watchers(pool: CephPool) -> list[object]:
    found = json.loads(pool.rbd("status", "--format", "json", f"{pool.name}/data"))
    return list(found["watchers"])
