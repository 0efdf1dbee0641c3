"""Time, disk and memory."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timezone
from pathlib import Path

from minicloud.cli.doctor.finding import Finding, fail, ok, unknown, warn
from minicloud.cli.doctor.machine import Machine, run

_GB = 1000**3
_MB = 1000**2
_DISK_LEAST, _DISK_COMFORT = 2 * _GB, 10 * _GB
_MEMORY_LEAST, _MEMORY_COMFORT = 300 * _MB, 1000 * _MB
_DAY_S = 86400
_SYNCHRONIZE = "Keep the clock right: apt install chrony (tokens are refused when clocks differ)."


def clock(_machine: Machine) -> Finding:
    """The clock is not in the past, and something keeps it right."""
    now = time.time()
    shown = datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    # No machine had these files before they were written.
    if now < Path(__file__).stat().st_mtime - _DAY_S:
        return fail(f"The clock says {shown}: that is past.", _SYNCHRONIZE)
    synchronized = _synchronized()
    if synchronized is None:
        return ok(f"It is {shown}; no tool here tells whether that is kept right.")
    if not synchronized:
        return warn(f"It is {shown}, but nothing keeps the clock right.", _SYNCHRONIZE)
    return ok(f"It is {shown}, and synchronized.")


def _synchronized() -> bool | None:
    answer = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    if answer is not None:
        return answer.strip() == "yes"
    answer = run(["chronyc", "-n", "tracking"])
    return None if answer is None else "Not synchronised" not in answer


def disk(machine: Machine) -> Finding:
    """Room for images and disks."""
    wanted = Path(machine.option("DEFAULT", "state_dir"))
    place = next(p for p in (wanted, *wanted.parents) if p.exists())
    usage = shutil.disk_usage(place)
    sentence = f"{usage.free / _GB:.1f} GB of {usage.total / _GB:.0f} GB are free for {wanted}."
    advice = f"Free some, or put state_dir elsewhere: it holds images, disks and volumes ({wanted})"
    if usage.free < _DISK_LEAST:
        return fail(sentence, advice + ".")
    if usage.free < _DISK_COMFORT:
        return warn(sentence, advice + ".")
    return ok(sentence)


def memory(_machine: Machine) -> Finding:
    """Room for the daemons (some hundred MB) and for guests."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return unknown("/proc/meminfo cannot be read.")
    kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    total, free = kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024
    sentence = f"{free / _GB:.1f} GB of {total / _GB:.1f} GB of memory are free."
    if free < _MEMORY_LEAST:
        return fail(sentence, "End something, or give the machine more: guests will not start.")
    if free < _MEMORY_COMFORT:
        return warn(sentence, "There is room for small guests only.")
    return ok(sentence)
