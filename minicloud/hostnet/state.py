"""What this host is to have, kept on its disk so that a restart needs to ask nobody.

Written before the kernel is changed: killed in between, the next pass still knows what was
meant. It is the desired state, never a record of what the kernel holds.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from minicloud.hostnet.wiring import HostWiring

LOG = logging.getLogger(__name__)


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """``switched_on_forwarding``: the host's ip_forward was off before us."""

    wiring: HostWiring = HostWiring()
    switched_on_forwarding: bool = False


class StateFile:
    """One JSON file, replaced in one step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.value = self._read()

    def write(self, value: Stored) -> None:
        if value == self.value and self._path.exists():
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, msgspec.json.encode(value), mode=0o600)
        self.value = value

    def write_wiring(self, wiring: HostWiring) -> None:
        self.write(msgspec.structs.replace(self.value, wiring=wiring))

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        self.value = Stored()

    def _read(self) -> Stored:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Stored)
        except FileNotFoundError:
            return Stored()
        except msgspec.DecodeError:
            LOG.exception("%s is unreadable and taken as empty", self._path)
            return Stored()


def write_atomically(path: Path, data: bytes, *, mode: int) -> None:
    """Replace ``path``: a reader, or a start after a crash, sees the old or the new, never half."""
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
