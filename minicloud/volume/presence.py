"""Which volume services there are and what room they have, as each tells it with its pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import MinicloudError, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.volume.attachment_store import values_of
from minicloud.volume.backends import Backends
from minicloud.volume.backends.base import StoreAway
from minicloud.volume.models import services, volumes
from minicloud.volume.records import GIB

LOG = logging.getLogger(__name__)
BINARY = "cinder-volume"
BACKUP = "cinder-backup"
SCHEDULER = "cinder-scheduler"
BINARIES = (SCHEDULER, BINARY, BACKUP)
"""One daemon does the work of Cinder's three, and clients look for their names."""


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    binary: str
    disabled: bool
    disabled_reason: str | None
    frozen: bool
    pools: Mapping[str, Any]
    last_seen: float


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    backend: str
    protocol: str
    total_gb: float | None
    """None, as what is free: it is not known."""
    free_gb: float | None
    allocated_gb: int
    volumes: int
    away: bool
    last_seen: float


class Roll:
    """``down_s``: after how long without word a service counts as down."""

    def __init__(
        self, database: Database, backends: Backends, *, host: str, down_s: float = 60.0
    ) -> None:
        self._database, self._backends = database, backends
        self._host, self._down_s = host, down_s

    def report(self) -> None:
        """This host is here, with so much room."""
        pools: dict[str, Any] = {}
        for name, backend in self._backends:
            told: dict[str, Any] = {"protocol": backend.protocol, "total": None, "free": None}
            try:
                room = backend.capacity()
                told.update(total=room.total_bytes, free=room.free_bytes)
            except MinicloudError as problem:
                LOG.error("The room of backend %s is not known: %s", name, problem.message)
                told["away"] = isinstance(problem, StoreAway)
            pools[name] = told
        with self._database.write() as tx:
            for binary in BINARIES:
                change = services.update().where(
                    services.c.host == self._host, services.c.binary == binary
                )
                values = {"last_seen": clock.now(), "pools": pools}
                if tx.execute(change.values(values)).rowcount == 0:
                    _add(tx, self._host, binary, values)

    def all(self) -> list[Presence]:
        with self._database.read() as tx:
            rows = tx.execute(sa.select(services).order_by(services.c.binary, services.c.host))
            return [Presence(**values_of(row)) for row in rows.mappings()]

    def is_up(self, service: Presence) -> bool:
        return clock.now() - service.last_seen < self._down_s

    def takes_volumes(self, tx: Transaction, host: str) -> bool:
        """Whether the operator lets new volumes come to ``host``."""
        query = sa.select(services.c.disabled).where(
            services.c.host == host, services.c.binary == BINARY
        )
        return not tx.execute(query).scalar_one_or_none()

    def change(self, host: str, binary: str | None, values: Mapping[str, Any]) -> None:
        """NotFound: there is no such service."""
        change = services.update().where(services.c.host == host.partition("@")[0])
        if binary is not None:
            change = change.where(services.c.binary == binary)
        with self._database.write() as tx:
            if tx.execute(change.values(dict(values))).rowcount == 0:
                raise NotFound(kind="Service", id=f"{binary or ''} on {host}"[:255])

    def pools(self) -> Sequence[Pool]:
        count = sa.select(
            volumes.c.host, volumes.c.backend, sa.func.count(), sa.func.sum(volumes.c.size_gb)
        ).group_by(volumes.c.host, volumes.c.backend)
        with self._database.read() as tx:
            used = {(row[0], row[1]): (row[2], int(row[3])) for row in tx.execute(count)}
        found = []
        for service in self.all():
            if service.binary != BINARY:
                continue
            for name, room in sorted(service.pools.items()):
                number, gigabytes = used.get((service.host, name), (0, 0))
                found.append(
                    Pool(
                        host=service.host,
                        backend=name,
                        protocol=room.get("protocol", "nbd"),
                        total_gb=_gib(room["total"]),
                        free_gb=_gib(room["free"]),
                        allocated_gb=gigabytes,
                        volumes=number,
                        away=room.get("away", False),
                        last_seen=service.last_seen,
                    )
                )
        return found


def _gib(size_bytes: int | None) -> float | None:
    return None if size_bytes is None else round(size_bytes / GIB, 2)


def _add(tx: Transaction, host: str, binary: str, values: Mapping[str, Any]) -> None:
    try:
        with tx.begin_nested():
            tx.execute(
                services.insert().values(
                    host=host, binary=binary, disabled=False, frozen=False, **values
                )
            )
    except sa.exc.IntegrityError:
        pass  # another daemon of this host was faster
