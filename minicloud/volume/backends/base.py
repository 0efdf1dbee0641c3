"""What a backend can do. It knows no rows, no states, no REST: ids and sizes only.

Every method asks for an end state and may be repeated; a process killed inside one leaves
nothing that the next call or ``sweep`` does not mend. What is frozen (a snapshot, an image) is
never written again; volumes are made upon it without copying. Any method of a backend whose store
is elsewhere may raise StoreAway, within seconds.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar

import msgspec

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.volume.backends.disks import Disk, DiskFile


class StoreAway(Unavailable):
    """A backend's store does not answer: nothing is known of what it has, nothing has failed, and
    trying again helps when it is back.
    """


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The ids of everything that the backend should have."""

    volumes: Collection[str]
    snapshots: Collection[str]


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    total_bytes: int
    free_bytes: int


Switch = Callable[[DiskFile], None]
"""Makes whoever has the volume open for writing go on in the given file, at once and for all
writes that were not answered before. Called also when it may have happened already."""


Quiet = Callable[[Callable[[], None]], object]
"""Does the given work while nobody has the volume open, or not at all. A backend calls it with its
own lock held, and never takes that lock within: the other way round two could wait for each other.
"""


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """``upper``, which only ``above`` needs, is to be written into ``lower``, which only it needs;
    then ``above`` stands on that. Whoever reads ``above`` meanwhile reads the same.
    """

    above: DiskFile
    upper: DiskFile
    lower: DiskFile


Merging = Callable[[Merge | None], None]
"""Has whoever has a volume open bring on a merge, without waiting for what takes long; None: let go
of what was merged. Called again until nothing is left to do; what is stopped half way begins anew.
"""


class Backend(abc.ABC):
    protocol: ClassVar[str] = "nbd"
    """Where the bytes come from, as Cinder's ``storage_protocol`` names it."""

    # -- volumes ---------------------------------------------------------------------------------
    @abc.abstractmethod
    def ensure(self, volume_id: str, size_bytes: int) -> None:
        """Make the volume exist with at least ``size_bytes``; new bytes read as zero, bytes that
        were there stay. HostProblem: it cannot (no space, say); then nothing has changed.
        """

    @abc.abstractmethod
    def grow(self, volume_id: str, size_bytes: int, quiet: Quiet) -> None:
        """Give a volume that may be in use at least ``size_bytes``. HostProblem."""

    @abc.abstractmethod
    def ensure_from(self, volume_id: str, origin_id: str, size_bytes: int) -> None:
        """As ``ensure``, but a volume that is not there begins with what ``origin_id``, a snapshot
        or image of this backend, has. HostProblem: there is no such origin.
        """

    @abc.abstractmethod
    def ensure_content(self, volume_id: str, source: Disk, size_bytes: int) -> None:
        """Make the volume, there already or not, have the bytes of ``source``, and zeroes up to
        ``size_bytes``. Whole or not at all. HostProblem.
        """

    @abc.abstractmethod
    def ensure_absent(self, volume_id: str) -> None:
        """Free the volume's space; fine when there is none. HostProblem: it cannot."""

    @abc.abstractmethod
    def size(self, volume_id: str) -> int | None:
        """Bytes, or None where there is no such volume."""

    @abc.abstractmethod
    def disk(self, volume_id: str) -> Disk:
        """What an exporter on this host opens. HostProblem: there is no such volume."""

    @abc.abstractmethod
    def open_to_guests(self, volume_id: str) -> Disk:
        """What a guest opens for itself, and may write now. HostProblem: it cannot, or nobody could
        tell whether it does.
        """

    @abc.abstractmethod
    def is_written(self, volume_id: str) -> bool:
        """Whether somebody has the volume open for writing. HostProblem."""

    @abc.abstractmethod
    def fence(self, volume_id: str) -> None:
        """Let nobody write any more who has the volume open now: the caller knows that all of them
        are dead, which the store may not have missed yet. HostProblem.
        """

    def close_to_guests(self, volume_id: str, unused: Callable[[], bool]) -> None:
        """No guest that opened the volume for itself writes it any more; one that still does is cut
        off where the store can do that. ``unused``, asked when it is known who has the volume open:
        whether nobody is to have it; else nothing is done. HostProblem: a guest has it still.
        """
        if self.is_written(volume_id) and unused():
            raise HostProblem(reason=f"A guest still has the file of volume {volume_id} open.")

    # -- what is frozen --------------------------------------------------------------------------
    @abc.abstractmethod
    def ensure_snapshot(self, snapshot_id: str, volume_id: str, switch: Switch) -> None:
        """Keep what the volume has now as ``snapshot_id``; one that is there stays as it is.
        ``switch`` is how a volume in use goes on. HostProblem; Unavailable: somebody does not go on
        now.
        """

    @abc.abstractmethod
    def ensure_snapshot_absent(self, snapshot_id: str) -> None: ...

    @abc.abstractmethod
    def snapshot_disk(self, snapshot_id: str) -> Disk:
        """The frozen bytes of a snapshot. HostProblem: there is none."""

    @abc.abstractmethod
    def revert(self, volume_id: str, origin_id: str, size_bytes: int) -> None:
        """Make the volume, which nobody has open, what a snapshot or an image of this backend
        has. HostProblem.
        """

    @abc.abstractmethod
    def has_image(self, image_id: str) -> bool:
        """Whether the image's bytes are here, ready for volumes."""

    @abc.abstractmethod
    def ensure_image(self, image_id: str, source: Disk) -> None:
        """Keep the bytes of ``source`` as the image's. HostProblem."""

    # -- upkeep ----------------------------------------------------------------------------------
    @abc.abstractmethod
    def compact(self, volume_id: str, quiet: Quiet) -> None:
        """Give back space and depth that deleted snapshots left behind. HostProblem; then nothing
        has changed.
        """

    def mergeable(self, volume_ids: Collection[str]) -> Collection[str]:
        """Those of the volumes whose bytes lie in more layers than anything needs, even while
        somebody writes them.
        """
        return ()

    def is_crowded(self, volume_id: str, snapshot_id: str) -> bool:
        """Whether a volume in use is of ``mergeable`` and has so many layers that a snapshot which
        is not begun had better wait.
        """
        return False

    def merge(self, volume_id: str, merging: Merging) -> None:
        """Bring on the next merge of a volume of ``mergeable``. HostProblem."""
        return

    @abc.abstractmethod
    def capacity(self) -> Capacity:
        """HostProblem: it cannot be known now."""

    @abc.abstractmethod
    def strangers(self) -> Mapping[str, int]:
        """What a person put there to be managed as volumes: name -> bytes."""

    @abc.abstractmethod
    def adopt(self, volume_id: str, name: str) -> None:
        """Make ``name`` of ``strangers`` the volume. HostProblem."""

    @abc.abstractmethod
    def release(self, volume_id: str) -> str:
        """Give the volume's bytes a name of their own among ``strangers``: the name."""

    @abc.abstractmethod
    def sweep(self, known: Callable[[], Known]) -> None:
        """Remove what an interrupted call left behind and nothing in ``known()`` accounts for.
        Data that somebody wrote is reported and kept: a lost row must not become lost data.
        """
