"""Servers that exist: list, show, delete, start, stop, reboot, log."""

from __future__ import annotations

import time
from typing import Any

import click

from minicloud.cli import render
from minicloud.cli.problems import ServerFailed, TookTooLong
from minicloud.cli.session import Cloud, cloud
from minicloud.domain.errors import NotFound


def addresses(server: dict[str, Any]) -> list[str]:
    return [a["addr"] for nics in server.get("addresses", {}).values() for a in nics]


def _summary(server: dict[str, Any]) -> dict[str, Any]:
    status = server["status"]
    task = server.get("OS-EXT-STS:task_state")
    return {
        "id": server["id"],
        "name": server["name"],
        "status": status,
        "task": task,
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
    found = cloud().compute.get("/servers/detail", **query).json["servers"]
    shown = found if output != "table" else [_summary(server) for server in found]
    render.rows(
        shown, ["id", "name", "status", "task", "addresses", "flavor"], output=output, quiet=quiet
    )


@click.command("show")
@click.argument("server")
@render.output_options
def show_command(server: str, output: str, quiet: bool) -> None:
    """Show SERVER (id or name), and why it failed if it did."""
    found = cloud().server(server)
    if output != "table":
        render.one(found, output=output, quiet=quiet)
        return
    image = found.get("image") or {}
    shown = {
        **_summary(found),
        "image": image.get("id") if isinstance(image, dict) else image,
        "key": found.get("key_name"),
        "created": found.get("created"),
        "launched": found.get("OS-SRV-USG:launched_at"),
        "volumes": [v["id"] for v in found.get("os-extended-volumes:volumes_attached", ())],
        "metadata": found.get("metadata") or None,
    }
    if found.get("fault"):
        shown["fault"] = "\n".join(found["fault"]["message"].split("; "))
    render.one(shown, output=output, quiet=quiet)


@click.command("delete")
@click.argument("servers", nargs=-1, required=True)
@click.option("--wait/--no-wait", default=True, help="Wait until they are gone.")
def delete_command(servers: tuple[str, ...], wait: bool) -> None:
    """Delete SERVERS (ids or names)."""
    here = cloud()
    found = [here.server(name) for name in servers]
    for server in found:
        here.compute.delete(f"/servers/{server['id']}")
    for server in found if wait else ():
        wait_until_gone(here, server["id"])
        click.echo(f"Deleted {server['name']}")


def wait_until_gone(here: Cloud, server_id: str, *, limit_s: float = 120) -> None:
    give_up_at = time.monotonic() + limit_s
    while True:
        try:
            server = here.compute.get(f"/servers/{server_id}").json["server"]
        except NotFound:
            return
        if server["status"] == "ERROR" and server.get("OS-EXT-STS:task_state") is None:
            raise ServerFailed(f"{server['name']} could not be deleted: {fault_of(server)}")
        if time.monotonic() > give_up_at:
            raise TookTooLong(f"{server['name']} is still there after {limit_s:.0f} s")
        time.sleep(0.1)


def fault_of(server: dict[str, Any]) -> str:
    return str((server.get("fault") or {}).get("message", "no reason is recorded"))


def _act(servers: tuple[str, ...], body: dict[str, Any], target: str, wait: bool) -> None:
    here = cloud()
    found = [here.server(name) for name in servers]
    for server in found:
        here.compute.post(f"/servers/{server['id']}/action", body)
    for server in found if wait else ():
        wait_for_status(here, server["id"], target)
        click.echo(f"{server['name']} is {target}")


def wait_for_status(
    here: Cloud, server_id: str, target: str, *, limit_s: float = 300
) -> dict[str, Any]:
    """The server once it rests in ``target``. ServerFailed, TookTooLong."""
    give_up_at = time.monotonic() + limit_s
    while True:
        server: dict[str, Any] = here.compute.get(f"/servers/{server_id}").json["server"]
        resting = server.get("OS-EXT-STS:task_state") is None
        if server["status"] == target and resting:
            return server
        if server["status"] == "ERROR" and resting:
            raise ServerFailed(f"{server['name']} went to ERROR: {fault_of(server)}")
        if time.monotonic() > give_up_at:
            raise TookTooLong(f"{server['name']} is {server['status']} after {limit_s:.0f} s")
        time.sleep(0.1)


_servers = click.argument("servers", nargs=-1, required=True)
_wait = click.option("--wait/--no-wait", default=True, help="Wait until it is done.")


@click.command("start")
@_servers
@_wait
def start_command(servers: tuple[str, ...], wait: bool) -> None:
    """Start stopped SERVERS."""
    _act(servers, {"os-start": None}, "ACTIVE", wait)


@click.command("stop")
@_servers
@_wait
def stop_command(servers: tuple[str, ...], wait: bool) -> None:
    """Shut SERVERS down."""
    _act(servers, {"os-stop": None}, "SHUTOFF", wait)


@click.command("reboot")
@_servers
@_wait
@click.option("--hard", is_flag=True, help="Cut the power instead of asking the guest.")
def reboot_command(servers: tuple[str, ...], wait: bool, hard: bool) -> None:
    """Reboot SERVERS."""
    _act(servers, {"reboot": {"type": "HARD" if hard else "SOFT"}}, "ACTIVE", wait)


@click.command("log")
@click.argument("server")
@click.option("-n", "--lines", type=int, help="Only the last so many lines.")
def log_command(server: str, lines: int | None) -> None:
    """Print what SERVER wrote to its console."""
    here = cloud()
    found = here.server(server)
    length = {} if lines is None else {"length": lines}
    answer = here.compute.post(f"/servers/{found['id']}/action", {"os-getConsoleOutput": length})
    click.echo(answer.json["output"].rstrip("\n"))
