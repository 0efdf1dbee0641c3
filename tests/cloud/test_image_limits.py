"""Image quotas out of identity's limits, both services as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from identity import PASSWORDS, IdentityCloud, identity_cloud
from image import ImageCloud, image_cloud

from minicloud.client.identity import Credentials, ServiceSession, TokenValidator
from minicloud.client.limits import ServiceLimits
from minicloud.image.quotas import RESOURCES

REGION = "RegionOne"
MIB = 1024**2


@pytest.fixture
def identity(tmp_path: Path) -> Iterator[IdentityCloud]:
    (tmp_path / "identity").mkdir()
    with identity_cloud(tmp_path / "identity") as cloud:
        yield cloud


@pytest.fixture
def images(tmp_path: Path, identity: IdentityCloud) -> Iterator[ImageCloud]:
    """The image service, with identity's tokens and limits."""
    session = ServiceSession(
        Credentials(
            url=identity.url,
            username="minicloud",
            password=PASSWORDS["minicloud"],
            project_name="service",
            domain_name="Default",
            region=REGION,
        )
    )
    limits = ServiceLimits(
        session, identity.url, service_type="image", region=REGION, resources=RESOURCES
    )
    tokens = TokenValidator(session, identity.url, cache_s=60)
    with image_cloud(tmp_path, quotas=limits.of, authenticate=tokens.authenticate) as cloud:
        yield cloud


class Limits:
    """An administrator's view of the limits of the service image."""

    def __init__(self, identity: IdentityCloud) -> None:
        self._identity = identity
        self._admin = identity.token("admin")
        answer = identity.call("GET", "/services?type=image", self._admin).json()
        self._service = answer["services"][0]["id"]

    def register(self, name: str, limit: int, region: str | None = REGION) -> str:
        place = {"service_id": self._service, "region_id": region, "resource_name": name}
        return self._make("registered_limits", {**place, "default_limit": limit})

    def refine(self, name: str, limit: int, project: str) -> str:
        place = {"service_id": self._service, "region_id": REGION, "resource_name": name}
        project_id = self._identity.named(self._admin, "project", project)
        return self._make("limits", {**place, "resource_limit": limit, "project_id": project_id})

    def delete(self, path: str) -> None:
        assert self._identity.call("DELETE", path, self._admin).status_code == 204

    def _make(self, noun: str, values: dict[str, Any]) -> str:
        answer = self._identity.call("POST", f"/{noun}", self._admin, json={noun: [values]})
        assert answer.status_code == 201, answer.text
        return f"/{noun}/{answer.json()[noun][0]['id']}"


def test_limits_of_identity_are_enforced(identity: IdentityCloud, images: ImageCloud) -> None:
    limits, demo, alt = Limits(identity), identity.token("demo"), identity.token("alt_demo")

    def create(token: str) -> int:
        return int(images.call("POST", "/v2/images", token, json={}).status_code)

    def usage(token: str) -> dict[str, int]:
        answer = images.call("GET", "/v2/info/usage", token).json()["usage"]
        return {name: each["limit"] for name, each in answer.items()}

    # Of what is not registered nobody may have anything.
    assert create(demo) == 413
    assert usage(demo) == dict.fromkeys(RESOURCES, 0)
    for name in RESOURCES:
        limits.register(name, -1)
    assert create(demo) == 201
    one = limits.refine("image_count_total", 2, "demo")
    assert [create(demo) for _ in range(2)] == [201, 413]
    assert (usage(demo)["image_count_total"], usage(alt)["image_count_total"]) == (2, -1)
    assert create(alt) == 201
    limits.delete(one)
    assert create(demo) == 201

    limits.refine("image_size_total", 1, "demo")
    image = images.create(demo, disk_format="raw")["id"]
    assert images.upload(image, b"\x01" * (MIB + 1), demo).status_code == 413
    assert images.upload(image, b"\x01" * MIB, demo).status_code == 204


def test_a_limit_of_no_region_holds_where_the_region_has_none(
    identity: IdentityCloud, images: ImageCloud
) -> None:
    limits, demo = Limits(identity), identity.token("demo")
    limits.register("image_count_total", 1, None)
    assert images.call("POST", "/v2/images", demo, json={}).status_code == 201
    assert images.call("POST", "/v2/images", demo, json={}).status_code == 413
    limits.register("image_count_total", 2)
    assert images.call("POST", "/v2/images", demo, json={}).status_code == 201
    assert images.call("POST", "/v2/images", demo, json={}).status_code == 413


def test_nothing_is_made_while_identity_is_away(
    identity: IdentityCloud, images: ImageCloud
) -> None:
    demo = identity.token("demo")
    assert images.call("GET", "/v2/images", demo).status_code == 200
    identity.stop()
    assert images.call("GET", "/v2/images", demo).status_code == 200  # a token it knows
    assert images.call("POST", "/v2/images", demo, json={}).status_code == 503
