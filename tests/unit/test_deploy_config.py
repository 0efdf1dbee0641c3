"""The configuration that the installer writes is what the daemons read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from minicloud import conf
from minicloud.conf.auth import OPTS as AUTH_OPTIONS
from minicloud.deploy import config, databases, settings
from minicloud.deploy.names import DAEMONS
from minicloud.deploy.places import Places
from minicloud.deploy.settings import Settings

DOLLARS = Settings(service_password="a$b$$c%d", metadata_secret="$host")


def load(directory: Path, daemon: str, chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    (directory / "minicloud.conf").write_text(config.render(config.shared(chosen)))
    (directory / f"{daemon}.conf").write_text(config.render(config.of_daemon(daemon, chosen)))
    monkeypatch.setenv("MINICLOUD_CONFIG_DIR", str(directory))
    return conf.load(daemon, [])


def test_every_daemon_is_known() -> None:
    assert set(DAEMONS) <= set(conf.DAEMONS)
    assert {user for users in config.DATABASES.values() for user in users} <= set(DAEMONS)


def test_daemons_read_what_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = load(tmp_path, "api", DOLLARS, monkeypatch)
    assert options.auth.password == "a$b$$c%d"
    assert options.metadata.shared_secret == "$host"
    assert options.rpc.transport_url == config.transport_url(DOLLARS)
    assert options.database.url is None
    assert options.web.listen == "127.0.0.1"


def test_each_service_has_its_own_postgresql_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(database_url="postgresql://me:p$w@db:5433/cloud?sslmode=require")
    for daemon, name in (("identity", "identity"), ("conductor", "compute"), ("api", "compute")):
        options = load(tmp_path, daemon, chosen, monkeypatch)
        assert options.database.url == f"postgresql://me:p$w@db:5433/cloud_{name}?sslmode=require"
    assert config.of_daemon("compute", chosen) == {}, "a compute host has no database"


def test_the_broker_url_holds_any_password() -> None:
    url = config.transport_url(Settings(rabbitmq_password="a/b:c@d"))
    assert url == "rabbit://minicloud:a%2Fb%3Ac%40d@127.0.0.1:5672/minicloud"


def test_the_operators_own_lines_are_kept() -> None:
    first = config.merged("[a]\nb = 1\n", "")
    own = first + "[scheduler]\ncpu_ratio = 2\n"
    assert config.merged("[a]\nb = 1\n", own) == own
    assert config.merged("[a]\nb = 2\n", own) == own.replace("b = 1", "b = 2")


def test_the_service_user_is_the_one_that_daemons_log_in_as() -> None:
    default = next(option.default for option in AUTH_OPTIONS if option.name == "username")
    assert default == databases.SERVICE_USER


@pytest.mark.parametrize(
    ("host", "listen"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("10.0.0.5", "0.0.0.0")],
)
def test_others_reach_the_cloud_only_if_asked_for(host: str, listen: str) -> None:
    assert Settings(host=host).listen == listen


def test_secrets_are_made_once_and_choices_are_kept(tmp_path: Path) -> None:
    places = Places(config=tmp_path)
    first = settings.ensure(places, host="10.0.0.5")
    again = settings.ensure(places)
    assert again == first
    assert first.admin_password != first.demo_password
    status = places.secrets.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.geteuid()
