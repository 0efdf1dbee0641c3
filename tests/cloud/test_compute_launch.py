"""Launches over HTTP: what is written, when the client is answered, and what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from compute import (
    BIG_IMAGE,
    IMAGE,
    NETWORK,
    OTHER_NETWORK,
    PORT,
    USED_PORT,
    ComputeCloud,
    compute_cloud,
)
from tokens import DEMO

from minicloud.db import operations, servers
from minicloud.domain.errors import Unavailable
from minicloud.domain.ids import derive

GONE = derive("nothing")


@pytest.fixture
def cloud(tmp_path: Path, database_url: str) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path, url=database_url) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    """For requests that change nothing."""
    with compute_cloud(tmp_path_factory.mktemp("compute")) as running:
        yield running


def test_a_launch_becomes_active(cloud: ComputeCloud) -> None:
    answer = cloud.post_server(name="web", metadata={"a": "b"}, tags=["x"], description="mine")
    assert answer.status_code == 202
    made = answer.json()["server"]
    assert set(made) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    assert answer.headers["Location"] == f"{cloud.url}/v2.1/servers/{made['id']}"
    server = cloud.server(made["id"])
    assert server["status"] == "ACTIVE"
    assert server["name"] == "web"
    assert server["OS-EXT-STS:task_state"] is None
    assert server["metadata"] == {"a": "b"}
    assert server["tags"] == ["x"]
    assert server["description"] == "mine"
    assert server["image"]["id"] == IMAGE
    assert server["addresses"]["private"][0]["addr"] == "10.0.0.5"
    assert len(server["hostId"]) == 56
    assert cloud.lookups.asked == ["image", "networks"]
    (told,) = cloud.compute.told
    assert told[:2] == ("host1", "create")
    assert told[2].token == "demo"


def test_the_first_eight_steps_are_recorded(cloud: ComputeCloud) -> None:
    server_id = cloud.launch()
    trace = cloud.get(f"/v2.1/servers/{server_id}/minicloud-trace")["trace"]
    assert [step["number"] for step in trace["steps"]] == list(range(1, 29))
    recorded = [step for step in trace["steps"] if step["start"] is not None]
    assert [step["number"] for step in recorded] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert trace["request_id"].startswith("req-")
    steps = {step["name"]: step for step in recorded}
    assert steps["issue_token"]["duration"] == pytest.approx(0.012)
    assert steps["ask_token"]["detail"] == "cached"
    assert steps["call_scheduler"]["detail"] == "host1"
    assert steps["send_launch"]["start"] <= steps["open_database"]["start"]
    assert all(step["duration"] >= 0 for step in recorded)
    path = f"/v2.1/servers/{server_id}/os-instance-actions/{trace['request_id']}"
    events = cloud.get(path, "admin")["instanceAction"]["events"]
    names = [event["event"] for event in events]
    assert "step_01_send_credentials" in names
    assert "step_08_call_scheduler" in names
    assert "compute_domain" in names


# -- who is waited for -----------------------------------------------------------------------------
def test_no_valid_host_is_a_server_in_error_not_an_http_error(cloud: ComputeCloud) -> None:
    cloud.scheduler.host = None
    server = cloud.server(cloud.launch())
    assert server["status"] == "ERROR"
    assert server["fault"]["message"].startswith("No valid host")
    assert server["hostId"] == ""


def test_a_scheduler_that_is_away_leaves_the_server_to_the_conductor(cloud: ComputeCloud) -> None:
    cloud.scheduler.problem = Unavailable(service="place", reason="no answer")
    server = cloud.server(cloud.launch())
    assert server["status"] == "BUILD"
    assert server["OS-EXT-STS:task_state"] == "scheduling"
    with cloud.database.read() as tx:
        (live,) = operations.operations_live(tx)
    assert live.server_id == server["id"]
    assert live.host is None


def test_a_slow_scheduler_is_not_waited_for(tmp_path: Path) -> None:
    with compute_cloud(tmp_path, wait_s=0.2) as cloud:
        cloud.scheduler.gate.clear()
        started = time.monotonic()
        server_id = cloud.launch()
        assert time.monotonic() - started < 2
        assert cloud.server(server_id)["status"] == "BUILD"
        cloud.scheduler.gate.set()
        deadline = time.monotonic() + 10
        while cloud.server(server_id)["status"] == "BUILD":
            assert time.monotonic() < deadline
            threading.Event().wait(0.02)
        assert cloud.server(server_id)["status"] == "ACTIVE"


# -- many ------------------------------------------------------------------------------------------
def test_several_servers_of_one_request(cloud: ComputeCloud) -> None:
    answer = cloud.post_server(name="n", min_count=2, max_count=3, return_reservation_id=True)
    assert answer.status_code == 202
    reservation = answer.json()["reservation_id"]
    found = cloud.get("/v2.1/servers/detail", reservation_id=reservation)["servers"]
    assert sorted(server["name"] for server in found) == ["n-1", "n-2", "n-3"]
    assert sorted(s["OS-EXT-SRV-ATTR:hostname"] for s in found) == ["n-1", "n-2", "n-3"]


def test_as_many_as_the_quota_allows(embedded: ComputeCloud) -> None:
    assert embedded.post_server(min_count=1, max_count=50).status_code == 202
    assert len(embedded.get("/v2.1/servers")["servers"]) == 10
    refused = embedded.post_server()
    assert refused.status_code == 403
    assert refused.json()["forbidden"]["message"] == (
        "Quota exceeded for instances: Requested 1, but already used 10 of 10 instances"
    )


def test_the_quota_holds_when_many_ask_at_once(cloud: ComputeCloud) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: cloud.post_server().status_code, range(24)))
    assert codes.count(202) == 10
    assert codes.count(403) == 14
    with cloud.database.read() as tx:
        assert servers.usage_of_project(tx, DEMO).instances == 10


def test_other_projects_have_a_quota_of_their_own(embedded: ComputeCloud) -> None:
    assert embedded.post_server(max_count=10).status_code == 202
    assert embedded.post_server().status_code == 403
    assert embedded.post_server("alt").status_code == 202


def test_cores_are_counted_too(embedded: ComputeCloud) -> None:
    path = f"/v2.1/os-quota-sets/{DEMO}"
    body = {"quota_set": {"cores": 3}}
    assert embedded.call("PUT", path, "admin", json=body).status_code == 200
    assert embedded.post_server(flavorRef="2").status_code == 202
    refused = embedded.post_server(flavorRef="2")
    assert refused.status_code == 403
    assert "Quota exceeded for cores: Requested 2" in refused.text


# -- networks --------------------------------------------------------------------------------------
def test_auto_with_several_networks_is_a_conflict(embedded: ComputeCloud) -> None:
    embedded.lookups.add_network(shared=True)
    assert embedded.post_server().status_code == 409
    assert embedded.post_server(networks=[{"uuid": OTHER_NETWORK}]).status_code == 202


def test_auto_overlooks_external_and_other_projects_networks(embedded: ComputeCloud) -> None:
    embedded.lookups.add_network(external=True)
    assert embedded.post_server().status_code == 202
    refused = embedded.post_server(networks=[{"uuid": OTHER_NETWORK}])
    assert refused.status_code == 403


def test_auto_without_any_network_is_a_server_without_nic(embedded: ComputeCloud) -> None:
    embedded.lookups.networks_ = []
    server = embedded.server(embedded.launch())
    assert server["addresses"] == {}
    assert server["security_groups"] == []


def test_none_asks_for_no_network(embedded: ComputeCloud) -> None:
    assert embedded.server(embedded.launch(networks="none"))["addresses"] == {}
    assert embedded.lookups.asked == ["image"]


def test_before_2_37_networks_may_be_left_out(embedded: ComputeCloud) -> None:
    server_id = embedded.launch(version="2.36", networks=...)
    assert embedded.server(server_id)["addresses"]
    assert embedded.post_server(version="2.37", networks=...).status_code == 400
    assert embedded.post_server(version="2.36", networks="auto").status_code == 400


def test_a_port_of_ones_own(embedded: ComputeCloud) -> None:
    embedded.launch(networks=[{"port": PORT}, {"uuid": NETWORK, "fixed_ip": "10.0.0.77"}])
    with embedded.database.read() as tx:
        (server,) = servers.server_list(tx, servers.ServerQuery())
    assert [nic.port_id for nic in server.requested_nics] == [PORT, ""]
    assert [nic.network_id for nic in server.requested_nics] == [NETWORK, NETWORK]
    assert server.requested_nics[1].fixed_ip == "10.0.0.77"


def test_security_groups_are_kept_by_name(embedded: ComputeCloud) -> None:
    server_id = embedded.launch(security_groups=[{"name": derive("web")}, {"name": "default"}])
    groups = embedded.server(server_id)["security_groups"]
    assert groups == [{"name": "web"}, {"name": "default"}]
    refused = embedded.post_server(security_groups=[{"name": "nothing"}])
    assert refused.status_code == 400
    assert "Security group nothing not found" in refused.text


# -- disks -----------------------------------------------------------------------------------------
def test_a_flavors_ephemeral_disk_is_given(embedded: ComputeCloud) -> None:
    embedded.launch(flavorRef="2")
    with embedded.database.read() as tx:
        (server,) = servers.server_list(tx, servers.ServerQuery())
    assert [(d.destination_type, d.size_gb) for d in server.block_devices] == [("local", 5)]


# -- refusals --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"imageRef": GONE}, "Can not find requested image"),
        ({"imageRef": "a-name"}, "or of another form - at `$.imageRef`"),
        ({"imageRef": ...}, "Invalid imageRef provided."),
        ({"imageRef": BIG_IMAGE}, "Flavor's disk is too small"),
        ({"flavorRef": "99"}, "Flavor with id 99 could not be found."),
        ({"flavorRef": "3"}, "Flavor with id 3 could not be found."),
        ({"flavorRef": ...}, "flavorRef"),
        ({"key_name": "nothing"}, "Invalid key_name provided."),
        ({"user_data": "not base64!"}, "user_data"),
        ({"name": ""}, "$.name"),
        ({"name": " x"}, "$.name"),
        ({"name": "x" * 256}, "$.name"),
        ({"name": "a\x00b"}, "$.name"),
        ({"name": ...}, "name"),
        ({"metadata": {"k": "v" * 256}}, "metadata"),
        ({"metadata": {"": "v"}}, "metadata"),
        ({"metadata": {"k": 3}}, "metadata"),
        ({"min_count": 0}, "min_count"),
        ({"min_count": 3, "max_count": 2}, "min_count must be <= max_count"),
        ({"max_count": 10**12}, "max_count"),
        ({"networks": [{"uuid": GONE}]}, "could not be found"),
        ({"networks": [{"uuid": "x"}]}, "networks"),
        ({"networks": [{"port": GONE}]}, "could not be found"),
        ({"networks": [{}]}, "networks"),
        ({"networks": "some"}, "networks"),
        ({"networks": [{"uuid": NETWORK, "fixed_ip": "1"}]}, "Fixed IP 1 is not a valid"),
        ({"networks": [{"port": PORT}], "max_count": 2}, "multiple instances"),
        ({"networks": [{"port": PORT}, {"port": PORT}]}, "twice"),
        ({"availability_zone": "elsewhere"}, "availability zone is not available"),
        ({"surprise": 1}, "surprise"),
        ({"config_drive": "maybe"}, "config_drive"),
        ({"accessIPv4": "1.2.3"}, "accessIPv4"),
        ({"accessIPv6": "10.0.0.1"}, "accessIPv6"),
        ({"tags": ["a,b"]}, "tags"),
        ({"hostname": "a_b"}, "hostname"),
        ({"hostname": "a", "max_count": 2}, "one server only"),
        ({"personality": [{"path": "/x", "contents": ""}]}, "personality"),
    ],
)  # fmt: skip
def test_a_wrong_launch_says_what_is_wrong(
    lasting: ComputeCloud, change: dict[str, Any], words: str
) -> None:
    answer = lasting.post_server(**change)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["badRequest"]["message"]
    assert lasting.get("/v2.1/servers")["servers"] == []


@pytest.mark.parametrize(
    ("version", "change"),
    [
        ("2.18", {"description": "x"}),
        ("2.51", {"tags": ["x"]}),
        ("2.89", {"hostname": "x"}),
        ("2.31", {"networks": [{"uuid": NETWORK, "tag": "x"}]}),
        ("2.73", {"host": "host1"}),
    ],
)
def test_what_a_version_does_not_know_is_refused(
    lasting: ComputeCloud, version: str, change: dict[str, Any]
) -> None:
    answer = lasting.post_server(version=version, **{"networks": [], **change})
    assert answer.status_code == 400
    assert "Additional properties are not allowed" in answer.text


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"server": []}', b'{"server": null}', b""])
def test_a_body_that_is_none_is_refused(lasting: ComputeCloud, body: bytes) -> None:
    answer = lasting.call(
        "POST", "/v2.1/servers", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["code"] == 400


def test_a_host_name_with_a_domain(embedded: ComputeCloud) -> None:
    assert embedded.post_server(version="2.93", hostname="a.example").status_code == 400
    server = embedded.server(embedded.launch(version="2.94", hostname="a.example"))
    assert server["OS-EXT-SRV-ATTR:hostname"] == "a.example"


def test_a_port_in_use_is_a_conflict(lasting: ComputeCloud) -> None:
    assert lasting.post_server(networks=[{"port": USED_PORT}]).status_code == 409


def test_too_many_metadata_items_are_forbidden(lasting: ComputeCloud) -> None:
    answer = lasting.post_server(metadata={f"k{n}": "v" for n in range(6)})
    assert answer.status_code == 403


def test_readers_and_strangers_launch_nothing(lasting: ComputeCloud) -> None:
    assert lasting.post_server("reader").status_code == 403
    assert lasting.post_server("nobody").status_code == 401


def test_an_image_service_that_is_away_is_said_so(embedded: ComputeCloud) -> None:
    embedded.lookups.problem = Unavailable(service="image", reason="ConnectionError")
    answer = embedded.post_server()
    assert answer.status_code == 503
    assert "serviceUnavailable" in answer.json()
