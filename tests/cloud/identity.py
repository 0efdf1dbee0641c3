"""Identity on a free loopback port, bootstrapped, for tests that talk HTTP to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from minicloud.identity.bootstrap import Accounts, bootstrap, catalog_of
from minicloud.identity.keys import ensure_keys
from minicloud.identity.logins import NO_LOCKOUT, Lockout
from minicloud.identity.oauth import LIFETIMES, Lifetimes
from minicloud.identity.passwords import Passwords
from minicloud.identity.routes import rest_service
from minicloud.kit.db import Database, migrate
from minicloud.kit.web import WebServer, build_app

PASSWORDS = {"admin": "admin-pw", "demo": "demo-pw", "alt_demo": "alt-pw", "minicloud": "svc-pw"}
_HOMES = {"minicloud": "service"}
ACCOUNTS = Accounts(
    admin=PASSWORDS["admin"],
    demo=PASSWORDS["demo"],
    alt_demo=PASSWORDS["alt_demo"],
    services={"minicloud": PASSWORDS["minicloud"]},
)
DEFAULT = {"id": "default"}


def cheap_passwords() -> Passwords:
    return Passwords(memory_kib=1024, time_cost=1)


def password(name: str, secret: str | None = None) -> dict[str, Any]:
    """The identity part of a login."""
    user = {"name": name, "domain": DEFAULT, "password": secret or PASSWORDS[name]}
    return {"methods": ["password"], "password": {"user": user}}


def by_token(sealed: str) -> dict[str, Any]:
    return {"methods": ["token"], "token": {"id": sealed}}


def project(name: str) -> dict[str, Any]:
    return {"project": {"name": name, "domain": DEFAULT}}


class IdentityCloud:
    """A running identity and a client's view of it."""

    def __init__(self, web: WebServer, database: Database, key_dir: Path) -> None:
        self.root = "http://{}:{}".format(*web.address)
        self.url = f"{self.root}/v3"
        self.stop = web.stop
        self.database = database
        self.key_dir = key_dir

    def call(self, method: str, path: str, token: str | None = None, **arguments: Any) -> Any:
        headers = {} if token is None else {"X-Auth-Token": token}
        headers.update(arguments.pop("headers", {}))
        return requests.request(method, self.url + path, headers=headers, timeout=60, **arguments)

    def login(self, identity: dict[str, Any], scope: Any = None, query: str = "") -> Any:
        """The whole answer to POST /auth/tokens."""
        auth = {"identity": identity} if scope is None else {"identity": identity, "scope": scope}
        return self.call("POST", f"/auth/tokens{query}", json={"auth": auth})

    def token(self, name: str, scope: Any = None, secret: str | None = None) -> str:
        """A token of one of the first users on its own project, or on ``scope``."""
        wanted = project(_HOMES.get(name, name)) if scope is None else scope
        answer = self.login(password(name, secret), wanted)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def validate(self, subject: str, token: str, method: str = "GET", query: str = "") -> Any:
        return self.call(
            method, f"/auth/tokens{query}", token, headers={"X-Subject-Token": subject}
        )

    def make(self, token: str, noun: str, **values: Any) -> dict[str, Any]:
        """A new object."""
        answer = self.call("POST", f"/{noun}s", token, json={noun: values})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()[noun]
        return made

    def named(self, token: str, noun: str, name: str) -> str:
        """The id of the one object with this name."""
        answer = self.call("GET", f"/{noun}s", token, params={"name": name})
        (found,) = answer.json()[f"{noun}s"]
        return str(found["id"])


@contextlib.contextmanager
def identity_cloud(
    directory: Path,
    *,
    url: str | None = None,
    lifetime_s: float = 3600,
    lockout: Lockout = NO_LOCKOUT,
    oauth_lifetimes: Lifetimes = LIFETIMES,
) -> Iterator[IdentityCloud]:
    """Identity with its tables and keys below ``directory``, and a catalog that names itself."""
    database = Database(url or f"sqlite:///{directory / 'identity.sqlite'}")
    migrate.upgrade("identity", database)
    keys, credential_keys = directory / "keys", directory / "credential-keys"
    ensure_keys(keys)
    ensure_keys(credential_keys)
    passwords = cheap_passwords()
    service = rest_service(
        database,
        key_dir=keys,
        credential_key_dir=credential_keys,
        token_lifetime_s=lifetime_s,
        passwords=passwords,
        lockout=lockout,
        oauth_lifetimes=oauth_lifetimes,
    )
    web = WebServer(build_app(service), host="127.0.0.1", port=0)
    web.start()
    here = "{}:{}".format(*web.address)
    catalog = [
        type(entry)(entry.type, entry.name, entry.url.replace("127.0.0.1:5000", here))
        for entry in catalog_of("127.0.0.1")
    ]
    bootstrap(database, passwords, accounts=ACCOUNTS, catalog=catalog, region="RegionOne")
    try:
        yield IdentityCloud(web, database, keys)
    finally:
        web.stop()
        database.close()
