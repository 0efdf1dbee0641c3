"""The compute API answers whatever comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from compute import BIG_IMAGE, IMAGE, NETWORK, NEWEST, PORT, compute_cloud
from fuzz import fuzz
from tokens import ADMIN

LIST = ("limit", "marker", "sort_key", "sort_dir", "name", "ip", "status", "changes-since",
        "all_tenants", "deleted", "detailed", "start", "end", "tags-any", "user_id")  # fmt: skip


@pytest.mark.parametrize("version", ["2.1", NEWEST])
def test_no_request_breaks_the_compute_api(tmp_path: Path, version: str) -> None:
    with compute_cloud(tmp_path) as cloud:
        servers = [cloud.launch("admin") for _ in range(3)]
        known = {
            "server_id": servers,
            "flavor_id": ["1", "2", "3"],
            "flavorRef": ["1", "2", "3"],
            "imageRef": [IMAGE, BIG_IMAGE],
            "key": ["a"],
            "uuid": [NETWORK],
            "port": [PORT],
            "project": [ADMIN],
            "service_id": ["1"],
            "hypervisor_id": ["1"],
            "user_data": ["aGVsbG8=", "no base64"],
        }
        answered = fuzz(
            cloud.url,
            headers={"X-Auth-Token": "admin"},
            known=known,
            versions=(f"compute {version}",),
            queries=LIST,
        )
    assert answered > 200
