"""dnsmasq processes of ours: found by the file that they write, and held so as not to err.

A process is signalled only if its own command line says that we started it.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

from minicloud.hostnet.state import write_atomically

_STOP_SECONDS = 2.0


class Running:
    """A dnsmasq of ours, held by a handle that cannot come to mean another process."""

    def __init__(self, pid: int, handle: int, argv: Sequence[str]) -> None:
        self._pid = pid
        self._handle = handle
        self._argv = argv

    @classmethod
    def find(cls, pid_file: Path) -> Running | None:
        """The process of a pid file, if it lives and its command line names that very file."""
        try:
            pid = int(pid_file.read_text())
            handle = os.pidfd_open(pid)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            argv = []
        if not argv:
            # Dead or dying: its sockets stand in the way of the next one until it is gone.
            _has_ended(handle)
        if f"--pid-file={pid_file}" not in argv:
            os.close(handle)
            return None
        return cls(pid, handle, argv)

    def __del__(self) -> None:
        os.close(self._handle)

    def serves(self, argv: Sequence[str], space: int | None) -> bool:
        """Whether it runs with ``argv`` in the namespace whose identity is ``space``."""
        try:
            found = Path(f"/proc/{self._pid}/ns/net").stat().st_ino
        except (FileNotFoundError, ProcessLookupError):
            return False
        return list(self._argv[1:]) == list(argv[1:]) and found == space

    def signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:
            return

    def end(self) -> None:
        """SIGTERM, then SIGKILL; returns when it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            if _has_ended(self._handle):
                return


def _has_ended(handle: int) -> bool:
    """Wait for the end of a process, but not for long."""
    waiter = select.poll()
    waiter.register(handle, select.POLLIN)
    return bool(waiter.poll(_STOP_SECONDS * 1000))


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` in one step unless it is there already; whether it was written."""
    if path.exists() and path.read_text() == text:
        return False
    write_atomically(path, text.encode(), mode=0o644)
    return True
