"""Queries on volume types, who may use them, defaults and qualities of service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from minicloud.domain.ids import derive
from minicloud.kit.db import Transaction
from minicloud.volume.attachment_store import values_of
from minicloud.volume.models import (
    default_types,
    qos_specs,
    volume_type_access,
    volume_types,
    volumes,
)
from minicloud.volume.records import QosSpecs, VolumeType

DEFAULT_NAME = "__DEFAULT__"
DEFAULT_ID = derive("volume-type", DEFAULT_NAME)


class NameTaken(Exception):
    """Another row has the name."""


def type_add(tx: Transaction, made: VolumeType) -> None:
    """NameTaken; the transaction is to be given up."""
    values = {field: getattr(made, field) for field in made.__struct_fields__}
    _unique(tx, volume_types.insert().values(values))


def type_get(tx: Transaction, type_id: str) -> VolumeType | None:
    row = tx.execute(sa.select(volume_types).where(volume_types.c.id == type_id)).mappings()
    found = row.one_or_none()
    return VolumeType(**values_of(found)) if found else None


def type_named(tx: Transaction, name: str) -> VolumeType | None:
    row = tx.execute(sa.select(volume_types).where(volume_types.c.name == name)).mappings()
    found = row.one_or_none()
    return VolumeType(**values_of(found)) if found else None


def types_all(tx: Transaction) -> list[VolumeType]:
    """Newest first."""
    query = sa.select(volume_types).order_by(volume_types.c.created_at.desc(), volume_types.c.id)
    return [VolumeType(**values_of(row)) for row in tx.execute(query).mappings()]


def type_lock(tx: Transaction, type_id: str) -> bool:
    held = volume_types.update().where(volume_types.c.id == type_id)
    return tx.execute(held.values(id=volume_types.c.id)).rowcount == 1


def type_update(tx: Transaction, type_id: str, values: Mapping[str, Any]) -> None:
    """NameTaken; the transaction is to be given up."""
    _unique(tx, volume_types.update().where(volume_types.c.id == type_id).values(dict(values)))


def type_remove(tx: Transaction, type_id: str) -> None:
    tx.execute(default_types.delete().where(default_types.c.type_id == type_id))
    tx.execute(volume_types.delete().where(volume_types.c.id == type_id))


def type_in_use(tx: Transaction, type_id: str) -> bool:
    query = sa.select(volumes.c.id).where(volumes.c.type_id == type_id).limit(1)
    return tx.execute(query).first() is not None


def access_of(tx: Transaction, type_id: str) -> list[str]:
    """The projects that may use a type that is not public."""
    access = volume_type_access.c
    query = sa.select(access.project_id).where(access.type_id == type_id)
    return list(tx.execute(query.order_by(access.project_id)).scalars())


def types_granted(tx: Transaction, project_id: str) -> set[str]:
    access = volume_type_access.c
    return set(
        tx.execute(sa.select(access.type_id).where(access.project_id == project_id)).scalars()
    )


def access_add(tx: Transaction, type_id: str, project_id: str) -> None:
    """NameTaken: it was there; the transaction is to be given up."""
    _unique(tx, volume_type_access.insert().values(type_id=type_id, project_id=project_id))


def access_remove(tx: Transaction, type_id: str, project_id: str) -> bool:
    access = volume_type_access.c
    gone = volume_type_access.delete().where(
        access.type_id == type_id, access.project_id == project_id
    )
    return tx.execute(gone).rowcount == 1


def defaults_all(tx: Transaction) -> dict[str, str]:
    """Project id -> type id."""
    query = sa.select(default_types).order_by(default_types.c.project_id)
    return {row.project_id: row.type_id for row in tx.execute(query)}


def default_of(tx: Transaction, project_id: str) -> str | None:
    query = sa.select(default_types.c.type_id).where(default_types.c.project_id == project_id)
    return tx.execute(query).scalar_one_or_none()


def default_set(tx: Transaction, project_id: str, type_id: str) -> None:
    default_unset(tx, project_id)
    _unique(tx, default_types.insert().values(project_id=project_id, type_id=type_id))


def default_unset(tx: Transaction, project_id: str) -> None:
    tx.execute(default_types.delete().where(default_types.c.project_id == project_id))


# -- qualities of service ------------------------------------------------------------------------
def qos_add(tx: Transaction, made: QosSpecs) -> None:
    """NameTaken; the transaction is to be given up."""
    values = {field: getattr(made, field) for field in made.__struct_fields__}
    _unique(tx, qos_specs.insert().values(values))


def qos_get(tx: Transaction, qos_id: str) -> QosSpecs | None:
    found = tx.execute(sa.select(qos_specs).where(qos_specs.c.id == qos_id)).mappings()
    row = found.one_or_none()
    return QosSpecs(**values_of(row)) if row else None


def front_end_limits(tx: Transaction, type_id: str) -> Mapping[str, str]:
    """What a hypervisor is to keep the type's volumes to."""
    kind = next((each for each in types_all(tx) if each.id == type_id), None)
    for each in qos_all(tx):
        if kind and each.id == kind.qos_specs_id and each.consumer in ("front-end", "both"):
            return each.specs
    return {}


def qos_all(tx: Transaction) -> list[QosSpecs]:
    query = sa.select(qos_specs).order_by(qos_specs.c.created_at.desc(), qos_specs.c.id)
    return [QosSpecs(**values_of(row)) for row in tx.execute(query).mappings()]


def qos_lock(tx: Transaction, qos_id: str) -> bool:
    held = qos_specs.update().where(qos_specs.c.id == qos_id).values(id=qos_specs.c.id)
    return tx.execute(held).rowcount == 1


def qos_update(tx: Transaction, qos_id: str, values: Mapping[str, Any]) -> None:
    tx.execute(qos_specs.update().where(qos_specs.c.id == qos_id).values(dict(values)))


def qos_remove(tx: Transaction, qos_id: str) -> None:
    tx.execute(qos_specs.delete().where(qos_specs.c.id == qos_id))


def types_of_qos(tx: Transaction, qos_id: str) -> list[VolumeType]:
    query = sa.select(volume_types).where(volume_types.c.qos_specs_id == qos_id)
    rows = tx.execute(query.order_by(volume_types.c.name)).mappings()
    return [VolumeType(**values_of(row)) for row in rows]


def _unique(tx: Transaction, statement: Any) -> None:
    try:
        tx.execute(statement)
    except sa.exc.IntegrityError as problem:
        raise NameTaken() from problem
