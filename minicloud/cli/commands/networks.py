"""Networks with their subnets: list, show, create, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from minicloud.cli import render
from minicloud.cli.session import Cloud, Thing, cloud, everything, pick


@click.group("network")
def network_command() -> None:
    """Networks: what connects servers."""


@network_command.command("list")
@render.output_options
def network_list(output: str, quiet: bool) -> None:
    """List networks."""
    here = cloud()
    found = here.networks()
    if output == "table" and not quiet:
        subnets = _subnets(here)
        found = [_summary(network, subnets) for network in found]
    columns = ["id", "name", "status", "subnets", "mtu", "shared", "external"]
    render.rows(found, columns, output=output, quiet=quiet)


@network_command.command("show")
@click.argument("network")
@render.output_options
def network_show(network: str, output: str, quiet: bool) -> None:
    """Show NETWORK."""
    here = cloud()
    _show(here, pick(here.networks(), network, "network"), output, quiet)


@network_command.command("create")
@click.argument("name")
@click.option("--subnet", metavar="CIDR", help="IPv4 addresses of its guests: 10.1.0.0/24.")
@render.output_options
def network_create(name: str, subnet: str | None, output: str, quiet: bool) -> None:
    """Create a network called NAME; without a subnet its guests get no addresses."""
    here = cloud()
    made = here.network.post("/networks", {"network": {"name": name}}).json["network"]
    if subnet:
        wanted = {"network_id": made["id"], "name": name, "ip_version": 4, "cidr": subnet}
        done = False
        try:
            here.network.post("/subnets", {"subnet": wanted})
            done = True
        finally:
            if not done:
                here.network.delete(f"/networks/{made['id']}")
    found = here.network.get(f"/networks/{made['id']}").json["network"]
    _show(here, found, output, quiet)


@network_command.command("delete")
@click.argument("networks", nargs=-1, required=True)
def network_delete(networks: tuple[str, ...]) -> None:
    """Delete NETWORKS, which no server uses."""
    here = cloud()
    there = here.networks()
    for network in [pick(there, word, "network") for word in networks]:
        here.network.delete(f"/networks/{network['id']}")
        click.echo(f"Deleted {network['name']}")


def _subnets(here: Cloud) -> list[Thing]:
    return everything(here.network, "/subnets", "subnets")


def _summary(network: Thing, subnets: Sequence[Thing]) -> dict[str, Any]:
    return {
        "id": network["id"],
        "name": network["name"],
        "status": network["status"],
        "subnets": [s["cidr"] for s in subnets if s["network_id"] == network["id"]],
        "mtu": network.get("mtu"),
        "shared": network.get("shared"),
        "external": network.get("router:external"),
    }


def _show(here: Cloud, network: Thing, output: str, quiet: bool) -> None:
    if output != "table" or quiet:
        render.one(network, output=output, quiet=quiet)
        return
    subnets = _subnets(here)
    inside = [s for s in subnets if s["network_id"] == network["id"]]
    shown = _summary(network, subnets) | {
        "gateway": [s["gateway_ip"] for s in inside if s["gateway_ip"]],
        "dns": [server for s in inside for server in s["dns_nameservers"]],
        "kind": network.get("provider:network_type"),
        "segment": network.get("provider:segmentation_id"),
        "project": network.get("project_id"),
    }
    render.one(shown, output=output, quiet=quiet)
