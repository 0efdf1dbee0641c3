"""What is of old: the path /v2, which knows no microversions, and what OpenStack no longer has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from compute import IMAGE, ComputeCloud, compute_cloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path_factory.mktemp("compute")) as running:
        yield running


def ask(cloud: ComputeCloud, method: str, path: str, **more: Any) -> requests.Response:
    return cloud.call(method, path, "admin", "2.100", **more)


def test_v2_is_the_first_version_whatever_is_asked_for(cloud: ComputeCloud) -> None:
    server_id = cloud.launch("admin", networks="none")
    cloud.launch("admin", networks="none")
    for path in ("/v2", "/v2/" + "a" * 32):
        answer = ask(cloud, "GET", f"{path}/servers/{server_id}")
        assert answer.status_code == 200
        shown = answer.json()["server"]
        assert "tags" not in shown and "locked" not in shown
        links = {link["rel"]: link["href"] for link in shown["links"]}
        assert links["self"] == f"{cloud.url}/v2/servers/{server_id}"
        assert {"OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Vary"}.isdisjoint(
            answer.headers
        )
        assert answer.headers["X-Compute-Request-Id"].startswith("req-")
    assert ask(cloud, "GET", f"/v2/servers/{server_id}/tags").status_code == 404
    assert ask(cloud, "GET", "/v2/nothing").status_code == 404
    assert cloud.call("GET", "/v2/servers", "", "").status_code == 401
    page = ask(cloud, "GET", "/v2/servers", params={"limit": 1}).json()
    assert page["servers_links"][0]["href"].startswith(f"{cloud.url}/v2/servers?")


def test_v2_overlooks_keys_that_it_does_not_know(cloud: ComputeCloud) -> None:
    disk = {"source_type": "image", "destination_type": "local", "uuid": IMAGE, "boot_index": 0,
            "surprise": {"a": 1}, "tag": "x"}  # fmt: skip
    server = {"name": "old", "imageRef": IMAGE, "flavorRef": "1", "surprise": [1], "tags": ["x"],
              "block_device_mapping_v2": [disk]}  # fmt: skip
    body = {"server": server, "surprise": None}
    assert ask(cloud, "POST", "/v2.1/servers", json=body).status_code == 400
    made = ask(cloud, "POST", "/v2/servers", json=body)
    assert made.status_code == 400, "a tag of a device is not unknown, it is of another version"
    del disk["tag"]
    made = ask(cloud, "POST", "/v2/servers", json=body)
    assert made.status_code == 202, made.text
    server_id = made.json()["server"]["id"]
    assert made.headers["Location"] == f"{cloud.url}/v2/servers/{server_id}"
    for wrong in ({"name": ""}, {"flavorRef": None}, {"metadata": {"a/b": "c"}}):
        refused = ask(cloud, "POST", "/v2/servers", json={"server": {**server, **wrong}})
        assert refused.status_code == 400, wrong
    many = {f"key{number}": 1 for number in range(500)}
    refused = ask(cloud, "POST", "/v2/servers", json={"server": {**server, **many}})
    assert refused.status_code == 400


def test_the_documents_of_versions(cloud: ComputeCloud) -> None:
    for version, status in (("v2.0", "DEPRECATED"), ("v2.1", "CURRENT")):
        document = cloud.get(f"/v2.1/versions/{version}")["version"]
        assert (document["id"], document["status"]) == (version, status)
        assert document["links"][0]["href"] == f"{cloud.url}/v2.1/"
    assert cloud.call("GET", "/v2.1/versions/v3").status_code == 404
    assert cloud.call("GET", "/v2.1/versions/v2.1", "").status_code == 401


def test_network_information_is_injected_without_effect(cloud: ComputeCloud) -> None:
    server_id = cloud.launch(networks="none")
    assert cloud.act(server_id, "injectNetworkInfo").status_code == 403
    assert cloud.act(server_id, "injectNetworkInfo", token="admin").status_code == 202
    gone = cloud.act("00000000-0000-4000-8000-000000000000", "injectNetworkInfo", token="admin")
    assert gone.status_code == 404
    assert cloud.act(server_id, "resetNetwork", token="admin").status_code == 410


def test_consoles_that_there_are_none_of(cloud: ComputeCloud) -> None:
    server_id = cloud.launch(networks="none")
    spice = cloud.act(server_id, "os-getSPICEConsole", {"type": "spice-html5"}, version="2.1")
    assert (spice.status_code, "spice-html5" in spice.text) == (400, True)
    vnc = cloud.act(server_id, "os-getVNCConsole", {"type": "xvpvnc"}, version="2.1")
    assert (vnc.status_code, "xvpvnc" in vnc.text) == (400, True)
    rdp = cloud.act(server_id, "os-getRDPConsole", {"type": "rdp-html5"}, version="2.1")
    assert rdp.status_code == 410
    assert cloud.act(server_id, "os-getSPICEConsole", {"type": "spice-html5"}).status_code == 404

    def create(version: str, protocol: str, kind: str, server: str = server_id) -> Any:
        body = {"remote_console": {"protocol": protocol, "type": kind}}
        path = f"/v2.1/servers/{server}/remote-consoles"
        return cloud.call("POST", path, version=version, json=body)

    for version, protocol, kind, words in (
        ("2.6", "spice", "spice-html5", "Unavailable console type spice-html5"),
        ("2.6", "rdp", "rdp-html5", "Unavailable console type rdp-html5"),
        ("2.6", "mks", "webmks", "Invalid input"),
        ("2.8", "mks", "webmks", "Unavailable console type webmks"),
        ("2.98", "spice", "spice-direct", "Invalid input"),
        ("2.99", "spice", "spice-direct", "Unavailable console type spice-direct"),
        ("2.100", "vnc", "serial", "Unavailable console type serial"),
        ("2.100", "vnc", "screen", "Invalid input"),
    ):
        answer = create(version, protocol, kind)
        assert answer.status_code == 400
        assert words in answer.json()["badRequest"]["message"], (version, kind)
    unknown = "00000000-0000-4000-8000-000000000000"
    assert create("2.100", "spice", "spice-html5", unknown).status_code == 404
    tokens = "/v2.1/os-console-auth-tokens/x"
    assert cloud.call("GET", tokens, "admin", "2.30").status_code == 400
    assert cloud.call("GET", tokens, "admin", "2.31").status_code == 404
