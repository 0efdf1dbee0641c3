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
    RESCUED = "rescued"
    RESIZED = "resized"
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"
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
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    SUSPENDING = "suspending"
    RESUMING = "resuming"
    RESCUING = "rescuing"
    UNRESCUING = "unrescuing"
    REBUILDING = "rebuilding"
    REBUILD_SPAWNING = "rebuild_spawning"
    IMAGE_SNAPSHOT_PENDING = "image_snapshot_pending"
    IMAGE_SNAPSHOT = "image_snapshot"
    IMAGE_BACKUP = "image_backup"
    IMAGE_UPLOADING = "image_uploading"
    RESIZE_PREP = "resize_prep"
    RESIZE_MIGRATING = "resize_migrating"
    RESIZE_MIGRATED = "resize_migrated"
    RESIZE_FINISH = "resize_finish"
    RESIZE_REVERTING = "resize_reverting"
    SHELVING = "shelving"
    SHELVING_IMAGE_UPLOADING = "shelving_image_uploading"
    SHELVING_OFFLOADING = "shelving_offloading"
    UNSHELVING = "unshelving"
    MIGRATING = "migrating"
    UPDATING_PASSWORD = "updating_password"  # noqa: S105 - a state's name
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
    via: TaskState | None
    """task_state from the beginning of the operation; None: clients see none."""
    ok: VmState | None
    """vm_state when it succeeded; None: the one it had before (``after``)."""
    fail: VmState | None
    """vm_state when it failed; None: the one it had before."""
    deadline_s: int
    """Seconds after which an unfinished operation is given up and the server goes to ERROR."""
    preempts: frozenset[TaskState] = frozenset()
    """task_states during which it may begin: it cancels the operation that runs."""
    ignores_lock: bool = False
    """Whether it may be done to a locked server."""
    undone: bool = False
    """Whether what was begun is undone, and the server left as it was, when its time is over."""
    placed: bool = False
    """Whether the scheduler finds a host for it before any host works on it."""

    def after(self, prior: VmState) -> VmState:
        """Where a server that was in ``prior`` is when the verb has succeeded."""
        if self.ok is not None:
            return self.ok
        return VmState.ACTIVE if prior is VmState.ERROR else prior


_S = VmState
_T = TaskState
_ALL = frozenset(VmState) - {_S.DELETED}

_AT_REST = frozenset({_S.ACTIVE, _S.STOPPED, _S.PAUSED, _S.SUSPENDED})
_A_BOOT_AWAY = frozenset(
    {_T.REBOOTING, _T.REBOOTING_HARD, _T.RESUMING, _T.PAUSING, _T.UNPAUSING, _T.SUSPENDING}
)


_CHANGEABLE = frozenset(
    {_S.ACTIVE, _S.PAUSED, _S.STOPPED, _S.RESIZED, _S.SHELVED, _S.SHELVED_OFFLOADED}
)
"""What disks can be added to and taken from."""


def _of(*states: VmState) -> frozenset[VmState]:
    return frozenset(states)


LIVE_MIGRATION = "live-migration"

VERBS: Mapping[str, Verb] = {
    v.name: v
    for v in (
        Verb("create", _of(_S.BUILDING), _T.SCHEDULING, _S.ACTIVE, _S.ERROR, 900, placed=True),
        Verb("start", _of(_S.STOPPED), _T.POWERING_ON, _S.ACTIVE, None, 180),
        Verb("stop", _of(_S.ACTIVE, _S.ERROR), _T.POWERING_OFF, _S.STOPPED, None, 180),
        Verb("reboot", _of(_S.ACTIVE), _T.REBOOTING, _S.ACTIVE, None, 240),
        Verb(
            "reboot_hard",
            _AT_REST | {_S.ERROR},
            _T.REBOOTING_HARD,
            _S.ACTIVE,
            _S.ERROR,
            240,
            preempts=_A_BOOT_AWAY,
        ),
        Verb("pause", _of(_S.ACTIVE), _T.PAUSING, _S.PAUSED, None, 120),
        Verb("unpause", _of(_S.PAUSED), _T.UNPAUSING, _S.ACTIVE, None, 120),
        Verb("suspend", _of(_S.ACTIVE), _T.SUSPENDING, _S.SUSPENDED, None, 600),
        Verb("resume", _of(_S.SUSPENDED), _T.RESUMING, _S.ACTIVE, None, 600),
        Verb(
            "rescue", _of(_S.ACTIVE, _S.STOPPED, _S.ERROR), _T.RESCUING, _S.RESCUED, _S.ERROR, 600
        ),
        Verb("unrescue", _of(_S.RESCUED), _T.UNRESCUING, _S.ACTIVE, _S.ERROR, 300),
        Verb("rebuild", _of(_S.ACTIVE, _S.STOPPED, _S.ERROR), _T.REBUILDING, None, _S.ERROR, 900),
        Verb(
            "createImage",
            _AT_REST,
            _T.IMAGE_SNAPSHOT_PENDING,
            None,
            None,
            3600,
            ignores_lock=True,
            undone=True,
        ),
        Verb(
            "createBackup",
            _AT_REST,
            _T.IMAGE_BACKUP,
            None,
            None,
            3600,
            ignores_lock=True,
            undone=True,
        ),
        Verb(
            "resize",
            _of(_S.ACTIVE, _S.STOPPED),
            _T.RESIZE_PREP,
            _S.RESIZED,
            None,
            3600,
            placed=True,
        ),
        Verb(
            "migrate",
            _of(_S.ACTIVE, _S.STOPPED),
            _T.RESIZE_PREP,
            _S.RESIZED,
            None,
            3600,
            placed=True,
        ),
        Verb(
            "evacuate",
            _of(_S.ACTIVE, _S.STOPPED, _S.ERROR),
            _T.REBUILDING,
            None,
            _S.ERROR,
            900,
            placed=True,
        ),
        Verb(
            LIVE_MIGRATION,
            _of(_S.ACTIVE, _S.PAUSED),
            _T.MIGRATING,
            None,
            None,
            14400,
            undone=True,
            placed=True,
        ),
        Verb("confirmResize", _of(_S.RESIZED), None, None, _S.ERROR, 300),
        Verb("revertResize", _of(_S.RESIZED), _T.RESIZE_REVERTING, None, _S.ERROR, 900),
        Verb("shelve", _AT_REST, _T.SHELVING, _S.SHELVED, None, 3600),
        Verb(
            "shelveOffload",
            _of(_S.SHELVED),
            _T.SHELVING_OFFLOADING,
            _S.SHELVED_OFFLOADED,
            None,
            900,
        ),
        Verb("unshelve_here", _of(_S.SHELVED), _T.UNSHELVING, _S.ACTIVE, None, 900),
        Verb(
            "unshelve",
            _of(_S.SHELVED_OFFLOADED),
            _T.UNSHELVING,
            _S.ACTIVE,
            None,
            3600,
            placed=True,
        ),
        Verb("attach_volume", _CHANGEABLE, None, None, None, 180, undone=True),
        Verb("detach_volume", _CHANGEABLE, None, None, None, 240, undone=True),
        Verb("extend_volume", _CHANGEABLE - _of(_S.SHELVED_OFFLOADED), None, None, None, 120),
        Verb(
            "swap_volume",
            _of(_S.ACTIVE, _S.PAUSED, _S.RESIZED),
            None,
            None,
            None,
            3600,
            undone=True,
        ),
        Verb(
            "attach_interface",
            _of(_S.ACTIVE, _S.PAUSED, _S.STOPPED),
            None,
            None,
            None,
            180,
            undone=True,
        ),
        Verb(
            "detach_interface",
            _of(_S.ACTIVE, _S.PAUSED, _S.STOPPED),
            None,
            None,
            None,
            240,
            undone=True,
        ),
        Verb(
            "volume_snapshot_create",
            _AT_REST | {_S.RESCUED, _S.RESIZED, _S.SHELVED, _S.ERROR},
            None,
            None,
            None,
            60,
            ignores_lock=True,
        ),
        Verb("changePassword", _of(_S.ACTIVE), _T.UPDATING_PASSWORD, None, None, 60),
        Verb(
            "trigger_crash_dump",
            _of(_S.ACTIVE, _S.PAUSED, _S.RESCUED, _S.RESIZED, _S.ERROR),
            None,
            None,
            None,
            60,
        ),
        Verb("delete", _ALL, _T.DELETING, _S.DELETED, _S.ERROR, 300, preempts=frozenset(_T)),
    )
}

ACTION_NAMES: Mapping[str, str] = {"reboot_hard": "reboot", "unshelve_here": "unshelve"}
"""Verbs whose recorded action has another verb's name."""

MAY_GO_ELSEWHERE = frozenset({"create", "unshelve"})
"""Verbs that are tried on another host where one failed: no host has the server before."""

RETRIED = frozenset(
    {
        "delete",
        "detach_volume:end",
        "detach_interface:end",
        "swap_volume:end",
        "live-migration:finish",
        "live-migration:back",
        "live-migration:stay",
    }
)
"""Recipes that are tried until they succeed: what they tidy up is decided already."""

FINDS_OUT = frozenset({"live-migration:arrive"})
"""Recipes that fail by what a host knows for sure: while nobody can tell, they are begun again."""

PHASES: Mapping[str, Mapping[str, TaskState]] = {
    # verb -> step of its recipe -> task_state shown from then on
    "create": {
        "ports": _T.NETWORKING,
        "volumes": _T.BLOCK_DEVICE_MAPPING,
        "disks": _T.SPAWNING,
    },
    "rebuild": {"disks": _T.REBUILD_SPAWNING},
    "createImage": {
        "copy": _T.IMAGE_SNAPSHOT,
        "snapshots": _T.IMAGE_SNAPSHOT,
        "upload": _T.IMAGE_UPLOADING,
    },
    "createBackup": {"upload": _T.IMAGE_UPLOADING},
    "resize": {"power off": _T.RESIZE_MIGRATING, "ports": _T.RESIZE_FINISH},
    "migrate": {"power off": _T.RESIZE_MIGRATING, "ports": _T.RESIZE_FINISH},
    "shelve": {"upload": _T.SHELVING_IMAGE_UPLOADING, "domain": _T.SHELVING_OFFLOADING},
    "unshelve": {"disks": _T.SPAWNING},
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
    _S.RESCUED: "RESCUE",
    _S.RESIZED: "VERIFY_RESIZE",
    _S.SHELVED: "SHELVED",
    _S.SHELVED_OFFLOADED: "SHELVED_OFFLOADED",
    _S.ERROR: "ERROR",
    _S.DELETED: "DELETED",
}
_RESIZING = (_T.RESIZE_PREP, _T.RESIZE_MIGRATING, _T.RESIZE_MIGRATED, _T.RESIZE_FINISH)
_STATUS_BY_TASK: Mapping[tuple[VmState, TaskState], str] = {
    (_S.ACTIVE, _T.REBOOTING): "REBOOT",
    (_S.ACTIVE, _T.REBOOTING_HARD): "HARD_REBOOT",
    (_S.ACTIVE, _T.UPDATING_PASSWORD): "PASSWORD",
    (_S.RESIZED, _T.RESIZE_REVERTING): "REVERT_RESIZE",
    **{(state, _T.MIGRATING): "MIGRATING" for state in (_S.ACTIVE, _S.PAUSED)},
    **{(state, task): "RESIZE" for state in (_S.ACTIVE, _S.STOPPED) for task in _RESIZING},
    **{
        (state, task): "REBUILD"
        for state in (_S.ACTIVE, _S.STOPPED, _S.ERROR)
        for task in (_T.REBUILDING, _T.REBUILD_SPAWNING)
    },
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


BUSY = "busy"
"""What a refusal shows where an operation without a task_state is in the way."""


def check(
    verb: Verb,
    server_id: str,
    vm_state: VmState,
    task_state: TaskState | None,
    *,
    owned: bool = False,
) -> None:
    """Raise WrongState, naming what is in the way, unless ``verb`` may begin now.

    ``owned``: whether an operation owns the server, which some do without a task_state.
    """
    busy = task_state is not None or owned
    if vm_state not in verb.start:
        attribute, state = "vm_state", str(vm_state)
    elif busy and not _may_preempt(verb, task_state):
        attribute, state = "task_state", str(task_state or BUSY)
    else:
        return
    raise WrongState(
        verb=ACTION_NAMES.get(verb.name, verb.name),
        id=server_id,
        attribute=attribute,
        state=state,
        allowed=sorted(map(str, verb.start)),
    )


def _may_preempt(verb: Verb, task_state: TaskState | None) -> bool:
    if task_state is None:
        return verb.ok is VmState.DELETED
    return task_state in verb.preempts
