"""The image service answers whatever comes."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz
from image import image_cloud

LIST = ("limit", "marker", "sort_key", "sort_dir", "name", "status", "size_min", "member_status",
        "created_at", "os_hidden", "tag", "id")  # fmt: skip


def test_no_request_breaks_the_image_service(tmp_path: Path) -> None:
    with image_cloud(tmp_path) as cloud:
        empty = cloud.create(name="empty")["id"]
        shared = cloud.create(name="shared", visibility="shared")["id"]
        cloud.upload(shared, b"data")
        answered = fuzz(
            cloud.url,
            headers={"X-Auth-Token": "demo"},
            known={"id": [empty, shared]},
            queries=LIST,
        )
    assert answered > 100
