"""Flavors: list, show."""

from __future__ import annotations

from typing import Any

import click

from minicloud.cli import render
from minicloud.cli.session import Thing, cloud, pick


@click.group("flavor")
def flavor_command() -> None:
    """Flavors: the sizes a server can have."""


@flavor_command.command("list")
@render.output_options
def flavor_list(output: str, quiet: bool) -> None:
    """List flavors, the smallest first."""
    found = sorted(cloud().flavors(), key=lambda f: (f["ram"], f["disk"], f["vcpus"]))
    shown = found if output != "table" else [_summary(flavor) for flavor in found]
    columns = ["name", "vcpus", "memory_mb", "disk_gb", "public", "id"]
    render.rows(shown, columns, output=output, quiet=quiet)


@flavor_command.command("show")
@click.argument("flavor")
@render.output_options
def flavor_show(flavor: str, output: str, quiet: bool) -> None:
    """Show FLAVOR."""
    found = pick(cloud().flavors(), flavor, "flavor")
    if output == "table":
        shown = {
            **_summary(found),
            "ephemeral_gb": found.get("OS-FLV-EXT-DATA:ephemeral"),
            "swap_mb": found.get("swap"),
            "description": found.get("description"),
            "extra_specs": found.get("extra_specs") or None,
        }
        render.one(shown, output=output, quiet=quiet)
    else:
        render.one(found, output=output, quiet=quiet)


def _summary(flavor: Thing) -> dict[str, Any]:
    return {
        "id": flavor["id"],
        "name": flavor["name"],
        "vcpus": flavor["vcpus"],
        "memory_mb": flavor["ram"],
        "disk_gb": flavor["disk"],
        "public": flavor.get("os-flavor-access:is_public"),
    }
