"""What volumes in a Ceph pool do besides: clients that died, a cluster that is away, names half
changed by a host that died, chains, notes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from backend_bytes import MIB, bytes_of, opened, quiet, read, still, write
from ceph_cluster import CephCluster, CephPool

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.base import Known, StoreAway
from minicloud.volume.backends.disks import DiskFile
from minicloud.volume.backends.rbd import RbdBackend

pytestmark = pytest.mark.skipif(not shutil.which("qemu-io"), reason="needs qemu-utils")
Make = Callable[..., RbdBackend]


@pytest.fixture
def make(tmp_path: Path, ceph_pool: CephPool) -> Make:
    """Opens the backend anew, as a restarted daemon does."""
    pool = ceph_pool
    return partial(
        RbdBackend, tmp_path / "rbd", conf=pool.conf, user=pool.user, pool=pool.name, young_s=0.0
    )


@pytest.fixture
def backend(make: Make) -> RbdBackend:
    return make()


@pytest.fixture
def volume() -> str:
    return new_id()


def new_id() -> str:
    return str(uuid.uuid4())


def names(pool: CephPool) -> set[str]:
    return {*pool.rbd("ls", pool.name).split(), *pool.rbd("trash", "ls", pool.name).split()}


def nothing_known() -> Known:
    return Known(volumes=(), snapshots=())


# -- clients -------------------------------------------------------------------------------------
@contextlib.contextmanager
def client(backend: RbdBackend, volume: str, *, named: bool) -> Iterator[subprocess.Popen[str]]:
    """A QEMU that has written to the volume, whose command line names it or not."""
    _, where = backend.disk(volume).arguments()
    pipe = subprocess.PIPE
    words = ["--image-opts", where] if named else []
    with subprocess.Popen(["qemu-io", *words], stdin=pipe, stdout=pipe, text=True) as guest:
        assert guest.stdin is not None
        if not named:
            guest.stdin.write(f"open -o {where}\n")
            guest.stdin.flush()
            while not backend.is_written(volume):
                assert guest.poll() is None
        assert ask(guest, "write -P 1 0 4k").startswith("qemu-io> wrote")
        yield guest
        guest.stdin.close()


def ask(guest: subprocess.Popen[str], command: str) -> str:
    assert guest.stdin is not None
    assert guest.stdout is not None
    guest.stdin.write(f"{command}\n")
    guest.stdin.flush()
    answer = guest.stdout.readline().replace("qemu-io> qemu-io>", "qemu-io>")
    guest.stdout.readline()
    return answer


def test_who_is_dead_is_waited_for_no_longer(
    backend: RbdBackend, volume: str, ceph: CephCluster
) -> None:
    backend.ensure(volume, MIB)
    with client(backend, volume, named=True) as guest:
        guest.kill()
        guest.wait()
    (watcher,) = backend._cli.ask("status", backend._at(f"volume-{volume}"))["watchers"]
    backend.fence(volume)
    assert not backend.is_written(volume)
    assert watcher["address"] in ceph.ceph("osd blocklist ls")
    backend.fence(volume)
    assert bytes_of(backend.disk(volume), 1) == b"\x01"


def test_who_lives_is_not_fenced(backend: RbdBackend, volume: str) -> None:
    backend.ensure(volume, MIB)
    with client(backend, volume, named=True) as guest:
        backend.fence(volume)
        assert "wrote" in ask(guest, "write -P 2 0 4k")
    assert bytes_of(backend.disk(volume), 1) == b"\x02"


def test_a_guest_is_not_fenced_though_nobody_sees_it(backend: RbdBackend, volume: str) -> None:
    backend.ensure(volume, MIB)
    backend.open_to_guests(volume)
    with client(backend, volume, named=False) as guest:
        backend.fence(volume)
        backend.ensure_snapshot(new_id(), volume, still)
        assert backend.is_written(volume)
        assert "wrote" in ask(guest, "write -P 2 0 4k")
        with pytest.raises(HostProblem):
            backend.ensure_absent(volume)
    assert bytes_of(backend.disk(volume), 1) == b"\x02"


def test_a_clone_of_what_guests_had_open_is_nobodys(backend: RbdBackend, volume: str) -> None:
    moment, clone = new_id(), new_id()
    backend.ensure(volume, MIB)
    backend.open_to_guests(volume)
    backend.ensure_snapshot(moment, volume, still)
    backend.ensure_from(clone, moment, MIB)
    with client(backend, clone, named=True) as guest:
        guest.kill()
        guest.wait()
    backend.fence(clone)
    assert not backend.is_written(clone)


def test_a_snapshot_is_taken_below_who_writes(backend: RbdBackend, volume: str) -> None:
    moment = new_id()
    backend.ensure(volume, MIB)
    with client(backend, volume, named=True) as guest:
        backend.ensure_snapshot(moment, volume, still)
        assert "wrote" in ask(guest, "write -P 2 0 4k")
        assert bytes_of(backend.snapshot_disk(moment), 1) == b"\x01"
    assert bytes_of(backend.disk(volume), 1) == b"\x02"


# -- a cluster that is away ----------------------------------------------------------------------
def test_nobody_waits_for_long_where_the_cluster_is_away(
    backend: RbdBackend, volume: str, ceph: CephCluster
) -> None:
    backend.ensure(volume, MIB)
    ceph.stop("mon")
    try:
        for work in (
            lambda: backend.size(volume),
            lambda: backend.ensure(volume, 2 * MIB),
            lambda: backend.ensure_snapshot(new_id(), volume, still),
            lambda: backend.sweep(nothing_known),
            backend.capacity,
        ):
            with pytest.raises(StoreAway):
                work()
    finally:
        ceph.go_on()
    backend._cli._away_until = 0.0
    backend.ensure(volume, 2 * MIB)
    assert backend.size(volume) == 2 * MIB


# -- killed at any moment ------------------------------------------------------------------------
def test_a_replacement_that_was_interrupted_is_ended(
    backend: RbdBackend, volume: str, ceph_pool: CephPool
) -> None:
    """Its last step, the new name, is missing."""
    for end in (
        lambda: backend.ensure(volume, MIB),
        lambda: backend.sweep(lambda: Known(volumes={volume}, snapshots=())),
    ):
        waiting = f"volume-{new_id()}"
        backend.ensure(volume, MIB)
        write(backend, volume, b"whole")
        ceph_pool.rbd("mv", backend._at(f"volume-{volume}"), backend._at(waiting))
        new = f"new-{new_id()}"
        ceph_pool.rbd("mv", backend._at(waiting), backend._at(new))
        backend._note(new, f"volume-{volume}")
        end()
        assert names(ceph_pool) == {f"volume-{volume}"}
        assert read(backend, volume, 5) == b"whole"


def test_a_replacement_of_a_volume_that_is_deleted_goes(
    backend: RbdBackend, volume: str, ceph_pool: CephPool
) -> None:
    other = new_id()
    for each in (volume, other):
        new = f"new-{new_id()}"
        ceph_pool.rbd("create", "--size", "1M", backend._at(new))
        backend._note(new, f"volume-{each}")
    backend.ensure_absent(volume)
    assert len(names(ceph_pool)) == 1
    backend.sweep(nothing_known)
    assert names(ceph_pool) == set()


def test_what_is_on_its_way_is_left_to_who_makes_it(make: Make, ceph_pool: CephPool) -> None:
    with make()._new() as new:
        ceph_pool.rbd("create", "--size", "1M", f"{ceph_pool.name}/{new}")
        make().sweep(nothing_known)
        assert names(ceph_pool) == {new}
    make().sweep(nothing_known)
    assert names(ceph_pool) == set()


def rados(pool: CephPool, *words: str) -> None:
    argv = ["rados", "-c", pool.conf, "--id", pool.user, "-p", pool.name, *words]
    subprocess.run(argv, check=True, timeout=60)


def test_an_image_half_made_is_made_anew(
    backend: RbdBackend, volume: str, ceph_pool: CephPool
) -> None:
    backend.ensure(volume, MIB)
    made = backend._there(f"volume-{volume}")["id"]
    rados(ceph_pool, "rm", f"rbd_header.{made}")
    backend.ensure(volume, MIB)
    assert read(backend, volume, 5) == bytes(5)


@pytest.mark.parametrize("listed", [False, True])
def test_a_name_half_changed_is_changed(
    backend: RbdBackend, volume: str, ceph_pool: CephPool, listed: bool
) -> None:
    """Both names lead to the image; the pool lists the new one or the old one."""
    other = new_id()
    backend.ensure(other, MIB)
    write(backend, other, b"whole")
    old, new = f"new-{new_id()}", f"volume-{volume}"
    ceph_pool.rbd("mv", backend._at(f"volume-{other}"), backend._at(old))
    backend._note(old, new)
    rados(ceph_pool, "cp", f"rbd_id.{old}", f"rbd_id.{new}" if not listed else "kept")
    if listed:
        ceph_pool.rbd("mv", backend._at(old), backend._at(new))
        rados(ceph_pool, "cp", "kept", f"rbd_id.{old}")
    backend._rename(old, new)
    backend.sweep(lambda: Known(volumes={volume}, snapshots=()))
    assert names(ceph_pool) == {new}
    assert backend._info(old) is None
    assert read(backend, volume, 5) == b"whole"


def test_a_sweep_ends_a_change_of_names(
    backend: RbdBackend, volume: str, ceph_pool: CephPool
) -> None:
    other = new_id()
    backend.ensure(other, MIB)
    write(backend, other, b"whole")
    old, new = f"new-{new_id()}", f"volume-{volume}"
    ceph_pool.rbd("mv", backend._at(f"volume-{other}"), backend._at(old))
    backend._note(old, new)
    rados(ceph_pool, "cp", f"rbd_id.{old}", f"rbd_id.{new}")
    backend.sweep(lambda: Known(volumes={volume}, snapshots=()))
    assert names(ceph_pool) == {new}
    assert read(backend, volume, 5) == b"whole"


def test_two_at_once_replace_whole(make: Make, volume: str, tmp_path: Path) -> None:
    make().ensure(volume, MIB)
    start, problems = threading.Barrier(4), []

    def work(number: int) -> None:
        source = tmp_path / str(number)
        source.write_bytes(bytes([number]) * MIB)
        backend = make()
        start.wait()
        try:
            backend.ensure_content(volume, DiskFile(path=source, format="raw"), MIB)
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(each,)) for each in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    backend = make()
    assert len(set(read(backend, volume, MIB))) == 1
    assert backend._names() == [f"volume-{volume}"]


# -- upkeep --------------------------------------------------------------------------------------
def test_a_deep_volume_is_made_flat(backend: RbdBackend, volume: str, ceph_pool: CephPool) -> None:
    backend.ensure(volume, MIB)
    write(backend, volume, b"base")
    moments = [new_id() for _ in range(6)]
    for moment in moments:
        backend.ensure_snapshot(moment, volume, still)
        backend.revert(volume, moment, MIB)
    for moment in moments:
        backend.ensure_snapshot_absent(moment)
    assert len(names(ceph_pool)) > 1
    backend.compact(volume, quiet)
    backend.sweep(lambda: Known(volumes={volume}, snapshots=()))
    assert pool_lists(ceph_pool) == [f"volume-{volume}"]
    assert read(backend, volume, 4) == b"base"


def pool_lists(pool: CephPool) -> list[str]:
    return (pool.rbd("ls", pool.name) + pool.rbd("trash", "ls", pool.name)).splitlines()


def test_an_image_is_forgotten_and_its_volumes_stay(
    make: Make, volume: str, ceph_pool: CephPool, tmp_path: Path
) -> None:
    image, source = new_id(), tmp_path / "source"
    source.write_bytes(b"of an image" + bytes(MIB - 11))
    rows = Known(volumes={volume}, snapshots=())
    make().ensure_image(image, DiskFile(path=source, format="raw"))
    make().ensure_from(volume, image, MIB)
    make().sweep(lambda: rows)
    assert make().has_image(image)
    make(image_cache_s=0.0).sweep(lambda: rows)
    assert not make().has_image(image)
    assert read(make(), volume, 11) == b"of an image"
    make().ensure_image(image, DiskFile(path=source, format="raw"))
    make().ensure_absent(volume)
    assert pool_lists(ceph_pool) == [f"image-{image}"]


def test_zeroes_take_no_space(backend: RbdBackend, volume: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(32 * MIB) + b"end")
    backend.ensure_content(volume, DiskFile(path=source, format="raw"), 64 * MIB)
    (used,) = backend._cli.ask("du", backend._at(f"volume-{volume}"))["images"]
    assert used["used_size"] <= 4 * MIB
    assert read(backend, volume, 3, at=32 * MIB) == b"end"


def test_a_large_image_is_gone_at_once_and_freed_by_passes(
    make: Make, volume: str, ceph_pool: CephPool
) -> None:
    backend = make(remove_s=0)
    backend.ensure(volume, MIB)
    write(backend, volume, b"much")
    moment = new_id()
    backend.ensure_snapshot(moment, volume, still)
    backend.revert(volume, moment, MIB)
    assert read(backend, volume, 4) == b"much"
    backend.ensure_absent(volume)
    backend.ensure_snapshot_absent(moment)
    assert backend.size(volume) is None
    assert not ceph_pool.rbd("ls", ceph_pool.name)
    assert pool_lists(ceph_pool)
    # A tool that is killed holds the image for half a minute.
    other, give_up_at = make(), time.monotonic() + 120
    while pool_lists(ceph_pool):
        assert time.monotonic() < give_up_at
        other.sweep(nothing_known)
        time.sleep(0.5)


def test_the_trash_of_others_is_theirs(make: Make, ceph_pool: CephPool) -> None:
    backend = make()
    ceph_pool.rbd("create", "--size", "1M", backend._at("somebodys"))
    ceph_pool.rbd("trash", "mv", backend._at("somebodys"))
    backend.sweep(nothing_known)
    assert len(pool_lists(ceph_pool)) == 1


def test_an_image_with_snapshots_is_not_adopted(
    backend: RbdBackend, volume: str, ceph_pool: CephPool
) -> None:
    ceph_pool.rbd("create", "--size", "1M", backend._at("mine"))
    ceph_pool.rbd("snap", "create", backend._at("mine@precious"))
    with pytest.raises(HostProblem, match="snapshots"):
        backend.adopt(volume, "mine")
    assert backend.strangers() == {"mine": MIB}


def test_the_key_is_for_nobody_else(backend: RbdBackend, volume: str, tmp_path: Path) -> None:
    backend.ensure(volume, MIB)
    with opened(backend.disk(volume)):
        assert (tmp_path / "rbd").stat().st_mode & 0o077 == 0
        assert all(each.stat().st_mode & 0o077 == 0 for each in (tmp_path / "rbd").iterdir())
