"""The stories of ``test_volume_effects`` on volumes in Ceph, where each command is an effect."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ceph_cluster import CephPool
from test_volume_effects import STORIES, tell
from volume_daemon import Place, a_place

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
