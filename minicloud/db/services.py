"""Daemons that report: who is up. A row per binary and host, made by its first report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from minicloud.db.models import services as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import NotFound
from minicloud.domain.ids import new_id
from minicloud.domain.models import ServiceRecord
from minicloud.kit import clock
from minicloud.kit.db import Transaction

_REPORT = t.update().where(t.c.binary == sa.bindparam("program"), t.c.host == sa.bindparam("on"))


def service_report(tx: Transaction, binary: str, host: str) -> None:
    """The daemon is alive now."""
    now = clock.now()
    changed = tx.execute(_REPORT, {"program": binary, "on": host, "last_seen": now})
    if changed.rowcount == 0:
        tx.execute(
            t.insert().values(
                id=new_id(), binary=binary, host=host, disabled=False, forced_down=False,
                last_seen=now, created_at=now,
            )
        )  # fmt: skip


def service_list(
    tx: Transaction, *, binary: str | None = None, host: str | None = None
) -> Sequence[ServiceRecord]:
    query = sa.select(t).order_by(t.c.number)
    if binary is not None:
        query = query.where(t.c.binary == binary)
    if host is not None:
        query = query.where(t.c.host == host)
    return records(tx.execute(query), ServiceRecord)


def service_delete(tx: Transaction, service_id: str) -> None:
    """A daemon that still runs comes back with its next report."""
    tx.execute(t.delete().where(t.c.id == service_id))


def service_update(tx: Transaction, service_id: str, **values: Any) -> ServiceRecord:
    """Set columns. NotFound."""
    changed = tx.execute(t.update().where(t.c.id == service_id).values(**values))
    service = record(tx.execute(sa.select(t).where(t.c.id == service_id)), ServiceRecord)
    if changed.rowcount == 0 or service is None:
        raise NotFound(kind="Service", id=service_id)
    return service
