"""Snapshots that a volume service takes with a guest's help, on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from minicloud.kit.web import Body

_Word = Annotated[str, Meta(min_length=1, max_length=255)]


class CreateInfo(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    snapshot_id: _Word
    type: Literal["qcow2"]
    new_file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}\Z")]
    """A name in the directory of the volume's file."""
    id: _Word | None = None


class AssistedSnapshot(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    volume_id: _Word
    create_info: CreateInfo


CREATE = Body(type=AssistedSnapshot, wrapper="snapshot")


def view(asked: AssistedSnapshot) -> dict[str, Any]:
    return {"snapshot": {"id": asked.create_info.id, "volumeId": asked.volume_id}}
