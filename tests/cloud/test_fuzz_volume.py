"""The volume service answers whatever comes."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz
from tokens import ADMIN
from volume import volume_cloud

LIST = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir", "name", "status", "metadata",
        "all_tenants", "bootable", "with_count")  # fmt: skip


def test_no_request_breaks_the_volume_service(tmp_path: Path) -> None:
    with volume_cloud(tmp_path) as cloud:
        volumes = [cloud.create(token="admin")["id"] for _ in range(3)]
        known = {
            "project_id": [ADMIN],
            "target_id": [ADMIN],
            "volume_id": volumes,
            "volume_uuid": volumes,
        }
        answered = fuzz(
            cloud.url,
            headers={"X-Auth-Token": "admin"},
            known=known,
            versions=("volume 3.0", "volume 3.44"),
            queries=LIST,
        )
    assert answered > 200
