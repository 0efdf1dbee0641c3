"""The network service's logic as one object with a part for each noun. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import NotFound
from minicloud.kit.db import Database, Transaction
from minicloud.network import group_store, port_store, store
from minicloud.network.allocation import Allocator
from minicloud.network.binding import Binder
from minicloud.network.caller import Caller
from minicloud.network.dhcp import DhcpPorts
from minicloud.network.groups import Groups
from minicloud.network.models import networks, ports, security_groups, subnets
from minicloud.network.networks import Networks, network_seen
from minicloud.network.ports import Ports
from minicloud.network.quotas import Quotas
from minicloud.network.records import Standard
from minicloud.network.subnets import Subnets


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decides; the fields are those of the [network] options."""

    quota: Mapping[str, int]
    """``network``, ``subnet``, ``port``, ``security_group``, ``security_group_rule`` -> limit."""
    mtu: int = 1450
    mac_prefix: str = "fa:16:3e"
    dns_domain: str = "minicloud.local"
    dns_servers: Sequence[str] = ()


class NetworkService:
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        allocator = Allocator(settings.mac_prefix.lower())
        dhcp_ports = DhcpPorts(allocator)
        self.quotas = Quotas(database, settings.quota)
        self.networks = Networks(database, self.quotas, default_mtu=settings.mtu)
        self.subnets = Subnets(database, self.quotas, dhcp_ports)
        self.groups = Groups(database, self.quotas)
        self.ports = Ports(
            database,
            self.quotas,
            self.groups,
            allocator,
            dhcp_ports,
            Binder(settings.dns_servers),
            dns_domain=settings.dns_domain,
        )

    # -- tags, alike for every noun --------------------------------------------------------------
    def tags(self, caller: Caller, plural: str, resource_id: str) -> list[str]:
        """The tags of one resource. NotFound."""
        with self._database.read() as tx:
            _owned(tx, caller, plural, resource_id)
            return store.tags_of(tx, [resource_id])[resource_id]

    def tags_change(
        self,
        caller: Caller,
        plural: str,
        resource_id: str,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] | None = None,
    ) -> list[str]:
        """Take ``remove`` away (None: all), add ``add``; the tags then. NotFound, Forbidden."""
        with self._database.write() as tx:
            table, record = _owned(tx, caller, plural, resource_id)
            caller.check(f"update_{plural[:-1]}", {"project_id": record.project_id})
            have = set(store.tags_of(tx, [resource_id])[resource_id])
            wanted = (have - set(have if remove is None else remove)) | set(add)
            store.row_update(tx, table, resource_id, record.updated_at, {})
            store.tags_replace(tx, resource_id, wanted)
            return sorted(wanted)


def _owned(
    tx: Transaction, caller: Caller, plural: str, resource_id: str
) -> tuple[sa.Table, Standard]:
    """The resource and its table, if the caller may see it. NotFound."""
    table, record = _find(tx, plural, resource_id)
    if record is None:
        raise NotFound(kind=plural[:-1].replace("_", " ").title(), id=resource_id)
    if not caller.sees_all and record.project_id != caller.project_id:
        if plural == "networks":
            network_seen(tx, caller, resource_id)
        else:
            raise NotFound(kind=plural[:-1].replace("_", " ").title(), id=resource_id)
    return table, record


def _find(tx: Transaction, plural: str, resource_id: str) -> tuple[sa.Table, Standard | None]:
    if plural == "networks":
        return networks, store.network_get(tx, resource_id)
    if plural == "subnets":
        return subnets, store.subnet_get(tx, resource_id)
    if plural == "ports":
        return ports, port_store.port_get(tx, resource_id)
    return security_groups, group_store.group_get(tx, resource_id)
