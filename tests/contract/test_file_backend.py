"""What volumes as files do besides: modes, layers, overwriting."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from backend_bytes import MIB, bytes_of, opened, quiet, read, reading, still, write

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.volume.backends import qemu_img
from minicloud.volume.backends.base import Known, Merge
from minicloud.volume.backends.disks import DiskFile
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.scratch import Scratch

pytestmark = pytest.mark.skipif(not shutil.which("qemu-io"), reason="needs qemu-utils")
OUR_GROUP = grp.getgrgid(os.getegid()).gr_name
Make = Callable[..., FileBackend]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Opens the backend anew, as a restarted daemon does."""
    return partial(FileBackend, tmp_path / "data")


@pytest.fixture
def backend(make: Make) -> FileBackend:
    return make()


@pytest.fixture
def volume() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def layers(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: list((tmp_path / "data" / "layers").iterdir())


def test_nobody_else_can_read_a_volume(backend: FileBackend, volume: str) -> None:
    backend.ensure(volume, MIB)
    path = backend.disk(volume).path
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_a_sweep_takes_files_that_nothing_leads_to(make: Make, volume: str) -> None:
    backend = make(young_s=0.0)
    backend.ensure(volume, MIB)
    nobodys = backend.disk(volume).path.with_name(f"{uuid.uuid4()}.raw")
    nobodys.write_bytes(b"left by a kill")
    backend.sweep(lambda: Known(volumes={volume}, snapshots=()))
    assert backend.size(volume) == MIB
    assert not nobodys.exists()


def test_scratch_files_go_with_the_process_that_made_them(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")
    scratch.sweep()
    under_way = scratch.new()
    under_way.touch()
    half_made = tmp_path / "scratch" / "of the dead" / "x.part"
    half_made.parent.mkdir()
    half_made.touch()
    (tmp_path / "scratch" / "of an older version.part").touch()
    for each in (scratch, Scratch(tmp_path / "scratch")):
        each.sweep()
        assert list((tmp_path / "scratch").rglob("*.part")) == [under_way]
    with scratch.file() as path:
        path.touch()
    assert not path.exists()


def test_whoever_writes_is_told_before_the_snapshot_is_there(
    backend: FileBackend, volume: str
) -> None:
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


def test_a_snapshot_waits_until_nobody_writes_below(backend: FileBackend, volume: str) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    with opened(backend.disk(volume)):
        with pytest.raises(Unavailable):
            backend.ensure_snapshot(moment, volume, still)
        with pytest.raises(HostProblem):
            backend.snapshot_disk(moment)
    backend.ensure_snapshot(moment, volume, still)
    backend.snapshot_disk(moment)


def test_a_snapshot_half_taken_ends_below_one_taken_since(
    backend: FileBackend, volume: str
) -> None:
    first, second = (str(uuid.uuid4()) for _ in range(2))
    backend.ensure(volume, MIB)
    write(backend, volume, b"one")

    def fails(_disk: DiskFile) -> None:
        raise HostProblem(reason="killed")

    with pytest.raises(HostProblem):
        backend.ensure_snapshot(first, volume, fails)
    backend.ensure_snapshot(second, volume, still)
    write(backend, volume, b"two")
    backend.ensure_snapshot(str(uuid.uuid4()), volume, still)
    assert not backend.mergeable([volume]), "nothing is written into what is to be kept"
    backend.ensure_snapshot(first, volume, still)
    assert read(backend, volume, 3) == b"two"
    for moment in (first, second):
        assert bytes_of(backend.snapshot_disk(moment), 3) == b"one"


def test_compacting_gives_back_the_depth(
    backend: FileBackend, volume: str, layers: Callable[[], list[Path]]
) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"base")
    backend.ensure_snapshot(moment, volume, still)
    write(backend, volume, b"top", at=4096)
    backend.ensure(volume, 2 * MIB)
    backend.compact(volume, quiet)
    assert len(layers()) == 2, "the snapshot needs what is below"
    backend.ensure_snapshot_absent(moment)
    backend.compact(volume, quiet)
    assert len(layers()) == 1
    assert read(backend, volume, 4) == b"base"
    assert read(backend, volume, 3, at=4096) == b"top"
    assert backend.size(volume) == 2 * MIB


def test_what_is_open_is_neither_merged_nor_made_larger(
    backend: FileBackend, volume: str, layers: Callable[[], list[Path]]
) -> None:
    moment = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    write(backend, volume, b"base")
    backend.ensure_snapshot(moment, volume, still)
    backend.ensure_snapshot_absent(moment)
    with opened(backend.disk(volume)):
        backend.compact(volume, quiet)
        with pytest.raises(HostProblem):
            backend.grow(volume, 2 * MIB, quiet)
    assert len(layers()) == 2
    assert backend.size(volume) == MIB
    backend.grow(volume, 2 * MIB, quiet)
    backend.compact(volume, quiet)
    assert len(layers()) == 1
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


def test_what_is_deleted_is_overwritten_where_asked(make: Make, volume: str) -> None:
    backend = make(wipe=True)
    backend.ensure(volume, MIB)
    write(backend, volume, b"secret")
    with backend.disk(volume).path.open("rb") as still_open:
        backend.ensure_absent(volume)
        assert still_open.read(6) == bytes(6)


def test_a_volume_takes_no_space_until_it_is_written(backend: FileBackend, volume: str) -> None:
    backend.ensure(volume, 1024 * MIB)
    assert backend.disk(volume).path.stat().st_blocks * 512 < MIB


@pytest.fixture
def moments(backend: FileBackend, volume: str) -> list[str]:
    """Snapshots of a volume that says 0 to 3 at each MiB, and the last number at its begin."""
    found = []
    backend.ensure(volume, 4 * MIB)
    for number in range(4):
        write(backend, volume, b"%d" % number, at=number * MIB)
        write(backend, volume, b"%d" % number, at=4096)
        found.append(str(uuid.uuid4()))
        backend.ensure_snapshot(found[-1], volume, still)
    return found


def commit(merge: Merge | None) -> None:
    """What who has the volume open does, here while nobody has."""
    if merge is not None:
        qemu_img.commit(merge.upper)
        lower = ["-F", merge.lower.format, "-b", merge.lower.name]
        subprocess.run(
            ["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", *lower, str(merge.above.path)],
            check=True,
        )


def test_layers_that_nothing_else_needs_are_merged_below_the_top(
    backend: FileBackend, volume: str, moments: list[str], layers: Callable[[], list[Path]]
) -> None:
    other = str(uuid.uuid4())
    assert backend.mergeable([volume, other]) == []
    backend.ensure_snapshot_absent(moments[0])
    assert backend.mergeable([volume]) == [], "what is above the only one is a snapshot's"
    backend.ensure_from(other, moments[2], 4 * MIB)
    for moment in moments[1:3]:
        backend.ensure_snapshot_absent(moment)
    depths = []
    while backend.mergeable([volume]):
        backend.merge(volume, commit)
        depths.append(backend.depth(volume))
    assert depths == [4], "two stand on the third"
    assert read(backend, other, 1, at=4096) == b"2"
    backend.ensure_absent(other)
    while backend.mergeable([volume]):
        backend.merge(volume, commit)
    assert backend.depth(volume) == 3
    assert len(layers()) == 3
    for number in range(4):
        assert read(backend, volume, 1, at=number * MIB) == b"%d" % number
    assert bytes_of(backend.snapshot_disk(moments[3]), 1, at=4096) == b"3"


def test_what_was_merged_stays_while_somebody_reads_it(
    make: Make, volume: str, moments: list[str], layers: Callable[[], list[Path]]
) -> None:
    backend = make(young_s=0.0)
    for moment in moments:
        backend.ensure_snapshot_absent(moment)
    asked: list[Merge | None] = []
    backend.merge(volume, asked.append)
    (merge,) = asked
    assert merge is not None
    with reading(merge.upper):
        backend.merge(volume, commit)
        backend.sweep(lambda: Known(volumes={volume}, snapshots=()))
        assert merge.upper.path in layers()
        assert backend.mergeable([volume]) == [volume]
        backend.merge(volume, asked.append)
        assert asked[-1] is None, "the layer below is not needed by one alone"
    backend.merge(volume, asked.append)
    assert merge.upper.path not in layers()
    backend.merge(volume, asked.append)
    assert asked[-1] not in (None, merge)


def test_a_volume_in_use_is_crowded_while_layers_can_be_merged(
    backend: FileBackend, volume: str
) -> None:
    backend.ensure(volume, MIB)
    moments = [str(uuid.uuid4()) for _ in range(15)]
    late, begun = str(uuid.uuid4()), str(uuid.uuid4())
    for moment in moments:
        assert not backend.is_crowded(volume, moment)
        backend.ensure_snapshot(moment, volume, still)
    with opened(backend.disk(volume)):
        assert not backend.is_crowded(volume, late), "all are needed"
        with pytest.raises(Unavailable):
            backend.ensure_snapshot(begun, volume, still)
    for moment in moments[:2]:
        backend.ensure_snapshot_absent(moment)
    assert not backend.is_crowded(volume, late), "nobody has it"
    with opened(backend.disk(volume)):
        assert backend.is_crowded(volume, late)
        assert not backend.is_crowded(volume, begun)
        assert not backend.is_crowded(volume, moments[2])
