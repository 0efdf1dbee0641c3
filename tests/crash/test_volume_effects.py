"""kill -9 of the volume service, of its exporters or of all at once before effects of what takes
several: a file made, renamed or removed, a process started, a question or an order to somebody
else, a commit. Afterwards every byte, row, file and process is as if nothing had happened.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from identity import PASSWORDS
from rest_services import REGION, RestServices
from volume_daemon import CTX, Daemon, Place, kill, of_volume, reads, write
from volume_daemon import place as place  # the fixture

from minicloud.client.identity import Credentials, ServiceSession
from minicloud.client.image import ImageClient
from minicloud.client.rest import RestClient
from minicloud.domain.errors import MinicloudError
from minicloud.volume.backends.disks import DiskFile
from minicloud.volume.kinds import BACKUPS, VOLUMES
from minicloud.volume.listing import Listing
from minicloud.volume.qmp import Qmp
from minicloud.volume.records import Volume
from minicloud.volume.service import NewVolume

pytestmark = pytest.mark.skipif(
    not shutil.which("qemu-storage-daemon"), reason="needs qemu-storage-daemon"
)
EVERY = int(os.environ.get("MINICLOUD_KILL_EVERY", "3"))
"""A blow falls at the first effect and at each so many further; 1 takes minutes."""
SURVIVED = 77
"""Exit status of a child that had fewer effects than it was to die at."""
_EFFECTS = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
            "socket.connect", "subprocess.Popen")  # fmt: skip


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory where there is such a place: processes die here, disks do not."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        yield Path(directory)


class Strike:
    """``blow`` falls before the effect number ``at`` of this process, from now on."""

    def __init__(self, place: Place, daemon: Daemon, at: int, blow: Callable[[], object]) -> None:
        self._directory, self._left, self._blow = str(place.directory), at, blow
        self.fallen = False
        sys.addaudithook(self._audit)
        asked = Qmp.ask

        def counted(qmp: Qmp, command: str, **arguments: Any) -> Any:
            if not command.startswith(("query-", "qmp_")):
                self._count()
            return asked(qmp, command, **arguments)

        Qmp.ask = counted  # type: ignore[method-assign]  # of this process, which ends soon
        sa.event.listen(daemon.database.engine, "before_cursor_execute", self._execute)
        sa.event.listen(daemon.database.engine, "commit", self._commit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EFFECTS or (event == "open" and self._is_writing(*arguments)):
            self._count()

    def _is_writing(self, path: Any, mode: Any, flags: int) -> bool:
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        return (
            name.startswith(self._directory)
            and bool(flags & (os.O_WRONLY | os.O_RDWR))
            and not name.endswith("/lock")
        )

    @staticmethod
    def _execute(connection: sa.Connection, _cursor: Any, statement: str, *_more: object) -> None:
        if statement.startswith("BEGIN"):
            connection.info["writes"] = statement == "BEGIN IMMEDIATE"

    def _commit(self, connection: sa.Connection) -> None:
        if connection.info["writes"]:
            self._count()

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.fallen = True
            self._blow()


def blow(place: Place, victims: str) -> Callable[[], object]:
    """What kills ``victims``: "service", "exporters" or "all"."""

    def exporters() -> None:
        for pid in place.exporters().values():
            kill(pid)

    def service() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def both() -> None:
        exporters()
        service()

    return {"service": service, "exporters": exporters, "all": both}[victims]


def struck(place: Place, at: int, victims: str, work: Callable[[Daemon], object]) -> bool:
    """Do ``work`` in a child with a blow at its effect ``at``; whether it has as many."""
    child = os.fork()
    if child == 0:
        try:
            daemon = place.daemon()
            fate = Strike(place, daemon, at, blow(place, victims))
            try:
                work(daemon)
            except MinicloudError as problem:
                print(problem.message, file=sys.stderr)
            assert daemon.jobs.wait_idle(60)
            os._exit(0 if fate.fallen else SURVIVED)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if victims != "exporters" and os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) in (0, SURVIVED), "see standard error"
    return os.WEXITSTATUS(status) == 0


def recovered(place: Place) -> Daemon:
    """A new daemon that has done its first passes."""
    daemon = place.daemon()
    for _ in range(2):
        daemon.reconciler.run()
        assert daemon.jobs.wait_idle(60)
        go_on(daemon)
    daemon.reconciler.run()
    return daemon


def go_on(daemon: Daemon) -> None:
    """A server's host goes on with what it was asked for before the blow."""
    for volume in daemon.all():
        if volume.target_of and volume.attachments:
            server_id = volume.attachments[0].server_id
            daemon.guests.swap(server_id, volume.target_of, volume.id)


def volume_of(daemon: Daemon, volume_id: str) -> Volume:
    return daemon.volumes.get(CTX, volume_id)


def backups(daemon: Daemon) -> list[Any]:
    asked = Listing(kind=BACKUPS, project_id=None, limit=100)
    return [backup for backup, _ in daemon.backups.select(asked)]


def assert_agreed(place: Place, daemon: Daemon) -> None:
    """Rows, files and processes are each other's, and nothing is under way."""
    volumes = daemon.volumes.select(Listing(kind=VOLUMES, project_id=None, limit=100))
    assert {each.status for each in volumes} <= {"available", "in-use"}
    kept = {each.id: each for volume in volumes
            for each in daemon.snapshots.select(of_volume(volume.id))}  # fmt: skip
    assert {each.status for each in kept.values()} <= {"available"}
    assert {each.status for each in backups(daemon)} <= {"available"}
    for name, path in (("files", place.directory / "data"), ("fast", place.directory / "fast")):
        here = {each.bytes_id for each in volumes if each.backend == name}
        moments = {i for i, s in kept.items() if s.backend == name}
        if name == "files" and place.pool is not None:
            assert (place.listed("volume"), place.listed("snapshot")) == (here, moments)
            assert place.listed("new") == set()
            continue
        assert (names(path / "volumes"), names(path / "snapshots")) == (here, moments)
        assert names(path / "begun") == set()
        assert not [each for each in (path / "scratch").rglob("*") if not each.is_dir()]
        backend: Any = daemon.backends.named(name)
        assert set((path / "layers").iterdir()) == backend._needed()
    incoming = place.directory / "data" / "incoming"
    assert not [each for each in incoming.rglob("*") if not each.is_dir()]
    assert names(place.directory / "data" / "backups") == {each.id for each in backups(daemon)}
    assert set(place.exporters()) == {each.bytes_id for each in volumes if each.attachments}
    assert sorted(place.processes("qemu-storage-daemon")) == sorted(place.exporters().values())
    assert place.processes("qemu-img") == place.processes("setpriv") == []


def names(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()} if path.exists() else set()


class Story(NamedTuple):
    """``prepare`` answers what ``act`` and ``check`` need. ``check`` is told whether the request
    was written down before the blow, and so must be carried out.
    """

    prepare: Callable[[Daemon], dict[str, Any]]
    act: Callable[[Daemon, dict[str, Any]], object]
    check: Callable[[Daemon, dict[str, Any], bool], None]


def with_backup(daemon: Daemon) -> dict[str, Any]:
    volume = daemon.make()
    write(daemon.backend.disk(volume.id), 0x11)
    backup = daemon.back_up(volume.id)
    assert backup.status == "available"
    write(daemon.backend.disk(volume.id), 0x22)
    return {"volume": volume.id, "backup": backup.id}


def is_restored(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    assert reads(daemon.backend.disk(had["volume"]), 0x11 if begun else 0x22)


def is_a_restored_volume(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    new = [each for each in daemon.all() if each.id != had["volume"]]
    assert len(new) == begun
    assert all(reads(daemon.backend.disk(each.id), 0x11) for each in new)
    assert reads(daemon.backend.disk(had["volume"]), 0x22)


def is_backed_up(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    made = [each for each in backups(daemon) if each.parent_id == had["backup"]]
    assert len(made) == begun
    disk = had.get("url") or daemon.backend.disk(had["volume"])
    write(disk, 0x33)
    for each in made:
        _, back = daemon.backups.restore(CTX, each.id, None, None)
        assert daemon.jobs.wait_idle(60)
        assert reads(daemon.backend.disk(back.id), 0x22)
        daemon.backups.delete(CTX, each.id)
    assert reads(disk, 0x33)


def attached(prepare: Callable[[Daemon], dict[str, Any]]) -> Callable[[Daemon], dict[str, Any]]:
    def prepared(daemon: Daemon) -> dict[str, Any]:
        had = prepare(daemon)
        return {**had, "url": daemon.attach(had["volume"])}

    return prepared


def with_data(daemon: Daemon) -> dict[str, Any]:
    volume = daemon.make()
    write(daemon.backend.disk(volume.id), 0x11)
    return {"volume": volume.id, "data": 0x11}


def is_moved(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    volume = volume_of(daemon, had["volume"])
    assert volume.backend == ("fast" if begun else "files")
    disk = daemon.backends.of(volume).disk(volume.id)
    assert reads(disk, 0x11)
    write(disk, 0x22)


def is_moved_in_use(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    volume = volume_of(daemon, had["volume"])
    assert volume.backend == ("fast" if begun else "files")
    assert volume.migration_status == ("success" if begun else None)
    assert volume.status == "in-use"
    (attachment,) = volume.attachments
    assert reads(daemon.url(attachment), 0x11)
    write(daemon.url(attachment), 0x22)
    assert reads(daemon.url(attachment), 0x22)


def is_grown(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    volume = volume_of(daemon, had["volume"])
    assert volume.size_gb == (3 if begun else 1)
    assert daemon.backend.size(volume.id) == volume.size_bytes
    assert reads(had["url"], had["data"])
    write(had["url"], 0x22, f"{volume.size_gb * 1024 - 1}M")


def with_snapshot(daemon: Daemon) -> dict[str, Any]:
    had = with_data(daemon)
    snapshot = daemon.keep(had["volume"])
    write(daemon.backend.disk(had["volume"]), 0x22)
    return {**had, "snapshot": snapshot.id, "data": 0x22}


def is_reverted(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    assert reads(daemon.backend.disk(had["volume"]), 0x11 if begun else 0x22)
    write(daemon.backend.disk(had["volume"]), 0x33)
    assert reads(daemon.backend.snapshot_disk(had["snapshot"]), 0x11)


def with_several(daemon: Daemon) -> dict[str, Any]:
    had = with_snapshot(daemon)
    daemon.keep(had["volume"])
    return had


def is_gone(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    assert len(daemon.all()) == (not begun)


def is_kept(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    kept = daemon.snapshots.select(of_volume(had["volume"]))
    assert len(kept) == begun
    write(had["url"], 0x22)
    assert all(reads(daemon.backend.snapshot_disk(each.id), 0x11) for each in kept)
    assert reads(had["url"], 0x22)


def is_cloned(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    copies = [each for each in daemon.all() if each.id != had["volume"]]
    assert len(copies) == begun
    write(had["url"], 0x22)
    assert all(reads(daemon.backend.disk(each.id), 0x11) for each in copies)
    assert reads(had["url"], 0x22)


def with_stranger(daemon: Daemon) -> dict[str, Any]:
    file = daemon.directory / "data" / "managed" / "disk"
    file.write_bytes(b"\x11" * (1 << 20))
    return {"file": file}


def is_managed(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    assert had["file"].exists() is not begun
    made = daemon.all()
    assert len(made) == begun
    assert all(reads(daemon.backend.disk(each.id), 0x11) for each in made)
    had["file"].unlink(missing_ok=True)


def manage(daemon: Daemon, had: dict[str, Any]) -> None:
    asked = NewVolume(project_id="p")
    daemon.retyping.manage(CTX, asked, "lab1@files", "disk", bootable=False)


def is_released(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    assert len(daemon.all()) == (not begun)
    file = daemon.directory / "data" / "managed" / f"volume-{had['volume']}"
    assert file.exists() is begun
    if begun:
        assert file.read_bytes()[:65536] == b"\x11" * 65536
        file.unlink()


def with_image(daemon: Daemon) -> dict[str, Any]:
    """An image of 0x11."""
    images = images_of(daemon)
    image = images.image_create("source", disk_format="raw").value
    file = daemon.directory / "source"
    file.write_bytes(b"\x11" * (1 << 20))
    images.image_upload(image.id, file)
    return {"image": image.id}


def with_other_image(daemon: Daemon) -> dict[str, Any]:
    had = with_data(daemon)
    return {**had, **with_image(daemon)}


def images_of(daemon: Daemon) -> ImageClient:
    session = daemon.session
    assert session is not None

    def headers() -> dict[str, str]:
        return {"X-Auth-Token": session.token()}

    return ImageClient(RestClient("image", lambda: session.endpoint("image"), headers))


def is_made_of_image(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    made = daemon.all()
    assert all(reads(daemon.backend.disk(each.id), 0x11) for each in made)
    assert all(each.bootable for each in made)


def is_reimaged(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    volume = volume_of(daemon, had["volume"])
    of = volume.image_metadata.get("image_id")
    assert of in (None, had["image"])
    assert reads(daemon.backend.disk(volume.id), 0x11)


def upload(daemon: Daemon, had: dict[str, Any]) -> None:
    daemon.imaging.upload(
        CTX, had["volume"], name="copy", disk_format="qcow2", container_format="bare", force=True,
        visibility=None, protected=None,
    )  # fmt: skip


def is_uploaded(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    images = images_of(daemon)
    found = images.images_by_properties(name="copy").value
    # Killed before the volume's row says so, it is a queued image that nobody waits for.
    assert {each.status for each in found} <= {"active", "queued"}
    assert len(found) <= 1
    for each in found:
        if each.status == "active":
            path = daemon.directory / "copy"
            images.image_download(each.id, path, each)
            assert reads(DiskFile(path=path, format="qcow2"), 0x11)
            path.unlink()
        images.image_delete(each.id)
    write(had["url"], 0x22)
    assert reads(had["url"], 0x22)


def with_layers(daemon: Daemon) -> dict[str, Any]:
    """A volume in use whose snapshots are gone, but for the one before the last."""
    had = attached(with_data)(daemon)
    kept = [daemon.keep(had["volume"])]
    for number in range(1, 5):
        write(had["url"], 0x11 * (number + 1), f"{number}M")
        write(had["url"], 0x11 * (number + 1), "512k")
        kept.append(daemon.keep(had["volume"]))
    write(had["url"], 0x66, "5M")
    last = kept.pop(-2)
    for each in kept:
        daemon.snapshots.delete(CTX, each.id)
    return {**had, "snapshot": last.id}


def merge(daemon: Daemon, had: dict[str, Any] | None = None) -> None:
    """Passes until nothing is left to merge."""
    give_up_at = time.monotonic() + 60
    while daemon.backend.mergeable([each.id for each in daemon.all()]):
        daemon.reconciler.run()
        assert time.monotonic() < give_up_at


def is_merged(daemon: Daemon, had: dict[str, Any], begun: bool) -> None:
    merge(daemon)
    daemon.reconciler.run()
    assert daemon.backend.depth(had["volume"]) == 4
    assert len(list((daemon.directory / "data" / "layers").iterdir())) == 4
    for disk in (had["url"], daemon.backend.snapshot_disk(had["snapshot"])):
        assert all(reads(disk, 0x11 * (number + 1), f"{number}M") for number in range(4))
    assert reads(had["url"], 0x55, "512k")
    assert reads(had["url"], 0x55, "4M")
    assert reads(had["url"], 0x66, "5M")
    assert reads(daemon.backend.snapshot_disk(had["snapshot"]), 0x44, "512k")
    write(had["url"], 0x77)
    assert reads(had["url"], 0x77)


STORIES = {
    "restore": Story(
        with_backup,
        lambda daemon, had: daemon.backups.restore(CTX, had["backup"], had["volume"], None),
        is_restored,
    ),
    "restore as new": Story(
        with_backup,
        lambda daemon, had: daemon.backups.restore(CTX, had["backup"], None, None),
        is_a_restored_volume,
    ),
    "incremental backup": Story(
        attached(with_backup),
        lambda daemon, had: daemon.back_up(had["volume"], incremental=True),
        is_backed_up,
    ),
    "retype": Story(
        with_data,
        lambda daemon, had: daemon.retyping.migrate(CTX, had["volume"], "lab1@fast#fast"),
        is_moved,
    ),
    "retype in use": Story(
        attached(with_data),
        lambda daemon, had: daemon.retyping.migrate(CTX, had["volume"], "lab1@fast#fast"),
        is_moved_in_use,
    ),
    "extend": Story(
        attached(with_data),
        lambda daemon, had: daemon.volumes.extend(CTX, had["volume"], 3, in_use=True),
        is_grown,
    ),
    "extend above a snapshot": Story(
        attached(with_snapshot),
        lambda daemon, had: daemon.volumes.extend(CTX, had["volume"], 3, in_use=True),
        is_grown,
    ),
    "revert": Story(
        with_snapshot,
        lambda daemon, had: daemon.snapshots.revert(CTX, had["volume"], had["snapshot"]),
        is_reverted,
    ),
    "delete with snapshots": Story(
        with_several,
        lambda daemon, had: daemon.volumes.delete(CTX, had["volume"], cascade=True),
        is_gone,
    ),
    "snapshot": Story(attached(with_data), lambda daemon, had: daemon.keep(had["volume"]), is_kept),
    "merge": Story(with_layers, merge, is_merged),
    "clone": Story(
        attached(with_data),
        lambda daemon, had: daemon.make(source_volid=had["volume"]),
        is_cloned,
    ),
    "manage": Story(with_stranger, manage, is_managed),
    "unmanage": Story(
        with_data,
        lambda daemon, had: daemon.retyping.unmanage(CTX, had["volume"]),
        is_released,
    ),
}
CASES = [
    *((name, "service") for name in STORIES),
    *(
        (name, "exporters")
        for name in ("incremental backup", "extend", "retype in use", "snapshot", "merge", "clone")
    ),
    *((name, "all") for name in ("extend above a snapshot", "snapshot", "merge")),
]
WITH_IMAGES = {
    "volume of an image": Story(
        with_image,
        lambda daemon, had: daemon.make(image_id=had["image"]),
        is_made_of_image,
    ),
    "reimage": Story(
        with_other_image,
        lambda daemon, had: daemon.imaging.reimage(
            CTX, had["volume"], had["image"], reserved=False
        ),
        is_reimaged,
    ),
    "upload": Story(attached(with_data), upload, is_uploaded),
}


@pytest.mark.parametrize(("name", "victims"), CASES)
def test_nothing_is_lost_or_left(place: Place, name: str, victims: str) -> None:
    tell(place, STORIES[name], victims)


@pytest.mark.parametrize(
    ("name", "victims"),
    [*((name, "service") for name in WITH_IMAGES), ("upload", "exporters")],
)
def test_nothing_of_images_is_lost_or_left(
    place: Place, image_service: Callable[[], ServiceSession], name: str, victims: str
) -> None:
    place.session = image_service
    tell(place, WITH_IMAGES[name], victims)


def tell(place: Place, story: Story, victims: str, every: int = EVERY) -> None:
    """The story, with a blow at its first effect and at each so many further."""
    at = 1
    while True:
        had = story.prepare(place.daemon())
        more = struck(place, at, victims, lambda daemon, had=had: story.act(daemon, had))
        daemon = recovered(place)
        assert_agreed(place, daemon)
        story.check(daemon, had, at > 1 or victims == "exporters")
        clear(daemon)
        assert_agreed(place, daemon)
        assert place.layers() == len(place.listed("image"))
        if not more:
            break
        at += every
    assert at > 4, "the story has effects"


@pytest.fixture(scope="module")
def image_service(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[], ServiceSession]]:
    """In a process of its own; it outlives what is killed here."""
    directory = tmp_path_factory.mktemp("images")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            serve_images(directory, writing)
        finally:
            os._exit(0)
    os.close(writing)
    url = os.read(reading, 1000).decode()
    os.close(reading)
    yield lambda: ServiceSession(
        Credentials(
            url=url,
            username="minicloud",
            password=PASSWORDS["minicloud"],
            project_name="service",
            domain_name="Default",
            region=REGION,
        )
    )
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)


def serve_images(directory: Path, writing: int) -> None:
    def leave(*_: Any) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, leave)
    rest = RestServices(directory, host="other", token_cache_s=60.0, urls={})
    try:
        rest.bootstrap()
        os.write(writing, f"{rest.services['identity'].url}/v3".encode())
        signal.pause()
    finally:
        rest.close()


def clear(daemon: Daemon) -> None:
    """Delete all that there is."""
    for attachment in daemon.all_attachments():
        daemon.attachments.delete(CTX, attachment.id)
    for backup in sorted(backups(daemon), key=lambda each: -each.created_at):
        daemon.backups.delete(CTX, backup.id)
    for volume in daemon.all():
        daemon.volumes.delete(CTX, volume.id, cascade=True)
    daemon.reconciler.run()
