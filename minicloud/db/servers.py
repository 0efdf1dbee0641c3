"""Servers: rows, lists, and the lock that an operation takes on one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from minicloud.db.aggregates import DEFAULT_ZONE, zones_of_hosts
from minicloud.db.models import servers as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.models import Flavor, Resized, Server
from minicloud.domain.states import Power, TaskState, VmState, states_with_status
from minicloud.kit import clock
from minicloud.kit.db import Transaction

T = TypeVar("T")
_FIELDS = [t.c[name] for name in Server.__struct_fields__]
SORT_KEYS: Mapping[str, Any] = {
    "created_at": t.c.created_at,
    "updated_at": t.c.updated_at,
    "display_name": t.c.name,
    "name": t.c.name,
    "uuid": t.c.id,
    "id": t.c.id,
    "vm_state": t.c.vm_state,
    "task_state": t.c.task_state,
    "power_state": t.c.power_state,
    "host": t.c.host,
    "image_ref": t.c.image_id,
    "key_name": t.c.key_name,
    "launched_at": t.c.launched_at,
    "locked": t.c.locked,
    "project_id": t.c.project_id,
    "user_id": t.c.user_id,
    "instance_type_id": t.c.flavor_id,
    "availability_zone": t.c.availability_zone,
    "display_description": t.c.description,
    "launch_index": t.c.launch_index,
    "config_drive": t.c.config_drive,
    "terminated_at": t.c.terminated_at,
    "access_ip_v4": t.c.access_ip_v4,
    "access_ip_v6": t.c.access_ip_v6,
}

_INSERT = t.insert()
_UPDATE = t.update().where(t.c.id == sa.bindparam("this"), t.c.deleted.is_(False))
_HELD = sa.and_(t.c.id == sa.bindparam("this"), t.c.operation_id == sa.bindparam("holder"))
_RELEASE = t.update().where(_HELD)
_PHASE = _RELEASE.where(t.c.task_state != str(TaskState.DELETING))
_USAGE = sa.select(sa.func.count(), sa.func.sum(t.c.vcpus), sa.func.sum(t.c.memory_mb)).where(
    t.c.project_id == sa.bindparam("project"), t.c.deleted.is_(False)
)
_USAGE_OF_USER = _USAGE.where(t.c.user_id == sa.bindparam("user"))


class ServerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which servers, in which order. Empty fields ask for nothing."""

    project_id: str | None = None
    deleted: bool | None = False
    """None: deleted and living ones alike."""
    equal: Mapping[str, Any] = {}
    """Column name of ``servers`` -> value, or a list of values."""
    patterns: Mapping[str, str] = {}
    """Column name of ``servers`` -> regular expression that is found in it."""
    status: Sequence[str] = ()
    changes_since: float | None = None
    changes_before: float | None = None
    lived: tuple[float, float] | None = None
    """Those that were there at some time between."""
    zone: str | None = None
    """Availability zone: where it is, or while it is nowhere, where it was asked to be."""
    sort: Sequence[tuple[str, str]] = ()
    """(key of SORT_KEYS, asc or desc) pairs."""
    limit: int | None = None
    marker: str | None = None


def server_insert(tx: Transaction, server: Server) -> None:
    values = {name: getattr(server, name) for name in Server.__struct_fields__}
    for name in ("flavor", "requested_nics", "block_devices", "nics", "volumes", "fault"):
        values[name] = msgspec.to_builtins(values[name])
    for name in ("vm_state", "task_state"):
        values[name] = None if values[name] is None else str(values[name])
    values["power_state"] = int(server.power_state)
    values["resized"] = msgspec.to_builtins(server.resized)
    values.update(flavor_columns(server.flavor))
    for name in ("image_properties", "metadata", "scheduler_hints"):
        values[name] = dict(values[name])
    for name in ("tags", "security_groups"):
        values[name] = list(values[name])
    tx.execute(_INSERT, values)


def flavor_columns(flavor: Flavor) -> dict[str, Any]:
    """The columns of a server that has ``flavor``."""
    return {
        "flavor": msgspec.to_builtins(flavor),
        "flavor_id": flavor.id,
        "vcpus": flavor.vcpus,
        "memory_mb": flavor.ram,
    }


def server_get(
    tx: Transaction,
    server_id: str,
    *,
    project_id: str | None = None,
    deleted: bool | None = False,
    lock: bool = False,
) -> Server:
    """The server. NotFound where there is none, or it is another project's (None: any).

    ``lock``: the row is nobody else's until the transaction ends.
    """
    query = _get(project_id is not None, deleted, lock)
    server = record(tx.execute(query, {"this": server_id, "project": project_id}), Server)
    if server is None:
        raise NotFound(kind="Instance", id=server_id)
    return server


@functools.cache
def _get(of_project: bool, deleted: bool | None, lock: bool) -> sa.Select[Any]:
    query = sa.select(*_FIELDS).where(t.c.id == sa.bindparam("this"))
    if of_project:
        query = query.where(t.c.project_id == sa.bindparam("project"))
    if deleted is not None:
        query = query.where(t.c.deleted == deleted)
    return query.with_for_update() if lock else query


class ServerName(msgspec.Struct, frozen=True, kw_only=True):
    """As much of a server as a list without details shows."""

    id: str
    name: str


def server_list(tx: Transaction, query: ServerQuery) -> Sequence[Server]:
    """The servers ``query`` names, one statement whatever their number."""
    return _found(tx, query, _FIELDS, Server)


def servers_with_volume(tx: Transaction, volume_id: str) -> list[str]:
    """The ids of the servers that have the volume."""
    query = sa.select(t.c.id, t.c.volumes).where(
        t.c.deleted.is_(False),
        sa.cast(t.c.volumes, sa.Text).contains(volume_id, autoescape=True),
    )
    return [
        row.id
        for row in tx.execute(query)
        if any(each["volume_id"] == volume_id for each in row.volumes)
    ]


def server_names(tx: Transaction, query: ServerQuery) -> Sequence[ServerName]:
    """As ``server_list``, with less of each."""
    return _found(tx, query, [t.c.id, t.c.name], ServerName)


def _found(
    tx: Transaction, query: ServerQuery, columns: Sequence[Any], kind: type[T]
) -> Sequence[T]:
    statement = sa.select(*columns)
    if query.project_id is not None:
        statement = statement.where(t.c.project_id == query.project_id)
    if query.deleted is not None:
        statement = statement.where(t.c.deleted == query.deleted)
    for name, value in query.equal.items():
        column = t.c[name]
        statement = statement.where(
            column.in_(value) if isinstance(value, (list, tuple)) else column == value
        )
    if query.status:
        choices = []
        for word in query.status:
            for vm_state, task_state in states_with_status(word):
                clause = t.c.vm_state == str(vm_state)
                if task_state is not None:
                    clause = sa.and_(clause, t.c.task_state == str(task_state))
                choices.append(clause)
        statement = statement.where(sa.or_(sa.false(), *choices))
    for name, pattern in query.patterns.items():
        statement = statement.where(t.c[name].regexp_match(pattern))
    if query.changes_since is not None:
        statement = statement.where(t.c.updated_at >= query.changes_since)
    if query.changes_before is not None:
        statement = statement.where(t.c.updated_at <= query.changes_before)
    if query.lived is not None:
        start, end = query.lived
        begun = sa.func.coalesce(t.c.launched_at, t.c.created_at)
        statement = statement.where(
            begun < end, sa.or_(t.c.terminated_at.is_(None), t.c.terminated_at > start)
        )
    if query.zone is not None:
        statement = statement.where(_in_zone(tx, query.zone))
    order = [(SORT_KEYS[key], direction) for key, direction in query.sort]
    order += [(t.c.created_at, "desc"), (t.c.id, "desc")]
    if query.marker is not None:
        statement = statement.where(_after(tx, query.marker, order))
    statement = statement.order_by(
        *(column.asc() if direction == "asc" else column.desc() for column, direction in order)
    )
    if query.limit is not None:
        statement = statement.limit(query.limit)
    try:
        return records(tx.execute(statement), kind)
    except sa.exc.DataError:
        raise Invalid(reason="The database cannot compare with a value of the query.") from None


def _in_zone(tx: Transaction, zone: str) -> Any:
    zones = zones_of_hosts(tx)
    if zone == DEFAULT_ZONE:
        there = t.c.host.not_in(list(zones))
    else:
        there = t.c.host.in_([host for host, its_zone in zones.items() if its_zone == zone])
    return sa.or_(there, sa.and_(t.c.host.is_(None), t.c.availability_zone == zone))


def _after(tx: Transaction, marker: str, order: Sequence[tuple[Any, str]]) -> Any:
    """The condition for rows that come after ``marker`` in ``order`` (nulls sort first)."""
    row = tx.execute(
        sa.select(*(column.label(f"k{n}") for n, (column, _) in enumerate(order))).where(
            t.c.id == marker
        )
    ).first()
    if row is None:
        raise Invalid(reason=f"marker [{marker[:64]}] not found")
    clauses = []
    same: list[Any] = []
    for (column, direction), value in zip(order, row, strict=True):
        if value is None:
            beyond = column.is_not(None) if direction == "asc" else sa.false()
            equal = column.is_(None)
        else:
            beyond = column > value if direction == "asc" else column < value
            equal = column == value
        clauses.append(sa.and_(*same, beyond))
        same.append(equal)
    return sa.or_(*clauses)


def server_update(tx: Transaction, server_id: str, **values: Any) -> bool:
    """Set columns of a living server; whether there was one."""
    columns = {name: msgspec.to_builtins(value) for name, value in values.items()}
    changed = tx.execute(_UPDATE, {"this": server_id, **columns, "updated_at": clock.now()})
    return changed.rowcount == 1


def guest_password_get(tx: Transaction, server_id: str) -> str:
    """The guest's password, sealed with its user's key; "" where none was kept."""
    return tx.execute(sa.select(t.c.guest_password).where(t.c.id == server_id)).scalar() or ""


def guest_password_first(tx: Transaction, server_id: str, sealed: str) -> bool:
    """Keep what the guest posted; False when there is something already."""
    changed = tx.execute(
        t.update()
        .where(t.c.id == server_id, t.c.guest_password.is_(None))
        .values(guest_password=sealed or None)
    )
    return changed.rowcount == 1


def guest_password_set(tx: Transaction, server_id: str, sealed: str) -> None:
    tx.execute(t.update().where(t.c.id == server_id).values(guest_password=sealed or None))


def server_own(
    tx: Transaction,
    server_id: str,
    *,
    operation_id: str,
    task_state: TaskState | None,
    start: Sequence[VmState],
    instead_of: str | None,
) -> bool:
    """Make ``operation_id`` the server's owner: the lock, a compare-and-set.

    ``instead_of``: the operation that owns it now (None: nobody). False when the server has
    moved on in the meantime.
    """
    where = {"this": server_id, "start": [str(state) for state in start], "holder": instead_of}
    values = {
        "operation_id": operation_id,
        "task_state": None if task_state is None else str(task_state),
        "updated_at": clock.now(),
    }
    return tx.execute(_own(instead_of is not None), {**where, **values}).rowcount == 1


@functools.cache
def _own(held: bool) -> sa.Update:
    holder = t.c.operation_id == sa.bindparam("holder") if held else t.c.operation_id.is_(None)
    start: sa.BindParameter[Any] = sa.bindparam("start", expanding=True)
    return _UPDATE.where(t.c.vm_state.in_(start), holder)


def server_release(tx: Transaction, server_id: str, operation_id: str, **values: Any) -> bool:
    """End ``operation_id``'s hold and set ``values``; False when it holds the server no more."""
    columns = {name: msgspec.to_builtins(value) for name, value in values.items()}
    columns |= {"operation_id": None, "task_state": None, "updated_at": clock.now()}
    released = tx.execute(_RELEASE, {"this": server_id, "holder": operation_id, **columns})
    return released.rowcount == 1


def server_phase(tx: Transaction, server_id: str, operation_id: str, task: TaskState) -> None:
    """Show ``task`` while ``operation_id`` still owns the server."""
    values = {"task_state": str(task), "updated_at": clock.now()}
    tx.execute(_PHASE, {"this": server_id, "holder": operation_id, **values})


def server_observed(
    tx: Transaction, server_id: str, *, was: VmState, becomes: VmState, power: Power
) -> bool:
    """Correct a resting server to what its hypervisor shows; False when it no longer rests."""
    changed = tx.execute(
        t.update()
        .where(
            t.c.id == server_id, t.c.operation_id.is_(None), t.c.vm_state == str(was),
            t.c.deleted.is_(False),
        )
        .values(vm_state=str(becomes), power_state=int(power), updated_at=clock.now())
    )  # fmt: skip
    return changed.rowcount == 1


class HostServer(msgspec.Struct, frozen=True, kw_only=True):
    """As much of a server as the comparison with a hypervisor needs."""

    id: str
    vm_state: VmState
    power_state: Power
    operation_id: str | None
    host: str | None
    resized: Resized | None
    deleted: bool
    updated_at: float

    def is_on(self, host: str) -> bool:
        """Whether ``host`` has, or keeps for a revert, what the server consists of."""
        kept = self.resized is not None and self.resized.host == host
        return not self.deleted and (self.host == host or kept)


def servers_for_host(tx: Transaction, host: str, also: Sequence[str]) -> Mapping[str, HostServer]:
    """Servers recorded on ``host``, and those named in ``also`` wherever they are, by id."""
    rows = tx.execute(_for_host(bool(also)), {"on": host, "also": list(also)})
    return {server.id: server for server in records(rows, HostServer)}


@functools.cache
def _for_host(named: bool) -> sa.Select[Any]:
    query = sa.select(*(t.c[name] for name in HostServer.__struct_fields__))
    there = sa.and_(t.c.host == sa.bindparam("on"), t.c.deleted.is_(False))
    also: sa.BindParameter[Any] = sa.bindparam("also", expanding=True)
    return query.where(sa.or_(there, t.c.id.in_(also)) if named else there)


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    instances: int
    cores: int
    ram: int


def usage_of_project(tx: Transaction, project_id: str, *, user_id: str = "") -> Usage:
    """What the project's servers take, or within it the user's."""
    statement = _USAGE_OF_USER if user_id else _USAGE
    row = tx.execute(statement, {"project": project_id, "user": user_id}).one()
    return Usage(instances=row[0], cores=int(row[1] or 0), ram=int(row[2] or 0))
