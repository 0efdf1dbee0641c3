"""The first content of identity, and minicloud-manage as an operator runs it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from identity import ACCOUNTS, PASSWORDS, cheap_passwords, identity_cloud, password, project

from minicloud.identity.bootstrap import bootstrap, catalog_of
from minicloud.identity.keys import Keys, ensure_keys
from minicloud.kit.db import Database

REPOSITORY = Path(__file__).parents[2]


def again(database: Database, **changed: str) -> list[str]:
    accounts = msgspec.structs.replace(ACCOUNTS, **changed)
    return bootstrap(
        database,
        cheap_passwords(),
        accounts=accounts,
        catalog=catalog_of("127.0.0.1"),
        region="RegionOne",
    )


def test_again_changes_only_what_differs(tmp_path: Path) -> None:
    with identity_cloud(tmp_path) as cloud:
        again(cloud.database)  # the harness had another port
        assert again(cloud.database) == []
        before, bystander = cloud.token("demo"), cloud.token("alt_demo")
        assert again(cloud.database, demo="new") == ["set another password for user demo"]
        service = cloud.token("minicloud")
        assert cloud.validate(before, service).status_code == 404
        assert cloud.validate(bystander, service).status_code == 200
        assert cloud.login(password("demo"), project("demo")).status_code == 401
        assert cloud.login(password("demo", "new"), project("demo")).status_code == 201
        roles = cloud.validate(service, service).json()["token"]["roles"]
        assert [each["name"] for each in roles] == ["service"]


def test_tokens_and_validation_need_few_queries(tmp_path: Path) -> None:
    with identity_cloud(tmp_path) as cloud:
        token = cloud.token("demo")
        cloud.validate(token, token)
        seen: list[str] = []

        def note(_c: object, _u: object, statement: str, *_rest: object) -> None:
            if statement.startswith("SELECT"):
                seen.append(statement)

        sa.event.listen(cloud.database.engine, "before_cursor_execute", note)
        cloud.token("demo")
        assert len(seen) <= 3  # user, project by name, standing
        seen.clear()
        cloud.validate(token, token)
        assert len(seen) <= 2  # the caller's token and the subject


def test_keys_are_made_once_and_are_the_services_alone(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ensure_keys(directory), range(16)))
    assert sorted(path.name for path in directory.iterdir()) == [".lock", "1"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "1").stat().st_mode) == 0o600
    sealed = Keys(directory).seal(b"payload")
    ensure_keys(directory)
    assert Keys(directory).open(sealed) == b"payload"
    assert Keys(directory).open(sealed[:-4] + "AAAA") is None


def manage(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from minicloud.cmd.manage import main; main()", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "MINICLOUD_CONFIG_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_operator_prepares_identity(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "minicloud.conf").write_text(
        f"[DEFAULT]\nstate_dir = {state}\n[identity]\nkey_dir = {state}/keys\n"
        f"credential_key_dir = {state}/credential-keys\n"
        "hash_memory_kib = 1024\nhash_time_cost = 1\n"
    )
    secrets = tmp_path / "secrets.json"
    secrets.write_text(
        json.dumps({**{k: PASSWORDS[k] for k in ("admin", "demo", "alt_demo")}, "services": {}})
    )
    first = ("bootstrap", "--secrets", str(secrets), "--host", "192.0.2.1")
    secrets.chmod(0o644)
    refused = manage(tmp_path, *first)
    assert refused.returncode == 1
    assert "owner alone" in refused.stderr
    secrets.chmod(0o600)
    assert manage(tmp_path, "db", "check", "identity").returncode == 1
    assert "db upgrade" in manage(tmp_path, *first).stderr
    assert manage(tmp_path, "db", "upgrade", "identity").returncode == 0
    assert manage(tmp_path, "db", "check", "identity").returncode == 0
    done = manage(tmp_path, *first)
    assert done.returncode == 0, done.stderr
    assert "created user demo" in done.stdout
    assert not any(each in done.stdout + done.stderr for each in PASSWORDS.values())
    assert manage(tmp_path, *first).stdout == "identity: 0 changes\n"
    for path in (state / "identity" / "identity.sqlite", state / "keys" / "1"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_policy_sample_changes_nothing(tmp_path: Path) -> None:
    text = manage(tmp_path, "policy", "sample", "identity").stdout
    assert '#"identity:get_auth_catalog": "@"\n' in text
    assert all(line.startswith("#") for line in text.splitlines())


@pytest.mark.parametrize("host", ["cloud.example.org", "192.0.2.1", "2001:db8::1"])
def test_catalog_urls(host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    urls = {entry.type: entry.url for entry in catalog_of(host)}
    assert urls["identity"] == f"http://{shown}:5000/v3"
    assert urls["volumev3"] == f"http://{shown}:8776/v3/$(project_id)s"
