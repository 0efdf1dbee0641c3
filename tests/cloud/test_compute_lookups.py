"""What the API asks of the image and the network service, against both running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import msgspec
import pytest
from image import ImageCloud, image_cloud
from network import NetworkCloud, network_cloud
from tokens import CALLERS, DEMO

from minicloud.api.lookups import RestLookups, usable_image
from minicloud.client.identity import ServiceSession
from minicloud.client.rest import new_session
from minicloud.domain.ids import new_id

DEMO_CALLER = msgspec.structs.replace(CALLERS["demo"], token="demo")
ALT_CALLER = msgspec.structs.replace(CALLERS["alt"], token="alt")


class Session:
    """As ``ServiceSession``: the service's token, and a catalog of two services."""

    def __init__(self, endpoints: dict[str, str]) -> None:
        self._endpoints = endpoints
        self.http = new_session()

    def token(self) -> str:
        return "service"

    def endpoint(self, service_type: str) -> str:
        return self._endpoints[service_type]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageCloud]:
    with image_cloud(tmp_path_factory.mktemp("image")) as running:
        yield running


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetworkCloud]:
    with network_cloud(tmp_path_factory.mktemp("network")) as running:
        yield running


@pytest.fixture(params=["", "/v2.0"], ids=["bare", "versioned"])
def lookups(
    image: ImageCloud, network: NetworkCloud, request: pytest.FixtureRequest
) -> RestLookups:
    """With the network's endpoint as catalogs give it, with or without the version."""
    session = Session({"image": image.url, "network": network.url + request.param})
    return RestLookups(cast("ServiceSession", session))


def test_images(lookups: RestLookups, image: ImageCloud) -> None:
    image_id = image.create(name="tiny", min_ram=64)["id"]
    found = usable_image(lookups, DEMO_CALLER, image_id)
    assert found is not None
    assert (found.name, found.min_ram) == ("tiny", 64)
    assert usable_image(lookups, DEMO_CALLER, new_id()) is None
    assert usable_image(lookups, ALT_CALLER, image_id) is None


def test_networks_ports_and_groups(lookups: RestLookups, network: NetworkCloud) -> None:
    network_id = network.network()
    bare = network.make("network", name="bare")["id"]
    known = {n.id: n for n in lookups.networks(DEMO_CALLER)}
    assert known[network_id].has_subnets
    assert not known[bare].has_subnets
    assert known[network_id].project_id == DEMO
    assert [n.id for n in lookups.networks(DEMO_CALLER, [network_id])] == [network_id]
    assert network_id not in {n.id for n in lookups.networks(ALT_CALLER)}
    port = network.make("port", network_id=network_id)
    (found,) = lookups.ports(DEMO_CALLER, [port["id"]])
    assert (found.network_id, found.device_id, found.mac) == (network_id, "", port["mac_address"])
    assert found.fixed_ips[0]["ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert lookups.ports(ALT_CALLER, [port["id"]]) == []
    assert lookups.ports_of_server(DEMO_CALLER, new_id()) == []
    names = {group["id"]: group["name"] for group in lookups.groups_of_project(DEMO_CALLER)}
    assert "default" in names.values()
    (group,) = lookups.security_groups(DEMO_CALLER, found.security_groups)
    assert names[group["id"]] == group["name"]


def test_mtus(lookups: RestLookups, network: NetworkCloud) -> None:
    network_id = network.network()
    assert lookups.mtus([network_id, new_id()]) == {network_id: 1450}
    assert lookups.mtus([]) == {}
