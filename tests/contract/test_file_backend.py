"""What volumes as files do besides: modes, layers, overwriting."""

from __future__ import annotations

import grp
import os
import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from backend_bytes import MIB, bytes_of, opened, quiet, read, still, write

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.domain.ids import derive
from minicloud.volume.backends import qemu_img
from minicloud.volume.backends.base import Known
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
