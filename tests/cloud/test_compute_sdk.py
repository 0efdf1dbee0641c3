"""openstacksdk and the openstack command against the Compute API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.command_line import CommandLine
from compute import IMAGE, NETWORK, ComputeCloud, compute_cloud

openstack = pytest.importorskip("openstack")
pytestmark = pytest.mark.clients


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        yield running


def connect(cloud: ComputeCloud, token: str = "demo") -> Any:
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_type="admin_token",
        auth={"endpoint": f"{cloud.url}/v2.1", "token": token},
    ).compute


def test_a_servers_life(cloud: ComputeCloud) -> None:
    compute = connect(cloud)
    keypair = compute.create_keypair(name="mine")
    assert keypair.private_key.startswith("-----BEGIN")
    flavor = compute.find_flavor("m1.tiny")
    server = compute.create_server(
        name="web", image_id=IMAGE, flavor_id=flavor.id, networks=[{"uuid": NETWORK}],
        key_name="mine", tags=["a"],
    )  # fmt: skip
    server = compute.wait_for_server(server, wait=20)
    assert server.status == "ACTIVE"
    assert server.flavor["original_name"] == "m1.tiny"
    assert server.addresses["private"][0]["addr"] == "10.0.0.5"
    assert compute.find_server("web").id == server.id
    compute.stop_server(server)
    assert compute.get_server(server).status == "SHUTOFF"
    compute.start_server(server)
    compute.reboot_server(server, "HARD")
    compute.set_server_metadata(server, role="front")
    assert compute.get_server(server).metadata == {"role": "front"}
    (create,) = [a for a in compute.server_actions(server) if a.action == "create"]
    steps = compute.get_server_action(create.request_id, server).events
    assert any(step.event == "step_07_write_entry" for step in steps)
    compute.delete_server(server)
    compute.wait_for_delete(server, wait=20)
    assert list(compute.servers()) == []


def test_lists_are_followed_through_their_pages(cloud: ComputeCloud) -> None:
    for number in range(5):
        cloud.launch(name=f"s{number}")
    names = [server.name for server in connect(cloud).servers(limit=2)]
    assert names == ["s4", "s3", "s2", "s1", "s0"]


def test_what_operators_look_at(cloud: ComputeCloud) -> None:
    compute = connect(cloud, "admin")
    (service,) = compute.services()
    assert (service.binary, service.state) == ("nova-compute", "up")
    compute.disable_service(service, disabled_reason="repair")
    (host,) = compute.hypervisors(details=True)
    assert (host.name, host.status) == ("host1", "disabled")
    assert [zone.name for zone in compute.availability_zones(details=True)] == ["nova"]
    flavor = compute.create_flavor(name="big", ram=1024, vcpus=2, disk=5)
    compute.create_flavor_extra_specs(flavor, {"hw:x": "1"})
    assert compute.get_flavor(flavor).extra_specs == {"hw:x": "1"}
    compute.delete_flavor(flavor)


def test_the_openstack_command(cloud: ComputeCloud) -> None:
    run = CommandLine(
        "--os-auth-type", "admin_token", "--os-endpoint", f"{cloud.url}/v2.1", "--os-token", "demo"
    )
    server_id = cloud.launch(name="web")
    assert [row["Name"] for row in run.json("flavor list")] == ["m1.tiny", "m1.small"]
    assert run.json("server show web")["id"] == server_id
    (event,) = run.json("server event list web")
    assert event["Action"] == "create"
    run("server delete --wait web")
    assert cloud.get("/v2.1/servers") == {"servers": []}
