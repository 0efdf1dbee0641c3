"""Volumes as files in one directory, which only the service's user can enter.

::

    layers/NAME.raw, NAME.qcow2   the bytes; a qcow2 names the layer below it
    volumes/ID, snapshots/ID,
    images/ID                     symbolic links to a layer: what a thing's bytes are
    begun/ID                      the same of a snapshot to which somebody may still be writing
    managed/                      files that a person puts there to become volumes
    scratch/                      files until they get their name

A layer gets its name when it is complete, and only a volume's own layer, to which no other link
and no other layer leads, is ever written. A link changes by rename, so everything a thing is
changes at once, and the directory alone says what there is: a layer that no link leads to is
nobody's and goes.
"""

from __future__ import annotations

import fcntl
import grp
import logging
import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.domain.ids import is_uuid
from minicloud.kit import clock
from minicloud.volume.backends import chains, qemu_img
from minicloud.volume.backends.base import Backend, Capacity, Known, Merging, Quiet, Switch
from minicloud.volume.backends.disks import Disk, DiskFile
from minicloud.volume.backends.extents import has_data, overwrite
from minicloud.volume.scratch import Scratch

LOG = logging.getLogger(__name__)
_LINKS = ("volumes", "snapshots", "begun", "images")
_QUICKLY_MERGED = 256 * 1024 * 1024
"""More bytes than that are not copied while everybody else waits."""
_CROWD = 16
"""Layers of a volume in use with which merging comes before another one."""


class FileBackend(Backend):
    """``young_s``: a file that changed less than so many seconds ago is not swept. ``wipe``: the
    bytes of what is deleted are overwritten first. ``image_cache_s``: how long an image's bytes
    stay after a volume was last made of it. ``group``: who may open what is open to guests.
    ValueError: there is no such group.
    """

    def __init__(
        self,
        directory: Path,
        *,
        young_s: float = 60.0,
        wipe: bool = False,
        image_cache_s: float = 7 * 86400.0,
        group: str = "",
    ) -> None:
        self._directory = directory
        self._young_s, self._wipe, self._image_cache_s = young_s, wipe, image_cache_s
        self._layers = directory / "layers"
        self._group = _group_id(group) if group else None
        for path in (directory, self._layers, *(directory / name for name in _LINKS),
                     directory / "scratch", directory / "managed"):  # fmt: skip
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._scratch = Scratch(directory / "scratch")
        self._take_over()

    # -- volumes ---------------------------------------------------------------------------------
    def ensure(self, volume_id: str, size_bytes: int) -> None:
        with self._acting("make", volume_id), self._alone():
            if self._layer("volumes", volume_id) is None:
                self._new_raw(volume_id, size_bytes)
            self._grow(volume_id, size_bytes)

    def grow(self, volume_id: str, size_bytes: int, quiet: Quiet) -> None:
        with self._acting("grow", volume_id), self._alone():
            if chains.size_of(self.disk(volume_id).path) < size_bytes:
                quiet(lambda: self._grow(volume_id, size_bytes))

    def ensure_from(self, volume_id: str, origin_id: str, size_bytes: int) -> None:
        with self._acting("make", volume_id), self._alone():
            if self._layer("volumes", volume_id) is None:
                below = self._layer("snapshots", origin_id) or self._layer("images", origin_id)
                if below is None:
                    raise HostProblem(reason=f"There is no snapshot or image {origin_id} here")
                size = max(size_bytes, chains.size_of(below))
                self._link("volumes", volume_id, self._overlay(below, size))
                if self._layer("images", origin_id) is not None:
                    os.utime(self._directory / "images" / origin_id, follow_symlinks=False)
            self._grow(volume_id, size_bytes)

    def ensure_content(self, volume_id: str, source: Disk, size_bytes: int) -> None:
        with self._acting("fill", volume_id), self._new(".raw") as (part, layer):
            qemu_img.copy(source, part, "raw")
            if part.stat().st_size < size_bytes:
                os.truncate(part, size_bytes)
            self._finish(part, layer)
            with self._alone():
                old = self._layer("volumes", volume_id)
                self._link("volumes", volume_id, layer)
                if old is not None:
                    self._collect(old)

    def ensure_absent(self, volume_id: str) -> None:
        self._unlink("volumes", volume_id)

    def size(self, volume_id: str) -> int | None:
        layer = self._layer("volumes", volume_id)
        return None if layer is None else chains.size_of(layer)

    def disk(self, volume_id: str) -> DiskFile:
        return self._disk("volumes", volume_id)

    def open_to_guests(self, volume_id: str) -> DiskFile:
        """What is frozen can be opened for reading alone, whatever name it is asked for by."""
        with self._acting("open", volume_id), self._alone():
            disk = self.disk(volume_id)
            # Fails where there are no locks: nobody could tell who has the file open.
            qemu_img.is_locked(disk.path)
            if self._group is not None:
                for directory in (self._layers, self._directory):
                    self._admit(directory, 0o710)
                self._admit(disk.path, 0o660)
                for below in chains.chain(chains.below(disk.path)):
                    self._admit(below, 0o640)
            return disk

    def is_written(self, volume_id: str) -> bool:
        with self._acting("look at", volume_id):
            return any(map(qemu_img.is_written, chains.chain(self.disk(volume_id).path)))

    def fence(self, volume_id: str) -> None:
        """The kernel closes the files of who is dead."""

    # -- what is frozen --------------------------------------------------------------------------
    def ensure_snapshot(self, snapshot_id: str, volume_id: str, switch: Switch) -> None:
        """The volume's link moves to a new layer before anybody writes there: whoever opens the
        volume from now on finds all that was written. The layer it had is the snapshot's from the
        begin on, so that nothing is merged into it, and gets its name when nobody writes it any
        more.
        """
        with self._acting("take snapshot", snapshot_id), self._alone():
            if self._layer("snapshots", snapshot_id) is not None:
                return
            now, frozen = self._layer("volumes", volume_id), self._layer("begun", snapshot_id)
            if now is None:
                raise HostProblem(reason=f"There is no volume {volume_id} here")
            if frozen in (None, now):
                frozen, above = now, self._overlay(now, chains.size_of(now))
                _as_open(above, now)
                self._link("begun", snapshot_id, frozen)
                self._link("volumes", volume_id, above)
            switch(self.disk(volume_id))
            if any(map(qemu_img.is_written, chains.chain(frozen))):
                raise Unavailable(service="The guest", reason="it has not gone on in its new file")
            frozen.chmod(frozen.stat().st_mode & ~0o022)
            (self._directory / "begun" / snapshot_id).rename(
                self._directory / "snapshots" / snapshot_id
            )
            _sync(self._directory / "snapshots")

    def ensure_snapshot_absent(self, snapshot_id: str) -> None:
        for kind in ("begun", "snapshots"):
            self._unlink(kind, snapshot_id)

    def snapshot_disk(self, snapshot_id: str) -> DiskFile:
        return self._disk("snapshots", snapshot_id)

    def revert(self, volume_id: str, origin_id: str, size_bytes: int) -> None:
        with self._acting("revert", volume_id), self._alone():
            frozen = self._layer("snapshots", origin_id) or self._layer("images", origin_id)
            if frozen is None:
                raise HostProblem(reason=f"There is no snapshot or image {origin_id} here")
            old = self._layer("volumes", volume_id)
            self._link(
                "volumes", volume_id, self._overlay(frozen, max(size_bytes, chains.size_of(frozen)))
            )
            if old is not None:
                self._collect(old)

    def has_image(self, image_id: str) -> bool:
        return self._layer("images", image_id) is not None

    def ensure_image(self, image_id: str, source: Disk) -> None:
        with self._acting("keep image", image_id):
            if self.has_image(image_id):
                return
            with self._new(".raw") as (part, layer):
                qemu_img.copy(source, part, "raw")
                self._finish(part, layer)
                with self._alone():
                    if not self.has_image(image_id):
                        self._link("images", image_id, layer)

    # -- upkeep ----------------------------------------------------------------------------------
    def compact(self, volume_id: str, quiet: Quiet) -> None:
        """A layer below that nothing else needs takes up the one above it, where that is quick.
        The volume reads the same at every moment: what was already written below is what lies
        above.
        """
        with self._acting("compact", volume_id), self._alone():
            if self._mergeable(volume_id):
                quiet(lambda: self._merge_all(volume_id))

    def _merge_all(self, volume_id: str) -> None:
        while pair := self._mergeable(volume_id):
            top, below = pair
            size = chains.size_of(top)
            qemu_img.commit(chains.disk_of(top))
            if chains.size_of(below) < size:
                qemu_img.grow(chains.disk_of(below), size)
            self._link("volumes", volume_id, below)
            self._remove(top)

    def _mergeable(self, volume_id: str) -> tuple[Path, Path] | None:
        """The volume's layer and the one below it, where nothing else needs them and nobody has
        them open.
        """
        top = self._layer("volumes", volume_id)
        below, users = chains.below(top) if top is not None else None, self._users()
        if top is None or below is None or len(users[top]) > 1 or users[below] != {top}:
            return None
        if top.stat().st_blocks * 512 > _QUICKLY_MERGED:
            return None
        if qemu_img.is_written(top) or qemu_img.is_written(below):
            return None
        return top, below

    def mergeable(self, volume_ids: Collection[str]) -> Collection[str]:
        with self._acting("look at", "layers"), self._alone():
            users = self._users()
            chained = {each: self._layers_of(each) for each in volume_ids}
            return [
                each
                for each, layers in chained.items()
                if chains.merge_in(layers, users) or chains.leftovers(layers, users)
            ]

    def is_crowded(self, volume_id: str, snapshot_id: str) -> bool:
        with self._acting("look at", volume_id), self._alone():
            layers = self._layers_of(volume_id)
            return (
                len(layers) >= _CROWD
                and not any(self._layer(kind, snapshot_id) for kind in ("begun", "snapshots"))
                and qemu_img.is_written(layers[0])
                and chains.merge_in(layers, self._users()) is not None
            )

    def merge(self, volume_id: str, merging: Merging) -> None:
        with self._acting("merge", volume_id), self._alone():
            merging(chains.merge_in(self._layers_of(volume_id), self._users()))
            self._drop(chains.leftovers(self._layers_of(volume_id), self._users()))

    def _layers_of(self, volume_id: str) -> list[Path]:
        return list(chains.chain(self._layer("volumes", volume_id)))

    def depth(self, volume_id: str) -> int:
        """How many layers the volume's bytes lie in."""
        return len(self._layers_of(volume_id))

    def capacity(self) -> Capacity:
        usage = shutil.disk_usage(self._directory)
        return Capacity(total_bytes=usage.total, free_bytes=usage.free)

    def strangers(self) -> Mapping[str, int]:
        managed = self._directory / "managed"
        return {
            path.name: path.stat().st_size
            for path in sorted(managed.iterdir())
            if path.is_file() and not path.is_symlink()
        }

    def adopt(self, volume_id: str, name: str) -> None:
        with self._acting("manage", volume_id), self._alone():
            layer = self._layer("volumes", volume_id)
            file = self._directory / "managed" / name
            if layer is None:
                if name not in self.strangers():
                    raise HostProblem(reason=f"There is no file managed/{name} here")
                try:
                    file.chmod(0o600)
                except PermissionError:
                    raise HostProblem(
                        reason=f"The file managed/{name} belongs to another user than this service"
                    ) from None
                layer = self._layers / f"{uuid.uuid4()}.raw"
                # The link first: a layer without one is swept.
                self._link("volumes", volume_id, layer)
            if not layer.exists():
                file.rename(layer)

    def release(self, volume_id: str) -> str:
        target = self._directory / "managed" / f"volume-{volume_id}"
        with self._acting("release", volume_id):
            top = self._layer("volumes", volume_id)
            if top is None:
                return target.name
            if top.suffix == ".raw" and len(self._users()[top]) == 1:
                with self._alone():
                    if top.exists():
                        top.rename(target)
            else:
                part = self._scratch.new(".raw")
                qemu_img.copy(chains.disk_of(top), part, "raw")
                self._finish(part, target)
        self._unlink("volumes", volume_id)
        return target.name

    def sweep(self, known: Callable[[], Known]) -> None:
        # Links first, rows second: a row is written before its file, so a link seen here without
        # a row afterwards has lost it.
        links = {
            kind: [path.name for path in (self._directory / kind).iterdir() if self._is_old(path)]
            for kind in ("volumes", "begun", "snapshots")
        }
        old = [path for path in self._layers.iterdir() if self._is_old(path)]
        rows = known() if old or any(links.values()) else Known(volumes=(), snapshots=())
        for name in set(links["volumes"]) - set(rows.volumes):
            self._sweep_volume(name)
        for name in {*links["begun"], *links["snapshots"]} - set(rows.snapshots):
            # What it kept and a volume still needs stays with the volume.
            self.ensure_snapshot_absent(name)
        with self._alone():
            self._forget_images()
            self._drop(set(old) - self._needed())
        self._scratch.sweep()

    # -- parts -----------------------------------------------------------------------------------
    def _layer(self, kind: str, name: str) -> Path | None:
        try:
            return self._layers / (self._directory / kind / name).readlink().name
        except FileNotFoundError:
            return None

    def _disk(self, kind: str, name: str) -> DiskFile:
        layer = self._layer(kind, name)
        if layer is None or not layer.exists():
            raise HostProblem(reason=f"The bytes of {name} are not here")
        return chains.disk_of(layer)

    def _admit(self, path: Path, mode: int) -> None:
        if self._group is not None:
            os.chown(path, -1, self._group)
        path.chmod(mode)

    def _link(self, kind: str, name: str, layer: Path) -> None:
        """What ``name`` is from now on."""
        part = self._scratch.new(".link")
        part.symlink_to(Path("..") / "layers" / layer.name)
        part.rename(self._directory / kind / name)
        _sync(self._directory / kind)

    def _unlink(self, kind: str, name: str) -> None:
        with self._acting("remove", name), self._alone():
            layer = self._layer(kind, name)
            if layer is None:
                return
            (self._directory / kind / name).unlink(missing_ok=True)
            _sync(self._directory / kind)
            self._collect(layer)

    def _collect(self, layer: Path) -> None:
        """Remove ``layer`` and what is below it as far as nothing else leads there."""
        here: Path | None = layer
        while here is not None and here.exists() and not self._users()[here]:
            below = chains.below(here)
            self._remove(here)
            here = below

    def _users(self) -> defaultdict[Path, set[Path]]:
        """Of each layer the links that lead to it, and the layers right above it."""
        found: defaultdict[Path, set[Path]] = defaultdict(set)
        for kind in _LINKS:
            for path in (self._directory / kind).iterdir():
                if (layer := self._layer(kind, path.name)) is not None:
                    found[layer].add(path)
        for layer in self._layers.glob("*.qcow2"):
            if (below := chains.below(layer)) is not None:
                found[below].add(layer)
        return found

    def _needed(self) -> set[Path]:
        """Every layer that some link leads to, however far."""
        needed: set[Path] = set()
        for kind in _LINKS:
            for path in (self._directory / kind).iterdir():
                layer = self._layer(kind, path.name)
                while layer is not None and layer not in needed:
                    needed.add(layer)
                    layer = chains.below(layer)
        return needed

    def _new_raw(self, volume_id: str, size_bytes: int) -> None:
        with self._new(".raw") as (part, layer):
            part.touch(0o600)
            os.truncate(part, size_bytes)
            self._finish(part, layer)
            self._link("volumes", volume_id, layer)

    def _overlay(self, below: Path, size_bytes: int) -> Path:
        with self._new(".qcow2") as (part, layer):
            qemu_img.create_overlay(part, chains.disk_of(below), size_bytes)
            self._finish(part, layer)
        return layer

    def _grow(self, volume_id: str, size_bytes: int) -> None:
        # Never smaller: what looks like a smaller size may be an old request.
        disk = self._disk("volumes", volume_id)
        if chains.size_of(disk.path) >= size_bytes:
            return
        if disk.format == "raw":
            os.truncate(disk.path, size_bytes)
        else:
            qemu_img.grow(disk, size_bytes)
        _sync(disk.path)

    @contextmanager
    def _new(self, suffix: str) -> Iterator[tuple[Path, Path]]:
        """(where to write, the name it gets): a new layer. What was written goes if it fails."""
        with self._scratch.file(suffix) as part:
            yield part, self._layers / part.name

    def _finish(self, part: Path, final: Path) -> None:
        part.chmod(0o600)
        _sync(part)
        part.rename(final)
        _sync(final.parent)

    def _drop(self, layers: Collection[Path]) -> None:
        """Remove what nothing leads to, and nobody reads any more."""
        gone = [each for each in layers if each.exists() and not qemu_img.is_open(each)]
        if gone:
            # What says that they are not needed must not be lost to a power cut after them.
            for layer in self._needed():
                _sync(layer)
        for layer in gone:
            self._remove(layer)

    def _remove(self, layer: Path) -> None:
        if self._wipe:
            overwrite(layer)
        layer.unlink(missing_ok=True)

    def _sweep_volume(self, name: str) -> None:
        layer = self._layer("volumes", name)
        if layer is not None and layer.exists() and (layer.suffix != ".raw" or has_data(layer)):
            LOG.error(
                "The volume file %s holds data and no volume %s accounts for it; it is kept until "
                "a person decides",
                layer,
                name,
            )
            return
        self.ensure_absent(name)
        LOG.info("Removed the blank volume %s, which no row accounts for", name)

    def _forget_images(self) -> None:
        for path in (self._directory / "images").iterdir():
            if path.lstat().st_mtime < clock.now() - self._image_cache_s:
                path.unlink(missing_ok=True)

    def _is_old(self, path: Path) -> bool:
        limit = clock.now() - self._young_s
        try:
            return path.lstat().st_ctime < limit
        except FileNotFoundError:
            return False

    def _take_over(self) -> None:
        """Files as an older version kept them: ``ID.raw`` in the directory itself."""
        for path in self._directory.glob("*.raw"):
            if is_uuid(path.stem):
                layer = self._layers / path.name
                path.rename(layer)
                self._link("volumes", path.stem, layer)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One change of links at a time on this machine, across threads and processes."""
        handle = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _acting(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise HostProblem(
                reason=f"Cannot {verb} {name}: {problem.strerror or 'unknown error'}"
            ) from problem


def _group_id(name: str) -> int:
    """ValueError: there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"file_group: there is no group {name!r}") from None


def _as_open(layer: Path, to: Path) -> None:
    """Whoever may open the layer ``to`` may open ``layer``."""
    there = to.stat()
    if there.st_mode & 0o070:
        os.chown(layer, -1, there.st_gid)
        layer.chmod(there.st_mode & 0o777)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
