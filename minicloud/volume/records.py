"""Block storage's nouns as frozen values: what the stores return. No behaviour beyond facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

GIB = 1024**3


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    volume_id: str
    project_id: str
    server_id: str
    """Empty: no server of this cloud."""
    status: str
    connector: Mapping[str, Any] | None
    """Null while only reserved. ``host``: the name of the host that uses the volume."""
    port: int | None
    created_at: float
    attached_at: float | None

    @property
    def host(self) -> str:
        return str((self.connector or {}).get("host", ""))


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project_id: str
    user_id: str
    host: str
    """The host that has its file."""
    name: str
    description: str
    size_gb: int
    status: str
    bootable: bool
    created_at: float
    updated_at: float
    metadata: Mapping[str, str]
    attachments: Sequence[Attachment]

    @property
    def size_bytes(self) -> int:
        return self.size_gb * GIB


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a project has: counts and GiB."""

    volumes: int = 0
    gigabytes: int = 0
