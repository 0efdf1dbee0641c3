"""minicloud-manage: what an operator does before daemons run.

Each command imports the service it is about and no other, so that a machine with one service
needs no other's libraries. Secrets come from files, never from the command line.
"""

from __future__ import annotations

import importlib
import importlib.util
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import click
import msgspec

from minicloud import conf
from minicloud.cmd import wire
from minicloud.domain.errors import MinicloudError
from minicloud.kit import log
from minicloud.kit.db import Database, migrate


class _Service(msgspec.Struct, frozen=True):
    daemon: str
    """Whose configuration file names the database."""
    models: str
    """The module of its tables."""
    policies: str
    """The module with its ``RULES``."""


SERVICES: Mapping[str, _Service] = {
    "identity": _Service("identity", "minicloud.identity.models", "minicloud.identity.policies"),
    "image": _Service("image", "minicloud.image.models", "minicloud.image.policies"),
    "network": _Service("network", "minicloud.network.models", "minicloud.network.policies"),
    "volume": _Service("volume", "minicloud.volume.models", "minicloud.volume.policies"),
    "compute": _Service("api", "minicloud.db.models", "minicloud.api.policies"),
}


@click.group()
def main() -> None:
    """Prepare and look after a minicloud.

    Reads the daemons' own configuration, from /etc/minicloud or MINICLOUD_CONFIG_DIR.
    """


@main.group()
def db() -> None:
    """The tables of the services."""


_NAMES = click.argument("services", nargs=-1, type=click.Choice(list(SERVICES)))


@db.command()
@_NAMES
def upgrade(services: Sequence[str]) -> None:
    """Bring tables up to date: of SERVICES, or of all."""
    for name in services or _present():
        database, _ = _database(name)
        migrate.upgrade(name, database)
        database.close()
        click.echo(f"{name}: up to date")


@db.command()
@_NAMES
def check(services: Sequence[str]) -> None:
    """Say which tables are up to date; exit status 1 where some are not."""
    behind = False
    for name in services or _present():
        database, _ = _database(name)
        current = migrate.is_current(name, database)
        database.close()
        click.echo(f"{name}: {'up to date' if current else 'behind'}")
        behind = behind or not current
    sys.exit(1 if behind else 0)


@main.command()
@click.option(
    "--secrets",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='JSON file: {"admin": PASSWORD, "demo": ..., "alt_demo": ..., "services": {USER: ...}}.',
)
@click.option("--host", required=True, help="Name or address at which clients reach the APIs.")
def bootstrap(secrets: Path, host: str) -> None:
    """Give identity its first users, roles, projects and catalog. Repeatable."""
    from minicloud.identity import bootstrap as first
    from minicloud.identity.keys import ensure_keys
    from minicloud.identity.passwords import Passwords

    accounts = _read_secrets(secrets, first.Accounts)
    database, options = _database("identity")
    if not migrate.is_current("identity", database):
        raise click.ClickException("The tables are behind: run minicloud-manage db upgrade.")
    for directory in (options.identity.key_dir, options.identity.credential_key_dir):
        ensure_keys(Path(directory))
    done = first.bootstrap(
        database,
        Passwords(
            memory_kib=options.identity.hash_memory_kib,
            time_cost=options.identity.hash_time_cost,
        ),
        accounts=accounts,
        catalog=first.catalog_of(host),
        region=options.region,
    )
    database.close()
    for words in done:
        click.echo(words)
    click.echo(f"identity: {len(done)} changes")


@main.group()
def keys() -> None:
    """The keys of identity: those of its tokens, and those of stored credentials."""


@keys.command("rotate")
@click.argument("which", type=click.Choice(["tokens", "credentials"]))
def keys_rotate(which: str) -> None:
    """Change keys while identity runs; nothing that holds now stops to hold.

    With more than one controller: rotate on one, and copy the directory with its times (rsync -a)
    to the others before rotating again. A key of tokens goes once the last token it sealed has
    expired; stored credentials are sealed anew, and their old keys go with the next rotation.
    """
    from minicloud.identity.keys import Keys, ensure_keys, rotate
    from minicloud.identity.sealing import reseal
    from minicloud.identity.tokens import EXPIRED_WINDOW_S

    database, options = _database("identity")
    if which == "tokens":
        lifetime = options.identity.token_lifetime_s + EXPIRED_WINDOW_S
        done = rotate(Path(options.identity.key_dir), needed_s=lifetime)
    else:
        directory = Path(options.identity.credential_key_dir)
        ensure_keys(directory)
        sealing_keys = Keys(directory)
        # What is there gets today's key first: only then may the keys before it go.
        reseal(database, sealing_keys)
        done = rotate(directory, needed_s=3600)
        done.append(f"sealed {reseal(database, sealing_keys)} secrets anew")
    database.close()
    for words in done:
        click.echo(words)


@main.group()
def mapping() -> None:
    """The rules by which users of identity providers would be mapped."""


@mapping.command("evaluate")
@click.option("--rules", "rules", required=True, type=click.File("rb"), help="JSON, as stored.")
@click.option("--input", "attributes", required=True, type=click.File(), help="name: value lines.")
@click.option("--schema-version", default=None, help="Unless the rules say it; 1.0 without both.")
def mapping_evaluate(rules: BinaryIO, attributes: TextIO, schema_version: str | None) -> None:
    """Say who somebody with these attributes would be, without anybody logging in."""
    from minicloud.identity import attribute_rules
    from minicloud.identity.attribute_mapping import evaluate
    from minicloud.kit.web.decode import convert, parse

    said: dict[str, str] = {}
    for line in filter(None, map(str.strip, attributes)):
        name, mark, text = line.partition(":")
        if not mark:
            raise click.ClickException(f"{line!r} is not of the form name: value")
        said[name.strip()] = text.strip()
    try:
        value = parse(rules.read())
        given = value if isinstance(value, dict) else {"rules": value}
        found = evaluate(
            convert(given.get("rules"), attribute_rules.Rules),
            schema_version or given.get("schema_version") or attribute_rules.OLDEST,
            said,
        )
    except MinicloudError as problem:
        raise click.ClickException(problem.message) from None
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())


@main.group()
def config() -> None:
    """The options of the daemons."""


@config.command("sample")
def config_sample() -> None:
    """Print every option with its default."""
    from minicloud.conf import sample

    click.echo(sample.render(), nl=False)


@main.group()
def policy() -> None:
    """Who may do what."""


@policy.command("sample")
@click.argument("service", type=click.Choice(list(SERVICES)))
def policy_sample(service: str) -> None:
    """Print the rules of SERVICE, as a policy file that changes nothing."""
    module = SERVICES[service].policies
    if not _there(module):
        raise click.ClickException(f"{service} has no policies.")
    for name, rule in sorted(importlib.import_module(module).RULES.items()):
        click.echo(f"#{msgspec.json.encode(name).decode()}: {msgspec.json.encode(rule).decode()}")


@main.group()
def openapi() -> None:
    """The services described as OpenAPI."""


@openapi.command("write")
@click.option(
    "--directory",
    default="docs/openapi",
    type=click.Path(file_okay=False, path_type=Path),
    show_default=True,
)
@_NAMES
def openapi_write(services: Sequence[str], directory: Path) -> None:
    """Write the OpenAPI documents of SERVICES, or of all."""
    from minicloud.cmd.describe import described
    from minicloud.kit.web.openapi import render

    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        for name in services or _present():
            path = directory / f"{name}.json"
            path.write_bytes(render(described(name, Path(empty))))
            click.echo(str(path))


def _present() -> list[str]:
    """The services whose tables this installation has."""
    return [name for name, service in SERVICES.items() if _there(service.models)]


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _database(name: str) -> tuple[Database, Any]:
    """The database of a service, and its daemon's options."""
    options = conf.load(SERVICES[name].daemon)
    log.setup("manage", host=options.host, level="WARNING", style="text")
    return wire.database(options, name), options


def _read_secrets(path: Path, kind: Any) -> Any:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise click.ClickException(f"{path} must be readable by its owner alone (chmod 600).")
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as problem:
        raise click.ClickException(f"{path}: {problem}") from None


if __name__ == "__main__":
    main()
