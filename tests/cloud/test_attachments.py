"""Disks and NICs that servers get and lose while they run, as their users see it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cloud import Cloud, running, wait_until
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from user import User

from minicloud.domain.ids import new_id


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("attachments"), place_wait_s=0.3) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture
def server(cloud: Cloud, user: User) -> Iterator[str]:
    server_id: str = user.launch(cloud.image_id)
    assert wait_until(lambda: user.status(server_id) == "ACTIVE"), user.server(server_id)
    yield server_id
    if user.status(server_id):
        user.delete(server_id)
    cloud.settle()
    assert cloud.traces(server_id) == {}


def volumes_path(server: str) -> str:
    return f"/v2.1/servers/{server}/os-volume_attachments"


def nics_path(server: str) -> str:
    return f"/v2.1/servers/{server}/os-interface"


def attach(user: User, server: str, volume: str, status: int = 200, **more: Any) -> Any:
    body = {"volumeAttachment": {"volumeId": volume, **more}}
    return user.ask("compute", "POST", volumes_path(server), status, json=body)


def detach(user: User, server: str, volume: str, status: int = 202) -> Any:
    return user.ask("compute", "DELETE", f"{volumes_path(server)}/{volume}", status)


def add_nic(user: User, server: str, status: int = 200, **wish: Any) -> Any:
    body = {"interfaceAttachment": wish}
    return user.ask("compute", "POST", nics_path(server), status, json=body)


def attachments(user: User, server: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = user.ask("compute", "GET", volumes_path(server), 200)[
        "volumeAttachments"
    ]
    return found


def volume_status(user: User, volume: str) -> str:
    path = f"/v3/{user.project_id}/volumes/{volume}"
    return str(user.ask("volume", "GET", path, 200)["volume"]["status"])


def actions(user: User, server: str) -> list[str]:
    path = f"/v2.1/servers/{server}/os-instance-actions"
    found = user.ask("compute", "GET", path, 200)["instanceActions"]
    return [each["action"] for each in found]


def guest_disks(cloud: Cloud, server: str) -> list[str]:
    """Names of the disks in the guest, without the config drive's."""
    found = cloud.hosts["lab1"].driver.diagnostics(server)
    return [] if found is None else [d.target for d in found.disks if d.target != "sda"]


# -- volumes ---------------------------------------------------------------------------------------
def test_a_volume_comes_and_goes(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    shown = attach(user, server, volume, tag="data")["volumeAttachment"]
    assert shown["device"] == "/dev/vdb"
    assert (shown["tag"], shown["delete_on_termination"], shown["id"]) == ("data", False, volume)
    assert volume_status(user, volume) == "in-use"
    assert guest_disks(cloud, server) == ["vda", "vdb"]
    (listed,) = attachments(user, server)
    assert (listed["volumeId"], listed["tag"], listed["device"]) == (volume, "data", "/dev/vdb")
    one = user.ask("compute", "GET", f"{volumes_path(server)}/{volume}", 200)
    assert one == {"volumeAttachment": listed}
    assert [v["id"] for v in user.server(server)["os-extended-volumes:volumes_attached"]] == [
        volume
    ]
    assert user.server(server)["OS-EXT-STS:task_state"] is None

    detach(user, server, volume)
    cloud.settle()
    assert attachments(user, server) == []
    assert volume_status(user, volume) == "available"
    assert guest_disks(cloud, server) == ["vda"]
    assert actions(user, server) == ["detach_volume", "attach_volume", "create"]


def test_what_is_done_at_once_is_done_in_turn(cloud: Cloud, user: User, server: str) -> None:
    volumes = [user.make_volume() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        shown = list(pool.map(lambda volume: attach(user, server, volume), volumes))
    devices = sorted(each["volumeAttachment"]["device"] for each in shown)
    assert devices == ["/dev/vdb", "/dev/vdc", "/dev/vdd"]
    # Nobody waits for a detach: what follows it does.
    detach(user, server, volumes[1])
    user.act(server, os_stop={})
    cloud.settle()
    assert user.status(server) == "SHUTOFF"
    assert {each["volumeId"] for each in attachments(user, server)} == {volumes[0], volumes[2]}
    again = attach(user, server, volumes[1])["volumeAttachment"]["device"]
    taken = {each["device"] for each in attachments(user, server)}
    assert again in taken
    assert len(taken) == 3
    user.act(server, os_start={})
    cloud.settle()
    assert sorted(guest_disks(cloud, server)) == ["vda", "vdb", "vdc", "vdd"]


def test_two_servers_want_one_volume(cloud: Cloud, user: User, server: str) -> None:
    other: str = user.launch(cloud.image_id)
    cloud.settle()
    volume = user.make_volume()
    path = volumes_path

    def wish(each: str) -> int:
        body = {"volumeAttachment": {"volumeId": volume}}
        return user.call("compute", "POST", path(each), json=body).status_code

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(wish, (server, other)))
    assert answers == [200, 400]
    cloud.settle()
    assert len(attachments(user, server)) + len(attachments(user, other)) == 1
    user.delete(other)
    cloud.settle()


@pytest.mark.parametrize("state", ["SHUTOFF", "PAUSED", "SHELVED_OFFLOADED"])
def test_servers_that_do_not_run(cloud: Cloud, user: User, server: str, state: str) -> None:
    volume = user.make_volume()
    there, back = {
        "SHUTOFF": ({"os_stop": {}}, {"os_start": {}}),
        "PAUSED": ({"pause": None}, {"unpause": None}),
        "SHELVED_OFFLOADED": ({"shelve": None}, {"unshelve": None}),
    }[state]
    user.act(server, **there)
    cloud.settle()
    assert user.status(server) == state
    shown = attach(user, server, volume)["volumeAttachment"]
    assert shown["volumeId"] == volume
    assert user.status(server) == state
    assert volume_status(user, volume) in ("in-use", "reserved")
    user.act(server, **back)
    cloud.settle()
    assert user.status(server) == "ACTIVE", user.server(server)
    assert guest_disks(cloud, server) == ["vda", "vdb"]
    assert volume_status(user, volume) == "in-use"
    if state == "PAUSED":
        user.act(server, **there)
        cloud.settle()
        detach(user, server, volume)
        cloud.settle()
        # Nothing in a guest that stands still can let a disk go.
        assert volume_status(user, volume) == "in-use"
        assert len(attachments(user, server)) == 1
        user.act(server, **back)
        cloud.settle()
    else:
        user.act(server, **there)
        cloud.settle()
    detach(user, server, volume)
    cloud.settle()
    assert volume_status(user, volume) == "available"
    assert attachments(user, server) == []
    if state != "PAUSED":
        user.act(server, **back)
        cloud.settle()
    assert guest_disks(cloud, server) == ["vda"]


def test_a_guest_that_keeps_its_disk(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    attach(user, server, volume)
    cloud.hosts["lab1"].driver.fail("ensure_no_device", reason="the guest did not let it go")
    detach(user, server, volume)
    cloud.settle()
    assert volume_status(user, volume) == "in-use"
    assert guest_disks(cloud, server) == ["vda", "vdb"]
    assert user.status(server) == "ACTIVE"
    operation = cloud.operations(server)[0]
    assert (operation.verb, operation.state) == ("detach_volume", "failed")
    assert "the guest did not let it go" in (operation.message or "")
    detach(user, server, volume)
    cloud.settle()
    assert volume_status(user, volume) == "available"


def test_a_host_that_fails_to_attach(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    cloud.hosts["lab1"].driver.fail("ensure_device", reason="no slot is left")
    answer = attach(user, server, volume, status=409)
    assert "no slot is left" in answer["conflictingRequest"]["message"]
    assert volume_status(user, volume) == "available"
    assert attachments(user, server) == []
    attach(user, server, volume)


def test_a_volume_that_goes_with_its_server(cloud: Cloud, user: User) -> None:
    server: str = user.launch(cloud.image_id)
    cloud.settle()
    kept, gone, changed = (user.make_volume() for _ in range(3))
    attach(user, server, kept)
    attach(user, server, gone, delete_on_termination=True)
    attach(user, server, changed)
    body = {"volumeAttachment": {"volumeId": changed, "delete_on_termination": True}}
    user.ask("compute", "PUT", f"{volumes_path(server)}/{changed}", 202, json=body)
    shown = {a["volumeId"]: a["delete_on_termination"] for a in attachments(user, server)}
    assert shown == {kept: False, gone: True, changed: True}
    user.delete(server)
    cloud.settle()
    assert cloud.traces(server) == {}
    assert volume_status(user, kept) == "available"
    for each in (gone, changed):
        path = f"/v3/{user.project_id}/volumes/{each}"
        assert user.call("volume", "GET", path).status_code == 404


def test_wrong_requests_for_volumes(cloud: Cloud, user: User, server: str) -> None:
    volume, other = user.make_volume(), user.make_volume()
    attach(user, server, volume)
    path = volumes_path(server)

    def refused(status: int, method: str, path: str, words: str, body: Any = None) -> None:
        answer = user.call("compute", method, path, json=body)
        assert answer.status_code == status, answer.text
        assert words in answer.text

    def wish(**more: Any) -> dict[str, Any]:
        return {"volumeAttachment": more}

    refused(404, "POST", path, "could not be found", wish(volumeId=new_id()))
    already = f"volume {volume} is already attached to instances: {server}"
    refused(400, "POST", path, already, wish(volumeId=volume))
    refused(400, "POST", path, "volumeId", wish())
    refused(400, "POST", path, "volumeId", wish(volumeId="x"))
    refused(400, "POST", path, "device", wish(volumeId=other, device="sda"))
    refused(400, "POST", path, "volumeAttachment", {})
    refused(400, "POST", path, "surprise", wish(volumeId=other, surprise=1))
    refused(404, "DELETE", f"{path}/{other}", "is not attached to volume")
    refused(404, "GET", f"{path}/{other}", "is not attached to volume")
    refused(404, "POST", volumes_path(new_id()), "could not be found", wish(volumeId=other))
    fixed = {"tag": "x", "device": "/dev/vdz", "serverId": new_id(), "id": other}
    for name, value in fixed.items():
        body = wish(volumeId=volume, **{name: value})
        refused(400, "PUT", f"{path}/{volume}", f"{name} property is not mutable", body)
    refused(403, "PUT", f"{path}/{volume}", "swap", wish(volumeId=other))
    admin = cloud.user("admin")
    answer = admin.call("compute", "PUT", f"{path}/{volume}", json=wish(volumeId=other))
    assert answer.status_code == 409
    assert "is not migrating" in answer.text
    user.act(server, suspend=None)
    cloud.settle()
    refused(409, "POST", path, "vm_state suspended", wish(volumeId=other))
    refused(409, "DELETE", f"{path}/{volume}", "vm_state suspended")
    user.act(server, resume=None)
    user.act(server, lock=None)
    cloud.settle()
    admin.act(server, lock=None)
    refused(409, "POST", path, "locked", wish(volumeId=other))
    admin.act(server, unlock=None)


def test_a_volume_of_several_servers_is_known_since_2_60(
    cloud: Cloud, user: User, server: str
) -> None:
    body = {"volume": {"size": 1, "multiattach": True}}
    path = f"/v3/{user.project_id}/volumes"
    volume: str = user.ask("volume", "POST", path, 202, json=body)["volume"]["id"]
    disk = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": -1}
    root = {"source_type": "image", "destination_type": "local", "uuid": cloud.image_id,
            "boot_index": 0, "delete_on_termination": True}  # fmt: skip
    wishes = {
        volumes_path(server): {"volumeAttachment": {"volumeId": volume}},
        "/v2.1/servers": {"server": {
            "name": "other", "imageRef": cloud.image_id, "flavorRef": "1", "networks": "auto",
            "block_device_mapping_v2": [root, disk],
        }},
    }  # fmt: skip
    old = {"OpenStack-API-Version": "compute 2.59"}
    for where, wish in wishes.items():
        refused = user.ask("compute", "POST", where, 400, json=wish, headers=old)["badRequest"]
        assert refused["message"] == (
            "Multiattach volumes are only supported starting with compute API version 2.60."
        )
    assert volume_status(user, volume) == "available"
    attach(user, server, volume)
    again = attach(user, server, volume, 400)["badRequest"]["message"]
    assert again == f"Invalid volume: volume {volume} already attached"
    other: str = user.ask("compute", "POST", "/v2.1/servers", 202,
                          json=wishes["/v2.1/servers"])["server"]["id"]  # fmt: skip
    assert wait_until(lambda: user.status(other) == "ACTIVE"), user.server(other)
    assert [each["volumeId"] for each in attachments(user, other)] == [volume]
    detach(user, server, volume)
    cloud.settle()
    assert attachments(user, server) == []
    assert [each["volumeId"] for each in attachments(user, other)] == [volume]
    assert volume_status(user, volume) == "in-use"
    user.act(server, shelve=None)
    assert wait_until(lambda: user.status(server) == "SHELVED_OFFLOADED")
    told = attach(user, server, volume, 400)["badRequest"]["message"]
    assert "multiattach volumes is not supported for shelved-offloaded" in told
    user.delete(other)
    cloud.settle()
    assert volume_status(user, volume) == "available"


# -- NICs ------------------------------------------------------------------------------------------
def test_a_nic_comes_and_goes(cloud: Cloud, user: User, server: str) -> None:
    shown = add_nic(user, server, net_id=cloud.network_id, tag="second")["interfaceAttachment"]
    assert (shown["net_id"], shown["tag"]) == (cloud.network_id, "second")
    assert shown["fixed_ips"][0]["ip_address"].startswith("10.1.")
    listed = user.ask("compute", "GET", nics_path(server), 200)["interfaceAttachments"]
    assert shown["port_id"] in {each["port_id"] for each in listed}
    assert len(user.server(server)["addresses"]["net"]) == 2
    found = cloud.hosts["lab1"].driver.diagnostics(server)
    assert found is not None
    assert shown["mac_addr"] in {nic.mac for nic in found.nics}
    # It is still there after a reboot that defines the domain anew.
    user.act(server, reboot={"type": "HARD"})
    cloud.settle()
    assert len(user.server(server)["addresses"]["net"]) == 2

    path = f"{nics_path(server)}/{shown['port_id']}"
    user.ask("compute", "DELETE", path, 202)
    cloud.settle()
    assert len(user.server(server)["addresses"]["net"]) == 1
    assert user.call("compute", "GET", path).status_code == 404
    assert user.call("network", "GET", f"/v2.0/ports/{shown['port_id']}").status_code == 404
    assert actions(user, server)[0] == "detach_interface"


def test_a_port_of_the_users(cloud: Cloud, user: User, server: str) -> None:
    wish = {"port": {"network_id": cloud.network_id, "name": "mine"}}
    port = user.ask("network", "POST", "/v2.0/ports", 201, json=wish)["port"]
    shown = add_nic(user, server, port_id=port["id"])["interfaceAttachment"]
    assert shown["port_id"] == port["id"]
    assert shown["mac_addr"] == port["mac_address"]
    add_nic(user, server, status=409, port_id=port["id"])
    user.ask("compute", "DELETE", f"{nics_path(server)}/{port['id']}", 202)
    cloud.settle()
    left = user.ask("network", "GET", f"/v2.0/ports/{port['id']}", 200)["port"]
    assert left["device_id"] == ""
    # And it stays when a server that has it is deleted in the middle of an attachment.
    cloud.hosts["lab1"].driver.fail("ensure_device", reason="not now")
    answer = user.call("compute", "POST", nics_path(server),
                       json={"interfaceAttachment": {"port_id": port["id"]}})  # fmt: skip
    assert answer.status_code >= 400
    user.delete(server)
    cloud.settle()
    left = user.ask("network", "GET", f"/v2.0/ports/{port['id']}", 200)["port"]
    assert left["device_id"] == ""


def test_an_address_of_choice(cloud: Cloud, user: User, server: str) -> None:
    wish = {"net_id": cloud.network_id, "fixed_ips": [{"ip_address": "10.1.77.7"}]}
    shown = add_nic(user, server, **wish)["interfaceAttachment"]
    assert [each["ip_address"] for each in shown["fixed_ips"]] == ["10.1.77.7"]
    assert add_nic(user, server, status=409, **wish)["conflictingRequest"]["code"] == 409
    assert len(user.server(server)["addresses"]["net"]) == 2
    user.ask("compute", "DELETE", f"{nics_path(server)}/{shown['port_id']}", 202)
    cloud.settle()
    # The next one has the number of the one that is gone.
    add_nic(user, server)


@pytest.mark.parametrize(
    ("there", "state"), [({"os_stop": {}}, "SHUTOFF"), ({"pause": None}, "PAUSED")]
)
def test_a_server_that_does_not_run_gets_a_nic(
    cloud: Cloud, user: User, server: str, there: dict[str, Any], state: str
) -> None:
    user.act(server, **there)
    cloud.settle()
    add_nic(user, server, net_id=cloud.network_id)
    assert user.status(server) == state
    user.act(server, **({"os_start": {}} if state == "SHUTOFF" else {"unpause": None}))
    cloud.settle()
    found = cloud.hosts["lab1"].driver.diagnostics(server)
    assert found is not None
    assert len(found.nics) == 2


def test_wrong_requests_for_nics(cloud: Cloud, user: User, server: str) -> None:
    network = cloud.network_id

    def message(status: int, **wish: Any) -> str:
        return str(next(iter(add_nic(user, server, status=status, **wish).values()))["message"])

    assert "both" in message(400, net_id=network, port_id=new_id())
    assert "valid ip address" in message(400, net_id=network, fixed_ips=[{"ip_address": "1"}])
    assert "network_id" in message(400, fixed_ips=[{"ip_address": "10.1.0.9"}])
    assert "could not be found" in message(404, net_id=new_id())
    assert "could not be found" in message(404, port_id=new_id())
    assert message(400, net_id=network, fixed_ips=[{"ip_address": "192.0.2.1"}])
    assert message(400, net_id=network, fixed_ips=[])
    assert message(400, net_id="x")
    assert message(400, surprise=1)
    assert user.call("compute", "DELETE", f"{nics_path(server)}/{new_id()}").status_code == 404
    user.act(server, suspend=None)
    cloud.settle()
    assert "vm_state suspended" in message(409, net_id=network)
    assert cloud.traces(server)["ports"], "the launch's own port is all there is"
    assert len(cloud.traces(server)["ports"]) == 1


# -- security groups -------------------------------------------------------------------------------
def test_security_groups_of_a_servers_ports(cloud: Cloud, user: User, server: str) -> None:
    group = user.ask(
        "network", "POST", "/v2.0/security-groups", 201, json={"security_group": {"name": "web"}}
    )["security_group"]
    user.act(server, addSecurityGroup={"name": "web"})
    user.act(server, addSecurityGroup={"name": group["id"]})
    assert [g["name"] for g in user.server(server)["security_groups"]] == ["default", "web"]
    path = f"/v2.1/servers/{server}/os-security-groups"
    names = {g["name"] for g in user.ask("compute", "GET", path, 200)["security_groups"]}
    assert names == {"default", "web"}
    user.act(server, removeSecurityGroup={"name": "default"})
    assert [g["name"] for g in user.server(server)["security_groups"]] == ["web"]
    user.act(server, status=404, removeSecurityGroup={"name": "default"})
    user.act(server, status=404, addSecurityGroup={"name": "nobody"})
    user.act(server, status=400, addSecurityGroup={})
    user.act(server, removeSecurityGroup={"name": "web"})
    assert user.ask("compute", "GET", path, 200)["security_groups"] == []
    assert user.server(server)["security_groups"] == []


# -- guests ----------------------------------------------------------------------------------------
def test_small_actions_on_a_guest(cloud: Cloud, user: User, server: str) -> None:
    path = f"/v2.1/servers/{server}/diagnostics"
    assert user.call("compute", "GET", path).status_code == 403
    admin = cloud.user("admin")
    shown = admin.ask("compute", "GET", path, 200)
    assert (shown["state"], shown["driver"], shown["num_cpus"]) == ("running", "libvirt", 1)
    assert (shown["num_disks"], shown["num_nics"]) == (2, 1)
    user.act(server, changePassword={"adminPass": "secret"})
    user.act(server, status=400, changePassword={})
    user.act(server, trigger_crash_dump=None)
    log = user.act(server, status=200, **{"os-getConsoleOutput": {}})["output"]
    assert "root's password has changed" in log
    assert "secret" not in log
    assert "NMI received" in log
    assert actions(user, server)[:2] == ["trigger_crash_dump", "changePassword"]
    cloud.hosts["lab1"].driver.fail("set_password", reason="nobody there")
    user.act(server, status=500, changePassword={"adminPass": "secret"})
    assert user.server(server)["OS-EXT-STS:task_state"] is None
    user.act(server, os_stop={})
    cloud.settle()
    user.act(server, status=409, changePassword={"adminPass": "secret"})
    user.act(server, status=409, trigger_crash_dump=None)
    assert admin.call("compute", "GET", path).status_code == 409
    password = f"/v2.1/servers/{server}/os-server-password"
    assert user.ask("compute", "GET", password, 200) == {"password": ""}
    assert user.call("compute", "DELETE", password).status_code == 204


def test_a_password_is_kept_sealed_with_a_key_of_rsa(cloud: Cloud, user: User) -> None:
    old = {"OpenStack-API-Version": "compute 2.1"}
    pair = {"keypair": {"name": "rsa"}}
    made = user.ask("compute", "POST", "/v2.1/os-keypairs", 200, json=pair, headers=old)
    private = load_pem_private_key(made["keypair"]["private_key"].encode(), None)
    assert isinstance(private, RSAPrivateKey)
    server = user.launch(cloud.image_id, key_name="rsa")
    assert wait_until(lambda: user.status(server) == "ACTIVE"), user.server(server)
    user.act(server, changePassword={"adminPass": "geheim ü"})
    path = f"/v2.1/servers/{server}/os-server-password"
    sealed = user.ask("compute", "GET", path, 200)["password"]
    assert private.decrypt(base64.b64decode(sealed), PKCS1v15()).decode() == "geheim ü"
    user.act(server, status=400, changePassword={"adminPass": "x" * 250})
    assert user.ask("compute", "GET", path, 200)["password"] == sealed
    assert user.call("compute", "DELETE", path).status_code == 204
    assert user.ask("compute", "GET", path, 200) == {"password": ""}
    user.delete(server)
    cloud.settle()


def test_a_volume_grows_while_a_guest_has_it(cloud: Cloud, user: User, server: str) -> None:
    volume = user.make_volume()
    attach(user, server, volume)
    path = f"/v3/{user.project_id}/volumes/{volume}/action"
    headers = {"OpenStack-API-Version": "volume 3.42"}
    user.ask("volume", "POST", path, 202, json={"os-extend": {"new_size": 3}}, headers=headers)
    assert wait_until(lambda: actions(user, server)[0] == "extend_volume")
    cloud.settle()
    operation = cloud.operations(server)[0]
    assert (operation.verb, operation.state) == ("extend_volume", "done")
    assert volume_status(user, volume) == "in-use"
