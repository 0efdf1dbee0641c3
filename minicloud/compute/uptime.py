"""How long this machine has run and how busy it is, in the words of uptime(1)."""

from __future__ import annotations

import os
import time
from pathlib import Path

_UPTIME = Path("/proc/uptime")


def uptime(source: Path = _UPTIME) -> str:
    """``12:34:56 up 3 days, 04:05, load average: 0.10, 0.20, 0.30``"""
    minutes = int(float(source.read_text().split()[0])) // 60
    days, minutes = divmod(minutes, 24 * 60)
    word = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    loads = ", ".join(f"{load:.2f}" for load in os.getloadavg())
    now = time.strftime("%H:%M:%S")
    return f"{now} up {word}{minutes // 60:02}:{minutes % 60:02}, load average: {loads}"
