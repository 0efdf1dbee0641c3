"""minicloud-volume: the volume service's object graph."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from werkzeug.datastructures import Headers

from minicloud.cmd import wire
from minicloud.kit import daemon
from minicloud.kit.context import Context
from minicloud.kit.daemon import Periodic
from minicloud.kit.db import Database, migrate
from minicloud.kit.web import Service
from minicloud.volume.action_routes import ActionRoutes
from minicloud.volume.attachment_routes import AttachmentRoutes
from minicloud.volume.attachments import AttachmentService
from minicloud.volume.backends.files import FileBackend
from minicloud.volume.catalog_routes import CatalogRoutes
from minicloud.volume.desired import DesiredExports
from minicloud.volume.exports import Exporter
from minicloud.volume.quota_routes import QuotaRoutes
from minicloud.volume.quotas import UNLIMITED, Quotas
from minicloud.volume.reconcile import Reconciler
from minicloud.volume.routes import Routes, rest_service, scoped, table
from minicloud.volume.service import VolumeService
from minicloud.volume.volume_routes import VolumeRoutes

LOG = logging.getLogger(__name__)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    data_dir: Path
    export_dir: Path
    nbd_address: str = ""
    """Empty: volumes are exported to this host alone."""
    nbd_ports: Sequence[int] = range(10810, 11810)
    quotas: Mapping[str, int]
    """Resource -> default limit."""
    policy_file: str | None = None


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume daemon serves and what it repeats."""

    service: Service
    reconciler: Reconciler


def build(
    settings: Settings,
    database: Database,
    authenticate: Callable[[Headers, dict[str, float], str], Context],
) -> Graph:
    host, address = settings.host, settings.nbd_address
    backend = FileBackend(settings.data_dir)
    exporter = Exporter(settings.export_dir)
    desired = DesiredExports(database, backend, host=host, address=address)
    quotas = Quotas(database, settings.quotas)
    volumes = VolumeService(database, backend, quotas, host=host)
    attachments = AttachmentService(
        database, exporter, desired, host=host, address=address, ports=settings.nbd_ports
    )
    nouns: list[Routes] = [
        VolumeRoutes(volumes, scoped),
        ActionRoutes(volumes, scoped),
        AttachmentRoutes(attachments, scoped, socket=exporter.socket_path, address=address),
        QuotaRoutes(quotas, scoped),
        CatalogRoutes(scoped, host=host),
    ]
    return Graph(
        service=rest_service(
            table(nouns), authenticate=authenticate, policy_file=settings.policy_file
        ),
        reconciler=Reconciler(database, backend, exporter, desired, volumes, attachments),
    )


def ports_of(text: str) -> range:
    """``10810-11809`` as a range of both ends. ValueError."""
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text.strip())
    if match is None or not 0 < int(match[1]) <= int(match[2]) < 65536:
        raise ValueError(f"nbd_ports must be FIRST-LAST, not {text!r}")
    return range(int(match[1]), int(match[2]) + 1)


def main() -> None:
    options = wire.configure("volume")
    database = wire.database(options, "volume")
    if not migrate.is_current("volume", database):
        LOG.critical("The tables are behind this version: run minicloud-manage db upgrade")
        sys.exit(1)
    settings = Settings(
        host=options.host,
        data_dir=Path(options.volume.data_dir),
        export_dir=Path(options.volume.export_dir),
        nbd_address=options.volume.nbd_address or "",
        nbd_ports=ports_of(options.volume.nbd_ports),
        quotas={
            "volumes": options.quota.volumes,
            "gigabytes": options.quota.gigabytes,
            "per_volume_gigabytes": UNLIMITED,
        },
        policy_file=options.policy_file,
    )
    tokens = wire.token_validator(options, wire.service_session(options))
    try:
        graph = build(settings, database, tokens.authenticate)
    except ValueError as problem:
        LOG.critical("%s", problem)
        sys.exit(1)
    web = wire.web_server(options, "volume", graph.service)
    # Its first turn is at once: exports that a reboot took come back.
    turns = Periodic("reconcile", options.volume.reconcile_s, graph.reconciler.run)
    daemon.run(
        "volume", start=[turns.start, web.start], stop=[web.stop, turns.stop, database.close]
    )


if __name__ == "__main__":
    main()
