"""minicloud's own client of identity against identity: what every other service relies on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from identity import PASSWORDS, IdentityCloud, identity_cloud
from werkzeug.datastructures import Headers

from minicloud.client.identity import Credentials, ServiceSession, TokenValidator
from minicloud.domain.errors import Unauthenticated


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path) as running:
        yield running


@pytest.fixture
def session(cloud: IdentityCloud) -> ServiceSession:
    return ServiceSession(
        Credentials(
            url=cloud.url,
            username="minicloud",
            password=PASSWORDS["minicloud"],
            project_name="service",
            domain_name="Default",
            region="RegionOne",
        )
    )


def test_a_service_finds_the_others(cloud: IdentityCloud, session: ServiceSession) -> None:
    assert session.endpoint("identity") == cloud.url
    assert session.endpoint("image").endswith(":9292")
    assert "$(" not in session.endpoint("block-storage")


def test_a_service_knows_its_caller(cloud: IdentityCloud, session: ServiceSession) -> None:
    validator = TokenValidator(session, cloud.url, cache_s=60)
    token = cloud.token("demo")
    timings: dict[str, float] = {}
    headers = Headers({"X-Auth-Token": token, "X-Service-Token": session.token()})
    ctx = validator.authenticate(headers, timings, "req-1")
    assert (ctx.user_name, ctx.project_name, ctx.user_domain_id) == ("demo", "demo", "default")
    assert ctx.roles == ["member", "reader"]
    assert ctx.service_roles == ["service"]
    assert timings["token"] > 0
    facts = validator.validate(token)
    assert facts.issue_ms is not None
    assert facts.issue_ms > 0
    assert facts.expires_at - facts.issued_at == pytest.approx(3600, abs=0.001)
    with pytest.raises(Unauthenticated):
        validator.validate("gAAAAnonsense")


def test_a_services_token_is_renewed_when_identity_takes_it_no_more(
    cloud: IdentityCloud, session: ServiceSession
) -> None:
    validator = TokenValidator(session, cloud.url, cache_s=0)
    mine = session.token()
    assert cloud.validate(mine, mine, "DELETE").status_code == 204
    assert validator.validate(cloud.token("demo")).context.user_name == "demo"
    assert session.token() != mine
