"""Volumes: what it costs to make, attach and clone one, and reads and writes through an export
against the same file opened directly, in turn, by QEMU's own client.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloud import Bench, Figure, figure, median, times_ms

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "cloud"))

_RUNS = 5
_SPAN = 512 * 1024 * 1024
_KINDS = (
    # name, bytes of a request, bytes between two, requests, write
    ("sequential reads of 1 MiB", 1 << 20, 1 << 20, 1024, False),
    ("sequential writes of 1 MiB", 1 << 20, 1 << 20, 1024, True),
    ("scattered reads of 4 KiB", 4096, 4096 * 4099, 8192, False),
    ("scattered writes of 4 KiB", 4096, 4096 * 4099, 8192, True),
)


def measure(_bench: Bench) -> Iterator[Figure]:
    from volume import volume_cloud

    if not shutil.which("qemu-storage-daemon"):
        return
    # On the disk that volumes are on, not in memory.
    with (
        tempfile.TemporaryDirectory(dir="/var/lib", prefix="minicloud-bench-") as directory,
        volume_cloud(
            Path(directory),
            quotas={"volumes": -1, "gigabytes": -1},
            open_files={"files": None},
        ) as cloud,
    ):
        yield figure("volume create", median(times_ms(cloud.create, 10)), "ms", aim="50")
        volume_id = cloud.create(10)["id"]
        yield from _attachments(cloud, volume_id, "export", local_files=False)
        yield from _attachments(cloud, volume_id, "file", local_files=True)
        _fill(cloud.disk(volume_id))
        clones = times_ms(lambda: cloud.create(10, source_volid=volume_id), 5)
        yield figure("clone of 10 GB with 512 MB of data", median(clones), "ms", aim="200")
        yield from _through_an_export(cloud)


def _attachments(cloud: Any, volume_id: str, to: str, **connector: bool) -> Iterator[Figure]:
    attached, detached = [], []
    for _ in range(10):
        started = time.perf_counter()
        attachment = cloud.attach(volume_id, **connector)
        cloud.complete(attachment["id"])
        attached.append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        cloud.detach(attachment["id"])
        detached.append((time.perf_counter() - started) * 1000)
    yield figure(f"volume attach, to its {to}", median(attached), "ms", aim="300")
    yield figure(f"volume detach, from its {to}", median(detached), "ms", aim="300")


def _through_an_export(cloud: Any) -> Iterator[Figure]:
    volume_id = cloud.create(1)["id"]
    path = cloud.disk(volume_id)
    _fill(path)
    for name, size, step, count, write in _KINDS:
        ratios = []
        for _ in range(_RUNS):
            direct = _bench("raw", str(path), size, step, count, write)
            attachment = cloud.attach(volume_id)
            info = attachment["connection_info"]
            url = f"nbd+unix:///{info['export']}?socket={info['socket']}"
            export = _bench("raw", url, size, step, count, write)
            cloud.detach(attachment["id"])
            ratios.append(100 * direct / export)
        yield figure(
            f"{name} through an export, of the file's", statistics.median(ratios), "%", aim="80"
        )


def _bench(form: str, where: str, size: int, step: int, count: int, write: bool) -> float:
    """Seconds for ``count`` requests, 16 at a time."""
    done = subprocess.run(
        ["qemu-img", "bench", "-f", form, "-t", "none", "-d", "16", "-s", str(size), "-S",
         str(step), "-c", str(count), *(["-w"] if write else []), where],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"Run completed in ([0-9.]+) seconds", done.stdout)
    assert found is not None, done.stdout
    return float(found[1])


def _fill(path: Path) -> None:
    subprocess.run(
        ["qemu-io", "-f", "raw", "-c", f"write -P 0x11 0 {_SPAN}", str(path)],
        capture_output=True, check=True,
    )  # fmt: skip
