"""Volumes while guests use them: how their bytes move on below whoever has them open.

That is an exporter of this host, or the QEMU of a guest that opens the file for itself; which of
them is looked up when it matters, for it may change until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from minicloud.domain.errors import Unavailable
from minicloud.volume.backends.base import Backend, Merge, Merging, Quiet, Switch
from minicloud.volume.backends.disks import Disk, DiskFile
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.guests import Guests
from minicloud.volume.records import Volume

PATIENCE_S = 600.0
"""How long whoever has a volume open may take to go on in another file."""


class LiveVolumes:
    def __init__(self, exporter: Exporter, desired: DesiredExports, guests: Guests) -> None:
        self._exporter, self._desired, self._guests = exporter, desired, guests

    def match(self, volume_id: str) -> set[str]:
        """Serve what the rows want of the volume; the attachments served. HostProblem."""
        return self.serve(self._desired.bytes_id(volume_id))

    def serve(self, bytes_id: str) -> set[str]:
        """The same, of the volume whose bytes have that name."""
        return self._exporter.ensure(bytes_id, partial(self._desired.of, bytes_id))

    def switch(self, volume_id: str) -> Switch:
        """How whoever has the volume open, if anybody, goes on in another file. Unavailable: a
        guest does not do so now.
        """

        def go_on(disk: DiskFile) -> None:
            if self._desired.opener(volume_id) is None:
                self._exporter.switch(self._desired.bytes_id(volume_id), disk)
            else:
                self._guests.go_on(volume_id, disk.path)

        return go_on

    def keep(self, backend: Backend, snapshot_id: str, volume_id: str, bytes_id: str) -> None:
        """``Backend.ensure_snapshot`` of a volume that may be in use. Unavailable also while its
        layers are to be merged first, which nobody does below a guest that opens the files itself.
        """
        merged = self._desired.opener(volume_id) is None
        if merged and backend.is_crowded(bytes_id, snapshot_id):
            raise Unavailable(service="The volume", reason="its layers are merged first")
        backend.ensure_snapshot(snapshot_id, bytes_id, self.switch(volume_id))

    @contextmanager
    def moment(self, backend: Backend, moment_id: str, volume: Volume) -> Iterator[Disk]:
        """What the volume has now, kept while it is worked with. Unavailable: somebody is away, and
        it stays for the next try, or until no row needs it.
        """
        kept = False
        try:
            self.keep(backend, moment_id, volume.id, volume.bytes_id)
            self.match(volume.id)
            yield backend.snapshot_disk(moment_id)
        except Unavailable:
            kept = True
            raise
        finally:
            if not kept:
                backend.ensure_snapshot_absent(moment_id)
                backend.compact(volume.bytes_id, self.idle(volume.id))

    def pausing(self, volume_id: str) -> Quiet:
        """Work on the volume's files while its guests wait. A guest that opens the file for itself
        does not: what QEMU's locks do not let happen is to be left to it.
        """

        def work_on(work: Callable[[], None]) -> None:
            if self._desired.opener(volume_id) is None:
                bytes_id = self._desired.bytes_id(volume_id)
                self._exporter.restart(bytes_id, partial(self._desired.of, bytes_id), work)
            else:
                work()

        return work_on

    def merging(self, volume_id: str) -> Merging:
        """How whoever has the volume open merges layers of it."""

        def bring_on(merge: Merge | None) -> None:
            if self._desired.opener(volume_id) is None:
                self._exporter.merge(self._desired.bytes_id(volume_id), merge)

        return bring_on

    def idle(self, volume_id: str) -> Quiet:
        """Work on the volume's files if nobody has it, and let nobody be served meanwhile."""

        def work_on(work: Callable[[], None]) -> bool:
            if self._desired.opener(volume_id) is not None:
                return False
            return self._exporter.while_idle(self._desired.bytes_id(volume_id), work)

        return work_on
