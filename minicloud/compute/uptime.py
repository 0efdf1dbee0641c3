"""How long this machine has run and how busy it is, in the words of uptime(1)."""

from __future__ import annotations

import os
import time
from pathlib import Path

_UPTIME = Path("/proc/uptime")
_LOGGED_IN = Path("/run/systemd/users")


def uptime(source: Path = _UPTIME) -> str:
    """``12:34:56 up 3 days, 04:05, 1 user, load average: 0.10, 0.20, 0.30``"""
    minutes = int(float(source.read_text().split()[0])) // 60
    days, minutes = divmod(minutes, 24 * 60)
    word = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    now = time.strftime("%H:%M:%S")
    users = sum(1 for _ in _LOGGED_IN.glob("[0-9]*"))
    people = f"{users} user{'' if users == 1 else 's'}"
    return f"{now} up {word}{minutes // 60:02}:{minutes % 60:02}, {people}, load average: {loads}"
