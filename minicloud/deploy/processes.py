"""Processes of this machine that the installer starts by hand and ends by number.

For machines without systemd. A process is never looked up by its name: it is ended only if its
number and its start time are those that were written down.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from minicloud.deploy.ledger import StartedProcess


def has_systemd() -> bool:
    """Whether systemd is this machine's first process."""
    return Path("/run/systemd/system").is_dir()


def identify(pid: int) -> StartedProcess | None:
    """The process with this number, or None where there is none."""
    try:
        # The name in parentheses may hold spaces; the start time is the 20th field after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] == "Z":
        return None
    return StartedProcess(pid=pid, start_ticks=int(fields[19]))


def is_alive(process: StartedProcess) -> bool:
    return identify(process.pid) == process


def start_detached(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that outlives this one, with its output in ``log``."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={**os.environ, **(environment or {})},
        )


def end(process: StartedProcess, *, grace_s: float = 15.0) -> bool:
    """End the process: asked first, killed after ``grace_s`` seconds. False if it was gone.

    Killed with it is the rest of its session, which for a process of ``start_detached`` is what
    it started and did not set loose: it may stand in front of the one that does the work.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not _ended(handle, grace_s):
            others = _session(process.pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            for other in others:
                end(other, grace_s=0.0)
            _ended(handle, grace_s)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def wait_until(condition: Callable[[], bool], *, limit_s: float, pause_s: float = 0.05) -> bool:
    """Ask ``condition`` again and again; False if it does not hold within ``limit_s`` seconds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)  # between two questions to something that cannot be waited on
    return True


def with_argument(marker: str, programs: Sequence[str]) -> list[StartedProcess]:
    """The running ``programs`` that have ``marker`` in an argument, such as a directory of ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        program = Path(arguments[0]).name
        if program in programs and any(marker in argument for argument in arguments[1:]):
            process = identify(int(entry.name))
            if process is not None:
                found.append(process)
    return found


def left_in_session(leader: StartedProcess, names: Collection[str]) -> list[StartedProcess]:
    """The programs called ``names`` that a process of ``start_detached`` left when it ended."""
    if is_alive(leader):
        return []
    found = []
    # The kernel gives the number to nobody else while there is anything in the session.
    for process in _session(leader.pid):
        try:
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(Path(word).name in names for word in words.split("\0") if word):
            found.append(process)
    return found


def _session(leader: int) -> list[StartedProcess]:
    """The other processes of the session that ``leader`` leads."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == leader:
            continue
        try:
            same = os.getsid(int(entry.name)) == leader
        except ProcessLookupError:
            continue
        process = identify(int(entry.name)) if same else None
        if process is not None:
            found.append(process)
    return found


def _ended(handle: int, limit_s: float) -> bool:
    return bool(select.select([handle], [], [], limit_s)[0])
