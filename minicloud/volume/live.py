"""Volumes while guests use them: how their bytes move on below whoever has them open.

That is an exporter of this host, or the QEMU of a guest that opens the file for itself; which of
them is looked up when it matters, for it may change until then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from minicloud.volume.backends.base import Quiet, Switch
from minicloud.volume.backends.disks import DiskFile
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.guests import Guests


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

    def idle(self, volume_id: str) -> Quiet:
        """Work on the volume's files if nobody has it, and let nobody be served meanwhile."""

        def work_on(work: Callable[[], None]) -> bool:
            if self._desired.opener(volume_id) is not None:
                return False
            return self._exporter.while_idle(self._desired.bytes_id(volume_id), work)

        return work_on
