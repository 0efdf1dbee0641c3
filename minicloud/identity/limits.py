"""Limits of resources: registered for everybody, and refined for a project or a domain.

Identity keeps them for services, which enforce them: minicloud's image service does so where its
option ``use_keystone_limits`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists, Invalid, NotAllowed, NotFound
from minicloud.identity import models, store
from minicloud.identity.nouns import new_id
from minicloud.identity.records import Limit, RegisteredLimit
from minicloud.kit.db import Database, Transaction

_registered, _limit = models.registered_limit, models.limit


class Listed(msgspec.Struct, frozen=True):
    """A limit with what it refines."""

    limit: Limit
    registered: RegisteredLimit
    project_domain_id: str | None
    """Of its project, where it is one's."""


class RegisteredLimits:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, asked: Sequence[Mapping[str, Any]]) -> list[RegisteredLimit]:
        """All or none. Exists; Invalid."""
        with self._database.write() as tx:
            return [self._insert(tx, RegisteredLimit(id=new_id(), **each)) for each in asked]

    def list(self, equal: Mapping[str, Any]) -> Sequence[RegisteredLimit]:
        with self._database.read() as tx:
            return _registered_list(tx, equal)

    def get(self, id_: str) -> RegisteredLimit:
        """NotFound."""
        with self._database.read() as tx:
            return _registered_get(tx, id_)

    def update(self, id_: str, changes: Mapping[str, Any]) -> RegisteredLimit:
        """NotFound; NotAllowed where limits refine it and it would be another resource's."""
        with self._database.write() as tx:
            now = _registered_get(tx, id_)
            new = msgspec.structs.replace(now, **changes)
            if (new.service_id, new.region_id, new.resource_name) != (
                now.service_id, now.region_id, now.resource_name
            ) and _limits(tx, {"registered_limit_id": id_}):  # fmt: skip
                raise NotAllowed(reason=f"Limits refine registered limit {id_}.")
            self._check(tx, new)
            statement = _registered.update().where(_registered.c.id == id_)
            _guarded(tx, statement.values(**msgspec.structs.asdict(new)), new)
            return new

    def delete(self, id_: str) -> None:
        """NotFound; NotAllowed where limits refine it."""
        with self._database.write() as tx:
            _registered_get(tx, id_)
            try:
                with tx.begin_nested():
                    tx.execute(_registered.delete().where(_registered.c.id == id_))
            except sa.exc.IntegrityError:
                raise NotAllowed(
                    reason=f"Limits refine registered limit {id_}: delete those first."
                ) from None

    def _insert(self, tx: Transaction, new: RegisteredLimit) -> RegisteredLimit:
        self._check(tx, new)
        _guarded(tx, _registered.insert().values(**msgspec.structs.asdict(new)), new)
        return new

    def _check(self, tx: Transaction, new: RegisteredLimit) -> None:
        if store.services.find(tx, id=new.service_id) is None:
            raise Invalid(reason=f"There is no service {new.service_id}.")
        if new.region_id is not None and store.regions.find(tx, id=new.region_id) is None:
            raise Invalid(reason=f"There is no region {new.region_id}.")


class Limits:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, asked: Sequence[Mapping[str, Any]]) -> list[Listed]:
        """All or none. ``asked`` name a service, a region and a resource. Exists; NotAllowed."""
        with self._database.write() as tx:
            made = [self._insert(tx, dict(each)) for each in asked]
            return _listed(tx, {}, ids=[each.id for each in made])

    def list(self, equal: Mapping[str, Any]) -> Sequence[Listed]:
        """By project_id, domain_id, service_id, region_id and resource_name."""
        with self._database.read() as tx:
            return _listed(tx, equal)

    def find(self, id_: str) -> Listed | None:
        with self._database.read() as tx:
            found = _listed(tx, {}, ids=[id_])
        return found[0] if found else None

    def get(self, id_: str) -> Listed:
        """NotFound."""
        found = self.find(id_)
        if found is None:
            raise NotFound(kind="Limit", id=id_)
        return found

    def update(self, id_: str, changes: Mapping[str, Any]) -> Listed:
        """NotFound."""
        self.get(id_)
        if changes:
            with self._database.write() as tx:
                tx.execute(_limit.update().where(_limit.c.id == id_).values(**changes))
        return self.get(id_)

    def delete(self, id_: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            if tx.execute(_limit.delete().where(_limit.c.id == id_)).rowcount == 0:
                raise NotFound(kind="Limit", id=id_)

    def _insert(self, tx: Transaction, asked: dict[str, Any]) -> Limit:
        place = {key: asked.pop(key, None) for key in ("service_id", "region_id", "resource_name")}
        if (asked.get("project_id") is None) == (asked.get("domain_id") is None):
            raise Invalid(reason="A limit is a project's or a domain's.")
        if asked.get("project_id") is not None:
            if store.projects.find(tx, id=asked["project_id"]) is None:
                raise Invalid(reason=f"There is no project {asked['project_id']}.")
        elif store.domains.find(tx, id=asked["domain_id"]) is None:
            raise Invalid(reason=f"There is no domain {asked['domain_id']}.")
        found = _registered_list(tx, place)
        if not found:
            raise NotAllowed(
                reason=f"No limit of {place['resource_name']} is registered for service "
                f"{place['service_id']} in region {place['region_id']}."
            )
        new = Limit(id=new_id(), registered_limit_id=found[0].id, **asked)
        try:
            with tx.begin_nested():
                tx.execute(_limit.insert().values(**msgspec.structs.asdict(new)))
        except sa.exc.IntegrityError:
            raise Exists(kind="Limit", id=str(place["resource_name"])) from None
        return new


def _guarded(tx: Transaction, statement: Any, new: RegisteredLimit) -> None:
    try:
        with tx.begin_nested():
            tx.execute(statement)
    except sa.exc.IntegrityError:
        raise Exists(kind="Registered limit", id=new.resource_name) from None


def _registered_list(tx: Transaction, equal: Mapping[str, Any]) -> list[RegisteredLimit]:
    columns = [_registered.c[name] for name in RegisteredLimit.__struct_fields__]
    query = sa.select(*columns).order_by(_registered.c.id)
    for key, value in equal.items():
        query = query.where(_registered.c[key] == value)
    return [RegisteredLimit(**row._mapping) for row in tx.execute(query)]


def _registered_get(tx: Transaction, id_: str) -> RegisteredLimit:
    found = _registered_list(tx, {"id": id_})
    if not found:
        raise NotFound(kind="Registered limit", id=id_)
    return found[0]


def _limits(tx: Transaction, equal: Mapping[str, Any]) -> bool:
    query = sa.select(_limit.c.id).limit(1)
    for key, value in equal.items():
        query = query.where(_limit.c[key] == value)
    return tx.execute(query).first() is not None


def _listed(
    tx: Transaction, equal: Mapping[str, Any], *, ids: Sequence[str] | None = None
) -> list[Listed]:
    project = models.project
    mine = [_limit.c[name] for name in Limit.__struct_fields__]
    refined = [_registered.c[name] for name in RegisteredLimit.__struct_fields__]
    query = (
        sa.select(*mine, *refined, project.c.domain_id)
        .select_from(
            _limit.join(_registered, _limit.c.registered_limit_id == _registered.c.id).outerjoin(
                project, project.c.id == _limit.c.project_id
            )
        )
        .order_by(_limit.c.id)
    )
    for key, value in equal.items():
        query = query.where((_limit if key in ("project_id", "domain_id") else _registered).c[key]
                            == value)  # fmt: skip
    if ids is not None:
        query = query.where(_limit.c.id.in_(ids))
    found = []
    for row in tx.execute(query):
        values = tuple(row)
        first = dict(zip(Limit.__struct_fields__, values, strict=False))
        second = dict(zip(RegisteredLimit.__struct_fields__, values[len(mine) : -1], strict=True))
        found.append(Listed(Limit(**first), RegisteredLimit(**second), values[-1]))
    return found
