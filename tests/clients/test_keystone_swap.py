"""A real Keystone in the place of minicloud's identity, by configuration alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keystone
import openstack
import pytest
import requests
from clients.conftest import CONFIG, LiveCloud
from openstack.connection import Connection
from test_killed_daemons import kill

from minicloud.conf.web import PORTS

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(900)]

DAEMONS = ("image", "network", "volume", "api", "scheduler", "conductor", "compute")
SERVICE_PASSWORD = "service-pw"
DEMO_PASSWORD = "demo-pw"
SERVICES = (
    ("compute", "nova", "http://127.0.0.1:8774/v2.1"),
    ("image", "glance", "http://127.0.0.1:9292"),
    ("network", "neutron", "http://127.0.0.1:9696"),
    ("block-storage", "cinder", "http://127.0.0.1:8776/v3/$(project_id)s"),
    ("volumev3", "cinderv3", "http://127.0.0.1:8776/v3/$(project_id)s"),
)


def connect(url: str, user: str, password: str, project: str) -> Connection:
    return openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=url,
        username=user,
        password=password,
        project_name=project,
        user_domain_name="Default",
        project_domain_name="Default",
        region_name=keystone.REGION,
    )


def fill(admin: Connection) -> None:
    """What minicloud needs of a Keystone: a service user, the catalog, and here somebody to try."""
    identity = admin.identity
    roles = {role.name: role for role in identity.roles()}
    for name, password, project, role in (
        ("minicloud", SERVICE_PASSWORD, "service", "service"),
        ("demo", DEMO_PASSWORD, "demo", "member"),
    ):
        home = identity.create_project(name=project, domain_id="default")
        user = identity.create_user(name=name, password=password, domain_id="default")
        identity.assign_project_role_to_user(home, user, roles[role])
    for kind, name, url in SERVICES:
        service = identity.create_service(type=kind, name=name)
        identity.create_endpoint(
            service_id=service.id, interface="public", url=url, region_id=keystone.REGION
        )


def until(condition: Callable[[], Any], limit_s: float = 240) -> Any:
    give_up_at = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < give_up_at, "it took too long"
        time.sleep(0.2)
    return found


def restart(openstack_url: str, user: str, password: str, project: str) -> None:
    """Every daemon but identity anew, until each of them takes this identity's tokens."""
    for daemon in DAEMONS:
        kill(daemon)

    def ready() -> bool:
        try:
            token = connect(openstack_url, user, password, project).auth_token
            for daemon, path in (("api", "/v2.1/flavors"), ("image", "/v2/images"),
                                 ("network", "/v2.0/networks")):  # fmt: skip
                answer = requests.get(
                    f"http://127.0.0.1:{PORTS[daemon]}{path}",
                    headers={"X-Auth-Token": token},
                    timeout=30,
                )
                if answer.status_code != 200:
                    return False
        except requests.RequestException:
            return False
        return True

    until(ready)


@contextlib.contextmanager
def taken_over(url: str) -> Iterator[None]:
    """The daemons' configuration names another identity, for the length of the block."""
    path = CONFIG / "minicloud.conf"
    before = path.read_text()
    path.write_text(f"{before}\n[auth]\nurl = {url}\npassword = {SERVICE_PASSWORD}\n")
    try:
        restart(url, "demo", DEMO_PASSWORD, "demo")
        yield
    finally:
        path.write_text(before)
        live = openstack.config.OpenStackConfig(config_files=[str(CONFIG / "clouds.yaml")])
        auth = live.get_one("minicloud").config["auth"]
        restart(auth["auth_url"], auth["username"], auth["password"], auth["project_name"])


def test_a_server_is_launched_with_a_real_keystone(
    live_cloud: LiveCloud, tmp_path: Path, record_property: Any
) -> None:
    if problem := keystone.install():
        pytest.skip(problem)
    with keystone.keystone(tmp_path) as url:
        with connect(url, "admin", keystone.ADMIN, "admin") as admin:
            fill(admin)
        with taken_over(url), connect(url, "demo", DEMO_PASSWORD, "demo") as demo:
            network = demo.network.create_network(name="swapped")
            demo.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.77.0.0/24")
            volume = demo.block_storage.create_volume(size=1, name="swapped")
            image = demo.image.find_image("tiny", ignore_missing=False)
            flavor = demo.compute.find_flavor("m1.nano", ignore_missing=False)
            server = demo.compute.create_server(
                name="swapped", image_id=image.id, flavor_id=flavor.id,
                networks=[{"uuid": network.id}],
            )  # fmt: skip
            try:
                server = demo.compute.wait_for_server(server, wait=300)
                assert server.status == "ACTIVE"
                assert server.project_id == demo.current_project_id
                (address,) = server.addresses["swapped"]
                assert address["addr"].startswith("10.77.0.")
                # Identity's part of the launch is recorded as with minicloud's own.
                (action,) = demo.compute.server_actions(server)
                events = demo.compute.get_server_action(action.request_id, server).events
                assert {f"step_{n:02}" for n in (4, 5, 20, 23)} <= {e.event[:7] for e in events}
                # A token that Keystone revokes is refused once the services ask again.
                other = connect(url, "demo", DEMO_PASSWORD, "demo")
                token = other.auth_token
                demo.session.delete(
                    f"{url}/auth/tokens", headers={"X-Subject-Token": token}
                ).raise_for_status()
                refused = requests.get(
                    f"http://127.0.0.1:{PORTS['api']}/v2.1/servers",
                    headers={"X-Auth-Token": token},
                    timeout=30,
                )
                assert refused.status_code == 401
            finally:
                demo.compute.delete_server(server)
                demo.compute.wait_for_delete(server, wait=120)
                demo.block_storage.delete_volume(volume)
                demo.network.delete_network(network)
    # minicloud's own identity is in its place again.
    assert isinstance(live_cloud.openstack_json("server", "list"), list)
