"""What the daemons take up at rest: their proportional share of memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cloud import Bench, Figure, daemons, figure


def measure(_bench: Bench) -> Iterator[Figure]:
    shares = {name: _pss_mb(pid) for name, pid in daemons().items()}
    for name, share in sorted(shares.items()):
        yield figure(f"memory of {name}", share, "MB PSS")
    yield figure("memory of all daemons", sum(shares.values()), "MB PSS", aim="under 450")


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
