"""Tokens over HTTP: who gets one, what it says, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.fernet import Fernet
from identity import (
    DEFAULT,
    PASSWORDS,
    IdentityCloud,
    by_token,
    identity_cloud,
    password,
    project,
)

from minicloud.kit import clock


@pytest.fixture(scope="module")
def cloud(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity"), url=module_database_url) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[IdentityCloud]:
    """An identity that the test may change."""
    with identity_cloud(tmp_path) as running:
        yield running


def roles(token: Any) -> list[str]:
    return sorted(role["name"] for role in token["roles"])


def test_discovery_needs_no_token(cloud: IdentityCloud) -> None:
    every = requests.get(f"{cloud.root}/", allow_redirects=False, timeout=60)
    assert every.status_code == 300
    assert every.headers["Location"] == f"{cloud.url}/"
    (version,) = every.json()["versions"]["values"]
    assert version["id"].startswith("v3.")
    for path in ("", "/"):
        one = cloud.call("GET", path)
        assert one.status_code == 200
        assert one.json() == {"version": version}
    assert version["links"] == [{"rel": "self", "href": f"{cloud.url}/"}]


def test_a_project_token_says_who_where_and_what(cloud: IdentityCloud) -> None:
    answer = cloud.login(password("demo"), project("demo"))
    assert answer.status_code == 201
    assert answer.headers["Vary"] == "X-Auth-Token"
    assert len(answer.headers["X-Subject-Token"]) < 255
    token = answer.json()["token"]
    assert token["methods"] == ["password"]
    assert token["user"]["name"] == "demo"
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert token["user"]["password_expires_at"] is None
    assert token["project"]["name"] == "demo"
    assert token["project"]["domain"] == {"id": "default", "name": "Default"}
    assert token["is_domain"] is False
    assert roles(token) == ["member", "reader"]
    assert len(token["audit_ids"]) == 1
    assert clock.parse(token["expires_at"]) - clock.parse(token["issued_at"]) == 3600
    assert len(token["issued_at"]) == len("2026-11-23T08:00:00.000000Z")
    types = {entry["type"] for entry in token["catalog"]}
    assert types == {"identity", "compute", "image", "network", "block-storage", "volumev3"}
    (volume,) = [entry for entry in token["catalog"] if entry["type"] == "volumev3"]
    assert {e["interface"] for e in volume["endpoints"]} == {"public", "internal", "admin"}
    assert volume["endpoints"][0]["url"].endswith(f":8776/v3/{token['project']['id']}")
    assert volume["endpoints"][0]["region_id"] == "RegionOne"


def test_an_administrator_has_what_the_role_implies(cloud: IdentityCloud) -> None:
    token = cloud.login(password("admin"), project("admin")).json()["token"]
    assert roles(token) == ["admin", "manager", "member", "reader"]


def test_nocatalog(cloud: IdentityCloud) -> None:
    answer = cloud.login(password("demo"), project("demo"), "?nocatalog")
    assert "catalog" not in answer.json()["token"]


def test_scopes(cloud: IdentityCloud) -> None:
    system = cloud.login(password("admin"), {"system": {"all": True}}).json()["token"]
    assert system["system"] == {"all": True}
    assert "admin" in roles(system)
    # An endpoint that needs a project is not shown where there is none.
    volume = [e for e in system["catalog"] if e["type"] == "volumev3"]
    assert volume[0]["endpoints"] == []
    for unscoped in ("unscoped", {"unscoped": {}}, None):
        token = cloud.login(password("admin"), unscoped).json()["token"]
        assert not {"project", "domain", "system", "roles", "catalog"} & token.keys()
    assert cloud.login(password("admin"), {"domain": DEFAULT}).status_code == 401
    assert cloud.login(password("demo"), {"system": {"all": True}}).status_code == 401
    assert cloud.login(password("demo"), project("admin")).status_code == 401
    assert cloud.login(password("demo"), project("no such")).status_code == 401


def test_a_domain_token(fresh: IdentityCloud) -> None:
    admin = fresh.token("admin")
    user, role = fresh.named(admin, "user", "demo"), fresh.named(admin, "role", "reader")
    path = f"/domains/default/users/{user}/roles/{role}"
    assert fresh.call("PUT", path, admin).status_code == 204
    for domain in (DEFAULT, {"name": "Default"}):
        token = fresh.login(password("demo"), {"domain": domain}).json()["token"]
        assert token["domain"] == {"id": "default", "name": "Default"}
        assert roles(token) == ["reader"]
    domains = fresh.call("GET", "/auth/domains", fresh.token("demo")).json()["domains"]
    assert [each["id"] for each in domains] == ["default"]


def test_the_default_project_is_the_scope_that_nobody_asked_for(fresh: IdentityCloud) -> None:
    admin = fresh.token("admin")
    user, home = fresh.named(admin, "user", "demo"), fresh.named(admin, "project", "demo")
    other = fresh.named(admin, "project", "alt_demo")
    for default, expected in ((home, home), (other, None), ("f" * 32, None), (None, None)):
        body = {"user": {"default_project_id": default}}
        assert fresh.call("PATCH", f"/users/{user}", admin, json=body).status_code == 200
        answer = fresh.login(password("demo"))
        assert answer.status_code == 201
        assert answer.json()["token"].get("project", {}).get("id") == expected
    assert "project" not in fresh.login(password("demo"), "unscoped").json()["token"]


def test_one_and_the_same_refusal(cloud: IdentityCloud) -> None:
    nobody = {"user": {"name": "nobody", "domain": DEFAULT, "password": "x"}}
    elsewhere = {"user": {"name": "demo", "domain": {"name": "X"}, "password": "demo-pw"}}
    by_id = {"user": {"id": "f" * 32, "password": "x"}}
    answers = [
        cloud.login(password("demo", "wrong"), project("demo")),
        *[
            cloud.login({"methods": ["password"], "password": each}, project("demo"))
            for each in (nobody, elsewhere, by_id)
        ],
        cloud.login(by_token("gAAAA"), project("demo")),
        cloud.login({"methods": ["totp"]}),
    ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.json() == {
            "error": {
                "code": 401,
                "title": "Unauthorized",
                "message": "The request you have made requires authentication.",
            }
        }
        assert "Keystone uri=" in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"identity": {}},
        {"identity": {"methods": []}},
        {"identity": {"methods": ["password"]}},
        {"identity": {"methods": ["token"]}},
        {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}},
        {"identity": {"methods": ["password"], "password": {"user": {"name": "demo"}}}},
        {"identity": password("demo"), "scope": {}},
        {"identity": password("demo"), "scope": {"project": {"name": "demo"}}},
        {"identity": password("demo"), "scope": {"project": {"id": "a"}, "domain": DEFAULT}},
        {"identity": password("demo"), "scope": {"system": {}}},
        {"identity": password("demo"), "scope": {"OS-TRUST:trust": {}}},
        {"identity": password("demo"), "scope": "everything"},
        {"identity": {**password("demo"), "methods": "password"}},
        {"identity": password("de\x00mo", "x")},
        {"identity": password("n" * 300, "x")},
        {"identity": password("demo", "x" * 5000)},
        {"identity": by_token("x" * 10000)},
    ],
)
def test_a_malformed_login_is_a_400(cloud: IdentityCloud, auth: Any) -> None:
    answer = cloud.call("POST", "/auth/tokens", json={"auth": auth})
    assert answer.status_code == 400
    assert answer.json()["error"]["title"] == "Bad Request"


def test_rescoping_keeps_the_end_and_the_first_audit_id(cloud: IdentityCloud) -> None:
    first = cloud.login(password("admin"), "unscoped")
    sealed = first.headers["X-Subject-Token"]
    second = cloud.login(by_token(sealed), project("demo"))
    assert second.status_code == 201
    old, new = first.json()["token"], second.json()["token"]
    assert new["methods"] == ["password", "token"]
    assert new["expires_at"] == old["expires_at"]
    assert new["issued_at"] > old["issued_at"]
    assert new["audit_ids"][1] == old["audit_ids"][0] != new["audit_ids"][0]
    third = cloud.login(by_token(second.headers["X-Subject-Token"]), project("admin"))
    assert third.json()["token"]["audit_ids"][1] == old["audit_ids"][0]
    both = {**password("demo"), **by_token(sealed), "methods": ["password", "token"]}
    assert cloud.login(both, project("demo")).status_code == 401


def test_validation_says_what_issuing_said(cloud: IdentityCloud) -> None:
    issued = cloud.login(password("demo"), project("demo"))
    subject = issued.headers["X-Subject-Token"]
    service = cloud.token("minicloud")
    answer = cloud.validate(subject, service)
    assert answer.status_code == 200
    assert answer.headers["X-Subject-Token"] == subject
    assert answer.json() == issued.json()
    timings = dict(
        part.strip().split(";dur=") for part in answer.headers["Server-Timing"].split(",")
    )
    assert float(timings["issue"]) > 0
    assert float(timings["total"]) > 0
    without = cloud.validate(subject, service, query="?nocatalog").json()["token"]
    assert "catalog" not in without
    head = cloud.validate(subject, service, "HEAD")
    assert (head.status_code, head.content) == (200, b"")


def test_who_may_validate(cloud: IdentityCloud) -> None:
    demo, alt, admin = cloud.token("demo"), cloud.token("alt_demo"), cloud.token("admin")
    assert cloud.validate(demo, demo).status_code == 200
    assert cloud.validate(demo, cloud.token("demo")).status_code == 200
    assert cloud.validate(demo, admin).status_code == 200
    for method in ("GET", "HEAD", "DELETE"):
        assert cloud.validate(demo, alt, method).status_code == 403
    assert cloud.validate(demo, "gAAAAnonsense").status_code == 401
    assert cloud.call("GET", "/auth/tokens").status_code == 401
    for subject in ("", "gAAAAnonsense", "\u00e9", Fernet(Fernet.generate_key()).encrypt(b"x")):
        assert cloud.validate(subject, admin).status_code == 404


def test_a_revoked_token_is_nobodys(cloud: IdentityCloud) -> None:
    first = cloud.token("demo")
    other, admin = cloud.token("demo"), cloud.token("admin")
    assert cloud.validate(first, first, "DELETE").status_code == 204
    assert cloud.validate(first, admin).status_code == 404
    assert cloud.validate(first, admin, "DELETE").status_code == 404
    assert cloud.call("GET", "/auth/projects", first).status_code == 401
    assert cloud.login(by_token(first), project("demo")).status_code == 401
    assert cloud.validate(other, admin).status_code == 200


def test_changes_take_effect_with_the_next_validation(fresh: IdentityCloud) -> None:
    admin = fresh.token("admin")
    user, home = fresh.named(admin, "user", "demo"), fresh.named(admin, "project", "demo")
    member, reader = (fresh.named(admin, "role", name) for name in ("member", "reader"))

    def patched(path: str, noun: str, **values: Any) -> None:
        assert fresh.call("PATCH", path, admin, json={noun: values}).status_code == 200

    token = fresh.token("demo")
    place = f"/projects/{home}/users/{user}/roles"
    assert fresh.call("DELETE", f"{place}/{member}", admin).status_code == 204
    assert roles(fresh.validate(token, admin).json()["token"]) == ["reader"]
    assert fresh.call("DELETE", f"{place}/{reader}", admin).status_code == 204
    assert fresh.validate(token, admin).status_code == 404
    assert fresh.call("PUT", f"{place}/{member}", admin).status_code == 204
    assert roles(fresh.validate(token, admin).json()["token"]) == ["member", "reader"]

    patched(f"/projects/{home}", "project", enabled=False)
    assert fresh.validate(token, admin).status_code == 404
    assert fresh.login(password("demo"), project("demo")).status_code == 401
    patched(f"/projects/{home}", "project", enabled=True)
    assert fresh.validate(token, admin).status_code == 200

    patched(f"/users/{user}", "user", enabled=False)
    assert fresh.validate(token, admin).status_code == 404
    assert fresh.login(password("demo"), project("demo")).status_code == 401
    patched(f"/users/{user}", "user", enabled=True)
    assert fresh.validate(token, admin).status_code == 404  # it ended for good
    token = fresh.token("demo")

    patched(f"/users/{user}", "user", password="another")
    assert fresh.validate(token, admin).status_code == 404
    assert fresh.login(password("demo"), project("demo")).status_code == 401
    token = fresh.token("demo", secret="another")
    patched(f"/users/{user}", "user", email="demo@example.org")
    assert fresh.validate(token, admin).status_code == 200

    assert fresh.call("DELETE", f"/projects/{home}", admin).status_code == 204
    assert fresh.validate(token, admin).status_code == 404


def test_a_disabled_domain_closes_all_that_is_in_it(fresh: IdentityCloud) -> None:
    admin = fresh.token("admin")
    domain = fresh.make(admin, "domain", name="lab")["id"]
    home = fresh.make(admin, "project", name="p", domain_id=domain)["id"]
    user = fresh.make(admin, "user", name="u", domain_id=domain, password="pw")["id"]
    role = fresh.named(admin, "role", "reader")
    fresh.call("PUT", f"/projects/{home}/users/{user}/roles/{role}", admin)
    login = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
    token = fresh.login(login, {"project": {"id": home}}).headers["X-Subject-Token"]
    body = {"domain": {"enabled": False}}
    assert fresh.call("PATCH", f"/domains/{domain}", admin, json=body).status_code == 200
    assert fresh.validate(token, admin).status_code == 404
    assert fresh.login(login).status_code == 401


def test_a_user_changes_the_own_password(fresh: IdentityCloud) -> None:
    admin = fresh.token("admin")
    user, token = fresh.named(admin, "user", "demo"), fresh.token("demo")
    path = f"/users/{user}/password"

    def change(original: str, new: str) -> int:
        body = {"user": {"original_password": original, "password": new}}
        return int(fresh.call("POST", path, token, json=body).status_code)

    assert change("wrong", "new") == 401
    assert fresh.validate(token, admin).status_code == 200
    assert change(PASSWORDS["demo"], "new") == 204
    assert fresh.validate(token, admin).status_code == 404
    assert fresh.login(password("demo"), project("demo")).status_code == 401
    assert fresh.login(password("demo", "new"), project("demo")).status_code == 201
    assert change("new", "x" * 5000) == 400
    assert fresh.call("POST", path, json={"user": {"password": "x"}}).status_code == 400


def test_services_may_validate_an_expired_token(tmp_path: Path) -> None:
    with identity_cloud(tmp_path, lifetime_s=1) as cloud:
        demo = cloud.token("demo")
        end = clock.parse(cloud.validate(demo, demo).json()["token"]["expires_at"])
        while clock.now() < end:
            time.sleep(0.05)
        service = cloud.token("minicloud")
        assert cloud.validate(demo, service).status_code == 404
        assert cloud.validate(demo, service, query="?allow_expired=1").status_code == 200
        admin = cloud.token("demo")
        assert cloud.validate(demo, admin, query="?allow_expired=1").status_code == 404
        assert cloud.call("GET", "/auth/projects", demo).status_code == 401


def test_what_a_token_may_reach(cloud: IdentityCloud) -> None:
    admin, demo = cloud.token("admin"), cloud.token("demo")
    unscoped = cloud.login(password("admin"), "unscoped").headers["X-Subject-Token"]

    def names(token: str) -> list[str]:
        answer = cloud.call("GET", "/auth/projects", token).json()
        assert answer["links"]["self"] == f"{cloud.url}/auth/projects"
        return sorted(each["name"] for each in answer["projects"])

    assert names(unscoped) == names(admin) == ["admin", "alt_demo", "demo"]
    assert names(demo) == ["demo"]
    assert cloud.call("GET", "/auth/system", admin).json()["system"] == [{"all": True}]
    assert cloud.call("GET", "/auth/system", demo).json()["system"] == []
    catalog = cloud.call("GET", "/auth/catalog", demo).json()["catalog"]
    assert catalog == cloud.login(password("demo"), project("demo")).json()["token"]["catalog"]
    assert cloud.call("GET", "/auth/catalog", unscoped).status_code == 403
    user = cloud.validate(demo, demo).json()["token"]["user"]["id"]
    mine = cloud.call("GET", f"/users/{user}/projects", demo).json()["projects"]
    assert [each["name"] for each in mine] == ["demo"]
    root = cloud.named(admin, "user", "admin")
    assert cloud.call("GET", f"/users/{root}/projects", demo).status_code == 403


def test_another_key_can_be_added_while_running(fresh: IdentityCloud) -> None:
    before = fresh.token("demo")
    unfinished = fresh.key_dir / "new"
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(Fernet.generate_key())
    unfinished.rename(fresh.key_dir / "2")
    after = fresh.token("demo")
    assert fresh.validate(before, after).status_code == 200
    (fresh.key_dir / "1").unlink()
    assert fresh.validate(before, after).status_code == 404
    assert fresh.validate(after, after).status_code == 200


def test_no_secret_is_logged(cloud: IdentityCloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = cloud.token("demo")
    cloud.login(password("demo", "wrong-secret"), project("demo"))
    cloud.login({**password("demo", "wrong-secret"), "methods": 3})
    cloud.validate(token, token)
    said = caplog.text.replace("urllib3", "")
    assert token not in said
    assert PASSWORDS["demo"] not in said
    assert "wrong-secret" not in said
