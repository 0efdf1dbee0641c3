"""Volumes while guests use them: how their bytes move on below an exporter that serves them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from minicloud.volume.backends.base import Switch
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

    def pause(self, volume_id: str, work: Callable[[], None]) -> None:
        """Do ``work`` on the volume's files while its guests wait. HostProblem."""
        self._exporter.restart(volume_id, partial(self._desired.of, volume_id), work)

    def may_pause(self, volume_id: str) -> bool:
        """Whether every guest of the volume comes again after a pause."""
        served = self._desired.of(volume_id)
        return served is None or all(export.reconnects for export in served.exports)
