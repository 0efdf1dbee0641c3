"""Tags: alike for every noun that has them, by one table of nouns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotFound
from minicloud.kit.db import Database, Transaction
from minicloud.network import models, store
from minicloud.network.caller import Caller
from minicloud.network.floating_ips import floating_seen
from minicloud.network.groups import group_seen
from minicloud.network.networks import network_seen
from minicloud.network.ports import port_seen
from minicloud.network.records import Standard
from minicloud.network.routers import router_seen
from minicloud.network.subnet_pools import pool_seen
from minicloud.network.subnets import subnet_seen


class Tagged(msgspec.Struct, frozen=True):
    noun: str
    """As the policies call it."""
    table: sa.Table
    seen: Callable[[Transaction, Caller, str], Standard]
    """The resource, if the caller may see it. NotFound."""


PATHS: Mapping[str, Tagged] = {
    "networks": Tagged("network", models.networks, network_seen),
    "subnets": Tagged(
        "subnet", models.subnets, lambda tx, caller, name: subnet_seen(tx, caller, name)[0]
    ),
    "ports": Tagged("port", models.ports, lambda tx, caller, name: port_seen(tx, caller, name)[0]),
    "routers": Tagged("router", models.routers, router_seen),
    "floatingips": Tagged("floatingip", models.floating_ips, floating_seen),
    "subnetpools": Tagged("subnetpool", models.subnet_pools, pool_seen),
    "security-groups": Tagged("security_group", models.security_groups, group_seen),
}
"""Path of a collection below /v2.0 -> its nouns."""


class Tags:
    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, caller: Caller, path: str, resource_id: str) -> list[str]:
        """The tags of one resource. NotFound."""
        with self._database.read() as tx:
            PATHS[path].seen(tx, caller, resource_id)
            return store.tags_of(tx, [resource_id])[resource_id]

    def change(
        self,
        caller: Caller,
        path: str,
        resource_id: str,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] | None = None,
        must_have: bool = False,
    ) -> list[str]:
        """Take ``remove`` away (None: all), add ``add``; the tags then. NotFound, Forbidden.

        ``must_have``: NotFound for what is to be removed and is not there.
        """
        tagged = PATHS[path]
        with self._database.write() as tx:
            record = tagged.seen(tx, caller, resource_id)
            caller.check(f"update_{tagged.noun}", {"project_id": record.project_id})
            store.row_update(tx, tagged.table, resource_id, record.updated_at, {})
            have = set(store.tags_of(tx, [resource_id])[resource_id])
            for tag in remove or () if must_have else ():
                if tag not in have:
                    raise NotFound(kind="Tag", id=tag)
            wanted = (have - set(have if remove is None else remove)) | set(add)
            store.tags_replace(tx, resource_id, wanted)
            return sorted(wanted)
