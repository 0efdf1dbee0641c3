"""What every volume backend must do, whichever it is."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.base import Backend
from minicloud.volume.backends.files import FileBackend

MIB = 1024**2
Make = Callable[..., Backend]


@pytest.fixture(params=["files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the backend anew, as a restarted daemon does."""
    return lambda **options: {"files": FileBackend}[request.param](tmp_path / "data", **options)


@pytest.fixture
def backend(make: Make) -> Backend:
    return make()


@pytest.fixture
def volume() -> str:
    return str(uuid.uuid4())


def write(backend: Backend, volume: str, data: bytes, at: int = 0) -> None:
    with backend.path(volume).open("r+b") as file:
        file.seek(at)
        file.write(data)


def read(backend: Backend, volume: str, size: int, at: int = 0) -> bytes:
    with backend.path(volume).open("rb") as file:
        file.seek(at)
        return file.read(size)


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
    assert len(list(backend.path(volume).parent.iterdir())) == 1


def test_what_cannot_be_made_leaves_nothing(backend: Backend, volume: str) -> None:
    with pytest.raises(HostProblem):
        backend.ensure(volume, 2**62)
    assert backend.size(volume) is None
    assert list(backend.path(volume).parent.iterdir()) == []


def test_nobody_else_can_read_a_volume(backend: Backend, volume: str) -> None:
    backend.ensure(volume, MIB)
    path = backend.path(volume)
    assert path.parent.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_a_sweep_takes_blank_leftovers_and_nothing_else(make: Make) -> None:
    backend = make(young_s=0.0)
    kept, blank, written = (str(uuid.uuid4()) for _ in range(3))
    for volume in (kept, blank, written):
        backend.ensure(volume, MIB)
    write(backend, written, b"somebody's")
    half_made = backend.path(blank).with_name(f"{blank}x1.new")
    half_made.touch()
    strange = backend.path(blank).with_name("notes.txt")
    strange.touch()
    backend.sweep(lambda: {kept})
    assert backend.size(kept) == MIB
    assert backend.size(blank) is None
    assert backend.size(written) == MIB, "data is for a person to remove"
    assert not half_made.exists()
    assert strange.exists()


def test_a_sweep_spares_what_is_young(make: Make, volume: str) -> None:
    backend = make(young_s=60.0)
    backend.ensure(volume, MIB)
    backend.path(volume).with_name("a.new").touch()
    backend.sweep(set)
    assert backend.size(volume) == MIB
    assert backend.path(volume).with_name("a.new").exists()


def test_a_volume_takes_no_space_until_it_is_written(backend: Backend, volume: str) -> None:
    backend.ensure(volume, 1024 * MIB)
    assert backend.path(volume).stat().st_blocks * 512 < MIB
