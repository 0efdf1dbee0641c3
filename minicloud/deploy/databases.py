"""Stage: every service's database has its tables, and identity its first accounts.

The tables are the services' own business: this only calls ``minicloud-manage``, as the daemons'
user, when migrations, configuration or accounts are not those of the last time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg import sql

from minicloud.deploy import command, files
from minicloud.deploy.config import DATABASES, database_url
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import USER, Places
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import StageFailed

SERVICE_USER = "minicloud"
"""Identity's name for the daemons themselves; the default of the option [auth] username."""


def ensure(places: Places, ledger: Ledger, settings: Settings, checkout: Path) -> str:
    """The databases exist, their tables are current, and identity knows its accounts."""
    tables = _digest([*_migrations(checkout), settings.database_url])
    accounts = _digest([tables, msgspec.json.encode(settings).decode()])
    record = ledger.record
    done = []
    if record.migrated.get("tables") != tables or _file_is_missing(places, settings):
        if settings.database_url:
            _create_missing(settings.database_url)
        command.run(as_daemon([places.program("minicloud-manage"), "db", "upgrade"]))
        record.migrated["tables"] = tables
        record.migrated.pop("accounts", None)
        done.append("tables up to date")
    if record.migrated.get("accounts") != accounts:
        _bootstrap(places, settings)
        record.migrated["accounts"] = accounts
        done.append("accounts made")
    if done:
        ledger.save()
    return ", ".join(done) if done else "unchanged"


def as_daemon(words: Sequence[str | Path]) -> list[str | Path]:
    """The command line that runs ``words`` as the daemons' user."""
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--", *words]


def _bootstrap(places: Places, settings: Settings) -> None:
    """Identity reads the passwords from a file that only its own user can open."""
    uid, gid = files.ids(USER, USER)
    accounts = {
        "admin": settings.admin_password,
        "demo": settings.demo_password,
        "alt_demo": settings.alt_password,
        "services": {SERVICE_USER: settings.service_password},
    }
    with tempfile.TemporaryDirectory(dir=places.run) as directory:
        os.chown(directory, uid, gid)
        path = Path(directory, "accounts.json")
        files.write(path, msgspec.json.encode(accounts).decode(), mode=0o600, uid=uid, gid=gid)
        manage: list[str | Path] = [places.program("minicloud-manage"), "bootstrap"]
        command.run(as_daemon([*manage, "--secrets", path, "--host", settings.host]))


def _file_is_missing(places: Places, settings: Settings) -> bool:
    if settings.database_url:
        return False
    return not all((places.state / name / f"{name}.sqlite").exists() for name in DATABASES)


def _migrations(checkout: Path) -> list[str]:
    return [
        f"{path.relative_to(checkout)}\n{path.read_text(encoding='utf-8')}"
        for path in sorted((checkout / "migrations").rglob("*.py"))
    ]


def _digest(parts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def _create_missing(base: str) -> None:
    """Make the services' databases on a PostgreSQL server that lacks them."""
    parts = urlsplit(base)
    admin = urlunsplit(parts._replace(path="/postgres"))
    names = [urlsplit(database_url(base, service)).path.lstrip("/") for service in DATABASES]
    try:
        with psycopg.connect(admin, autocommit=True, connect_timeout=10) as connection:
            rows = connection.execute("SELECT datname FROM pg_database").fetchall()
            known = {row[0] for row in rows}
            for name in names:
                if name not in known:
                    connection.execute(
                        sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(
                            sql.Identifier(name)
                        )
                    )
    except psycopg.Error as error:
        where = f"{parts.hostname}:{parts.port or 5432}"
        raise StageFailed(
            f"The databases {', '.join(names)} cannot be made at {where}.",
            str(error).strip(),
            "check the URL, and that its user may create databases (ALTER ROLE ... CREATEDB)",
        ) from error
