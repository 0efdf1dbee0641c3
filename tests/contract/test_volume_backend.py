"""What every volume backend must do, whichever it is."""

from __future__ import annotations

import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from backend_bytes import MIB, bytes_of, io, opened, quiet, read, still, write
from ceph_cluster import CephCluster, CephPool

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.base import Backend, Known
from minicloud.volume.backends.disks import Disk, DiskFile, RbdImage
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.backends.rbd import RbdBackend

pytestmark = pytest.mark.skipif(not shutil.which("qemu-io"), reason="needs qemu-utils")


class Kind(NamedTuple):
    """A backend's store, empty at first."""

    make: Callable[..., Backend]
    """Opens the backend anew, as a restarted daemon does: ``young_s`` may be given."""
    stored: Callable[[], int]
    """How many things there are that take space: volumes, what they stand on, leftovers."""
    put: Callable[[str, bytes], object]
    """A person puts bytes there under a name, to be managed."""
    taken: Callable[[str], Disk]
    """What a person finds there under a name."""
    await_room: Callable[[], object]
    """The store takes a moment to tell how much room it has."""


def files(place: Path, request: pytest.FixtureRequest) -> Kind:
    data = place / "data"
    return Kind(
        make=lambda **options: FileBackend(data, **options),
        stored=lambda: len(list((data / "layers").iterdir())),
        put=lambda name, written: (data / "managed" / name).write_bytes(written),
        taken=lambda name: DiskFile(path=data / "managed" / name, format="raw"),
        await_room=lambda: None,
    )


def rbd(place: Path, request: pytest.FixtureRequest) -> Kind:
    cluster: CephCluster = request.getfixturevalue("ceph")
    pool: CephPool = request.getfixturevalue("ceph_pool")

    def image(name: str) -> RbdImage:
        return RbdImage(conf=pool.conf, user=pool.user, pool=pool.name, image=name)

    def put(name: str, written: bytes) -> None:
        pool.rbd("import", "-", f"{pool.name}/{name}", data=written)

    def stored() -> int:
        listed = pool.rbd("ls", pool.name) + pool.rbd("trash", "ls", pool.name)
        return len(listed.splitlines())

    return Kind(
        make=partial(RbdBackend, place / "rbd", conf=pool.conf, user=pool.user, pool=pool.name),
        stored=stored,
        put=put,
        taken=image,
        await_room=lambda: cluster.await_room(pool),
    )


KINDS = {"files": files, "rbd": rbd}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    return KINDS[request.param](tmp_path, request)


@pytest.fixture
def make(kind: Kind) -> Callable[..., Backend]:
    return kind.make


@pytest.fixture
def backend(kind: Kind) -> Backend:
    return kind.make()


@pytest.fixture
def volume() -> str:
    return str(uuid.uuid4())


def test_a_new_volume_has_its_size_and_reads_as_zero(backend: Backend, volume: str) -> None:
    assert backend.size(volume) is None
    backend.ensure(volume, 5 * MIB)
    assert backend.size(volume) == 5 * MIB
    assert read(backend, volume, 5 * MIB) == bytes(5 * MIB)


def test_making_it_again_keeps_what_was_written(make: Callable[..., Backend], volume: str) -> None:
    make().ensure(volume, MIB)
    write(make(), volume, b"precious")
    make().ensure(volume, MIB)
    assert read(make(), volume, 8) == b"precious"


def test_it_grows_and_never_shrinks(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    write(backend, volume, b"end", at=MIB - 3)
    backend.ensure(volume, 3 * MIB)
    assert backend.size(volume) == 3 * MIB
    assert read(backend, volume, 6, at=MIB - 3) == b"end\0\0\0"
    backend.ensure(volume, MIB)
    assert backend.size(volume) == 3 * MIB


def test_removing_is_repeatable(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    backend.ensure_absent(volume)
    backend.ensure_absent(volume)
    assert backend.size(volume) is None


def test_a_removed_volume_leaves_nothing_to_its_successor(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    write(backend, volume, b"secret")
    backend.ensure_absent(volume)
    backend.ensure(volume, MIB)
    assert read(backend, volume, 6) == bytes(6)


def test_volumes_are_apart(backend: Backend, volume: str) -> None:
    other = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    backend.ensure(other, 2 * MIB)
    backend.ensure_absent(volume)
    assert backend.size(other) == 2 * MIB


def test_many_at_once_make_one_volume(kind: Kind, backend: Backend, volume: str) -> None:
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        backend.ensure(volume, MIB)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.size(volume) == MIB
    assert kind.stored() == 1


def test_what_cannot_be_made_leaves_nothing(kind: Kind, backend: Backend, volume: str) -> None:
    with pytest.raises(HostProblem):
        backend.ensure(volume, 2**62)
    assert backend.size(volume) is None
    assert kind.stored() == 0


def test_a_sweep_takes_blank_leftovers_and_nothing_else(make: Callable[..., Backend]) -> None:
    backend = make(young_s=0.0)
    kept, blank, written = (str(uuid.uuid4()) for _ in range(3))
    for volume in (kept, blank, written):
        backend.ensure(volume, MIB)
    write(backend, written, b"somebody's")
    backend.sweep(lambda: Known(volumes={kept}, snapshots=()))
    assert backend.size(kept) == MIB
    assert backend.size(blank) is None
    assert backend.size(written) == MIB, "data is for a person to remove"


def test_a_sweep_spares_what_is_young(make: Callable[..., Backend], volume: str) -> None:
    backend = make(young_s=60.0)
    backend.ensure(volume, MIB)
    backend.sweep(lambda: Known(volumes=(), snapshots=()))
    assert backend.size(volume) == MIB


# -- what is frozen ------------------------------------------------------------------------------
def test_a_snapshot_keeps_what_there_was(make: Callable[..., Backend], volume: str) -> None:
    moment, later = str(uuid.uuid4()), str(uuid.uuid4())
    make().ensure(volume, MIB)
    write(make(), volume, b"before")
    make().ensure_snapshot(moment, volume, still)
    write(make(), volume, b"after!")
    make().ensure_snapshot(moment, volume, still)
    make().ensure_snapshot(later, volume, still)
    write(make(), volume, b"third!")
    assert bytes_of(make().snapshot_disk(moment), 6) == b"before"
    assert bytes_of(make().snapshot_disk(later), 6) == b"after!"
    assert read(make(), volume, 6) == b"third!"


def test_a_volume_of_a_snapshot_is_its_own(kind: Kind, backend: Backend, volume: str) -> None:
    moment, clone = str(uuid.uuid4()), str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"shared")
    backend.ensure_snapshot(moment, volume, still)
    backend.ensure_from(clone, moment, 2 * MIB)
    assert backend.size(clone) == 2 * MIB
    assert read(backend, clone, 6) == b"shared"
    write(backend, clone, b"mine!!")
    backend.ensure_from(clone, moment, 2 * MIB)
    assert read(backend, clone, 6) == b"mine!!"
    assert read(backend, volume, 6) == b"shared"
    assert bytes_of(backend.snapshot_disk(moment), 6) == b"shared"
    backend.ensure_snapshot_absent(moment)
    backend.ensure_absent(volume)
    assert read(backend, clone, 6) == b"mine!!", "what it stands on stays"
    backend.ensure_absent(clone)
    assert kind.stored() == 0


def test_a_clone_that_grew_shows_zeroes(backend: Backend, volume: str) -> None:
    moment, clone = str(uuid.uuid4()), str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"\xff" * 4096, at=MIB - 4096)
    backend.ensure_snapshot(moment, volume, still)
    backend.ensure_from(clone, moment, MIB)
    backend.ensure(clone, 2 * MIB)
    assert read(backend, clone, 4096, at=MIB) == bytes(4096)


def test_reverting_forgets_what_came_after(backend: Backend, volume: str) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"before")
    backend.ensure_snapshot(moment, volume, still)
    backend.ensure(volume, 2 * MIB)
    write(backend, volume, b"after!")
    backend.revert(volume, moment, 2 * MIB)
    assert read(backend, volume, 6) == b"before"
    assert backend.size(volume) == 2 * MIB
    write(backend, volume, b"again!")
    assert bytes_of(backend.snapshot_disk(moment), 6) == b"before"


def test_compacting_keeps_what_there_is(backend: Backend, volume: str) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"base")
    backend.ensure_snapshot(moment, volume, still)
    write(backend, volume, b"top", at=4096)
    backend.compact(volume, quiet)
    backend.ensure_snapshot_absent(moment)
    backend.compact(volume, quiet)
    assert read(backend, volume, 4) == b"base"
    assert read(backend, volume, 3, at=4096) == b"top"


# -- guests that open the volume for themselves ---------------------------------------------------
def test_what_is_open_shows(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    assert not backend.is_written(volume)
    with opened(backend.open_to_guests(volume)):
        assert backend.is_written(volume)
    assert not backend.is_written(volume)
    backend.ensure_snapshot(str(uuid.uuid4()), volume, still)
    with opened(backend.disk(volume)):
        assert backend.is_written(volume)
    with pytest.raises(HostProblem):
        backend.is_written(str(uuid.uuid4()))


# -- images, and bytes of others -------------------------------------------------------------------
def test_an_image_is_kept_for_many_volumes(backend: Backend, volume: str, tmp_path: Path) -> None:
    image, other = str(uuid.uuid4()), str(uuid.uuid4())
    source = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", source, "1M"], check=True)
    io(DiskFile(path=source, format="qcow2"), "write -P 0x42 0 4k")
    assert not backend.has_image(image)
    backend.ensure_image(image, DiskFile(path=source, format="qcow2"))
    source.unlink()
    for each in (volume, other):
        backend.ensure_from(each, image, 2 * MIB)
        assert read(backend, each, 4) == b"BBBB"
    write(backend, volume, b"mine")
    assert read(backend, other, 4) == b"BBBB"
    with pytest.raises(HostProblem):
        backend.ensure_from(str(uuid.uuid4()), str(uuid.uuid4()), MIB)


def test_content_takes_the_place_of_what_was_there(
    kind: Kind, backend: Backend, volume: str, tmp_path: Path
) -> None:
    source = tmp_path / "content"
    source.write_bytes(b"restored" + bytes(MIB - 8))
    backend.ensure(volume, MIB)
    write(backend, volume, b"old", at=4096)
    backend.ensure_content(volume, DiskFile(path=source, format="raw"), 2 * MIB)
    assert read(backend, volume, 8) == b"restored"
    assert read(backend, volume, 3, at=4096) == bytes(3)
    assert backend.size(volume) == 2 * MIB
    assert kind.stored() == 1


def test_strangers_come_in_and_go_out(kind: Kind, backend: Backend, volume: str) -> None:
    kind.put("old-disk", b"of a person" + bytes(MIB - 11))
    assert backend.strangers() == {"old-disk": MIB}
    backend.adopt(volume, "old-disk")
    backend.adopt(volume, "old-disk")
    assert backend.strangers() == {}
    assert read(backend, volume, 11) == b"of a person"
    backend.ensure_snapshot(str(uuid.uuid4()), volume, still)
    name = backend.release(volume)
    assert backend.release(volume) == name
    assert backend.size(volume) is None
    assert bytes_of(kind.taken(name), 11) == b"of a person"
    with pytest.raises(HostProblem):
        backend.adopt(str(uuid.uuid4()), "nothing")


def test_the_disk_has_room(kind: Kind, backend: Backend) -> None:
    kind.await_room()
    room = backend.capacity()
    assert 0 < room.free_bytes <= room.total_bytes
