"""Flavors, key pairs, limits, quotas, zones and usage over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from compute import NEWEST, ComputeCloud, compute_cloud
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID
from tokens import ALT, DEMO


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ComputeCloud]:
    with compute_cloud(tmp_path) as running:
        yield running


# -- flavors ---------------------------------------------------------------------------------------
def test_a_flavors_life(cloud: ComputeCloud) -> None:
    body = {"name": "big", "vcpus": 4, "ram": "4096", "disk": 10, "id": "auto", "swap": 0,
            "OS-FLV-EXT-DATA:ephemeral": 2, "description": "words"}  # fmt: skip
    made = cloud.call("POST", "/v2.1/flavors", "admin", json={"flavor": body})
    assert made.status_code == 200
    flavor = made.json()["flavor"]
    assert (flavor["ram"], flavor["OS-FLV-EXT-DATA:ephemeral"]) == (4096, 2)
    path = f"/v2.1/flavors/{flavor['id']}"
    assert cloud.get(path)["flavor"] == flavor
    update = {"flavor": {"description": None}}
    assert cloud.call("PUT", path, "admin", json=update).json()["flavor"]["description"] is None
    assert cloud.call("PUT", path, "admin", "2.54", json=update).status_code == 404
    again = cloud.call("POST", "/v2.1/flavors", "admin", json={"flavor": body})
    assert again.status_code == 409
    assert cloud.call("DELETE", path, "admin").status_code == 202
    assert cloud.call("DELETE", path, "admin").status_code == 404
    assert cloud.call("GET", path).status_code == 404
    assert cloud.call("POST", "/v2.1/flavors", json={"flavor": body}).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"ram": 0}, {"vcpus": "x"}, {"disk": -1}, {"ram": 2**40}, {"name": " x"}, {"name": ""},
        {"id": "a/b"}, {"rxtx_factor": 0}, {"surprise": 1}, {"vcpus": True},
        {"os-flavor-access:is_public": "perhaps"},
    ],
)  # fmt: skip
def test_wrong_flavors(cloud: ComputeCloud, change: dict[str, Any]) -> None:
    body = {"name": "f", "vcpus": 1, "ram": 64, "disk": 0, **change}
    assert cloud.call("POST", "/v2.1/flavors", "admin", json={"flavor": body}).status_code == 400


def test_lists_of_flavors(cloud: ComputeCloud) -> None:
    def ids(token: str = "demo", **query: Any) -> list[str]:
        return [flavor["id"] for flavor in cloud.get("/v2.1/flavors", token, **query)["flavors"]]

    assert ids() == ["1", "2"]
    assert ids("admin") == ["1", "2"]
    assert ids("admin", is_public="None") == ["1", "2", "3"]
    assert ids("admin", is_public="false") == ["3"]
    assert ids(minRam=1024) == ["2"]
    assert ids(minDisk=20) == ["2"]
    assert ids(sort_key="memory_mb", sort_dir="desc") == ["2", "1"]
    assert ids(limit=1) == ["1"]
    assert ids(limit=1, marker="1") == ["2"]
    page = cloud.get("/v2.1/flavors/detail", limit=1)
    assert "marker=1" in page["flavors_links"][0]["href"]
    for query in ({"limit": "x"}, {"marker": "9"}, {"minRam": "x"}, {"sort_key": "x"}):
        assert cloud.call("GET", "/v2.1/flavors", params=query).status_code == 400


def test_extra_specs(cloud: ComputeCloud) -> None:
    path = "/v2.1/flavors/1/os-extra_specs"
    assert cloud.get(path) == {"extra_specs": {"a": "b"}}
    body = {"extra_specs": {"mine:x": "1"}}
    added = cloud.call("POST", path, "admin", json=body)
    assert (added.status_code, added.json()) == (200, body)
    changed = cloud.call("PUT", path + "/a", "admin", json={"a": "c"})
    assert (changed.status_code, changed.json()) == (200, {"a": "c"})
    assert cloud.get(path + "/a") == {"a": "c"}
    assert cloud.call("DELETE", path + "/a", "admin").status_code == 200
    assert cloud.call("DELETE", path + "/a", "admin").status_code == 404
    assert cloud.call("GET", path + "/a").status_code == 404
    assert cloud.get(path) == {"extra_specs": {"mine:x": "1"}}
    assert cloud.call("PUT", path + "/a", "admin", json={"b": "c"}).status_code == 400
    added = cloud.call("POST", path, "admin", json={"extra_specs": {"a": 1}})
    assert (added.status_code, added.json()) == (200, {"extra_specs": {"a": "1"}})
    assert cloud.call("POST", path, "demo", json=body).status_code == 403


def test_access_to_private_flavors(cloud: ComputeCloud) -> None:
    assert cloud.call("GET", "/v2.1/flavors/3").status_code == 404
    path = "/v2.1/flavors/3/action"
    add = {"addTenantAccess": {"tenant": DEMO}}
    shared = cloud.call("POST", path, "admin", json=add)
    assert shared.status_code == 200
    assert shared.json() == {"flavor_access": [{"flavor_id": "3", "tenant_id": DEMO}]}
    assert cloud.call("POST", path, "admin", json=add).status_code == 409
    assert cloud.get("/v2.1/flavors/3")["flavor"]["name"] == "private"
    assert cloud.post_server(flavorRef="3").status_code == 202
    assert cloud.call("GET", "/v2.1/flavors/3", "alt").status_code == 404
    listed = cloud.get("/v2.1/flavors/3/os-flavor-access", "admin")["flavor_access"]
    assert [entry["tenant_id"] for entry in listed] == [DEMO]
    remove = {"removeTenantAccess": {"tenant": DEMO}}
    assert cloud.call("POST", path, "admin", json=remove).json() == {"flavor_access": []}
    assert cloud.call("POST", path, "admin", json=remove).status_code == 404
    public = "/v2.1/flavors/1/action"
    assert cloud.call("POST", public, "admin", json=add).status_code == 409
    assert cloud.call("POST", public, "admin", "2.6", json=add).status_code == 200
    assert cloud.call("GET", "/v2.1/flavors/1/os-flavor-access", "admin").status_code == 404
    assert cloud.call("POST", path, json=add).status_code == 403


# -- key pairs -------------------------------------------------------------------------------------
def openssh(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_key_pairs_are_a_users_own(cloud: ComputeCloud) -> None:
    public_key = openssh(ed25519.Ed25519PrivateKey.generate()) + " me@home\n"

    def create(token: str, name: str, **more: Any) -> int:
        body = {"name": name, "public_key": public_key, **more}
        return cloud.call("POST", "/v2.1/os-keypairs", token, json={"keypair": body}).status_code

    assert create("demo", "k1") == 201
    assert create("demo", "k1") == 409
    assert create("alt", "k1") == 201
    assert create("alt", "k2", user_id="user-demo") == 403
    assert create("admin", "k2", user_id="user-demo") == 201
    assert create("demo", "k3", public_key=openssh(ec.generate_private_key(ec.SECP256R1()))) == 201
    assert create("demo", "k4") == 403, "the quota is three"
    listed = cloud.get("/v2.1/os-keypairs")["keypairs"]
    assert [entry["keypair"]["name"] for entry in listed] == ["k1", "k2", "k3"]
    others = cloud.get("/v2.1/os-keypairs", "admin", user_id="user-alt")["keypairs"]
    assert [entry["keypair"]["name"] for entry in others] == ["k1"]
    query = {"user_id": "user-demo"}
    assert cloud.call("GET", "/v2.1/os-keypairs", "alt", params=query).status_code == 403
    shown = cloud.get("/v2.1/os-keypairs/k1")["keypair"]
    assert shown["public_key"] == public_key.strip()
    assert len(shown["fingerprint"].split(":")) == 16
    assert shown["deleted"] is False
    server = cloud.server(cloud.launch(key_name="k1"))
    assert server["key_name"] == "k1"
    assert cloud.call("DELETE", "/v2.1/os-keypairs/k2", "admin", params=query).status_code == 204
    assert cloud.call("DELETE", "/v2.1/os-keypairs/k2").status_code == 404
    assert cloud.call("GET", "/v2.1/os-keypairs/k2").status_code == 404


def fingerprint_of(certificate: x509.Certificate) -> str:
    return ":".join(f"{byte:02x}" for byte in certificate.fingerprint(hashes.SHA1()))


def test_a_certificate_is_made_as_a_key_pair(cloud: ComputeCloud) -> None:
    body = {"keypair": {"name": "windows", "type": "x509"}}
    assert cloud.call("POST", "/v2.1/os-keypairs", version="2.1", json=body).status_code == 400
    assert cloud.call("POST", "/v2.1/os-keypairs", version="2.92", json=body).status_code == 400
    answer = cloud.call("POST", "/v2.1/os-keypairs", version="2.2", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()["keypair"]
    certificate = x509.load_pem_x509_certificate(made["public_key"].encode())
    key, bundled, _ = pkcs12.load_key_and_certificates(base64.b64decode(made["private_key"]), None)
    assert bundled == certificate
    assert key is not None and key.public_key() == certificate.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == "CN=user-demo"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (principal,) = names
    assert isinstance(principal, x509.OtherName)
    assert principal.type_id.dotted_string == "1.3.6.1.4.1.311.20.2.3"
    assert principal.value == b"\x0c\x13user-demo@localhost"
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert life.days == 3650
    assert made["fingerprint"] == fingerprint_of(certificate)
    shown = cloud.get("/v2.1/os-keypairs/windows")["keypair"]
    assert (shown["type"], shown["public_key"]) == ("x509", made["public_key"].strip())
    assert "private_key" not in shown
    long = {"keypair": {"name": "long", "type": "x509", "user_id": "u" * 65}}
    refused = cloud.call("POST", "/v2.1/os-keypairs", "admin", "2.10", json=long)
    assert refused.status_code == 400

    again = {"keypair": {"name": "again", "type": "x509", "public_key": made["public_key"]}}
    imported = cloud.call("POST", "/v2.1/os-keypairs", json=again)
    assert imported.status_code == 201
    assert imported.json()["keypair"]["fingerprint"] == made["fingerprint"]
    assert cloud.server(cloud.launch(key_name="again"))["key_name"] == "again"
    for bad in ("ssh-rsa AAAA", KEY_OF_ALL, made["public_key"][:200], "x" * 20000,
                made["public_key"] + "\0"):  # fmt: skip
        again["keypair"].update(name="bad", public_key=bad)
        assert cloud.call("POST", "/v2.1/os-keypairs", json=again).status_code == 400


KEY_OF_ALL = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_limits_hold_when_many_ask_at_once(tmp_path: Path, database_url: str) -> None:
    with compute_cloud(tmp_path, url=database_url) as cloud, ThreadPoolExecutor(8) as clients:

        def key_pair(number: int) -> int:
            body = {"keypair": {"name": f"k{number}", "public_key": KEY_OF_ALL}}
            return cloud.call("POST", "/v2.1/os-keypairs", json=body).status_code

        def group(number: int) -> int:
            body = {"server_group": {"name": f"g{number}", "policy": "affinity"}}
            return cloud.call("POST", "/v2.1/os-server-groups", json=body).status_code

        assert sorted(clients.map(key_pair, range(8))) == [201] * 3 + [403] * 5
        assert sorted(clients.map(group, range(8))) == [200] * 5 + [403] * 3


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": "ssh-rsa"},
        {"public_key": "ssh-rsa AAAA"},
        {"public_key": "nonsense words here"},
        {"public_key": "ssh-rsa " + "A" * 20000},
        {"name": "a/b"},
        {"name": ""},
        {"name": "é"},
        {"type": "x509"},
        {"type": "pgp"},
        {"surprise": 1},
    ],
)
def test_wrong_key_pairs(cloud: ComputeCloud, change: dict[str, Any]) -> None:
    body = {"name": "k", "public_key": openssh(ed25519.Ed25519PrivateKey.generate()), **change}
    answer = cloud.call("POST", "/v2.1/os-keypairs", json={"keypair": body})
    assert answer.status_code == 400


# -- limits and quotas -----------------------------------------------------------------------------
def test_limits_and_quotas(cloud: ComputeCloud) -> None:
    cloud.launch(flavorRef="2")
    absolute = cloud.get("/v2.1/limits")["limits"]["absolute"]
    assert absolute["maxTotalInstances"] == 10
    assert absolute["totalInstancesUsed"] == 1
    assert absolute["totalCoresUsed"] == 2
    assert absolute["totalRAMUsed"] == 2048
    assert "maxImageMeta" not in absolute
    assert "maxImageMeta" in cloud.get("/v2.1/limits", version="")["limits"]["absolute"]
    path = f"/v2.1/os-quota-sets/{DEMO}"
    assert cloud.get(path)["quota_set"]["cores"] == 20
    changed = cloud.call("PUT", path, "admin", json={"quota_set": {"cores": 2, "ram": "-1"}})
    assert changed.status_code == 200
    assert changed.json()["quota_set"]["cores"] == 2
    assert "id" not in changed.json()["quota_set"]
    detail = cloud.get(path + "/detail")["quota_set"]
    assert detail["cores"] == {"limit": 2, "in_use": 2, "reserved": 0}
    assert detail["ram"]["limit"] == -1
    assert cloud.get(path + "/defaults")["quota_set"]["cores"] == 20
    below = {"quota_set": {"instances": 0}}
    assert cloud.call("PUT", path, "admin", json=below).status_code == 400
    forced = {"quota_set": {"instances": 0, "force": True}}
    assert cloud.call("PUT", path, "admin", json=forced).status_code == 200
    for wrong in ({"instances": -2}, {"instances": "x"}, {"surprise": 1}, {"networks": 1}):
        answer = cloud.call("PUT", path, "admin", json={"quota_set": wrong})
        assert answer.status_code == 400, wrong
    assert cloud.call("DELETE", path, "admin").status_code == 202
    assert cloud.get(path)["quota_set"]["cores"] == 20
    assert cloud.call("PUT", path, json=below).status_code == 403
    assert cloud.call("GET", f"/v2.1/os-quota-sets/{ALT}").status_code == 403
    assert cloud.call("GET", "/v2.1/limits", params={"tenant_id": ALT}).status_code == 403
    other = cloud.get("/v2.1/limits", "admin", tenant_id=DEMO)["limits"]["absolute"]
    assert other["totalInstancesUsed"] == 1
    old = cloud.get(path, version="2.35")["quota_set"]
    assert {"floating_ips", "injected_files"} <= set(old)
    assert "injected_files" not in cloud.get(path, version="2.57")["quota_set"]


def test_a_users_quota_within_the_project(cloud: ComputeCloud) -> None:
    path, me, other = f"/v2.1/os-quota-sets/{DEMO}", "user-demo", "user-other"

    def put(limits: dict[str, Any], user: str = "", version: str = NEWEST) -> Any:
        query = {"user_id": user} if user else {}
        body = {"quota_set": limits}
        return cloud.call("PUT", path, "admin", version, json=body, params=query)

    def shown(user: str = "", below: str = "") -> Any:
        query = {"user_id": user} if user else {}
        return cloud.get(path + below, "admin", **query)["quota_set"]

    first = cloud.launch()
    changed = put({"instances": 1, "key_pairs": 1, "metadata_items": 1}, me)
    assert (changed.status_code, changed.json()["quota_set"]["instances"]) == (200, 1)
    assert (shown(me)["instances"], shown(me)["cores"], shown()["instances"]) == (1, 20, 10)
    assert shown(me, "/detail")["instances"] == {"limit": 1, "in_use": 1, "reserved": 0}
    assert shown(other, "/detail")["instances"] == {"limit": 10, "in_use": 0, "reserved": 0}
    refused = cloud.post_server()
    assert refused.status_code == 403
    message = refused.json()["forbidden"]["message"]
    assert "Requested 1, but already used 1 of 1 instances" in message, message
    body = {"metadata": {"a": "b", "c": "d"}}
    answer = cloud.call("POST", f"/v2.1/servers/{first}/metadata", json=body)
    assert answer.status_code == 403

    assert put({"instances": 0}, me).status_code == 400, "one is used"
    assert put({"instances": 10}, other).status_code == 400, "the project has nine left"
    assert put({"instances": -1}, other).status_code == 400
    assert put({"instances": 10, "force": True}, other).status_code == 200
    assert put({"instances": 10}).status_code == 400, "eleven are given to users"
    assert put({"cores": 3, "server_groups": 0}, me).status_code == 200
    assert cloud.act(first, "resize", {"flavorRef": "2"}).status_code == 202
    group = {"server_group": {"name": "g", "policy": "affinity"}}
    assert cloud.call("POST", "/v2.1/os-server-groups", json=group).status_code == 403
    for wrong in (put({"cores": 1}, "x" * 65), put({"surprise": 1}, me)):
        assert wrong.status_code == 400

    def reset(user: str = "") -> int:
        query = {"user_id": user} if user else {}
        return cloud.call("DELETE", path, "admin", params=query).status_code

    assert reset(me) == 202
    assert (shown(me)["instances"], shown(other)["instances"]) == (10, 10)
    assert put({"instances": 3}, me).status_code == 400, "the other may have all ten"
    assert reset(other) == 202
    assert put({"instances": 3}, me).status_code == 200
    assert reset() == 202, "the project's, and its users'"
    assert shown(me)["instances"] == 10


def test_limits_of_older_versions_are_kept_and_shown(cloud: ComputeCloud) -> None:
    path = f"/v2.1/os-quota-sets/{DEMO}"
    injected = {"injected_files": 7, "injected_file_content_bytes": 8,
                "injected_file_path_bytes": -1}  # fmt: skip
    networks = {"fixed_ips": 1, "floating_ips": 2, "security_groups": 3,
                "security_group_rules": 4}  # fmt: skip

    def put(version: str, limits: dict[str, int]) -> requests.Response:
        return cloud.call("PUT", path, "admin", version, json={"quota_set": limits})

    for version, limits in (("2.57", injected), ("2.36", networks)):
        for name, limit in limits.items():
            assert put(version, {name: limit}).status_code == 400, name
    assert put("2.1", {"tenant_id": 1}).status_code == 400
    assert put("2.1", {"networks": 1}).status_code == 400
    assert put("2.1", {"injected_files": -2}).status_code == 400
    shown = put("2.56", injected).json()["quota_set"]
    assert (injected.items() <= shown.items(), set(networks) & set(shown)) == (True, set())
    assert networks.items() <= put("2.35", networks).json()["quota_set"].items()
    old, middle, new = (cloud.get(path, version=v)["quota_set"] for v in ("2.35", "2.56", "2.57"))
    assert old == {**middle, **networks}
    assert middle == {**new, **injected}
    detail = cloud.get(path + "/detail", version="2.35")["quota_set"]
    assert detail["fixed_ips"] == {"limit": 1, "in_use": 0, "reserved": 0}
    defaults = cloud.get(path + "/defaults", version="2.35")["quota_set"]
    assert (defaults["fixed_ips"], defaults["injected_files"]) == (-1, 0)
    limits = cloud.get("/v2.1/limits", version="2.35")["limits"]["absolute"]
    assert {"maxPersonality": 7, "maxPersonalitySize": 8, "maxImageMeta": 5,
            "maxSecurityGroups": 3, "maxSecurityGroupRules": 4,
            "maxTotalFloatingIps": 2}.items() <= limits.items()  # fmt: skip
    assert put("2.35", {"cores": 20}).json()["quota_set"]["fixed_ips"] == 1
    assert cloud.call("DELETE", path, "admin").status_code == 202
    assert cloud.get(path, version="2.35")["quota_set"]["fixed_ips"] == -1


# -- the rest --------------------------------------------------------------------------------------
def test_zones(cloud: ComputeCloud) -> None:
    (zone,) = cloud.get("/v2.1/os-availability-zone")["availabilityZoneInfo"]
    assert zone == {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}
    assert cloud.call("GET", "/v2.1/os-availability-zone/detail").status_code == 403
    (zone,) = cloud.get("/v2.1/os-availability-zone/detail", "admin")["availabilityZoneInfo"]
    assert zone["hosts"]["host1"]["nova-compute"]["available"] is True
    assert cloud.post_server(availability_zone="nova").status_code == 202


def test_usage(cloud: ComputeCloud) -> None:
    assert cloud.get(f"/v2.1/os-simple-tenant-usage/{DEMO}") == {"tenant_usage": {}}
    server_id = cloud.launch()
    usage = cloud.get(f"/v2.1/os-simple-tenant-usage/{DEMO}")["tenant_usage"]
    assert [one["instance_id"] for one in usage["server_usages"]] == [server_id]
    (everywhere,) = cloud.get("/v2.1/os-simple-tenant-usage", "admin")["tenant_usages"]
    assert everywhere["tenant_id"] == DEMO
    assert "server_usages" not in everywhere
    assert cloud.call("GET", "/v2.1/os-simple-tenant-usage").status_code == 403
    assert cloud.call("GET", f"/v2.1/os-simple-tenant-usage/{ALT}").status_code == 403
    wrong = {"start": "2026-02-02", "end": "2026-01-01"}
    path = f"/v2.1/os-simple-tenant-usage/{DEMO}"
    assert cloud.call("GET", path, params=wrong).status_code == 400


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("os-server-groups", "server_groups"),
        ("os-migrations", "migrations"),
        ("os-aggregates", "aggregates"),
    ],
)
def test_what_there_is_none_of(cloud: ComputeCloud, path: str, key: str) -> None:
    assert cloud.get(f"/v2.1/{path}", "admin") == {key: []}
