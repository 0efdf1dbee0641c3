"""What guests are told, over HTTP as the hosts' proxies ask it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest
import requests
from compute import NETWORK, ComputeCloud, compute_cloud

from minicloud.api.metadata_service import MetadataService, metadata_service
from minicloud.api.policies import RULES
from minicloud.kit.policy import Policy
from minicloud.kit.web import WebServer, build_app

SECRET = "between proxies and api"


def _signed(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class Guest:
    """Asks as the proxy does for one server."""

    def __init__(self, url: str, server_id: str) -> None:
        self._url, self._server_id = url, server_id

    def ask(self, path: str, secret: str = SECRET) -> requests.Response:
        signature = hmac.new(secret.encode(), self._server_id.encode(), hashlib.sha256)
        return requests.get(
            self._url + path,
            headers={
                "X-Instance-ID": self._server_id,
                "X-Instance-ID-Signature": signature.hexdigest(),
            },
            timeout=10,
        )

    def post(self, path: str, body: bytes) -> int:
        headers = {"X-Instance-ID": self._server_id,
                   "X-Instance-ID-Signature": _signed(SECRET, self._server_id)}  # fmt: skip
        return requests.post(self._url + path, body, headers=headers, timeout=10).status_code

    def ask_at(self, network_id: str, address: str, secret: str = SECRET) -> int:
        """The status of an answer to a request from a place."""
        place = f"{self._server_id}\n{network_id}\n{address}"
        headers = {
            "X-Instance-ID": self._server_id,
            "X-Instance-ID-Signature": _signed(SECRET, self._server_id),
            "X-Minicloud-Network-ID": network_id,
            "X-Forwarded-For": address,
            "X-Minicloud-Place-Signature": _signed(secret, place),
        }
        return requests.get(f"{self._url}/", headers=headers, timeout=10).status_code

    def text(self, path: str) -> str:
        answer = self.ask(path)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path_factory.mktemp("metadata")) as running:
        yield running


@pytest.fixture(scope="module")
def url(cloud: ComputeCloud) -> Iterator[str]:
    service = MetadataService(cloud.database, cloud.lookups, secret=SECRET)
    web = WebServer(build_app(metadata_service(service, Policy(RULES))), host="127.0.0.1", port=0)
    web.start()
    yield "http://{}:{}".format(*web.address)
    web.stop()


@pytest.fixture(scope="module")
def guest(cloud: ComputeCloud, url: str) -> Guest:
    key = cloud.call("POST", "/v2.1/os-keypairs", version="2.2", json={"keypair": {"name": "mine"}})
    assert key.status_code == 201, key.text
    script = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    server_id = cloud.launch(
        name="web 1", key_name="mine", user_data=script, metadata={"role": "front"}
    )
    return Guest(url, server_id)


def test_the_openstack_documents(guest: Guest) -> None:
    assert guest.text("/openstack").split()[-1] == "latest"
    assert "meta_data.json" in guest.text("/openstack/latest/").split()
    facts = json.loads(guest.text("/openstack/latest/meta_data.json"))
    assert facts["name"] == "web 1"
    assert facts["hostname"] == "web-1"
    assert facts["meta"] == {"role": "front"}
    assert facts["public_keys"]["mine"].startswith("ssh-rsa ")
    assert facts["keys"][0]["name"] == "mine"
    assert guest.text("/openstack/2018-08-27/user_data") == "#!/bin/sh\necho hello\n"
    assert json.loads(guest.text("/openstack/latest/vendor_data.json")) == {}


def test_a_certificate_is_said_to_be_one(cloud: ComputeCloud, url: str) -> None:
    body = {"keypair": {"name": "windows", "type": "x509"}}
    key = cloud.call("POST", "/v2.1/os-keypairs", version="2.2", json=body)
    assert key.status_code == 201, key.text
    guest = Guest(url, cloud.launch(key_name="windows"))
    (shown,) = json.loads(guest.text("/openstack/latest/meta_data.json"))["keys"]
    assert (shown["name"], shown["type"]) == ("windows", "x509")
    assert shown["data"].startswith("-----BEGIN CERTIFICATE-----")


def test_a_link_and_dhcp_for_every_nic(guest: Guest) -> None:
    data = json.loads(guest.text("/openstack/latest/network_data.json"))
    (link,), (network,) = data["links"], data["networks"]
    assert link["mtu"] == 1450
    assert link["ethernet_mac_address"] == "fa:16:3e:00:00:00"
    assert network == {
        "id": "network0", "type": "ipv4_dhcp", "link": link["id"], "network_id": NETWORK,
    }  # fmt: skip


def test_the_ec2_tree(guest: Guest) -> None:
    assert "latest" in guest.text("/").split()
    assert guest.text("/latest/").split() == ["meta-data/", "user-data"]
    listing = guest.text("/latest/meta-data/").split()
    assert {"instance-id", "placement/", "public-keys/", "local-ipv4"} <= set(listing)
    assert guest.text("/latest/meta-data/local-ipv4") == "10.0.0.5"
    assert guest.text("/2009-04-04/meta-data/public-keys/") == "0=mine"
    assert guest.text("/latest/meta-data/public-keys/0/openssh-key").startswith("ssh-rsa ")
    assert guest.text("/latest/meta-data/placement/availability-zone") == "nova"
    assert guest.text("/latest/user-data") == "#!/bin/sh\necho hello\n"


def test_a_guest_says_its_password_once(cloud: ComputeCloud, url: str) -> None:
    server_id = cloud.launch()
    guest, shown = Guest(url, server_id), f"/v2.1/servers/{server_id}/os-server-password"
    path = "/openstack/latest/password"
    assert "password" in guest.text("/openstack/latest").split()
    assert guest.text(path) == ""
    assert cloud.get(shown) == {"password": ""}
    for bad in (b"x" * 1021, b"x" * 5000, b"\xff", b"a\0b"):
        assert guest.post(path, bad) == 400
    assert guest.post(path, b"") == 200
    assert guest.post(path, b"x" * 1020) == 200
    assert guest.post("/openstack/2013-04-04/password", b"another") == 409
    assert guest.text(path) == "x" * 1020
    assert cloud.get(shown) == {"password": "x" * 1020}
    assert cloud.call("GET", shown, "alt").status_code == 404
    assert cloud.call("DELETE", shown).status_code == 204
    assert guest.text(path) == ""
    assert guest.post("/openstack/2013-04-04/password", b"another") == 200
    assert cloud.get(shown) == {"password": "another"}
    assert guest.post("/openstack/1999-01-01/password", b"x") == 404
    assert guest.post("/openstack/latest/meta_data.json", b"x") == 405
    assert Guest(url, "not-a-server").post(path, b"x") == 404
    unsigned = requests.post(url + path, b"x", headers={"X-Instance-ID": server_id}, timeout=10)
    assert unsigned.status_code == 403


def test_a_wrong_signature_is_refused(guest: Guest, url: str) -> None:
    assert guest.ask("/openstack/latest/meta_data.json", "another secret").status_code == 403
    assert requests.get(url + "/latest/user-data", timeout=10).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/openstack/latest/nothing",
        "/openstack/1999-01-01/meta_data.json",
        "/latest/meta-data/nothing",
        "/latest/meta-data/public-keys/0/_name",
        "/nothing",
        "/latest/meta-data/hostname/deeper",
    ],
)
def test_what_is_not_there_is_not_found(guest: Guest, path: str) -> None:
    assert guest.ask(path).status_code == 404


def test_a_server_of_no_record_is_not_found(url: str) -> None:
    assert Guest(url, "not-a-server").ask("/latest/user-data").status_code == 404


def test_nobody_is_answered_without_a_secret(cloud: ComputeCloud, guest: Guest) -> None:
    service = MetadataService(cloud.database, cloud.lookups, secret="")
    web = WebServer(build_app(metadata_service(service, Policy(RULES))), host="127.0.0.1", port=0)
    web.start()
    try:
        there = Guest("http://{}:{}".format(*web.address), "anything")
        assert there.ask("/latest/user-data", secret="").status_code == 403
    finally:
        web.stop()


def test_the_place_that_asks_is_signed_and_has_to_be_the_servers(guest: Guest) -> None:
    assert guest.ask_at(NETWORK, "10.0.0.9") == 200
    assert guest.ask_at(NETWORK, "10.0.0.9", secret="guessed") == 403
    assert guest.ask_at("another-network", "10.0.0.9") == 404
