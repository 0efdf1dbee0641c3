"""Volumes: list, show, create blank ones, delete."""

from __future__ import annotations

import time
from typing import Any

import click

from minicloud.cli import render
from minicloud.cli.problems import TookTooLong
from minicloud.cli.session import Cloud, Thing, cloud, pick
from minicloud.domain.errors import Conflict, NotFound

_LIMIT_S = 120.0
_LOOK_S = 0.1


@click.group("volume")
def volume_command() -> None:
    """Volumes: disks that outlive servers."""


@volume_command.command("list")
@render.output_options
def volume_list(output: str, quiet: bool) -> None:
    """List volumes."""
    found = cloud().volumes()
    shown = found if output != "table" else [_summary(volume) for volume in found]
    columns = ["id", "name", "status", "size_gb", "server", "device"]
    render.rows(shown, columns, output=output, quiet=quiet)


@volume_command.command("show")
@click.argument("volume")
@render.output_options
def volume_show(volume: str, output: str, quiet: bool) -> None:
    """Show VOLUME."""
    _show(pick(cloud().volumes(), volume, "volume"), output, quiet)


@volume_command.command("create")
@click.argument("size", type=click.IntRange(min=1), metavar="SIZE_GB")
@click.argument("name", required=False)
@click.option("--wait/--no-wait", default=True, help="Wait until it is there.")
@render.output_options
def volume_create(size: int, name: str | None, wait: bool, output: str, quiet: bool) -> None:
    """Create a blank volume of SIZE_GB."""
    here = cloud()
    wanted = {"size": size, "name": name}
    made = here.volume.post("/volumes", {"volume": wanted}).json["volume"]
    if wait:
        made = _wait_for_available(here, made["id"])
    _show(made, output, quiet)


@volume_command.command("delete")
@click.argument("volumes", nargs=-1, required=True)
@click.option("--wait/--no-wait", default=True, help="Wait until they are gone.")
def volume_delete(volumes: tuple[str, ...], wait: bool) -> None:
    """Delete VOLUMES and what is on them."""
    here = cloud()
    there = here.volumes()
    found = [pick(there, word, "volume") for word in volumes]
    for volume in found:
        here.volume.delete(f"/volumes/{volume['id']}")
    for volume in found if wait else ():
        _wait_until_gone(here, volume)
        click.echo(f"Deleted {volume['name'] or volume['id']}")


def _wait_for_available(here: Cloud, volume_id: str) -> Thing:
    give_up_at = time.monotonic() + _LIMIT_S
    while True:
        volume: Thing = here.volume.get(f"/volumes/{volume_id}").json["volume"]
        if volume["status"] == "available":
            return volume
        if volume["status"].startswith("error"):
            raise Conflict(reason=f"Volume {volume_id} is in {volume['status']}.")
        _check(give_up_at, volume)
        time.sleep(_LOOK_S)


def _wait_until_gone(here: Cloud, volume: Thing) -> None:
    give_up_at = time.monotonic() + _LIMIT_S
    while True:
        try:
            volume = here.volume.get(f"/volumes/{volume['id']}").json["volume"]
        except NotFound:
            return
        if volume["status"].startswith("error"):
            raise Conflict(reason=f"Volume {volume['id']} is in {volume['status']}.")
        _check(give_up_at, volume)
        time.sleep(_LOOK_S)


def _check(give_up_at: float, volume: Thing) -> None:
    if time.monotonic() > give_up_at:
        raise TookTooLong(f"Volume {volume['id']} is {volume['status']} after {_LIMIT_S:.0f} s")


def _summary(volume: Thing) -> dict[str, Any]:
    attached = volume.get("attachments") or [{}]
    return {
        "id": volume["id"],
        "name": volume["name"],
        "status": volume["status"],
        "size_gb": volume["size"],
        "server": attached[0].get("server_id"),
        "device": attached[0].get("device"),
    }


def _show(volume: Thing, output: str, quiet: bool) -> None:
    if output != "table" or quiet:
        render.one(volume, output=output, quiet=quiet)
        return
    shown = _summary(volume) | {
        "type": volume.get("volume_type"),
        "created": render.moment(volume.get("created_at")),
        "metadata": volume.get("metadata") or None,
    }
    render.one(shown, output=output, quiet=quiet)
