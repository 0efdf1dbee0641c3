"""What a recipe's success changes in a server's row besides its state.

A row per recipe that has such effects; how states follow each other is in ``domain.states``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from minicloud.db import hosts, migrations
from minicloud.db.servers import flavor_columns
from minicloud.domain.disks import resized_disks, reverted_disks
from minicloud.domain.models import (
    BlockDevice,
    Flavor,
    Operation,
    RequestedNic,
    Resized,
    Server,
)
from minicloud.domain.states import VmState
from minicloud.kit import clock
from minicloud.kit.db import Transaction

Values = dict[str, Any]
Effect = Callable[[Transaction, Operation, Server], Values]
"""Columns of the server that change; claims are changed on the spot."""


def _launched(_tx: Transaction, _operation: Operation, _server: Server) -> Values:
    return {"launched_at": clock.now()}


def _resized(tx: Transaction, operation: Operation, server: Server) -> Values:
    assert server.host is not None
    flavor = new_flavor(operation, server)
    kept = Resized(
        host=server.host,
        flavor=server.flavor,
        prior_state=operation.prior_state,
        local_disks=[disk for disk in server.block_devices if not disk.is_volume],
    )
    hosts.host_claim_move(tx, server.id)
    migrations.migration_follow(tx, operation.id, status="finished")
    return {
        **flavor_columns(flavor),
        "block_devices": resized_disks(server.block_devices, server.flavor, flavor),
        "host": operation.host,
        "resized": kept,
        "launched_at": clock.now(),
    }


def _confirmed(tx: Transaction, _operation: Operation, server: Server) -> Values:
    hosts.host_unclaim(tx, server.id, hosts.PREVIOUS)
    migrations.migration_end(tx, server.id, "confirmed")
    return {"resized": None, "vm_state": _state_before(server)}


def _reverted(tx: Transaction, _operation: Operation, server: Server) -> Values:
    kept = server.resized
    assert kept is not None
    hosts.host_claim_move_back(tx, server.id)
    migrations.migration_end(tx, server.id, "reverted")
    return {
        **flavor_columns(kept.flavor),
        "block_devices": reverted_disks(server),
        "host": kept.host,
        "resized": None,
        "vm_state": _state_before(server),
    }


def _offloaded(tx: Transaction, _operation: Operation, server: Server) -> Values:
    hosts.host_unclaim(tx, server.id)
    return {"host": None}


def _shelved(_tx: Transaction, operation: Operation, _server: Server) -> Values:
    return {"shelved_image_id": operation.params.get("image_id")}


def _unshelved(_tx: Transaction, _operation: Operation, _server: Server) -> Values:
    return {"shelved_image_id": None, "launched_at": clock.now()}


def _evacuated(tx: Transaction, operation: Operation, server: Server) -> Values:
    hosts.host_claim_move(tx, server.id)
    hosts.host_unclaim(tx, server.id, hosts.PREVIOUS)
    migrations.migration_follow(tx, operation.id, status="done")
    return {"host": operation.host, "launched_at": clock.now()}


def _arrived(tx: Transaction, operation: Operation, server: Server) -> Values:
    hosts.host_claim_move(tx, server.id)
    hosts.host_unclaim(tx, server.id, hosts.PREVIOUS)
    return {"host": operation.host}


def _live_migrated(tx: Transaction, operation: Operation, _server: Server) -> Values:
    migrations.migration_follow(tx, operation.id, status="completed")
    return {}


def _volume_attached(_tx: Transaction, operation: Operation, server: Server) -> Values:
    disk = msgspec.convert(operation.params["disk"], BlockDevice)
    return {"block_devices": [*server.block_devices, disk]}


def _volume_detached(_tx: Transaction, operation: Operation, server: Server) -> Values:
    gone = operation.params["disk"]["volume_id"]
    return {"block_devices": [d for d in server.block_devices if d.volume_id != gone]}


def _interface_attached(_tx: Transaction, operation: Operation, server: Server) -> Values:
    nic = msgspec.convert(operation.params["nic"], RequestedNic)
    return {"requested_nics": [*server.requested_nics, nic]}


def _interface_detached(_tx: Transaction, operation: Operation, server: Server) -> Values:
    gone = operation.params["number"]
    return {"requested_nics": [nic for nic in server.requested_nics if nic.number != gone]}


def _state_before(server: Server) -> VmState:
    return server.resized.prior_state if server.resized is not None else VmState.ACTIVE


EFFECTS: Mapping[str, Effect] = {
    "create": _launched,
    "resize:finish": _resized,
    "confirmResize": _confirmed,
    "revertResize:finish": _reverted,
    "shelve": _shelved,
    "shelveOffload": _offloaded,
    "unshelve": _unshelved,
    "unshelve_here": _unshelved,
    "evacuate": _evacuated,
    "live-migration:arrive": _arrived,
    "live-migration:finish": _live_migrated,
    "attach_volume": _volume_attached,
    "detach_volume": _volume_detached,
    "attach_interface": _interface_attached,
    "detach_interface": _interface_detached,
}
"""By recipe. What is not here changes nothing but the state."""


MIGRATION_STATUS: Mapping[str, str] = {
    "live-migration:prepare": "preparing",
    "live-migration:move": "running",
    "live-migration:arrive": "post-migrating",
}
"""Recipe -> what a migration is from when a host begins it."""


def new_flavor(operation: Operation, server: Server) -> Flavor:
    """The flavor that ``operation`` gives the server: its own unless it is resized."""
    given = operation.params.get("flavor")
    return server.flavor if given is None else msgspec.convert(given, Flavor)
