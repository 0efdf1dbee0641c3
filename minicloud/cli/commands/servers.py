"""Servers that exist: list, show, delete, start, stop, reboot, log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from minicloud.cli import names, render
from minicloud.cli.guest import addresses
from minicloud.cli.patience import patiently
from minicloud.cli.problems import ServerFailed, TookTooLong
from minicloud.cli.session import Cloud, Thing, cloud
from minicloud.domain.errors import NotFound

_LOOK_S = 0.1
_TASK = "OS-EXT-STS:task_state"


def _summary(server: Thing) -> dict[str, Any]:
    return {
        "id": server["id"],
        "name": server["name"],
        "status": server["status"],
        "task": server.get(_TASK),
        "addresses": addresses(server),
        "flavor": (server.get("flavor") or {}).get("original_name"),
        "host": server.get("OS-EXT-SRV-ATTR:host"),
    }


@click.command("list")
@click.option("--all", "everything", is_flag=True, help="Servers of all projects (admin).")
@render.output_options
def list_command(everything: bool, output: str, quiet: bool) -> None:
    """List servers."""
    query = {"all_tenants": "1"} if everything else {}
    found = cloud().servers(**query)
    shown = found if output != "table" else [_summary(server) for server in found]
    columns = ["id", "name", "status", "task", "addresses", "flavor"]
    render.rows(shown, columns + ["host"] * everything, output=output, quiet=quiet)


@click.command("show")
@click.argument("server", shell_complete=names.servers)
@render.output_options
def show_command(server: str, output: str, quiet: bool) -> None:
    """Show SERVER, and why it failed if it did."""
    found = cloud().server(server)
    if output != "table" or quiet:
        render.one(found, output=output, quiet=quiet)
    else:
        show_server(found)


def show_server(server: Thing) -> None:
    """Print what a person wants to know of it."""
    image = server.get("image") or {}
    shown = {
        **_summary(server),
        "image": image.get("id"),
        "key": server.get("key_name"),
        "created": render.moment(server.get("created")),
        "launched": render.moment(server.get("OS-SRV-USG:launched_at")),
        "volumes": [v["id"] for v in server.get("os-extended-volumes:volumes_attached", ())],
        "metadata": server.get("metadata") or None,
    }
    if server.get("fault"):
        shown["fault"] = "\n".join(fault_lines(server))
    render.one(shown, output="table", quiet=False)


def fault_lines(server: Mapping[str, Any]) -> list[str]:
    """Why it failed, a line a verdict."""
    message = (server.get("fault") or {}).get("message", "no reason is recorded")
    head, found, verdicts = message.partition("was found. ")
    return [head + found.rstrip(), *verdicts.split("; ")] if found else message.split("; ")


@click.command("delete")
@click.argument("servers", nargs=-1, required=True, shell_complete=names.servers)
@click.option("--wait/--no-wait", default=True, help="Wait until they are gone.")
def delete_command(servers: tuple[str, ...], wait: bool) -> None:
    """Delete SERVERS."""
    here = cloud()
    found = _found(here, servers)
    for server in found:
        here.compute.delete(f"/servers/{server['id']}")
    for server in found if wait else ():
        wait_until_gone(here, server["id"])
        click.echo(f"Deleted {server['name']}")


def _found(here: Cloud, words: tuple[str, ...]) -> list[Thing]:
    """All of them, before anything is done to the first; each once."""
    there = here.servers()
    named = [here.server(word, there) for word in words]
    return list({server["id"]: server for server in named}.values())


def wait_until_gone(here: Cloud, server_id: str, *, limit_s: float = 120) -> None:
    """ServerFailed, TookTooLong."""
    give_up_at = time.monotonic() + limit_s
    while True:
        try:
            server = _look(here, server_id)
        except NotFound:
            return
        if server["status"] == "ERROR" and server.get(_TASK) is None:
            raise ServerFailed(_failure(server, "could not be deleted"))
        if time.monotonic() > give_up_at:
            raise TookTooLong(f"{server['name']} is still there after {limit_s:.0f} s")
        time.sleep(_LOOK_S)


def _look(here: Cloud, server_id: str) -> Thing:
    """NotFound, and Unavailable when the service has been away for a while."""
    answer = patiently(lambda: here.compute.get(f"/servers/{server_id}"))
    server: Thing = answer.json["server"]
    return server


def _failure(server: Thing, what: str) -> str:
    return "\n  ".join([f"{server['name']} {what}:", *fault_lines(server)])


def act(
    servers: tuple[str, ...], body: dict[str, Any], target: str | tuple[str, ...], wait: bool
) -> None:
    """POST the action for each, and wait until all rest in (one of) ``target``."""
    here = cloud()
    found = _found(here, servers)
    for server in found:
        here.compute.post(f"/servers/{server['id']}/action", body)
    for server in found if wait else ():
        reached = wait_for_status(here, server["id"], target)
        click.echo(f"{server['name']} is {reached['status']}")


def wait_for_status(
    here: Cloud, server_id: str, target: str | tuple[str, ...], *, limit_s: float = 300
) -> Thing:
    """The server once it rests in (one of) ``target``. ServerFailed, TookTooLong."""
    targets = (target,) if isinstance(target, str) else target
    give_up_at = time.monotonic() + limit_s
    while True:
        server = _look(here, server_id)
        resting = server.get(_TASK) is None
        if server["status"] in targets and resting:
            return server
        if server["status"] == "ERROR" and resting:
            raise ServerFailed(_failure(server, "went to ERROR"))
        if time.monotonic() > give_up_at:
            raise TookTooLong(f"{server['name']} is {server['status']} after {limit_s:.0f} s")
        time.sleep(_LOOK_S)


servers_argument = click.argument("servers", nargs=-1, required=True, shell_complete=names.servers)
wait_option = click.option("--wait/--no-wait", default=True, help="Wait until it is done.")


@click.command("start")
@servers_argument
@wait_option
def start_command(servers: tuple[str, ...], wait: bool) -> None:
    """Start stopped SERVERS."""
    act(servers, {"os-start": None}, "ACTIVE", wait)


@click.command("stop")
@servers_argument
@wait_option
def stop_command(servers: tuple[str, ...], wait: bool) -> None:
    """Shut SERVERS down."""
    act(servers, {"os-stop": None}, "SHUTOFF", wait)


@click.command("reboot")
@servers_argument
@wait_option
@click.option("--hard", is_flag=True, help="Cut the power instead of asking the guest.")
def reboot_command(servers: tuple[str, ...], wait: bool, hard: bool) -> None:
    """Reboot SERVERS."""
    act(servers, {"reboot": {"type": "HARD" if hard else "SOFT"}}, "ACTIVE", wait)


@click.command("log")
@click.argument("server", shell_complete=names.servers)
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Only the last so many lines.")
def log_command(server: str, lines: int | None) -> None:
    """Print what SERVER wrote to its console."""
    here = cloud()
    found = here.server(server)
    length = {} if lines is None else {"length": lines}
    answer = here.compute.post(f"/servers/{found['id']}/action", {"os-getConsoleOutput": length})
    click.echo(answer.json["output"].rstrip("\n"))
