"""The registry of federation over HTTP, and logins by it, which there are none of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from identity import IdentityCloud, identity_cloud, password, project
from test_identity_bootstrap import manage

TOP = "/OS-FEDERATION"
REMOTE = [{"type": "HTTP_OIDC_SUB"}]
RULES = [
    {
        "local": [
            {"user": {"name": "{0}", "type": "ephemeral", "domain": {"name": "x"}}},
            {"group": {"name": "staff", "domain": {"id": "default"}}},
            {"projects": [{"name": "{0}", "roles": [{"name": "member"}]}]},
        ],
        "remote": [
            {"type": "HTTP_OIDC_SUB"},
            {"type": "HTTP_OIDC_GROUPS", "any_one_of": ["staff.*"], "regex": True},
        ],
    }
]


@pytest.fixture(scope="module")
def cloud(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity"), url=module_database_url) as running:
        yield running


class Registry:
    def __init__(self, cloud: IdentityCloud) -> None:
        self._cloud = cloud
        self.admin = cloud.token("admin")

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(status, body)"""
        answer = self._cloud.call(method, TOP + path, self.admin, json=body)
        return answer.status_code, answer.json() if answer.content else None

    def put(self, path: str, noun: str, **values: Any) -> Any:
        status, answer = self("PUT", path, {noun: values})
        assert status == 201, answer
        return answer[noun]


@pytest.fixture(scope="module")
def registry(cloud: IdentityCloud) -> Registry:
    return Registry(cloud)


def test_the_life_of_an_identity_provider(cloud: IdentityCloud, registry: Registry) -> None:
    one = "/identity_providers/acme"
    made = registry.put(one, "identity_provider", remote_ids=["b", "a"], description="d")
    url = f"{cloud.url}{TOP}{one}"
    assert made == {
        "id": "acme",
        "enabled": False,
        "description": "d",
        "authorization_ttl": None,
        "remote_ids": ["a", "b"],
        "domain_id": made["domain_id"],
        "links": {"self": url, "protocols": f"{url}/protocols"},
    }
    domain = cloud.call("GET", f"/domains/{made['domain_id']}", registry.admin).json()["domain"]
    assert (domain["name"], domain["enabled"]) == (domain["id"], True)
    assert registry("GET", one) == (200, {"identity_provider": made})
    assert registry("PUT", one, {"identity_provider": {}})[0] == 409
    other = registry.put("/identity_providers/other", "identity_provider", domain_id="default",
                         enabled=True, authorization_ttl=5)  # fmt: skip
    assert (other["domain_id"], other["authorization_ttl"]) == ("default", 5)

    def listed(query: str) -> list[str]:
        found = registry("GET", f"/identity_providers{query}")[1]["identity_providers"]
        return [each["id"] for each in found]

    assert listed("") == ["acme", "other"]
    assert listed("?enabled=true") == ["other"]
    assert listed("?id=acme") == ["acme"]
    assert listed("?id__contains=the") == ["other"]
    change = {"identity_provider": {"remote_ids": ["a", "c"], "enabled": True}}
    changed = registry("PATCH", one, change)[1]["identity_provider"]
    assert (changed["remote_ids"], changed["enabled"]) == (["a", "c"], True)
    taken = registry("PATCH", "/identity_providers/other", change)
    assert taken[0] == 409
    assert "Remote ID a already exists" in taken[1]["error"]["message"]
    assert registry("PATCH", one, {"identity_provider": {"remote_ids": None}})[0] == 200
    assert registry("DELETE", one)[0] == 204
    assert registry("DELETE", one)[0] == 404
    assert registry("GET", one)[0] == 404
    assert registry("DELETE", "/identity_providers/other")[0] == 204


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "x"}, 400), ({"remote_ids": ["a", "a"]}, 400), ({"remote_ids": ["a" * 65]}, 400),
        ({"remote_ids": "a"}, 400), ({"enabled": "yes"}, 400), ({"authorization_ttl": -1}, 400),
        ({"authorization_ttl": 2**40}, 400), ({"domain_id": "nowhere"}, 404),
        ({"color": "red"}, 400),
    ],
)  # fmt: skip
def test_what_no_identity_provider_has(registry: Registry, body: Any, status: int) -> None:
    assert registry("PUT", "/identity_providers/wrong", {"identity_provider": body})[0] == status
    assert registry("GET", "/identity_providers/wrong")[0] == 404


def test_what_an_identity_provider_is_changed_by(registry: Registry) -> None:
    registry.put("/identity_providers/p", "identity_provider")
    for wrong in ({}, {"domain_id": "default"}, {"enabled": None}):
        answer = registry("PATCH", "/identity_providers/p", {"identity_provider": wrong})
        assert answer[0] == 400
    assert registry("PATCH", "/identity_providers/no", {"identity_provider": {"enabled": True}}
                    )[0] == 404  # fmt: skip
    long = registry("PUT", f"/identity_providers/{'p' * 65}", {"identity_provider": {}})
    assert long[0] == 400
    assert registry("DELETE", "/identity_providers/p")[0] == 204


def test_a_domain_takes_its_identity_providers_along(
    cloud: IdentityCloud, registry: Registry
) -> None:
    made = registry.put("/identity_providers/gone", "identity_provider")
    domain = f"/domains/{made['domain_id']}"
    body = {"domain": {"enabled": False}}
    assert cloud.call("PATCH", domain, registry.admin, json=body).status_code == 200
    assert cloud.call("DELETE", domain, registry.admin).status_code == 204
    assert registry("GET", "/identity_providers/gone")[0] == 404


def test_remote_ids_change_hands_whoever_asks_at_once(registry: Registry) -> None:
    for name in ("p1", "p2"):
        registry.put(f"/identity_providers/{name}", "identity_provider")

    def change(number: int) -> int:
        ids = [f"r{number % 3}", f"r{number % 2 + 3}"][:: 1 if number % 2 else -1]
        body = {"identity_provider": {"remote_ids": ids}}
        return registry("PATCH", f"/identity_providers/p{number % 2 + 1}", body)[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(change, range(48))) <= {200, 409}
    found = registry("GET", "/identity_providers")[1]["identity_providers"]
    held = [remote_id for each in found for remote_id in each["remote_ids"]]
    assert len(set(held)) == len(held)
    for name in ("p1", "p2"):
        assert registry("DELETE", f"/identity_providers/{name}")[0] == 204


def test_the_life_of_a_mapping(cloud: IdentityCloud, registry: Registry) -> None:
    one = "/mappings/m"
    made = registry.put(one, "mapping", rules=RULES, id="m", schema_version=None)
    assert made == {
        "id": "m",
        "rules": RULES,
        "schema_version": "1.0",
        "links": {"self": f"{cloud.url}{TOP}{one}"},
    }
    assert registry("GET", one) == (200, {"mapping": made})
    assert registry("PUT", one, {"mapping": {"rules": RULES}})[0] == 409
    assert registry("GET", "/mappings")[1]["mappings"] == [made]
    rules = [{"local": [{"projects_json": "{0}"}], "remote": REMOTE}]
    change = {"mapping": {"rules": rules, "schema_version": "3.0"}}
    status, changed = registry("PATCH", one, change)
    assert (status, changed["mapping"]["rules"]) == (200, rules)
    assert registry("PATCH", "/mappings/no", change)[0] == 404
    assert registry("DELETE", one)[0] == 204
    assert registry("DELETE", one)[0] == 404


def test_an_operator_tries_rules(tmp_path: Path, registry: Registry) -> None:
    made = registry.put("/mappings/tried", "mapping", rules=RULES)
    rules, attributes = tmp_path / "rules.json", tmp_path / "attributes"
    rules.write_text(json.dumps(made["rules"]))
    attributes.write_text("HTTP_OIDC_SUB: ada\n\nHTTP_OIDC_GROUPS: guests;staff of x\n")
    asked = ("mapping", "evaluate", "--rules", str(rules), "--input", str(attributes))
    done = manage(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["user"] == {"name": "ada", "type": "ephemeral", "domain": {"name": "x"}}
    assert found["group_names"] == [{"name": "staff", "domain": {"id": "default"}}]
    assert found["projects"] == [{"name": "ada", "roles": [{"name": "member"}]}]
    rules.write_text(json.dumps({key: made[key] for key in ("rules", "schema_version")}))
    assert json.loads(manage(tmp_path, *asked).stdout) == found
    assert manage(tmp_path, *asked, "--schema-version", "9.0").returncode == 1
    for text in ("HTTP_OIDC_SUB: ada", "HTTP_OIDC_SUB"):
        attributes.write_text(text)
        done = manage(tmp_path, *asked)
        assert (done.returncode, done.stderr.startswith("Error: ")) == (1, True)
    for wrong in ("{", "{}", "[]"):
        rules.write_text(wrong)
        assert manage(tmp_path, *asked).returncode == 1
    assert registry("DELETE", "/mappings/tried")[0] == 204


@pytest.mark.parametrize(
    ("rule", "version"),
    [
        ({"local": []}, "1.0"),
        ({"local": [], "remote": []}, "1.0"),
        ({"local": [], "remote": REMOTE, "more": 1}, "1.0"),
        ({"local": [], "remote": [{}]}, "1.0"),
        ({"local": [], "remote": [{"type": "x", "regex": True}]}, "1.0"),
        ({"local": [], "remote": [{"type": "x", "whitelist": [], "blacklist": []}]}, "1.0"),
        ({"local": [], "remote": [{"type": "x", "any_one_of": "y"}]}, "1.0"),
        ({"local": [], "remote": [{"type": "x", "any_one_of": [], "regex": "yes"}]}, "1.0"),
        ({"local": [{"user": {"type": "other"}}], "remote": REMOTE}, "1.0"),
        ({"local": [{"user": {"color": "red"}}], "remote": REMOTE}, "1.0"),
        ({"local": [{"group": {}}], "remote": REMOTE}, "1.0"),
        ({"local": [{"group": {"name": "x"}}], "remote": REMOTE}, "1.0"),
        ({"local": [{"group": {"id": "x", "name": "y", "domain": {}}}], "remote": REMOTE}, "1.0"),
        ({"local": [{"projects": [{"name": "x"}]}], "remote": REMOTE}, "1.0"),
        ({"local": [{"projects": [{"name": "x", "roles": [], "domain": {}}]}],
          "remote": REMOTE}, "1.0"),
        ({"local": [{"projects_json": "x"}], "remote": REMOTE}, "2.0"),
        (RULES[0], "9.0"),
    ],
)  # fmt: skip
def test_what_no_rule_says(registry: Registry, rule: Any, version: str) -> None:
    body = {"mapping": {"rules": [rule], "schema_version": version}}
    assert registry("PUT", "/mappings/wrong", body)[0] == 400
    assert registry("PUT", "/mappings/wrong", {"mapping": {"rules": []}})[0] == 400
    assert registry("GET", "/mappings/wrong")[0] == 404


def test_projects_of_rules_have_domains_from_version_2(registry: Registry) -> None:
    projects = [{"name": "x", "roles": [], "domain": {"id": "default"}}]
    rules = [{"local": [{"projects": projects}], "remote": REMOTE}]
    made = registry.put("/mappings/two", "mapping", rules=rules, schema_version="2.0")
    assert made["rules"] == rules
    assert registry("DELETE", "/mappings/two")[0] == 204


def test_the_life_of_a_protocol(cloud: IdentityCloud, registry: Registry) -> None:
    registry.put("/identity_providers/idp", "identity_provider", enabled=True)
    for name in ("m1", "m2"):
        registry.put(f"/mappings/{name}", "mapping", rules=RULES)
    one = "/identity_providers/idp/protocols/saml2"
    made = registry.put(one, "protocol", mapping_id="m1", remote_id_attribute="MELLON_IDP")
    provider = f"{cloud.url}{TOP}/identity_providers/idp"
    links = {"self": f"{provider}/protocols/saml2", "identity_provider": provider}
    assert made == {"id": "saml2", "mapping_id": "m1", "links": links}
    assert registry("GET", one) == (200, {"protocol": made})
    every = "/identity_providers/idp/protocols"
    more = {"idp_id": "idp", "remote_id_attribute": "MELLON_IDP"}
    assert registry("GET", every)[1]["protocols"] == [{**made, **more}]
    assert registry("PUT", one, {"protocol": {"mapping_id": "m1"}})[0] == 409
    changed = registry("PATCH", one, {"protocol": {"mapping_id": "m2"}})
    assert changed[1]["protocol"]["mapping_id"] == "m2"
    assert registry("GET", every)[1]["protocols"][0]["remote_id_attribute"] == "MELLON_IDP"
    for wrong in ({}, {"mapping_id": "nowhere"}, {"mapping_id": "m1", "id": "x"},
                  {"mapping_id": "m1", "remote_id_attribute": "x" * 65}):  # fmt: skip
        assert registry("PUT", f"{every}/openid", {"protocol": wrong})[0] == 400
        assert registry("PATCH", one, {"protocol": wrong})[0] == 400
    assert registry("PATCH", f"{every}/openid", {"protocol": {"mapping_id": "m1"}})[0] == 404
    nowhere = "/identity_providers/nowhere/protocols"
    assert registry("PUT", f"{nowhere}/x", {"protocol": {"mapping_id": "m1"}})[0] == 404
    assert registry("GET", nowhere)[1]["protocols"] == []
    assert registry("DELETE", "/mappings/m2")[0] == 204
    assert registry("DELETE", one)[0] == 204
    assert registry("DELETE", one)[0] == 404
    registry.put(one, "protocol", mapping_id="m1")
    assert registry("DELETE", "/identity_providers/idp")[0] == 204
    assert registry("GET", one)[0] == 404
    assert registry("DELETE", "/mappings/m1")[0] == 204


def test_tokens_name_the_service_providers(cloud: IdentityCloud, registry: Registry) -> None:
    def named() -> Any:
        token = cloud.login(password("demo"), project("demo")).json()["token"]
        return token.get("service_providers")

    assert named() is None
    one = "/service_providers/there"
    urls = {"auth_url": "https://there/v3/auth", "sp_url": "https://there/saml"}
    made = registry.put(one, "service_provider", **urls)
    assert made == {
        "id": "there",
        **urls,
        "enabled": False,
        "description": None,
        "relay_state_prefix": "ss:mem:",
        "links": {"self": f"{cloud.url}{TOP}{one}"},
    }
    assert named() is None
    assert registry("GET", one) == (200, {"service_provider": made})
    assert registry("PUT", one, {"service_provider": urls})[0] == 409
    change = {"service_provider": {"enabled": True, "relay_state_prefix": None}}
    changed = registry("PATCH", one, change)[1]["service_provider"]
    assert (changed["enabled"], changed["relay_state_prefix"]) == (True, "ss:mem:")
    assert named() == [{"id": "there", **urls}]
    found = registry("GET", "/service_providers?enabled=false")[1]["service_providers"]
    assert found == []
    for wrong in ({}, {"auth_url": "no url"}, {"sp_url": None}, {"id": "x"}, {"enabled": 1},
                  {"auth_url": "https://" + "x" * 220}):  # fmt: skip
        assert registry("PATCH", one, {"service_provider": wrong})[0] == 400
        assert registry("PUT", one + "2", {"service_provider": wrong})[0] == 400
    assert registry("DELETE", one)[0] == 204
    assert registry("PATCH", one, change)[0] == 404
    assert named() is None


def test_nobody_logs_in_without_a_web_servers_module(
    cloud: IdentityCloud, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.put("/identity_providers/login", "identity_provider", enabled=True)
    registry.put("/mappings/login", "mapping", rules=RULES)
    protocol = "/identity_providers/login/protocols/mapped"
    registry.put(protocol, "protocol", mapping_id="login")
    forged = {"HTTP_OIDC_SUB": "admin", "REMOTE_USER": "admin", "OIDC-SUB": "admin"}
    for path in (f"{TOP}{protocol}/auth", f"/auth{TOP}/websso/mapped",
                 f"/auth{TOP}{protocol}/websso?origin=http://dashboard"):  # fmt: skip
        for method in ("GET", "POST"):
            caplog.clear()
            answer = cloud.call(method, path, headers=forged)
            assert answer.status_code == 401
            assert "X-Subject-Token" not in answer.headers
            assert "no web server's module" in caplog.text
    assert cloud.call("GET", f"/auth{TOP}{protocol}/websso").status_code == 400
    asked = {"methods": ["mapped"],
             "mapped": {"identity_provider": "login", "protocol": "mapped"}}  # fmt: skip
    assert cloud.login(asked).status_code == 401


def test_where_somebody_may_go_has_an_older_path(cloud: IdentityCloud, registry: Registry) -> None:
    for noun in ("projects", "domains"):
        status, older = registry("GET", f"/{noun}")
        newer = cloud.call("GET", f"/auth/{noun}", registry.admin).json()
        assert (status, older[noun]) == (200, newer[noun])
        assert cloud.call("GET", f"{TOP}/{noun}").status_code == 401
    assert len(registry("GET", "/projects")[1]["projects"]) == 3
