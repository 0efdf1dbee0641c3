"""The way of a guest from one fake hypervisor to another: its specification, by a Unix socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, Steer, Ways

_STREAM = "guest"
_LOOK_S = 0.02
_TAKES_S = 10.0
_PROGRESS = {
    "memory_total_bytes": 2 << 20, "memory_processed_bytes": 1 << 20,
    "memory_remaining_bytes": 1 << 20, "disk_total_bytes": 0, "disk_processed_bytes": 0,
    "disk_remaining_bytes": 0,
}  # fmt: skip


class _Guest(msgspec.Struct, frozen=True, kw_only=True):
    spec: DomainSpec
    power: Power


class Arrivals:
    """``take_in``: called with each guest that comes; HostProblem: it is not let in."""

    def __init__(self, take_in: Callable[[DomainSpec, Power], None]) -> None:
        self._take_in = take_in
        self._directories: dict[str, Path] = {}

    def ways(self, server_id: str) -> Ways:
        """Short names: a Unix socket's is no longer than a hundred bytes."""
        directory = self._directories.get(server_id)
        if directory is None or not directory.exists():
            directory = Path(tempfile.mkdtemp(prefix="minicloud-"))
            self._directories[server_id] = directory
        return Ways(sockets={_STREAM: directory / _STREAM}, uid=os.getuid(), gid=os.getgid())

    def expect(self, server_id: str) -> Ways:
        ways = self.ways(server_id)
        path = ways.sockets[_STREAM]
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(1)
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return ways

    def forget(self, server_id: str) -> None:
        directory = self._directories.pop(server_id, None)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _serve(self, listener: socket.socket) -> None:
        listener.settimeout(_TAKES_S)
        with listener, contextlib.suppress(OSError):
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as said:
                peer.settimeout(_TAKES_S)
                try:
                    guest = msgspec.json.decode(said.readline(), type=_Guest)
                    self._take_in(guest.spec, guest.power)
                except HostProblem as problem:
                    peer.sendall(problem.message.encode() + b"\n")
                except msgspec.DecodeError:
                    return
                else:
                    peer.sendall(b"\n")


def depart(
    ways: Ways, moving: threading.Event, steer: Steer, spec: DomainSpec, power: Power
) -> None:
    """The guest is there. HostProblem: it is not."""
    while True:
        wish = steer(_PROGRESS)
        if wish == "abort":
            raise HostProblem(reason="the migration was aborted")
        if wish == "pause" or moving.wait(_LOOK_S):
            break
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(_TAKES_S)
            peer.connect(str(ways.sockets[_STREAM]))
            peer.sendall(msgspec.json.encode(_Guest(spec=spec, power=power)) + b"\n")
            with peer.makefile("rb") as said:
                answer = said.readline()
    except OSError as problem:
        raise HostProblem(reason=f"the other host cannot be reached: {problem}") from problem
    if answer != b"\n":
        raise HostProblem(reason=answer.decode().strip() or "the other host did not take the guest")
