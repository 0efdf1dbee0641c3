"""``minicloud ssh``: the real ssh, told where the server is and that guests come and go."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from minicloud.cli import guest, names, ordering
from minicloud.cli.session import Cloud, Thing, cloud
from minicloud.domain.errors import Conflict, NotFound

_RUNS = frozenset({"ACTIVE", "RESCUE", "VERIFY_RESIZE", "PASSWORD"})
"""Statuses in which a guest runs."""

_DEMO_KEY = Path("~/.config/openstack/minicloud_demo_key").expanduser()
_USER = "cirros"
_OPTIONS = (
    # A guest's address is soon another guest's: what was learned of one says nothing of the next.
    "StrictHostKeyChecking=accept-new",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
)


@click.command("ssh")
@click.argument("server", shell_complete=names.servers)
@click.argument("command", nargs=-1, metavar="[-- COMMAND...]")
@click.option(
    "--user",
    "-l",
    metavar="NAME",
    help=f"Log in as. [default: the user that the image names, or {_USER}]",
)
@click.option(
    "--key",
    "-i",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of the private key. [default: the demo key for its servers, else ssh's own]",
)
def ssh_command(server: str, command: tuple[str, ...], user: str | None, key: Path | None) -> None:
    """Log in to SERVER, or run COMMAND there."""  # fmt: skip
    here = cloud()
    found = here.server(server)
    if found["status"] not in _RUNS:
        raise Conflict(
            reason=f"{found['name']} is {found['status']}; 'minicloud start {found['name']}' "
            "starts a server that is SHUTOFF."
        )
    words = ssh_words(
        guest.ssh_address(found),
        user=user or _admin_user(here, found),
        key=key or _key_of(found),
        command=command,
    )
    sys.stdout.flush()
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell is meant to be in between
    except FileNotFoundError:
        raise click.ClickException("ssh is not installed here (package openssh-client).") from None


def ssh_words(address: str, *, user: str, key: Path | None, command: Sequence[str]) -> list[str]:
    """The command line of ssh."""
    words = ["ssh"]
    for option in _OPTIONS:
        words += ["-o", option]
    if key is not None:
        words += ["-i", str(key)]
    # After "--" nothing is an option, whatever a server or user is called.
    return [*words, "-l", user, "--", address, *command]


def _admin_user(here: Cloud, server: Thing) -> str:
    image_id = (server.get("image") or {}).get("id")
    if not image_id:
        return _USER
    try:
        image = here.image.get(f"/images/{image_id}").json
    except NotFound:
        return _USER
    return str(image.get("os_admin_user") or _USER)


def _key_of(server: Thing) -> Path | None:
    """The key file that belongs to the server's key pair, where this machine has it."""
    if server.get("key_name") != ordering.DEMO_KEY:
        return None
    if os.access(_DEMO_KEY, os.R_OK):
        return _DEMO_KEY
    click.echo(f"{_DEMO_KEY} cannot be read: trying ssh's own keys (--key names one).", err=True)
    return None
