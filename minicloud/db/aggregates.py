"""Host aggregates: rows, members, and the availability zones that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from minicloud.db.models import aggregate_hosts, aggregates
from minicloud.domain.errors import Exists, NotFound
from minicloud.domain.ids import new_id
from minicloud.domain.models import Aggregate
from minicloud.kit import clock
from minicloud.kit.db import Transaction

DEFAULT_ZONE = "nova"
"""Of hosts that no aggregate puts into another."""
_LIST = (
    sa.select(*aggregates.c, aggregate_hosts.c.host)
    .join(aggregate_hosts, aggregate_hosts.c.aggregate == aggregates.c.number, isouter=True)
    .order_by(aggregates.c.number, aggregate_hosts.c.host)
)


def aggregate_list(tx: Transaction) -> Sequence[Aggregate]:
    """All of them, oldest first, with their hosts: one statement."""
    rows: dict[int, dict[str, object]] = {}
    for row in tx.execute(_LIST).mappings():
        facts = {str(name): value for name, value in row.items() if name != "host"}
        known = rows.setdefault(row["number"], {**facts, "hosts": []})
        if row["host"] is not None:
            known["hosts"].append(row["host"])  # type: ignore[attr-defined]  # made above
    return [msgspec.convert(facts, Aggregate, strict=False) for facts in rows.values()]


def aggregate_get(tx: Transaction, number: int) -> Aggregate:
    """NotFound."""
    for aggregate in aggregate_list(tx):
        if aggregate.number == number:
            return aggregate
    raise NotFound(kind="Aggregate", id=number)


def aggregate_insert(tx: Transaction, name: str, metadata: Mapping[str, str]) -> int:
    """The new aggregate's number. Exists."""
    try:
        with tx.begin_nested():
            made = tx.execute(
                aggregates.insert()
                .values(
                    id=new_id(), name=name, metadata=dict(metadata), created_at=clock.now(),
                    updated_at=None,
                )
                .returning(aggregates.c.number)
            )  # fmt: skip
            return int(made.scalar_one())
    except sa.exc.IntegrityError:
        raise Exists(kind="Aggregate", id=name) from None


def aggregate_update(
    tx: Transaction,
    number: int,
    *,
    name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Set the name, all of the metadata, or both. Exists."""
    values: dict[str, object] = {"updated_at": clock.now()}
    if name is not None:
        values["name"] = name
    if metadata is not None:
        values["metadata"] = dict(metadata)
    try:
        with tx.begin_nested():
            tx.execute(aggregates.update().where(aggregates.c.number == number).values(values))
    except sa.exc.IntegrityError:
        raise Exists(kind="Aggregate", id=name) from None


def aggregate_delete(tx: Transaction, number: int) -> None:
    tx.execute(aggregate_hosts.delete().where(aggregate_hosts.c.aggregate == number))
    tx.execute(aggregates.delete().where(aggregates.c.number == number))


def aggregates_lock(tx: Transaction) -> None:
    """Keep all aggregates as they are until the transaction ends, so that what was read of zones
    stays true. On SQLite a write transaction holds the whole database already."""
    if tx.dialect.name == "postgresql":
        tx.execute(sa.text("LOCK TABLE aggregates, aggregate_hosts IN SHARE ROW EXCLUSIVE MODE"))


def aggregate_host_insert(tx: Transaction, number: int, host: str) -> None:
    """Exists when it is a member already."""
    try:
        with tx.begin_nested():
            tx.execute(aggregate_hosts.insert().values(aggregate=number, host=host))
    except sa.exc.IntegrityError:
        raise Exists(kind=f"Host {host} in aggregate", id=number) from None
    aggregate_update(tx, number)


def aggregate_host_delete(tx: Transaction, number: int, host: str) -> bool:
    """Whether it was a member."""
    gone = tx.execute(
        aggregate_hosts.delete().where(
            aggregate_hosts.c.aggregate == number, aggregate_hosts.c.host == host
        )
    )
    aggregate_update(tx, number)
    return gone.rowcount == 1


def zones_of_hosts(tx: Transaction) -> Mapping[str, str]:
    """Host -> availability zone, of those that are in another than the default one."""
    zones: dict[str, str] = {}
    for aggregate in aggregate_list(tx):
        for host in aggregate.hosts if aggregate.zone is not None else ():
            zones.setdefault(host, aggregate.zone or DEFAULT_ZONE)
    return zones
