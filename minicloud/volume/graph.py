"""What the daemon of an exporter has open, as it names that itself.

The nodes that it was told to open are ``d-...``; QEMU opens what they stand on by itself and gives
names of its own.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.disks import DiskFile
from minicloud.volume.qmp import Qmp

EXPORT = "e-"
"""How the names of exports begin by which guests come in."""
_NAME = 28  # characters that are left of QEMU's 31


def node_name(disk: DiskFile) -> str:
    return f"d-{short(disk)}"


def short(disk: DiskFile) -> str:
    return disk.path.stem.replace("-", "")[:_NAME]


def told(qmp: Qmp) -> dict[str, Any]:
    """By name the nodes that the daemon was told to open, newest first."""
    return {name: node for name, node in _all(qmp).items() if name.startswith("d-")}


def top(qmp: Qmp) -> str:
    """The node that guests write, or are to write first."""
    exported = (each for each in qmp.ask("query-block-exports") if each["id"].startswith(EXPORT))
    first = next(exported, None)
    return next(iter(told(qmp))) if first is None else str(first["node-name"])


def driver(qmp: Qmp, node: str) -> str:
    return str(_all(qmp)[node]["drv"])


def file_of(qmp: Qmp, node: str) -> Path | None:
    return _file(_all(qmp)[node])


def node_of(qmp: Qmp, disk: DiskFile) -> str | None:
    """The node of an open file, as a disk."""
    for name, node in _all(qmp).items():
        if node["drv"] == disk.format and _file(node) == disk.path:
            return name
    return None


def forget_unused(qmp: Qmp) -> None:
    """Close what the daemon was told to open and nothing stands on any more."""
    written = top(qmp)
    for name in told(qmp):
        if name != written:
            with contextlib.suppress(HostProblem):  # in use
                qmp.ask("blockdev-del", node_name=name)


def _all(qmp: Qmp) -> dict[str, Any]:
    return {each["node-name"]: each for each in qmp.ask("query-named-block-nodes", flat=True)}


def _file(node: Any) -> Path | None:
    """A qcow2 that does not stand on what its header says is told of as JSON."""
    text: str = node["file"]
    if not text.startswith("json:"):
        return Path(text)
    file = json.loads(text.removeprefix("json:")).get("file")
    return Path(file["filename"]) if isinstance(file, dict) and "filename" in file else None
