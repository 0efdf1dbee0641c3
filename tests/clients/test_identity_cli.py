"""Identity as the real openstacksdk and the real ``openstack`` command use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openstack
import pytest
from identity import PASSWORDS, IdentityCloud, identity_cloud
from openstack import exceptions
from openstack.connection import Connection

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity")) as running:
        yield running


def connect(
    cloud: IdentityCloud, user: str, *, password: str = "", scope: dict[str, str] | None = None
) -> Connection:
    """``scope``: the user's own project unless it says something else."""
    own = {"project_name": user, "project_domain_id": "default"}
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=cloud.url,
        username=user,
        password=password or PASSWORDS[user],
        user_domain_id="default",
        region_name="RegionOne",
        **(own if scope is None else scope),
    )


@pytest.fixture(scope="module")
def admin(cloud: IdentityCloud) -> Iterator[Connection]:
    with connect(cloud, "admin") as connection:
        yield connection


def test_auth_url_may_leave_the_version_out(cloud: IdentityCloud) -> None:
    with openstack.connect(
        load_yaml_config=False, load_envvars=False, auth_url=cloud.root,
        username="demo", password=PASSWORDS["demo"], user_domain_name="Default",
        project_name="demo", project_domain_name="Default",
    ) as connection:  # fmt: skip
        assert connection.current_project.name == "demo"


def test_projects_users_and_roles(cloud: IdentityCloud, admin: Connection) -> None:
    identity = admin.identity
    project = identity.create_project(name="lab", description="a lab", tags=["x"])
    assert identity.find_project("lab").id == project.id
    assert [each.id for each in identity.projects(name="lab")] == [project.id]
    assert identity.update_project(project, description="another").description == "another"
    user = identity.create_user(
        name="ada", password="pw", email="ada@example.org", default_project_id=project.id
    )
    role = identity.find_role("member")
    identity.assign_project_role_to_user(project, user, role)
    assert identity.validate_user_has_project_role(project, user, role)
    assigned = list(identity.role_assignments(user_id=user.id, include_names=True))
    assert [each.role["name"] for each in assigned] == ["member"]
    with connect(cloud, "ada", password="pw", scope={}) as ada:
        assert ada.current_project_id == project.id
        access = ada.session.auth.get_access(ada.session)
        assert set(access.role_names) == {"member", "reader"}
        with pytest.raises(exceptions.ForbiddenException):
            list(ada.identity.users())
    identity.unassign_project_role_from_user(project, user, role)
    assert not identity.validate_user_has_project_role(project, user, role)
    identity.delete_user(user)
    identity.delete_project(project)
    assert identity.find_project("lab") is None


def test_lists_in_pages_end(admin: Connection) -> None:
    assert len(list(admin.identity.users(limit=1))) == 4
    assert len(list(admin.identity.endpoints(limit=5))) == 18


def test_domains_groups_services_and_regions(admin: Connection) -> None:
    identity = admin.identity
    domain = identity.create_domain(name="elsewhere")
    group = identity.create_group(name="team", domain_id=domain.id)
    assert [each.id for each in identity.groups(domain_id=domain.id)] == [group.id]
    user = identity.create_user(name="bob", domain_id=domain.id)
    identity.add_user_to_group(user, group)
    assert identity.check_user_in_group(user, group)
    with pytest.raises(exceptions.ForbiddenException):
        identity.delete_domain(domain)
    identity.update_domain(domain, is_enabled=False)
    identity.delete_domain(domain)
    region = identity.create_region(id="Two", description="the second")
    service = identity.create_service(type="dns", name="names")
    endpoint = identity.create_endpoint(
        service_id=service.id, interface="public", region_id=region.id, url="http://127.0.0.1:9"
    )
    assert [each.id for each in identity.endpoints(service_id=service.id)] == [endpoint.id]
    assert identity.update_endpoint(endpoint, url="http://127.0.0.1:8").url.endswith(":8")
    with pytest.raises(exceptions.ConflictException):
        identity.create_region(id="Two")
    identity.delete_service(service)
    identity.delete_region(region)


def test_tokens_of_every_kind(cloud: IdentityCloud, admin: Connection) -> None:
    with connect(cloud, "admin", scope={"system_scope": "all"}) as everywhere:
        assert len(list(everywhere.identity.projects())) == 4
    with openstack.connect(
        load_yaml_config=False, load_envvars=False, auth_type="v3token", auth_url=cloud.url,
        token=admin.auth_token, project_name="demo", project_domain_id="default",
    ) as rescoped:  # fmt: skip
        assert rescoped.current_project.name == "demo"
    nobody = connect(cloud, "demo", password="wrong")
    with pytest.raises(exceptions.SDKException, match="requires authentication"):
        nobody.authorize()


def test_the_openstack_command(cloud: IdentityCloud) -> None:
    """As a person runs it, with an account's environment."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "openstack"), "token", "issue", "-f", "json"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "OS_AUTH_URL": cloud.url,
            "OS_USERNAME": "admin",
            "OS_PASSWORD": PASSWORDS["admin"],
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["id"]) < 255
