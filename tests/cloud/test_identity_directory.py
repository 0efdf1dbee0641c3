"""Domains, projects, users, groups, roles and the catalog over HTTP, as clients use them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from identity import IdentityCloud, identity_cloud, password, project


@pytest.fixture(scope="module")
def cloud(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity"), url=module_database_url) as running:
        yield running


@pytest.fixture(scope="module")
def admin(cloud: IdentityCloud) -> str:
    return cloud.token("admin")


NOUNS: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = [
    (
        "domain",
        {"name": "d1"},
        {"description": "a domain", "enabled": False},
        {"id", "name", "description", "enabled", "tags", "options", "links"},
    ),
    (
        "project",
        {"name": "p1", "purpose": "tests"},
        {"name": "p2", "enabled": False, "tags": ["a", "b"]},
        {"id", "name", "domain_id", "parent_id", "enabled", "description", "is_domain", "tags",
         "options", "links", "purpose"},
    ),
    (
        "user",
        {"name": "u1", "password": "secret", "email": "u@example.org"},
        {"name": "u2", "description": "somebody", "email": None},
        {"id", "name", "domain_id", "enabled", "password_expires_at", "options", "links", "email"},
    ),
    (
        "group",
        {"name": "g1", "description": None},
        {"description": "some"},
        {"id", "name", "domain_id", "description", "links"},
    ),
    (
        "role",
        {"name": "r1"},
        {"name": "r2", "description": "a role"},
        {"id", "name", "domain_id", "description", "options", "links"},
    ),
    (
        "region",
        {"id": "here", "description": "x"},
        {"description": "y"},
        {"id", "description", "parent_region_id", "links"},
    ),
    (
        "service",
        {"type": "dns", "name": "designate"},
        {"enabled": False, "description": "names"},
        {"id", "type", "name", "description", "enabled", "links"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("noun", "new", "change", "keys"), NOUNS, ids=[n[0] for n in NOUNS])
def test_the_life_of_a_noun(
    cloud: IdentityCloud,
    admin: str,
    noun: str,
    new: dict[str, Any],
    change: dict[str, Any],
    keys: set[str],
) -> None:
    made = cloud.make(admin, noun, **new)
    assert made.keys() == keys
    assert "password" not in made
    path = f"/{noun}s/{made['id']}"
    assert made["links"] == {"self": f"{cloud.url}{path}"}
    assert cloud.call("GET", path, admin).json() == {noun: made}
    assert cloud.call("HEAD", path, admin).status_code == 200
    listed = cloud.call("GET", f"/{noun}s", admin).json()
    assert made in listed[f"{noun}s"]
    assert listed["links"] == {"next": None, "self": f"{cloud.url}/{noun}s", "previous": None}
    if noun != "service":
        again = cloud.call("POST", f"/{noun}s", admin, json={noun: new})
        assert (again.status_code, again.json()["error"]["title"]) == (409, "Conflict")

    patched = cloud.call("PATCH", path, admin, json={noun: change})
    assert patched.status_code == 200
    assert patched.json()[noun] == {**made, **change}
    assert cloud.call("PATCH", path, admin, json={noun: {}}).json() == patched.json()

    assert cloud.call("DELETE", path, admin).status_code == 204
    for method, body in (("GET", None), ("PATCH", {noun: change}), ("DELETE", None)):
        assert cloud.call(method, path, admin, json=body).status_code == 404


@pytest.mark.parametrize("noun", ["domain", "project", "user", "group", "role", "region",
                                  "service", "endpoint"])  # fmt: skip
def test_what_does_not_fit_is_a_400(cloud: IdentityCloud, admin: str, noun: str) -> None:
    bodies: list[Any] = [
        {},
        [],
        {noun: None},
        {noun: []},
        {noun: {"name": 7, "type": 7, "id": 7}},
        {noun: {"name": "x" * 300, "type": "x" * 300, "id": "x" * 300}},
        {noun: {"name": "a\x00b", "type": "a\x00b", "id": "a\x00b"}},
        {noun: {"name": "n", "type": "t", "id": "n", "description": ["x"]}},
        {noun: {"name": "n", "type": "t", "id": "n", "description": "x\x00"}},
        {"other": {"name": "n"}},
    ]
    for body in bodies:
        answer = cloud.call("POST", f"/{noun}s", admin, json=body)
        assert answer.status_code == 400, body
        assert answer.json()["error"]["code"] == 400
    broken = cloud.call(
        "POST", f"/{noun}s", admin, data=b"{", headers={"Content-Type": "application/json"}
    )
    assert broken.status_code == 400
    for path in (f"/{noun}s/{'x' * 300}", f"/{noun}s/no such", f"/{noun}s/%e9"):
        assert cloud.call("GET", path, admin).status_code == 404
    assert cloud.call("GET", f"/{noun}s?name=%00", admin).status_code == 400
    assert cloud.call("GET", f"/{noun}s?limit=many", admin).status_code == 400


@pytest.mark.parametrize("noun", ["domain", "project", "user", "group", "role", "service",
                                  "endpoint"])  # fmt: skip
def test_only_administrators(cloud: IdentityCloud, noun: str) -> None:
    demo = cloud.token("demo")
    assert cloud.call("GET", f"/{noun}s", demo).status_code == 403
    assert cloud.call("POST", f"/{noun}s", demo, json={noun: {"name": "n"}}).status_code == 403
    for method in ("GET", "PATCH", "DELETE"):
        answer = cloud.call(method, f"/{noun}s/x", demo, json={noun: {"name": "n"}})
        assert answer.status_code == 403
    assert cloud.call("GET", f"/{noun}s").status_code == 401


def test_users_see_themselves(cloud: IdentityCloud) -> None:
    demo = cloud.token("demo")
    token = cloud.validate(demo, demo).json()["token"]
    for path in (
        f"/users/{token['user']['id']}",
        f"/projects/{token['project']['id']}",
        "/domains/default",
        "/regions",
    ):
        assert cloud.call("GET", path, demo).status_code == 200


def test_system_readers_see_all(cloud: IdentityCloud, admin: str) -> None:
    user = cloud.make(admin, "user", name="auditor", password="pw")["id"]
    role = cloud.named(admin, "role", "reader")
    assert cloud.call("PUT", f"/system/users/{user}/roles/{role}", admin).status_code == 204
    token = cloud.token("auditor", {"system": {"all": True}}, "pw")
    assert cloud.call("GET", "/users", token).status_code == 200
    assert cloud.call("POST", "/users", token, json={"user": {"name": "x"}}).status_code == 403


def test_filters_and_pages(cloud: IdentityCloud, admin: str) -> None:
    domain = cloud.make(admin, "domain", name="filtered")["id"]
    for number in range(5):
        cloud.make(admin, "user", name=f"user_{number}", domain_id=domain, enabled=number % 2 == 0)

    def names(**query: Any) -> list[str]:
        found = cloud.call("GET", "/users", admin, params={"domain_id": domain, **query})
        return sorted(each["name"] for each in found.json()["users"])

    assert len(names()) == 5
    assert names(name="user_3") == ["user_3"]
    assert names(enabled="false") == ["user_1", "user_3"]
    assert names(enabled="1", name__contains="_2") == ["user_2"]
    assert names(name__contains="%") == []
    assert names(unknown="x") == names()
    assert names(domain_id="nowhere") == []
    seen: list[str] = []
    url = f"{cloud.url}/users?domain_id={domain}&limit=2"
    while url:
        page = cloud.call("GET", url.removeprefix(cloud.url), admin).json()
        assert len(page["users"]) <= 2
        seen += [each["name"] for each in page["users"]]
        url = page["links"]["next"]
    assert sorted(seen) == names()


def test_a_tree_of_projects(cloud: IdentityCloud, admin: str) -> None:
    top = cloud.make(admin, "project", name="top")
    assert top["parent_id"] == top["domain_id"] == "default"
    below = cloud.make(admin, "project", name="below", parent_id=top["id"])
    assert below["parent_id"] == top["id"]
    assert (
        cloud.make(admin, "project", name="beside", parent_id="default")["parent_id"] == "default"
    )
    found = cloud.call("GET", f"/projects?parent_id={top['id']}", admin).json()["projects"]
    assert [each["name"] for each in found] == ["below"]
    found = cloud.call("GET", "/projects?parent_id=default", admin).json()["projects"]
    assert {"top", "beside"} <= {each["name"] for each in found}
    assert cloud.call("DELETE", f"/projects/{top['id']}", admin).status_code == 403
    move = {"project": {"parent_id": "default"}}
    assert cloud.call("PATCH", f"/projects/{below['id']}", admin, json=move).status_code == 400
    for values in ({"parent_id": "f" * 32}, {"domain_id": "f" * 32}):
        answer = cloud.call("POST", "/projects", admin, json={"project": {"name": "x", **values}})
        assert answer.status_code == 400
    for one in (below, top):
        assert cloud.call("DELETE", f"/projects/{one['id']}", admin).status_code == 204


def test_a_domain_goes_with_all_that_is_in_it(cloud: IdentityCloud, admin: str) -> None:
    domain = cloud.make(admin, "domain", name="leaving")["id"]
    top = cloud.make(admin, "project", name="p", domain_id=domain)["id"]
    cloud.make(admin, "project", name="q", domain_id=domain, parent_id=top)
    user = cloud.make(admin, "user", name="u", domain_id=domain)["id"]
    cloud.make(admin, "group", name="g", domain_id=domain)
    role = cloud.named(admin, "role", "member")
    cloud.call("PUT", f"/projects/{top}/users/{user}/roles/{role}", admin)
    path = f"/domains/{domain}"
    assert cloud.call("DELETE", path, admin).status_code == 403
    off = {"domain": {"enabled": False}}
    assert cloud.call("PATCH", path, admin, json=off).status_code == 200
    assert cloud.call("DELETE", path, admin).status_code == 204
    assert cloud.call("GET", f"/users/{user}", admin).status_code == 404
    assert cloud.call("GET", f"/projects/{top}", admin).status_code == 404


@pytest.mark.parametrize("holder", ["user", "group"])
@pytest.mark.parametrize("place", ["project", "domain", "system"])
def test_roles_are_given_and_taken(
    cloud: IdentityCloud, admin: str, holder: str, place: str
) -> None:
    who = cloud.make(admin, holder, name=f"{holder} of {place}")["id"]
    where = "/system"
    if place != "system":
        where = f"/{place}s/{cloud.make(admin, place, name=f'for {holder}')['id']}"
    role = cloud.named(admin, "role", "member")
    every = f"{where}/{holder}s/{who}/roles"
    one = f"{every}/{role}"
    assert cloud.call("HEAD", one, admin).status_code == 404
    for _ in (1, 2):
        assert cloud.call("PUT", one, admin).status_code == 204
    assert cloud.call("HEAD", one, admin).status_code == 204
    assert cloud.call("GET", one, admin).status_code == 204
    assert [each["name"] for each in cloud.call("GET", every, admin).json()["roles"]] == ["member"]
    query = {f"{holder}.id": who, "include_names": "1"}
    (found,) = cloud.call("GET", "/role_assignments", admin, params=query).json()[
        "role_assignments"
    ]
    assert found["role"] == {"id": role, "name": "member"}
    assert found[holder]["name"] == f"{holder} of {place}"
    assert found[holder]["domain"] == {"id": "default", "name": "Default"}
    assert found["links"]["assignment"] == cloud.url + one
    assert list(found["scope"]) == [place]
    assert cloud.call("DELETE", one, admin).status_code == 204
    assert cloud.call("DELETE", one, admin).status_code == 404
    for absent in (f"{every}/nothing", f"{where}/{holder}s/nobody/roles/{role}"):
        for method in ("HEAD", "PUT", "DELETE"):
            assert cloud.call(method, absent, admin).status_code == 404


def test_groups_and_effective_assignments(cloud: IdentityCloud, admin: str) -> None:
    group = cloud.make(admin, "group", name="team")["id"]
    user = cloud.make(admin, "user", name="teammate", password="pw")["id"]
    home = cloud.make(admin, "project", name="teamwork")["id"]
    role = cloud.named(admin, "role", "member")
    membership = f"/groups/{group}/users/{user}"
    assert cloud.call("HEAD", membership, admin).status_code == 404
    for _ in (1, 2):
        assert cloud.call("PUT", membership, admin).status_code == 204
    assert cloud.call("HEAD", membership, admin).status_code == 204
    assert cloud.call("PUT", f"/groups/{group}/users/nobody", admin).status_code == 404
    (found,) = cloud.call("GET", f"/groups/{group}/users", admin).json()["users"]
    assert found["name"] == "teammate"
    (found,) = cloud.call("GET", f"/users/{user}/groups", admin).json()["groups"]
    assert found["name"] == "team"
    cloud.call("PUT", f"/projects/{home}/groups/{group}/roles/{role}", admin)
    token = cloud.token("teammate", project("teamwork"), "pw")
    names = {each["name"] for each in cloud.validate(token, admin).json()["token"]["roles"]}
    assert names == {"member", "reader"}
    query = {"user.id": user, "effective": "", "include_names": ""}
    found = cloud.call("GET", "/role_assignments", admin, params=query).json()["role_assignments"]
    assert {each["role"]["name"] for each in found} == {"member", "reader"}
    for each in found:
        assert each["user"]["id"] == user
        assert each["scope"]["project"]["name"] == "teamwork"
        assert each["links"]["membership"].endswith(membership)
    place = {"scope.project.id": home}
    (found,) = cloud.call("GET", "/role_assignments", admin, params=place).json()[
        "role_assignments"
    ]
    assert found["group"] == {"id": group}
    both = {"user.id": user, "group.id": group}
    assert cloud.call("GET", "/role_assignments", admin, params=both).status_code == 400
    assert cloud.call("DELETE", membership, admin).status_code == 204
    assert cloud.call("DELETE", membership, admin).status_code == 404
    assert cloud.validate(token, admin).status_code == 404


def test_implied_roles(cloud: IdentityCloud, admin: str) -> None:
    member, reader = (cloud.named(admin, "role", name) for name in ("member", "reader"))
    extra = cloud.make(admin, "role", name="helper")["id"]
    path = f"/roles/{member}/implies/{extra}"
    assert cloud.call("HEAD", path, admin).status_code == 404
    made = cloud.call("PUT", path, admin)
    assert made.status_code == 201
    assert made.json()["role_inference"]["implies"]["name"] == "helper"
    assert cloud.call("HEAD", path, admin).status_code == 204
    assert cloud.call("GET", path, admin).json()["role_inference"]["prior_role"]["id"] == member
    implied = cloud.call("GET", f"/roles/{member}/implies", admin).json()["role_inference"][
        "implies"
    ]
    assert {each["id"] for each in implied} == {reader, extra}
    rules = cloud.call("GET", "/role_inferences", admin).json()["role_inferences"]
    assert len(rules) == 3
    token = cloud.validate(cloud.token("demo"), admin).json()["token"]
    assert "helper" in {each["name"] for each in token["roles"]}
    assert cloud.call("PUT", f"/roles/{reader}/implies/{member}", admin).status_code == 400
    assert cloud.call("DELETE", path, admin).status_code == 204
    assert cloud.call("DELETE", path, admin).status_code == 404
    assert cloud.call("DELETE", f"/roles/{extra}", admin).status_code == 204


def test_the_catalog_follows_its_services(cloud: IdentityCloud, admin: str) -> None:
    def urls() -> set[str]:
        login = cloud.login(password("demo"), project("demo")).json()["token"]
        return {e["url"] for entry in login["catalog"] for e in entry["endpoints"]}

    service = cloud.make(admin, "service", type="object-store", name="swift")["id"]
    endpoint = cloud.make(
        admin,
        "endpoint",
        service_id=service,
        interface="public",
        region="RegionTwo",
        url="http://127.0.0.1:1/AUTH_%(tenant_id)s/$(user_id)s",
    )
    assert endpoint["region"] == endpoint["region_id"] == "RegionTwo"
    assert endpoint["enabled"] is True
    assert any("/AUTH_" in url and "(" not in url for url in urls())
    path = f"/endpoints/{endpoint['id']}"
    found = cloud.call("GET", f"/endpoints?service_id={service}&interface=public", admin).json()
    assert [each["id"] for each in found["endpoints"]] == [endpoint["id"]]
    assert (
        cloud.call("GET", "/endpoints?interface=admin&region_id=RegionTwo", admin).json()[
            "endpoints"
        ]
        == []
    )
    assert cloud.call("DELETE", "/regions/RegionTwo", admin).status_code == 403
    change = {"endpoint": {"url": "http://127.0.0.1:2"}}
    assert cloud.call("PATCH", path, admin, json=change).status_code == 200
    assert "http://127.0.0.1:2" in urls()
    off = {"service": {"enabled": False}}
    assert cloud.call("PATCH", f"/services/{service}", admin, json=off).status_code == 200
    assert "http://127.0.0.1:2" not in urls()
    for values in (
        {"service_id": "nothing", "interface": "public", "url": "http://x"},
        {"service_id": service, "interface": "sideways", "url": "http://x"},
        {"service_id": service, "interface": "public", "url": "http://x/$(password)s"},
        {"service_id": service, "interface": "public", "url": "http://x", "region_id": "nowhere"},
    ):
        answer = cloud.call("POST", "/endpoints", admin, json={"endpoint": values})
        assert answer.status_code == 400
    assert cloud.call("DELETE", f"/services/{service}", admin).status_code == 204
    assert cloud.call("GET", path, admin).status_code == 404
    assert cloud.call("DELETE", "/regions/RegionTwo", admin).status_code == 204


def test_regions_form_a_tree(cloud: IdentityCloud, admin: str) -> None:
    cloud.make(admin, "region", id="above")
    cloud.make(admin, "region", id="under", parent_region_id="above")
    found = cloud.call("GET", "/regions?parent_region_id=above", admin).json()["regions"]
    assert [each["id"] for each in found] == ["under"]
    loop = {"region": {"parent_region_id": "under"}}
    assert cloud.call("PATCH", "/regions/above", admin, json=loop).status_code == 400
    orphan = {"region": {"id": "x", "parent_region_id": "nowhere"}}
    assert cloud.call("POST", "/regions", admin, json=orphan).status_code == 404
    assert len(cloud.make(admin, "region")["id"]) == 32
    assert cloud.call("DELETE", "/regions/above", admin).status_code == 204
    assert cloud.call("GET", "/regions/under", admin).status_code == 404


def test_many_at_once_are_one(cloud: IdentityCloud, admin: str) -> None:
    user, home = cloud.make(admin, "user", name="busy")["id"], cloud.named(admin, "project", "demo")
    role = cloud.named(admin, "role", "reader")
    path = f"/projects/{home}/users/{user}/roles/{role}"
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(
                lambda _: cloud.call("POST", "/projects", admin, json={"project": {"name": "one"}}),
                range(8),
            )
        )
        given = list(pool.map(lambda _: cloud.call("PUT", path, admin), range(8)))
    assert sorted(each.status_code for each in made) == [201] + [409] * 7
    assert {each.status_code for each in given} == {204}
    assert (
        len(
            cloud.call("GET", f"/role_assignments?user.id={user}", admin).json()["role_assignments"]
        )
        == 1
    )
