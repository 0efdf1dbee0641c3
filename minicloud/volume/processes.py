"""Processes that outlive this daemon: started detached, found by pid file, ended by pidfd.

A guest's disk hangs on an exporter, so nothing here holds a child: what runs is read from the pid
file and checked against the kernel's list each time.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from minicloud.domain.errors import HostProblem

LOG = logging.getLogger(__name__)
_START_TIMEOUT_S = 20.0
_END_TIMEOUT_S = 20.0


class PortInUse(HostProblem):
    """Another process listens where this one should."""


def command_line(pid_file: Path) -> tuple[int, list[str]] | None:
    """(pid, arguments) of the process that was started with ``pid_file``; None where it is gone
    or the pid somebody else's.
    """
    try:
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    arguments = command.decode(errors="surrogateescape").split("\0")[:-1]
    if not any(argument.endswith(str(pid_file)) for argument in arguments):
        return None
    return pid, arguments


def start(arguments: Sequence[str], name: str) -> None:
    """Run a command that detaches itself. HostProblem: it does not come up; PortInUse: another
    process has its port.
    """
    try:
        # The umask lets QEMU's user connect to the sockets that are made.
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_START_TIMEOUT_S,
            umask=0o111,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise HostProblem(
            reason=f"{arguments[0]} does not start: {type(problem).__name__}"
        ) from problem
    if done.returncode != 0:
        LOG.warning("%s refuses %s: %s", arguments[0], name, done.stderr.strip()[-400:])
        problem_type = PortInUse if os.strerror(errno.EADDRINUSE) in done.stderr else HostProblem
        raise problem_type(reason=f"{arguments[0]} cannot serve {name}")


def end(pid_file: Path) -> bool:
    """End the process. Whether it did so by itself, writing out what it held, and was not dead or
    killed. The pidfd keeps the pid from standing for another process between the check and the
    signal. HostProblem.
    """
    running = command_line(pid_file)
    if running is None:
        return False
    try:
        handle = os.pidfd_open(running[0])
    except ProcessLookupError:
        return False
    try:
        return command_line(pid_file) is not None and _end(handle, pid_file.stem)
    finally:
        os.close(handle)


def end_unnoted(program: str, pid_file: Path) -> None:
    """End processes of ``program`` that are to write ``pid_file`` and have not. HostProblem."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            handle = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0] == program.encode() and os.fsencode(pid_file) in words:
                _end(handle, pid_file.stem)
        except OSError:
            pass  # it has ended
        finally:
            os.close(handle)


def _end(handle: int, name: str) -> bool:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        if select.select([handle], [], [], _END_TIMEOUT_S)[0]:
            return number == signal.SIGTERM
    raise HostProblem(reason=f"The exporter {name} does not end")
