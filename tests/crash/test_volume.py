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
import uuid

import pytest
from volume_daemon import CTX, HERE, SERVER, Daemon, Place, kill, of_volume, qemu_io, reads, write
from volume_daemon import place as place  # the fixture

from minicloud.domain.errors import HostProblem
from minicloud.volume import attachment_store
from minicloud.volume.backends import qemu_img
from minicloud.volume.kinds import BACKUPS
from minicloud.volume.listing import Listing
from minicloud.volume.records import GIB

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon"
)


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
@pytest.mark.parametrize("when", ["ensure_snapshot:before", "ensure_snapshot:after",
                                  "switch:before", "switch:after"])  # fmt: skip
@pytest.mark.parametrize("in_use", ["", "export", "file"])
def test_a_snapshot_half_taken_is_finished(place: Place, when: str, in_use: str) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    ways = {"export": daemon.attach, "file": daemon.attach_file}
    url = ways[in_use](volume.id) if in_use else ""
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


@pytest.mark.parametrize("by_guest", [False, True])
def test_a_file_that_a_guest_has_open_is_not_made_larger(place: Place, by_guest: bool) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    daemon.attach_file(volume.id)
    daemon.keep(volume.id)
    place.dies_of("grow:before", lambda it: it.volumes.extend(CTX, volume.id, 3, in_use=True))
    daemon = place.daemon()
    daemon.reconciler.run()
    assert daemon.volumes.get(CTX, volume.id).status == "extending"
    disk = daemon.backend.disk(volume.id)
    assert daemon.backend.size(volume.id) == GIB
    daemon.guests.close(volume.id)
    if by_guest:
        qemu_img.grow(disk, 3 * GIB)
        daemon.guests.open(volume.id, str(uuid.uuid4()), disk)
    daemon.reconciler.run()
    grown = daemon.volumes.get(CTX, volume.id)
    assert (grown.status, grown.size_gb) == ("in-use", 3)
    assert daemon.backend.size(volume.id) == 3 * GIB


def test_a_volume_whose_guest_has_its_file_open_is_nobody_elses(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    url = daemon.attach_file(volume.id)
    write(url, 0x11)
    (attachment,) = daemon.all_attachments()
    with pytest.raises(HostProblem, match="still has the file"):
        daemon.attachments.delete(CTX, attachment.id)
    place.daemon().reconciler.run()
    assert daemon.volumes.get(CTX, volume.id).status == "detaching"
    write(url, 0x22)
    daemon.guests.close(volume.id)
    place.daemon().reconciler.run()
    assert daemon.volumes.get(CTX, volume.id).status == "available"
    assert reads(daemon.attach(volume.id), 0x22)


def test_a_guest_that_does_not_go_on_yet_keeps_its_snapshot_waiting(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    url = daemon.attach_file(volume.id)
    write(url, 0x11)
    place.dies_of("switch:before", lambda mortal: mortal.keep(volume.id))
    # What a guest has open is not merged, whoever believes that nobody has it.
    daemon.backend.compact(volume.id, lambda work: work())
    write(url, 0x22)
    assert place.layers() == 2
    daemon.reconciler.run()
    (snapshot,) = daemon.snapshots.select(of_volume(volume.id))
    assert snapshot.status == "available"
    assert reads(daemon.backend.snapshot_disk(snapshot.id), 0x22)
    write(url, 0x33)
    assert reads(daemon.backend.snapshot_disk(snapshot.id), 0x22)


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


def test_a_backup_whose_restoring_ends_with_the_volume_is_free(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    backup = daemon.back_up(volume.id)

    def restore(mortal: Daemon) -> None:
        mortal.backups.restore(CTX, backup.id, volume.id, None)
        mortal.jobs.wait_idle(60)

    place.dies_of("ensure_content:before", restore)
    daemon = place.daemon()
    assert daemon.backups.get(CTX, backup.id)[0].status == "restoring"
    daemon.volumes.delete(CTX, volume.id, force=True)
    daemon.reconciler.run()
    assert daemon.backups.get(CTX, backup.id)[0].status == "available"


def test_a_snapshot_while_another_is_half_taken_loses_nothing(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    url = daemon.attach(volume.id)
    write(url, 0x11)
    place.dies_of("switch:before", lambda mortal: mortal.keep(volume.id))
    daemon = place.daemon()
    second = daemon.keep(volume.id)
    write(url, 0x22)
    daemon.reconciler.run()
    assert reads(url, 0x22)
    kept = daemon.snapshots.select(of_volume(volume.id))
    assert [each.status for each in kept] == ["available"] * 2
    write(url, 0x33)
    kill(place.exporters()[volume.id])
    daemon.reconciler.run()
    assert reads(url, 0x33)
    assert all(reads(daemon.backend.snapshot_disk(each.id), 0x11) for each in kept)
    assert second.id in {each.id for each in kept}


def test_copies_end_with_the_service_that_made_them(place: Place) -> None:
    daemon = place.daemon()
    volume = daemon.make()
    qemu_io(daemon.backend.disk(volume.id), "write -P 0x11 0 512M")
    child = os.fork()
    if child == 0:
        try:
            mortal = place.daemon()
            mortal.retyping.migrate(CTX, volume.id, "lab1@fast#fast")
            mortal.jobs.wait_idle(60)
        finally:
            os._exit(0)
    while not (copying := place.processes("qemu-img")):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the copy was too quick to be seen"
    handle = os.pidfd_open(copying[0])
    kill(child)
    os.waitpid(child, 0)
    assert select.select([handle], [], [], 20)[0]
    os.close(handle)
    daemon = place.daemon()
    daemon.reconciler.run()
    assert daemon.jobs.wait_idle(60)
    daemon.reconciler.run()
    moved = daemon.volumes.get(CTX, volume.id)
    assert (moved.status, moved.backend) == ("available", "fast")
    assert reads(daemon.backends.of(moved).disk(volume.id), 0x11, "511M")
    assert not list((place.directory / "fast" / "scratch").rglob("*.raw"))


def test_an_exporter_without_its_pid_file_makes_room(place: Place) -> None:
    """As one that was just coming up when the service died."""
    daemon = place.daemon()
    volume = daemon.make()
    url = daemon.attach(volume.id)
    write(url, 0x11)
    before = place.exporters()[volume.id]
    (place.sockets / "qmp" / f"{volume.id}.pid").unlink()
    daemon.reconciler.run()
    assert place.processes("qemu-storage-daemon") == [place.exporters()[volume.id]] != [before]
    assert reads(url, 0x11)


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
