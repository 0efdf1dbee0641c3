"""Disks: what QEMU and its tools open to get at a volume's bytes, and how they are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


class DiskFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of this host."""

    path: Path
    format: str
    """raw or qcow2; a qcow2 may stand on frozen files beside it."""

    @property
    def name(self) -> str:
        return self.path.name

    def blockdev(self, node: str) -> dict[str, Any]:
        """What ``blockdev-add`` takes. Past the page cache where the file system can: the guest has
        a cache of its own, and its flush still reaches the disk. Zeroes are not stored.
        """
        direct = self.takes_direct()
        return {
            "driver": self.format,
            "node-name": node,
            "discard": "unmap",
            "detect-zeroes": "unmap",
            "cache": {"direct": direct},
            "file": {
                "driver": "file",
                "filename": str(self.path),
                "discard": "unmap",
                "cache": {"direct": direct},
                "aio": "native" if direct else "threads",
            },
        }

    def arguments(self) -> list[str]:
        """For qemu-img and qemu-io."""
        return ["-f", self.format, str(self.path)]

    def takes_direct(self) -> bool:
        """Whether the file can be written past the page cache."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_DIRECT))
        except OSError:
            return False
        return True


class RbdImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image of a Ceph cluster. ``conf``, readable for whoever opens it, names the monitors and
    the keyring of ``user``: the key is in no command and in no message.
    """

    conf: Path
    user: str
    """Without ``client.``"""
    pool: str
    image: str
    snapshot: str = ""
    """What is opened, read-only then; empty: the image itself."""

    @property
    def name(self) -> str:
        return f"{self.image}@{self.snapshot}" if self.snapshot else self.image

    def blockdev(self, node: str) -> dict[str, Any]:
        """What ``blockdev-add`` takes. Without librbd's cache: what was answered is stored."""
        return {
            **self._opened(),
            "node-name": node,
            "discard": "unmap",
            "detect-zeroes": "unmap",
            "cache": {"direct": True},
        }

    def arguments(self) -> list[str]:
        """For qemu-img and qemu-io."""
        return ["--image-opts", options(self._opened())]

    def _opened(self) -> dict[str, Any]:
        image = {
            "driver": "rbd",
            "conf": str(self.conf),
            "user": self.user,
            "pool": self.pool,
            "image": self.image,
        }
        frozen = {"snapshot": self.snapshot, "read-only": True} if self.snapshot else {}
        return {**image, **frozen}


Disk = DiskFile | RbdImage


def options(value: Any, prefix: str = "") -> str:
    """Nested options on one line, as QEMU's command line takes them: a doubled comma is one."""
    if isinstance(value, dict):
        return ",".join(
            options(each, f"{prefix}.{key}" if prefix else key) for key, each in value.items()
        )
    text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return f"{prefix}={text.replace(',', ',,')}"
