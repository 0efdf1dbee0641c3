"""Which policy is for which endpoints: for one, for a service's, or for a service's in a region.

Nothing here reads the policies: clients do, after they asked which one is an endpoint's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotFound
from minicloud.domain.ids import derive
from minicloud.identity import models, store
from minicloud.identity.records import Endpoint, PolicyBlob
from minicloud.kit.db import Database, Transaction

_table = models.policy_association


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What has a policy: an endpoint, a service, or a service in a region and those below it."""

    endpoint_id: str | None = None
    service_id: str | None = None
    region_id: str | None = None

    @property
    def id(self) -> str:
        """A place has one policy, so its row's id is computed from it."""
        return derive("policy", *(part or "" for part in msgspec.structs.astuple(self)))


class PolicyAssociations:
    """Thread safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def associate(self, policy_id: str, place: Place) -> None:
        """Repeatable; another policy of the place gives way. NotFound."""
        values = {"policy_id": policy_id, **msgspec.structs.asdict(place)}
        with self._database.write() as tx:
            _check(tx, policy_id, place)
            if not _update(tx, place, policy_id):
                try:
                    with tx.begin_nested():
                        tx.execute(_table.insert().values(id=place.id, **values))
                except sa.exc.IntegrityError:  # somebody else did in the same moment
                    if not _update(tx, place, policy_id):
                        raise NotFound(kind="Policy", id=policy_id) from None

    def check(self, policy_id: str, place: Place) -> None:
        """NotFound where the place has not this policy."""
        with self._database.read() as tx:
            _check(tx, policy_id, place)
            if _policy_of(tx, place) != policy_id:
                raise NotFound(kind="Policy association of policy", id=policy_id)

    def dissociate(self, policy_id: str, place: Place) -> None:
        """Repeatable. NotFound where policy or place is none."""
        where = (_table.c.id == place.id, _table.c.policy_id == policy_id)
        with self._database.write() as tx:
            _check(tx, policy_id, place)
            tx.execute(_table.delete().where(*where))

    def endpoints(self, policy_id: str) -> list[Endpoint]:
        """Those that the policy's places have, each once. NotFound."""
        with self._database.read() as tx:
            store.policies.get(tx, policy_id)
            columns = [_table.c[name] for name in Place.__struct_fields__]
            query = sa.select(*columns).where(_table.c.policy_id == policy_id)
            places = {Place(**row._mapping) for row in tx.execute(query)}
            above = _regions_above(tx)
            return [
                endpoint
                for endpoint in store.endpoints.list(tx)
                if any(place in places for place in _places(endpoint, above))
            ]

    def policy(self, endpoint_id: str) -> PolicyBlob:
        """The one of the closest place: the endpoint, its region and those above, its service.

        NotFound where there is none.
        """
        with self._database.read() as tx:
            endpoint = store.endpoints.get(tx, endpoint_id)
            for place in _places(endpoint, _regions_above(tx)):
                policy_id = _policy_of(tx, place)
                if policy_id is not None:
                    return store.policies.get(tx, policy_id)
        raise NotFound(kind="Policy of endpoint", id=endpoint_id)


def _places(endpoint: Endpoint, above: Mapping[str, str | None]) -> Iterator[Place]:
    """Every place that ``endpoint`` is of, closest first. ``above``: region -> the one above."""
    yield Place(endpoint_id=endpoint.id)
    region_id = endpoint.region_id
    while region_id is not None:
        yield Place(service_id=endpoint.service_id, region_id=region_id)
        region_id = above.get(region_id)
    yield Place(service_id=endpoint.service_id)


def _regions_above(tx: Transaction) -> dict[str, str | None]:
    return {region.id: region.parent_region_id for region in store.regions.list(tx)}


def _check(tx: Transaction, policy_id: str, place: Place) -> None:
    """NotFound where one of them is none."""
    store.policies.get(tx, policy_id)
    for rows, id_ in (
        (store.endpoints, place.endpoint_id),
        (store.services, place.service_id),
        (store.regions, place.region_id),
    ):
        if id_ is not None:
            rows.get(tx, id_)


def _policy_of(tx: Transaction, place: Place) -> str | None:
    query = sa.select(_table.c.policy_id).where(_table.c.id == place.id)
    found: str | None = tx.execute(query).scalar_one_or_none()
    return found


def _update(tx: Transaction, place: Place, policy_id: str) -> bool:
    statement = _table.update().where(_table.c.id == place.id).values(policy_id=policy_id)
    return tx.execute(statement).rowcount > 0
