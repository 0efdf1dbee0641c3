"""What lists of each noun can be filtered and sorted by: the one table of it."""

from __future__ import annotations

from minicloud.volume.listing import Kind
from minicloud.volume.models import (
    backups,
    group_snapshots,
    groups,
    messages,
    snapshot_metadata,
    snapshots,
    transfers,
    volume_image_metadata,
    volume_metadata,
    volumes,
)

_TIMES = {"created_at": "created_at", "updated_at": "updated_at"}

VOLUMES = Kind(
    table=volumes,
    equal={
        "name": "name", "status": "status", "host": "host", "user_id": "user_id",
        "group_id": "group_id", "display_name": "name", "description": "description",
        "snapshot_id": "snapshot_id", "source_volid": "source_volid", "image_id": "image_id",
        "id": "id", "volume_type_id": "type_id", "migration_status": "migration_status",
    },
    numbers={"size": "size_gb"},
    flags={"bootable": "bootable", "multiattach": "multiattach"},
    sort={
        **_TIMES, "name": "name", "display_name": "name", "size": "size_gb", "status": "status",
        "bootable": "bootable", "host": "host", "id": "id",
    },
    pairs={"metadata": volume_metadata, "glance_metadata": volume_image_metadata},
)  # fmt: skip
SNAPSHOTS = Kind(
    table=snapshots,
    equal={
        "name": "name", "status": "status", "volume_id": "volume_id", "display_name": "name",
        "description": "description", "user_id": "user_id", "id": "id",
        "group_snapshot_id": "group_snapshot_id",
    },
    numbers={"volume_size": "size_gb"},
    sort={
        **_TIMES, "name": "name", "display_name": "name", "status": "status", "id": "id",
        "volume_id": "volume_id", "size": "size_gb", "volume_size": "size_gb",
    },
    pairs={"metadata": snapshot_metadata},
)  # fmt: skip
BACKUPS = Kind(
    table=backups,
    equal={
        "name": "name", "status": "status", "volume_id": "volume_id", "id": "id",
        "description": "description", "user_id": "user_id", "snapshot_id": "snapshot_id",
    },
    numbers={"size": "size_gb"},
    sort={**_TIMES, "name": "name", "status": "status", "id": "id", "size": "size_gb",
          "volume_id": "volume_id", "data_timestamp": "data_at"},
)  # fmt: skip
MESSAGES = Kind(
    table=messages,
    equal={
        "event_id": "event_id", "resource_type": "resource_type", "request_id": "request_id",
        "resource_uuid": "resource_id", "id": "id",
    },
    sort={
        "created_at": "created_at", "id": "id", "event_id": "event_id",
        "resource_type": "resource_type", "resource_uuid": "resource_id",
        "request_id": "request_id",
    },
)  # fmt: skip
TRANSFERS = Kind(
    table=transfers,
    equal={"name": "name", "volume_id": "volume_id", "id": "id"},
    sort={"created_at": "created_at", "id": "id", "name": "name"},
)
GROUPS = Kind(
    table=groups,
    equal={
        "name": "name", "status": "status", "id": "id", "group_type": "group_type_id",
        "description": "description", "user_id": "user_id",
    },
    sort={**_TIMES, "name": "name", "status": "status", "id": "id",
          "group_type_id": "group_type_id"},
)  # fmt: skip
GROUP_SNAPSHOTS = Kind(
    table=group_snapshots,
    equal={"name": "name", "status": "status", "group_id": "group_id", "id": "id"},
    sort={**_TIMES, "name": "name", "status": "status", "id": "id", "group_id": "group_id"},
)
ALL = {
    "volume": VOLUMES,
    "snapshot": SNAPSHOTS,
    "backup": BACKUPS,
    "message": MESSAGES,
    "group": GROUPS,
    "group_snapshot": GROUP_SNAPSHOTS,
}
