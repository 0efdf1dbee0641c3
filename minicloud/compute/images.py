"""Base images of this host: fetched once, however many launches want one at the same time, and
removed when no disk here has lain on one for long.

A base that is removed under a disk would be the end of its server. So a base goes only where three
things hold, looked at in this order: no operation that is under way has asked for it; no disk on
this host lies on it; and nobody has asked for it since the first look. An operation asks before it
makes a disk and lets go when it has ended, so a disk that the second look came too early for is
one that the first or the third look is about.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from minicloud.client.image import Image, ImageClient
from minicloud.compute.storage import Storage
from minicloud.kit import clock

LOG = logging.getLogger(__name__)
_QEMU_FORMATS = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}


class ImageCache:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._held: dict[str, set[str]] = {}
        """Server id -> images that its operation has asked for."""
        self._wanted: set[str] = set()
        """Images asked for since ``remove_unused`` began."""

    def ensure(self, image: Image, client: ImageClient, *, server_id: str = "") -> bool:
        """The base image is on this host; True when it had to be fetched for it.

        Size and sha512 are checked as it arrives; the format is what the image service found
        in it, and a file that refers to others is refused when it is flattened. ``server_id``: it
        stays until ``release``.
        """
        base = self._storage.base_image(image.id)
        with self._lock:
            if server_id:
                self._held.setdefault(server_id, set()).add(image.id)
            self._wanted.add(image.id)
            if base.exists():
                _touch(base)
                return False
            mine = self._busy.setdefault(image.id, threading.Lock())
        with mine:
            if base.exists():
                return False
            download = base.with_suffix(".download")
            try:
                client.image_download(image.id, download, image)
                self._storage.flatten(download, _qemu_format(image), image.id)
            finally:
                download.unlink(missing_ok=True)
            LOG.info("Fetched image %s", image.id)
        with self._lock:
            self._busy.pop(image.id, None)
        return True

    def release(self, server_id: str) -> None:
        """The server's operation has ended: what it asked for is in use by its disks, or not."""
        with self._lock:
            self._held.pop(server_id, None)

    def remove_unused(self, unused_s: float) -> list[str]:
        """Remove the bases that nothing has used for ``unused_s`` seconds; their images' ids.

        HostProblem: what is in use cannot be told, and nothing is removed. One caller at a time.
        """
        with self._lock:
            self._wanted.clear()
            held = set().union(*self._held.values())
            idle = [base for base in self._storage.bases() if base.stem not in held]
        used = self._storage.bases_in_use()
        removed = []
        for base in idle:
            with self._lock:
                if base.name in used:
                    _touch(base)
                elif base.stem not in self._wanted and _age(base) >= unused_s:
                    base.unlink()
                    removed.append(base.stem)
        for image_id in removed:
            LOG.info("Removed image %s, which no server here used any more", image_id)
        return removed

    def clean(self) -> None:
        """Remove what an interrupted download left."""
        for leftover in Path(self._storage.images_dir).glob("*.download*"):
            leftover.unlink(missing_ok=True)


def _touch(base: Path) -> None:
    """Note that the base is used; one that QEMU's user owns by now only root can touch."""
    with contextlib.suppress(PermissionError):
        os.utime(base)


def _age(base: Path) -> float:
    """Seconds since the base was last known to be used."""
    return clock.now() - base.stat().st_mtime


def _qemu_format(image: Image) -> str:
    """QEMU's own word for the image's format; the bytes of many are the disk's."""
    return _QEMU_FORMATS.get(image.disk_format or "", "raw")
