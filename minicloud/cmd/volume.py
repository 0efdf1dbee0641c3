"""minicloud-volume: the volume service's object graph."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from werkzeug.datastructures import Headers

from minicloud.client.identity import ServiceSession
from minicloud.cmd import wire
from minicloud.kit import daemon
from minicloud.kit.context import Context
from minicloud.kit.daemon import Periodic
from minicloud.kit.db import Database, migrate
from minicloud.kit.web import Service
from minicloud.volume.action_routes import ActionRoutes
from minicloud.volume.attachment_routes import AttachmentRoutes
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.backends import DEFAULT, Backends, configured
from minicloud.volume.backends.base import Backend
from minicloud.volume.backends.configured import Ceph
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.backends.rbd import RbdBackend
from minicloud.volume.backup_routes import BackupRoutes
from minicloud.volume.backups import BackupService
from minicloud.volume.catalog_routes import CatalogRoutes
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.filling import Filling
from minicloud.volume.group_routes import GroupRoutes
from minicloud.volume.groups import GroupService
from minicloud.volume.guests import Guests
from minicloud.volume.images import Images
from minicloud.volume.imaging import Imaging
from minicloud.volume.jobs import Jobs
from minicloud.volume.live import LiveVolumes
from minicloud.volume.manage_routes import ManageRoutes
from minicloud.volume.messages import MessageService
from minicloud.volume.moving import Moving
from minicloud.volume.presence import Roll
from minicloud.volume.quota_routes import QuotaRoutes
from minicloud.volume.quotas import Quotas
from minicloud.volume.reconcile import Reconciler, Services
from minicloud.volume.retyping import Retyping
from minicloud.volume.routes import Routes, rest_service, scoped, table
from minicloud.volume.scratch import Scratch
from minicloud.volume.service import VolumeService
from minicloud.volume.sharing_routes import MessageRoutes, TransferRoutes
from minicloud.volume.snapshot_routes import SnapshotRoutes
from minicloud.volume.snapshots import SnapshotService
from minicloud.volume.transfers import TransferService
from minicloud.volume.type_routes import TypeRoutes
from minicloud.volume.types import Types
from minicloud.volume.vault import Vault
from minicloud.volume.views import Way
from minicloud.volume.volume_routes import VolumeRoutes

LOG = logging.getLogger(__name__)
QUOTAS = ("volumes", "gigabytes", "snapshots", "backups", "backup_gigabytes", "groups")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    data_dir: Path
    export_dir: Path
    backup_dir: Path | None = None
    """None: ``backups`` beside the data."""
    more_backends: Mapping[str, Path] = {}
    """Name -> directory of backends besides ``files``."""
    ceph: Ceph = Ceph()
    open_files: Mapping[str, Collection[str] | None] = {}
    """Backend -> the hosts whose guests open its files; None: all."""
    open_rbd: Mapping[str, Collection[str] | None] = {}
    """The same of backends in Ceph, and their images."""
    file_group: str = ""
    nbd_address: str = ""
    """Empty: volumes are exported to this host alone."""
    nbd_ports: Sequence[int] = range(10810, 11810)
    tls_dir: Path | None = None
    """Certificates of exports by TCP; None: without TLS."""
    tls_peer: str = ""
    reconnect_s: int = 60
    quotas: Mapping[str, int]
    """Resource -> default limit."""
    secure_delete: bool = False
    policy_file: str | None = None


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume daemon serves and what it repeats."""

    service: Service
    reconciler: Reconciler
    jobs: Jobs
    services: Services
    backends: Backends


def build(
    settings: Settings,
    database: Database,
    authenticate: Callable[[Headers, dict[str, float], str], Context],
    session: ServiceSession | None = None,
    *,
    backend: Callable[..., Backend] = FileBackend,
    rbd: Callable[..., Backend] = RbdBackend,
    exporter: Callable[..., Exporter] = Exporter,
    vault: Callable[[Path], Vault] = Vault,
    ask_guests: Callable[[ServiceSession | None], Guests] = Guests,
) -> Graph:
    """``session``: this service's own token and catalog; None: there is no image service."""
    host, address = settings.host, settings.nbd_address
    backends = configured.opened(
        {DEFAULT: settings.data_dir, **settings.more_backends},
        settings.ceph,
        files=partial(backend, wipe=settings.secure_delete, group=settings.file_group),
        rbd=rbd,
        state=settings.data_dir / "ceph",
    )
    _check_openers("open_files", settings.open_files, {DEFAULT, *settings.more_backends})
    _check_openers("open_rbd", settings.open_rbd, settings.ceph.pools)
    desired = DesiredExports(database, backends, host=host, address=address, peer=settings.tls_peer)
    exports = exporter(settings.export_dir, tls_dir=settings.tls_dir, fence=desired.fence)
    guests = ask_guests(session)
    live = LiveVolumes(exports, desired, guests)
    quotas, types, images, jobs = (
        Quotas(database, settings.quotas), Types(database), Images(session), Jobs(),
    )  # fmt: skip
    backups_at = vault(settings.backup_dir or settings.data_dir / "backups")
    scratch = Scratch(settings.data_dir / "incoming")
    filling = Filling(database, backends, live, images, backups_at, scratch)
    roll = Roll(database, backends, host=host)
    volumes = VolumeService(
        database,
        backends,
        live,
        quotas,
        types,
        images,
        filling,
        jobs,
        roll,
        guests,
        host=host,
    )
    snapshots = SnapshotService(database, backends, live, quotas, volumes)
    attachments = AttachmentService(
        database, backends, live, desired, host=host, address=address, ports=settings.nbd_ports,
        open_files=settings.open_files, open_images=settings.open_rbd,
    )  # fmt: skip
    imaging = Imaging(database, backends, live, images, filling, volumes, guests, jobs, scratch)
    moving = Moving(database, volumes, attachments, guests, jobs)
    retyping = Retyping(database, backends, quotas, types, volumes, jobs, moving)
    messages = MessageService(database)
    backups = BackupService(
        database, backends, live, quotas, backups_at, filling, volumes, jobs, scratch
    )
    transfers = TransferService(database, quotas, volumes)
    groups = GroupService(database, quotas, types, volumes, snapshots)
    way = Way(
        socket=exports.socket_path,
        disk=lambda volume: backends.of(volume).disk(volume.bytes_id),
        address=address,
        tls=settings.tls_dir is not None,
        reconnect_s=settings.reconnect_s,
    )
    nouns: list[Routes] = [
        VolumeRoutes(volumes, scoped),
        ActionRoutes(volumes, snapshots, attachments, imaging, retyping, moving, scoped, way=way),
        SnapshotRoutes(snapshots, scoped),
        AttachmentRoutes(attachments, scoped, way=way),
        TypeRoutes(types, scoped),
        BackupRoutes(backups, scoped),
        TransferRoutes(transfers, scoped),
        MessageRoutes(messages, scoped),
        GroupRoutes(groups, scoped),
        ManageRoutes(retyping, scoped),
        QuotaRoutes(quotas, scoped),
        CatalogRoutes(roll, scoped, host=host),
    ]
    services = Services(
        volumes=volumes, snapshots=snapshots, attachments=attachments, imaging=imaging,
        retyping=retyping, moving=moving, messages=messages, backups=backups,
    )  # fmt: skip
    return Graph(
        service=rest_service(
            table(nouns), authenticate=authenticate, policy_file=settings.policy_file
        ),
        reconciler=Reconciler(database, backends, exports, desired, live, roll, services, scratch),
        jobs=jobs,
        services=services,
        backends=backends,
    )


def _check_openers(
    option: str, chosen: Mapping[str, Collection[str] | None], backends: Collection[str]
) -> None:
    """ValueError: a backend is named that is none of the option's kind."""
    wrong = sorted(set(chosen) - set(backends))
    if wrong:
        kind = ", ".join(sorted(backends)) or "there are none"
        raise ValueError(f"{option} names {wrong[0]}, which is none of its backends: {kind}")


def ports_of(text: str) -> range:
    """``10810-11809`` as a range of both ends. ValueError."""
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text.strip())
    if match is None or not 0 < int(match[1]) <= int(match[2]) < 65536:
        raise ValueError(f"nbd_ports must be FIRST-LAST, not {text!r}")
    return range(int(match[1]), int(match[2]) + 1)


def hosts_of(texts: Mapping[str, str]) -> dict[str, frozenset[str] | None]:
    """Backend -> ``lab1+lab2`` as a set, ``all`` as None. ValueError: no host is named."""
    found: dict[str, frozenset[str] | None] = {}
    for backend, text in texts.items():
        hosts = frozenset(name.strip() for name in text.split("+"))
        if "" in hosts:
            raise ValueError(
                f"hosts that open volumes must be NAME:HOST+HOST or NAME:all, not {text!r}"
            )
        found[backend] = None if hosts == {"all"} else hosts
    return found


def main() -> None:
    options = wire.configure("volume")
    database = wire.database(options, "volume")
    if not migrate.is_current("volume", database):
        LOG.critical("The tables are behind this version: run minicloud-manage db upgrade")
        sys.exit(1)
    chosen = options.volume
    settings = Settings(
        host=options.host,
        data_dir=Path(chosen.data_dir),
        export_dir=Path(chosen.export_dir),
        backup_dir=Path(chosen.backup_dir),
        more_backends={name: Path(path) for name, path in chosen.more_backends.items()},
        ceph=Ceph(pools=chosen.rbd_backends, conf=Path(chosen.ceph_conf), user=chosen.rbd_user),
        open_files=hosts_of(chosen.open_files),
        open_rbd=hosts_of(chosen.open_rbd),
        file_group=chosen.file_group or "",
        nbd_address=chosen.nbd_address or "",
        nbd_ports=ports_of(chosen.nbd_ports),
        tls_dir=Path(chosen.tls_dir) if chosen.tls_dir else None,
        tls_peer=chosen.tls_peer or "",
        reconnect_s=chosen.reconnect_s,
        quotas={name: options.quota[name] for name in QUOTAS},
        secure_delete=chosen.secure_delete,
        policy_file=options.policy_file,
    )
    session = wire.service_session(options)
    tokens = wire.token_validator(options, session)
    try:
        graph = build(settings, database, tokens.authenticate, session)
    except ValueError as problem:
        LOG.critical("%s", problem)
        sys.exit(1)
    web = wire.web_server(options, "volume", graph.service)
    # Its first turn is at once: exports that a reboot took come back.
    turns = Periodic("reconcile", options.volume.reconcile_s, graph.reconciler.run)
    daemon.run(
        "volume",
        start=[turns.start, web.start],
        stop=[web.stop, turns.stop, graph.jobs.close, database.close],
    )


if __name__ == "__main__":
    main()
