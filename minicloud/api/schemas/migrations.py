"""Migrations on the wire."""

from __future__ import annotations

import zlib
from typing import Any

from minicloud.api.schemas.older import for_each, without
from minicloud.db.migrations import LIVE, RUNNING
from minicloud.domain.models import Migration
from minicloud.kit.clock import iso_micro

_PROGRESS = (
    "memory_total_bytes",
    "memory_processed_bytes",
    "memory_remaining_bytes",
    "disk_total_bytes",
    "disk_processed_bytes",
    "disk_remaining_bytes",
)


def migration_view(migration: Migration, base_url: str) -> dict[str, Any]:
    """One row of the operators' list."""
    view = {
        **_common(migration),
        "instance_uuid": migration.server_id,
        "old_instance_type_id": _flavor_number(migration.old_flavor_id),
        "new_instance_type_id": _flavor_number(migration.new_flavor_id),
        "migration_type": migration.kind,
    }
    if is_running_live(migration):
        path = f"servers/{migration.server_id}/migrations/{migration.number}"
        view["links"] = [
            {"rel": "self", "href": f"{base_url}/v2.1/{path}"},
            {"rel": "bookmark", "href": f"{base_url}/{path}"},
        ]
    return view


def server_migration_view(migration: Migration) -> dict[str, Any]:
    """One live migration of a server, with its progress."""
    progress = {name: migration.progress.get(name) for name in _PROGRESS}
    return {**_common(migration), **progress, "server_uuid": migration.server_id}


def is_running_live(migration: Migration) -> bool:
    return migration.kind == LIVE and migration.status in RUNNING


def _common(migration: Migration) -> dict[str, Any]:
    return {
        "id": migration.number,
        "uuid": migration.id,
        "status": migration.status,
        "source_compute": migration.source,
        "source_node": migration.source,
        "dest_compute": migration.destination,
        "dest_node": migration.destination,
        "dest_host": migration.destination,
        "user_id": migration.user_id,
        "project_id": migration.project_id,
        "created_at": iso_micro(migration.created_at),
        "updated_at": iso_micro(migration.updated_at),
    }


def _flavor_number(flavor_id: str) -> int:
    """A number for a flavor, which has none here but clients expect one: its id where that is a
    number, else one that is the same each time."""
    if flavor_id.isascii() and flavor_id.isdigit() and len(flavor_id) < 10:
        return int(flavor_id)
    return zlib.crc32(flavor_id.encode()) & 0x7FFFFFFF


DOWN = for_each(
    "migration",
    "migrations",
    (
        ((2, 80), without("user_id", "project_id")),
        ((2, 59), without("uuid")),
        ((2, 23), without("migration_type", "links")),
    ),
)
