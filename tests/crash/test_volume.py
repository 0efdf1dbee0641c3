"""kill -9 at each point of a volume's life: the next pass leaves rows, files and exports agreed.

A child process does one thing and kills itself at a chosen point; the parent is the daemon that
starts afterwards.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tokens import authenticate

from minicloud.cmd.volume import Settings, build
from minicloud.kit.context import Context
from minicloud.kit.db import Database, migrate
from minicloud.volume import attachment_store, store
from minicloud.volume.backends.base import DiskFile
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.exports import Exporter
from minicloud.volume.kinds import BACKUPS, SNAPSHOTS
from minicloud.volume.listing import Listing
from minicloud.volume.records import GIB, Attachment, Snapshot, Volume
from minicloud.volume.service import NewVolume
from minicloud.volume.vault import Vault

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon"
)
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
    """A volume daemon's objects on one directory; ``when`` it dies."""

    def __init__(self, directory: Path, sockets: Path, when: str = "") -> None:
        self.database = Database(f"sqlite:///{directory / 'volume.sqlite'}")
        backend = type("Backend", (MortalBackend,), {"when": when})
        exporter = type("Exporter", (MortalExporter,), {"when": when})
        graph = build(
            Settings(host="lab1", data_dir=directory / "data", export_dir=sockets, quotas={}),
            self.database,
            authenticate,
            backend=partial(backend, young_s=0.0),
            exporter=exporter,
            vault=type("Vault", (MortalVault,), {"when": when}),
        )
        self.backups = graph.services.backups
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

    def back_up(self, volume_id: str) -> None:
        self.backups.create(
            CTX, volume_id, snapshot_id=None, incremental=False, force=False, name="",
            description="", metadata={},
        )  # fmt: skip
        self.jobs.wait_idle(60)

    def keep(self, volume_id: str) -> Snapshot:
        made = self.snapshots.create(
            CTX, volume_id, name="", description="", metadata={}, in_use=True
        )
        return self.snapshots.get(CTX, made.id)


class Place:
    """Where daemons live and die one after the other."""

    def __init__(self, directory: Path, sockets: Path) -> None:
        self.directory, self.sockets = directory, sockets
        database = Database(f"sqlite:///{directory / 'volume.sqlite'}")
        migrate.upgrade("volume", database)
        database.close()

    def daemon(self, when: str = "") -> Daemon:
        return Daemon(self.directory, self.sockets, when)

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
        return {path.name for path in (self.directory / "data" / "volumes").iterdir()}

    def layers(self) -> int:
        return len(list((self.directory / "data" / "layers").iterdir()))

    def exporters(self) -> dict[str, int]:
        """Volume id -> pid of a living exporter, as the kernel lists it."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = entry.read_bytes().split(b"\0")
            except OSError:
                continue
            for argument in arguments:
                if argument.startswith(f"{self.sockets}/qmp/".encode()):
                    found[Path(argument.decode()).stem] = int(entry.parent.name)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    sockets = Path(tempfile.mkdtemp(prefix="mc-volume-"))
    place = Place(tmp_path, sockets)
    yield place
    for pid in place.exporters().values():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(sockets)


@pytest.mark.parametrize("when", ["ensure:before", "ensure:after"])
def test_a_volume_half_made_is_finished(place: Place, when: str) -> None:
    place.dies_of(when, Daemon.make)
    daemon = place.daemon()
    (volume,) = daemon.all()
    assert volume.status == "creating"
    daemon.reconciler.run()
    assert daemon.volumes.get(CTX, volume.id).status == "available"
    assert daemon.backend.size(volume.id) == GIB
    assert place.files() == {volume.id}


@pytest.mark.parametrize("when", ["ensure_absent:before", "ensure_absent:after"])
def test_a_volume_half_deleted_goes(place: Place, when: str) -> None:
    volume = place.daemon().make()
    place.dies_of(when, lambda daemon: daemon.volumes.delete(CTX, volume.id))
    daemon = place.daemon()
    assert daemon.volumes.get(CTX, volume.id).status == "deleting"
    daemon.reconciler.run()
    assert daemon.all() == []
    assert place.files() == set()


@pytest.mark.parametrize("when", ["grow:before", "grow:after"])
def test_a_volume_half_grown_is_finished(place: Place, when: str) -> None:
    volume = place.daemon().make()
    place.dies_of(when, lambda daemon: daemon.extend(volume.id, 3))
    daemon = place.daemon()
    daemon.reconciler.run()
    grown = daemon.volumes.get(CTX, volume.id)
    assert (grown.status, grown.size_gb) == ("available", 3)
    assert daemon.backend.size(volume.id) == 3 * GIB


@pytest.mark.parametrize("when", ["export:before", "export:after"])
def test_an_export_half_started_is_there(place: Place, when: str) -> None:
    volume = place.daemon().make()
    place.dies_of(when, lambda daemon: daemon.attachments.create(CTX, volume.id, SERVER, HERE))
    daemon = place.daemon()
    (attachment,) = daemon.all_attachments()
    assert attachment.status == "attaching"
    before = place.exporters()
    daemon.reconciler.run()
    assert set(place.exporters()) == {attachment.volume_id}
    assert before in ({}, place.exporters()), "what ran runs on"
    # The caller asks again, as compute does after an error.
    daemon.attachments.connect(CTX, attachment.id, HERE)
    daemon.attachments.complete(CTX, attachment.id)
    assert daemon.volumes.get(CTX, volume.id).status == "in-use"


@pytest.mark.parametrize("when", ["export:before", "export:after"])
def test_an_attachment_half_ended_goes(place: Place, when: str) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
    daemon.attachments.complete(CTX, attachment.id)
    place.dies_of(when, lambda daemon: daemon.attachments.delete(CTX, attachment.id))
    assert daemon.volumes.get(CTX, volume.id).status == "detaching"
    place.daemon().reconciler.run()
    assert daemon.all_attachments() == []
    assert daemon.volumes.get(CTX, volume.id).status == "available"
    assert place.exporters() == {}


def test_a_late_turn_does_not_disturb_what_came_after(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
    daemon.attachments.delete(CTX, attachment.id)
    place.dies_of("ensure_absent:before", lambda mortal: mortal.volumes.delete(CTX, volume.id))
    daemon.attachments.finish_detaching(attachment)
    assert daemon.volumes.get(CTX, volume.id).status == "deleting"

    small = daemon.make()
    place.dies_of("grow:before", lambda mortal: mortal.extend(small.id, 3))
    daemon.volumes.finish_extending(small)
    assert daemon.volumes.get(CTX, small.id).status == "extending"


def test_exports_outlive_the_daemon_that_started_them(place: Place) -> None:
    volume = place.daemon().make()

    def attach_and_die(daemon: Daemon) -> None:
        attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
        daemon.attachments.complete(CTX, attachment.id)
        os.killpg(os.getpgid(0), signal.SIGKILL)  # as a supervisor ends a whole group

    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            attach_and_die(place.daemon())
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    (pid,) = place.exporters().values()
    assert os.getsid(pid) not in (0, os.getsid(0)), "its session is not ours"
    daemon = place.daemon()
    daemon.reconciler.run()
    assert list(place.exporters().values()) == [pid]


def test_an_export_that_no_row_wants_ends(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
    with daemon.database.write() as tx:
        attachment_store.attachment_remove(tx, attachment.id)
    daemon.reconciler.run()
    assert place.exporters() == {}
    assert sorted(path.name for path in place.sockets.iterdir()) == ["lock", "qmp"]


def test_a_strangers_process_under_our_pid_is_left_alone(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
    kill(place.exporters()[volume.id])
    stranger = os.fork()
    if stranger == 0:
        signal.pause()
        os._exit(0)
    try:
        (place.sockets / "qmp" / f"{volume.id}.pid").write_text(f"{stranger}\n")
        with daemon.database.write() as tx:
            attachment_store.attachment_remove(tx, attachment.id)
        daemon.reconciler.run()
        assert os.waitpid(stranger, os.WNOHANG) == (0, 0), "it lives"
        assert not (place.sockets / "qmp" / f"{volume.id}.pid").exists()
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def test_one_volumes_trouble_is_not_anothers(place: Place) -> None:
    daemon = place.daemon()
    lost, sound = daemon.make(), daemon.make()
    for each in (lost, sound):
        daemon.attachments.create(CTX, each.id, str(uuid.uuid4()), HERE)
    for pid in place.exporters().values():
        kill(pid)
    daemon.backend.disk(lost.id).path.unlink()
    place.daemon().reconciler.run()
    place.daemon().reconciler.run()
    assert set(place.exporters()) == {sound.id}


# -- snapshots and clones ------------------------------------------------------------------------
def write(disk: DiskFile | str, data: int, at: str = "0") -> None:
    qemu_io(disk, f"write -P {data} {at} 64k")


def reads(disk: DiskFile | str, data: int, at: str = "0") -> bool:
    return "verification failed" not in qemu_io(disk, f"read -P {data} {at} 64k")


def qemu_io(disk: DiskFile | str, command: str) -> str:
    where = ["-f", "raw", disk] if isinstance(disk, str) else ["-f", disk.format, str(disk.path)]
    done = subprocess.run(
        ["qemu-io", "-c", command, *where], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Failed" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("when", ["ensure_snapshot:before", "ensure_snapshot:after",
                                  "switch:before", "switch:after"])  # fmt: skip
@pytest.mark.parametrize("in_use", [False, True])
def test_a_snapshot_half_taken_is_finished(place: Place, when: str, in_use: bool) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    url = ""
    if in_use:
        attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
        daemon.attachments.complete(CTX, attachment.id)
        url = f"nbd+unix:///{attachment.id}?socket={place.sockets}/{volume.id}.sock"
    write(url or daemon.backend.disk(volume.id), 0x11)
    place.dies_of(when, lambda mortal: mortal.keep(volume.id))
    assert reads(url or daemon.backend.disk(volume.id), 0x11), "the volume is whole meanwhile"
    write(url or daemon.backend.disk(volume.id), 0x22, "1M")
    daemon = place.daemon()
    daemon.reconciler.run()
    (snapshot,) = daemon.snapshots.select(of_volume(volume.id))
    assert snapshot.status == "available"
    write(url or daemon.backend.disk(volume.id), 0x33)
    assert reads(daemon.backend.snapshot_disk(snapshot.id), 0x11), "kept as it was"
    assert reads(url or daemon.backend.disk(volume.id), 0x33)
    assert reads(url or daemon.backend.disk(volume.id), 0x22, "1M")
    assert place.layers() == 2


@pytest.mark.parametrize("when", ["ensure_snapshot:before", "ensure_snapshot:after", "switch:after",
                                  "ensure_from:before", "ensure_from:after",
                                  "ensure_snapshot_absent:after"])  # fmt: skip
def test_a_clone_half_made_is_finished(place: Place, when: str) -> None:
    daemon = place.daemon()
    source = daemon.make()
    write(daemon.backend.disk(source.id), 0x11)
    place.dies_of(when, lambda mortal: mortal.make(source_volid=source.id, size_gb=2))
    daemon = place.daemon()
    daemon.reconciler.run()
    (clone,) = [each for each in daemon.all() if each.id != source.id]
    assert clone.status == "available"
    assert daemon.backend.size(clone.id) == 2 * GIB
    assert reads(daemon.backend.disk(clone.id), 0x11)
    write(daemon.backend.disk(clone.id), 0x22)
    assert reads(daemon.backend.disk(source.id), 0x11)
    for each in (source, clone):
        daemon.volumes.delete(CTX, each.id)
    daemon.reconciler.run()
    assert place.layers() == 0, "nothing is left"


def test_a_snapshot_half_deleted_goes(place: Place) -> None:
    for when in ("ensure_snapshot_absent:before", "ensure_snapshot_absent:after"):
        daemon = place.daemon()
        volume = daemon.make()
        snapshot = daemon.keep(volume.id)
        place.dies_of(when, lambda mortal, id=snapshot.id: mortal.snapshots.delete(CTX, id))
        place.daemon().reconciler.run()
        assert place.daemon().snapshots.select(of_volume(volume.id)) == []
        place.daemon().volumes.delete(CTX, volume.id)
    assert place.layers() == 0


@pytest.mark.parametrize("when", ["backup:part", "backup:whole"])
def test_a_backup_half_written_is_finished(place: Place, when: str) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    write(daemon.backend.disk(volume.id), 0x11)
    place.dies_of(when, lambda mortal: mortal.back_up(volume.id))
    daemon = place.daemon()
    ((backup, _),) = daemon.backups.select(Listing(kind=BACKUPS, project_id=None, limit=2))
    assert (backup.status, daemon.all()[0].status) == ("creating", "backing-up")
    daemon.reconciler.run()
    assert daemon.jobs.wait_idle(60)
    (backup, _) = daemon.backups.get(CTX, backup.id)
    assert (backup.status, backup.object_count) == ("available", 1)
    assert daemon.all()[0].status == "available"
    daemon.backups.restore(CTX, backup.id, volume.id, None)
    assert daemon.jobs.wait_idle(60)
    assert reads(daemon.backend.disk(volume.id), 0x11)
    daemon.backups.delete(CTX, backup.id)
    daemon.volumes.delete(CTX, volume.id)
    daemon.reconciler.run()
    assert place.layers() == 0


def of_volume(volume_id: str) -> Listing:
    return Listing(kind=SNAPSHOTS, project_id=None, limit=10, equal={"volume_id": volume_id})


def test_answered_writes_survive_the_death_of_the_exporter(place: Place) -> None:
    """Above a snapshot too, where QEMU keeps a map of its own in memory."""
    daemon = place.daemon()
    volume = daemon.make()
    daemon.keep(volume.id)
    attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
    url = f"nbd+unix:///{attachment.id}?socket={place.sockets}/{volume.id}.sock"
    guest = subprocess.Popen(
        ["qemu-io", "-f", "raw", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert guest.stdin and guest.stdout
    guest.stdin.write("write -P 0x44 8M 64k\n")  # and no flush
    guest.stdin.flush()
    while "wrote" not in guest.stdout.readline():
        assert guest.poll() is None
    kill(place.exporters()[volume.id])
    guest.kill()
    guest.wait()
    daemon.reconciler.run()
    assert reads(url, 0x44, "8M")
