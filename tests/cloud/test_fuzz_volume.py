"""The volume service answers whatever comes."""

from __future__ import annotations

import os
from pathlib import Path

from fuzz import fuzz
from tokens import ADMIN
from volume import VolumeCloud, volume_cloud

LIST = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir", "name", "status", "metadata",
        "all_tenants", "bootable", "with_count", "created_at", "name~", "is_public", "extra_specs",
        "list_volume", "usage", "detail", "host", "vol_type_id", "force", "cascade")  # fmt: skip
SECONDS = float(os.environ.get("MINICLOUD_FUZZ_SECONDS", "45"))


def made(cloud: VolumeCloud, path: str, key: str, **values: object) -> str:
    """The id of something new of the administrator's."""
    newest = {"OpenStack-API-Version": "volume 3.71"}
    answer = cloud.call("POST", path, "admin", json={key: values}, headers=newest)
    assert answer.status_code < 300, answer.text
    return str(answer.json()[key]["id"])


def test_no_request_breaks_the_volume_service(tmp_path: Path) -> None:
    with volume_cloud(tmp_path) as cloud:
        cloud.turn()
        volumes = [cloud.create(token="admin")["id"] for _ in range(4)]
        snapshot = made(cloud, "/snapshots", "snapshot", volume_id=volumes[0])
        kind = made(cloud, "/types", "volume_type", name="gold")
        qos = made(cloud, "/qos-specs", "qos_specs", name="fast")
        backup = made(cloud, "/backups", "backup", volume_id=volumes[1])
        group_type = made(cloud, "/group_types", "group_type", name="pairs")
        group = made(cloud, "/groups", "group", group_type=group_type, volume_types=[kind])
        attachment = made(cloud, "/attachments", "attachment", volume_uuid=volumes[2])
        offer = made(cloud, "/volume-transfers", "transfer", volume_id=volumes[3])
        known = {
            "project_id": [ADMIN],
            "target_id": [ADMIN],
            "volume_id": volumes,
            "volume_uuid": volumes,
            "source_volid": volumes,
            "new_volume": volumes,
            "snapshot_id": [snapshot],
            "type_id": [kind, group_type],
            "qos_id": [qos],
            "backup_id": [backup],
            "group_id": [group],
            "attachment_id": [attachment],
            "transfer_id": [offer],
            "host": ["lab1", "lab1@files", "lab1@files#files"],
            "new_type": [kind, "gold"],
            "volume_type": [kind, "gold"],
        }
        answered = fuzz(
            cloud.url,
            headers={"X-Auth-Token": "admin"},
            known=known,
            versions=("volume 3.0", "volume 3.44", "volume 3.71"),
            queries=LIST,
            seconds=SECONDS,
        )
    assert answered > 200
