"""What a backend can do. It knows no rows, no states, no REST: ids and sizes only.

Every method asks for an end state and may be repeated; a process killed inside one leaves
nothing that the next call or ``sweep`` does not mend.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection
from pathlib import Path

Known = Callable[[], Collection[str]]
"""Asks for the ids of all volumes that the backend should have."""


class Backend(abc.ABC):
    @abc.abstractmethod
    def ensure(self, volume_id: str, size_bytes: int) -> None:
        """Make the volume exist with at least ``size_bytes``; new bytes read as zero, bytes that
        were there stay. HostProblem: it cannot (no space, say); then nothing has changed.
        """

    @abc.abstractmethod
    def ensure_absent(self, volume_id: str) -> None:
        """Free the volume's space; fine when there is none. HostProblem: it cannot."""

    @abc.abstractmethod
    def size(self, volume_id: str) -> int | None:
        """Bytes, or None where there is no such volume."""

    @abc.abstractmethod
    def path(self, volume_id: str) -> Path:
        """The raw file or device that an exporter on this host opens."""

    @abc.abstractmethod
    def sweep(self, known: Known) -> None:
        """Remove what an interrupted call left behind and no id in ``known()`` accounts for. Data
        that somebody wrote is reported and kept: a lost row must not become lost data.
        """
