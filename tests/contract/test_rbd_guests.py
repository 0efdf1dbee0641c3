"""Images of Ceph that guests open for themselves, and from which they are cut off."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import ceph_cluster
import pytest
from backend_bytes import MIB, opened, read, write
from ceph_cluster import CephPool

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.rbd import RbdBackend

pytestmark = pytest.mark.skipif(bool(ceph_cluster.missing()), reason=ceph_cluster.missing())


@pytest.fixture
def backend(ceph_pool: CephPool, tmp_path: Path) -> RbdBackend:
    pool = ceph_pool
    return RbdBackend(tmp_path / "rbd", conf=pool.conf, user=pool.user, pool=pool.name)


@pytest.fixture
def volume(backend: RbdBackend) -> str:
    volume = str(uuid.uuid4())
    backend.ensure(volume, MIB)
    return volume


@pytest.fixture
def guest(backend: RbdBackend, volume: str) -> Iterator[subprocess.Popen[str]]:
    """A QEMU that has the volume open, and does what it is told on its standard input."""
    words = ["qemu-io", *backend.open_to_guests(volume).arguments()]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as it:
        assert it.stdout is not None
        assert "wrote" in told(it, "write -P 0x11 0 4k")
        it.stdout.readline()
        yield it
        it.kill()


def told(guest: subprocess.Popen[str], command: str) -> str:
    """The first line of the answer."""
    assert guest.stdin is not None and guest.stdout is not None
    guest.stdin.write(f"{command}\n")
    guest.stdin.flush()
    return guest.stdout.readline()


def test_a_guest_that_has_it_still_is_cut_off(
    backend: RbdBackend, volume: str, guest: subprocess.Popen[str]
) -> None:
    backend.close_to_guests(volume, lambda: False)
    assert backend.is_written(volume), "somebody else is to have it"
    backend.close_to_guests(volume, lambda: True)
    assert not backend.is_written(volume)
    assert "failed" in told(guest, "write -P 0x22 0 4k")
    assert read(backend, volume, 4) == b"\x11" * 4
    write(backend, volume, b"next")
    assert "failed" in told(guest, "write -P 0x33 0 4k")
    assert read(backend, volume, 4) == b"next"


def test_what_is_closed_may_be_closed_again(backend: RbdBackend, volume: str) -> None:
    with opened(backend.open_to_guests(volume)):
        pass
    for _ in range(2):
        backend.close_to_guests(volume, lambda: True)
    with opened(backend.open_to_guests(volume)):
        assert backend.is_written(volume)
    backend.ensure_absent(volume)
    with pytest.raises(HostProblem):
        backend.close_to_guests(volume, lambda: True)
