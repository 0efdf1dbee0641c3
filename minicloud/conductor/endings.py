"""How an operation ends: the row, the server, the claim, in one transaction.

The only place that writes what a verb's success or failure means, out of the table of verbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec

from minicloud.conductor.effects import EFFECTS
from minicloud.db import hosts, migrations, operations, servers
from minicloud.domain.models import (
    AttachedVolume,
    BlockDevice,
    Fault,
    Operation,
    Outcome,
    Problem,
)
from minicloud.domain.states import MAY_GO_ELSEWHERE, VERBS, Power, VmState
from minicloud.kit import clock
from minicloud.kit.db import Transaction

_DEVICES = ("nics", "volumes", "requested_nics", "block_devices")
_ENDABLE = (*operations.LIVE, "stuck")
ABORTABLE = frozenset({"live-migration:prepare", "live-migration:move"})
"""Recipes that are not begun when the operation is to be aborted."""

_TAKES_APART = frozenset({"resize", "migrate", "shelve"})
"""Verbs in whose middle a server is not what it was: a hard reboot puts it together again."""


class Next(str, Enum):
    """What is to be done when the end of a recipe has been written."""

    NOTHING = ""
    PLACE = "place"
    """The server has to be placed on another host."""
    TELL = "tell"
    """The operation's host, which may be another one now, has a recipe to work on."""


def end_operation(
    tx: Transaction, operation: Operation, outcome: Outcome, *, max_attempts: int
) -> Next:
    """Write ``outcome`` of the operation's present recipe."""
    if outcome.result == "done":
        return _done(tx, operation, outcome)
    if outcome.result == "stuck":
        _stuck(tx, operation, outcome.message)
    elif outcome.result == "elsewhere" and operation.state != "stuck":
        return _elsewhere(tx, operation, outcome, max_attempts)
    elif operation.params.get("back") and not operation.goes_back:
        return _go_back(tx, operation, outcome.message)
    else:
        broken = VmState.ERROR if operation.goes_back else None
        fail(
            tx,
            operation,
            outcome.message,
            undone=True,
            problem=outcome.problem,
            becomes=broken,
        )
    return Next.NOTHING


def _done(tx: Transaction, operation: Operation, outcome: Outcome) -> Next:
    if operation.goes_back:
        return _went_back(tx, operation, outcome)
    then = operation.params.get("then") or ()
    if then and then[0][0] in ABORTABLE and operation.params.get("aborted"):
        return _go_back(tx, operation, "The migration was aborted.")
    verb = VERBS.get(operation.recipe, VERBS[operation.verb])
    if verb.ok is VmState.DELETED:
        operations.operation_update(tx, operation.id, states=_ENDABLE, state="done", message=None)
        delete_server(tx, operation)
        return Next.NOTHING
    server = servers.server_get(tx, operation.server_id, deleted=None)
    effect = EFFECTS.get(operation.recipe)
    values = _wiring(outcome)
    if outcome.volumes is not None:
        values["block_devices"] = _with_volumes(server.block_devices, outcome.volumes)
    values.update(effect(tx, operation, server) if effect is not None else {})
    if then:
        servers.server_update(tx, server.id, **values)
        (recipe, host), *rest = then
        _hand_over(
            tx, operation, recipe, host, message=operation.message, then=rest,
            **({"found": outcome.found} if outcome.found else {}),
        )  # fmt: skip
        return Next.TELL
    operations.operation_update(tx, operation.id, states=_ENDABLE, state="done", message=None)
    values = {
        "vm_state": verb.after(operation.prior_state),
        "power_state": outcome.power_state,
        "fault": None,
        **values,
    }
    if not servers.server_release(tx, operation.server_id, operation.id, **values):
        _recover(tx, operation, values)
    return Next.NOTHING


def _wiring(outcome: Outcome) -> dict[str, Any]:
    """What the host found or made of NICs and volumes, where it looked."""
    found = {"nics": outcome.nics, "volumes": outcome.volumes}
    return {name: value for name, value in found.items() if value is not None}


def _with_volumes(
    disks: Sequence[BlockDevice], attached: Sequence[AttachedVolume]
) -> Sequence[BlockDevice]:
    """``disks``, each with the volume that was made for it or found."""
    known = {volume.device: volume.volume_id for volume in attached}
    return [
        msgspec.structs.replace(disk, volume_id=known.get(f"/dev/{disk.device}", disk.volume_id))
        for disk in disks
    ]


def _hand_over(
    tx: Transaction,
    operation: Operation,
    recipe: str,
    host: str | None,
    *,
    message: str | None,
    **params: Any,
) -> None:
    """``recipe`` is next, on ``host``; None: where the last one was. ``params``: that change; what
    others wrote there meanwhile stays.
    """
    current = operations.operation_get(tx, operation.id, lock=True)
    operations.operation_update(
        tx,
        operation.id,
        states=_ENDABLE,
        state="queued",
        host=host or operation.host,
        params={**current.params, "recipe": recipe, **params},
        message=message,
    )


def _go_back(tx: Transaction, operation: Operation, message: str) -> Next:
    """A stage has failed: what was done before is put back."""
    recipe, host = operation.params["back"]
    _hand_over(tx, operation, recipe, host, message=message, then=[])
    return Next.TELL


def _went_back(tx: Transaction, operation: Operation, outcome: Outcome) -> Next:
    values = _wiring(outcome)
    if values:
        servers.server_update(tx, operation.server_id, **values)
    if operation.params.get("back_then"):
        (recipe, host), *rest = operation.params["back_then"]
        _hand_over(
            tx, operation, recipe, host, message=operation.message, back=[recipe, host],
            back_then=rest,
        )  # fmt: skip
        return Next.TELL
    fail(tx, operation, "", undone=True)
    return Next.NOTHING


def _recover(tx: Transaction, operation: Operation, values: dict[str, Any]) -> None:
    """What was given up after its time and succeeded late: the server is what it is."""
    if operation.state != "stuck":
        return
    server = servers.server_get(tx, operation.server_id, deleted=None)
    if server.operation_id is not None:
        return
    if operation.verb == "create" and server.vm_state is VmState.ERROR:
        servers.server_update(tx, server.id, **values)
    elif VERBS[operation.verb].undone and not server.deleted:
        kept = {name: values[name] for name in _DEVICES if name in values}
        servers.server_update(tx, server.id, **kept)


def delete_server(tx: Transaction, operation: Operation) -> None:
    """The server is gone: its row stays as deleted, its claim is given back."""
    now = clock.now()
    hosts.host_unclaim(tx, operation.server_id)
    values: dict[str, Any] = {
        "vm_state": VmState.DELETED,
        "power_state": Power.NOSTATE,
        "deleted": True,
        "terminated_at": now,
        "nics": (),
        "volumes": (),
    }
    if not servers.server_release(tx, operation.server_id, operation.id, **values):
        # A delete that was given up after its time and succeeded late.
        servers.server_update(tx, operation.server_id, **values)


def fail(
    tx: Transaction,
    operation: Operation,
    message: str,
    *,
    undone: bool,
    problem: Problem | None = None,
    becomes: VmState | None = None,
) -> None:
    """The operation failed. ``undone``: nothing of a launch is left on the host.

    An empty ``message`` leaves what is known of an earlier problem. ``becomes``: where the server
    is now, if not where its verb's row says.
    """
    message = message or operation.message or ""
    operations.operation_update(
        tx, operation.id, states=_ENDABLE, state="failed", message=message, problem=problem
    )
    ended = "cancelled" if operation.params.get("aborted") else "error"
    migrations.migration_follow(tx, operation.id, status=ended)
    verb = VERBS[operation.verb]
    if operation.verb == "shelve" and operation.recipe == "shelveOffload":
        becomes = verb.ok  # it is shelved, and only has not left its host
    values: dict[str, Any] = {"vm_state": becomes or verb.fail or operation.prior_state}
    if values["vm_state"] == VmState.ERROR:
        values["fault"] = _fault(message)
    if operation.verb == "create" and undone:
        hosts.host_unclaim(tx, operation.server_id)
        values.update(host=None, nics=(), volumes=())
    elif operation.verb == "unshelve" and undone:
        hosts.host_unclaim(tx, operation.server_id)
        values.update(host=None)
    else:
        hosts.host_unclaim(tx, operation.server_id, hosts.NEXT)
    if not servers.server_release(tx, operation.server_id, operation.id, **values):
        _forget_stuck_launch(tx, operation, undone)


def _forget_stuck_launch(tx: Transaction, operation: Operation, undone: bool) -> None:
    """A launch that was stuck has been undone after all: its host is free of it."""
    if operation.verb not in MAY_GO_ELSEWHERE or not undone or operation.state != "stuck":
        return
    server = servers.server_get(tx, operation.server_id, deleted=None)
    if server.operation_id is None and server.vm_state is VmState.ERROR:
        servers.server_update(tx, server.id, host=None, nics=(), volumes=())


def _stuck(tx: Transaction, operation: Operation, message: str) -> None:
    """It could not be undone: the host tries on, the user sees ERROR and may delete.

    A server that only was to get or lose a device goes on as it is.
    """
    operations.operation_update(tx, operation.id, states=_ENDABLE, state="stuck", message=message)
    if VERBS[operation.verb].undone:
        values: dict[str, Any] = {"vm_state": operation.prior_state}
    else:
        values = {"vm_state": VmState.ERROR, "fault": _fault(message)}
    servers.server_release(tx, operation.server_id, operation.id, **values)


def _elsewhere(tx: Transaction, operation: Operation, outcome: Outcome, max_attempts: int) -> Next:
    if operation.verb not in MAY_GO_ELSEWHERE or operation.attempt >= max_attempts:
        fail(tx, operation, outcome.message, undone=True)
        return Next.NOTHING
    place_again(tx, operation, failed=outcome.host, message=outcome.message)
    return Next.PLACE


def place_again(tx: Transaction, operation: Operation, *, failed: str, message: str) -> None:
    """The server waits for another host than ``failed``, which has nothing of it."""
    hosts.host_unclaim(tx, operation.server_id)
    servers.server_update(tx, operation.server_id, host=None, task_state=VERBS[operation.verb].via)
    operations.operation_update(
        tx,
        operation.id,
        state="queued",
        host=None,
        attempt=operation.attempt + 1,
        excluded=[*operation.excluded, failed],
        message=message,
    )


def expire(tx: Transaction, operation: Operation) -> None:
    """The operation's time is up. What may be left on its host is undone when it can be."""
    message = (
        f"'{operation.verb}' did not finish within "
        f"{operation.deadline_at - operation.created_at:.0f} s"
    )
    if operation.host is not None:
        message += f"; look at the log of minicloud-compute on {operation.host}"
    if operation.message:
        message += f"; last problem: {operation.message}"
    tidied = operation.verb in (*MAY_GO_ELSEWHERE, "delete") or VERBS[operation.verb].undone
    if operation.host is not None and tidied:
        _stuck(tx, operation, message)
    else:
        half_way = operation.host is not None and operation.verb in _TAKES_APART
        broken = VmState.ERROR if half_way else None
        fail(tx, operation, message, undone=operation.host is None, becomes=broken)


def _fault(message: str) -> Fault:
    return Fault(code=500, message=message, details="", created_at=clock.now())
