"""Volumes while guests use them: how their bytes move on below an exporter that serves them."""

from __future__ import annotations

from functools import partial

from minicloud.volume.backends.base import Quiet, Switch
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter


class LiveVolumes:
    def __init__(self, exporter: Exporter, desired: DesiredExports) -> None:
        self._exporter, self._desired = exporter, desired

    def match(self, volume_id: str) -> set[str]:
        """Serve what the rows want of the volume; the attachments served. HostProblem."""
        return self._exporter.ensure(volume_id, partial(self._desired.of, volume_id))

    def switch(self, volume_id: str) -> Switch:
        """How the volume's exporter, where there is one, goes on in another file."""
        return partial(self._exporter.switch, volume_id)

    def pausing(self, volume_id: str) -> Quiet:
        """Work on the volume's files while its guests wait."""
        wanted = partial(self._desired.of, volume_id)
        return lambda work: self._exporter.restart(volume_id, wanted, work)

    def idle(self, volume_id: str) -> Quiet:
        """Work on the volume's files if it is not served, and let nobody serve it meanwhile."""
        return partial(self._exporter.while_idle, volume_id)
