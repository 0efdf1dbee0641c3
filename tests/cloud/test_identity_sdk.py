"""Every method of openstacksdk's identity proxy against identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from identity import PASSWORDS, IdentityCloud, identity_cloud

openstack = pytest.importorskip("openstack")
from openstack.identity.v3 import _proxy  # noqa: E402 - the package may not be there

pytestmark = pytest.mark.clients
RULES = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "SUB"}]}]


class Recorder:
    """The proxy, remembering which of its methods were called."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.called.add(name)
        return getattr(self._proxy, name)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity")) as running:
        yield running


@pytest.fixture(scope="module")
def identity(cloud: IdentityCloud) -> Iterator[Recorder]:
    with openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=cloud.url,
        username="admin",
        password=PASSWORDS["admin"],
        user_domain_id="default",
        project_name="admin",
        project_domain_id="default",
        region_name="RegionOne",
    ) as connection:
        yield Recorder(connection.identity)


NOUNS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("domain", "domains", {"name": "d", "is_enabled": False}, {"description": "x"}),
    ("project", "projects", {"name": "p", "tags": ["a"]}, {"description": "x"}),
    ("user", "users", {"name": "u", "password": "pw"}, {"email": "u@x"}),
    ("group", "groups", {"name": "g"}, {"description": "x"}),
    ("role", "roles", {"name": "r"}, {"description": "x"}),
    ("region", "regions", {"id": "Three"}, {"description": "x"}),
    ("service", "services", {"type": "dns", "name": "s"}, {"description": "x"}),
    ("policy", "policies", {"type": "x", "blob": "x"}, {"blob": "y"}),
    ("identity_provider", "identity_providers", {"id": "i", "remote_ids": ["a"]},
     {"is_enabled": True, "remote_ids": ["b"]}),
    ("mapping", "mappings", {"id": "m", "rules": RULES}, {"rules": [RULES[0], RULES[0]]}),
    ("service_provider", "service_providers",
     {"id": "s", "auth_url": "http://x", "sp_url": "http://y"}, {"sp_url": "http://z"}),
]  # fmt: skip


@pytest.mark.parametrize(("noun", "plural", "new", "change"), NOUNS, ids=[n[0] for n in NOUNS])
def test_a_noun(
    identity: Recorder, noun: str, plural: str, new: dict[str, Any], change: dict[str, Any]
) -> None:
    def call(verb: str, *arguments: Any, **values: Any) -> Any:
        return getattr(identity, f"{verb}_{noun}")(*arguments, **values)

    made = call("create", **new)
    assert call("get", made.id).id == made.id
    assert call("find", made.id, ignore_missing=False).id == made.id
    if "name" in new:
        assert call("find", new["name"], ignore_missing=False).id == made.id
    assert made.id in {each.id for each in getattr(identity, plural)()}
    changed = call("update", made, **change)
    assert {key: getattr(changed, key) for key in change} == change
    call("delete", made, ignore_missing=False)
    assert made.id not in {each.id for each in getattr(identity, plural)()}


def test_endpoints_and_their_groups(identity: Recorder) -> None:
    service = identity.create_service(type="dns", name="dns")
    project = identity.create_project(name="with endpoints")
    made = identity.create_endpoint(service_id=service.id, interface="public", url="http://x")
    assert identity.update_endpoint(made, url="http://y").url == "http://y"
    assert identity.get_endpoint(made.id).url == "http://y"
    assert identity.find_endpoint(made.id).id == made.id
    assert [e.id for e in identity.endpoints(service_id=service.id)] == [made.id]
    identity.associate_endpoint_with_project(project, made)
    assert [e.id for e in identity.project_endpoints(project)] == [made.id]
    assert [p.id for p in identity.endpoint_projects(made)] == [project.id]
    identity.disassociate_endpoint_from_project(project, made)
    assert list(identity.project_endpoints(project)) == []

    group = identity.create_endpoint_group(name="g", filters={"service_id": service.id})
    assert identity.get_endpoint_group(group.id).name == "g"
    assert identity.find_endpoint_group("g").id == group.id
    assert [g.id for g in identity.endpoint_groups()] == [group.id]
    assert identity.update_endpoint_group(group, description="x").description == "x"
    assert [e.id for e in identity.endpoint_group_endpoints(group)] == [made.id]
    identity.associate_project_with_endpoint_group(group, project)
    assert [g.id for g in identity.project_endpoint_groups(project)] == [group.id]
    assert [p.id for p in identity.endpoint_group_projects(group)] == [project.id]
    identity.disassociate_project_from_endpoint_group(group, project)
    identity.delete_endpoint_group(group, ignore_missing=False)
    identity.delete_endpoint(made, ignore_missing=False)
    identity.delete_project(project)
    identity.delete_service(service)


def test_people_and_grants(identity: Recorder, cloud: IdentityCloud) -> None:
    project = identity.create_project(name="granted")
    domain = identity.create_domain(name="granted", is_enabled=False)
    user = identity.create_user(name="grantee", password="pw")
    group = identity.create_group(name="grantees")
    role = identity.find_role("reader")
    identity.add_user_to_group(user, group)
    assert identity.check_user_in_group(user, group)
    assert [g.id for g in identity.user_groups(user)] == [group.id]
    assert [u.id for u in identity.group_users(group)] == [user.id]
    for place, where in (("project", (project,)), ("domain", (domain,)), ("system", ())):
        for holder, who in (("user", user), ("group", group)):
            said = [*where, who, role] if where else [who, role, "all"]
            getattr(identity, f"assign_{place}_role_to_{holder}")(*said)
            assert getattr(identity, f"validate_{holder}_has_{place}_role")(*said)
    assert [p.id for p in identity.user_projects(user)] == [project.id]
    assert len(list(identity.role_assignments(user_id=user.id))) == 3
    found = identity.role_assignments_filter(project=project, user=user)
    assert [each.id for each in found] == [role.id]
    for place, where in (("project", (project,)), ("domain", (domain,)), ("system", ())):
        for holder, who in (("user", user), ("group", group)):
            said = [*where, who, role] if where else [who, role, "all"]
            getattr(identity, f"unassign_{place}_role_from_{holder}")(*said)
            assert not getattr(identity, f"validate_{holder}_has_{place}_role")(*said)
    identity.remove_user_from_group(user, group)
    assert not identity.check_user_in_group(user, group)
    identity.update_password(user, "pw", "new")
    assert cloud.login({"methods": ["password"],
                        "password": {"user": {"id": user.id, "password": "new"}}}
                       ).status_code == 201  # fmt: skip
    config = identity.create_domain_config(domain, ldap={"url": "ldap://x"})
    assert config.ldap.url == "ldap://x"
    changed = identity.update_domain_config(domain, ldap={"url": "ldap://y"})
    assert changed.ldap.url == "ldap://y"
    assert identity.get_domain_config(domain).ldap.url == "ldap://y"
    identity.delete_domain_config(domain, ignore_missing=False)
    for noun, one in (("user", user), ("group", group), ("project", project), ("domain", domain)):
        getattr(identity, f"delete_{noun}")(one)


def test_tokens_and_what_users_delegate(identity: Recorder, cloud: IdentityCloud) -> None:
    token = cloud.token("demo")
    assert identity.check_token(token)
    assert identity.validate_token(token).user["name"] == "demo"
    identity.revoke_token(token)
    assert not identity.check_token(token)

    me = identity.find_user("admin")
    rule = {"service": "compute", "method": "GET", "path": "/x"}
    made = identity.create_application_credential(me, "robot", access_rules=[rule])
    assert len(made.secret) > 40
    assert identity.get_application_credential(me, made.id).name == "robot"
    assert identity.find_application_credential(me, "robot").id == made.id
    assert [a.id for a in identity.application_credentials(me)] == [made.id]
    identity.delete_application_credential(me, made, ignore_missing=False)
    (kept,) = identity.access_rules(me)
    assert identity.get_access_rule(me, kept.id).path == "/x"
    identity.delete_access_rule(me, kept, ignore_missing=False)
    assert list(identity.access_rules(me)) == []

    home, demo = identity.find_project("admin"), identity.find_user("demo")
    trust = identity.create_trust(
        trustor_user_id=me.id, trustee_user_id=demo.id, project_id=home.id,
        is_impersonation=True, roles=[{"name": "reader"}],
    )  # fmt: skip
    assert identity.get_trust(trust.id).is_impersonation
    assert identity.find_trust(trust.id).id == trust.id
    assert [t.id for t in identity.trusts()] == [trust.id]
    identity.delete_trust(trust, ignore_missing=False)

    stored = identity.create_credential(user_id=me.id, type="x", blob="x", project_id=home.id)
    assert identity.get_credential(stored.id).blob == "x"
    assert identity.find_credential(stored.id).id == stored.id
    assert [c.id for c in identity.credentials(type="x")] == [stored.id]
    assert identity.update_credential(stored, blob="y").blob == "y"
    identity.delete_credential(stored, ignore_missing=False)


def test_protocols_of_identity_providers(identity: Recorder) -> None:
    provider = identity.create_identity_provider(id="with protocols", is_enabled=True)
    mapping = identity.create_mapping(id="first", rules=RULES)
    second = identity.create_mapping(id="second", rules=RULES)
    made = identity.create_federation_protocol(provider, id="openid", mapping_id=mapping.id)
    assert made.id == "openid"
    assert identity.get_federation_protocol(provider, "openid").mapping_id == "first"
    assert identity.find_federation_protocol(provider, "openid").id == "openid"
    assert [p.id for p in identity.federation_protocols(provider)] == ["openid"]
    changed = identity.update_federation_protocol(provider, "openid", mapping_id=second.id)
    assert changed.mapping_id == "second"
    identity.delete_federation_protocol(provider, "openid", ignore_missing=False)
    assert list(identity.federation_protocols(provider)) == []
    identity.delete_identity_provider(provider)
    for each in (mapping, second):
        identity.delete_mapping(each)


def test_limits(identity: Recorder) -> None:
    service, project = identity.create_service(type="x", name="x"), identity.find_project("demo")
    place = {"service_id": service.id, "resource_name": "things"}
    registered = identity.create_registered_limit(**place, default_limit=1)
    assert identity.get_registered_limit(registered.id).default_limit == 1
    assert [r.id for r in identity.registered_limits(service_id=service.id)] == [registered.id]
    assert identity.update_registered_limit(registered, default_limit=2).default_limit == 2
    limit = identity.create_limit(**place, project_id=project.id, resource_limit=3)
    assert identity.get_limit(limit.id).resource_limit == 3
    assert [each.id for each in identity.limits(project_id=project.id)] == [limit.id]
    assert identity.update_limit(limit, resource_limit=4).resource_limit == 4
    identity.delete_limit(limit, ignore_missing=False)
    identity.delete_registered_limit(registered, ignore_missing=False)
    identity.delete_service(service)


def test_no_method_was_left_out(identity: Recorder) -> None:
    """The last test: what those above called covers the proxy."""
    every = {
        name
        for name, method in vars(_proxy.Proxy).items()
        if callable(method) and not name.startswith("_") and not name.startswith("wait_for")
    }
    assert every - identity.called == set()
