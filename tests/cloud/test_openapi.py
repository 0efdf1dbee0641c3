"""The services' OpenAPI documents: valid, checked in as they are now, and served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import requests
import schemathesis
from compute import compute_cloud

from minicloud.cmd.describe import NAMES, described
from minicloud.kit.web.openapi import document, render, reply_key

CHECKED_IN = Path(__file__).parents[2] / "docs/openapi"


@pytest.mark.parametrize("name", NAMES)
def test_the_document_that_is_checked_in_is_current(name: str, tmp_path: Path) -> None:
    written = (CHECKED_IN / f"{name}.json").read_bytes()
    assert written == render(described(name, tmp_path)), "run: minicloud-manage openapi write"


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_every_operation_is_understood(name: str, tmp_path: Path) -> None:
    service = described(name, tmp_path)
    found = document(service)
    for schema in _schemas(found):
        jsonschema_rs.meta.validate(schema)
    loaded = schemathesis.openapi.from_dict(found)
    loaded.validate()
    operations = {
        (each.ok().method.upper(), each.ok().path) for each in loaded.get_all_operations()
    }
    rows = {
        (row.method, row.path.replace(":path}", "}")) for row in service.routes if not row.alias
    }
    assert operations == rows


def _schemas(found: Any) -> list[Any]:
    bodies = [
        content["schema"]
        for methods in found["paths"].values()
        for operation in methods.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
        if "schema" in content
    ]
    return [*found["components"]["schemas"].values(), *bodies]


def test_older_microversions_and_actions_share_an_operation(tmp_path: Path) -> None:
    paths = document(described("compute", tmp_path))["paths"]
    create = paths["/v2.1/servers"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    server = create["properties"]["server"]
    assert server["properties"]["hostname"]["x-openstack"] == {"min-ver": "2.90"}
    assert server["properties"]["personality"]["x-openstack"] == {"max-ver": "2.56"}
    assert "os:scheduler_hints" in create["properties"]
    assert "os:scheduler_hints" not in server["properties"]
    actions = paths["/v2.1/servers/{server_id}/action"]["post"]["requestBody"]["content"]
    keys = {each["required"][0] for each in actions["application/json"]["schema"]["oneOf"]}
    assert {"os-start", "reboot", "lock"} <= keys
    update = paths["/v2.1/flavors/{flavor_id}"]["put"]
    assert update["x-openstack"] == {"min-ver": "2.55"}


def test_a_service_describes_itself_to_anybody(tmp_path: Path) -> None:
    with compute_cloud(tmp_path) as cloud:
        answer = requests.get(cloud.url + "/openapi.json", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(answer.content)["openapi"] == "3.1.0"


def test_every_reply_of_the_compute_api_is_described(tmp_path: Path) -> None:
    service = described("compute", tmp_path)
    assert service.replies is not None
    rows = [row for row in service.routes if row.path.startswith("/v2.1/") and not row.alias]
    newest = {reply_key(row) for row in rows if row.until is None}
    assert set(service.replies()) == newest
    found = document(service)["paths"]
    shown = found["/v2.1/servers/{server_id}"]["get"]["responses"]["200"]["content"]
    assert shown["application/json"]["schema"]["$ref"].endswith("/ServerReply")
    gone = found["/v2.1/servers/{server_id}"]["delete"]["responses"]["204"]
    assert "content" not in gone
