"""POST /servers: the first eight of a launch's 28 steps.

Everything is checked first, then one transaction writes the servers, the operations that own
them and the trace so far, and the scheduler is called for a host. The client gets its 202 when
that is done or has taken too long: from the commit on, the launch no longer depends on it.
"""

from __future__ import annotations

import functools
import logging
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.api import launch_checks as checks
from minicloud.api.block_devices import Disks, disks_of
from minicloud.api.launch_trace import Moments, steps_of
from minicloud.api.lookups import Lookups
from minicloud.api.passwords import admin_password
from minicloud.api.placing import Placer
from minicloud.api.quota_room import room_for
from minicloud.api.schemas.fields import host_name, own_project, truth
from minicloud.api.schemas.server_bodies import ServerCreate
from minicloud.api.schemas.server_views import groups_view, links
from minicloud.client.identity import TokenFacts
from minicloud.db import flavors, hosts, keypairs, operations, quotas, server_groups, servers
from minicloud.domain import hints
from minicloud.domain.errors import (
    Invalid,
    MinicloudError,
    NotAllowed,
    NotFound,
)
from minicloud.domain.ids import new_id
from minicloud.domain.models import (
    Flavor,
    Keypair,
    Operation,
    RequestedNic,
    Server,
)
from minicloud.domain.states import VERBS, Power, VmState
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Reply

LOG = logging.getLogger(__name__)
_LETTERS = string.ascii_lowercase + string.digits


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A launch whose every name is resolved: only the quota can still refuse it."""

    body: ServerCreate
    project_id: str
    user_id: str
    flavor: Flavor
    keypair: Keypair | None
    disks: Disks
    nics: Sequence[RequestedNic]
    security_groups: Sequence[str]
    zone: str | None
    host: str | None
    """The only host that will do."""
    hints: Mapping[str, Any]
    least: int
    most: int


class Launcher:
    """``facts``: what identity said of a token, from the cache that has just been filled."""

    def __init__(
        self,
        database: Database,
        *,
        lookups: Lookups,
        placer: Placer,
        facts: Callable[[str], TokenFacts],
        limits: Mapping[str, int],
        host: str,
    ) -> None:
        self._database = database
        self._lookups = lookups
        self._placer = placer
        self._facts = facts
        self._limits = limits
        self._host = host

    def create(self, call: Call) -> Reply:
        return self._create(call, shared=True)

    def create_before_2_60(self, call: Call) -> Reply:
        """A volume of several servers could not be named."""
        return self._create(call, shared=False)

    def _create(self, call: Call, *, shared: bool) -> Reply:
        order = self._order(call, shared=shared)
        by_reservation = truth(order.body.return_reservation_id, "return_reservation_id")
        made, launches = self._write(call, order)
        self._placer.place(call.ctx, launches)
        first = made[0]
        location = {"Location": f"{call.base_url}/v2.1/servers/{first.id}"}
        if by_reservation:
            return Reply(body={"reservation_id": first.reservation_id})
        view = {
            "id": first.id,
            "links": links(call.base_url, first.id),
            "OS-DCF:diskConfig": first.disk_config,
            "security_groups": groups_view(first),
            "adminPass": admin_password(order.body.admin_pass),
        }
        return Reply(body={"server": view}, headers=location)

    # -- checks ------------------------------------------------------------------------------------
    def _order(self, call: Call, *, shared: bool) -> Order:
        """The request, checked and resolved; every refusal but the quota's is raised here."""
        body: ServerCreate = call.body
        ctx = call.ctx
        project_id = own_project(ctx)
        checks.refuse_unsupported(body)
        least, most = checks.counts(body)
        wishes = {**body.old_hints, **body.hints}
        hints.check(wishes)
        if body.hostname and most > 1:
            raise Invalid(reason="A hostname can be given to one server only.")
        with self._database.read() as tx:
            flavor = _flavor(tx, str(body.flavor_ref), None if ctx.is_admin else project_id)
            keypair = _keypair(tx, ctx.user_id, body.key_name or None)
            zone, host = checks.place(call, functools.partial(hosts.host_list, tx))
            if body.metadata:
                _check_metadata(tx, ctx, body.metadata, self._limits)
        several = most > 1
        disks = disks_of(body, flavor, self._lookups, ctx, several=several, shared=shared)
        nics = checks.requested_nics(body, self._lookups, ctx, several=several)
        return Order(
            body=body,
            project_id=project_id,
            user_id=ctx.user_id,
            flavor=flavor,
            keypair=keypair,
            disks=disks,
            nics=nics,
            security_groups=checks.security_groups(body, self._lookups, ctx),
            zone=zone,
            host=host,
            hints=wishes,
            least=least,
            most=most,
        )

    # -- rows --------------------------------------------------------------------------------------
    def _write(self, call: Call, order: Order) -> tuple[list[Server], list[Operation]]:
        """Servers, operations and the trace's first steps, in one transaction. QuotaExceeded."""
        facts = self._token_facts(call)
        made: list[Server] = []
        launches: list[Operation] = []
        opening = clock.now()
        with self._database.write() as tx:
            opened = clock.now()
            quotas.project_lock(tx, order.project_id)
            count = room_for(
                tx, order.project_id, order.user_id, self._limits, _size(order.flavor),
                least=order.least, most=order.most,
            )  # fmt: skip
            _check_group(tx, order, count, self._limits)
            reservation = "r-" + "".join(secrets.choice(_LETTERS) for _ in range(8))
            for index in range(count):
                server = _server(order, index, count, reservation)
                launch = operations.operation_new(call.ctx, server, VERBS["create"], {})
                server = msgspec.structs.replace(server, operation_id=launch.id)
                servers.server_insert(tx, server)
                operations.operation_insert(tx, launch)
                made.append(server)
                launches.append(launch)
            moments = Moments(
                arrived=call.arrived, opening=opening, opened=opened, written=clock.now()
            )
            steps = steps_of(self._host, moments, call.timings, facts)
            for server in made:
                operations.journal_steps(tx, server.id, call.ctx.request_id, steps)
        LOG.info("Wrote %s servers of reservation %s", count, reservation)
        return made, launches

    def _token_facts(self, call: Call) -> TokenFacts | None:
        try:
            return self._facts(call.ctx.token)
        except MinicloudError as problem:  # the launch does not need it, only its trace
            LOG.info("Nothing is known of the token's issue: %s", problem.message)
            return None


def _check_metadata(
    tx: Transaction, ctx: Context, metadata: Mapping[str, str], defaults: Mapping[str, int]
) -> None:
    """NotAllowed for more than the caller may give a server."""
    limits = quotas.quota_limits(tx, ctx.project_id, defaults, user_id=ctx.user_id)
    allowed = limits["metadata_items"]
    if 0 <= allowed < len(metadata):
        raise NotAllowed(reason=f"Maximum number of metadata items exceeds {allowed}")


def _flavor(tx: Transaction, reference: str, visible_to: str | None) -> Flavor:
    flavor_id = reference.rstrip("/").rsplit("/", 1)[-1]
    try:
        return flavors.flavor_get(tx, flavor_id, visible_to=visible_to)
    except NotFound:
        raise Invalid(reason=f"Flavor with id {flavor_id[:255]} could not be found.") from None


def _keypair(tx: Transaction, user_id: str, name: str | None) -> Keypair | None:
    if name is None:
        return None
    try:
        return keypairs.keypair_get(tx, user_id, name)
    except NotFound:
        raise Invalid(reason="Invalid key_name provided.") from None


def _check_group(tx: Transaction, order: Order, count: int, defaults: Mapping[str, int]) -> None:
    """Raise Invalid unless the group that the hints name is the project's, and NotAllowed unless
    it may have ``count`` servers more."""
    group_id = order.hints.get("group")
    if group_id is None:
        return
    group = server_groups.group_find(tx, group_id, lock=True)
    if group is None or group.project_id != order.project_id:
        raise Invalid(reason=f"Instance group {group_id} could not be found.")
    limits = quotas.quota_limits(tx, order.project_id, defaults, user_id=order.user_id)
    limit = limits["server_group_members"]
    members = server_groups.members_of_groups(tx, [group.id]).get(group.id, [])
    if 0 <= limit < len(members) + count:
        raise NotAllowed(reason="Quota exceeded, too many servers in group")


def _size(flavor: Flavor) -> Mapping[str, int]:
    return {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram}


def _server(order: Order, index: int, count: int, reservation: str) -> Server:
    body = order.body
    now = clock.now()
    server_id = new_id()
    name = body.name if count == 1 else f"{body.name[:250]}-{index + 1}"
    verb = VERBS["create"]
    return Server(
        id=server_id,
        project_id=order.project_id,
        user_id=order.user_id,
        name=name,
        hostname=body.hostname or host_name(name, f"server-{server_id}"),
        vm_state=VmState.BUILDING,
        task_state=verb.via,
        power_state=Power.NOSTATE,
        operation_id=None,
        host=None,
        availability_zone=order.zone,
        flavor=order.flavor,
        image_id=order.disks.image.id if order.disks.image is not None else "",
        image_properties=order.disks.image_properties,
        key_name=body.key_name or None,
        public_key=order.keypair.public_key if order.keypair else None,
        user_data=body.user_data or None,
        config_drive=truth(body.config_drive, "config_drive"),
        metadata=body.metadata,
        description=body.description,
        tags=list(dict.fromkeys(body.tags)),
        requested_nics=order.nics,
        block_devices=order.disks.devices,
        security_groups=order.security_groups,
        nics=[],
        volumes=[],
        access_ip_v4=body.access_ip_v4 or "",
        access_ip_v6=body.access_ip_v6 or "",
        disk_config=body.disk_config,
        group_id=order.hints.get("group"),
        requested_host=order.host,
        scheduler_hints=order.hints,
        reservation_id=reservation,
        launch_index=index,
        locked=False,
        locked_reason=None,
        fault=None,
        created_at=now,
        updated_at=now,
        launched_at=None,
        terminated_at=None,
        deleted=False,
    )
