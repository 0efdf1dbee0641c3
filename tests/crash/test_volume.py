"""kill -9 at each point of a volume's life: the next pass leaves rows, files and exports agreed.

A child process does one thing and kills itself at a chosen point; the parent is the daemon that
starts afterwards.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minicloud.kit.context import Context
from minicloud.kit.db import Database, migrate
from minicloud.volume import attachment_store, store
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.quotas import Quotas
from minicloud.volume.reconcile import Reconciler
from minicloud.volume.records import GIB, Attachment, Volume
from minicloud.volume.service import VolumeService

pytestmark = pytest.mark.skipif(not shutil.which("qemu-nbd"), reason="needs qemu-nbd")
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

    def ensure(self, volume_id: str, size_bytes: int) -> None:
        self._maybe("ensure:before")
        super().ensure(volume_id, size_bytes)
        self._maybe("ensure:after")

    def ensure_absent(self, volume_id: str) -> None:
        self._maybe("ensure_absent:before")
        super().ensure_absent(volume_id)
        self._maybe("ensure_absent:after")

    def _maybe(self, point: str) -> None:
        if self.when == point:
            die()


class MortalExporter(Exporter):
    """The same for exports."""

    when = ""

    def ensure(self, export_id, wanted):  # type: ignore[no-untyped-def]  # as in Exporter
        if self.when == "export:before":
            die()
        served = super().ensure(export_id, wanted)
        if self.when == "export:after":
            die()
        return served


class Daemon:
    """A volume daemon's objects on one directory; ``when`` it dies."""

    def __init__(self, directory: Path, sockets: Path, when: str = "") -> None:
        self.database = Database(f"sqlite:///{directory / 'volume.sqlite'}")
        self.backend = MortalBackend(directory / "data", young_s=0.0)
        self.exporter = MortalExporter(sockets)
        self.backend.when = self.exporter.when = when
        desired = DesiredExports(self.database, self.backend, host="lab1", address="")
        quotas = Quotas(self.database, {"volumes": -1, "gigabytes": -1, "per_volume_gigabytes": -1})
        self.volumes = VolumeService(self.database, self.backend, quotas, host="lab1")
        self.attachments = AttachmentService(
            self.database, self.exporter, desired, host="lab1", address="", ports=()
        )
        self.reconciler = Reconciler(
            self.database, self.backend, self.exporter, desired, self.volumes, self.attachments
        )

    def all(self) -> list[Volume]:
        with self.database.read() as tx:
            return list(store.volumes_by_id(tx, store.volume_ids(tx, "lab1")).values())

    def all_attachments(self) -> list[Attachment]:
        with self.database.read() as tx:
            return attachment_store.attachments_on(tx, "lab1")

    def make(self) -> Volume:
        made = self.volumes.create(
            CTX, project_id="p", size_gb=1, name="", description="", metadata={}
        )
        return self.volumes.get(CTX, made.id)


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
        return {path.stem for path in (self.directory / "data").iterdir()}

    def exporters(self) -> dict[str, int]:
        """Attachment id -> pid of a living qemu-nbd, as the kernel lists it."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                arguments = entry.read_bytes().split(b"\0")
            except OSError:
                continue
            for argument in arguments:
                if argument.startswith(f"--pid-file={self.sockets}/".encode()):
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


@pytest.mark.parametrize("when", ["ensure:before", "ensure:after"])
def test_a_volume_half_grown_is_finished(place: Place, when: str) -> None:
    volume = place.daemon().make()
    place.dies_of(when, lambda daemon: daemon.volumes.extend(CTX, volume.id, 3))
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
    assert set(place.exporters()) == {attachment.id}
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
    place.dies_of("ensure:before", lambda mortal: mortal.volumes.extend(CTX, small.id, 3))
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
    assert os.getsid(pid) == pid
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
    assert [path.name for path in place.sockets.iterdir()] == ["lock"]


def test_a_strangers_process_under_our_pid_is_left_alone(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    attachment, _ = daemon.attachments.create(CTX, volume.id, SERVER, HERE)
    kill(place.exporters()[attachment.id])
    stranger = os.fork()
    if stranger == 0:
        signal.pause()
        os._exit(0)
    try:
        (place.sockets / f"{attachment.id}.pid").write_text(f"{stranger}\n")
        with daemon.database.write() as tx:
            attachment_store.attachment_remove(tx, attachment.id)
        daemon.reconciler.run()
        assert os.waitpid(stranger, os.WNOHANG) == (0, 0), "it lives"
        assert not (place.sockets / f"{attachment.id}.pid").exists()
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def test_one_volumes_trouble_is_not_anothers(place: Place) -> None:
    daemon = place.daemon()
    lost, sound = daemon.make(), daemon.make()
    made = [
        daemon.attachments.create(CTX, each.id, str(uuid.uuid4()), HERE)[0]
        for each in (lost, sound)
    ]
    for pid in place.exporters().values():
        kill(pid)
    daemon.backend.path(lost.id).unlink()
    place.daemon().reconciler.run()
    place.daemon().reconciler.run()
    assert set(place.exporters()) == {made[1].id}
