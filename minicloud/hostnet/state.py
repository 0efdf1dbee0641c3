"""What this host is to have, kept on its disk so that a restart needs to ask nobody.

Written before the kernel is changed: killed in between, the next pass still knows what was
meant. It is the desired state, never a record of what the kernel holds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from minicloud.hostnet.wiring import HostWiring

LOG = logging.getLogger(__name__)
_ZONES = 65535


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """``switched_on_forwarding``: the host's ip_forward was off before us.

    ``zones``: network id -> the number by which its connections are told from other networks'.
    """

    wiring: HostWiring = HostWiring()
    switched_on_forwarding: bool = False
    zones: Mapping[str, int] = {}


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
        zones = with_zones(self.value.zones, wiring)
        self.write(msgspec.structs.replace(self.value, wiring=wiring, zones=zones))

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


def with_zones(have: Mapping[str, int], wiring: HostWiring) -> Mapping[str, int]:
    """A zone for each network: the one that it has, else one that is free.

    A zone stays its network's for as long as that is wired: connections are kept under it.
    """
    wanted = [network.id for network in wiring.networks if not network.external]
    zones = {network_id: have[network_id] for network_id in wanted if network_id in have}
    taken = set(zones.values())
    for network_id in wanted:
        if network_id not in zones:
            start = int(network_id[:4], 16)
            free = (1 + (start + step) % _ZONES for step in range(_ZONES))
            zones[network_id] = next(zone for zone in free if zone not in taken)
            taken.add(zones[network_id])
    return zones


def write_atomically(path: Path, data: bytes, *, mode: int) -> None:
    """Replace ``path``: a reader, or a start after a crash, sees the old or the new, never half."""
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
