"""Layers that the daemon of an exporter merges below the guests it serves, by a job of QEMU's.

The job copies at its own pace and then waits: what it wrote is flushed before the layer above is
made to stand on it, so neither a killed daemon nor a power cut loses what a guest had flushed.
Until then nobody misses the job's work, and it can be stopped at any moment.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from pathlib import Path
from typing import Any

from minicloud.domain.errors import HostProblem
from minicloud.domain.ids import new_id
from minicloud.volume import graph
from minicloud.volume.backends.base import Merge
from minicloud.volume.qmp import Qmp

LOG = logging.getLogger(__name__)
_JOB = "m-"
_SPEED = 64 << 20
"""Bytes a second: the disk is the guests'."""
_END_S = 30.0
_FLUSH_S = 60.0


def bring_on(qmp: Qmp, server: Path, merge: Merge | None) -> None:
    """Begin ``merge``, or end it if all is copied, and nothing else; ``server``: the daemon's NBD
    socket. HostProblem; it begins anew then.
    """
    job_id = _JOB + graph.short(merge.upper) if merge is not None else ""
    for name, job in _jobs(qmp).items():
        if name != job_id or job["status"] == "concluded":
            _end(qmp, name, "job-cancel")
    job = _jobs(qmp).get(job_id)
    if merge is None:
        graph.forget_unused(qmp)
    elif job is None:
        _begin(qmp, job_id, merge)
    elif job["status"] == "pending":
        lower = graph.node_of(qmp, merge.lower)
        if lower is not None:
            _flush(qmp, server, lower)
            _end(qmp, job_id, "job-finalize")
            graph.forget_unused(qmp)
            LOG.info("%s is merged into %s", merge.upper.name, merge.lower.name)


def stop(qmp: Qmp) -> None:
    """No job is left. HostProblem."""
    for name in _jobs(qmp):
        _end(qmp, name, "job-cancel")
    graph.forget_unused(qmp)


def _begin(qmp: Qmp, job_id: str, merge: Merge) -> None:
    graph.forget_unused(qmp)
    top = graph.top(qmp)
    upper, lower = graph.node_of(qmp, merge.upper), graph.node_of(qmp, merge.lower)
    if upper is None or lower is None or upper == top:
        return  # the daemon has not gone on yet, or is to be started anew
    qmp.ask(
        "block-commit",
        job_id=job_id,
        device=top,
        top_node=upper,
        base_node=lower,
        backing_file=merge.lower.name,
        speed=_SPEED,
        auto_finalize=False,
        auto_dismiss=False,
    )


def _jobs(qmp: Qmp) -> dict[str, Any]:
    return {each["id"]: each for each in qmp.ask("query-jobs") if each["id"].startswith(_JOB)}


def _end(qmp: Qmp, job_id: str, verb: str) -> None:
    """End the job by ``verb`` unless it has ended. HostProblem: it was to succeed and did not."""
    if _jobs(qmp)[job_id]["status"] != "concluded":
        qmp.ask(verb, id=job_id)
    give_up_at = time.monotonic() + _END_S
    while (job := _jobs(qmp)[job_id])["status"] != "concluded":
        if time.monotonic() > give_up_at:
            raise HostProblem(reason="Layers that are being merged do not come to an end")
        time.sleep(0.01)
    qmp.ask("job-dismiss", id=job_id)
    if verb == "job-finalize" and "error" in job:
        raise HostProblem(reason=f"Layers cannot be merged: {job['error']}")


def _flush(qmp: Qmp, server: Path, node: str) -> None:
    """Have all that was written to ``node`` stored, by the one way in that the daemon has."""
    name = new_id()
    export_id = f"f-{name}"[:31]
    qmp.ask("block-export-add", type="nbd", id=export_id, node_name=node, name=name)
    try:
        flush(server, name)
    except (OSError, struct.error) as problem:
        raise HostProblem(
            reason=f"The exporter does not flush a layer: {type(problem).__name__}"
        ) from problem
    finally:
        qmp.ask("block-export-del", id=export_id, mode="hard")


def flush(server: Path, export: str) -> None:
    """The NBD protocol's flush. OSError; struct.error: the server broke off."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_FLUSH_S)
        link.connect(str(server))
        _read(link, ">8s8sH")
        name = export.encode()
        link.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, len(name)) + name)
        _read(link, ">QH")
        link.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 3, 0, 0, 0))
        _, error, _ = _read(link, ">IIQ")
        link.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 0, 0, 0))
    if error:
        raise OSError(error, "flush")


def _read(link: socket.socket, layout: str) -> tuple[Any, ...]:
    size = struct.calcsize(layout)
    data = b""
    while len(data) < size and (more := link.recv(size - len(data))):
        data += more
    return struct.unpack(layout, data)
