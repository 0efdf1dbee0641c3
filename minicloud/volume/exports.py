"""One ``qemu-nbd`` per export: started detached, found again by its pid file, ended by pidfd.

An exporter must outlive this daemon and whatever supervises it, because a guest's disk hangs on
it. So nothing here holds a child: what runs is read from the pid files and checked against the
kernel's list each time. Knows no rows: who may use a volume was decided elsewhere.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem

LOG = logging.getLogger(__name__)
_START_TIMEOUT_S = 20.0
_END_TIMEOUT_S = 20.0
_SOCKET_PATH = 107  # Linux takes no longer name for a Unix socket
_LONGEST_ID = "0" * 36
_CLIENTS = 2  # the guest, and the same guest anew while the server has not missed the old one


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What should be served."""

    id: str
    """The attachment's id: the export's NBD name, and the name of its socket."""
    path: Path
    """A raw file or device."""
    address: str = ""
    """Listen on TCP at this address; empty: on a Unix socket."""
    port: int = 0
    shared: bool = False
    """Somebody else has the file open for writing too: the same server's other host while it
    migrates. QEMU's lock on the file is then not taken.
    """


class Exporter:
    """The exports below one directory. Safe for many threads and several daemons at once.
    ValueError: the directory's name is too long for the sockets in it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        length = len(os.fsencode(self.socket_path(_LONGEST_ID)))
        if length > _SOCKET_PATH:
            raise ValueError(
                f"export_dir is {length - _SOCKET_PATH} characters too long for Unix sockets: "
                f"{directory}"
            )
        directory.mkdir(parents=True, exist_ok=True)
        # Others may pass through but not look: a socket's name is the right to connect to it,
        # since QEMU runs as a user of its own.
        directory.chmod(0o711)

    def socket_path(self, export_id: str) -> Path:
        return self._directory / f"{export_id}.sock"

    def ensure(self, export_id: str, wanted: Callable[[], Export | None]) -> bool:
        """Serve what ``wanted()`` answers, and only that; None: nothing. Whether it is served.

        ``wanted`` is asked while no other start or end can happen, so a late start never brings
        back an export that was given up meanwhile. HostProblem: qemu-nbd does not come up.
        """
        with self._alone():
            export = wanted()
            running = self._running(export_id)
            if export is not None and running is not None and self._serves(running[1], export):
                return True
            if running is not None:
                self._end(running[0], export_id)
            if export is None:
                self._remove_files(export_id)
                return False
            self._start(export)
            return True

    def ids(self) -> set[str]:
        """Every export that has a pid file: it runs, or did."""
        return {path.stem for path in self._directory.glob("*.pid")}

    def runs(self, export: Export) -> bool:
        """Whether a process serves just this."""
        running = self._running(export.id)
        return running is not None and self._serves(running[1], export)

    def _start(self, export: Export) -> None:
        arguments = self._argv(export)
        try:
            # Detached by --fork: own session, no parent. The umask lets QEMU's user connect.
            done = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_START_TIMEOUT_S,
                umask=0o111,
                check=False,
                text=True,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise HostProblem(
                reason=f"qemu-nbd does not start: {type(problem).__name__}"
            ) from problem
        if done.returncode != 0:
            LOG.warning("qemu-nbd refuses export %s: %s", export.id, done.stderr.strip()[-400:])
            raise HostProblem(reason=f"qemu-nbd cannot export {export.id}")
        LOG.info("Export %s is served", export.id)

    def _serves(self, arguments: Sequence[str], export: Export) -> bool:
        # Where, and no more: an exporter started by an older minicloud with other options must
        # not be taken away from a running guest.
        return set(self._where(export)) <= set(arguments)

    def _where(self, export: Export) -> list[str]:
        if export.address:
            return [f"--bind={export.address}", f"--port={export.port}"]
        return [f"--socket={self.socket_path(export.id)}"]

    def _argv(self, export: Export) -> list[str]:
        lock = "off" if export.shared else "on"
        # The path goes in as one option value: QEMU reads a doubled comma as a comma.
        name = str(export.path).replace(",", ",,")
        return [
            "qemu-nbd",
            "--fork",
            "--persistent",
            f"--pid-file={self._pid_path(export.id)}",
            f"--export-name={export.id}",
            f"--shared={_CLIENTS}",
            *self._where(export),
            *_caching(export.path),
            "--discard=unmap",
            "--image-opts",
            f"driver=raw,file.driver=file,file.filename={name},file.locking={lock}",
        ]

    def _pid_path(self, export_id: str) -> Path:
        return self._directory / f"{export_id}.pid"

    def _running(self, export_id: str) -> tuple[int, list[str]] | None:
        """(pid, command line) of the exporter; None where the pid is gone or somebody else's."""
        try:
            pid = int(self._pid_path(export_id).read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        arguments = command.decode(errors="surrogateescape").split("\0")[:-1]
        if not self._is_exporter(arguments, export_id):
            return None
        return pid, arguments

    def _is_exporter(self, arguments: Sequence[str], export_id: str) -> bool:
        return (
            bool(arguments)
            and Path(arguments[0]).name == "qemu-nbd"
            and f"--pid-file={self._pid_path(export_id)}" in arguments
        )

    def _end(self, pid: int, export_id: str) -> None:
        """End the exporter, which writes out what it holds. The pidfd keeps the pid from standing
        for another process between the check and the signal.
        """
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self._running(export_id) is None:
                return
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    signal.pidfd_send_signal(handle, number)
                except ProcessLookupError:
                    return
                if select.select([handle], [], [], _END_TIMEOUT_S)[0]:
                    LOG.info("Export %s is no longer served", export_id)
                    return
            raise HostProblem(reason=f"The exporter of {export_id} does not end")
        finally:
            os.close(handle)

    def _remove_files(self, export_id: str) -> None:
        self.socket_path(export_id).unlink(missing_ok=True)
        self._pid_path(export_id).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One start or end at a time on this machine, across threads and processes."""
        handle = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _caching(path: Path) -> list[str]:
    """Past the page cache where the file system can: the guest has a cache of its own, and its
    flush still reaches the disk. Else through it, with the same promise.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        return ["--cache=writeback", "--aio=threads"]
    return ["--cache=none", "--aio=native"]


def free_port(address: str, ports: Iterable[int], taken: set[int]) -> int | None:
    """A port of ``ports`` that is not ``taken`` and on which nothing listens; None: there is
    none.
    """
    for port in ports:
        if port in taken:
            continue
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    return None
