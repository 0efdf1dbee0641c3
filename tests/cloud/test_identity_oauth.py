"""OAuth 1.0 over HTTP, signed as clients sign: by oauthlib."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
import sqlalchemy as sa
from identity import (
    PASSWORDS,
    IdentityCloud,
    by_token,
    cheap_passwords,
    identity_cloud,
    project,
)
from oauthlib import oauth1

from minicloud.client.identity import Credentials, ServiceSession, TokenValidator
from minicloud.identity import models
from minicloud.identity.keys import Keys, rotate
from minicloud.identity.oauth import Lifetimes
from minicloud.identity.routes import rest_service
from minicloud.identity.sealing import reseal
from minicloud.kit import clock
from minicloud.kit.web import WebServer, build_app

TOP = "/OS-OAUTH1"
ASKED = {"methods": ["oauth1"], "oauth1": {}}


@pytest.fixture(scope="module")
def cloud(
    module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity"), url=module_database_url) as running:
        yield running


class Owner:
    """An administrator who lets consumers act: only those authorize, as in Keystone."""

    def __init__(self, cloud: IdentityCloud) -> None:
        self.cloud = cloud
        self.token = cloud.token("admin")
        shown = cloud.validate(self.token, self.token).json()["token"]
        self.id, self.project = shown["user"]["id"], shown["project"]["id"]


@pytest.fixture(scope="module")
def owner(cloud: IdentityCloud) -> Owner:
    return Owner(cloud)


def new_consumer(owner: Owner, **values: Any) -> Any:
    answer = owner.cloud.call("POST", f"{TOP}/consumers", owner.token, json={"consumer": values})
    assert answer.status_code == 201, answer.text
    return answer.json()["consumer"]


def signed(cloud: IdentityCloud, path: str, client: Any, headers: Any = None) -> dict[str, str]:
    """The headers of a POST as ``client`` signs it."""
    _, made, _ = client.sign(f"{cloud.url}{path}", http_method="POST", headers=headers)
    return dict(made)


def post(cloud: IdentityCloud, path: str, client: Any, **headers: str) -> Any:
    return cloud.call("POST", path, headers=signed(cloud, path, client, headers))


def client_of(consumer: Any, token: Any = None, **more: Any) -> Any:
    if token is not None:
        more |= {"resource_owner_key": token["oauth_token"],
                 "resource_owner_secret": token["oauth_token_secret"]}  # fmt: skip
    return oauth1.Client(consumer["id"], client_secret=consumer["secret"], **more)


def issued(answer: Any) -> dict[str, str]:
    assert answer.status_code == 201, answer.text
    assert answer.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    return {name: values[0] for name, values in parse_qs(answer.text).items()}


def request_token(owner: Owner, consumer: Any, **more: Any) -> dict[str, str]:
    client = client_of(consumer, callback_uri="oob", **more)
    place = {"Requested-Project-Id": owner.project}
    return issued(post(owner.cloud, f"{TOP}/request_token", client, **place))


def authorize(owner: Owner, token: dict[str, str], *roles: Any) -> Any:
    path = f"{TOP}/authorize/{token['oauth_token']}"
    return owner.cloud.call("PUT", path, owner.token, json={"roles": list(roles)})


def exchange(owner: Owner, consumer: Any, token: dict[str, str], verifier: str) -> Any:
    client = client_of(consumer, token, verifier=verifier)
    return post(owner.cloud, f"{TOP}/access_token", client)


def access_token(owner: Owner, consumer: Any, *roles: str) -> dict[str, str]:
    token = request_token(owner, consumer)
    answer = authorize(owner, token, *({"name": each} for each in roles))
    return issued(exchange(owner, consumer, token, answer.json()["token"]["oauth_verifier"]))


def log_in(
    cloud: IdentityCloud, consumer: Any, token: Any, asked: Any = ASKED, scope: Any = None,
    **more: Any,
) -> Any:  # fmt: skip
    path = "/auth/tokens"
    auth = {"identity": asked} if scope is None else {"identity": asked, "scope": scope}
    headers = signed(cloud, path, client_of(consumer, token, **more))
    return cloud.call("POST", path, headers=headers, json={"auth": auth})


def test_the_life_of_a_consumer(cloud: IdentityCloud, owner: Owner) -> None:
    made = new_consumer(owner, description="d", color="red", secret="mine")
    one = f"{TOP}/consumers/{made['id']}"
    secret = made.pop("secret")
    assert (len(secret), secret) != (4, "mine")
    assert made == {"id": made["id"], "description": "d", "color": "red",
                    "links": {"self": f"{cloud.url}{one}"}}  # fmt: skip
    assert cloud.call("GET", one, owner.token).json()["consumer"] == made
    assert made in cloud.call("GET", f"{TOP}/consumers", owner.token).json()["consumers"]
    change = {"consumer": {"description": "e", "size": 1}}
    changed = cloud.call("PATCH", one, owner.token, json=change).json()["consumer"]
    assert (changed["description"], changed["color"], changed["size"]) == ("e", "red", 1)
    for wrong in ({}, {"secret": "x"}, {"id": "other"}, {"description": 1}):
        answer = cloud.call("PATCH", one, owner.token, json={"consumer": wrong})
        assert answer.status_code == 400
    assert new_consumer(owner)["description"] is None
    assert cloud.call("DELETE", one, owner.token).status_code == 204
    for method in ("GET", "DELETE"):
        assert cloud.call(method, one, owner.token).status_code == 404
    assert cloud.call("PATCH", one, owner.token, json=change).status_code == 404


def test_a_consumer_acts_for_a_user(cloud: IdentityCloud, owner: Owner) -> None:
    consumer = new_consumer(owner)
    access = access_token(owner, consumer, "member")
    assert access["oauth_expires_at"].endswith("Z")
    answer = log_in(cloud, consumer, access)
    assert answer.status_code == 201, answer.text
    shown = answer.json()["token"]
    assert shown["user"]["id"] == owner.id
    assert shown["project"]["id"] == owner.project
    assert {role["name"] for role in shown["roles"]} == {"member", "reader"}
    assert shown["methods"] == ["oauth1"]
    place = {"access_token_id": access["oauth_token"], "consumer_id": consumer["id"]}
    assert shown["OS-OAUTH1"] == place
    acting = answer.headers["X-Subject-Token"]
    assert cloud.validate(acting, owner.token).json()["token"]["OS-OAUTH1"] == place
    service = Credentials(
        url=cloud.url, username="minicloud", password=PASSWORDS["minicloud"],
        project_name="service", domain_name="Default",
    )  # fmt: skip
    tokens = TokenValidator(ServiceSession(service), cloud.url, cache_s=0)
    assert tokens.validate(acting).context.delegated
    assert not tokens.validate(owner.token).context.delegated
    # It is for its project, whatever is asked for, and makes nothing more.
    elsewhere = log_in(cloud, consumer, access, scope=project("demo")).json()["token"]
    assert elsewhere["project"]["id"] == owner.project
    assert cloud.login(by_token(acting)).status_code == 403
    tokens = f"/users/{owner.id}/OS-OAUTH1/access_tokens"
    for path in (tokens, f"{tokens}/{access['oauth_token']}", "/credentials"):
        assert cloud.call("GET", path, acting).status_code == 403
    assert cloud.call("DELETE", f"{tokens}/{access['oauth_token']}", owner.token
                      ).status_code == 204  # fmt: skip
    assert cloud.validate(acting, owner.token).status_code == 404
    assert log_in(cloud, consumer, access).status_code == 401


def test_access_tokens_are_shown_without_their_secrets(cloud: IdentityCloud, owner: Owner) -> None:
    consumer = new_consumer(owner)
    access = access_token(owner, consumer, "reader")
    id_ = access["oauth_token"]
    tokens = f"/users/{owner.id}/OS-OAUTH1/access_tokens"
    shown = cloud.call("GET", f"{tokens}/{id_}", owner.token).json()["access_token"]
    assert shown == {
        "id": id_,
        "consumer_id": consumer["id"],
        "project_id": owner.project,
        "authorizing_user_id": owner.id,
        "expires_at": access["oauth_expires_at"],
        "links": {
            "self": f"{cloud.url}{tokens}/{id_}",
            "roles": f"{cloud.url}{tokens}/{id_}/roles",
        },
    }
    listed = cloud.call("GET", tokens, owner.token).json()["access_tokens"]
    assert shown in listed
    (role,) = cloud.call("GET", f"{tokens}/{id_}/roles", owner.token).json()["roles"]
    assert (role["name"], "description" in role) == ("reader", False)
    one = cloud.call("GET", f"{tokens}/{id_}/roles/{role['id']}", owner.token)
    assert one.json()["role"] == role
    other = cloud.named(owner.token, "user", "demo")
    member = cloud.named(owner.token, "role", "member")
    wrong = f"/users/{other}/OS-OAUTH1/access_tokens/{id_}"
    for path in (wrong, f"{wrong}/roles", f"{tokens}/{id_}/roles/{member}", f"{tokens}/none"):
        assert cloud.call("GET", path, owner.token).status_code == 404
    assert cloud.call("DELETE", wrong, owner.token).status_code == 404
    assert cloud.call("GET", f"/users/{other}/OS-OAUTH1/access_tokens", owner.token
                      ).json()["access_tokens"] == []  # fmt: skip
    # With its consumer goes all that it has.
    assert cloud.call("DELETE", f"{TOP}/consumers/{consumer['id']}", owner.token
                      ).status_code == 204  # fmt: skip
    assert cloud.call("GET", f"{tokens}/{id_}", owner.token).status_code == 404


def test_an_access_token_has_no_more_than_its_user(cloud: IdentityCloud, owner: Owner) -> None:
    user = cloud.make(owner.token, "user", name="giver", password="pw")["id"]
    home = cloud.make(owner.token, "project", name="given")["id"]
    admin, reader = (cloud.named(owner.token, "role", name) for name in ("admin", "reader"))
    for role in (admin, reader):
        path = f"/projects/{home}/users/{user}/roles/{role}"
        assert cloud.call("PUT", path, owner.token).status_code == 204
    login = {"methods": ["password"], "password": {"user": {"id": user, "password": "pw"}}}
    giver = Owner(cloud)
    giver.token = cloud.login(login, {"project": {"id": home}}).headers["X-Subject-Token"]
    giver.id, giver.project = user, home
    consumer = new_consumer(owner)
    access = access_token(giver, consumer, "admin", "reader")

    def roles() -> set[str]:
        token = log_in(cloud, consumer, access).json().get("token", {})
        return {role["name"] for role in token.get("roles", ())}

    assert {"admin", "reader"} <= roles()
    acting = log_in(cloud, consumer, access).headers["X-Subject-Token"]
    admins = f"/projects/{home}/users/{user}/roles/{admin}"
    assert cloud.call("DELETE", admins, owner.token).status_code == 204
    assert roles() == {"reader"}
    left = cloud.validate(acting, owner.token).json()["token"]["roles"]
    assert [role["name"] for role in left] == ["reader"]
    readers = f"/projects/{home}/users/{user}/roles/{reader}"
    assert cloud.call("DELETE", readers, owner.token).status_code == 204
    assert log_in(cloud, consumer, access).status_code == 401
    assert cloud.call("PUT", readers, owner.token).status_code == 204
    assert roles() == {"reader"}
    body = {"user": {"enabled": False}}
    assert cloud.call("PATCH", f"/users/{user}", owner.token, json=body).status_code == 200
    assert log_in(cloud, consumer, access).status_code == 401


def test_what_a_request_token_needs(cloud: IdentityCloud, owner: Owner) -> None:
    consumer, path = new_consumer(owner), f"{TOP}/request_token"

    def asked(client: Any, place: str = owner.project) -> int:
        return int(post(cloud, path, client, **{"Requested-Project-Id": place}).status_code)

    good = {"callback_uri": "oob"}
    for method in (oauth1.SIGNATURE_HMAC_SHA256, oauth1.SIGNATURE_HMAC_SHA512,
                   oauth1.SIGNATURE_PLAINTEXT):  # fmt: skip
        assert asked(client_of(consumer, signature_method=method, **good)) == 201
        wrong = {**consumer, "secret": "0" * 32}
        assert asked(client_of(wrong, signature_method=method, **good)) == 401
    stranger = {"id": "0" * 32, "secret": consumer["secret"]}
    late, early = str(int(time.time()) - 700), str(int(time.time()) + 700)
    for client, status in (
        (client_of({**consumer, "secret": "0" * 32}, **good), 401),
        (client_of(stranger, **good), 404),
        (client_of(consumer), 400),
        (client_of(consumer, timestamp=late, **good), 400),
        (client_of(consumer, timestamp=early, **good), 400),
        (client_of(consumer, timestamp="soon", **good), 400),
        (client_of(consumer, nonce="no hex", **good), 400),
        (client_of(consumer, realm="here", **good), 400),
    ):  # fmt: skip
        assert asked(client) == status
    assert asked(client_of(consumer, **good), "nowhere") == 404
    assert asked(client_of(consumer, **good), "n" * 65) == 400
    assert post(cloud, path, client_of(consumer, **good)).status_code == 400
    place = {"Requested-Project-Id": owner.project}
    for header in (None, "", "OAuth", "OAuth x", "Basic YTpi", 'OAuth oauth_nonce="1"',
                   'OAuth oauth_consumer_key="\\xe4"', "OAuth \u00e4=\u00e4"):  # fmt: skip
        headers = place if header is None else {**place, "Authorization": header.encode("latin-1")}
        assert cloud.call("POST", path, headers=headers).status_code in (400, 404)
    rsa = signed(cloud, path, client_of(consumer, **good), place)
    rsa["Authorization"] = rsa["Authorization"].replace("HMAC-SHA1", "RSA-SHA1")
    assert cloud.call("POST", path, headers=rsa).status_code == 400
    changed = signed(cloud, path, client_of(consumer, **good), place)
    assert cloud.call("POST", f"{path}?more=1", headers=changed).status_code == 401
    broken = changed["Authorization"].replace('signature="', 'signature="%C3%A4')
    answer = cloud.call("POST", path, headers={**place, "Authorization": broken})
    assert answer.status_code == 401


def test_what_authorizing_needs(cloud: IdentityCloud, owner: Owner) -> None:
    consumer = new_consumer(owner)
    token = request_token(owner, consumer)
    reader = cloud.named(owner.token, "role", "reader")
    foreign = cloud.make(owner.token, "role", name="foreign to admin")["id"]
    for roles, status in (
        ([{"id": foreign}], 401), ([{"name": "foreign to admin"}], 401), ([{"id": "none"}], 401),
        ([{"name": "none"}], 404), ([{}], 400), ([{"id": reader, "name": "reader"}], 400),
        ([{"id": reader, "more": 1}], 400),
    ):  # fmt: skip
        assert authorize(owner, token, *roles).status_code == status
    body = {"roles": [{"id": reader}]}
    path = f"{TOP}/authorize/{token['oauth_token']}"
    assert cloud.call("PUT", path, owner.token, json={}).status_code == 400
    assert cloud.call("PUT", path, cloud.token("demo"), json=body).status_code == 403
    assert cloud.call("PUT", f"{TOP}/authorize/none", owner.token, json=body).status_code == 404
    trust = {"trustor_user_id": owner.id, "trustee_user_id": owner.id, "impersonation": True,
             "project_id": owner.project, "roles": [{"name": "admin"}]}  # fmt: skip
    made = cloud.call("POST", "/OS-TRUST/trusts", owner.token, json={"trust": trust}).json()[
        "trust"
    ]
    login = {"methods": ["password"], "password": {"user": {
        "id": owner.id, "password": PASSWORDS["admin"]}}}  # fmt: skip
    under = cloud.login(login, {"OS-TRUST:trust": {"id": made["id"]}}).headers["X-Subject-Token"]
    assert cloud.call("PUT", path, under, json=body).status_code == 403
    assert cloud.call("DELETE", f"/OS-TRUST/trusts/{made['id']}", owner.token).status_code == 204
    # Nobody said yes so far.
    assert exchange(owner, consumer, token, "verifier").status_code == 401
    again = [authorize(owner, token, {"id": reader}).json()["token"]["oauth_verifier"]
             for _ in range(2)]  # fmt: skip
    assert exchange(owner, consumer, token, again[0]).status_code == 401
    assert exchange(owner, consumer, token, again[1]).status_code == 201


def test_what_an_access_token_needs(cloud: IdentityCloud, owner: Owner) -> None:
    consumer, other = new_consumer(owner), new_consumer(owner)
    token = request_token(owner, consumer)
    verifier = authorize(owner, token, {"name": "reader"}).json()["token"]["oauth_verifier"]
    wrong = {**token, "oauth_token_secret": "0" * 32}
    for who, what, told, status in (
        (consumer, wrong, verifier, 401), (consumer, token, verifier[::-1] + "x", 401),
        (other, token, verifier, 401), ({**consumer, "secret": "x"}, token, verifier, 401),
        (consumer, {**token, "oauth_token": "0" * 32}, verifier, 404),
    ):  # fmt: skip
        assert exchange(owner, who, what, told).status_code == status
    path = f"{TOP}/access_token"
    assert post(cloud, path, client_of(consumer, verifier=verifier)).status_code == 400
    assert post(cloud, path, client_of(consumer, token)).status_code == 400
    assert cloud.call("POST", path).status_code == 400
    # It is good for one, however many ask at once.
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: exchange(owner, consumer, token, verifier).status_code,
                                range(6)))  # fmt: skip
    assert answers.count(201) == 1
    assert set(answers) <= {201, 401, 404}
    assert exchange(owner, consumer, token, verifier).status_code == 404


def test_a_consumer_goes_while_it_gets_an_access_token(cloud: IdentityCloud, owner: Owner) -> None:
    made = []
    for _ in range(6):
        consumer = new_consumer(owner)
        token = request_token(owner, consumer)
        answer = authorize(owner, token, {"name": "reader"}).json()
        made.append((consumer, token, answer["token"]["oauth_verifier"]))
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(exchange, owner, *each) for each in made]
        gone = [pool.submit(cloud.call, "DELETE", f"{TOP}/consumers/{consumer['id']}", owner.token)
                for consumer, _, _ in made]  # fmt: skip
    assert {each.result().status_code for each in gone} == {204}
    assert {each.result().status_code for each in asked} <= {201, 401, 404}
    left = cloud.call("GET", f"/users/{owner.id}/OS-OAUTH1/access_tokens", owner.token).json()
    consumers = {consumer["id"] for consumer, _, _ in made}
    assert not consumers & {each["consumer_id"] for each in left["access_tokens"]}


def test_what_a_login_needs(
    cloud: IdentityCloud, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    consumer, other = new_consumer(owner), new_consumer(owner)
    access = access_token(owner, consumer, "reader")
    late = str(int(time.time()) - 700)
    for who, what, more, status in (
        (other, access, {}, 401), ({**consumer, "secret": "0" * 32}, access, {}, 401),
        (consumer, {**access, "oauth_token_secret": "0" * 32}, {}, 401),
        (consumer, {**access, "oauth_token": "0" * 32}, {}, 401),
        (consumer, access, {"timestamp": late}, 401), (consumer, None, {}, 400),
    ):  # fmt: skip
        assert log_in(cloud, who, what, **more).status_code == status
    assert log_in(cloud, consumer, access, {"methods": ["oauth1"]}).status_code == 400
    assert cloud.login(ASKED).status_code == 400
    both = {**ASKED, "methods": ["oauth1", "password"], "password": {"user": {
        "name": "demo", "domain": {"id": "default"}, "password": PASSWORDS["demo"]}}}  # fmt: skip
    assert log_in(cloud, consumer, access, both).status_code == 401
    assert log_in(cloud, consumer, access).status_code == 201
    assert "by oauth1 from 127.0.0.1" in caplog.text
    for secret in (consumer["secret"], access["oauth_token_secret"]):
        assert secret not in caplog.text
        if cloud.database.engine.dialect.name == "sqlite":
            path = Path(cloud.database.engine.url.database)
            for part in path.parent.glob(f"{path.name}*"):
                assert secret.encode() not in part.read_bytes()


def test_what_is_signed_is_what_the_client_asked(tmp_path: Path) -> None:
    """Behind a proxy that ends TLS the client signed another scheme than the one that arrives."""
    with identity_cloud(tmp_path) as cloud:
        consumer = new_consumer(Owner(cloud))
        service = rest_service(
            cloud.database,
            key_dir=cloud.key_dir,
            credential_key_dir=tmp_path / "credential-keys",
            token_lifetime_s=3600,
            passwords=cheap_passwords(),
            public_url="https://elsewhere:5000",
        )
        web = WebServer(build_app(service), host="127.0.0.1", port=0)
        web.start()
        try:
            here = "{}:{}/v3{}/request_token".format(*web.address, TOP)
            place = {"Requested-Project-Id": cloud.named(cloud.token("admin"), "project", "demo")}
            for scheme, status in (("https", 201), ("http", 401)):
                client = client_of(consumer, callback_uri="oob")
                _, headers, _ = client.sign(f"{scheme}://{here}", http_method="POST", headers=place)
                answer = requests.post(f"http://{here}", headers=headers, timeout=60)
                assert answer.status_code == status
        finally:
            web.stop()


def test_secrets_are_sealed_anew_when_keys_change(tmp_path: Path) -> None:
    with identity_cloud(tmp_path) as cloud:
        owner = Owner(cloud)
        consumer = new_consumer(owner)
        access, asked = access_token(owner, consumer, "reader"), request_token(owner, consumer)
        verifier = authorize(owner, asked, {"name": "reader"}).json()["token"]["oauth_verifier"]
        directory = tmp_path / "credential-keys"
        for _ in range(3):
            rotate(directory, needed_s=3600)
            assert reseal(cloud.database, Keys(directory)) == 4
            newest = max(int(path.name) for path in directory.glob("[0-9]*"))
            for path in directory.glob("[1-9]*"):
                if path.name != str(newest):
                    path.unlink()
            assert log_in(cloud, consumer, access).status_code == 201
        assert exchange(owner, consumer, asked, verifier).status_code == 201


def test_tokens_of_oauth_expire(cloud: IdentityCloud, owner: Owner) -> None:
    consumer = new_consumer(owner)
    first, second = request_token(owner, consumer), request_token(owner, consumer)
    verifier = authorize(owner, first, {"name": "reader"}).json()["token"]["oauth_verifier"]
    access = access_token(owner, consumer, "reader")
    acting = log_in(cloud, consumer, access)
    assert acting.json()["token"]["expires_at"] < access["oauth_expires_at"]
    soon = clock.now() + 600
    with cloud.database.write() as tx:
        tx.execute(models.oauth_request_token.update().values(expires_at=1.0))
        tx.execute(models.oauth_access_token.update().values(expires_at=soon))
    assert authorize(owner, second, {"name": "reader"}).status_code == 401
    assert exchange(owner, consumer, first, verifier).status_code == 401
    # A token lives no longer than what it was made with.
    short = log_in(cloud, consumer, access).json()["token"]["expires_at"]
    assert clock.parse(short) == pytest.approx(soon, abs=0.001)
    with cloud.database.write() as tx:
        tx.execute(models.oauth_access_token.update().values(expires_at=1.0))
    assert log_in(cloud, consumer, access).status_code == 401
    # Nothing that has expired is kept.
    request_token(owner, consumer)
    access_token(owner, consumer, "reader")
    with cloud.database.read() as tx:
        for table in (models.oauth_request_token, models.oauth_access_token):
            ends = tx.execute(sa.select(table.c.expires_at)).scalars().all()
            assert [end for end in ends if end < clock.now()] == []


def test_tokens_of_oauth_last_for_ever_where_that_is_configured(tmp_path: Path) -> None:
    lifetimes = Lifetimes(request_s=0, access_s=0)
    with identity_cloud(tmp_path, oauth_lifetimes=lifetimes) as cloud:
        owner = Owner(cloud)
        consumer = new_consumer(owner)
        assert "oauth_expires_at" not in request_token(owner, consumer)
        access = access_token(owner, consumer, "reader")
        assert "oauth_expires_at" not in access
        assert log_in(cloud, consumer, access).status_code == 201
        shown = cloud.call("GET", f"/users/{owner.id}/OS-OAUTH1/access_tokens", owner.token)
        assert [each["expires_at"] for each in shown.json()["access_tokens"]] == [None]
