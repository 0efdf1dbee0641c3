"""The identity service answers whatever comes."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz
from identity import identity_cloud

NOUNS = ("user", "project", "domain", "group", "role", "service", "endpoint", "region")
LIST = ("limit", "marker", "name", "name__contains", "domain_id", "enabled", "parent_id",
        "service_id", "interface", "user.id", "scope.project.id")  # fmt: skip


def test_no_request_breaks_the_identity_service(tmp_path: Path) -> None:
    with identity_cloud(tmp_path) as cloud:
        token = cloud.token("admin")
        found = {
            noun: [item["id"] for item in cloud.call("GET", f"/{noun}s", token).json()[f"{noun}s"]]
            for noun in NOUNS
        }
        # Only the admin's own user, project and role would end the test when they are changed.
        spare = {noun: cloud.make(token, noun, name=f"spare-{noun}")["id"]
                 for noun in ("user", "project", "group", "role")}  # fmt: skip
        known = {f"{noun}_id": ids for noun, ids in found.items()}
        known |= {f"{noun}_id": [id_] for noun, id_ in spare.items()}
        known["id"] = [*spare.values(), *found["service"], *found["endpoint"], *found["region"]]
        answered = fuzz(
            cloud.url.removesuffix("/v3"),
            headers={"X-Auth-Token": token},
            known=known,
            queries=LIST,
        )
    assert answered > 300
