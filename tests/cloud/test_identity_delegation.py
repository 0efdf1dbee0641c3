"""What users delegate: application credentials with their access rules, trusts, and EC2 keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from identity import PASSWORDS, IdentityCloud, by_token, identity_cloud, password, project
from werkzeug.datastructures import Headers

from minicloud.client.identity import Credentials, ServiceSession, TokenValidator
from minicloud.kit import clock
from minicloud.kit.policy import Policy
from minicloud.kit.web import Call, Route, Service, WebServer, build_app, dialects

ec2 = pytest.importorskip("keystoneclient.contrib.ec2.utils")


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path) as running:
        yield running


@pytest.fixture
def admin(cloud: IdentityCloud) -> str:
    return cloud.token("admin")


class Person:
    """The demo user, or another, with its token and ids."""

    def __init__(self, cloud: IdentityCloud, name: str = "demo") -> None:
        self.cloud = cloud
        self.token = cloud.token(name)
        shown = cloud.validate(self.token, self.token).json()["token"]
        self.id: str = shown["user"]["id"]
        self.project: str = shown["project"]["id"]

    def credential(self, name: str = "robot", token: str = "", **values: Any) -> Any:
        return self.cloud.call(
            "POST", f"/users/{self.id}/application_credentials", token or self.token,
            json={"application_credential": {"name": name, **values}},
        )  # fmt: skip

    def trust(self, trustee: str, token: str = "", **values: Any) -> Any:
        body = {"trustor_user_id": self.id, "trustee_user_id": trustee, "impersonation": False,
                "project_id": self.project, "roles": [{"name": "reader"}], **values}  # fmt: skip
        return self.cloud.call("POST", "/OS-TRUST/trusts", token or self.token,
                               json={"trust": body})  # fmt: skip


def by_credential(credential: dict[str, Any], secret: str = "") -> dict[str, Any]:
    shown = {"id": credential["id"], "secret": secret or credential["secret"]}
    return {"methods": ["application_credential"], "application_credential": shown}


def roles(answer: Any) -> set[str]:
    return {role["name"] for role in answer.json()["token"]["roles"]}


# -- application credentials ----------------------------------------------------------------------
def test_the_life_of_an_application_credential(cloud: IdentityCloud) -> None:
    demo = Person(cloud)
    answer = demo.credential(description="nightly")
    assert answer.status_code == 201, answer.text
    made = answer.json()["application_credential"]
    assert {role["name"] for role in made["roles"]} == {"member", "reader"}
    assert (made["project_id"], made["unrestricted"]) == (demo.project, False)
    assert made["expires_at"] is None
    path = f"/users/{demo.id}/application_credentials"
    assert made["links"]["self"] == f"{cloud.url}{path}/{made['id']}"
    shown = cloud.call("GET", f"{path}/{made['id']}", demo.token).json()["application_credential"]
    assert shown == {key: value for key, value in made.items() if key != "secret"}
    assert cloud.call("GET", path, demo.token).json()["application_credentials"] == [shown]
    assert cloud.call("GET", f"{path}?name=x", demo.token).json()["application_credentials"] == []
    assert demo.credential().status_code == 409

    login = cloud.login(by_credential(made))
    assert login.status_code == 201, login.text
    token = login.json()["token"]
    assert token["methods"] == ["application_credential"]
    assert token["project"]["id"] == demo.project
    assert token["application_credential"] == {"id": made["id"], "name": "robot",
                                               "restricted": True}  # fmt: skip
    assert roles(login) == {"member", "reader"}
    subject = login.headers["X-Subject-Token"]
    assert cloud.validate(subject, subject).json()["token"] == token
    named = {"name": "robot", "secret": made["secret"],
             "user": {"name": "demo", "domain": {"id": "default"}}}  # fmt: skip
    by_name = {"methods": ["application_credential"], "application_credential": named}
    assert cloud.login(by_name).status_code == 201
    assert cloud.login(by_credential(made, "wrong")).status_code == 401
    assert cloud.login(by_credential(made), project("demo")).status_code == 401
    assert cloud.login(by_token(subject), project("demo")).status_code == 403

    assert cloud.call("DELETE", f"{path}/{made['id']}", demo.token).status_code == 204
    assert cloud.call("DELETE", f"{path}/{made['id']}", demo.token).status_code == 404
    assert cloud.login(by_credential(made)).status_code == 401
    assert cloud.validate(subject, demo.token).status_code == 404


def test_an_application_credential_has_no_more_than_its_maker(
    cloud: IdentityCloud, admin: str
) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")
    less = demo.credential(roles=[{"name": "reader"}]).json()["application_credential"]
    login = cloud.login(by_credential(less))
    assert roles(login) == {"reader"}
    token = login.headers["X-Subject-Token"]
    assert demo.credential("a", roles=[{"name": "admin"}]).status_code == 400
    assert demo.credential("a", roles=[{}]).status_code == 400
    other = f"/users/{demo.id}/application_credentials"
    body = {"application_credential": {"name": "x"}}
    for who in (alt.token, admin):
        assert cloud.call("POST", other, who, json=body).status_code == 403
    assert cloud.call("GET", other, alt.token).status_code == 403
    # A restricted one makes no others, an unrestricted one does, with what it has itself.
    assert demo.credential("b", token=token).status_code == 403
    assert cloud.call("DELETE", f"{other}/{less['id']}", token).status_code == 403
    open_ = demo.credential("open", unrestricted=True, roles=[{"name": "reader"}])
    free = cloud.login(by_credential(open_.json()["application_credential"]))
    assert free.json()["token"]["application_credential"]["restricted"] is False
    free_token = free.headers["X-Subject-Token"]
    assert demo.credential("c", token=free_token).status_code == 201
    assert demo.credential("d", token=free_token, roles=[{"name": "member"}]).status_code == 400
    # A role that the user loses ends what was made of it.
    member = cloud.named(admin, "role", "member")
    whole = demo.credential("whole").json()["application_credential"]
    place = f"/projects/{demo.project}/users/{demo.id}/roles/{member}"
    assert cloud.call("DELETE", place, admin).status_code == 204
    assert cloud.login(by_credential(whole)).status_code == 401
    assert cloud.validate(token, admin).status_code == 200
    off = {"user": {"enabled": False}}
    assert cloud.call("PATCH", f"/users/{demo.id}", admin, json=off).status_code == 200
    assert cloud.login(by_credential(less)).status_code == 401
    assert cloud.validate(token, admin).status_code == 404


def test_an_application_credential_ends(cloud: IdentityCloud) -> None:
    demo = Person(cloud)
    for wrong in ("2001-01-01T00:00:00Z", "soon", "9999-12-31T23:59:59-20:00", ""):
        assert demo.credential(expires_at=wrong).status_code == 400
    end = clock.now() + 2
    made = demo.credential(expires_at=clock.iso_micro(end)).json()["application_credential"]
    assert clock.parse(made["expires_at"]) == pytest.approx(end, abs=0.001)
    login = cloud.login(by_credential(made))
    assert login.status_code == 201
    assert clock.parse(login.json()["token"]["expires_at"]) == pytest.approx(end, abs=0.001)
    while clock.now() < end:
        time.sleep(0.05)
    assert cloud.login(by_credential(made)).status_code == 401
    assert cloud.validate(login.headers["X-Subject-Token"], demo.token).status_code == 404


RULES = [
    {"service": "compute", "method": "GET", "path": "/v2.1/servers/{id}"},
    {"service": "compute", "method": "POST", "path": "/v2.1/**"},
    {"service": "identity", "method": "GET", "path": "/v3/projects/*"},
]


def test_access_rules_are_kept_and_shared(cloud: IdentityCloud) -> None:
    demo = Person(cloud)
    made = demo.credential(access_rules=RULES).json()["application_credential"]
    shown = [{k: v for k, v in rule.items() if k != "id"} for rule in made["access_rules"]]
    assert sorted(map(str, shown)) == sorted(map(str, RULES))
    rules = f"/users/{demo.id}/access_rules"
    every = cloud.call("GET", rules, demo.token).json()["access_rules"]
    assert len(every) == 3
    only = cloud.call("GET", f"{rules}?service=identity", demo.token).json()["access_rules"]
    assert [each["path"] for each in only] == ["/v3/projects/*"]
    one = f"{rules}/{only[0]['id']}"
    assert cloud.call("GET", one, demo.token).json() == {"access_rule": only[0]}
    again = demo.credential("again", access_rules=[{"id": only[0]["id"]}, RULES[0]])
    assert again.status_code == 201
    assert len(cloud.call("GET", rules, demo.token).json()["access_rules"]) == 3
    assert cloud.call("DELETE", one, demo.token).status_code == 403
    for credential in (made, again.json()["application_credential"]):
        path = f"/users/{demo.id}/application_credentials/{credential['id']}"
        assert cloud.call("DELETE", path, demo.token).status_code == 204
    assert cloud.call("DELETE", one, demo.token).status_code == 204
    assert cloud.call("GET", one, demo.token).status_code == 404
    for wrong in ([{"id": "f" * 32}], [{"service": "compute"}],
                  [{**RULES[0], "method": "LOOK"}], [{**RULES[0], "path": "servers"}]):  # fmt: skip
        assert demo.credential("wrong", access_rules=wrong).status_code in (400, 404)


def test_access_rules_are_obeyed_by_every_service(cloud: IdentityCloud, admin: str) -> None:
    demo = Person(cloud)
    made = demo.credential(access_rules=RULES).json()["application_credential"]
    token = cloud.login(by_credential(made)).headers["X-Subject-Token"]
    # Identity obeys them itself,
    assert cloud.call("GET", f"/projects/{demo.project}", token).status_code == 200
    assert cloud.call("GET", f"/users/{demo.id}", token).status_code == 401
    # shows the token to nobody who would not,
    assert cloud.validate(token, admin).status_code == 404
    headers = {"X-Subject-Token": token, "OpenStack-Identity-Access-Rules": "1"}
    shown = cloud.call("GET", "/auth/tokens", admin, headers=headers)
    assert shown.status_code == 200
    assert len(shown.json()["token"]["application_credential"]["access_rules"]) == 3
    # and a service that asks obeys them.
    session = ServiceSession(
        Credentials(url=cloud.url, username="minicloud", password=PASSWORDS["minicloud"],
                    project_name="service", domain_name="Default")
    )  # fmt: skip
    validator = TokenValidator(session, cloud.url, cache_s=60)

    def answer(call: Call) -> dict[str, str]:
        return {"user": call.ctx.user_name}

    service = Service(
        name="compute",
        routes=[
            Route(method=method, path=f"/v2.1/{path}", handler=answer, policy="any")
            for method, path in (("GET", "servers/{id}"), ("DELETE", "servers/{id}"),
                                 ("GET", "servers"), ("POST", "servers/{id}/action"))
        ],
        policy=Policy({}),
        dialect=dialects.nova,
        authenticate=validator.authenticate,
        catalog_types=frozenset({"compute"}),
    )  # fmt: skip
    web = WebServer(build_app(service), host="127.0.0.1", port=0)
    web.start()
    try:
        url = "http://{}:{}/v2.1/servers".format(*web.address)

        def status(method: str, path: str, **more: str) -> int:
            headers = {"X-Auth-Token": token, **more}
            return requests.request(method, url + path, headers=headers, timeout=60).status_code

        assert status("GET", "/a") == 200
        assert status("POST", "/a/action") == 200
        assert status("GET", "") == 401
        assert status("DELETE", "/a") == 401
        # What a service does for the user is not what the user asks.
        assert status("GET", "", **{"X-Service-Token": session.token()}) == 200
    finally:
        web.stop()
    ctx = validator.authenticate(Headers({"X-Auth-Token": token}), {}, "req-1")
    assert [rule.service for rule in ctx.access_rules or ()].count("compute") == 2


# -- trusts ---------------------------------------------------------------------------------------
def test_the_life_of_a_trust(cloud: IdentityCloud, admin: str) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")
    answer = demo.trust(alt.id)
    assert answer.status_code == 201, answer.text
    trust = answer.json()["trust"]
    assert [role["name"] for role in trust["roles"]] == ["reader"]
    assert (trust["redelegation_count"], trust["remaining_uses"]) == (0, None)
    path = f"/OS-TRUST/trusts/{trust['id']}"
    for who in (demo.token, alt.token, admin):
        assert cloud.call("GET", path, who).json()["trust"]["id"] == trust["id"]
    nobody = cloud.token("minicloud")
    assert cloud.call("GET", path, nobody).status_code == 403
    assert cloud.call("GET", "/OS-TRUST/trusts/nothing", nobody).status_code == 404
    role = trust["roles"][0]["id"]
    listed = cloud.call("GET", f"{path}/roles", alt.token).json()["roles"]
    assert [each["id"] for each in listed] == [role]
    assert cloud.call("GET", f"{path}/roles/{role}", alt.token).json()["role"]["id"] == role
    assert cloud.call("HEAD", f"{path}/roles/{role}", alt.token).status_code == 200
    assert cloud.call("GET", f"{path}/roles/x", alt.token).status_code == 404

    def listed_by(token: str, query: str) -> Any:
        return cloud.call("GET", f"/OS-TRUST/trusts{query}", token)

    (found,) = listed_by(demo.token, f"?trustor_user_id={demo.id}").json()["trusts"]
    assert found["id"] == trust["id"]
    assert "roles" not in found
    assert len(listed_by(alt.token, f"?trustee_user_id={alt.id}").json()["trusts"]) == 1
    assert listed_by(alt.token, f"?trustor_user_id={demo.id}").status_code == 403
    assert listed_by(demo.token, "").status_code == 403
    assert len(listed_by(admin, "").json()["trusts"]) == 1
    assert cloud.call("DELETE", path, alt.token).status_code == 403

    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    assert cloud.login(password("demo"), scope).status_code == 403
    login = cloud.login(password("alt_demo"), scope)
    assert login.status_code == 201, login.text
    token = login.json()["token"]
    assert token["user"]["id"] == alt.id
    assert token["project"]["id"] == demo.project
    assert roles(login) == {"reader"}
    assert token["OS-TRUST:trust"] == {
        "id": trust["id"], "impersonation": False,
        "trustor_user": {"id": demo.id}, "trustee_user": {"id": alt.id},
    }  # fmt: skip
    subject = login.headers["X-Subject-Token"]
    assert cloud.validate(subject, alt.token).json()["token"] == token
    assert cloud.login(by_token(subject), project("alt_demo")).status_code == 403
    assert cloud.call("DELETE", path, demo.token).status_code == 204
    assert cloud.validate(subject, admin).status_code == 404
    assert cloud.login(password("alt_demo"), scope).status_code == 401


def test_a_trustee_may_be_the_trustor(cloud: IdentityCloud, admin: str) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")
    trust = demo.trust(alt.id, impersonation=True, remaining_uses=2).json()["trust"]
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    logins = [cloud.login(password("alt_demo"), scope) for _ in range(2)]
    assert [each.status_code for each in logins] == [201, 201]
    assert cloud.login(password("alt_demo"), scope).status_code == 403
    token = logins[0].json()["token"]
    assert (token["user"]["id"], token["OS-TRUST:trust"]["impersonation"]) == (demo.id, True)
    subject = logins[0].headers["X-Subject-Token"]
    assert cloud.validate(subject, subject).status_code == 200
    # Neither a credential nor a password is within a trust's reach.
    body = {"application_credential": {"name": "x"}}
    path = f"/users/{demo.id}/application_credentials"
    assert cloud.call("POST", path, subject, json=body).status_code == 403
    assert cloud.call("GET", "/credentials", subject).status_code == 403
    assert cloud.call("DELETE", f"/users/{demo.id}/tokens", subject).status_code == 403
    # The trustee's changed password ends it, and so does the trustor's.
    change = {"user": {"password": "another"}}
    cloud.call("PATCH", f"/users/{alt.id}", admin, json=change)
    assert cloud.validate(subject, admin).status_code == 404


def test_what_a_trust_needs(cloud: IdentityCloud, admin: str) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")
    assert demo.trust("f" * 32).status_code == 404
    assert demo.trust(alt.id, roles=[]).status_code == 403
    assert demo.trust(alt.id, roles=[{"name": "admin"}]).status_code == 404
    assert demo.trust(alt.id, roles=[{}]).status_code == 400
    assert demo.trust(alt.id, trustor_user_id=alt.id).status_code == 403
    assert demo.trust(alt.id, expires_at="2001-01-01T00:00:00.000000Z").status_code == 400
    assert demo.trust(alt.id, remaining_uses=0).status_code == 400
    assert demo.trust(alt.id, project_id="f" * 32).status_code == 404
    trust = demo.trust(alt.id, roles=[{"name": "member"}]).json()["trust"]
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    token = cloud.login(password("alt_demo"), scope).headers["X-Subject-Token"]
    assert cloud.validate(token, admin).status_code == 200
    member = cloud.named(admin, "role", "member")
    place = f"/projects/{demo.project}/users/{demo.id}/roles/{member}"
    assert cloud.call("DELETE", place, admin).status_code == 204
    assert cloud.validate(token, admin).status_code == 404
    assert cloud.login(password("alt_demo"), scope).status_code == 401


def test_a_trust_is_passed_on_with_no_more_than_it_was(cloud: IdentityCloud, admin: str) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")
    third = cloud.make(admin, "user", name="third", password="pw")["id"]
    closed = demo.trust(alt.id).json()["trust"]
    scope = {"OS-TRUST:trust": {"id": closed["id"]}}
    token = cloud.login(password("alt_demo"), scope).headers["X-Subject-Token"]
    assert alt.trust(third, token, project_id=demo.project).status_code == 403

    first = demo.trust(alt.id, allow_redelegation=True, redelegation_count=1,
                       roles=[{"name": "member"}]).json()["trust"]  # fmt: skip
    scope = {"OS-TRUST:trust": {"id": first["id"]}}
    token = cloud.login(password("alt_demo"), scope).headers["X-Subject-Token"]
    values = {"project_id": demo.project, "trustor_user_id": alt.id}
    assert alt.trust(third, token, **values, impersonation=True).status_code == 403
    assert alt.trust(third, token, **values, roles=[{"name": "admin"}]).status_code == 404
    second = alt.trust(third, token, **values, roles=[{"name": "reader"}])
    assert second.status_code == 201, second.text
    trust = second.json()["trust"]
    assert trust["redelegated_trust_id"] == first["id"]
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    login = cloud.login(password("third", "pw"), scope)
    assert login.status_code == 201, login.text
    assert roles(login) == {"reader"}
    path = f"/OS-TRUST/trusts/{first['id']}"
    assert cloud.call("DELETE", path, demo.token).status_code == 204
    assert cloud.validate(login.headers["X-Subject-Token"], admin).status_code == 404


# -- EC2 keys -------------------------------------------------------------------------------------
def ec2_key(cloud: IdentityCloud, who: Person) -> dict[str, Any]:
    answer = cloud.call("POST", f"/users/{who.id}/credentials/OS-EC2", who.token,
                        json={"tenant_id": who.project})  # fmt: skip
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["credential"]
    return made


def test_the_life_of_an_ec2_key(cloud: IdentityCloud, admin: str) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")
    key = ec2_key(cloud, demo)
    assert key["tenant_id"] == demo.project
    keys = f"/users/{demo.id}/credentials/OS-EC2"
    one = f"{keys}/{key['access']}"
    assert cloud.call("GET", one, demo.token).json()["credential"] == key
    assert cloud.call("GET", keys, demo.token).json()["credentials"] == [key]
    for path in (keys, one):
        assert cloud.call("GET", path, alt.token).status_code == 403
        assert cloud.call("GET", path, admin).status_code == 200
    wrong = f"/users/{alt.id}/credentials/OS-EC2/{key['access']}"
    assert cloud.call("GET", wrong, admin).status_code == 404
    (stored,) = cloud.call("GET", "/credentials", demo.token).json()["credentials"]
    assert stored["type"] == "ec2"
    assert key["secret"] in stored["blob"]
    assert cloud.call("GET", "/credentials", alt.token).json()["credentials"] == []
    assert key["secret"].encode() not in Path(cloud.database.engine.url.database).read_bytes()
    assert cloud.call("DELETE", one, alt.token).status_code == 403
    assert cloud.call("DELETE", one, demo.token).status_code == 204
    for who in (demo.token, admin):
        assert cloud.call("GET", one, who).status_code == 404


def request_signed_4(key: dict[str, Any], at: float) -> dict[str, Any]:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
    scope = f"{stamp[:8]}/RegionOne/ec2/aws4_request"
    given = "SignedHeaders=host;x-amz-date"
    asked = {
        "access": key["access"], "host": "cloud:8788", "verb": "POST", "path": "/",
        "params": {"Action": "DescribeInstances"},
        "headers": {
            "Host": "cloud:8788", "X-Amz-Date": stamp,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={key['access']}/{scope}, {given}, "
                             "Signature=x",
        },
        "body_hash": hashlib.sha256(b"Action=DescribeInstances").hexdigest(),
    }  # fmt: skip
    return {**asked, "signature": ec2.Ec2Signer(key["secret"]).generate({**asked})}


def request_signed_2(key: dict[str, Any], at: float) -> dict[str, Any]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    asked = {
        "access": key["access"], "host": "cloud:8788", "verb": "GET", "path": "/services/Cloud",
        "params": {"Action": "Describe It", "SignatureVersion": "2", "Timestamp": stamp,
                   "SignatureMethod": "HmacSHA256", "AWSAccessKeyId": key["access"]},
    }  # fmt: skip
    return {**asked, "signature": ec2.Ec2Signer(key["secret"]).generate({**asked})}


@pytest.mark.parametrize("signed", [request_signed_2, request_signed_4])
def test_a_signed_request_gets_its_users_token(
    cloud: IdentityCloud, admin: str, signed: Any
) -> None:
    demo = Person(cloud)
    key, service = ec2_key(cloud, demo), cloud.token("minicloud")

    def ask(asked: dict[str, Any], token: str | None = service) -> Any:
        return cloud.call("POST", "/ec2tokens", token, json={"credentials": asked})

    good = signed(key, clock.now())
    answer = ask(good)
    assert answer.status_code == 200, answer.text
    token = answer.json()["token"]
    assert (token["user"]["id"], token["project"]["id"]) == (demo.id, demo.project)
    assert token["methods"] == ["ec2credential"]
    assert roles(answer) == {"member", "reader"}
    subject = answer.headers["X-Subject-Token"]
    assert cloud.validate(subject, admin).status_code == 200
    assert cloud.login(by_token(subject), project("demo")).status_code == 403
    assert cloud.call("GET", "/credentials", subject).status_code == 403
    assert ask(good, None).status_code == 401
    assert ask(good, demo.token).status_code == 403
    refused = [
        {**good, "signature": "x"},
        {**good, "path": "/elsewhere"},
        {**good, "access": "nobody"},
        {**good, "params": {**good["params"], "SignatureVersion": "1"}},
        signed(key, clock.now() - 3600),
        signed({**key, "secret": "other"}, clock.now()),
    ]
    assert [ask(each).status_code for each in refused] == [401] * len(refused)
    assert cloud.call("POST", "/ec2tokens", service, json={}).status_code == 400
    path = f"/users/{demo.id}/credentials/OS-EC2/{key['access']}"
    assert cloud.call("DELETE", path, demo.token).status_code == 204
    assert ask(good).status_code == 401


def test_a_request_to_s3_gets_its_users_token(cloud: IdentityCloud) -> None:
    demo = Person(cloud)
    key, service = ec2_key(cloud, demo), cloud.token("minicloud")
    text = b"GET\n\n\nThu, 01 Jan 2026 00:00:00 GMT\n/bucket"
    digest = hmac.new(key["secret"].encode(), text, hashlib.sha1).digest()
    good = {
        "access": key["access"],
        "token": base64.urlsafe_b64encode(text).decode(),
        "signature": base64.b64encode(digest).decode(),
    }
    answer = cloud.call("POST", "/s3tokens", service, json={"credentials": good})
    assert answer.status_code == 200, answer.text
    assert answer.json()["token"]["user"]["id"] == demo.id
    for wrong in ({**good, "signature": "x"}, {**good, "token": "*"}, {**good, "token": ""}):
        refused = cloud.call("POST", "/s3tokens", service, json={"credentials": wrong})
        assert refused.status_code == 401


def test_credentials_of_any_kind(cloud: IdentityCloud, admin: str) -> None:
    demo, alt = Person(cloud), Person(cloud, "alt_demo")

    def create(token: str, **values: Any) -> Any:
        body = {"type": "cert", "blob": "{}", "user_id": demo.id, **values}
        return cloud.call("POST", "/credentials", token, json={"credential": body})

    made = create(demo.token, project_id=demo.project).json()["credential"]
    one = f"/credentials/{made['id']}"
    assert create(demo.token, user_id=alt.id).status_code == 403
    assert create(admin, user_id="f" * 32).status_code == 400
    assert create(admin, project_id="f" * 32).status_code == 400
    assert create(demo.token, type="ec2", blob="{}").status_code == 400
    assert create(demo.token, type="ec2", blob='{"access": "a", "secret": "b"}').status_code == 400
    key = create(demo.token, type="ec2", blob='{"access": "a", "secret": "b"}',
                 project_id=demo.project)  # fmt: skip
    assert key.json()["credential"]["id"] == hashlib.sha256(b"a").hexdigest()
    path = f"/credentials/{key.json()['credential']['id']}"
    for wrong in ({"blob": "{}"}, {"type": "cert"}, {"project_id": None}):
        change = {"credential": wrong}
        assert cloud.call("PATCH", path, demo.token, json=change).status_code == 400
    change = {"credential": {"blob": '{"access": "z", "secret": "y"}'}}
    assert cloud.call("PATCH", path, demo.token, json=change).status_code == 200
    keys = f"/users/{demo.id}/credentials/OS-EC2"
    assert cloud.call("GET", f"{keys}/a", demo.token).status_code == 404
    assert cloud.call("GET", f"{keys}/z", demo.token).json()["credential"]["secret"] == "y"
    assert cloud.call("DELETE", f"{keys}/z", demo.token).status_code == 204
    change = {"credential": {"blob": "new", "user_id": alt.id}}
    assert cloud.call("PATCH", one, demo.token, json=change).status_code == 403
    assert cloud.call("PATCH", one, admin, json=change).json()["credential"]["blob"] == "new"
    assert cloud.call("GET", one, demo.token).status_code == 403
    assert cloud.call("GET", one, alt.token).status_code == 200
    listed = cloud.call("GET", "/credentials?type=cert", admin).json()["credentials"]
    assert [each["id"] for each in listed] == [made["id"]]
    assert cloud.call("DELETE", one, alt.token).status_code == 204
    assert cloud.call("DELETE", one, admin).status_code == 404
