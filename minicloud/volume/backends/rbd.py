"""Volumes as images of a Ceph pool, which this host's volume service has for itself.

::

    volume-ID                 a volume
    snapshot-ID, image-ID     what is frozen: its bytes are those of the image's snapshot "frozen"
    new-UUID                  an image on its way, of a name of its own until it is whole
    anything else             images that a person put there to become volumes

Everything is an image of its own, so that reverting, making volumes and deleting are the same for
snapshots and cached images. What volumes still stand on when it is deleted waits in the pool's
trash until the last of them is gone (clones of the second format).

Names change one at a time. What takes the place of a volume says so itself before that goes, and
whoever misses the volume looks for it: see ``_replace``.
"""

from __future__ import annotations

import errno
import logging
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.kit import clock
from minicloud.volume.backends import qemu_img, rbd_clients
from minicloud.volume.backends.base import Backend, Capacity, Known, Quiet, Switch
from minicloud.volume.backends.disks import Disk, RbdImage
from minicloud.volume.backends.rbd_cli import RbdCli, TakesLong

LOG = logging.getLogger(__name__)
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = re.compile(f"(volume|snapshot|image|new)-({_UUID})")
_FROZEN = "frozen"
_DEEP = 8
"""More images than that below a volume make its reads slow."""
_FLATTEN_S = 5
"""A request may wait for a volume to be made flat: twice so long. Each attempt adds to the last."""
_UPKEEP_S = 3600.0
_BLOCKED_S = 10.0


class RbdBackend(Backend):
    """``directory``: this service's own, for configuration and locks. ``conf``: of Ceph, names the
    keyring of ``user``, who has "profile rbd" for ``pool``. ``young_s``: an image that was made
    less than so many seconds ago is not swept. ``image_cache_s``: how long an image's bytes stay
    after a volume was last made of it. ``remove_s``: twice so long a request or a pass may wait for
    the bytes of a removed image; later passes go on with them.
    """

    protocol = "ceph"

    def __init__(
        self,
        directory: Path,
        *,
        conf: Path,
        user: str,
        pool: str,
        young_s: float = 60.0,
        image_cache_s: float = 7 * 86400.0,
        remove_s: int = 4,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._conf, self._user, self._pool = conf, user, pool
        self._young_s, self._image_cache_s = young_s, image_cache_s
        self._cli = RbdCli(directory, conf=conf, user=user)
        self._reported: set[str] = set()
        self._upkeep_at = 0.0
        self._remove_s, self._unfinished = remove_s, False

    # -- volumes ---------------------------------------------------------------------------------
    def ensure(self, volume_id: str, size_bytes: int) -> None:
        name = f"volume-{volume_id}"
        with self._cli.alone(volume_id):
            if self._settled(volume_id) is None:
                self._create(name, size_bytes)
            self._grow(name, size_bytes)

    def grow(self, volume_id: str, size_bytes: int, quiet: Quiet) -> None:
        name = f"volume-{volume_id}"
        with self._cli.alone(volume_id):
            if self._there(name)["size"] < size_bytes:
                quiet(lambda: self._grow(name, size_bytes))

    def ensure_from(self, volume_id: str, origin_id: str, size_bytes: int) -> None:
        name = f"volume-{volume_id}"
        with self._cli.alone(volume_id):
            if self._settled(volume_id) is None:
                with self._new() as new:
                    self._clone(self._origin(origin_id), new)
                    self._grow(new, size_bytes)
                    self._finish(new, name)
            self._grow(name, size_bytes)

    def ensure_content(self, volume_id: str, source: Disk, size_bytes: int) -> None:
        with self._new() as new:
            self._copy(source, new, size_bytes)
            with self._cli.alone(volume_id):
                self._replace(volume_id, new)

    def ensure_absent(self, volume_id: str) -> None:
        with self._cli.alone(volume_id):
            while self._settled(volume_id) is not None:
                self._remove(f"volume-{volume_id}")

    def size(self, volume_id: str) -> int | None:
        found = self._info(f"volume-{volume_id}")
        return None if found is None else int(found["size"])

    def disk(self, volume_id: str) -> RbdImage:
        self._there(f"volume-{volume_id}")
        return RbdImage(
            conf=self._conf, user=self._user, pool=self._pool, image=f"volume-{volume_id}"
        )

    def open_to_guests(self, volume_id: str) -> RbdImage:
        with self._cli.alone(volume_id):
            disk = self.disk(volume_id)
            self._cli.set_meta(self._at(disk.image), rbd_clients.GUESTS, disk.image)
            return disk

    def is_written(self, volume_id: str) -> bool:
        """A client that died without a word counts for half a minute, unless it is fenced."""
        found = self._cli.ask("status", self._at(f"volume-{volume_id}"))
        if found is None:
            raise HostProblem(reason=f"The bytes of {volume_id} are not here")
        return bool(found["watchers"])

    def fence(self, volume_id: str) -> None:
        """Those alone of whom this host itself can tell that they are dead: see ``rbd_clients``."""
        self._fence(f"volume-{volume_id}")

    def close_to_guests(self, volume_id: str, unused: Callable[[], bool]) -> None:
        name = f"volume-{volume_id}"
        with self._cli.alone(volume_id):
            clients = self._clients(name)
            if not unused():
                return
            if clients and not self._cut_off(name, clients):
                raise HostProblem(reason=f"A guest still has the image {name} open.")
            self._cli.set_meta(self._at(name), rbd_clients.GUESTS, "closed")

    # -- what is frozen --------------------------------------------------------------------------
    def ensure_snapshot(self, snapshot_id: str, volume_id: str, switch: Switch) -> None:
        """Whoever writes goes on in the same image."""
        volume, kept = f"volume-{volume_id}", f"snapshot-{snapshot_id}"
        moment = f"{volume}@{snapshot_id}"
        with self._cli.alone(volume_id):
            if self._info(f"{kept}@{_FROZEN}") is None:
                self._fence(volume)
                self._freeze(moment)
                with self._new() as new:
                    self._clone(moment, new)
                    self._freeze(f"{new}@{_FROZEN}")
                    self._finish(new, kept)
            self._thaw(moment)

    def ensure_snapshot_absent(self, snapshot_id: str) -> None:
        with self._cli.alone(snapshot_id):
            self._remove(f"snapshot-{snapshot_id}")

    def snapshot_disk(self, snapshot_id: str) -> RbdImage:
        self._there(f"snapshot-{snapshot_id}@{_FROZEN}")
        return self._for_tools(f"snapshot-{snapshot_id}", _FROZEN)

    def revert(self, volume_id: str, origin_id: str, size_bytes: int) -> None:
        with self._new() as new, self._cli.alone(volume_id):
            self._clone(self._origin(origin_id), new)
            self._grow(new, size_bytes)
            self._replace(volume_id, new)

    def has_image(self, image_id: str) -> bool:
        return self._info(f"image-{image_id}@{_FROZEN}") is not None

    def ensure_image(self, image_id: str, source: Disk) -> None:
        if self.has_image(image_id):
            return
        with self._new() as new:
            self._copy(source, new)
            self._freeze(f"{new}@{_FROZEN}")
            with self._cli.alone(image_id):
                if self.has_image(image_id):
                    self._remove(new)
                else:
                    self._finish(new, f"image-{image_id}")

    # -- upkeep ----------------------------------------------------------------------------------
    def compact(self, volume_id: str, quiet: Quiet) -> None:
        """Snapshots leave nothing in a volume, but one that was reverted stands on others: a deep
        one is made flat, for a while at a time.
        """
        name = f"volume-{volume_id}"

        def flatten() -> None:
            try:
                self._fence(name)
                self._cli.rbd("flatten", self._at(name), "--no-progress", limit_s=_FLATTEN_S)
            except HostProblem as problem:
                LOG.info("Volume %s is not flat yet: %s", volume_id, problem.message)

        with self._cli.alone(volume_id):
            found = self._info(name)
            if found is not None and self._depth(found) > _DEEP:
                quiet(flatten)
                self._free(found.get("parent"))

    def capacity(self) -> Capacity:
        for pool in self._cli.ceph("df")["pools"]:
            if pool["name"] == self._pool:
                free = int(pool["stats"]["max_avail"])
                return Capacity(total_bytes=free + int(pool["stats"]["stored"]), free_bytes=free)
        raise HostProblem(reason=f"Ceph does not tell how much room pool {self._pool} has")

    def strangers(self) -> Mapping[str, int]:
        return {
            each["image"]: int(each["size"])
            for each in self._cli.ask("ls", "-l", self._pool) or ()
            if "snapshot" not in each and not _OURS.fullmatch(each["image"])
        }

    def adopt(self, volume_id: str, name: str) -> None:
        with self._cli.alone(volume_id):
            now = self._settled(volume_id)
            found = None if _OURS.fullmatch(name) or "@" in name else self._info(name)
            if now is not None and (found is None or found["id"] != now["id"]):
                return
            if found is None:
                raise HostProblem(reason=f"There is no image {name} here")
            if found["snapshot_count"]:
                raise HostProblem(reason=f"The image {name} has snapshots of its own")
            self._rename(name, f"volume-{volume_id}")

    def release(self, volume_id: str) -> str:
        target = f"released-{volume_id}"
        with self._cli.alone(volume_id):
            if self._settled(volume_id) is not None:
                self._thaw_all(f"volume-{volume_id}")
                self._rename(f"volume-{volume_id}", target)
        return target

    def sweep(self, known: Callable[[], Known]) -> None:
        # Images first, rows second: a row is written before its image.
        names = self._names()
        rows = known()
        for name in names:
            ours = _OURS.fullmatch(name)
            if ours is None:
                continue
            kind, thing = ours.groups()
            stray = (kind == "volume" and thing not in rows.volumes) or (
                kind == "snapshot" and thing not in rows.snapshots
            )
            if kind == "new":
                self._sweep_new(name, rows)
            elif stray and name not in self._reported and self._is_old(name):
                self._sweep(kind, thing)
        if self._unfinished or clock.now() >= self._upkeep_at:
            self._unfinished = False
            self._forget_images(names)
            self._empty_trash()
            self._upkeep_at = clock.now() + min(_UPKEEP_S, self._image_cache_s / 10)

    # -- parts -----------------------------------------------------------------------------------
    def _at(self, name: str) -> str:
        return f"{self._pool}/{name}"

    def _for_tools(self, name: str, snapshot: str = "") -> RbdImage:
        return RbdImage(
            conf=self._cli.conf(), user=self._user, pool=self._pool, image=name, snapshot=snapshot
        )

    def _names(self) -> list[str]:
        return list(self._cli.ask("ls", self._pool) or ())

    def _info(self, name: str) -> Any:
        """What Ceph knows of an image or its snapshot; None: it is not there."""
        return self._cli.ask("info", self._at(name))

    def _there(self, name: str) -> Any:
        found = self._info(name)
        if found is None:
            raise HostProblem(reason=f"The bytes of {name} are not here")
        return found

    def _origin(self, origin_id: str) -> str:
        snapshot, image = f"snapshot-{origin_id}@{_FROZEN}", f"image-{origin_id}"
        if self._info(snapshot) is not None:
            return snapshot
        if not self.has_image(origin_id):
            raise HostProblem(reason=f"There is no snapshot or image {origin_id} here")
        self._cli.set_meta(self._at(image), "minicloud.used", str(clock.now()))
        return f"{image}@{_FROZEN}"

    def _create(self, name: str, size_bytes: int) -> None:
        """Fine where it is there; half of it, left by a host that died, is not."""
        words = ("create", self._at(name), "--size", f"{size_bytes}B")
        if self._cli.rbd(*words, fine=(errno.EEXIST,)) and self._info(name) is None:
            self._cli.rbd("rm", self._at(name), "--no-progress", fine=(errno.ENOENT,))
            self._cli.rbd(*words)

    def _clone(self, origin: str, new: str) -> None:
        """Half of it, left by a host that died, shows zeroes: nothing but a name of its own may
        lead there.
        """
        self._cli.rbd("clone", self._at(origin), self._at(new))

    def _rename(self, name: str, to: str) -> None:
        """Ceph changes a name in three steps: one that a host died in is ended here."""
        words = ("mv", self._at(name), self._at(to))
        if not self._cli.rbd(*words, fine=(errno.EEXIST,)):
            return
        if self._there(name)["id"] != self._there(to)["id"]:
            raise HostProblem(reason=f"There is another image {to} here")
        if name in self._names():
            self._cli.forget_name(self._pool, to)
            self._cli.rbd(*words)
        else:
            self._cli.forget_name(self._pool, name)

    def _freeze(self, spec: str) -> None:
        self._cli.rbd("snap", "create", self._at(spec), "--no-progress", fine=(errno.EEXIST,))

    def _thaw(self, spec: str) -> None:
        self._cli.rbd("snap", "rm", self._at(spec), "--no-progress", fine=(errno.ENOENT,))

    def _thaw_all(self, name: str) -> None:
        self._cli.rbd("snap", "purge", self._at(name), "--no-progress", fine=(errno.ENOENT,))

    def _grow(self, name: str, size_bytes: int) -> None:
        # Never smaller: what looks like a smaller size may be an old request.
        if self._there(name)["size"] < size_bytes:
            self._fence(name)
            self._cli.rbd("resize", self._at(name), "--size", f"{size_bytes}B", "--no-progress")

    @contextmanager
    def _new(self) -> Iterator[str]:
        """A name for an image that is nobody's until it gets another. It goes if this fails."""
        new = f"new-{uuid.uuid4()}"
        with self._cli.alone(new):
            try:
                yield new
            except HostProblem:
                self._remove(new)
                raise

    def _copy(self, source: Disk, new: str, size_bytes: int = 0) -> None:
        """Make ``new`` have the bytes of ``source``, and zeroes up to ``size_bytes``."""
        size = max(size_bytes, qemu_img.size(source))
        self._cli.rbd("create", self._at(new), "--size", f"{size}B")
        qemu_img.fill(source, self._for_tools(new))

    def _replace(self, volume_id: str, new: str) -> None:
        """Make ``new``, which is whole, the volume. From the note on, ``_settled`` would."""
        name = f"volume-{volume_id}"
        self._note(new, name)
        self._remove(name)
        self._rename(new, name)

    def _finish(self, new: str, name: str) -> None:
        """Give ``new``, which is whole, a name that nobody has."""
        self._note(new, name)
        self._rename(new, name)

    def _settled(self, volume_id: str) -> Any:
        """As ``_info`` of the volume, after the end of a replacement that was interrupted."""
        name = f"volume-{volume_id}"
        found = self._info(name)
        if found is None:
            for each in self._names():
                if each.startswith("new-") and self._becomes(each) == name:
                    self._rename(each, name)
                    return self._info(name)
        return found

    def _note(self, new: str, name: str) -> None:
        self._cli.set_meta(self._at(new), "minicloud.becomes", f"{new} {name}")

    def _becomes(self, new: str) -> str:
        """The name that ``new``, which is whole, was to get; empty: none. A note names its own
        image, for clones inherit notes.
        """
        own, _, name = self._cli.get_meta(self._at(new), "minicloud.becomes").partition(" ")
        return name if own == new else ""

    def _remove(self, name: str) -> None:
        """Free an image, or have it wait in the trash: for those that stand on it, or because it
        has much to free.
        """
        found = self._info(name)
        if found is not None:
            self._fence(name)
        done = self._rm(name)
        if done == errno.ENOTEMPTY:
            self._thaw_all(name)
            done = self._rm(name)
        if done == errno.ETIMEDOUT:
            self._unfinished = True
            self._fence(name)
            self._thaw_all(name)
        if done in (errno.ENOTEMPTY, errno.ETIMEDOUT):
            self._cli.rbd("trash", "mv", self._at(name), fine=(errno.ENOENT,))
        if found is not None:
            self._free(found.get("parent"))

    def _rm(self, name: str) -> int:
        """0, ENOENT, ENOTEMPTY or ETIMEDOUT."""
        return self._freed("rm", self._at(name), fine=(errno.ENOENT, errno.ENOTEMPTY))

    def _freed(self, *words: str, fine: Collection[int]) -> int:
        """0, an errno of ``fine``, or ETIMEDOUT: it has begun."""
        try:
            return self._cli.rbd(*words, "--no-progress", fine=fine, limit_s=self._remove_s)
        except TakesLong:
            return errno.ETIMEDOUT

    def _empty_trash(self) -> None:
        """Of what nobody stands on, for a while: what stood on others goes first."""
        give_up_at, freed = time.monotonic() + 2 * self._remove_s, True
        while freed:
            freed = False
            for each in self._cli.ask("trash", "ls", self._pool) or ():
                if not _OURS.fullmatch(each["name"]):
                    continue
                if time.monotonic() > give_up_at:
                    self._unfinished = True
                    return
                freed |= self._discard(each["id"])

    def _free(self, parent: Any) -> None:
        """What waits in the trash for nobody any more, from ``parent`` downwards."""
        while parent and parent["trash"] and parent["pool"] == self._pool:
            words = ("info", "--pool", self._pool, "--image-id", parent["id"])
            found = self._cli.ask(*words)
            if found is None or not self._discard(parent["id"]):
                return
            parent = found.get("parent")

    def _discard(self, image_id: str) -> bool:
        """Free an image of the trash; False: somebody stands on it, or it has much to free. Who
        began that and was ended holds it for half a minute.
        """
        fine = (errno.ENOENT, errno.ENOTEMPTY, errno.EBUSY)
        done = self._freed("trash", "rm", self._at(image_id), fine=fine)
        self._unfinished |= done in (errno.EBUSY, errno.ETIMEDOUT)
        return not done

    def _depth(self, info: Any) -> int:
        """How many images are below one, counted as far as it matters."""
        depth, parent = 0, info.get("parent")
        while parent and depth <= _DEEP:
            found = self._cli.ask("info", "--pool", parent["pool"], "--image-id", parent["id"])
            depth, parent = depth + 1, (found or {}).get("parent")
        return depth

    def _fence(self, name: str) -> None:
        dead = rbd_clients.dead_among(self._clients(name), name)
        if dead and self._cli.get_meta(self._at(name), rbd_clients.GUESTS) != name:
            self._cut_off(name, dead)

    def _clients(self, name: str) -> list[str]:
        """Who has an image open, to write it."""
        found = self._cli.ask("status", self._at(name))
        return [str(each["address"]) for each in (found or {}).get("watchers", ())]

    def _cut_off(self, name: str, clients: Sequence[str]) -> bool:
        """What these still write is refused from when the cluster does not list them any more:
        whether it does not.
        """
        for client in clients:
            self._cli.block(client)
            LOG.warning("The client %s of %s is blocked", client, name)
        give_up_at = time.monotonic() + _BLOCKED_S
        while set(clients) & set(self._clients(name)):
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.1)
        return True

    def _is_old(self, name: str) -> bool:
        found = self._info(name)
        return found is not None and _made_at(found) < clock.now() - self._young_s

    def _sweep(self, kind: str, thing: str) -> None:
        name = f"{kind}-{thing}"
        if kind == "snapshot":
            # What it kept and a volume still needs stays with the volume.
            self.ensure_snapshot_absent(thing)
        elif self._has_data(name):
            self._reported.add(name)
            LOG.error(
                "The image %s holds data and no volume accounts for it; it is kept until a person "
                "decides",
                self._at(name),
            )
        else:
            self.ensure_absent(thing)
            LOG.info("Removed the blank volume %s, which no row accounts for", name)

    def _sweep_new(self, name: str, rows: Known) -> None:
        """One whose maker is alive is locked; another gets the name that it was to have, where that
        is wanted and nobody has it, or goes.
        """
        with suppress(HostProblem), self._cli.alone(name, wait_s=0.0):
            aim = _OURS.fullmatch(self._becomes(name))
            if aim is None:
                self._remove(name)
                return
            with self._cli.alone(aim[2]):
                now = self._info(aim[0])
                wanted = aim[1] != "volume" or aim[2] in rows.volumes
                if (now is None and wanted) or (now or {}).get("id") == self._there(name)["id"]:
                    self._rename(name, aim[0])
                else:
                    self._remove(name)

    def _has_data(self, name: str) -> bool:
        found = self._there(name)
        used = self._cli.ask("du", self._at(name))
        return "parent" in found or any(each["used_size"] for each in (used or {})["images"])

    def _forget_images(self, names: list[str]) -> None:
        limit = clock.now() - self._image_cache_s
        for name in names:
            if not name.startswith("image-") or not _OURS.fullmatch(name):
                continue
            with self._cli.alone(name.removeprefix("image-")):
                found = self._info(name)
                used = self._cli.get_meta(self._at(name), "minicloud.used")
                if found is not None and max(_made_at(found), float(used or 0)) < limit:
                    self._remove(name)


def _made_at(info: Any) -> float:
    """Seconds since the epoch."""
    made = datetime.strptime(info["create_timestamp"], "%a %b %d %H:%M:%S %Y")
    return made.replace(tzinfo=timezone.utc).timestamp()
