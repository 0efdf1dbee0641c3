"""The files of one host's servers: base images, disks, config drives, console logs.

``Storage`` is a port with two adapters: files made by qemu-img, and a fake that keeps empty
files. Paths are computed from ids alone.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.virt.fake import EMPTY_QCOW2, empty_overlay
from minicloud.virt.libvirt import disks

_GIB = 1 << 30
_KEPT = ".before"


class DiskLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What a server's disk is, without its bytes."""

    name: str
    """Of its file."""
    size_bytes: int
    base: str = ""
    """The image that it lies on; empty: on nothing."""


class Storage(ABC):
    """Every ``ensure_`` may be repeated; a file under its final name is whole."""

    def __init__(self, instances_dir: Path, images_dir: Path) -> None:
        self.instances_dir = instances_dir
        self.images_dir = images_dir
        for directory in (instances_dir, images_dir):
            directory.mkdir(parents=True, exist_ok=True, mode=0o711)

    def server_dir(self, server_id: str) -> Path:
        return self.instances_dir / server_id

    def root_disk(self, server_id: str) -> Path:
        return self.server_dir(server_id) / "disk"

    def rescue_disk(self, server_id: str) -> Path:
        return self.server_dir(server_id) / "disk.rescue"

    def snapshot(self, server_id: str) -> Path:
        """A flat copy of the root disk, on its way to the image service."""
        return self.server_dir(server_id) / "snapshot"

    def kept_disk(self, server_id: str, name: str) -> Path:
        """The named disk as it was before a resize that may be reverted."""
        return self.server_dir(server_id) / f"{name}{_KEPT}"

    def disk_named(self, server_id: str, name: str) -> Path:
        """The disk with that file name (``root_disk(...).name``)."""
        return self.server_dir(server_id) / name

    def copy_named(self, server_id: str, name: str) -> Path:
        """A flat copy of that disk, on its way to another host."""
        return self.server_dir(server_id) / f"{name}.copy"

    def config_drive(self, server_id: str) -> Path:
        return self.server_dir(server_id) / "config.iso"

    def ephemeral_disk(self, server_id: str, number: int) -> Path:
        """A disk besides the root that is a file, swap disks too."""
        return self.server_dir(server_id) / f"ephemeral{number}"

    def console_log(self, server_id: str) -> Path:
        return self.server_dir(server_id) / "console.log"

    def base_image(self, image_id: str) -> Path:
        return self.images_dir / f"{image_id}.raw"

    def bases(self) -> list[Path]:
        """The base images that are here, whole."""
        return sorted(self.images_dir.glob("*.raw"))

    def bases_in_use(self) -> frozenset[str]:
        """File names of the bases that any disk of any server here lies on, be it one that a
        rescue or a resize has left. HostProblem: a disk cannot be looked at.
        """
        return disks.backing_names(self.instances_dir)

    def servers(self) -> frozenset[str]:
        """Ids of the servers that have files here."""
        return frozenset(path.name for path in self.instances_dir.iterdir() if path.is_dir())

    def size_gb(self) -> tuple[int, int]:
        """(all, free) GiB of the file system with the disks."""
        usage = shutil.disk_usage(self.instances_dir)
        return usage.total // _GIB, usage.free // _GIB

    def ensure_dir(self, server_id: str) -> None:
        self.server_dir(server_id).mkdir(exist_ok=True, mode=0o711)

    def remove(self, server_id: str) -> None:
        """No file of the server is left."""
        disks.remove_tree(self.server_dir(server_id))

    def remove_disks(self, server_id: str) -> None:
        """No file of the server is left but its console log."""
        log = self.console_log(server_id).name
        for path in self.server_dir(server_id).iterdir():
            if not path.name.startswith(log):
                path.unlink()

    def drop_copy(self, server_id: str, name: str) -> None:
        self.copy_named(server_id, name).unlink(missing_ok=True)

    def restore_kept(self, server_id: str) -> None:
        """The disks of which one was kept are the kept ones again. The guest is off."""
        for kept in self.server_dir(server_id).glob(f"*{_KEPT}"):
            kept.replace(kept.with_name(kept.name.removesuffix(_KEPT)))

    def forget_kept(self, server_id: str) -> None:
        for kept in self.server_dir(server_id).glob(f"*{_KEPT}"):
            kept.unlink()

    def drop_other_disks(self, server_id: str, numbers: Collection[int]) -> None:
        """Of the disks besides the root those of ``numbers`` alone are left."""
        kept = {self.ephemeral_disk(server_id, number).name for number in numbers}
        for path in self.server_dir(server_id).glob("ephemeral*"):
            if path.name.partition(".")[0] not in kept:
                path.unlink()

    @abstractmethod
    def flatten(self, source: Path, source_format: str, image_id: str) -> None:
        """Make the base image of ``image_id`` from a downloaded file."""

    @abstractmethod
    def ensure_root(self, server_id: str, image_id: str, size_gb: int) -> None:
        """The server's root disk on the base image, which is there already."""

    @abstractmethod
    def ensure_rescue(self, server_id: str, image_id: str) -> None:
        """The disk of a rescued server on the base image, which is there already."""

    @abstractmethod
    def ensure_ephemeral(
        self, server_id: str, number: int, size_gb: int, *, filesystem: str, label: str
    ) -> None:
        """A disk with an empty file system on it."""

    @abstractmethod
    def ensure_swap(self, server_id: str, number: int, size_mb: int) -> None:
        """A disk that the guest can swap to."""

    @abstractmethod
    def copy_root(self, server_id: str) -> None:
        """``snapshot`` is a flat copy of the root disk of a guest that is off."""

    @abstractmethod
    def copy_disk(self, server_id: str, name: str) -> Path:
        """``copy_named`` is a flat copy of the named disk of a guest that is off."""

    @abstractmethod
    def layout(self, server_id: str, name: str) -> DiskLayout:
        """Of the named disk, which may be in use."""

    @abstractmethod
    def ensure_empty(self, server_id: str, layout: DiskLayout) -> None:
        """A disk with that layout, to be filled; its base is there."""

    @abstractmethod
    def keep_disk(self, server_id: str, name: str) -> None:
        """``kept_disk`` is the named disk as it is; nothing where one is kept already."""

    @abstractmethod
    def grow_disk(self, server_id: str, name: str, size_gb: int) -> None:
        """The named disk has ``size_gb`` GiB at least. The guest is off."""

    @abstractmethod
    def ensure_config_drive(self, server_id: str, files: Mapping[str, bytes]) -> None: ...


class FileStorage(Storage):
    """qcow2 overlays on raw bases."""

    def flatten(self, source: Path, source_format: str, image_id: str) -> None:
        disks.flatten_to_raw(source, source_format, self.base_image(image_id))

    def ensure_root(self, server_id: str, image_id: str, size_gb: int) -> None:
        disks.ensure_overlay(self.root_disk(server_id), self.base_image(image_id), "raw", size_gb)

    def ensure_rescue(self, server_id: str, image_id: str) -> None:
        disks.ensure_overlay(self.rescue_disk(server_id), self.base_image(image_id), "raw", 0)

    def copy_root(self, server_id: str) -> None:
        disks.ensure_flat_copy(self.root_disk(server_id), self.snapshot(server_id))

    def copy_disk(self, server_id: str, name: str) -> Path:
        copy = self.copy_named(server_id, name)
        disks.ensure_flat_copy(self.disk_named(server_id, name), copy)
        return copy

    def layout(self, server_id: str, name: str) -> DiskLayout:
        found = disks.image_info(self.disk_named(server_id, name), "qcow2")
        base = Path(found.backing).stem if found.backing else ""
        return DiskLayout(name=name, size_bytes=found.virtual_size, base=base)

    def ensure_empty(self, server_id: str, layout: DiskLayout) -> None:
        base = self.base_image(layout.base) if layout.base else None
        disks.ensure_empty(self.disk_named(server_id, layout.name), layout.size_bytes, base)

    def keep_disk(self, server_id: str, name: str) -> None:
        disks.ensure_same(self.disk_named(server_id, name), self.kept_disk(server_id, name))

    def grow_disk(self, server_id: str, name: str, size_gb: int) -> None:
        disks.ensure_size(self.disk_named(server_id, name), size_gb)

    def ensure_ephemeral(
        self, server_id: str, number: int, size_gb: int, *, filesystem: str, label: str
    ) -> None:
        path = self.ephemeral_disk(server_id, number)
        disks.ensure_formatted(path, size_gb << 30, filesystem, label)

    def ensure_swap(self, server_id: str, number: int, size_mb: int) -> None:
        path = self.ephemeral_disk(server_id, number)
        disks.ensure_formatted(path, size_mb << 20, disks.SWAP, "swap")

    def ensure_config_drive(self, server_id: str, files: Mapping[str, bytes]) -> None:
        disks.ensure_config_drive(self.config_drive(server_id), files)


class FakeStorage(Storage):
    """Files that are empty, or have no more than a header, where disks would be: for the fake
    driver, which reads none.
    """

    def flatten(self, source: Path, source_format: str, image_id: str) -> None:
        self.base_image(image_id).touch()

    def ensure_root(self, server_id: str, image_id: str, size_gb: int) -> None:
        self._ensure_overlay(self.root_disk(server_id), image_id)

    def ensure_rescue(self, server_id: str, image_id: str) -> None:
        self._ensure_overlay(self.rescue_disk(server_id), image_id)

    def _ensure_overlay(self, path: Path, image_id: str) -> None:
        base = self.base_image(image_id)
        if not base.exists():
            raise HostProblem(reason=f"the base image {base} is not on this host; fetch it first")
        if not path.exists():
            path.write_bytes(empty_overlay(str(base)))

    def copy_root(self, server_id: str) -> None:
        self.snapshot(server_id).write_bytes(EMPTY_QCOW2)

    def copy_disk(self, server_id: str, name: str) -> Path:
        copy = self.copy_named(server_id, name)
        copy.write_bytes(EMPTY_QCOW2)
        return copy

    def layout(self, server_id: str, name: str) -> DiskLayout:
        path = self.disk_named(server_id, name)
        return DiskLayout(name=name, size_bytes=_GIB, base=Path(disks.backing_name(path)).stem)

    def ensure_empty(self, server_id: str, layout: DiskLayout) -> None:
        path = self.disk_named(server_id, layout.name)
        if layout.base:
            self._ensure_overlay(path, layout.base)
        else:
            path.touch()

    def keep_disk(self, server_id: str, name: str) -> None:
        kept = self.kept_disk(server_id, name)
        if not kept.exists():
            shutil.copyfile(self.disk_named(server_id, name), kept)

    def grow_disk(self, server_id: str, name: str, size_gb: int) -> None:
        """An empty file has no size."""

    def ensure_ephemeral(
        self, server_id: str, number: int, size_gb: int, *, filesystem: str, label: str
    ) -> None:
        self.ephemeral_disk(server_id, number).touch()

    def ensure_swap(self, server_id: str, number: int, size_mb: int) -> None:
        self.ephemeral_disk(server_id, number).touch()

    def ensure_config_drive(self, server_id: str, files: Mapping[str, bytes]) -> None:
        self.config_drive(server_id).touch()
