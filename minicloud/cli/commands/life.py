"""What else is done to servers: pause, suspend, rescue, rebuild, resize, shelve, snapshot."""

from __future__ import annotations

import time
from typing import Any

import click

from minicloud.cli import names
from minicloud.cli.commands.servers import act, servers_argument, wait_for_status, wait_option
from minicloud.cli.problems import TookTooLong
from minicloud.cli.session import Cloud, Thing, cloud, pick

_LOOK_S = 0.3
_IMAGE_LIMIT_S = 600.0
_REST = ("ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED")
"""What a server goes back to when something has been done to it."""


@click.command("pause")
@servers_argument
@wait_option
def pause_command(servers: tuple[str, ...], wait: bool) -> None:
    """Stop SERVERS' CPUs; their memory stays."""
    act(servers, {"pause": None}, "PAUSED", wait)


@click.command("unpause")
@servers_argument
@wait_option
def unpause_command(servers: tuple[str, ...], wait: bool) -> None:
    """Let paused SERVERS go on."""
    act(servers, {"unpause": None}, "ACTIVE", wait)


@click.command("suspend")
@servers_argument
@wait_option
def suspend_command(servers: tuple[str, ...], wait: bool) -> None:
    """Write SERVERS' memory to disk and free it."""
    act(servers, {"suspend": None}, "SUSPENDED", wait)


@click.command("resume")
@servers_argument
@wait_option
def resume_command(servers: tuple[str, ...], wait: bool) -> None:
    """Let suspended SERVERS go on."""
    act(servers, {"resume": None}, "ACTIVE", wait)


@click.command("shelve")
@servers_argument
@wait_option
def shelve_command(servers: tuple[str, ...], wait: bool) -> None:
    """Keep SERVERS as images and take them off their hosts."""
    act(servers, {"shelve": None}, ("SHELVED_OFFLOADED", "SHELVED"), wait)


@click.command("unshelve")
@servers_argument
@wait_option
def unshelve_command(servers: tuple[str, ...], wait: bool) -> None:
    """Bring shelved SERVERS back."""
    act(servers, {"unshelve": None}, ("ACTIVE", "SHUTOFF"), wait)


@click.command("rescue")
@click.argument("server", shell_complete=names.servers)
@click.option("--image", shell_complete=names.images, help="Boot this one. [default: its own]")
@wait_option
def rescue_command(server: str, image: str | None, wait: bool) -> None:
    """Boot SERVER from an image, with its own disk as a second one."""
    wish = {}
    if image is not None:
        wish["rescue_image_ref"] = pick(cloud().images(), image, "image")["id"]
    act((server,), {"rescue": wish or None}, "RESCUE", wait)


@click.command("unrescue")
@servers_argument
@wait_option
def unrescue_command(servers: tuple[str, ...], wait: bool) -> None:
    """Boot rescued SERVERS from their own disks again."""
    act(servers, {"unrescue": None}, "ACTIVE", wait)


@click.command("rebuild")
@click.argument("server", shell_complete=names.servers)
@click.option("--image", shell_complete=names.images, help="From this one. [default: its own]")
@wait_option
def rebuild_command(server: str, image: str | None, wait: bool) -> None:
    """Put SERVER's disk back to an image; its addresses stay, its data does not."""
    here = cloud()
    if image is not None:
        image_id = pick(here.images(), image, "image")["id"]
    else:
        image_id = (here.server(server).get("image") or {}).get("id")
    if not image_id:
        raise click.UsageError(f"{server} was not made from an image; name one with --image.")
    act((server,), {"rebuild": {"imageRef": image_id}}, _REST, wait)


@click.command("resize")
@click.argument("server", shell_complete=names.servers)
@click.argument("flavor", required=False)
@click.option("--confirm", "end", flag_value="confirmResize", help="Keep the new size.")
@click.option("--revert", "end", flag_value="revertResize", help="Go back to the old one.")
@wait_option
def resize_command(server: str, flavor: str | None, end: str | None, wait: bool) -> None:
    """Give SERVER another FLAVOR; then look, and confirm or revert."""
    if (flavor is None) == (end is None):
        raise click.UsageError("Name a flavor, or --confirm or --revert an earlier resize.")
    if end is not None:
        act((server,), {end: None}, _REST, wait)
        return
    flavor_id = pick(cloud().flavors(), str(flavor), "flavor")["id"]
    act((server,), {"resize": {"flavorRef": flavor_id}}, "VERIFY_RESIZE", wait)
    if wait:
        click.echo(f"Keep it: minicloud resize {server} --confirm   or: --revert")


@click.command("snapshot")
@click.argument("server", shell_complete=names.servers)
@click.argument("name")
@wait_option
def snapshot_command(server: str, name: str, wait: bool) -> None:
    """Make the image NAME of SERVER's disk."""
    here = cloud()
    found = here.server(server)
    answer = here.compute.post(f"/servers/{found['id']}/action", {"createImage": {"name": name}})
    image_id = answer.json["image_id"]
    if wait:
        image = _wait_for_image(here, image_id)
        wait_for_status(here, found["id"], _REST)
        click.echo(f"Image {name} is {image['status']}: {image_id}")
    else:
        click.echo(image_id)


def _wait_for_image(here: Cloud, image_id: str) -> Thing:
    """The image once it can be used. NotFound when it could not be made, TookTooLong."""
    give_up_at = time.monotonic() + _IMAGE_LIMIT_S
    while True:
        image: dict[str, Any] = here.image.get(f"/images/{image_id}").json
        if image["status"] not in ("queued", "saving", "importing"):
            return image
        if time.monotonic() > give_up_at:
            raise TookTooLong(f"Image {image_id} is {image['status']} still")
        time.sleep(_LOOK_S)
