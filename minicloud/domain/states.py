"""THE table of what may be done to a server, and what it becomes.

``vm_state`` and ``task_state`` keep Nova's words, because clients show them. A row per verb says
from which vm_states it may begin, which task_state shows while it runs, and where it ends. The
API's 409, the lock in the database, compute's result and the documentation are all read from
this table; nobody else writes a state's name next to a rule.

Beginning a verb sets ``task_state`` and the server's ``operation_id`` in one compare-and-set
(``db.servers.operation_begin``): that is the lock. Ending it clears both.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from minicloud.domain.errors import WrongState


class VmState(str, Enum):
    """Where a server rests."""

    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    ERROR = "error"
    DELETED = "deleted"

    def __str__(self) -> str:
        return self.value


class TaskState(str, Enum):
    """What is being done to a server; None while nothing is."""

    SCHEDULING = "scheduling"
    NETWORKING = "networking"
    BLOCK_DEVICE_MAPPING = "block_device_mapping"
    SPAWNING = "spawning"
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    DELETING = "deleting"

    def __str__(self) -> str:
        return self.value


class Power(int, Enum):
    """What the hypervisor sees, with Nova's numbers (``OS-EXT-STS:power_state``)."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


class Verb(NamedTuple):
    """One thing that can be done to a server."""

    name: str
    """As recorded in the server's actions (Nova's names)."""
    start: frozenset[VmState]
    """vm_states it may begin from."""
    via: TaskState
    """task_state from the beginning of the operation."""
    ok: VmState
    """vm_state when it succeeded."""
    fail: VmState | None
    """vm_state when it failed; None: the one it had before."""
    deadline_s: int
    """Seconds after which an unfinished operation is given up and the server goes to ERROR."""
    preempts: bool = False
    """Whether it may begin while another operation runs, which is then cancelled."""


_S = VmState
_T = TaskState
_ALL = frozenset(VmState) - {_S.DELETED}

VERBS: Mapping[str, Verb] = {
    v.name: v
    for v in (
        Verb("create", frozenset({_S.BUILDING}), _T.SCHEDULING, _S.ACTIVE, _S.ERROR, 900),
        Verb("start", frozenset({_S.STOPPED}), _T.POWERING_ON, _S.ACTIVE, None, 180),
        Verb("stop", frozenset({_S.ACTIVE, _S.ERROR}), _T.POWERING_OFF, _S.STOPPED, None, 180),
        Verb("reboot", frozenset({_S.ACTIVE}), _T.REBOOTING, _S.ACTIVE, None, 240),
        Verb(
            "reboot_hard",
            frozenset({_S.ACTIVE, _S.STOPPED, _S.PAUSED, _S.SUSPENDED, _S.ERROR}),
            _T.REBOOTING_HARD,
            _S.ACTIVE,
            _S.ERROR,
            240,
        ),
        Verb("delete", _ALL, _T.DELETING, _S.DELETED, _S.ERROR, 300, preempts=True),
    )
}

ACTION_NAMES: Mapping[str, str] = {"reboot_hard": "reboot"}
"""Verbs whose recorded action has another verb's name."""

PHASES: Mapping[str, TaskState] = {
    # recipe step of a launch -> task_state shown from then on
    "ports": _T.NETWORKING,
    "volumes": _T.BLOCK_DEVICE_MAPPING,
    "disks": _T.SPAWNING,
}

# A stable vm_state and what the hypervisor shows -> the vm_state it means. Only servers without
# an operation are corrected this way.
OBSERVED: Mapping[tuple[VmState, Power], VmState] = {
    (_S.ACTIVE, Power.SHUTDOWN): _S.STOPPED,
    (_S.ACTIVE, Power.CRASHED): _S.STOPPED,
    (_S.ACTIVE, Power.NOSTATE): _S.STOPPED,
    (_S.STOPPED, Power.RUNNING): _S.ACTIVE,
}

_STATUS: Mapping[VmState, str] = {
    _S.BUILDING: "BUILD",
    _S.ACTIVE: "ACTIVE",
    _S.STOPPED: "SHUTOFF",
    _S.PAUSED: "PAUSED",
    _S.SUSPENDED: "SUSPENDED",
    _S.ERROR: "ERROR",
    _S.DELETED: "DELETED",
}
_STATUS_BY_TASK: Mapping[tuple[VmState, TaskState], str] = {
    (_S.ACTIVE, _T.REBOOTING): "REBOOT",
    (_S.ACTIVE, _T.REBOOTING_HARD): "HARD_REBOOT",
}


def status(vm_state: VmState, task_state: TaskState | None) -> str:
    """The one word clients show, as Nova computes it."""
    if task_state is not None:
        word = _STATUS_BY_TASK.get((vm_state, task_state))
        if word:
            return word
    return _STATUS[vm_state]


def states_with_status(word: str) -> list[tuple[VmState, TaskState | None]]:
    """The (vm_state, task_state) pairs that show ``word``; a task_state of None means any."""
    word = word.upper()
    pairs: list[tuple[VmState, TaskState | None]] = [
        pair for pair, name in _STATUS_BY_TASK.items() if name == word
    ]
    pairs += [(state, None) for state, name in _STATUS.items() if name == word]
    return pairs


def check(verb: Verb, server_id: str, vm_state: VmState, task_state: TaskState | None) -> None:
    """Raise WrongState, naming what is in the way, unless ``verb`` may begin now."""
    if vm_state not in verb.start:
        attribute, state = "vm_state", str(vm_state)
    elif task_state is not None and not verb.preempts:
        attribute, state = "task_state", str(task_state)
    else:
        return
    raise WrongState(
        verb=ACTION_NAMES.get(verb.name, verb.name),
        id=server_id,
        attribute=attribute,
        state=state,
        allowed=sorted(map(str, verb.start)),
    )
