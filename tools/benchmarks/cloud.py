"""The live cloud, as the benchmarks see it: clients, daemons' processes, and how to time."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from minicloud.deploy.places import Places
from minicloud.deploy.seed import Account
from minicloud.deploy.settings import Settings, load

Figure = dict[str, Any]


class Bench:
    def __init__(self) -> None:
        settings = load(Places())
        if settings is None:
            raise SystemExit("There is no cloud on this machine: run tools/up first.")
        self.settings: Settings = settings
        self.places = Places()
        self.demo = Account(settings, "demo", settings.demo_password)


def figure(name: str, value: float, unit: str, *, aim: str = "") -> Figure:
    return {"name": name, "value": round(value, 1), "unit": unit, "aim": aim}


def times_ms(work: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of ``count`` calls, after one that is not counted."""
    work()
    found = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1000)
    return found


def median(values: list[float]) -> float:
    return statistics.median(values)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def daemons() -> dict[str, int]:
    """Name -> process of every daemon of minicloud that runs."""
    found = {}
    for pid, program in _programs():
        if program.startswith("minicloud-"):
            found[program.removeprefix("minicloud-")] = pid
    return found


class Spent:
    """CPU seconds of all minicloud daemons, of the broker and of this process since it was made.

    Wall clock figures are of a machine that all of them share: where the clients' part is large,
    the cloud is quicker than it looks.
    """

    def __init__(self) -> None:
        self._before = _cpu_s()

    def since(self) -> dict[str, float]:
        """``daemons``, ``broker``, ``clients`` -> seconds."""
        return {who: seconds - self._before[who] for who, seconds in _cpu_s().items()}


def _cpu_s() -> dict[str, float]:
    spent = {"daemons": 0.0, "broker": 0.0, "clients": time.process_time()}
    for pid, program in _programs():
        who = "daemons" if program.startswith("minicloud-") else "broker"
        if who == "daemons" or program.endswith("beam.smp"):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            spent[who] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def _programs() -> Iterable[tuple[int, str]]:
    """(process, first word of its command line) of all processes."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(entry.name), name
