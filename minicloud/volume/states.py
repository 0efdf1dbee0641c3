"""Which status a volume and an attachment may have, and how one leads to another.

One row per verb: the statuses it starts from and the one it leads to; everything else is refused
by a compare-and-set on exactly these rows. Once a volume is reserved its status follows from its
attachments (``of_attachments``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple


class VolumeStatus(str, Enum):
    CREATING = "creating"
    AVAILABLE = "available"
    RESERVED = "reserved"
    ATTACHING = "attaching"
    IN_USE = "in-use"
    DETACHING = "detaching"
    EXTENDING = "extending"
    DELETING = "deleting"
    ERROR = "error"
    ERROR_EXTENDING = "error_extending"
    ERROR_DELETING = "error_deleting"


class AttachmentStatus(str, Enum):
    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


class Move(NamedTuple):
    start: Sequence[VolumeStatus]
    to: VolumeStatus


_V = VolumeStatus
_QUIET = (_V.AVAILABLE, _V.ERROR, _V.ERROR_EXTENDING, _V.ERROR_DELETING)

MOVES: Mapping[str, Move] = {
    "created": Move((_V.CREATING,), _V.AVAILABLE),
    "create_failed": Move((_V.CREATING,), _V.ERROR),
    "reserve": Move((_V.AVAILABLE,), _V.RESERVED),
    "begin_detaching": Move((_V.IN_USE,), _V.DETACHING),
    "roll_detaching": Move((_V.DETACHING,), _V.IN_USE),
    "extend": Move((_V.AVAILABLE,), _V.EXTENDING),
    "extended": Move((_V.EXTENDING,), _V.AVAILABLE),
    "extend_failed": Move((_V.EXTENDING,), _V.ERROR_EXTENDING),
    "delete": Move(_QUIET, _V.DELETING),
    # An administrator's: whatever the volume does, short of being used.
    "force_delete": Move(tuple(_V), _V.DELETING),
}

SETTABLE = (_V.AVAILABLE, _V.ERROR, _V.CREATING, _V.IN_USE, _V.RESERVED, _V.DETACHING,
            _V.ATTACHING, _V.ERROR_DELETING, _V.ERROR_EXTENDING)  # fmt: skip
"""What an administrator may declare a volume to be (os-reset_status)."""


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
