"""Requests that are right but for one value, which every OpenStack cloud refuses: nulls where there
is none, words that are no flag, numbers and addresses that are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from compute import IMAGE, NETWORK, NEWEST, PLAIN_VOLUME, VOLUME, ComputeCloud, compute_cloud

from minicloud.domain.ids import derive

ID = derive("anything")
UNSEEN = ("a\u200bb", "a\u202eb", "a\x07")
NO_NAME = (None, "", " a", "a ", 5, *UNSEEN)
NO_FLAG = (None, "", "y", "maybe", 2)
NO_ADDRESS = (None, "", "10.0.0.300", "1.5", 5)
NO_TEXT = (None, 5, {})
NO_HOST = (None, "", "a/b", "a b", "::1")

SERVER = {
    "name": "a", "imageRef": IMAGE, "flavorRef": "1",
    "networks": [{"uuid": NETWORK, "fixed_ip": "10.0.0.7", "tag": "t"}], "user_data": "aGVsbG8=",
    "config_drive": "yes", "availability_zone": "nova", "min_count": "1", "max_count": 1,
    "return_reservation_id": "off", "accessIPv4": "10.0.0.1", "accessIPv6": "::1",
    "adminPass": "x", "description": "d", "hostname": "a",
}  # fmt: skip
LEGACY = {
    "volume_id": VOLUME, "virtual_name": "", "volume_size": "5", "connection_info": "x",
}  # fmt: skip
HINTS = {
    "same_host": [ID], "different_host": ID, "query": '[">=", "$free_ram_mb", 1]',
    "cidr": "/24", "build_near_host_ip": "::1", "target_cell": "x",
}  # fmt: skip
REBUILD = {
    "imageRef": IMAGE, "name": "a", "adminPass": "x", "preserve_ephemeral": "no",
    "accessIPv4": "10.0.0.1", "accessIPv6": "::1", "user_data": "aGVsbG8=", "description": "x",
    "hostname": "ab",
}  # fmt: skip
NIC = {"net_id": NETWORK, "fixed_ips": [{"ip_address": "10.0.0.9"}], "tag": "t"}
FLAVOR = {"name": "big", "ram": 64, "vcpus": 1, "disk": 1, "rxtx_factor": "1.5",
          "os-flavor-access:is_public": "Yes", "description": "x"}  # fmt: skip
ACTION = "/servers/{server}/action"
_OF_ITS_HOST = "host1 is still in use"
"""Why no server here can be evacuated."""

Case = tuple[str, str, str, Mapping[str, Any], Mapping[str, Sequence[Any]]]
CASES: Sequence[Case] = [
    (NEWEST, "POST", "/servers", {"server": SERVER}, {
        "server.name": NO_NAME, "server.imageRef": ("x", "\u0661"), "server.user_data": (None, "x"),
        "server.networks.0.fixed_ip": NO_ADDRESS, "server.networks.0.tag": (None, "", "a,b"),
        "server.networks.0.uuid": (None, "x"), "server.config_drive": NO_FLAG,
        "server.availability_zone": NO_NAME, "server.min_count": (None, "", 0, "x", True),
        "server.max_count": (None, "", 0, -1), "server.return_reservation_id": NO_FLAG,
        "server.accessIPv4": (*NO_ADDRESS, "::1"), "server.accessIPv6": (*NO_ADDRESS, "1.2.3.4"),
        "server.adminPass": NO_TEXT, "server.description": (5, "a\tb", *UNSEEN),
        "server.hostname": (None, "", "-a"), "server.key_name": (None,),
        "server.host": NO_HOST, "server.hypervisor_hostname": NO_HOST,
    }),
    (NEWEST, "POST", "/servers", {"server": {**SERVER, "block_device_mapping": [LEGACY]}}, {
        f"server.block_device_mapping.0.{key}": values
        for key, values in {
            "volume_id": (None, "", "x"), "virtual_name": (None, 5), "snapshot_id": (None, "", "x"),
            "volume_size": (None, "", 0, "0", -1), "connection_info": (None, 5),
        }.items()
    }),
    (NEWEST, "POST", "/servers", {"server": SERVER, "os:scheduler_hints": HINTS}, {
        "os:scheduler_hints.group": (None, "x", 5), "os:scheduler_hints.same_host": (None, "x"),
        "os:scheduler_hints.different_host": (None, [None]), "os:scheduler_hints.query": (None, 5),
        "os:scheduler_hints.cidr": (None, "", "24", 24),
        "os:scheduler_hints.build_near_host_ip": NO_ADDRESS,
        "os:scheduler_hints.target_cell": (None, "", " ", 5),
    }),
    (NEWEST, "PUT", "/servers/{server}", {"server": {"name": "b"}}, {
        "server.name": NO_NAME, "server.accessIPv4": (None, ""), "server.accessIPv6": (None, ""),
        "server.description": UNSEEN,
    }),
    ("2.93", "PUT", "/servers/{server}", {"server": {"hostname": "ab"}}, {
        "server.hostname": (None, "a", "a.b"),
    }),
    (NEWEST, "POST", ACTION, {"rebuild": REBUILD}, {
        "rebuild.imageRef": (None, "", "x"), "rebuild.name": NO_NAME, "rebuild.adminPass": NO_TEXT,
        "rebuild.preserve_ephemeral": NO_FLAG, "rebuild.accessIPv4": NO_ADDRESS,
        "rebuild.accessIPv6": NO_ADDRESS, "rebuild.user_data": ("x", 5),
        "rebuild.description": UNSEEN,
    }),
    ("2.56", "POST", ACTION, {"rebuild": {"imageRef": IMAGE, "personality": []}}, {
        "rebuild.personality": (None, [{"path": 5}], [{"path": "/a", "contents": "aGk="}]),
    }),
    (NEWEST, "POST", ACTION, {"lock": {"locked_reason": "x"}}, {"lock.locked_reason": (None, "")}),
    (NEWEST, "POST", ACTION, {"os-getConsoleOutput": {}}, {
        "os-getConsoleOutput": (None, []), "os-getConsoleOutput.length": ("x", True),
    }),
    (NEWEST, "POST", ACTION, {"rescue": {}}, {
        "rescue.adminPass": NO_TEXT, "rescue.rescue_image_ref": (None, "", "x"),
    }),
    (NEWEST, "POST", ACTION, {"trigger_crash_dump": None}, {"trigger_crash_dump": ("", {}, [])}),
    (NEWEST, "POST", ACTION, {"createImage": {"name": "a"}}, {"createImage.name": NO_NAME}),
    (NEWEST, "POST", ACTION, {"resize": {"flavorRef": "2"}}, {
        "resize.OS-DCF:diskConfig": (None, "auto"),
    }),
    ("2.67", "POST", ACTION, {"evacuate": {}}, {
        "evacuate.host": NO_HOST, "evacuate.adminPass": NO_TEXT, "evacuate.force": NO_FLAG,
    }),
    ("2.13", "POST", ACTION, {"evacuate": {"onSharedStorage": "no"}}, {
        "evacuate": ({},), "evacuate.onSharedStorage": NO_FLAG,
    }),
    (NEWEST, "POST", ACTION, {"unshelve": {"availability_zone": None}}, {
        "unshelve.host": (None, ""),
    }),
    ("2.90", "POST", ACTION, {"unshelve": None}, {
        "unshelve": ({}, {"availability_zone": None}, {"host": "host1"}),
    }),
    (NEWEST, "POST", "/servers/{server}/os-interface", {"interfaceAttachment": NIC}, {
        "interfaceAttachment.net_id": (None, "x"), "interfaceAttachment.port_id": (None, "x"),
        "interfaceAttachment.fixed_ips": (None, [], [{"ip_address": ""}], [{"ip_address": "1.5"}]),
        "interfaceAttachment.tag": (None, ""),
    }),
    (NEWEST, "POST", "/servers/{server}/os-volume_attachments",
     {"volumeAttachment": {"volumeId": PLAIN_VOLUME}}, {
        "volumeAttachment.tag": (None, ""), "volumeAttachment.delete_on_termination": NO_FLAG,
    }),
    (NEWEST, "POST", "/flavors", {"flavor": FLAVOR}, {
        "flavor.name": NO_NAME, "flavor.os-flavor-access:is_public": NO_FLAG,
        "flavor.rxtx_factor": (None, "", " 1", "+1", "x", 0), "flavor.description": UNSEEN,
    }),
    (NEWEST, "PUT", "/flavors/1", {"flavor": {"description": "x"}}, {"flavor.description": UNSEEN}),
    (NEWEST, "POST", "/flavors/1/os-extra_specs", {"extra_specs": {"mine": 1.5}}, {
        "extra_specs.mine": (None, True, [], {}),
    }),
    ("2.91", "POST", "/os-keypairs", {"keypair": {"name": "k"}}, {
        "keypair.public_key": (None, ""), "keypair.user_id": (None, 5),
    }),
    (NEWEST, "PUT", f"/os-quota-sets/{ID}", {"quota_set": {"cores": 5, "force": "on"}}, {
        "quota_set.force": NO_FLAG, "quota_set.cores": (None, "", "x", True, -2),
    }),
    (NEWEST, "POST", "/os-aggregates", {"aggregate": {"name": "a"}}, {
        "aggregate.name": NO_NAME, "aggregate.availability_zone": ("", "a:b", *UNSEEN),
    }),
    (NEWEST, "POST", "/os-aggregates/1/action", {"add_host": {"host": "host1"}}, {
        "add_host.host": NO_HOST,
    }),
    (NEWEST, "POST", "/os-server-groups",
     {"server_group": {"name": "a", "policy": "anti-affinity"}}, {
        "server_group.name": NO_NAME, "server_group.rules": (None, {"max_server_per_host": None}),
    }),
    ("2.52", "PUT", "/os-services/force-down",
     {"host": "host1", "binary": "nova-compute", "forced_down": "no"}, {
        "host": NO_HOST, "binary": (None, ""), "forced_down": NO_FLAG,
    }),
    ("2.52", "PUT", "/os-services/disable-log-reason",
     {"host": "host1", "binary": "nova-compute", "disabled_reason": "x"}, {
        "disabled_reason": (None, ""),
    }),
    (NEWEST, "PUT", "/os-services/{service}", {"status": "disabled"}, {
        "disabled_reason": (None, ""), "forced_down": NO_FLAG,
    }),
]  # fmt: skip


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path_factory.mktemp("compute")) as running:
        body = {"aggregate": {"name": "first"}}
        assert running.call("POST", "/v2.1/os-aggregates", "admin", json=body).status_code == 200
        yield running


@pytest.mark.parametrize(
    ("version", "method", "path", "right", "wrong"),
    CASES,
    ids=[
        f"{path.split('/')[1]}-{next(iter(right))}-{version}"
        for version, _, path, right, _ in CASES
    ],
)
def test_one_wrong_value_is_refused(
    cloud: ComputeCloud,
    version: str,
    method: str,
    path: str,
    right: Mapping[str, Any],
    wrong: Mapping[str, Sequence[Any]],
) -> None:
    server = cloud.launch("admin", networks="none")
    services = cloud.get("/v2.1/os-services", "admin")["services"]
    path = "/v2.1" + path.format(server=server, service=services[0]["id"])

    def ask(body: Any) -> Any:
        return cloud.call(method, path, "admin", version, json=body)

    for where, values in wrong.items():
        for value in values:
            answer = ask(changed(right, where.split("."), value))
            assert answer.status_code == 400, (where, value, answer.text)
            assert answer.json()["badRequest"]["message"]
    answer = ask(right)
    assert answer.status_code in (200, 201, 202, 404, 409) or _OF_ITS_HOST in answer.text
    assert cloud.call("DELETE", f"/v2.1/servers/{server}", "admin").status_code == 204


QUERIES = [
    *(
        f"/servers?{name}={word}"
        for name in ("flavor", "availability_zone", "node", "config_drive", "tags", "not-tags-any")
        for word in ("", "[")
    ),
    "/servers/detail?kernel_id=", "/os-hypervisors?with_servers=",
    "/os-hypervisors?hypervisor_hostname_pattern=", "/os-hypervisors/detail?with_servers=1&"
    "with_servers=0", "/os-hypervisors?hypervisor_hostname_pattern=a%20b",
    "/os-migrations?limit=1&limit=2", "/os-migrations?user_id=a&user_id=b",
    "/servers/{server}/os-instance-actions?limit=1&limit=1",
]  # fmt: skip


@pytest.mark.parametrize("path", QUERIES)
def test_wrong_queries_are_refused(cloud: ComputeCloud, path: str) -> None:
    server = cloud.launch("admin", networks="none")
    answer = cloud.call("GET", "/v2.1" + path.format(server=server), "admin")
    assert answer.status_code == 400, answer.text
    assert cloud.call("DELETE", f"/v2.1/servers/{server}", "admin").status_code == 204


def test_joined_tables_are_no_filters(cloud: ComputeCloud) -> None:
    assert cloud.get("/v2.1/servers", info_cache="x", metadata="{}", services="") == {"servers": []}


def changed(body: Any, where: Sequence[str], value: Any) -> Any:
    """``body`` with ``value`` at the place ``where``: keys, and indices of lists."""
    changed_one = msgspec.json.decode(msgspec.json.encode(body))
    part = changed_one
    for key in where[:-1]:
        part = part[int(key) if isinstance(part, list) else key]
    part[where[-1]] = value
    return changed_one
