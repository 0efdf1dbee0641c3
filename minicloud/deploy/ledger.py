"""What the installer started, made and changed on this machine, so that just that is undone.

Written before the thing it tells of is done, where an interruption in between would otherwise
leave something that nobody owns.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from minicloud.deploy import files
from minicloud.deploy.names import DAEMONS


class StartedProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process, told from a later one with the same number by when it started."""

    pid: int
    start_ticks: int
    """The kernel's clock ticks from boot to its start."""


class Record(msgspec.Struct, kw_only=True):
    """The whole of what is remembered. Fields have defaults: an older file stays readable."""

    processes: dict[str, StartedProcess] = {}
    """What ran not before we started it, by the name of its stage."""
    made: list[str] = []
    """Things that did not exist before, by name: ``user``, ``vhost`` and the like."""
    client_files: list[str] = []
    """The users' clouds.yaml files that got entries of ours."""
    daemons: tuple[str, ...] = DAEMONS
    """What runs here: all, or on a host that joined another's cloud, compute alone."""
    fingerprints: dict[str, str] = {}
    """What each daemon ran with when it was last started."""
    migrated: dict[str, str] = {}
    """What each database's tables were last brought up to."""


class Ledger:
    """The record and its file; every change is on the disk before the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.record = msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            self.record = Record()

    def save(self) -> None:
        files.directory(self._path.parent, mode=0o700)
        text = msgspec.json.format(msgspec.json.encode(self.record), indent=1).decode()
        files.write(self._path, text + "\n", mode=0o600)

    def note_made(self, thing: str) -> None:
        if thing not in self.record.made:
            self.record.made.append(thing)
            self.save()

    def made(self, thing: str) -> bool:
        return thing in self.record.made

    def note_process(self, name: str, process: StartedProcess) -> None:
        self.record.processes[name] = process
        self.save()

    def forget_process(self, name: str) -> None:
        if self.record.processes.pop(name, None) is not None:
            self.save()
