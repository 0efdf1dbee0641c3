"""Which status a volume and an attachment may have, and how one leads to another.

One row per verb: the statuses it starts from and the one it leads to; everything else is refused
by a compare-and-set on exactly these rows. Once a volume is reserved its status follows from its
attachments (``of_attachments``); a passing status (an upload, an extension) ends in what they make
it by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple


class VolumeStatus(str, Enum):
    CREATING = "creating"
    DOWNLOADING = "downloading"
    AVAILABLE = "available"
    RESERVED = "reserved"
    ATTACHING = "attaching"
    IN_USE = "in-use"
    DETACHING = "detaching"
    EXTENDING = "extending"
    RETYPING = "retyping"
    REVERTING = "reverting"
    UPLOADING = "uploading"
    BACKING_UP = "backing-up"
    RESTORING = "restoring-backup"
    AWAITING_TRANSFER = "awaiting-transfer"
    MAINTENANCE = "maintenance"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_EXTENDING = "error_extending"
    ERROR_DELETING = "error_deleting"
    ERROR_RESTORING = "error_restoring"
    ERROR_MANAGING = "error_managing"


class AttachmentStatus(str, Enum):
    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


class SnapshotStatus(str, Enum):
    CREATING = "creating"
    AVAILABLE = "available"
    DELETING = "deleting"
    BACKING_UP = "backing-up"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class BackupStatus(str, Enum):
    CREATING = "creating"
    AVAILABLE = "available"
    RESTORING = "restoring"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_DELETING = "error_deleting"


class Move(NamedTuple):
    start: Sequence[VolumeStatus]
    to: VolumeStatus


_V = VolumeStatus
_STILL = (_V.AVAILABLE, _V.IN_USE)
_QUIET = (_V.AVAILABLE, _V.ERROR, _V.ERROR_EXTENDING, _V.ERROR_DELETING, _V.ERROR_RESTORING,
          _V.ERROR_MANAGING)  # fmt: skip

MOVES: Mapping[str, Move] = {
    "download": Move((_V.CREATING,), _V.DOWNLOADING),
    "created": Move((_V.CREATING, _V.DOWNLOADING), _V.AVAILABLE),
    "create_failed": Move((_V.CREATING, _V.DOWNLOADING), _V.ERROR),
    "reserve": Move((_V.AVAILABLE,), _V.RESERVED),
    # The older way, without a row of its own until there is a connection.
    "reserve_bare": Move((_V.AVAILABLE,), _V.ATTACHING),
    "begin_detaching": Move((_V.IN_USE,), _V.DETACHING),
    "roll_detaching": Move((_V.DETACHING,), _V.IN_USE),
    "extend": Move((_V.AVAILABLE,), _V.EXTENDING),
    "extend_in_use": Move((_V.IN_USE,), _V.EXTENDING),
    "extend_failed": Move((_V.EXTENDING,), _V.ERROR_EXTENDING),
    "retype": Move(_STILL, _V.RETYPING),
    "revert": Move((_V.AVAILABLE,), _V.REVERTING),
    "upload": Move(_STILL, _V.UPLOADING),
    "back_up": Move(_STILL, _V.BACKING_UP),
    "restore": Move((_V.AVAILABLE, _V.CREATING), _V.RESTORING),
    "restore_failed": Move((_V.RESTORING,), _V.ERROR_RESTORING),
    "reimage": Move((_V.AVAILABLE, _V.RESERVED, _V.ERROR), _V.DOWNLOADING),
    "offer": Move((_V.AVAILABLE,), _V.AWAITING_TRANSFER),
    "withdraw": Move((_V.AWAITING_TRANSFER,), _V.AVAILABLE),
    "failed": Move((_V.REVERTING, _V.RETYPING, _V.DOWNLOADING), _V.ERROR),
    "delete": Move(_QUIET, _V.DELETING),
    # An administrator's: whatever the volume does, short of being used.
    "force_delete": Move(tuple(_V), _V.DELETING),
}

ALONE = ("delete", "force_delete", "extend", "revert", "offer", "restore")
"""Verbs for volumes without attachments only."""

OF_TARGETS = ("created", "create_failed", "reserve")
"""Verbs for what another volume moves to; a volume that moves takes none."""

SETTABLE = (_V.AVAILABLE, _V.ERROR, _V.CREATING, _V.IN_USE, _V.RESERVED, _V.DETACHING,
            _V.ATTACHING, _V.MAINTENANCE, _V.ERROR_DELETING, _V.ERROR_EXTENDING,
            _V.ERROR_RESTORING, _V.ERROR_MANAGING)  # fmt: skip
"""What an administrator may declare a volume to be (os-reset_status)."""


FOLLOWING = (_V.AVAILABLE, _V.RESERVED, _V.ATTACHING, _V.IN_USE, _V.DETACHING)
"""What a volume is because of its attachments; any other status goes on until its work ends."""


def of_attachments(statuses: Sequence[str]) -> VolumeStatus:
    """What a volume is that has just these attachments left (a live migration has two)."""
    for mine, volume in (
        (AttachmentStatus.ATTACHED, _V.IN_USE),
        (AttachmentStatus.ATTACHING, _V.ATTACHING),
        (AttachmentStatus.RESERVED, _V.RESERVED),
        (AttachmentStatus.DETACHING, _V.DETACHING),
    ):
        if mine.value in statuses:
            return volume
    return _V.AVAILABLE
