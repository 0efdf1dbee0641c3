"""Who may do what in identity: every route tried with every role, on every kind of scope.

The table says who is let in where the thing asked for is one of the domain ``lab``, in which all
of these people live, and not their own. Reads are done in earnest; of what would change things,
the handlers are exchanged for one that says that it was reached, so that all see the same things.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from identity import IdentityCloud, cheap_passwords, identity_cloud

from minicloud.identity.routes import rest_service
from minicloud.kit.web import Reply, Service, WebServer, build_app

REACHED = 299
PEOPLE = {
    "admin": ("admin", "project"),
    "manager": ("manager", "project"),
    "member": ("member", "project"),
    "reader": ("reader", "project"),
    "domain_admin": ("admin", "domain"),
    "domain_manager": ("manager", "domain"),
    "domain_member": ("member", "domain"),
    "domain_reader": ("reader", "domain"),
    "system_admin": ("admin", "system"),
    "system_reader": ("reader", "system"),
    "service": ("service", "project"),
    "unscoped": ("", ""),
}
"""Name -> role, and kind of scope."""
ADMINS = {"admin", "domain_admin", "system_admin"}
HOME = {"admin", "system_admin"}
"""Administrators whose token is not a domain's."""
READERS = HOME | {"system_reader"}
"""What concerns the whole cloud."""
ALL_READERS = ADMINS | {"system_reader"}
MANAGERS = ADMINS | {"domain_manager"}
"""What concerns their domain."""
DOMAIN = MANAGERS | {"domain_member", "domain_reader", "system_reader"}
"""Who reads what concerns a domain: managers and members are readers too."""
IN_LAB = set(PEOPLE) - {"unscoped"}
"""Who has a token for the domain, for one of its projects or for the system."""
SYSTEM_RULES = {"system_admin", "system_reader"}
ALL = set(PEOPLE)
ANYBODY = ALL | {"nobody"}
"""With a token and without one."""

TABLE: list[tuple[set[str], str, str]] = [
    (ANYBODY, "GET", "/"),
    (ANYBODY, "GET", "/v3"),
    (ANYBODY, "POST", "/v3/auth/tokens"),
    (ANYBODY, "POST", "/v3/users/{user_id}/password"),
    (ALL_READERS | {"service"}, "GET HEAD", "/v3/auth/tokens"),
    (ADMINS, "DELETE", "/v3/auth/tokens"),
    (IN_LAB - {f"domain_{r}" for r in ("admin", "manager", "member", "reader")}
     - {"system_admin", "system_reader"}, "GET", "/v3/auth/catalog"),
    (ALL, "GET", "/v3/auth/projects"),
    (ALL, "GET", "/v3/auth/domains"),
    (ALL, "GET", "/v3/auth/system"),
    (ALL, "GET", "/v3/OS-FEDERATION/projects"),
    (ALL, "GET", "/v3/OS-FEDERATION/domains"),
    # -- of a domain
    (DOMAIN, "GET", "/v3/projects"),
    (MANAGERS, "POST", "/v3/projects"),
    (DOMAIN, "GET", "/v3/projects/{project_id}"),
    (MANAGERS, "PATCH DELETE", "/v3/projects/{project_id}"),
    (DOMAIN, "GET", "/v3/projects/{project_id}/tags"),
    (MANAGERS, "PUT DELETE", "/v3/projects/{project_id}/tags"),
    (DOMAIN, "GET", "/v3/projects/{project_id}/tags/{tag}"),
    (MANAGERS, "PUT DELETE", "/v3/projects/{project_id}/tags/{tag}"),
    (DOMAIN, "GET", "/v3/users"),
    (MANAGERS, "POST", "/v3/users"),
    (DOMAIN, "GET", "/v3/users/{user_id}"),
    (MANAGERS, "PATCH DELETE", "/v3/users/{user_id}"),
    (ADMINS, "DELETE", "/v3/users/{user_id}/tokens"),
    (DOMAIN, "GET", "/v3/users/{user_id}/projects"),
    (DOMAIN, "GET", "/v3/users/{user_id}/groups"),
    (DOMAIN, "GET", "/v3/groups"),
    (MANAGERS, "POST", "/v3/groups"),
    (DOMAIN, "GET", "/v3/groups/{group_id}"),
    (MANAGERS, "PATCH DELETE", "/v3/groups/{group_id}"),
    (DOMAIN, "GET", "/v3/groups/{group_id}/users"),
    (DOMAIN, "GET HEAD", "/v3/groups/{group_id}/users/{user_id}"),
    (MANAGERS, "PUT DELETE", "/v3/groups/{group_id}/users/{user_id}"),
    (DOMAIN, "GET", "/v3/role_assignments"),
    # -- domains: everybody sees the own one
    (DOMAIN, "GET", "/v3/domains"),
    (HOME, "POST", "/v3/domains"),
    (IN_LAB, "GET", "/v3/domains/{domain_id}"),
    (HOME, "PATCH DELETE", "/v3/domains/{domain_id}"),
    (READERS, "GET", "/v3/domains/{domain_id}/config"),
    (HOME, "PUT PATCH DELETE", "/v3/domains/{domain_id}/config"),
    (READERS, "GET", "/v3/domains/{domain_id}/config/{group}"),
    (HOME, "PATCH DELETE", "/v3/domains/{domain_id}/config/{group}"),
    (READERS, "GET", "/v3/domains/{domain_id}/config/{group}/{option}"),
    (HOME, "PATCH DELETE", "/v3/domains/{domain_id}/config/{group}/{option}"),
    (READERS, "GET", "/v3/domains/config/default"),
    (READERS, "GET", "/v3/domains/config/{group}/default"),
    (READERS, "GET", "/v3/domains/config/{group}/{option}/default"),
    # -- roles
    (ALL_READERS | {"domain_manager"}, "GET", "/v3/roles"),
    (HOME, "POST", "/v3/roles"),
    # A manager sees the roles it may give: ``reader`` is one.
    (ALL_READERS | {"manager", "domain_manager"}, "GET", "/v3/roles/{role_id}"),
    (HOME, "PATCH DELETE", "/v3/roles/{role_id}"),
    (READERS, "GET", "/v3/role_inferences"),
    (READERS, "GET", "/v3/roles/{prior_id}/implies"),
    (READERS, "GET HEAD", "/v3/roles/{prior_id}/implies/{implied_id}"),
    (HOME, "PUT DELETE", "/v3/roles/{prior_id}/implies/{implied_id}"),
    # -- where the services are
    (ALL, "GET", "/v3/regions"),
    (HOME, "POST", "/v3/regions"),
    (ALL, "GET", "/v3/regions/{region_id}"),
    (HOME, "PUT PATCH DELETE", "/v3/regions/{region_id}"),
    *((who, how, f"/v3/{noun}") for noun in ("services", "endpoints", "policies",
                                             "OS-EP-FILTER/endpoint_groups")
      for who, how in ((READERS, "GET"), (HOME, "POST"))),
    *((who, how, f"/v3/{noun}") for noun in ("services/{service_id}", "endpoints/{endpoint_id}",
                                             "policies/{policy_id}",
                                             "OS-EP-FILTER/endpoint_groups/{endpoint_group_id}")
      for who, how in ((READERS, "GET"), (HOME, "PATCH DELETE"))),
    *((READERS, "GET", f"/v3/OS-EP-FILTER/{path}") for path in (
        "endpoint_groups/{endpoint_group_id}/endpoints",
        "endpoint_groups/{endpoint_group_id}/projects",
        "endpoints/{endpoint_id}/projects",
        "projects/{project_id}/endpoint_groups",
        "projects/{project_id}/endpoints",
    )),
    *((who, how, f"/v3/OS-EP-FILTER/{path}") for path in (
        "endpoint_groups/{endpoint_group_id}/projects/{project_id}",
        "projects/{project_id}/endpoints/{endpoint_id}",
    ) for who, how in ((READERS, "GET"), (HOME, "PUT DELETE"))),
    (READERS, "GET", "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints"),
    (READERS, "GET", "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy"),
    *((who, how, f"/v3/policies/{{policy_id}}/OS-ENDPOINT-POLICY/{path}") for path in (
        "endpoints/{endpoint_id}", "services/{service_id}",
        "services/{service_id}/regions/{region_id}",
    ) for who, how in ((READERS, "GET"), (HOME, "PUT DELETE"))),
    # -- federation
    *((READERS, "GET", f"/v3/OS-FEDERATION/{nouns}") for nouns in (
        "identity_providers", "identity_providers/{idp_id}/protocols", "mappings",
        "service_providers")),
    *((who, how, f"/v3/OS-FEDERATION/{noun}") for noun in (
        "identity_providers/{idp_id}", "identity_providers/{idp_id}/protocols/{protocol_id}",
        "mappings/{mapping_id}", "service_providers/{service_provider_id}",
    ) for who, how in ((READERS, "GET"), (HOME, "PUT PATCH DELETE"))),
    # Nobody gets a token there, with whatever token.
    *((who, how, path) for path in (
        "/v3/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/auth",
        "/v3/auth/OS-FEDERATION/websso/{protocol_id}",
        "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso",
    ) for who, how in ((set[str](), "GET"), (ANYBODY, "POST"))),
    # -- what is somebody's own
    (READERS, "GET", "/v3/users/{user_id}/application_credentials"),
    (set(), "POST", "/v3/users/{user_id}/application_credentials"),
    (READERS, "GET", "/v3/users/{user_id}/application_credentials/{application_credential_id}"),
    (HOME, "DELETE", "/v3/users/{user_id}/application_credentials/{application_credential_id}"),
    (SYSTEM_RULES, "GET", "/v3/users/{user_id}/access_rules"),
    (SYSTEM_RULES, "GET", "/v3/users/{user_id}/access_rules/{access_rule_id}"),
    ({"system_admin"}, "DELETE", "/v3/users/{user_id}/access_rules/{access_rule_id}"),
    (READERS, "GET", "/v3/OS-TRUST/trusts"),
    (set(), "POST", "/v3/OS-TRUST/trusts"),
    (READERS, "GET", "/v3/OS-TRUST/trusts/{trust_id}"),
    (HOME, "DELETE", "/v3/OS-TRUST/trusts/{trust_id}"),
    (READERS, "GET", "/v3/OS-TRUST/trusts/{trust_id}/roles"),
    (READERS, "GET", "/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}"),
    (ALL, "GET", "/v3/credentials"),
    (ADMINS, "POST", "/v3/credentials"),
    (ALL_READERS, "GET", "/v3/credentials/{credential_id}"),
    (ADMINS, "PATCH DELETE", "/v3/credentials/{credential_id}"),
    (READERS, "GET", "/v3/users/{user_id}/credentials/OS-EC2"),
    (HOME, "POST", "/v3/users/{user_id}/credentials/OS-EC2"),
    (READERS, "GET", "/v3/users/{user_id}/credentials/OS-EC2/{access}"),
    (HOME, "DELETE", "/v3/users/{user_id}/credentials/OS-EC2/{access}"),
    (ADMINS | {"service"}, "POST", "/v3/ec2tokens"),
    (ADMINS | {"service"}, "POST", "/v3/s3tokens"),
    (READERS, "GET", "/v3/OS-OAUTH1/consumers"),
    (HOME, "POST", "/v3/OS-OAUTH1/consumers"),
    (READERS, "GET", "/v3/OS-OAUTH1/consumers/{consumer_id}"),
    (HOME, "PATCH DELETE", "/v3/OS-OAUTH1/consumers/{consumer_id}"),
    (ANYBODY, "POST", "/v3/OS-OAUTH1/request_token"),
    (ANYBODY, "POST", "/v3/OS-OAUTH1/access_token"),
    ({"admin"}, "PUT", "/v3/OS-OAUTH1/authorize/{request_token_id}"),
    ({"admin"}, "GET", "/v3/users/{user_id}/OS-OAUTH1/access_tokens"),
    ({"admin"}, "GET DELETE", "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}"),
    ({"admin"}, "GET", "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles"),
    ({"admin"}, "GET",
     "/v3/users/{user_id}/OS-OAUTH1/access_tokens/{access_token_id}/roles/{role_id}"),
    # -- limits
    (ALL, "GET", "/v3/registered_limits"),
    (HOME, "POST", "/v3/registered_limits"),
    (ALL, "GET", "/v3/registered_limits/{registered_limit_id}"),
    (HOME, "PATCH DELETE", "/v3/registered_limits/{registered_limit_id}"),
    (ALL, "GET", "/v3/limits"),
    (ALL, "GET", "/v3/limits/model"),
    (HOME, "POST", "/v3/limits"),
    # A limit of a project in the domain, of which those with a token for the domain may know.
    # And services, which enforce it.
    (READERS | {"domain_admin", "domain_manager", "domain_member", "domain_reader", "service"},
     "GET", "/v3/limits/{limit_id}"),
    (HOME, "PATCH DELETE", "/v3/limits/{limit_id}"),
]  # fmt: skip

for _holder in ("users/{user_id}", "groups/{group_id}"):
    for _place in ("projects/{project_id}", "domains/{domain_id}"):
        for _plain, _one in (
            (f"/v3/{_place}/{_holder}/roles", f"/v3/{_place}/{_holder}/roles/{{role_id}}"),
            (f"/v3/OS-INHERIT/{_place}/{_holder}/roles/inherited_to_projects",
             f"/v3/OS-INHERIT/{_place}/{_holder}/roles/{{role_id}}/inherited_to_projects"),
        ):  # fmt: skip
            TABLE += [
                (DOMAIN, "GET", _plain), (DOMAIN, "GET HEAD", _one), (MANAGERS, "PUT DELETE", _one)
            ]  # fmt: skip
    TABLE += [
        (READERS, "GET", f"/v3/system/{_holder}/roles"),
        (READERS, "GET HEAD", f"/v3/system/{_holder}/roles/{{role_id}}"),
        (HOME, "PUT DELETE", f"/v3/system/{_holder}/roles/{{role_id}}"),
    ]


RULES = [{"local": [], "remote": [{"type": "x"}]}]
SERVICE_PROVIDER = {"auth_url": "http://x", "sp_url": "http://x"}


class Lab:
    """The domain, its people's tokens, and a thing of every kind in it."""

    def __init__(self, cloud: IdentityCloud) -> None:
        self._cloud = cloud
        self.root = cloud.token("admin")
        self._domain = self._make("domain", name="lab")
        self._project = self._make("project", name="p", domain_id=self._domain, tags=["t"])
        self._role = cloud.named(self.root, "role", "reader")
        self.tokens = {name: self._person(name, *where) for name, where in PEOPLE.items()}
        self.params = self._things()

    def _make(self, noun: str, **values: Any) -> str:
        return str(self._cloud.make(self.root, noun, **values)["id"])

    def _post(self, path: str, token: str, **body: Any) -> Any:
        answer = self._cloud.call("POST", path, token, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def _person(self, name: str, role: str, scope: str) -> str:
        user = self._make("user", name=name, domain_id=self._domain, password="pw")
        place: Any = "unscoped"
        if scope == "project":
            # A project of the person's own, so that what the table asks for is not.
            home = self._make("project", name=f"of {name}", domain_id=self._domain)
            place, path = {"project": {"id": home}}, f"/projects/{home}"
        elif scope == "domain":
            place, path = {"domain": {"id": self._domain}}, f"/domains/{self._domain}"
        elif scope == "system":
            place, path = {"system": {"all": True}}, "/system"
        if role:
            given = f"{path}/users/{user}/roles/{self._cloud.named(self.root, 'role', role)}"
            assert self._cloud.call("PUT", given, self.root).status_code == 204
        login = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
        return str(self._cloud.login(login, place).headers["X-Subject-Token"])

    def _things(self) -> dict[str, str]:
        cloud, root = self._cloud, self.root
        user = self._make("user", name="u", domain_id=self._domain, password="pw")
        trustee = self._make("user", name="trustee", domain_id=self._domain)
        member = cloud.named(root, "role", "member")
        given = f"/projects/{self._project}/users/{user}/roles/{member}"
        assert cloud.call("PUT", given, root).status_code == 204
        login = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
        token = cloud.login(login, {"project": {"id": self._project}}).headers["X-Subject-Token"]
        self.subject = token
        rule = {"service": "compute", "method": "GET", "path": "/"}
        credential = self._post(
            f"/users/{user}/application_credentials", token,
            application_credential={"name": "a", "access_rules": [rule]},
        )["application_credential"]  # fmt: skip
        trust = self._post("/OS-TRUST/trusts", token, trust={
            "trustor_user_id": user, "trustee_user_id": trustee, "impersonation": False,
            "project_id": self._project, "roles": [{"id": member}],
        })["trust"]  # fmt: skip
        key = self._post(f"/users/{user}/credentials/OS-EC2", token, tenant_id=self._project)
        (stored,) = cloud.call("GET", "/credentials", token).json()["credentials"]
        service = self._make("service", type="dns")
        place = {"service_id": service, "resource_name": "zones"}
        registered = self._post("/registered_limits", root,
                                registered_limits=[{**place, "default_limit": 1}])  # fmt: skip
        limit = self._post("/limits", root, limits=[
            {**place, "resource_limit": 1, "project_id": self._project}])  # fmt: skip
        group = {"name": "g", "filters": {"interface": "public"}}
        endpoints = self._post("/OS-EP-FILTER/endpoint_groups", root, endpoint_group=group)
        policy = self._post("/policies", root, policy={"type": "x", "blob": "x"})
        for path, noun, values in (
            ("identity_providers/idp", "identity_provider", {"domain_id": "default"}),
            ("mappings/m", "mapping", {"rules": RULES}),
            ("identity_providers/idp/protocols/p", "protocol", {"mapping_id": "m"}),
            ("service_providers/sp", "service_provider", SERVICE_PROVIDER),
        ):
            answer = cloud.call("PUT", f"/OS-FEDERATION/{path}", root, json={noun: values})
            assert answer.status_code == 201, answer.text
        consumer = self._post("/OS-OAUTH1/consumers", root, consumer={})["consumer"]
        return {
            "consumer_id": consumer["id"],
            "request_token_id": "none",
            "access_token_id": "none",
            "idp_id": "idp",
            "protocol_id": "p",
            "mapping_id": "m",
            "service_provider_id": "sp",
            "user_id": user,
            "group_id": self._make("group", name="g", domain_id=self._domain),
            "project_id": self._project,
            "domain_id": self._domain,
            "role_id": self._role,
            "prior_id": member,
            "implied_id": self._role,
            "tag": "t",
            "application_credential_id": credential["id"],
            "access_rule_id": credential["access_rules"][0]["id"],
            "trust_id": trust["id"],
            "credential_id": stored["id"],
            "access": key["credential"]["access"],
            "region_id": "RegionOne",
            "service_id": service,
            "endpoint_id": self._make("endpoint", service_id=service, interface="public",
                                      url="http://x"),
            "endpoint_group_id": endpoints["endpoint_group"]["id"],
            "policy_id": policy["policy"]["id"],
            "registered_limit_id": registered["registered_limits"][0]["id"],
            "limit_id": limit["limits"][0]["id"],
            "group": "ldap",
            "option": "url",
        }  # fmt: skip

    def body(self, method: str, path: str) -> Any:
        """One that is well made, for what is of the domain."""
        noun = path.removeprefix("/v3/").split("/")[-1]
        home, params = {"name": "new", "domain_id": self._domain}, self.params
        bodies: dict[str, Any] = {
            "POST tokens": {"auth": {"identity": {"methods": ["x"]}}},
            "POST password": {"user": {"original_password": "x", "password": "y"}},
            "POST projects": {"project": home},
            "POST users": {"user": home},
            "POST groups": {"group": home},
            "PUT tags": {"tags": ["t"]},
            "POST application_credentials": {"application_credential": {"name": "x"}},
            "POST trusts": {"trust": {
                "trustor_user_id": params["user_id"], "trustee_user_id": params["user_id"],
                "impersonation": False}},
            "POST credentials": {"credential": {
                "type": "x", "blob": "x", "user_id": params["user_id"]}},
            "POST consumers": {"consumer": {}},
            "PATCH {consumer_id}": {"consumer": {"description": "x"}},
            "PUT {request_token_id}": {"roles": []},
            "POST OS-EC2": {"tenant_id": self._project},
            "POST ec2tokens": {"credentials": {"access": "x"}},
            "POST s3tokens": {"credentials": {"access": "x"}},
            "POST endpoint_groups": {"endpoint_group": {"name": "x", "filters": {}}},
            "POST registered_limits": {"registered_limits": [
                {"service_id": "x", "resource_name": "x", "default_limit": 1}]},
            "POST limits": {"limits": [
                {"service_id": "x", "resource_name": "x", "resource_limit": 1}]},
        }  # fmt: skip
        for noun_, values in (
            ("identity_provider", {"enabled": True}), ("mapping", {"rules": RULES}),
            ("protocol", {"mapping_id": "m"}), ("service_provider", SERVICE_PROVIDER),
        ):  # fmt: skip
            if path.startswith("/v3/OS-FED") and path.split("/")[-2] == f"{noun_}s":
                return {noun_: values}
        if f"{method} {noun}" in bodies:
            return bodies[f"{method} {noun}"]
        if "/config" in path:
            return {"config": {"ldap": {"url": "x"}}}
        one = path.split("/")[2 if "OS-EP" not in path else 3]
        one = "policy" if one == "policies" else one.removesuffix("s")
        return {one: {}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, str, Service]]:
    directory: Path = tmp_path_factory.mktemp("roles")
    with identity_cloud(directory) as cloud:
        lab = Lab(cloud)
        service = rest_service(
            cloud.database,
            key_dir=cloud.key_dir,
            credential_key_dir=directory / "credential-keys",
            token_lifetime_s=3600,
            passwords=cheap_passwords(),
        )
        harmless = [
            route
            if route.method in ("GET", "HEAD") or route.path == "/v3/auth/tokens"
            else msgspec.structs.replace(route, handler=lambda _: Reply(status=REACHED))
            for route in service.routes
        ]
        app = build_app(msgspec.structs.replace(service, routes=harmless))
        web = WebServer(app, host="127.0.0.1", port=0)
        web.start()
        yield lab, "http://{}:{}".format(*web.address), service
        web.stop()


def rows() -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for who, methods, path in TABLE:
        for method in methods.split():
            assert (method, path) not in found, f"{method} {path} is there twice"
            found[method, path] = who
    return found


def test_the_table_has_every_route(lab: tuple[Lab, str, Service]) -> None:
    _, _, service = lab
    assert {(route.method, route.path) for route in service.routes} == rows().keys()


@pytest.mark.parametrize("person", [*PEOPLE, "nobody"])
def test_every_route_with_every_role(lab: tuple[Lab, str, Service], person: str) -> None:
    lab_, url, _ = lab
    session = requests.Session()
    session.headers["X-Subject-Token"] = lab_.subject
    if person != "nobody":
        session.headers["X-Auth-Token"] = lab_.tokens[person]
    wrong = []
    for (method, path), who in rows().items():
        if (method, path) == ("DELETE", "/v3/auth/tokens") and person in who:
            continue  # it would end the token that the others ask about
        body = None if method in ("GET", "HEAD", "DELETE") else lab_.body(method, path)
        answer = session.request(method, url + path.format(**lab_.params), json=body, timeout=60,
                                 allow_redirects=False)  # fmt: skip
        if (method, path) == ("POST", "/v3/auth/tokens"):
            let_in = answer.status_code == 401  # of the method, which there is not
        else:
            let_in = answer.status_code not in (400, 401, 403)
        if let_in != (person in who):
            wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:150]}")
    assert not wrong, "\n".join(wrong)


def test_a_domains_people_see_their_domain_alone(lab: tuple[Lab, str, Service]) -> None:
    lab_, url, _ = lab
    headers = {"X-Auth-Token": lab_.tokens["domain_manager"]}

    def seen(path: str) -> list[dict[str, Any]]:
        noun = path.split("?")[0]
        answer = requests.get(f"{url}/v3/{path}", headers=headers, timeout=60)
        found: list[dict[str, Any]] = answer.json()[noun]
        return found

    for noun in ("users", "groups", "projects"):
        assert {each["domain_id"] for each in seen(noun)} == {lab_.params["domain_id"]}
        assert seen(f"{noun}?domain_id=default") == []
    assert [each["name"] for each in seen("domains")] == ["lab"]
    for each in seen("role_assignments"):
        assert "system" not in each["scope"]
    for method, path, body in (
        ("POST", "/v3/users", {"user": {"name": "x", "domain_id": "default"}}),
        ("POST", "/v3/projects", {"project": {"name": "x", "parent_id": "default"}}),
        ("POST", "/v3/projects", {"project": {"name": "x", "is_domain": True}}),
    ):
        answer = requests.request(method, url + path, headers=headers, json=body, timeout=60)
        assert answer.status_code == 403
    # A manager gives the roles below its own, and not to people of other domains.
    grant = "/v3/projects/{project_id}/users/{user_id}/roles/"
    roles = requests.get(
        f"{url}/v3/roles?name=admin", headers={"X-Auth-Token": lab_.root}, timeout=60
    ).json()["roles"]
    path = grant.format(**lab_.params)
    answer = requests.put(f"{url}{path}{roles[0]['id']}", headers=headers, timeout=60)
    assert answer.status_code == 403
