"""Host aggregates: which hosts have something in common, and the availability zones they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET

from minicloud.api.lookups import Lookups, usable_image
from minicloud.api.schemas.aggregates import (
    ZONE,
    AggregateCreate,
    AggregateUpdate,
    aggregate_view,
    created_view,
)
from minicloud.db import aggregates, hosts, servers
from minicloud.db.aggregates import DEFAULT_ZONE
from minicloud.db.servers import ServerQuery
from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.domain.models import Aggregate
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply
from minicloud.rpc.compute import ComputeRPC


class Aggregates:
    """``compute``: host name -> a caller of its daemon."""

    def __init__(
        self, database: Database, lookups: Lookups, compute: Callable[[str], ComputeRPC]
    ) -> None:
        self._database = database
        self._lookups = lookups
        self._compute = compute

    def index(self, _call: Call) -> Any:
        with self._database.read() as tx:
            return {"aggregates": [aggregate_view(each) for each in aggregates.aggregate_list(tx)]}

    def show(self, call: Call) -> Any:
        with self._database.read() as tx:
            return {"aggregate": aggregate_view(_of(tx, call))}

    def create(self, call: Call) -> Any:
        body: AggregateCreate = call.body
        metadata = {} if body.availability_zone is None else {ZONE: body.availability_zone}
        with self._database.write() as tx:
            number = aggregates.aggregate_insert(tx, body.name, metadata)
            return {"aggregate": created_view(aggregates.aggregate_get(tx, number))}

    def update(self, call: Call) -> Any:
        body: AggregateUpdate = call.body
        if body.name is UNSET and body.availability_zone is UNSET:
            raise Invalid(reason="Name a new name or a new availability_zone.")
        zone = body.availability_zone
        change = {} if zone is UNSET else {ZONE: zone}
        name = None if body.name is UNSET else body.name
        return self._changed(call, lambda tx, one: _set(tx, one, change, name=name))

    def delete(self, call: Call) -> Reply:
        with self._database.write() as tx:
            aggregates.aggregates_lock(tx)
            aggregate = _of(tx, call)
            if aggregate.hosts:
                raise Invalid(
                    reason=f"Cannot delete aggregate {aggregate.number}: it still has the hosts "
                    f"{', '.join(aggregate.hosts)}."
                )
            aggregates.aggregate_delete(tx, aggregate.number)
        return Reply()

    def add_host(self, call: Call) -> Any:
        host = call.body.host
        return self._changed(call, lambda tx, one: _add_host(tx, one, host))

    def remove_host(self, call: Call) -> Any:
        host = call.body.host
        return self._changed(call, lambda tx, one: _remove_host(tx, one, host))

    def set_metadata(self, call: Call) -> Any:
        change = call.body.metadata
        return self._changed(call, lambda tx, one: _set(tx, one, change))

    def cache_images(self, call: Call) -> Reply:
        """Every host of the aggregate is told to fetch the images."""
        with self._database.read() as tx:
            aggregate = _of(tx, call)
            off = {host.name for host in hosts.host_list(tx) if host.disabled}
        wanted = list(dict.fromkeys(image.id for image in call.body.cache))
        if len(wanted) != len(call.body.cache):
            raise Invalid(reason="Duplicate images in request")
        for image_id in wanted:
            if usable_image(self._lookups, call.ctx, image_id) is None:
                raise Invalid(reason=f"Image {image_id} could not be found.")
        for host in aggregate.hosts:
            if host not in off:
                self._compute(host).images_wanted(call.ctx, image_ids=wanted)
        return Reply(status=202)

    def _changed(self, call: Call, change: Callable[[Transaction, Aggregate], None]) -> Any:
        with self._database.write() as tx:
            aggregates.aggregates_lock(tx)
            aggregate = _of(tx, call)
            change(tx, aggregate)
            return {"aggregate": aggregate_view(aggregates.aggregate_get(tx, aggregate.number))}


def _of(tx: Transaction, call: Call) -> Aggregate:
    """The aggregate of the path. NotFound, also for what is no number."""
    text = call.params["aggregate_id"]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NotFound(kind="Aggregate", id=text[:64])
    return aggregates.aggregate_get(tx, int(text))


def _set(
    tx: Transaction,
    aggregate: Aggregate,
    change: Mapping[str, str | None],
    *,
    name: str | None = None,
) -> None:
    """Change the metadata, and the name where one is given."""
    if change.get(ZONE) == "":
        raise Invalid(reason="An availability zone's name must not be empty.")
    metadata = {
        key: value for key, value in {**aggregate.metadata, **change}.items() if value is not None
    }
    becomes = metadata.get(ZONE)
    if becomes != aggregate.zone:
        for host in aggregate.hosts:
            _check_zone(tx, host, becomes, besides=aggregate.number)
    aggregates.aggregate_update(tx, aggregate.number, name=name, metadata=metadata)


def _add_host(tx: Transaction, aggregate: Aggregate, host: str) -> None:
    if host not in {each.name for each in hosts.host_list(tx)}:
        raise NotFound(kind="Compute host", id=host)
    if aggregate.zone is not None and host not in aggregate.hosts:
        _check_zone(tx, host, aggregate.zone, besides=aggregate.number)
    aggregates.aggregate_host_insert(tx, aggregate.number, host)


def _remove_host(tx: Transaction, aggregate: Aggregate, host: str) -> None:
    if host not in aggregate.hosts:
        raise NotFound(kind=f"Host {host} in aggregate", id=aggregate.number)
    if aggregate.zone is not None:
        _check_zone(tx, host, None, besides=aggregate.number)
    aggregates.aggregate_host_delete(tx, aggregate.number, host)


def _check_zone(tx: Transaction, host: str, becomes: str | None, *, besides: int) -> None:
    """Raise Conflict unless ``host`` may come into zone ``becomes`` (None: the default one)."""
    others = {
        each.zone
        for each in aggregates.aggregate_list(tx)
        if host in each.hosts and each.number != besides and each.zone is not None
    }
    if becomes is not None and others - {becomes}:
        raise Conflict(
            reason=f"Host {host} is already in availability zone {', '.join(sorted(others))}."
        )
    now = aggregates.zones_of_hosts(tx).get(host, DEFAULT_ZONE)
    if (becomes or next(iter(others), DEFAULT_ZONE)) == now:
        return
    if servers.server_list(tx, ServerQuery(equal={"host": host}, limit=1)):
        raise Conflict(
            reason=f"One or more hosts contain instances in the availability zone {now}: {host}."
        )
