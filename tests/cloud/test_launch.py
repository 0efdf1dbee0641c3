"""A launch from the request to the running guest, as its user and its trace see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.domain.states import Power
from minicloud.domain.steps import STEPS


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("launch")) as cloud:
        yield cloud


def launch(cloud: Cloud, user: User, **more: object) -> str:
    """A server that is ACTIVE."""
    server_id: str = user.launch(cloud.image_id, **more)
    assert wait_until(lambda: user.status(server_id) != "BUILD")
    assert user.status(server_id) == "ACTIVE", user.server(server_id)
    return server_id


def end(cloud: Cloud, user: User, server_id: str) -> None:
    user.delete(server_id)
    assert wait_until(lambda: not user.status(server_id))
    assert cloud.traces(server_id) == {}


def test_a_user_launches_looks_lists_and_deletes(cloud: Cloud) -> None:
    user = cloud.user()
    server_id = launch(cloud, user, name="web", metadata={"role": "front"})
    server = user.server(server_id)
    assert server["name"] == "web"
    assert server["metadata"] == {"role": "front"}
    assert server["OS-EXT-STS:task_state"] is None
    assert server["OS-EXT-STS:power_state"] == Power.RUNNING
    assert server["OS-SRV-USG:launched_at"] is not None
    (address,) = server["addresses"]["net"]
    assert address["addr"].startswith("10.1.")
    listed = user.ask("compute", "GET", "/v2.1/servers", 200, params={"name": "web"})["servers"]
    assert [each["id"] for each in listed] == [server_id]
    host = cloud.hosts["lab1"]
    domain = host.driver.get(server_id)
    assert domain is not None and domain.power is Power.RUNNING
    (port,) = host.network.wiring().ports
    assert port.mac == address["OS-EXT-IPS-MAC:mac_addr"]
    assert cloud.claims()[server_id] == "lab1"
    end(cloud, user, server_id)
    gone = user.call("compute", "GET", f"/v2.1/servers/{server_id}")
    assert gone.status_code == 404


def check_all_steps(user: User, server_id: str) -> None:
    steps = user.trace(server_id)
    assert [step["number"] for step in steps] == [step.number for step in STEPS]
    missing = [step["name"] for step in steps if step["start"] is None]
    assert missing == []
    assert {step["result"] for step in steps} == {"Success"}
    starts = [step["start"] for step in steps]
    assert starts == sorted(starts)
    assert all(step["duration"] >= 0 for step in steps)
    where = [step["where"] for step in steps]
    assert [step["service"] for step in steps] == where


def test_all_28_steps_are_recorded_in_order(cloud: Cloud) -> None:
    user = cloud.user()
    server_id = launch(cloud, user)
    check_all_steps(user, server_id)
    end(cloud, user, server_id)


def test_a_launch_shows_its_steps_as_events(cloud: Cloud) -> None:
    user = cloud.user()
    server_id = launch(cloud, user)
    path = f"/v2.1/servers/{server_id}/os-instance-actions"
    (action,) = user.ask("compute", "GET", path, 200)["instanceActions"]
    assert (action["action"], action["message"]) == ("create", None)
    admin = cloud.user("admin")
    found = admin.ask("compute", "GET", f"{path}/{action['request_id']}", 200)
    names = [event["event"] for event in found["instanceAction"]["events"]]
    assert {step.event for step in STEPS} <= set(names)
    assert "compute_ports" in names
    end(cloud, user, server_id)


def image_disk(cloud: Cloud) -> dict[str, object]:
    return {
        "source_type": "image", "destination_type": "local", "uuid": cloud.image_id,
        "boot_index": 0,
    }  # fmt: skip


def test_a_blank_volume_comes_and_goes_with_its_server(cloud: Cloud) -> None:
    user = cloud.user()
    blank = {
        "source_type": "blank", "destination_type": "volume", "volume_size": 1,
        "boot_index": -1, "delete_on_termination": True,
    }  # fmt: skip
    server_id = launch(cloud, user, block_device_mapping_v2=[image_disk(cloud), blank])
    check_all_steps(user, server_id)
    traces = cloud.traces(server_id)
    assert traces["attachments"] == ["attached"]
    (volume,) = user.server(server_id)["os-extended-volumes:volumes_attached"]
    assert traces["volumes"] == [volume["id"]]
    end(cloud, user, server_id)


def test_a_volume_of_the_user_stays(cloud: Cloud) -> None:
    user = cloud.user()
    volume_id = user.make_volume()
    disk = {
        "source_type": "volume", "destination_type": "volume", "uuid": volume_id,
        "boot_index": -1,
    }  # fmt: skip
    server_id = launch(cloud, user, block_device_mapping_v2=[image_disk(cloud), disk])
    path = f"/v3/{user.project_id}/volumes/{volume_id}"
    assert user.ask("volume", "GET", path, 200)["volume"]["status"] == "in-use"
    end(cloud, user, server_id)
    assert user.ask("volume", "GET", path, 200)["volume"]["status"] == "available"


def test_a_port_of_the_user_stays(cloud: Cloud) -> None:
    user = cloud.user()
    body = {"port": {"network_id": cloud.network_id}}
    port = user.ask("network", "POST", "/v2.0/ports", 201, json=body)["port"]
    nics = [{"uuid": cloud.network_id}, {"port": port["id"]}]
    server_id = launch(cloud, user, networks=nics)
    assert len(cloud.traces(server_id)["ports"]) == 2
    end(cloud, user, server_id)
    found = user.ask("network", "GET", f"/v2.0/ports/{port['id']}", 200)["port"]
    assert found["device_id"] == ""
    assert found["fixed_ips"] == port["fixed_ips"]


def test_no_valid_host_names_each_filter_s_verdict(cloud: Cloud) -> None:
    admin, user = cloud.user("admin"), cloud.user()
    flavor = {"name": "huge", "id": "huge", "vcpus": 1, "ram": 10_000_000, "disk": 1}
    admin.ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
    cloud.user("admin").ask(
        "compute", "PUT", f"/v2.1/os-quota-sets/{user.project_id}", 200,
        json={"quota_set": {"ram": -1}},
    )  # fmt: skip
    server_id = user.launch(cloud.image_id, flavorRef="huge")
    assert user.status(server_id) == "ERROR"
    fault = user.server(server_id)["fault"]
    assert fault["code"] == 500
    assert "lab1: RamFilter: 10000000 MiB of memory wanted" in fault["message"]
    assert cloud.traces(server_id) == {}
    steps = {step["number"]: step["result"] for step in user.trace(server_id)}
    assert steps[10] == "Error"
    end(cloud, user, server_id)


def test_a_quota_is_kept_and_given_back(cloud: Cloud) -> None:
    user = cloud.user("alt_demo")
    user.make_network("alt-net", "10.2.0.0/24")
    cloud.user("admin").ask(
        "compute", "PUT", f"/v2.1/os-quota-sets/{user.project_id}", 200,
        json={"quota_set": {"instances": 1}},
    )  # fmt: skip
    server_id = launch(cloud, user)
    refused = user.launch(cloud.image_id, status=403)
    assert "Quota exceeded for instances" in refused["forbidden"]["message"]
    end(cloud, user, server_id)
    end(cloud, user, launch(cloud, user))


def test_another_project_s_server_is_not_found(cloud: Cloud) -> None:
    user, stranger = cloud.user(), cloud.user("alt_demo")
    server_id = launch(cloud, user)
    path = f"/v2.1/servers/{server_id}"
    for method, where in (("GET", path), ("DELETE", path), ("GET", path + "/minicloud-trace")):
        assert stranger.call("compute", method, where).status_code == 404
    stranger.act(server_id, 404, os_stop=None)
    listed = stranger.ask("compute", "GET", "/v2.1/servers", 200)["servers"]
    assert server_id not in [each["id"] for each in listed]
    assert user.status(server_id) == "ACTIVE"
    end(cloud, user, server_id)


def test_a_launch_is_cheap(cloud: Cloud) -> None:
    """RPC calls and REST requests of one launch, once daemons know the token and the image."""
    user = cloud.user()
    end(cloud, user, launch(cloud, user))
    calls, requests = cloud.transport.calls(), len(cloud.rest.noted)
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: cloud.server(server_id).launched_at)
    assert cloud.transport.calls() - calls <= 3
    asked = cloud.rest.noted[requests:]
    assert len(asked) <= 12, Counter(asked)
    end(cloud, user, server_id)


def test_a_first_launch_is_cheap_too(cloud: Cloud) -> None:
    """As many requests when each service has to ask identity for the user's token."""
    end(cloud, cloud.user(), launch(cloud, cloud.user()))
    user = cloud.user()
    requests = len(cloud.rest.noted)
    server_id = user.launch(cloud.image_id)
    assert wait_until(lambda: cloud.server(server_id).launched_at)
    asked = cloud.rest.noted[requests:]
    assert len(asked) <= 12, Counter(asked)
    end(cloud, user, server_id)


def test_ten_at_once(cloud: Cloud) -> None:
    admin = cloud.user("admin")
    net = admin.make_network("many", "10.3.0.0/24")
    answer = admin.launch(cloud.image_id, min_count=10, max_count=10, networks=[{"uuid": net}])
    assert answer
    cloud.settle()
    found = admin.ask("compute", "GET", "/v2.1/servers/detail", 200)["servers"]
    assert [server["status"] for server in found] == ["ACTIVE"] * 10
    addresses = {server["addresses"]["many"][0]["addr"] for server in found}
    assert len(addresses) == 10
    for server in found:
        admin.delete(server["id"])
    cloud.settle()
    assert all(cloud.traces(server["id"]) == {} for server in found)


def test_a_refused_token_does_not_stop_a_launch(tmp_path: Path) -> None:
    """The user logs out while the launch is under way: the service's own token goes on."""
    with running(tmp_path, token_cache_s=0.0) as cloud:
        user = cloud.user()
        cloud.transport.delay("operation_run", 0.3)
        server_id = user.launch(cloud.image_id)
        user.log_out()
        again = cloud.user()
        assert wait_until(lambda: again.status(server_id) == "ACTIVE")
        end(cloud, again, server_id)
