"""Base images of this host: fetched once, however many launches want one at the same time."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from minicloud.client.image import Image, ImageClient
from minicloud.compute.storage import Storage

LOG = logging.getLogger(__name__)
_QEMU_FORMATS = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}


class ImageCache:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}

    def ensure(self, image: Image, client: ImageClient) -> bool:
        """The base image is on this host; True when it had to be fetched for it.

        Size and sha512 are checked as it arrives; the format is what the image service found
        in it, and a file that refers to others is refused when it is flattened.
        """
        base = self._storage.base_image(image.id)
        if base.exists():
            return False
        with self._lock:
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

    def clean(self) -> None:
        """Remove what an interrupted download left."""
        for leftover in Path(self._storage.images_dir).glob("*.download*"):
            leftover.unlink(missing_ok=True)


def _qemu_format(image: Image) -> str:
    """QEMU's own word for the image's format; the bytes of many are the disk's."""
    return _QEMU_FORMATS.get(image.disk_format or "", "raw")
