"""Volume daemons that live and die one after the other on one directory, and their bytes."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from ceph_cluster import CephPool
from tokens import authenticate

from minicloud.client.identity import ServiceSession
from minicloud.cmd.volume import Settings, build
from minicloud.kit.context import Context
from minicloud.kit.db import Database, migrate
from minicloud.volume import attachment_store, store
from minicloud.volume.backends.base import Backend
from minicloud.volume.backends.disks import Disk, DiskFile
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.backends.rbd import RbdBackend
from minicloud.volume.exports import Export, Exporter, Served
from minicloud.volume.guests import Guests
from minicloud.volume.kinds import SNAPSHOTS
from minicloud.volume.listing import Listing
from minicloud.volume.records import Attachment, Backup, Snapshot, Volume
from minicloud.volume.service import NewVolume
from minicloud.volume.vault import Vault

CTX = Context(user_id="u", project_id="p", roles=("member", "service"))
SERVER = str(uuid.uuid4())
HERE = {"host": "lab1", "mountpoint": "/dev/vdb"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill(pid: int) -> None:
    """kill -9, and wait for the end."""
    handle = os.pidfd_open(pid)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    assert select.select([handle], [], [], 20)[0]
    os.close(handle)


class MortalBackend(FileBackend):
    """Kills the process before or after it does ``when``'s method: ``ensure:before``."""

    when = ""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        when = type(self).when
        if not when.startswith(f"{name}:"):
            return found

        def mortal(*arguments: Any) -> Any:
            if when.endswith(":before"):
                die()
            answer = found(*arguments)
            if when.endswith(":after"):
                die()
            return answer

        return mortal


class MortalExporter(Exporter):
    """The same for exports."""

    when = ""

    def ensure(self, volume_id, wanted):  # type: ignore[no-untyped-def]  # as in Exporter
        if self.when == "export:before":
            die()
        served = super().ensure(volume_id, wanted)
        if self.when == "export:after":
            die()
        return served

    def switch(self, volume_id, disk):  # type: ignore[no-untyped-def]  # as in Exporter
        if self.when == "switch:before":
            die()
        super().switch(volume_id, disk)
        if self.when == "switch:after":
            die()


class FileGuests(Guests):
    """Guests that open their volumes' files: QEMUs with locks and chains as a server's QEMU has
    them, below ``place``. Kills this process before or after one goes on in another file.
    """

    when = ""
    place = Path()
    daemon: Daemon

    @cached_property
    def _qemu(self) -> Exporter:
        return Exporter(self.place)

    def go_on(self, volume_id: str, file: Path) -> None:
        if self.when == "switch:before":
            die()
        self._qemu.switch(volume_id, DiskFile(path=file, format="qcow2"))
        if self.when == "switch:after":
            die()

    def open(self, volume_id: str, attachment_id: str, disk: Disk) -> str:
        """Where the guest's reads and writes go, which the test does for it."""
        served = Served(volume_id=volume_id, disk=disk, exports=[Export(id=attachment_id)])
        self._qemu.ensure(volume_id, lambda: served)
        return f"nbd+unix:///{attachment_id}?socket={self._qemu.socket_path(volume_id)}"

    def close(self, volume_id: str) -> None:
        self._qemu.ensure(volume_id, lambda: None)

    def swap(self, server_id: str, volume_id: str, new_id: str) -> None:
        """What the server's host does, which may have been killed anywhere in it before."""
        ours, known = self.daemon.attachments, self.daemon.all_attachments()
        mine = {each.volume_id: each for each in known if each.server_id == server_id}
        here = {**HERE, "nbd_reconnect": True}
        if new_id not in mine:
            mine[new_id], _ = ours.create(CTX, new_id, server_id, here)
        elif not mine[new_id].port and mine[new_id].status == "reserved":
            mine[new_id], _ = ours.connect(CTX, mine[new_id].id, here)
        if mine[new_id].status != "attached":
            pair = [self.daemon.url(mine[each]) for each in (volume_id, new_id)]
            copy = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", *pair]
            subprocess.run(copy, check=True, timeout=60)
            ours.complete(CTX, mine[new_id].id)
        if volume_id in mine:
            ours.delete(CTX, mine[volume_id].id)
        self.daemon.moving.complete(CTX, volume_id, new_id, failed=False)


class MortalVault(Vault):
    """The same for backups: in the middle of one, or when it is there."""

    when = ""

    def write(self, backup_id: str, source: Path, below: str | None) -> int:
        if self.when == "backup:part":
            (self._directory / f"{backup_id}.new").mkdir(parents=True)
            die()
        stored = super().write(backup_id, source, below)
        if self.when == "backup:whole":
            die()
        return stored


class Daemon:
    """A volume daemon on one directory, with a backend ``fast`` besides; ``when`` it dies.
    ``pool``: where the backend ``files`` keeps its volumes, instead of in files.
    """

    def __init__(
        self,
        directory: Path,
        sockets: Path,
        when: str = "",
        session: ServiceSession | None = None,
        pool: CephPool | None = None,
    ) -> None:
        self.directory, self.sockets, self.session = directory, sockets, session
        self.database = Database(f"sqlite:///{directory / 'volume.sqlite'}")
        guests = type("Guests", (FileGuests,), {"when": when, "place": sockets / "guests"})
        self.guests: FileGuests = guests(session)
        files = type("Backend", (MortalBackend,), {"when": when})

        def backend(path: Path, **options: Any) -> Backend:
            if pool is None or path.name != "data":
                return files(path, young_s=0.0, **options)
            return RbdBackend(
                path / "ceph", conf=pool.conf, user=pool.user, pool=pool.name, young_s=0.0
            )

        exporter = type("Exporter", (MortalExporter,), {"when": when})
        graph = build(
            Settings(
                host="lab1",
                data_dir=directory / "data",
                export_dir=sockets,
                quotas={},
                more_backends={"fast": directory / "fast"},
                open_files={"files": None},
            ),
            self.database,
            authenticate,
            session,
            backend=backend,
            exporter=exporter,
            vault=type("Vault", (MortalVault,), {"when": when}),
            ask_guests=guests,
        )
        self.backups, self.imaging = graph.services.backups, graph.services.imaging
        guests.daemon = self
        self.moving = graph.services.moving
        self.retyping, self.backends = graph.services.retyping, graph.backends
        self.backend: FileBackend = graph.backends.named("files")  # type: ignore[assignment]  # ours
        self.reconciler, self.jobs = graph.reconciler, graph.jobs
        self.volumes, self.snapshots = graph.services.volumes, graph.services.snapshots
        self.attachments = graph.services.attachments

    def all(self) -> list[Volume]:
        with self.database.read() as tx:
            return store.volumes_on(tx, "lab1")

    def all_attachments(self) -> list[Attachment]:
        with self.database.read() as tx:
            return attachment_store.attachments_on(tx, "lab1")

    def make(self, **values: Any) -> Volume:
        asked = NewVolume(project_id="p", **{"size_gb": 1, **values})
        return self.volumes.get(CTX, self.volumes.create(CTX, asked).id)

    def extend(self, volume_id: str, size_gb: int) -> None:
        self.volumes.extend(CTX, volume_id, size_gb, in_use=False)

    def back_up(self, volume_id: str, *, incremental: bool = False) -> Backup:
        made = self.backups.create(
            CTX, volume_id, snapshot_id=None, incremental=incremental, force=True, name="",
            description="", metadata={},
        )  # fmt: skip
        assert self.jobs.wait_idle(60)
        return self.backups.get(CTX, made.id)[0]

    def attach(self, volume_id: str) -> str:
        """The NBD URL of a guest that comes again when its exporter was away."""
        here = {**HERE, "nbd_reconnect": True}
        attachment, _ = self.attachments.create(CTX, volume_id, str(uuid.uuid4()), here)
        self.attachments.complete(CTX, attachment.id)
        return self.url(attachment)

    def url(self, attachment: Attachment) -> str:
        name = self.volumes.get(CTX, attachment.volume_id).bytes_id
        return f"nbd+unix:///{attachment.id}?socket={self.sockets}/{name}.sock"

    def attach_file(self, volume_id: str) -> str:
        """The same of a guest that opens the volume's file."""
        here = {**HERE, "local_files": True}
        attachment, _ = self.attachments.create(CTX, volume_id, str(uuid.uuid4()), here)
        self.attachments.complete(CTX, attachment.id)
        return self.guests.open(volume_id, attachment.id, self.backend.disk(volume_id))

    def keep(self, volume_id: str) -> Snapshot:
        made = self.snapshots.create(
            CTX, volume_id, name="", description="", metadata={}, in_use=True
        )
        return self.snapshots.get(CTX, made.id)


class Place:
    """Where daemons live and die one after the other."""

    def __init__(self, directory: Path, sockets: Path, pool: CephPool | None = None) -> None:
        self.directory, self.sockets, self.pool = directory, sockets, pool
        self.session: Callable[[], ServiceSession | None] = lambda: None
        database = Database(f"sqlite:///{directory / 'volume.sqlite'}")
        migrate.upgrade("volume", database)
        database.close()

    def daemon(self, when: str = "") -> Daemon:
        return Daemon(self.directory, self.sockets, when, self.session(), self.pool)

    def dies_of(self, when: str, work: Callable[[Daemon], object]) -> None:
        """Do ``work`` in a child that is killed at ``when``."""
        child = os.fork()
        if child == 0:
            try:
                work(self.daemon(when))
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), f"nothing died at {when}"
        assert os.WTERMSIG(status) == signal.SIGKILL

    def files(self) -> set[str]:
        """The volumes of the backend ``files``."""
        return self.listed("volume")

    def listed(self, kind: str) -> set[str]:
        """Ids of what the backend ``files`` has: of volumes, snapshots or images."""
        if self.pool is None:
            directory = self.directory / "data" / f"{kind}s"
            return {each.name for each in directory.iterdir()}
        names = self.pool.rbd("ls", self.pool.name).splitlines()
        return {each.removeprefix(f"{kind}-") for each in names if each.startswith(f"{kind}-")}

    def layers(self) -> int:
        """How many things that backend has that take space."""
        if self.pool is None:
            return len(list((self.directory / "data" / "layers").iterdir()))
        trash = self.pool.rbd("trash", "ls", self.pool.name)
        return len((self.pool.rbd("ls", self.pool.name) + trash).splitlines())

    def processes(self, program: str) -> list[int]:
        """Pids of what runs of ``program`` for this place, as the kernel lists it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            here = any(os.fsencode(path) in line for path in (self.directory, self.sockets))
            if here and line.split(b"\0")[0] == program.encode():
                found.append(int(entry.parent.name))
        return found

    def exporters(self) -> dict[str, int]:
        """Volume id -> pid of a living exporter, as the kernel lists it."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = entry.read_bytes().split(b"\0")
            except OSError:
                continue
            for argument in arguments:
                if argument.startswith((f"{self.sockets}/qmp/".encode(),
                                        f"{self.sockets}/guests/qmp/".encode())):  # fmt: skip
                    found[Path(argument.decode()).stem] = int(entry.parent.name)
        return found


def write(disk: Disk | str, data: int, at: str = "0") -> None:
    qemu_io(disk, f"write -P {data} {at} 64k")


def reads(disk: Disk | str, data: int, at: str = "0") -> bool:
    return "verification failed" not in qemu_io(disk, f"read -P {data} {at} 64k", "-r", "-U")


def qemu_io(disk: Disk | str, command: str, *how: str) -> str:
    where = ["-f", "raw", disk] if isinstance(disk, str) else disk.arguments()
    done = subprocess.run(
        ["qemu-io", *how, "-c", command, *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Failed" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def of_volume(volume_id: str) -> Listing:
    return Listing(kind=SNAPSHOTS, project_id=None, limit=10, equal={"volume_id": volume_id})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with a_place(tmp_path) as place:
        yield place


@contextlib.contextmanager
def a_place(directory: Path, pool: CephPool | None = None) -> Iterator[Place]:
    sockets = Path(tempfile.mkdtemp(prefix="mc-volume-"))
    place = Place(directory, sockets, pool)
    yield place
    for pid in place.exporters().values():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(sockets)
