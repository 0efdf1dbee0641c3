"""The stories of ``test_volume_effects`` on volumes in Ceph, where each command is an effect."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ceph_cluster import CephPool
from test_volume_effects import (
    STORIES,
    assert_agreed,
    clear,
    recovered,
    struck,
    tell,
    volume_of,
    with_data,
)
from volume_daemon import CTX, Daemon, Place, a_place, qemu_io, reads

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon"
)
EVERY = int(os.environ.get("MINICLOUD_KILL_EVERY", "7"))
"""As in ``test_volume_effects``, of more effects."""
CASES = [
    ("restore", "service"),
    ("retype", "service"),
    ("extend above a snapshot", "all"),
    ("revert", "service"),
    ("delete with snapshots", "service"),
    ("snapshot", "exporters"),
    ("snapshot", "all"),
    ("clone", "service"),
]


@pytest.fixture
def place(tmp_path: Path, ceph_pool: CephPool) -> Iterator[Place]:
    with a_place(tmp_path, ceph_pool) as place:
        yield place


@pytest.mark.parametrize(("name", "victims"), CASES)
def test_nothing_is_lost_or_left(place: Place, name: str, victims: str) -> None:
    tell(place, STORIES[name], victims, EVERY)


def test_a_guest_that_has_its_volume_still_is_cut_off(place: Place) -> None:
    at = 1
    while True:
        daemon = place.daemon()
        volume = str(with_data(daemon)["volume"])
        url = daemon.attach_file(volume)
        more = struck(place, at, "service", lambda daemon, volume=volume: take(daemon, volume))
        daemon = recovered(place)
        begun = at > 1
        assert volume_of(daemon, volume).status == ("available" if begun else "in-use")
        assert ("failed" in qemu_io(url, "write -P 0x22 0 64k")) is begun
        daemon.guests.close(volume)
        assert reads(daemon.backend.disk(volume), 0x11 if begun else 0x22)
        clear(daemon)
        assert_agreed(place, daemon)
        if not more:
            break
        at += EVERY
    assert at > 4, "the story has effects"


def take(daemon: Daemon, volume: str) -> None:
    """Away from its guest, which does not let go."""
    (attachment,) = volume_of(daemon, volume).attachments
    daemon.attachments.delete(CTX, attachment.id)
