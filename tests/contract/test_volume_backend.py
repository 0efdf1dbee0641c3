"""What every volume backend must do, whichever it is."""

from __future__ import annotations

import contextlib
import grp
import os
import re
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import derive
from minicloud.volume.backends import qemu_img
from minicloud.volume.backends.base import Backend, DiskFile, Known
from minicloud.volume.backends.files import FileBackend

pytestmark = pytest.mark.skipif(not shutil.which("qemu-io"), reason="needs qemu-utils")
MIB = 1024**2
Make = Callable[..., Backend]


OUR_GROUP = grp.getgrgid(os.getegid()).gr_name
KINDS: Mapping[str, Make] = {
    "exported": FileBackend,
    "opened by guests": partial(FileBackend, group=OUR_GROUP),
}


@pytest.fixture(params=list(KINDS))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the backend anew, as a restarted daemon does."""
    return lambda **options: KINDS[request.param](tmp_path / "data", **options)


@pytest.fixture
def backend(make: Make) -> Backend:
    return make()


@pytest.fixture
def volume() -> str:
    return str(uuid.uuid4())


def write(backend: Backend, volume: str, data: bytes, at: int = 0) -> None:
    with tempfile.NamedTemporaryFile() as source:
        source.write(data)
        source.flush()
        io(backend.disk(volume), f"write -s {source.name} {at} {len(data)}")


def read(backend: Backend, volume: str, size: int, at: int = 0) -> bytes:
    return bytes_of(backend.disk(volume), size, at)


def bytes_of(disk: DiskFile, size: int, at: int = 0) -> bytes:
    shown = io(disk, f"read -v {at} {size}")
    rows = re.findall(r"^[0-9a-f]{8}:  ((?:[0-9a-f]{2} )+)", shown, re.MULTILINE)
    return bytes.fromhex("".join(rows))


def io(disk: DiskFile, command: str) -> str:
    done = subprocess.run(
        ["qemu-io", "-f", disk.format, "-c", command, str(disk.path)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "error" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def opened(disk: DiskFile) -> Iterator[None]:
    """Some QEMU has the volume open for writing."""
    words = ["qemu-io", "-f", disk.format, str(disk.path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as guest:
        assert guest.stdin is not None
        assert guest.stdout is not None
        guest.stdin.write("length\n")
        guest.stdin.flush()
        assert "iB" in guest.stdout.readline()
        yield
        guest.stdin.close()


def layers(backend: Backend) -> list[Path]:
    return list((backend.scratch().parents[1] / "layers").iterdir())


def quiet(work: Callable[[], None]) -> None:
    work()


def still(_disk: DiskFile) -> None:
    """Nobody has the volume open."""


def test_a_new_volume_has_its_size_and_reads_as_zero(backend: Backend, volume: str) -> None:
    assert backend.size(volume) is None
    backend.ensure(volume, 5 * MIB)
    assert backend.size(volume) == 5 * MIB
    assert read(backend, volume, 5 * MIB) == bytes(5 * MIB)


def test_making_it_again_keeps_what_was_written(make: Make, volume: str) -> None:
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


def test_many_at_once_make_one_volume(backend: Backend, volume: str) -> None:
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
    assert len(layers(backend)) == 1


def test_what_cannot_be_made_leaves_nothing(backend: Backend, volume: str) -> None:
    with pytest.raises(HostProblem):
        backend.ensure(volume, 2**62)
    assert backend.size(volume) is None
    assert layers(backend) == []


def test_nobody_else_can_read_a_volume(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    path = backend.disk(volume).path
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_a_sweep_takes_blank_leftovers_and_nothing_else(make: Make) -> None:
    backend = make(young_s=0.0)
    kept, blank, written = (str(uuid.uuid4()) for _ in range(3))
    for volume in (kept, blank, written):
        backend.ensure(volume, MIB)
    write(backend, written, b"somebody's")
    half_made = backend.scratch().with_name("of the dead") / "x.part"
    half_made.parent.mkdir()
    half_made.touch()
    under_way = backend.scratch() / "y.part"
    under_way.touch()
    nobodys = backend.disk(kept).path.with_name(f"{uuid.uuid4()}.raw")
    nobodys.write_bytes(b"left by a kill")
    backend.sweep(lambda: Known(volumes={kept}, snapshots=()))
    assert backend.size(kept) == MIB
    assert backend.size(blank) is None
    assert backend.size(written) == MIB, "data is for a person to remove"
    assert not half_made.parent.exists()
    assert under_way.exists()
    assert not nobodys.exists()


def test_a_sweep_spares_what_is_young(make: Make, volume: str) -> None:
    backend = make(young_s=60.0)
    backend.ensure(volume, MIB)
    backend.sweep(lambda: Known(volumes=(), snapshots=()))
    assert backend.size(volume) == MIB


# -- what is frozen ------------------------------------------------------------------------------
def test_a_snapshot_keeps_what_there_was(make: Make, volume: str) -> None:
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


def test_a_volume_of_a_snapshot_is_its_own(backend: Backend, volume: str) -> None:
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
    assert layers(backend) == []


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


def test_whoever_writes_is_told_before_the_snapshot_is_there(backend: Backend, volume: str) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    before = backend.disk(volume)

    def switch(disk: DiskFile) -> None:
        assert disk == backend.disk(volume) != before
        with pytest.raises(HostProblem):
            backend.snapshot_disk(moment)
        raise HostProblem(reason="the exporter does not answer")

    with pytest.raises(HostProblem):
        backend.ensure_snapshot(moment, volume, switch)
    write(backend, volume, b"later")
    backend.ensure_snapshot(moment, volume, still)
    assert backend.snapshot_disk(moment) == before


def test_a_snapshot_half_taken_ends_below_one_taken_since(backend: Backend, volume: str) -> None:
    first, second, late = (str(uuid.uuid4()) for _ in range(3))
    backend.ensure(volume, MIB)
    write(backend, volume, b"one")

    def fails(_disk: DiskFile) -> None:
        raise HostProblem(reason="killed")

    with pytest.raises(HostProblem):
        backend.ensure_snapshot(first, volume, fails)
    backend.ensure_snapshot(second, volume, still)
    write(backend, volume, b"two")
    backend.ensure_snapshot(first, volume, still)
    assert read(backend, volume, 3) == b"two"
    for moment in (first, second):
        assert bytes_of(backend.snapshot_disk(moment), 3) == b"one"

    # Killed before the volume's link moved: the layer is there, and grew too small since.
    backend.ensure(late, MIB)
    stale = backend.disk(late).path.with_name(f"{derive('layer-after', late)}.qcow2")
    qemu_img.create_overlay(stale, backend.disk(late), MIB)
    backend.ensure(late, 2 * MIB)
    backend.ensure_snapshot(late, late, still)
    assert backend.size(late) == 2 * MIB


def test_compacting_gives_back_the_depth(backend: Backend, volume: str) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"base")
    backend.ensure_snapshot(moment, volume, still)
    write(backend, volume, b"top", at=4096)
    backend.ensure(volume, 2 * MIB)
    backend.compact(volume, quiet)
    assert len(layers(backend)) == 2, "the snapshot needs what is below"
    backend.ensure_snapshot_absent(moment)
    backend.compact(volume, quiet)
    assert len(layers(backend)) == 1
    assert read(backend, volume, 4) == b"base"
    assert read(backend, volume, 3, at=4096) == b"top"
    assert backend.size(volume) == 2 * MIB


# -- guests that open the file -------------------------------------------------------------------
def test_what_is_open_shows(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    assert not backend.is_written(volume)
    with opened(backend.open_to_guests(volume)):
        assert backend.is_written(volume)
    assert not backend.is_written(volume)
    backend.ensure_snapshot(str(uuid.uuid4()), volume, still)
    top = backend.disk(volume)
    with opened(top):
        assert backend.is_written(volume)
        assert not backend.is_written_below(top)
    with pytest.raises(HostProblem):
        backend.is_written(str(uuid.uuid4()))


def test_what_is_open_is_neither_merged_nor_made_larger(backend: Backend, volume: str) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"base")
    backend.ensure_snapshot(moment, volume, still)
    backend.ensure_snapshot_absent(moment)
    with opened(backend.disk(volume)):
        backend.compact(volume, quiet)
        with pytest.raises(HostProblem):
            backend.grow(volume, 2 * MIB, quiet)
    assert len(layers(backend)) == 2
    assert backend.size(volume) == MIB
    backend.grow(volume, 2 * MIB, quiet)
    backend.compact(volume, quiet)
    assert len(layers(backend)) == 1
    assert read(backend, volume, 4) == b"base"


def test_guests_may_write_the_volumes_own_file_alone(tmp_path: Path, volume: str) -> None:
    backend = FileBackend(tmp_path / "data", group=OUR_GROUP)
    backend.ensure(volume, MIB)
    first = backend.open_to_guests(volume).path
    assert mode(first) == 0o660
    assert (mode(first.parent), mode(tmp_path / "data")) == (0o710, 0o710)
    seen = []
    backend.ensure_snapshot(str(uuid.uuid4()), volume, lambda disk: seen.append(mode(disk.path)))
    second = backend.disk(volume).path
    assert (seen, mode(first), mode(second)) == ([0o660], 0o640, 0o660)
    assert backend.open_to_guests(volume).path == second
    assert (mode(first), mode(second)) == (0o640, 0o660)
    write(backend, volume, b"of the service")
    other = str(uuid.uuid4())
    backend.ensure(other, MIB)
    assert mode(backend.disk(other).path) == 0o600


def test_a_group_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no group"):
        FileBackend(tmp_path / "data", group="no-such-group")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


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
    backend: Backend, volume: str, tmp_path: Path
) -> None:
    source = tmp_path / "content"
    source.write_bytes(b"restored" + bytes(MIB - 8))
    backend.ensure(volume, MIB)
    write(backend, volume, b"old", at=4096)
    backend.ensure_content(volume, DiskFile(path=source, format="raw"), 2 * MIB)
    assert read(backend, volume, 8) == b"restored"
    assert read(backend, volume, 3, at=4096) == bytes(3)
    assert backend.size(volume) == 2 * MIB
    assert len(layers(backend)) == 1


def test_files_come_in_and_go_out(backend: Backend, volume: str) -> None:
    managed = backend.scratch().parents[1] / "managed"
    (managed / "old-disk").write_bytes(b"of a person" + bytes(MIB - 11))
    assert backend.strangers() == {"old-disk": MIB}
    backend.adopt(volume, "old-disk")
    backend.adopt(volume, "old-disk")
    assert backend.strangers() == {}
    assert read(backend, volume, 11) == b"of a person"
    backend.ensure_snapshot(str(uuid.uuid4()), volume, still)
    name = backend.release(volume)
    assert backend.release(volume) == name
    assert backend.size(volume) is None
    assert (managed / name).read_bytes()[:11] == b"of a person"
    with pytest.raises(HostProblem):
        backend.adopt(str(uuid.uuid4()), "nothing")


def test_what_is_deleted_is_overwritten_where_asked(make: Make, volume: str) -> None:
    backend = make(wipe=True)
    backend.ensure(volume, MIB)
    write(backend, volume, b"secret")
    with backend.disk(volume).path.open("rb") as still_open:
        backend.ensure_absent(volume)
        assert still_open.read(6) == bytes(6)


def test_the_disk_has_room(backend: Backend) -> None:
    room = backend.capacity()
    assert 0 < room.free_bytes <= room.total_bytes


def test_a_volume_takes_no_space_until_it_is_written(backend: Backend, volume: str) -> None:
    backend.ensure(volume, 1024 * MIB)
    assert backend.disk(volume).path.stat().st_blocks * 512 < MIB
