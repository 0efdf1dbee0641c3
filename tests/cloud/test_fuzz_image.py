"""The image service answers whatever comes, whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import fuzz
from image import image_cloud
from tokens import ALT

LIST = ("limit", "marker", "sort_key", "sort_dir", "sort", "name", "status", "size_min",
        "member_status", "created_at", "os_hidden", "tag", "id", "visibility", "resource_types",
        "resource_type", "owner", "type")  # fmt: skip


@pytest.mark.parametrize("token", ["demo", "admin"])
def test_no_request_breaks_the_image_service(tmp_path: Path, token: str) -> None:
    with image_cloud(tmp_path, cache_size=1 << 20) as cloud:
        empty = cloud.create(name="empty", disk_format="raw")["id"]
        shared = cloud.create(name="shared", disk_format="raw", visibility="shared")["id"]
        assert cloud.upload(shared, b"data").status_code == 204
        assert cloud.call("POST", f"/v2/images/{shared}/members", json={"member": ALT}).ok
        space = {"namespace": "space", "visibility": "public", "tags": [{"name": "t"}]}
        assert cloud.call("POST", "/v2/metadefs/namespaces", "admin", json=space).ok
        answered = fuzz(
            cloud.url,
            headers={"X-Auth-Token": token},
            known={
                "id": [empty, shared],
                "member": [ALT],
                "namespace": ["space"],
                "name": ["t", "image", "namespaces"],
                "store": ["file"],
                "path": ["/name", "/tags/0", "/tags/-", "/x", "/os_glance_x", "/id"],
                "op": ["add", "replace", "remove"],
                "type": ["import", "string"],
                "import_from": ["http://127.0.0.1/x"],
            },
            queries=LIST,
            seconds=25,
        )
    assert answered > 300
