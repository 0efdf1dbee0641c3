"""Hosts and the claims on them: the one place where capacity is given out and taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from minicloud.db.aggregates import aggregate_list
from minicloud.db.models import aggregate_hosts, claims, hosts, services
from minicloud.db.models import servers as servers_table
from minicloud.db.rows import records
from minicloud.domain.errors import NotFound
from minicloud.domain.ids import new_id
from minicloud.domain.models import Flavor, Host, HostReport
from minicloud.kit import clock
from minicloud.kit.db import Transaction

COMPUTE = "nova-compute"
"""The binary's name as clients know it."""
_SERVERS = (
    sa.select(sa.func.count(claims.c.server_id.distinct()))
    .where(claims.c.host == hosts.c.name)
    .scalar_subquery()
    .label("servers")
)
_LIST = (
    sa.select(*hosts.c, _SERVERS, services.c.last_seen, services.c.disabled, services.c.forced_down)
    .join(services, sa.and_(services.c.host == hosts.c.name, services.c.binary == COMPUTE))
    .order_by(hosts.c.created_at, hosts.c.id)
)
_EPOCH = sa.select(hosts.c.epoch).where(hosts.c.name == sa.bindparam("on"))
_REPORT = hosts.update().where(
    hosts.c.name == sa.bindparam("on"), hosts.c.epoch == sa.bindparam("life")
)


def host_list(tx: Transaction) -> Sequence[Host]:
    """All hosts with their claims, their aggregates and whether their service reports: two
    statements."""
    found = records(tx.execute(_LIST), Host)
    by_host: dict[str, list[Mapping[str, str]]] = {}
    for aggregate in aggregate_list(tx):
        for name in aggregate.hosts:
            by_host.setdefault(name, []).append(aggregate.metadata)
    return [_grouped(host, by_host[host.name]) if host.name in by_host else host for host in found]


def _grouped(host: Host, aggregates: Sequence[Mapping[str, str]]) -> Host:
    zones = [each["availability_zone"] for each in aggregates if "availability_zone" in each]
    zone = zones[0] if zones else host.availability_zone
    return msgspec.structs.replace(host, aggregates=aggregates, availability_zone=zone)


def host_get(tx: Transaction, host_id: str) -> Host:
    """By id or name. NotFound."""
    for host in host_list(tx):
        if host_id in (host.id, host.name):
            return host
    raise NotFound(kind="Compute host", id=host_id)


def host_that_reports(tx: Transaction, down_s: float) -> str | None:
    """The name of a host that is up; None where there is none."""
    seen_since = clock.now() - down_s
    for host in host_list(tx):
        if host.last_seen >= seen_since and not host.forced_down:
            return host.name
    return None


def host_claims(tx: Transaction, name: str) -> int:
    """How many claims there are on the host."""
    query = sa.select(sa.func.count()).select_from(claims).where(claims.c.host == name)
    return int(tx.execute(query).scalar_one())


def host_delete(tx: Transaction, name: str) -> None:
    """The host and its places in aggregates."""
    tx.execute(aggregate_hosts.delete().where(aggregate_hosts.c.host == name))
    tx.execute(hosts.delete().where(hosts.c.name == name))


def host_epoch(tx: Transaction, name: str) -> int | None:
    """The epoch of the host's present life; None for a host that never registered."""
    row = tx.execute(_EPOCH, {"on": name}).first()
    return None if row is None else int(row.epoch)


def host_register(tx: Transaction, name: str) -> int:
    """Begin a new epoch for the host and return it."""
    row = tx.execute(
        hosts.update()
        .where(hosts.c.name == name)
        .values(epoch=hosts.c.epoch + 1)
        .returning(hosts.c.epoch)
    ).first()
    if row is not None:
        return int(row.epoch)
    tx.execute(
        hosts.insert().values(
            id=new_id(), name=name, vcpus=0, memory_mb=0, disk_gb=0, disk_free_gb=0, vcpus_used=0,
            memory_mb_used=0, disk_gb_used=0, hypervisor_type="", hypervisor_version=0,
            virt_type="", virt_type_reason="", cpu_arch="", cpu_model="", epoch=1,
            created_at=clock.now(),
        )
    )  # fmt: skip
    return 1


def host_report(tx: Transaction, report: HostReport) -> bool:
    """Keep the host's inventory; False when ``report`` is of an older epoch."""
    values = {
        "vcpus": report.vcpus,
        "memory_mb": report.memory_mb,
        "disk_gb": report.disk_gb,
        "disk_free_gb": report.disk_free_gb,
        "hypervisor_type": report.hypervisor_type,
        "hypervisor_version": report.hypervisor_version,
        "virt_type": report.virt_type,
        "virt_type_reason": report.virt_type_reason[:255],
        "cpu_arch": report.cpu_arch,
        "cpu_model": report.cpu_model[:255],
        "uptime": report.uptime[:255],
        "address": report.address[:64],
    }
    changed = tx.execute(_REPORT, {"on": report.host, "life": report.epoch, **values})
    return changed.rowcount == 1


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a host may be claimed."""

    cpu_ratio: float
    memory_ratio: float
    disk_ratio: float
    reserved_memory_mb: int


CURRENT, NEXT, PREVIOUS = "current", "next", "previous"
"""A server's claims: where it is, where it is going, where it may go back to."""

_AFTER = {
    name: hosts.c[f"{name}_used"] + sa.bindparam(f"more_{name}", type_=sa.Integer)
    for name in ("vcpus", "memory_mb", "disk_gb")
}
_MEMORY_FOR_GUESTS = hosts.c.memory_mb - sa.bindparam("reserved", type_=sa.Integer)
_USE = (
    hosts.update()
    .where(hosts.c.name == sa.bindparam("on"))
    .values({f"{name}_used": after for name, after in _AFTER.items()})
)
_USE_IF_ROOM = _USE.where(
    _AFTER["vcpus"] <= hosts.c.vcpus * sa.bindparam("cpu_ratio", type_=sa.Float),
    _AFTER["memory_mb"] <= _MEMORY_FOR_GUESTS * sa.bindparam("memory_ratio", type_=sa.Float),
    _AFTER["disk_gb"] <= hosts.c.disk_gb * sa.bindparam("disk_ratio", type_=sa.Float),
)
_CLAIM = claims.insert()
_MINE = sa.and_(
    servers_table.c.id == sa.bindparam("this"),
    servers_table.c.operation_id == sa.bindparam("holder"),
)
_TAKE_CURRENT = servers_table.update().where(_MINE, servers_table.c.host.is_(None))
_TAKE = servers_table.update().where(
    _MINE,
    ~sa.exists().where(
        claims.c.server_id == sa.bindparam("this"), claims.c.slot == sa.bindparam("taken")
    ),
)
_UNCLAIM = claims.delete().where(claims.c.server_id == sa.bindparam("this")).returning(*claims.c)
_UNCLAIM_SLOT = _UNCLAIM.where(claims.c.slot == sa.bindparam("taken"))


def host_claim(
    tx: Transaction,
    *,
    host: str,
    server_id: str,
    operation_id: str,
    flavor: Flavor,
    limits: Limits,
    slot: str = CURRENT,
) -> bool:
    """Claim ``flavor`` on ``host`` for a server that ``operation_id`` owns.

    A current claim is for a server that no host has; the host becomes the server's. One
    compare-and-set on the host (enough left) and one on the server; False, with nothing changed,
    when either lost. Any number of schedulers may try at once: none overcommits.
    """
    disk = flavor.total_disk_gb
    wanted = {
        "on": host,
        "more_vcpus": flavor.vcpus,
        "more_memory_mb": flavor.ram,
        "more_disk_gb": disk,
        "reserved": limits.reserved_memory_mb,
        "cpu_ratio": limits.cpu_ratio,
        "memory_ratio": limits.memory_ratio,
        "disk_ratio": limits.disk_ratio,
    }
    with tx.begin_nested() as attempt:
        room = tx.execute(_USE_IF_ROOM, wanted)
        if room.rowcount != 1 or not _take(tx, host, server_id, operation_id, slot):
            attempt.rollback()
            return False
        tx.execute(
            _CLAIM,
            {
                "server_id": server_id, "slot": slot, "host": host, "vcpus": flavor.vcpus,
                "memory_mb": flavor.ram, "disk_gb": disk,
            },
        )  # fmt: skip
    return True


def _take(tx: Transaction, host: str, server_id: str, operation_id: str, slot: str) -> bool:
    """Whether the server waits for this claim; a current one also names its host."""
    values = {"this": server_id, "holder": operation_id, "updated_at": clock.now()}
    if slot == CURRENT:
        return tx.execute(_TAKE_CURRENT, {**values, "host": host}).rowcount == 1
    return tx.execute(_TAKE, {**values, "taken": slot}).rowcount == 1


def host_unclaim(tx: Transaction, server_id: str, slot: str | None = None) -> None:
    """Give back what the server claimed (``slot``: that claim only), once however often called."""
    unclaim = _UNCLAIM if slot is None else _UNCLAIM_SLOT
    for row in tx.execute(unclaim, {"this": server_id, "taken": slot}).all():
        less = {"more_vcpus": -row.vcpus, "more_memory_mb": -row.memory_mb,
                "more_disk_gb": -row.disk_gb}  # fmt: skip
        tx.execute(_USE, {"on": row.host, **less})


def host_claim_move(tx: Transaction, server_id: str) -> None:
    """The next claim becomes the current one, which is kept as the previous one."""
    host_unclaim(tx, server_id, PREVIOUS)
    _rename(tx, server_id, CURRENT, PREVIOUS)
    _rename(tx, server_id, NEXT, CURRENT)


def host_claim_move_back(tx: Transaction, server_id: str) -> None:
    """The previous claim is the current one again."""
    host_unclaim(tx, server_id, CURRENT)
    _rename(tx, server_id, PREVIOUS, CURRENT)


def _rename(tx: Transaction, server_id: str, slot: str, becomes: str) -> None:
    tx.execute(
        claims.update()
        .where(claims.c.server_id == server_id, claims.c.slot == slot)
        .values(slot=becomes)
    )
