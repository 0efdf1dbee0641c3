"""Identity in depth: the tree of projects, inherited and domains' roles, tags, options, lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from identity import IdentityCloud, identity_cloud, password


@pytest.fixture(scope="module")
def cloud(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity"), url=module_database_url) as running:
        yield running


@pytest.fixture(scope="module")
def admin(cloud: IdentityCloud) -> str:
    return cloud.token("admin")


def roles(cloud: IdentityCloud, user: str, scope: Any) -> set[str]:
    """The roles that a user whose password is pw has at ``scope``."""
    login = cloud.login({"methods": ["password"],
                         "password": {"user": {"id": user, "password": "pw"}}}, scope)  # fmt: skip
    return {role["name"] for role in login.json().get("token", {}).get("roles", ())}


def test_a_projects_place_in_its_tree(cloud: IdentityCloud, admin: str) -> None:
    ids = [cloud.make(admin, "project", name="level 1")["id"]]
    for level in (2, 3, 4):
        made = cloud.make(admin, "project", name=f"level {level}", parent_id=ids[-1])
        ids.append(made["id"])
    too_deep = {"project": {"name": "level 5", "parent_id": ids[-1]}}
    assert cloud.call("POST", "/projects", admin, json=too_deep).status_code == 403
    middle = f"/projects/{ids[1]}"

    def shown(query: str) -> Any:
        return cloud.call("GET", f"{middle}?{query}", admin).json()["project"]

    assert shown("parents_as_ids")["parents"] == {ids[0]: {"default": None}}
    assert shown("subtree_as_ids")["subtree"] == {ids[2]: {ids[3]: None}}
    assert (
        cloud.call("GET", f"/projects/{ids[3]}?subtree_as_ids", admin).json()["project"]["subtree"]
        is None
    )
    assert shown("parents_as_list")["parents"] == []  # the caller has no role there
    user, role = cloud.named(admin, "user", "admin"), cloud.named(admin, "role", "reader")
    given = f"/OS-INHERIT/projects/{ids[0]}/users/{user}/roles/{role}/inherited_to_projects"
    assert cloud.call("PUT", given, admin).status_code == 204
    names = [each["project"]["name"] for each in shown("subtree_as_list")["subtree"]]
    assert names == ["level 3", "level 4"]
    both = f"{middle}?subtree_as_list&subtree_as_ids"
    assert cloud.call("GET", both, admin).status_code == 400
    # What is disabled has nothing enabled below it.
    off = {"project": {"enabled": False}}
    assert cloud.call("PATCH", middle, admin, json=off).status_code == 403
    for id_ in reversed(ids):
        assert cloud.call("PATCH", f"/projects/{id_}", admin, json=off).status_code == 200
    on = {"project": {"enabled": True}}
    assert cloud.call("PATCH", f"/projects/{ids[3]}", admin, json=on).status_code == 403
    child = {"project": {"name": "child", "parent_id": ids[2]}}
    assert cloud.call("POST", "/projects", admin, json=child).status_code == 403


def test_a_domain_is_a_project_too(cloud: IdentityCloud, admin: str) -> None:
    made = cloud.make(admin, "project", name="as project", is_domain=True)
    assert (made["is_domain"], made["domain_id"], made["parent_id"]) == (True, None, None)
    assert (
        cloud.call("GET", f"/domains/{made['id']}", admin).json()["domain"]["name"] == made["name"]
    )
    assert cloud.call("GET", f"/projects/{made['id']}", admin).json()["project"] == made
    listed = cloud.call("GET", "/projects?is_domain=true", admin).json()["projects"]
    assert {"Default", "as project"} <= {each["name"] for each in listed}
    assert all(each["is_domain"] for each in listed)
    path = f"/projects/{made['id']}"
    for wrong in ({"is_domain": False}, {"parent_id": "default"}):
        assert cloud.call("PATCH", path, admin, json={"project": wrong}).status_code == 400
    off = {"project": {"enabled": False}}
    assert cloud.call("PATCH", path, admin, json=off).json()["project"]["enabled"] is False
    assert cloud.call("DELETE", path, admin).status_code == 204
    assert cloud.call("GET", f"/domains/{made['id']}", admin).status_code == 404
    body = {"project": {"name": "x", "is_domain": True, "domain_id": "default"}}
    assert cloud.call("POST", "/projects", admin, json=body).status_code == 400


def test_inherited_roles_hold_below(cloud: IdentityCloud, admin: str) -> None:
    domain = cloud.make(admin, "domain", name="heirs")["id"]
    top = cloud.make(admin, "project", name="top", domain_id=domain)["id"]
    below = cloud.make(admin, "project", name="below", parent_id=top)["id"]
    user = cloud.make(admin, "user", name="heir", domain_id=domain, password="pw")["id"]
    group = cloud.make(admin, "group", name="heirs", domain_id=domain)["id"]
    assert cloud.call("PUT", f"/groups/{group}/users/{user}", admin).status_code == 204
    member, reader = (cloud.named(admin, "role", name) for name in ("member", "reader"))
    on_top = f"/OS-INHERIT/projects/{top}/users/{user}/roles/{member}/inherited_to_projects"
    on_domain = f"/OS-INHERIT/domains/{domain}/groups/{group}/roles/{reader}/inherited_to_projects"
    for path in (on_top, on_domain):
        assert cloud.call("HEAD", path, admin).status_code == 404
        assert cloud.call("PUT", path, admin).status_code == 204
        assert cloud.call("HEAD", path, admin).status_code == 204
    listed = f"/OS-INHERIT/domains/{domain}/groups/{group}/roles/inherited_to_projects"
    assert [each["id"] for each in cloud.call("GET", listed, admin).json()["roles"]] == [reader]
    plain = f"/domains/{domain}/groups/{group}/roles"
    assert cloud.call("GET", plain, admin).json()["roles"] == []

    assert roles(cloud, user, {"project": {"id": below}}) == {"member", "reader"}
    assert roles(cloud, user, {"project": {"id": top}}) == {"reader"}
    assert roles(cloud, user, {"domain": {"id": domain}}) == set()
    login = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
    token = cloud.login(login, {"project": {"id": below}}).headers["X-Subject-Token"]
    mine = cloud.call("GET", "/auth/projects", token).json()["projects"]
    assert {each["id"] for each in mine} == {top, below}
    assert cloud.call("GET", "/auth/domains", token).json()["domains"] == []

    def assignments(**query: str) -> list[Any]:
        answer = cloud.call("GET", "/role_assignments", admin, params=query)
        assert answer.status_code == 200, answer.text
        found: list[Any] = answer.json()["role_assignments"]
        return found

    (given,) = assignments(**{"user.id": user})
    assert given["scope"] == {"project": {"id": top}, "OS-INHERIT:inherited_to": "projects"}
    assert given["links"]["assignment"] == cloud.url + on_top
    effective = assignments(**{"user.id": user, "effective": "", "scope.project.id": below})
    assert {each["role"]["id"] for each in effective} == {member, reader}
    assert all("OS-INHERIT:inherited_to" in each["scope"] for each in effective)
    inherited = assignments(**{"scope.OS-INHERIT:inherited_to": "projects", "group.id": group})
    assert [each["role"]["id"] for each in inherited] == [reader]
    tree = assignments(**{"scope.project.id": top, "include_subtree": "", "effective": "",
                          "user.id": user})  # fmt: skip
    assert {each["scope"]["project"]["id"] for each in tree} == {top, below}
    wrong = {"scope.project.id": top, "scope.domain.id": domain}
    assert cloud.call("GET", "/role_assignments", admin, params=wrong).status_code == 400
    assert cloud.call("DELETE", on_top, admin).status_code == 204
    assert cloud.call("DELETE", on_top, admin).status_code == 404
    assert cloud.validate(token, admin).json()["token"]["roles"][0]["name"] == "reader"
    assert cloud.call("DELETE", on_domain, admin).status_code == 204
    assert cloud.validate(token, admin).status_code == 404


def test_a_role_of_one_domain(cloud: IdentityCloud, admin: str) -> None:
    home = cloud.make(admin, "domain", name="home of a role")["id"]
    project = cloud.make(admin, "project", name="p", domain_id=home)["id"]
    user = cloud.make(admin, "user", name="u", domain_id=home, password="pw")["id"]
    own = cloud.make(admin, "role", name="reader", domain_id=home)
    assert own["domain_id"] == home
    reader = cloud.named(admin, "role", "reader")  # of the cloud: another
    assert reader != own["id"]
    listed = cloud.call("GET", f"/roles?domain_id={home}", admin).json()["roles"]
    assert [each["id"] for each in listed] == [own["id"]]
    place = f"/projects/{project}/users/{user}/roles/{own['id']}"
    assert cloud.call("PUT", place, admin).status_code == 204
    assert roles(cloud, user, {"project": {"id": project}}) == set()
    member = cloud.named(admin, "role", "member")
    implies = f"/roles/{own['id']}/implies/{member}"
    assert cloud.call("PUT", implies, admin).status_code == 201
    assert roles(cloud, user, {"project": {"id": project}}) == {"member", "reader"}
    assert cloud.call("PUT", f"/roles/{member}/implies/{own['id']}", admin).status_code == 403
    elsewhere = f"/projects/{cloud.named(admin, 'project', 'demo')}/users/{user}/roles/{own['id']}"
    assert cloud.call("PUT", elsewhere, admin).status_code == 403
    query = {"user.id": user, "include_names": ""}
    (shown,) = cloud.call("GET", "/role_assignments", admin, params=query).json()[
        "role_assignments"
    ]
    assert shown["role"]["domain"] == {"id": home, "name": "home of a role"}
    body = {"role": {"name": "reader", "domain_id": home}}
    assert cloud.call("POST", "/roles", admin, json=body).status_code == 409
    assert cloud.call("POST", "/roles", admin, json={"role": {"name": "x", "domain_id": "y"}}
                      ).status_code == 400  # fmt: skip


def test_tags(cloud: IdentityCloud, admin: str) -> None:
    project = cloud.make(admin, "project", name="tagged", tags=["a"])["id"]
    other = cloud.make(admin, "project", name="tagged too", tags=["a", "c"])["id"]
    path = f"/projects/{project}/tags"
    assert cloud.call("PUT", f"{path}/b", admin).status_code == 201
    assert cloud.call("GET", path, admin).json()["tags"] == ["a", "b"]
    assert cloud.call("HEAD", f"{path}/b", admin).status_code == 204
    assert cloud.call("GET", f"{path}/x", admin).status_code == 404
    for wrong in ("a,b", "x" * 300):
        assert cloud.call("PUT", f"{path}/{wrong}", admin).status_code == 400

    def named(query: str) -> set[str]:
        found = cloud.call("GET", f"/projects?{query}", admin).json()["projects"]
        return {each["id"] for each in found} & {project, other}

    assert named("tags=a") == {project, other}
    assert named("tags=a,c") == {other}
    assert named("tags-any=b,c") == {project, other}
    assert named("not-tags=a,b") == {other}
    assert named("not-tags-any=c") == {project}
    assert named("tags=a&not-tags=c") == {project}
    assert len(cloud.call("GET", "/projects?tags=a&limit=1", admin).json()["projects"]) == 1
    put = cloud.call("PUT", path, admin, json={"tags": ["z", "y", "z"]})
    assert put.json()["tags"] == ["y", "z"]
    assert cloud.call("PUT", path, admin, json={"tags": "z"}).status_code == 400
    assert cloud.call("DELETE", f"{path}/y", admin).status_code == 204
    assert cloud.call("DELETE", f"{path}/y", admin).status_code == 404
    assert cloud.call("DELETE", path, admin).status_code == 204
    assert cloud.call("GET", path, admin).json()["tags"] == []


@pytest.mark.parametrize("noun", ["domain", "project", "role"])
def test_what_is_immutable_stays(cloud: IdentityCloud, admin: str, noun: str) -> None:
    made = cloud.make(admin, noun, name=f"fixed {noun}", options={"immutable": True})
    assert made["options"] == {"immutable": True}
    path = f"/{noun}s/{made['id']}"

    def patch(**values: Any) -> int:
        answer = cloud.call("PATCH", path, admin, json={noun: values})
        return int(answer.status_code)

    assert patch(name="other") == 403
    assert patch(options={"immutable": False}, name="other") == 403
    assert cloud.call("DELETE", path, admin).status_code == 403
    assert patch(options={"unknown": 1}) == 403
    assert patch(options={"immutable": False}) == 200
    assert patch(options={"unknown": 1}) == 400
    assert patch(options={"immutable": "yes"}) == 400
    assert patch(options={"immutable": None}, name=f"loose {noun}") == 200
    assert cloud.call("GET", path, admin).json()[noun]["options"] == {}


def test_a_users_options(cloud: IdentityCloud, admin: str) -> None:
    user = cloud.make(admin, "user", name="locked", password="pw",
                      options={"lock_password": True})  # fmt: skip
    path = f"/users/{user['id']}"
    change = {"user": {"original_password": "pw", "password": "new"}}
    assert cloud.call("POST", f"{path}/password", json=change).status_code == 403
    many = {"user": {"options": {"lock_password": None, "multi_factor_auth_enabled": True,
                                 "multi_factor_auth_rules": [["password", "token"]]}}}  # fmt: skip
    assert cloud.call("PATCH", path, admin, json=many).status_code == 200
    login = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": "pw"}}}
    assert cloud.login(login).status_code == 401
    for wrong in ([["smell"]], [[]], "password", [["password", "password"]]):
        body = {"user": {"options": {"multi_factor_auth_rules": wrong}}}
        assert cloud.call("PATCH", path, admin, json=body).status_code == 400
    off = {"user": {"options": {"multi_factor_auth_enabled": False}}}
    assert cloud.call("PATCH", path, admin, json=off).status_code == 200
    assert cloud.login(login).status_code == 201


def test_comparisons_of_names(cloud: IdentityCloud, admin: str) -> None:
    domain = cloud.make(admin, "domain", name="names")["id"]
    for name in ("Alpha", "alphabet", "Beta"):
        cloud.make(admin, "group", name=name, domain_id=domain)

    def names(**query: str) -> list[str]:
        query = {"domain_id": domain, **query}
        found = cloud.call("GET", "/groups", admin, params=query).json()["groups"]
        return sorted(each["name"] for each in found)

    assert names(name__contains="lpha") == ["Alpha", "alphabet"]
    assert names(name__startswith="alpha") == ["alphabet"]
    assert names(name__istartswith="alpha") == ["Alpha", "alphabet"]
    assert names(name__icontains="A") == ["Alpha", "Beta", "alphabet"]
    assert names(name__endswith="eta") == ["Beta"]
    assert names(name__iendswith="BET") == ["alphabet"]
    assert names(name__endswith="longer than any name") == []
    assert names(name__contains="%") == names(name__contains="_") == []
    assert names(name__contains="") == names(name__like="x") == names()
    empty = {"user.id": "", "group.id": "nothing"}
    assert cloud.call("GET", "/role_assignments", admin, params=empty).status_code == 400


def test_options_and_head_of_every_path(cloud: IdentityCloud, admin: str) -> None:
    answer = requests.options(f"{cloud.url}/users", timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert answer.content == b""
    assert requests.options(f"{cloud.url}/nowhere", timeout=60).status_code == 404
    for path in ("/users", "/projects", "/auth/projects", "/role_assignments", "/regions"):
        head = cloud.call("HEAD", path, admin)
        assert (head.status_code, head.content) == (200, b"")
    assert cloud.call("PUT", "/users", admin).status_code == 405


def test_a_users_tokens_end_on_request(cloud: IdentityCloud, admin: str) -> None:
    alt = cloud.token("alt_demo")
    mine = cloud.validate(alt, alt).json()["token"]["user"]["id"]
    demo = cloud.token("demo")
    assert cloud.call("DELETE", f"/users/{mine}/tokens", demo).status_code == 403
    assert cloud.call("DELETE", f"/users/{mine}/tokens", alt).status_code == 204
    assert cloud.validate(alt, admin).status_code == 404
    assert cloud.login(password("alt_demo")).status_code == 201


def test_limits(cloud: IdentityCloud, admin: str) -> None:
    service = cloud.make(admin, "service", type="dns")["id"]
    project = cloud.named(admin, "project", "demo")

    def registered(**values: Any) -> Any:
        one = {"service_id": service, "resource_name": "zones", "default_limit": 10, **values}
        return cloud.call("POST", "/registered_limits", admin, json={"registered_limits": [one]})

    answer = registered(region_id="RegionOne", description="d")
    assert answer.status_code == 201, answer.text
    (first,) = answer.json()["registered_limits"]
    assert registered(region_id="RegionOne").status_code == 409
    assert registered().status_code == 201  # without a region it is another
    assert registered().status_code == 409
    assert registered(service_id="f" * 32).status_code == 400
    assert registered(default_limit="many").status_code == 400
    one = f"/registered_limits/{first['id']}"
    patch = {"registered_limit": {"default_limit": 20}}
    assert (
        cloud.call("PATCH", one, admin, json=patch).json()["registered_limit"]["default_limit"]
        == 20
    )
    found = cloud.call("GET", f"/registered_limits?service_id={service}&region_id=RegionOne",
                       cloud.token("demo")).json()["registered_limits"]  # fmt: skip
    assert [each["default_limit"] for each in found] == [20]

    def limit(**values: Any) -> Any:
        one = {"service_id": service, "resource_name": "zones", "resource_limit": 5,
               "region_id": "RegionOne", "project_id": project, **values}  # fmt: skip
        return cloud.call("POST", "/limits", admin, json={"limits": [one]})

    made = limit()
    assert made.status_code == 201, made.text
    (mine,) = made.json()["limits"]
    assert mine["service_id"] == service
    assert limit().status_code == 409
    assert limit(resource_name="records").status_code == 403
    assert limit(project_id=None).status_code == 400
    assert limit(domain_id="default").status_code == 400
    assert limit(project_id=None, domain_id="default").status_code == 201
    demo, alt = cloud.token("demo"), cloud.token("alt_demo")
    assert [each["id"] for each in cloud.call("GET", "/limits", demo).json()["limits"]] == [
        mine["id"]
    ]
    assert cloud.call("GET", "/limits", alt).json()["limits"] == []
    assert len(cloud.call("GET", "/limits", admin).json()["limits"]) == 2
    path = f"/limits/{mine['id']}"
    assert cloud.call("GET", path, demo).json()["limit"] == mine
    assert cloud.call("GET", path, alt).status_code == 403
    change = {"limit": {"resource_limit": 7}}
    assert cloud.call("PATCH", path, demo, json=change).status_code == 403
    assert cloud.call("PATCH", path, admin, json=change).json()["limit"]["resource_limit"] == 7
    assert cloud.call("DELETE", one, admin).status_code == 403
    moved = {"registered_limit": {"resource_name": "records"}}
    assert cloud.call("PATCH", one, admin, json=moved).status_code == 403
    assert cloud.call("GET", "/limits/model", demo).json()["model"]["name"] == "flat"
    for each in cloud.call("GET", "/limits", admin).json()["limits"]:
        assert cloud.call("DELETE", f"/limits/{each['id']}", admin).status_code == 204
    assert cloud.call("DELETE", one, admin).status_code == 204
    assert cloud.call("GET", one, admin).status_code == 404


def test_policies_and_the_configuration_of_domains(cloud: IdentityCloud, admin: str) -> None:
    body = {"policy": {"type": "application/json", "blob": "{}"}}
    made = cloud.call("POST", "/policies", admin, json=body)
    assert made.status_code == 201
    path = f"/policies/{made.json()['policy']['id']}"
    change = {"policy": {"blob": "{1}"}}
    assert cloud.call("PATCH", path, admin, json=change).json()["policy"]["blob"] == "{1}"
    assert len(cloud.call("GET", "/policies", admin).json()["policies"]) == 1
    assert cloud.call("DELETE", path, admin).status_code == 204

    domain = cloud.make(admin, "domain", name="configured")["id"]
    config = f"/domains/{domain}/config"
    ldap = {"ldap": {"url": "ldap://x", "password": "hidden"}, "identity": {"driver": "ldap"}}
    assert cloud.call("GET", config, admin).status_code == 404
    put = cloud.call("PUT", config, admin, json={"config": ldap})
    assert put.status_code == 201
    shown = {"ldap": {"url": "ldap://x"}, "identity": {"driver": "ldap"}}
    assert put.json()["config"] == shown
    assert cloud.call("PUT", config, admin, json={"config": ldap}).status_code == 200
    assert cloud.call("GET", config, admin).json()["config"] == shown
    assert cloud.call("GET", f"{config}/ldap", admin).json()["config"] == {
        "ldap": {"url": "ldap://x"}
    }
    assert cloud.call("GET", f"{config}/ldap/url", admin).json()["config"] == {"url": "ldap://x"}
    new = {"config": {"ldap": {"url": "ldap://y", "user_filter": "z"}}}
    patched = cloud.call("PATCH", f"{config}/ldap", admin, json=new).json()["config"]
    assert patched["ldap"] == {"url": "ldap://y", "user_filter": "z"}
    one = {"config": {"url": "ldap://z"}}
    assert cloud.call("PATCH", f"{config}/ldap/url", admin, json=one).status_code == 200
    for path, wrong, status in (
        (config, {"x": {"a": 1}}, 403), (config, {}, 400), (config, {"ldap": {"url": []}}, 400),
        (f"{config}/ldap", {"identity": {"driver": "x"}}, 400),
        (f"{config}/ldap/nothing", {"nothing": "x"}, 404),
    ):  # fmt: skip
        answer = cloud.call("PATCH", path, admin, json={"config": wrong})
        assert answer.status_code == status, answer.text
    assert cloud.call("DELETE", f"{config}/ldap/url", admin).status_code == 204
    assert cloud.call("GET", f"{config}/ldap/url", admin).status_code == 404
    assert cloud.call("DELETE", config, admin).status_code == 204
    assert cloud.call("GET", config, admin).status_code == 404
    default = cloud.call("GET", "/domains/config/default", admin).json()["config"]
    for group, options in default.items():
        path = f"/domains/config/{group}"
        assert cloud.call("GET", f"{path}/default", admin).json()["config"] == {group: options}
        for option, value in options.items():
            answer = cloud.call("GET", f"{path}/{option}/default", admin)
            assert answer.json()["config"] == {option: value}


def test_a_projects_own_endpoints(cloud: IdentityCloud, admin: str) -> None:
    demo = cloud.named(admin, "project", "demo")
    (image,) = cloud.call("GET", "/services?type=image", admin).json()["services"]
    endpoints = cloud.call("GET", f"/endpoints?service_id={image['id']}", admin).json()["endpoints"]
    public = next(each["id"] for each in endpoints if each["interface"] == "public")

    def seen() -> set[str]:
        token = cloud.login(password("demo"), {"project": {"id": demo}}).json()["token"]
        return {e["id"] for entry in token["catalog"] for e in entry["endpoints"]}

    everything = seen()
    own = f"/OS-EP-FILTER/projects/{demo}/endpoints"
    assert cloud.call("PUT", f"{own}/{public}", admin).status_code == 204
    assert cloud.call("HEAD", f"{own}/{public}", admin).status_code == 204
    assert seen() == {public}
    assert [e["id"] for e in cloud.call("GET", own, admin).json()["endpoints"]] == [public]
    path = f"/OS-EP-FILTER/endpoints/{public}/projects"
    assert [p["id"] for p in cloud.call("GET", path, admin).json()["projects"]] == [demo]

    body = {"endpoint_group": {"name": "images", "filters": {"service_id": image["id"]}}}
    made = cloud.call("POST", "/OS-EP-FILTER/endpoint_groups", admin, json=body)
    assert made.status_code == 201, made.text
    group = f"/OS-EP-FILTER/endpoint_groups/{made.json()['endpoint_group']['id']}"
    fitting = cloud.call("GET", f"{group}/endpoints", admin).json()["endpoints"]
    assert {e["id"] for e in fitting} == {e["id"] for e in endpoints}
    assert cloud.call("PUT", f"{group}/projects/{demo}", admin).status_code == 204
    assert seen() == {e["id"] for e in endpoints}
    change = {"endpoint_group": {"filters": {"service_id": image["id"], "interface": "admin"}}}
    assert cloud.call("PATCH", group, admin, json=change).status_code == 200
    assert len(seen()) == 2
    listed = cloud.call("GET", f"/OS-EP-FILTER/projects/{demo}/endpoint_groups", admin).json()
    assert [each["name"] for each in listed["endpoint_groups"]] == ["images"]
    for wrong in ({}, {"color": "red"}, {"interface": "sideways"}):
        body = {"endpoint_group": {"name": "x", "filters": wrong}}
        answer = cloud.call("POST", "/OS-EP-FILTER/endpoint_groups", admin, json=body)
        assert answer.status_code == 400
    assert cloud.call("DELETE", f"{group}/projects/{demo}", admin).status_code == 204
    assert cloud.call("DELETE", f"{group}/projects/{demo}", admin).status_code == 404
    assert cloud.call("DELETE", group, admin).status_code == 204
    assert cloud.call("DELETE", f"{own}/{public}", admin).status_code == 204
    assert cloud.call("DELETE", f"{own}/{public}", admin).status_code == 404
    assert seen() == everything


def test_which_policy_is_for_an_endpoint(cloud: IdentityCloud, admin: str) -> None:
    def made(noun: str, plural: str, **values: Any) -> str:
        answer = cloud.call("POST", f"/{plural}", admin, json={noun: values})
        assert answer.status_code == 201, answer.text
        return str(answer.json()[noun]["id"])

    def asked(method: str, path: str) -> int:
        return int(cloud.call(method, path, admin).status_code)

    service = made("service", "services", type="dns")
    made("region", "regions", id="Above")
    made("region", "regions", id="Below", parent_region_id="Above")
    here = made("endpoint", "endpoints", service_id=service, interface="public", url="http://x",
                region_id="Below")  # fmt: skip
    there = made("endpoint", "endpoints", service_id=service, interface="public", url="http://y")
    names = ("of_service", "of_region", "of_endpoint")
    policies = {name: made("policy", "policies", type="x", blob=name) for name in names}
    paths = {
        name: f"/policies/{policies[name]}/OS-ENDPOINT-POLICY/{path}"
        for name, path in zip(
            names,
            (f"services/{service}", f"services/{service}/regions/Above", f"endpoints/{here}"),
            strict=True,
        )
    }

    def policy(endpoint: str) -> str | None:
        answer = cloud.call("GET", f"/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy", admin)
        return answer.json()["policy"]["blob"] if answer.status_code == 200 else None

    def endpoints(name: str) -> set[str]:
        path = f"/policies/{policies[name]}/OS-ENDPOINT-POLICY/endpoints"
        return {each["id"] for each in cloud.call("GET", path, admin).json()["endpoints"]}

    assert policy(here) is None
    assert [asked("HEAD", path) for path in paths.values()] == [404, 404, 404]
    for name, path in paths.items():
        assert (asked("PUT", path), asked("PUT", path)) == (204, 204)
        assert (asked("GET", path), asked("HEAD", path)) == (204, 204)
        assert policy(here) == name
    assert policy(there) == "of_service"
    assert [endpoints(name) for name in names] == [{here, there}, {here}, {here}]
    # A place has one policy.
    other = f"/policies/{policies['of_service']}/OS-ENDPOINT-POLICY/endpoints/{here}"
    assert asked("PUT", other) == 204
    assert (asked("GET", paths["of_endpoint"]), policy(here)) == (404, "of_service")
    assert asked("DELETE", paths["of_endpoint"]) == 204
    assert policy(here) == "of_service"
    assert asked("DELETE", other) == 204
    assert policy(here) == "of_region"
    for path in ("/policies/no/OS-ENDPOINT-POLICY/endpoints", "/endpoints/no/OS-ENDPOINT-POLICY/"
                 "policy", f"/policies/no/OS-ENDPOINT-POLICY/services/{service}"):  # fmt: skip
        assert asked("GET", path) == 404
    for method in ("GET", "PUT", "DELETE"):
        for place in ("endpoints/no", "services/no", f"services/{service}/regions/no"):
            top = f"/policies/{policies['of_service']}/OS-ENDPOINT-POLICY"
            assert asked(method, f"{top}/{place}") == 404
    # What an association names takes it along.
    assert asked("DELETE", f"/policies/{policies['of_region']}") == 204
    assert policy(here) == "of_service"
    for path in (f"/endpoints/{here}", f"/endpoints/{there}", "/regions/Below", "/regions/Above",
                 f"/services/{service}"):  # fmt: skip
        assert asked("DELETE", path) == 204
    assert endpoints("of_service") == set()
    assert asked("GET", paths["of_service"]) == 404
