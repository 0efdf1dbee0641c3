"""The real ``openstack`` client's commands about compute's nouns, each effect checked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.command_line import CommandLine
from clients.conftest import LiveCloud, until

pytestmark = [pytest.mark.clients, pytest.mark.host]


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def server(demo: CommandLine) -> Iterator[dict[str, Any]]:
    """A running server in a server group, with tags, a property and a host name."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    group = demo.json("server", "group", "create", "--policy", "anti-affinity", name)
    made = demo.json(
        "--os-compute-api-version", "2.100", "server", "create", "--image", "tiny", "--flavor",
        "m1.nano", "--network", "private", "--hint", f"group={group['id']}", "--tag", "blue",
        "--property", "a=b", "--hostname", "a-host", "--description", "words", "--wait", name,
    )  # fmt: skip
    yield {**made, "group": group}
    demo("server", "delete", "--wait", name)
    demo("server", "group", "delete", name)


# -- flavors, key pairs ----------------------------------------------------------------------------
def test_flavors(admin: CommandLine, demo: CommandLine, name: str) -> None:
    made = admin.json("flavor", "create", "--ram", "64", "--vcpus", "1", "--disk", "1", "--private",
                      "--description", "small", "--property", "hw:x=y", name)  # fmt: skip
    assert (made["ram"], made["os-flavor-access:is_public"]) == (64, False)
    assert name not in demo("flavor", "list", "-f", "value")
    admin("flavor", "set", "--project", "demo", "--property", "k=v", "--description", "x", name)
    shown = admin.json("flavor", "show", name)
    assert shown["properties"] == {"hw:x": "y", "k": "v"}
    assert len(shown["access_project_ids"]) == 1
    assert name in demo("flavor", "list", "-f", "value", "--all")
    admin("flavor", "unset", "--project", "demo", "--property", "k", name)
    assert admin.json("flavor", "show", name)["properties"] == {"hw:x": "y"}
    admin("flavor", "delete", name)
    assert "No Flavor found" in admin.refused("flavor", "show", name)


def test_key_pairs(demo: CommandLine, name: str, tmp_path: Path) -> None:
    private = tmp_path / "key"
    demo("keypair", "create", "--private-key", str(private), name)
    assert "PRIVATE KEY" in private.read_text()
    assert name in {pair["Name"] for pair in demo.json("keypair", "list")}
    public = tmp_path / "key.pub"
    public.write_text(demo("keypair", "show", "--public-key", name))
    other = demo.json("keypair", "create", "--public-key", str(public), f"{name}-2")
    assert other["fingerprint"] == demo.json("keypair", "show", name)["fingerprint"]
    demo("keypair", "delete", name, f"{name}-2")
    assert not {name, f"{name}-2"} & {pair["Name"] for pair in demo.json("keypair", "list")}


# -- hosts -----------------------------------------------------------------------------------------
def test_aggregates_and_zones(
    admin: CommandLine, demo: CommandLine, server: Any, name: str
) -> None:
    host = admin.json("hypervisor", "list")[0]["Hypervisor Hostname"]
    made = admin.json("aggregate", "create", "--property", "ssd=true", name)
    assert made["properties"] == {"ssd": "true"}
    admin("aggregate", "add", "host", name, host)
    admin("aggregate", "set", "--property", "a=b", "--name", f"{name}-2", name)
    shown = admin.json("aggregate", "show", f"{name}-2")
    assert (shown["hosts"], shown["properties"]) == ([host], {"a": "b", "ssd": "true"})
    assert "instances" in admin.refused("aggregate", "set", "--zone", name, f"{name}-2")
    admin("aggregate", "unset", "--property", "a", f"{name}-2")
    admin("aggregate", "cache", "image", f"{name}-2", "tiny")
    assert [a["Name"] for a in admin.json("aggregate", "list")] == [f"{name}-2"]
    zones = demo.json("availability", "zone", "list", "--compute")
    assert {"Zone Name": "nova", "Zone Status": "available"} in zones
    admin("aggregate", "remove", "host", f"{name}-2", host)
    admin("aggregate", "delete", f"{name}-2")
    assert admin.json("aggregate", "list") == []


def test_hypervisors(admin: CommandLine, server: Any) -> None:
    (listed,) = admin.json("hypervisor", "list", "--long")
    shown = admin.json("hypervisor", "show", listed["Hypervisor Hostname"])
    assert shown["state"] == "up"
    assert shown["load_average"]
    old = ("--os-compute-api-version", "2.87")
    assert admin.json(*old, "hypervisor", "stats", "show")["count"] == 1
    assert admin.json(*old, "hypervisor", "show", listed["ID"])["vcpus_used"] >= 1
    found = admin.json("server", "list", "--all-projects", "--host", listed["Hypervisor Hostname"])
    assert server["id"] in {each["ID"] for each in found}


def test_compute_services(admin: CommandLine, server: Any) -> None:
    services = admin.json("compute", "service", "list")
    assert {"nova-compute", "nova-scheduler", "nova-conductor"} <= {s["Binary"] for s in services}
    host = next(s["Host"] for s in services if s["Binary"] == "nova-compute")
    admin("compute service set --disable --disable-reason repair", host, "nova-compute")
    (service,) = admin.json("compute", "service", "list", "--service", "nova-compute", "--long")
    assert (service["Status"], service["Disabled Reason"]) == ("disabled", "repair")
    admin("compute service set --enable", host, "nova-compute")
    admin("compute service set --down", host, "nova-compute")
    (service,) = admin.json("compute", "service", "list", "--service", "nova-compute")
    assert (service["Status"], service["State"]) == ("enabled", "down")
    admin("compute service set --up", host, "nova-compute")
    (service,) = admin.json("compute", "service", "list", "--service", "nova-compute")
    assert service["State"] == "up"
    assert "hosting instances" in admin.refused("compute service delete", service["ID"])


# -- limits ----------------------------------------------------------------------------------------
def test_quotas_limits_and_usage(admin: CommandLine, demo: CommandLine, server: Any) -> None:
    project = demo.json("token", "issue")["project_id"]
    before = admin.json("quota", "show", "--compute", project)
    before = {row["Resource"]: row["Limit"] for row in before}
    admin("quota", "set", "--instances", "7", "--force", project)
    try:
        limits = {row["Name"]: row["Value"] for row in demo.json("limits", "show", "--absolute")}
        assert limits["instances"] == 7
        assert 7 in {row["Instances"] for row in admin.json("quota list --compute")}
        assert limits["instances_used"] >= 1
    finally:
        admin("quota", "delete", "--compute", project)
    after = admin.json("quota", "show", "--compute", project)
    assert {row["Resource"]: row["Limit"] for row in after}["instances"] == before["instances"]
    assert admin.json("quota", "show", "--compute", "--default", project)
    usage = demo.json("usage", "show")
    assert usage["CPU Hours"] >= 0
    assert demo.json("token", "issue")["project_id"] == project
    assert admin.json("usage", "list")


# -- server groups and what is listed of servers ---------------------------------------------------
def test_server_groups(demo: CommandLine, admin: CommandLine, server: Any, name: str) -> None:
    shown = demo.json("server", "group", "show", server["group"]["id"])
    assert (shown["policy"], shown["members"]) == ("anti-affinity", [server["id"]])
    made = demo.json("server", "group", "create", "--policy", "soft-anti-affinity", name)
    assert name in {group["Name"] for group in demo.json("server", "group", "list")}
    assert name in {g["Name"] for g in admin.json("server", "group", "list", "--all-projects")}
    demo("server", "group", "delete", made["id"])
    assert name not in {group["Name"] for group in demo.json("server", "group", "list")}


def test_a_group_keeps_servers_apart(demo: CommandLine, server: Any, name: str) -> None:
    """There is one host, and it has a server of the group."""
    words = demo.refused(
        "server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private",
        "--hint", f"group={server['group']['id']}", "--wait", name,
    )  # fmt: skip
    assert "Error creating server" in words
    assert "ServerGroupFilter" in demo.json("server", "show", name)["fault"]["message"]
    demo("server", "delete", "--wait", name)


def test_lists_of_servers(demo: CommandLine, admin: CommandLine, server: Any) -> None:
    name, newest = server["name"], ("--os-compute-api-version", "2.100")
    for words, there in (
        (("--name", f"^{name}$"), True), (("--name", "nothing"), False),
        (("--status", "ACTIVE"), True), (("--status", "ERROR"), False),
        (("--flavor", "m1.nano"), True), (("--image", "tiny"), True),
        (("--tags", "blue"), True), (("--tags", "red"), False), (("--not-tags", "blue"), False),
        (("--availability-zone", "nova"), True), (("--locked",), False), (("--unlocked",), True),
        (("--changes-since", "2020-01-01T00:00:00Z"), True),
        (("--ip", server["addresses"]["private"][0]), True),
        (("--power-state", "running"), True), (("--vm-state", "stopped"), False),
    ):  # fmt: skip
        found = demo.json(*newest, "server", "list", "--no-name-lookup", *words)
        assert (server["id"] in {each["ID"] for each in found}) is there, words
    shown = demo.json(*newest, "server", "show", server["id"])
    assert (shown["description"], shown["tags"]) == ("words", ["blue"])
    assert (shown["properties"], shown["OS-EXT-SRV-ATTR:hostname"]) == ({"a": "b"}, "a-host")
    assert shown["scheduler_hints"] == {"group": server["group"]["id"]}
    assert shown["server_groups"] == [server["group"]["id"]]
    demo(*newest, "server", "set", "--tag", "green", "--property", "c=d", "--name", name, name)
    demo(*newest, "server", "unset", "--tag", "green", "--property", "c", name)
    assert demo.json(*newest, "server", "show", name)["tags"] == ["blue"]


def test_events_and_migrations(demo: CommandLine, admin: CommandLine, server: Any) -> None:
    events = demo.json("server", "event", "list", server["id"])
    assert [event["Action"] for event in events] == ["create"]
    shown = demo.json("server", "event", "show", server["id"], events[0]["Request ID"])
    assert shown["action"] == "create"
    found = admin.json("server", "migration", "list", "--server", server["id"])
    assert found == []
    assert "could not be found" in admin.refused("server", "migration", "show", server["id"], "1")


def test_what_cannot_be_done_to_a_server_that_runs(admin: CommandLine, server: Any) -> None:
    one = server["id"]
    assert "still in use" in admin.refused("server evacuate", one)
    assert "vm_state active" in admin.refused("server restore", one)
    assert "vm_state active" in admin.refused("server migration revert", one)
    assert "vm_state active" in admin.refused("server migrate revert", one)
    assert "vm_state active" in admin.refused("server migrate confirm", one)
    assert "task_state None" in admin.refused("server migration abort", one, "1")
    assert "task_state None" in admin.refused("server migration force complete", one, "1")
    assert admin.json("server share list", one) == []


def test_addresses_of_a_server_come_and_go(demo: CommandLine, server: Any) -> None:
    def addresses() -> list[str]:
        found: dict[str, list[str]] = demo.json("server show", server["id"])["addresses"]
        return found.get("private", [])

    assert len(addresses()) == 1
    demo("server add fixed ip", server["id"], "private")
    assert len(addresses()) == 2
    demo("server remove network", server["id"], "private")
    until(lambda: addresses() == [])
    demo("server add network", server["id"], "private")
    assert len(addresses()) == 1


# -- openstacksdk ----------------------------------------------------------------------------------
def test_the_sdks_compute_proxy(live_cloud: LiveCloud, server: Any) -> None:
    compute = live_cloud.connect().compute
    operator = live_cloud.connect("minicloud-admin").compute
    found = compute.get_server(server["id"])
    assert found.scheduler_hints == {"group": server["group"]["id"]}
    assert [group.id for group in compute.server_groups()] == [server["group"]["id"]]
    assert server["id"] in [each.id for each in compute.servers(tags="blue")]
    (host,) = operator.hypervisors(details=True, with_servers=True)
    assert server["id"] in [each["uuid"] for each in host.servers]
    assert operator.get_quota_class_set("default").instances > 0
    assert server["id"] not in [each.server_id for each in operator.migrations()]
    assert compute.get_limits().absolute.instances_used >= 1
    assert list(operator.aggregates()) == []
    assert [zone.name for zone in compute.availability_zones()] == ["nova"]
    assert compute.find_extension("os-keypairs") is not None
    assert "create" in [each.action for each in compute.server_actions(server["id"])]
