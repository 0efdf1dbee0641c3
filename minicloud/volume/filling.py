"""How a volume gets its first bytes, whatever it is made of. Each way may be repeated."""

from __future__ import annotations

from minicloud.domain.errors import ImageUnacceptable, Invalid, NotFound
from minicloud.domain.ids import derive, is_uuid
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.volume import backup_store, store
from minicloud.volume.access import is_visible
from minicloud.volume.backends import Backends, qemu_img
from minicloud.volume.backends.base import Backend
from minicloud.volume.backends.disks import DiskFile
from minicloud.volume.images import Images
from minicloud.volume.live import LiveVolumes
from minicloud.volume.records import Backup, Volume
from minicloud.volume.scratch import Scratch
from minicloud.volume.states import BackupStatus
from minicloud.volume.vault import Vault

FORMATS = {"raw": "raw", "qcow2": "qcow2", "iso": "raw", "ami": "raw", "vmdk": "vmdk",
           "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}  # fmt: skip
"""An image's disk format -> how QEMU calls it."""


class Filling:
    def __init__(
        self,
        database: Database,
        backends: Backends,
        live: LiveVolumes,
        images: Images,
        vault: Vault,
        scratch: Scratch,
    ) -> None:
        self._database, self._backends, self._live = database, backends, live
        self._images, self._vault, self._scratch = images, vault, scratch

    def backup(self, ctx: Context, backup_id: str) -> Backup:
        """A backup that a volume can be made of. NotFound; Invalid: it is not available."""
        with self._database.read() as tx:
            found = backup_store.backup_get(tx, backup_id) if is_uuid(backup_id) else None
        if found is None or not is_visible(ctx, found.project_id):
            raise NotFound(kind="Backup", id=backup_id)
        if found.status != BackupStatus.AVAILABLE.value:
            raise Invalid(
                reason=f"Invalid backup: Backup {backup_id} status must be available, but is "
                f"{found.status}."
            )
        return found

    def fill(self, volume: Volume) -> None:
        """Make the volume exist with the bytes that its row says. HostProblem, NotFound,
        ImageUnacceptable; Unavailable: somebody is away, trying again may help.
        """
        backend = self._backends.of(volume)
        if backend.size(volume.bytes_id) is not None:
            backend.ensure(volume.bytes_id, volume.size_bytes)
        elif volume.goal and "manage" in volume.goal:
            backend.adopt(volume.bytes_id, str(volume.goal["manage"]))
            backend.ensure(volume.bytes_id, volume.size_bytes)
        elif volume.image_id:
            self._of_image(backend, volume, volume.image_id)
        elif volume.snapshot_id:
            backend.ensure_from(volume.bytes_id, volume.snapshot_id, volume.size_bytes)
        elif volume.source_volid:
            self._of_volume(backend, volume, volume.source_volid)
        elif volume.backup_id:
            self.restore(volume, volume.backup_id)
        else:
            backend.ensure(volume.bytes_id, volume.size_bytes)
        if volume.source_volid:
            backend.ensure_snapshot_absent(derive("clone", volume.id))

    def refill(self, volume: Volume, image_id: str) -> None:
        """Replace all that the volume has by the image."""
        backend = self._backends.of(volume)
        self.fetch(backend, image_id)
        backend.revert(volume.bytes_id, image_id, volume.size_bytes)

    def restore(self, volume: Volume, backup_id: str) -> None:
        """Replace all that the volume has, if anything, by the backup's bytes."""
        backend = self._backends.of(volume)
        with self._scratch.file() as path:
            self._vault.read(backup_id, path)
            source = DiskFile(path=path, format="raw")
            backend.ensure_content(volume.bytes_id, source, volume.size_bytes)

    def fetch(self, backend: Backend, image_id: str) -> None:
        """Have the image's bytes with ``backend``."""
        if backend.has_image(image_id):
            return
        with self._scratch.file() as path:
            image = self._images.fetch(image_id, path)
            kind = FORMATS.get(image.disk_format or "raw")
            if kind is None or image.container_format not in (None, "bare"):
                raise ImageUnacceptable(
                    id=image_id,
                    reason=f"volumes are not made of {image.disk_format} in "
                    f"{image.container_format}",
                )
            if qemu_img.foreign_files(path, kind):
                raise ImageUnacceptable(id=image_id, reason="it refers to other files")
            backend.ensure_image(image_id, DiskFile(path=path, format=kind))

    def _of_image(self, backend: Backend, volume: Volume, image_id: str) -> None:
        self.fetch(backend, image_id)
        backend.ensure_from(volume.bytes_id, image_id, volume.size_bytes)
        grown = backend.size(volume.bytes_id) or 0
        if grown > volume.size_bytes:
            # What the image service did not know: a size that only its bytes tell.
            backend.ensure_absent(volume.bytes_id)
            raise ImageUnacceptable(
                id=image_id, reason=f"its {grown} bytes do not fit into {volume.size_gb} GiB"
            )

    def _of_volume(self, backend: Backend, volume: Volume, source_id: str) -> None:
        with self._database.read() as tx:
            source = store.volume_get(tx, source_id)
        if source is None:
            raise NotFound(kind="Volume", id=source_id)
        between = derive("clone", volume.id)
        self._live.keep(backend, between, source.id, source.bytes_id)
        backend.ensure_from(volume.bytes_id, between, volume.size_bytes)
        self._live.match(source.id)
