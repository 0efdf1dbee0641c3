"""Volumes over NBD: one ``qemu-storage-daemon`` a volume, one export in it an attachment.

The daemon alone has a volume's file open for writing, so it can go on in another file at any
moment (a snapshot) without its guests noticing. Guests of this host come in by a Unix socket; for
a guest of another host a ``qemu-nbd`` of its own passes one export on by TCP, to one host's
certificate where TLS is on. An exporter must outlive this service and whatever supervises it.
Knows no rows: who may use a volume was decided elsewhere.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem, MinicloudError
from minicloud.volume import graph, merging, processes
from minicloud.volume.backends.base import Merge
from minicloud.volume.backends.disks import Disk, DiskFile, options
from minicloud.volume.qmp import Qmp

LOG = logging.getLogger(__name__)
_SOCKET_PATH = 107  # Linux takes no longer name for a Unix socket
_LONGEST_ID = "0" * 36
_CLIENTS = 2  # the guest, and the same guest anew while the server has not missed the old one
_RECONNECT_S = 60
_FLOCK = "hhqqi4x"  # struct flock: kind, whence, start, length, pid


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """One attachment's way to the volume."""

    id: str
    """The attachment's id, which is the export's NBD name too."""
    writable: bool = True
    address: str = ""
    """Passed on by TCP at this address; empty: on the volume's Unix socket alone."""
    port: int = 0
    reconnects: bool = False
    """Whether the guest comes again when its connection ends, instead of failing its reads and
    writes; only then is a connection ended that is not given up.
    """
    peer: str = ""
    """Distinguished name of the certificate that alone may come in by TCP; empty: whoever the
    certificates' authority knows.
    """


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What should be served of a volume."""

    volume_id: str
    disk: Disk
    exports: Sequence[Export]


Wanted = Callable[[], Served | None]


def _nothing(_volume_id: str) -> None:
    pass


class Exporter:
    """The exports below one directory. Safe for many threads and several daemons at once.
    ``tls_dir``: PEM files as QEMU and libvirt name them; None: TCP without TLS. ``fence``: ends the
    writing of those who have a volume open and are dead. ValueError: the directory's name is too
    long for the sockets in it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls_dir: Path | None = None,
        fence: Callable[[str], None] = _nothing,
    ) -> None:
        self._directory, self._tls_dir, self._fence = directory, tls_dir, fence
        self._control = directory / "qmp"
        length = len(os.fsencode(self.socket_path(_LONGEST_ID)))
        if length > _SOCKET_PATH:
            raise ValueError(
                f"export_dir is {length - _SOCKET_PATH} characters too long for Unix sockets: "
                f"{directory}"
            )
        directory.mkdir(parents=True, exist_ok=True)
        # Others may pass through but not look: a socket's name and an export's are the right to
        # connect, since QEMU runs as a user of its own.
        directory.chmod(0o711)
        # Who speaks to a daemon's monitor can have it open any file.
        self._control.mkdir(mode=0o700, exist_ok=True)
        self._control.chmod(0o700)

    def socket_path(self, volume_id: str) -> Path:
        return self._directory / f"{volume_id}.sock"

    def ensure(self, volume_id: str, wanted: Wanted) -> set[str]:
        """Serve what ``wanted()`` answers, and only that; None: nothing. The exports served.

        ``wanted`` is asked while nobody else starts or ends it, so a late start never brings
        back an export that was given up meanwhile. HostProblem: QEMU does not come up.
        """
        with self._alone(volume_id):
            served = wanted()
            if served is None or not served.exports:
                self._end_all(volume_id)
                return set()
            self._serve(served)
            return {export.id for export in served.exports}

    def restart(self, volume_id: str, wanted: Wanted, work: Callable[[], None]) -> None:
        """Do ``work`` while nobody has the volume open, then serve ``wanted()``: guests that
        reconnect see no error, only a pause.
        """
        with self._alone(volume_id):
            self._end_all(volume_id)
            try:
                work()
            finally:
                served = wanted()
                if served is not None and served.exports:
                    self._serve(served)

    def while_idle(self, volume_id: str, work: Callable[[], None]) -> bool:
        """Do ``work`` unless the volume is served; nobody starts to serve it meanwhile. Whether
        it was done.
        """
        with self._alone(volume_id):
            if self._runs(volume_id):
                return False
            work()
            return True

    def switch(self, volume_id: str, disk: DiskFile) -> None:
        """Have the volume's daemon go on writing in ``disk``, an empty file on the one it has
        open; fine when it does already, or when there is no daemon. HostProblem.
        """
        with self._alone(volume_id):
            if not self._runs(volume_id):
                return
            try:
                self._go_on(volume_id, disk)
            except HostProblem:
                if self._runs(volume_id):
                    raise
                # It died of something else: its successor begins with the file.

    def merge(self, volume_id: str, merge: Merge | None) -> None:
        """Have the volume's daemon, if there is one, bring on a merge; None: let go of what was
        merged. HostProblem.
        """
        with self._alone(volume_id):
            if self._runs(volume_id):
                with Qmp(self._qmp_path(volume_id)) as qmp:
                    merging.bring_on(qmp, self.socket_path(volume_id), merge)

    def ids(self) -> set[str]:
        """Every volume that has a pid file: it is served, or was."""
        gateways = {path.name.split(".")[0] for path in self._control.glob("*.*.pid")}
        return gateways | {path.stem for path in self._control.glob("*.pid") if _plain(path)}

    def is_alive(self, volume_id: str, exports: Sequence[Export]) -> bool:
        """Whether the processes are there that serve these; what they offer is not asked."""
        if not self._runs(volume_id):
            return False
        gateways = {export.id for export in exports if export.address}
        return gateways == self._gateways(volume_id) and all(
            processes.command_line(self._gateway_pid(volume_id, each)) for each in gateways
        )

    # -- the volume's daemon ---------------------------------------------------------------------
    def _runs(self, volume_id: str) -> bool:
        return processes.command_line(self._pid_path(volume_id)) is not None

    def _serve(self, served: Served) -> None:
        """What is asked for, by a second daemon if the first dies of something else meanwhile."""
        self._end_gateways_but(served)  # one whose export has gone would wait for it to come back
        for last in (False, True):
            if not self._runs(served.volume_id):
                self._start(served)
            try:
                with Qmp(self._qmp_path(served.volume_id)) as qmp:
                    self._match(qmp, served)
                break
            except HostProblem:
                if last or self._runs(served.volume_id):
                    raise
        self._match_gateways(served)

    def _go_on(self, volume_id: str, disk: DiskFile) -> None:
        with Qmp(self._qmp_path(volume_id)) as qmp:
            merging.stop(qmp)
            top, name = graph.top(qmp), graph.node_name(disk)
            if graph.file_of(qmp, top) == disk.path:
                return
            if name not in graph.told(qmp):
                qmp.ask("blockdev-add", **{**disk.blockdev(name), "backing": None})
            qmp.ask("blockdev-snapshot", node=top, overlay=name)
        LOG.info("Volume %s goes on in %s", volume_id, disk.path.name)

    def _start(self, served: Served) -> None:
        volume_id = served.volume_id
        qmp = str(self._qmp_path(volume_id)).replace(",", ",,")
        nbd = str(self.socket_path(volume_id)).replace(",", ",,")
        # A service that was killed while one came up may be back before its pid file is there.
        processes.end_unnoted("qemu-storage-daemon", self._pid_path(volume_id))
        if self._pid_path(volume_id).exists():
            self._fence(volume_id)
        processes.start(
            [
                "qemu-storage-daemon",
                "--daemonize",
                "--pidfile",
                str(self._pid_path(volume_id)),
                "--chardev",
                f"socket,path={qmp},server=on,wait=off,id=qmp",
                "--monitor",
                "chardev=qmp",
                "--nbd-server",
                f"addr.type=unix,addr.path={nbd},max-connections=0",
                "--blockdev",
                json.dumps(served.disk.blockdev("d-first")),
            ],
            volume_id,
        )
        # The daemon chose a mask of its own; QEMU's user must be able to connect.
        self.socket_path(volume_id).chmod(0o666)
        LOG.info("Volume %s is served", volume_id)

    def _match(self, qmp: Qmp, served: Served) -> None:
        top = graph.top(qmp)
        # A qcow2 keeps its map in memory until it is flushed: answered writes must survive kill -9
        # of the daemon, so it is flushed with each. A raw file has no map.
        through = graph.driver(qmp, top) == "qcow2"
        wanted = {_export_name(export, through): export for export in served.exports}
        now = {str(each["id"]) for each in qmp.ask("query-block-exports")}
        for name, export in list(wanted.items()):
            other = _export_name(export, not through)
            if other in now and not export.reconnects:
                del wanted[name]
                wanted[other] = export
        for export_id in now - set(wanted):
            qmp.ask("block-export-del", id=export_id, mode="hard")
            self._gone(qmp, export_id)
        for export_id in set(wanted) - now:
            export = wanted[export_id]
            qmp.ask(
                "block-export-add",
                type="nbd",
                id=export_id,
                node_name=top,
                name=export.id,
                writable=export.writable,
                writethrough=through,
            )

    def _gone(self, qmp: Qmp, export_id: str) -> None:
        """Wait until an export that was given up is closed: its name can be used again then."""
        give_up_at = time.monotonic() + 10
        while any(each["id"] == export_id for each in qmp.ask("query-block-exports")):
            if time.monotonic() > give_up_at:
                raise HostProblem(reason=f"The export {export_id} does not close")
            time.sleep(0.01)

    def _end_all(self, volume_id: str) -> None:
        for export_id in self._gateways(volume_id):
            self._end_gateway(volume_id, export_id)
        pid_path = self._pid_path(volume_id)
        if pid_path.exists():
            if not processes.end(pid_path):
                self._fence_later(volume_id)
            LOG.info("Volume %s is no longer served", volume_id)
        for path in (pid_path, self._qmp_path(volume_id), self.socket_path(volume_id)):
            path.unlink(missing_ok=True)

    def _fence_later(self, volume_id: str) -> None:
        """Now, or by itself: a store misses the dead after a while."""
        try:
            self._fence(volume_id)
        except MinicloudError as problem:
            LOG.warning("Who had volume %s open may hold it yet: %s", volume_id, problem.message)

    # -- ways to other hosts ---------------------------------------------------------------------
    def _match_gateways(self, served: Served) -> None:
        wanted = {export.id: export for export in served.exports if export.address}
        for export_id, export in wanted.items():
            pid_path = self._gateway_pid(served.volume_id, export_id)
            running = processes.command_line(pid_path)
            arguments = self._gateway_argv(served.volume_id, export)
            if running is not None and set(arguments[1:]) <= set(running[1]):
                continue
            if running is not None:
                processes.end(pid_path)
            processes.start(arguments, export_id)

    def _end_gateways_but(self, served: Served) -> None:
        wanted = {export.id for export in served.exports if export.address}
        for export_id in self._gateways(served.volume_id) - wanted:
            self._end_gateway(served.volume_id, export_id)

    def _gateway_argv(self, volume_id: str, export: Export) -> list[str]:
        source = {
            "driver": "nbd",
            "server": {"type": "unix", "path": str(self.socket_path(volume_id))},
            "export": export.id,
            "reconnect-delay": _RECONNECT_S,
        }
        tls: list[str] = []
        if self._tls_dir is not None:
            folder = str(self._tls_dir).replace(",", ",,")
            tls = [
                "--object",
                f"tls-creds-x509,id=tls,endpoint=server,dir={folder},verify-peer=yes",
                "--tls-creds=tls",
            ]
            if export.peer:
                peer = export.peer.replace(",", ",,")
                tls += ["--object", f"authz-simple,id=peer,identity={peer}", "--tls-authz=peer"]
        return [
            "qemu-nbd",
            "--fork",
            "--persistent",
            f"--pid-file={self._gateway_pid(volume_id, export.id)}",
            *tls,
            f"--export-name={export.id}",
            f"--shared={_CLIENTS}",
            f"--bind={export.address}",
            f"--port={export.port}",
            *([] if export.writable else ["--read-only"]),
            "--discard=unmap",
            "--image-opts",
            options(source),
        ]

    def _gateways(self, volume_id: str) -> set[str]:
        return {path.name.split(".")[1] for path in self._control.glob(f"{volume_id}.*.pid")}

    def _end_gateway(self, volume_id: str, export_id: str) -> None:
        pid_path = self._gateway_pid(volume_id, export_id)
        processes.end(pid_path)
        pid_path.unlink(missing_ok=True)

    # -- names -----------------------------------------------------------------------------------
    def _pid_path(self, volume_id: str) -> Path:
        return self._control / f"{volume_id}.pid"

    def _qmp_path(self, volume_id: str) -> Path:
        return self._control / volume_id

    def _gateway_pid(self, volume_id: str, export_id: str) -> Path:
        return self._control / f"{volume_id}.{export_id}.pid"

    @contextmanager
    def _alone(self, volume_id: str) -> Iterator[None]:
        """One start or end of a volume's exports at a time on this machine, across threads and
        processes: a byte of one file is locked. Others need not wait for a store that is away.
        """
        at = zlib.crc32(volume_id.encode())
        handle = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0)
            fcntl.fcntl(handle, fcntl.F_OFD_SETLKW, asked)
            yield
        finally:
            os.close(handle)


def _plain(path: Path) -> bool:
    return path.name.count(".") == 1


def _export_name(export: Export, through: bool) -> str:
    """All that an export is: another one has another name."""
    kind = ("w" if export.writable else "r") + ("t" if through else "c")
    return f"{graph.EXPORT}{kind}-{export.id}"


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
