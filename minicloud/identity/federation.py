"""The registry of federation: who vouches for users elsewhere, and whom this cloud vouches to.

Nobody logs in by it here: see ``federation_routes``. It is kept for clients that set a cloud up,
and enabled service providers are in every token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists, Invalid, NotFound
from minicloud.identity import models, store
from minicloud.identity.nouns import new_id
from minicloud.identity.records import (
    AttributeMapping,
    Domain,
    IdentityProvider,
    Protocol,
    ServiceProvider,
)
from minicloud.identity.store import Match
from minicloud.kit.db import Database, Transaction

_protocol, _remote = models.federation_protocol, models.identity_provider_remote_id
Values = Mapping[str, Any]


class Provider(msgspec.Struct, frozen=True):
    """An identity provider with the names by which it calls itself."""

    record: IdentityProvider
    remote_ids: Sequence[str]


class IdentityProviders:
    """Thread safe. Changes come one after another, by the generation's row: two that exchange their
    remote ids would otherwise wait for each other.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, id_: str, values: Values) -> Provider:
        """In a domain of its own where none is named. Exists; NotFound."""
        values = dict(values)
        remote_ids: list[str] = values.pop("remote_ids", None) or []
        domain_id = values.pop("domain_id", None)
        with self._database.write() as tx:
            store.generation_raise(tx)
            if domain_id is None:
                domain_id = _own_domain(tx, id_)
            else:
                store.domains.get(tx, domain_id)
            record = IdentityProvider(id=id_, domain_id=domain_id, **values)
            store.identity_providers.insert(tx, record)
            _remote_ids_set(tx, id_, remote_ids)
            return _provider(tx, record)

    def list(self, equal: Values, matches: Sequence[Match]) -> list[Provider]:
        with self._database.read() as tx:
            found = store.identity_providers.list(tx, equal, matches=matches)
            remote_ids = _remote_ids(tx)
            return [Provider(each, remote_ids.get(each.id, [])) for each in found]

    def get(self, id_: str) -> Provider:
        """NotFound."""
        with self._database.read() as tx:
            return _provider(tx, store.identity_providers.get(tx, id_))

    def update(self, id_: str, values: Values) -> Provider:
        """NotFound; Exists where a remote id is another provider's."""
        changes = dict(values)
        with self._database.write() as tx:
            store.generation_raise(tx)
            store.identity_providers.get(tx, id_)
            if "remote_ids" in changes:
                _remote_ids_set(tx, id_, changes.pop("remote_ids") or [])
            store.identity_providers.update(tx, id_, changes)
            return _provider(tx, store.identity_providers.get(tx, id_))

    def delete(self, id_: str) -> None:
        """NotFound. Its protocols go too; its domain stays."""
        with self._database.write() as tx:
            store.generation_raise(tx)
            store.identity_providers.delete(tx, id_)

    # -- protocols --------------------------------------------------------------------------------
    def protocol_create(self, protocol: Protocol) -> Protocol:
        """NotFound; Invalid where there is no such mapping; Exists."""
        with self._database.write() as tx:
            store.identity_providers.get(tx, protocol.identity_provider_id)
            _check_mapping(tx, protocol.mapping_id)
            try:
                with tx.begin_nested():
                    tx.execute(_protocol.insert().values(**msgspec.structs.asdict(protocol)))
            except sa.exc.IntegrityError:
                raise Exists(kind="Protocol", id=protocol.id) from None
        return protocol

    def protocols(self, provider_id: str) -> Sequence[Protocol]:
        with self._database.read() as tx:
            return _protocols(tx, _protocol.c.identity_provider_id == provider_id)

    def protocol(self, provider_id: str, id_: str) -> Protocol:
        """NotFound."""
        with self._database.read() as tx:
            return _protocol_get(tx, provider_id, id_)

    def protocol_update(self, provider_id: str, id_: str, changes: Values) -> Protocol:
        """NotFound; Invalid where there is no such mapping."""
        with self._database.write() as tx:
            _protocol_get(tx, provider_id, id_)
            _check_mapping(tx, changes["mapping_id"])
            tx.execute(_protocol.update().where(*_is(provider_id, id_)).values(**changes))
            return _protocol_get(tx, provider_id, id_)

    def protocol_delete(self, provider_id: str, id_: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            _protocol_get(tx, provider_id, id_)
            tx.execute(_protocol.delete().where(*_is(provider_id, id_)))


class Mappings:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, mapping: AttributeMapping) -> AttributeMapping:
        """Exists."""
        with self._database.write() as tx:
            store.mappings.insert(tx, mapping)
        return mapping

    def list(self) -> Sequence[AttributeMapping]:
        with self._database.read() as tx:
            return store.mappings.list(tx)

    def get(self, id_: str) -> AttributeMapping:
        """NotFound."""
        with self._database.read() as tx:
            return store.mappings.get(tx, id_)

    def update(self, mapping: AttributeMapping) -> AttributeMapping:
        """NotFound."""
        changes = {"rules": mapping.rules, "schema_version": mapping.schema_version}
        with self._database.write() as tx:
            store.mappings.update(tx, mapping.id, changes)
        return mapping

    def delete(self, id_: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            store.mappings.delete(tx, id_)


class ServiceProviders:
    """Thread safe. Every change raises the generation: tokens name those that are enabled."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, provider: ServiceProvider) -> ServiceProvider:
        """Exists."""
        with self._database.write() as tx:
            store.service_providers.insert(tx, provider)
            store.generation_raise(tx)
        return provider

    def list(self, equal: Values, matches: Sequence[Match]) -> Sequence[ServiceProvider]:
        with self._database.read() as tx:
            return store.service_providers.list(tx, equal, matches=matches)

    def get(self, id_: str) -> ServiceProvider:
        """NotFound."""
        with self._database.read() as tx:
            return store.service_providers.get(tx, id_)

    def update(self, id_: str, changes: Values) -> ServiceProvider:
        """NotFound."""
        with self._database.write() as tx:
            store.service_providers.update(tx, id_, changes)
            store.generation_raise(tx)
            return store.service_providers.get(tx, id_)

    def delete(self, id_: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            store.service_providers.delete(tx, id_)
            store.generation_raise(tx)


def _own_domain(tx: Transaction, provider_id: str) -> str:
    domain_id = new_id()
    description = f"Auto generated federated domain for Identity Provider: {provider_id}"
    store.domains.insert(tx, Domain(id=domain_id, name=domain_id, description=description))
    return domain_id


def _provider(tx: Transaction, record: IdentityProvider) -> Provider:
    return Provider(record, _remote_ids(tx, record.id).get(record.id, []))


def _remote_ids(tx: Transaction, provider_id: str | None = None) -> dict[str, list[str]]:
    """Identity provider -> its remote ids; of one or of all."""
    query = sa.select(_remote).order_by(_remote.c.remote_id)
    if provider_id is not None:
        query = query.where(_remote.c.identity_provider_id == provider_id)
    found: dict[str, list[str]] = {}
    for row in tx.execute(query):
        found.setdefault(row.identity_provider_id, []).append(row.remote_id)
    return found


def _remote_ids_set(tx: Transaction, provider_id: str, remote_ids: Sequence[str]) -> None:
    """Exists where one is another provider's."""
    tx.execute(_remote.delete().where(_remote.c.identity_provider_id == provider_id))
    for remote_id in remote_ids:
        row = {"remote_id": remote_id, "identity_provider_id": provider_id}
        try:
            with tx.begin_nested():
                tx.execute(_remote.insert().values(**row))
        except sa.exc.IntegrityError:
            raise Exists(kind="Remote ID", id=remote_id) from None


def _is(provider_id: str, id_: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _protocol.c.identity_provider_id == provider_id, _protocol.c.id == id_


def _protocols(tx: Transaction, *where: sa.ColumnElement[bool]) -> list[Protocol]:
    columns = [_protocol.c[name] for name in Protocol.__struct_fields__]
    query = sa.select(*columns).where(*where).order_by(_protocol.c.id)
    return [Protocol(**row._mapping) for row in tx.execute(query)]


def _protocol_get(tx: Transaction, provider_id: str, id_: str) -> Protocol:
    found = _protocols(tx, *_is(provider_id, id_))
    if not found:
        raise NotFound(kind=f"Protocol of identity provider {provider_id}:", id=id_)
    return found[0]


def _check_mapping(tx: Transaction, mapping_id: str) -> None:
    if store.mappings.find(tx, id=mapping_id) is None:
        raise Invalid(reason=f"Invalid mapping id: {mapping_id}")
