"""Key pairs: list, create, import, delete. A private key never leaves this machine."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import click

from minicloud.cli import render
from minicloud.cli.session import Cloud, Thing, cloud
from minicloud.domain.errors import NotFound


@click.group("key")
def key_command() -> None:
    """Key pairs: who may log in to a server."""


@key_command.command("list")
@render.output_options
def key_list(output: str, quiet: bool) -> None:
    """List your key pairs."""
    render.rows(cloud().keys(), ["name", "type", "fingerprint"], output=output, quiet=quiet)


@key_command.command("create")
@click.argument("name")
@click.option(
    "--private-key-file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the private key there, for you alone, instead of printing it.",
)
def key_create(name: str, file: Path | None) -> None:
    """Make a key pair called NAME (ed25519), and tell the cloud its public half."""  # fmt: skip
    here = cloud()
    private, public = _new_key(name)
    if file is None:
        _register(here, name, public)
        click.echo(private.decode(), nl=False)
        click.echo(
            "This is the private key, shown this once: keep it in a file of yours.", err=True
        )
        return
    _write_private(file, private)
    done = False
    try:
        made = _register(here, name, public)
        done = True
    finally:
        if not done:
            file.unlink()
    click.echo(f"Created {name} {made['fingerprint']}, private key in {file}")


@key_command.command("import")
@click.argument("name")
@click.argument(
    "file", metavar="PUBFILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def key_import(name: str, file: Path) -> None:
    """Tell the cloud a public key that you have, as in ~/.ssh/id_ed25519.pub."""
    public = file.read_text(encoding="utf-8", errors="replace").strip()
    if "PRIVATE KEY" in public:
        raise click.BadParameter(f"{file} is a private key; its public half ends in .pub.")
    made = _register(cloud(), name, public)
    click.echo(f"Imported {name} {made['fingerprint']}")


@key_command.command("delete")
@click.argument("names", nargs=-1, required=True)
def key_delete(names: tuple[str, ...]) -> None:
    """Delete key pairs. Servers that have one keep it."""
    here = cloud()
    for name in names:
        try:
            here.compute.delete(f"/os-keypairs/{quote(name, safe='')}")
        except NotFound:
            raise NotFound(kind="Key pair", id=name) from None
        click.echo(f"Deleted {name}")


def _register(here: Cloud, name: str, public: str) -> Thing:
    body = {"keypair": {"name": name, "type": "ssh", "public_key": public}}
    made: Thing = here.compute.post("/os-keypairs", body).json["keypair"]
    return made


def _new_key(comment: str) -> tuple[bytes, str]:
    """(private key in OpenSSH's format, public key as one line)"""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private, f"{public.decode()} {comment}"


def _write_private(file: Path, private: bytes) -> None:
    """A new file that its owner alone can read; an old one is never overwritten."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(private)
