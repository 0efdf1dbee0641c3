"""Lockouts, the audit log, rotation of keys, and what a token costs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from identity import DEFAULT, IdentityCloud, by_token, identity_cloud, password, project
from test_identity_bootstrap import manage

from minicloud.identity.keys import Keys, ensure_keys, rotate
from minicloud.identity.logins import Lockout
from minicloud.kit import clock
from minicloud.kit.db import Database, migrate


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path) as running:
        yield running


def test_failures_lock_a_user_out_for_a_while(tmp_path: Path) -> None:
    with identity_cloud(tmp_path, lockout=Lockout(attempts=3, duration_s=2)) as cloud:

        def login(secret: str | None = None) -> int:
            return int(cloud.login(password("demo", secret), project("demo")).status_code)

        # Good logins end the count.
        for _ in range(2):
            assert [login("wrong"), login("wrong"), login()] == [401, 401, 201]
        # However many try at once, no more passwords are looked at than may be.
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: login("wrong"), range(8)))
        locked_at = clock.now()
        assert answers == [401] * 8
        with cloud.database.read() as tx:
            failed = sa.text("SELECT failed_logins FROM \"user\" WHERE name = 'demo'")
            assert tx.execute(failed).scalar_one() == 3
        assert login() == 401
        assert cloud.login(password("alt_demo"), project("alt_demo")).status_code == 201
        while clock.now() < locked_at + 2:
            time.sleep(0.05)
        assert login() == 201
        for _ in range(3):
            login("wrong")
        assert login() == 401
        admin = cloud.token("admin")
        user = cloud.named(admin, "user", "demo")
        change = {"user": {"password": "other"}}
        assert cloud.call("PATCH", f"/users/{user}", admin, json=change).status_code == 200
        assert login("other") == 201  # an administrator lets the user in again
        immune = {"user": {"options": {"ignore_lockout_failure_attempts": True}}}
        cloud.call("PATCH", f"/users/{user}", admin, json=immune)
        for _ in range(4):
            login("wrong")
        assert login("other") == 201


def test_every_attempt_is_in_the_audit_log(
    cloud: IdentityCloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="minicloud.audit")

    def said(identity: dict[str, Any], scope: Any) -> logging.LogRecord:
        caplog.clear()
        cloud.login(identity, scope)
        (record,) = [each for each in caplog.records if each.name == "minicloud.audit"]
        return record

    good = said(password("demo"), project("demo"))
    assert good.levelname == "INFO"
    assert "by password from 127.0.0.1 for project demo of default" in good.getMessage()
    unknown = {"user": {"name": "nobody", "domain": DEFAULT, "password": "x"}}
    for identity, scope, why in (
        (password("demo", "secret word"), project("demo"), "a wrong password"),
        ({"methods": ["password"], "password": unknown}, None, "no such user"),
        (password("demo"), project("admin"), "no role on the project"),
        (password("demo"), project("nowhere"), "no such project"),
        (by_token("nonsense"), None, "does not hold"),
        ({"methods": ["smell"]}, None, "not known here"),
    ):
        bad = said(identity, scope)
        assert bad.levelname == "WARNING"
        assert why in bad.getMessage()
        assert "secret word" not in bad.getMessage()
    caplog.clear()
    change = {"user": {"original_password": "wrong", "password": "new"}}
    user = cloud.named(cloud.token("admin"), "user", "demo")
    caplog.clear()
    cloud.call("POST", f"/users/{user}/password", json=change)
    assert "a new password" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_gives_nothing_away_but_the_keys(tmp_path: Path) -> None:
    around, stranger = tmp_path / "state", tmp_path / "stranger"
    around.mkdir()
    os.chown(around, 65534, 65534)
    stranger.write_text("root's own")
    directory = around / "keys"
    directory.mkdir()  # as one who was killed here left it
    ensure_keys(directory)
    assert {path.stat().st_uid for path in (directory, *directory.iterdir())} == {65534}
    (directory / ".lock").unlink()
    (directory / ".lock").symlink_to(stranger)
    with pytest.raises(OSError, match="symbolic links"):
        rotate(directory, needed_s=3600)
    assert stranger.stat().st_uid == 0


def test_keys_go_when_nothing_needs_them(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    ensure_keys(directory)
    keys = Keys(directory)

    def there() -> list[str]:
        return sorted(path.name for path in directory.iterdir() if path.name.isdecimal())

    first = keys.seal(b"first")
    rotate(directory, needed_s=3600)
    assert there() == ["0", "1"]
    waiting = Keys(directory).seal(b"x")  # as another controller would
    rotate(directory, needed_s=3600)
    second = keys.seal(b"second")
    assert there() == ["0", "1", "2"]
    for _ in range(3):
        rotate(directory, needed_s=3600)
    assert there() == ["0", "1", "2", "3", "4", "5"]
    assert [keys.open(each) for each in (first, second, waiting)] == [b"first", b"second", b"x"]
    # Key 2 took the place of key 1 long ago, and key 3 that of 2 lately.
    long_ago = clock.now() - 4000
    os.utime(directory / "2", (long_ago, long_ago))
    assert "removed key 1" in rotate(directory, needed_s=3600)
    assert there() == ["0", "2", "3", "4", "5", "6"]
    assert keys.open(first) is None
    assert keys.open(second) == b"second"
    for path in directory.iterdir():
        assert path.name == ".lock" or path.stat().st_mode & 0o777 == 0o600


def test_an_operator_rotates_keys_while_tokens_live(tmp_path: Path) -> None:
    with identity_cloud(tmp_path) as cloud:
        url = cloud.database.engine.url.render_as_string()
        (tmp_path / "identity.conf").write_text(
            f"[database]\nurl = {url}\n[identity]\nkey_dir = {cloud.key_dir}\n"
            f"credential_key_dir = {tmp_path}/credential-keys\n"
        )
        tokens = [cloud.token("demo")]
        demo = cloud.validate(tokens[0], tokens[0]).json()["token"]
        made = cloud.call(
            "POST", f"/users/{demo['user']['id']}/credentials/OS-EC2", tokens[0],
            json={"tenant_id": demo["project"]["id"]},
        ).json()["credential"]  # fmt: skip
        path = f"/users/{demo['user']['id']}/credentials/OS-EC2/{made['access']}"
        for _ in range(3):
            for which in ("tokens", "credentials"):
                done = manage(tmp_path, "keys", "rotate", which)
                assert done.returncode == 0, done.stderr
            tokens.append(cloud.token("demo"))
            for token in tokens:
                assert cloud.validate(token, tokens[-1]).status_code == 200
            assert cloud.call("GET", path, tokens[-1]).json()["credential"] == made
        assert "sealed 1 secrets anew" in done.stdout


def count(cloud: IdentityCloud) -> list[str]:
    seen: list[str] = []

    def note(_c: object, _u: object, statement: str, *_rest: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            seen.append(statement)

    sa.event.listen(cloud.database.engine, "before_cursor_execute", note)
    return seen


def test_lists_take_as_many_queries_however_long(cloud: IdentityCloud) -> None:
    admin = cloud.token("admin")
    user = cloud.named(admin, "user", "admin")
    paths = ("/users", "/projects", "/groups", "/roles", "/role_assignments?include_names",
             "/role_assignments?effective&include_names", "/endpoints", "/limits",
             "/role_inferences", "/auth/projects", f"/users/{user}/application_credentials",
             "/credentials", "/OS-TRUST/trusts", "/projects?tags=a",
             "/OS-FEDERATION/identity_providers", "/OS-OAUTH1/consumers",
             f"/users/{user}/OS-OAUTH1/access_tokens")  # fmt: skip
    seen = count(cloud)

    def counted() -> dict[str, int]:
        found = {}
        for path in paths:
            seen.clear()
            assert cloud.call("GET", path, admin).status_code == 200, path
            found[path] = len(seen)
        return found

    short = counted()
    role = cloud.named(admin, "role", "reader")
    for number in range(5):
        body = {"identity_provider": {"remote_ids": [f"r{number}"]}}
        path = f"/OS-FEDERATION/identity_providers/i{number}"
        assert cloud.call("PUT", path, admin, json=body).status_code == 201
        home = cloud.make(admin, "project", name=f"p{number}", tags=["a"])["id"]
        who = cloud.make(admin, "user", name=f"u{number}")["id"]
        team = cloud.make(admin, "group", name=f"g{number}")["id"]
        cloud.call("PUT", f"/groups/{team}/users/{who}", admin)
        cloud.call("PUT", f"/projects/{home}/groups/{team}/roles/{role}", admin)
        cloud.make(admin, "role", name=f"r{number}")
        body = {"application_credential": {"name": f"a{number}", "access_rules": [
            {"service": "compute", "method": "GET", "path": f"/{number}"}]}}  # fmt: skip
        made = cloud.call("POST", f"/users/{user}/application_credentials", admin, json=body)
        assert made.status_code == 201, made.text
        body = {"credential": {"type": "x", "blob": "x", "user_id": who}}
        assert cloud.call("POST", "/credentials", admin, json=body).status_code == 201
        body = {"consumer": {}}
        assert cloud.call("POST", "/OS-OAUTH1/consumers", admin, json=body).status_code == 201
    longer = counted()
    # Reading the rules of application credentials is one more query, once there are any.
    shorter = f"/users/{user}/application_credentials"
    assert longer.pop(shorter) <= short.pop(shorter) + 2
    assert longer == short
    assert max(longer.values()) <= 12


def test_a_token_is_quick_beyond_its_hash(cloud: IdentityCloud) -> None:
    """The best of some, since the machine may have other work."""
    demo = cloud.token("demo")

    def best(ask: Any) -> float:
        times = []
        for _ in range(20):
            timing = ask().headers["Server-Timing"].rpartition("total;dur=")[2]
            times.append(float(timing))
        return min(times)

    assert best(lambda: cloud.validate(demo, demo, query="?nocatalog")) < 6
    assert best(lambda: cloud.login(by_token(demo), project("demo"))) < 15


def test_what_old_tables_held_is_there_after_the_upgrade(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    migrate.upgrade("identity", database, "0001")
    rows = {
        "role": [{"id": "r1", "name": "admin", "options": "{}", "extra": "{}"},
                 {"id": "r2", "name": "member", "options": "{}", "extra": "{}"}],
        "implied_role": [{"prior_role_id": "r1", "implied_role_id": "r2"}],
        "assignment": [{"id": "a1", "role_id": "r1", "system": True}],
    }  # fmt: skip
    with database.write() as tx:
        for table, values in rows.items():
            names = list(values[0])
            columns = sa.table(table, *(sa.column(name) for name in names))
            tx.execute(columns.insert(), values)
    migrate.upgrade("identity", database)
    with database.read() as tx:
        for table, values in rows.items():
            columns = sa.table(table, *(sa.column(name) for name in values[0]))
            query = sa.select(columns).order_by(sa.column(next(iter(values[0]))))
            assert [dict(row._mapping) for row in tx.execute(query)] == values
    database.close()
