"""Compute hosts: list, show, with what they have and what is used of it."""

from __future__ import annotations

from typing import Any

import click

from minicloud.cli import render
from minicloud.cli.session import Cloud, Thing, cloud, pick
from minicloud.domain.errors import NotAllowed

_WITH_USAGE = {"OpenStack-API-Version": "compute 2.87"}
"""The last version whose hypervisors show their sizes."""


@click.group("host")
def host_command() -> None:
    """Compute hosts: where servers run (admin)."""


@host_command.command("list")
@render.output_options
def host_list(output: str, quiet: bool) -> None:
    """List compute hosts."""
    found = _hosts(cloud())
    shown = found if output != "table" else [_summary(host) for host in found]
    columns = ["name", "state", "enabled", "virt", "servers", "vcpus", "memory_mb", "disk_gb"]
    render.rows(shown, columns, output=output, quiet=quiet)


@host_command.command("show")
@click.argument("host")
@render.output_options
def host_show(host: str, output: str, quiet: bool) -> None:
    """Show HOST, by name or id."""
    found = pick([{**h, "name": h["hypervisor_hostname"]} for h in _hosts(cloud())], host, "host")
    if output != "table" or quiet:
        render.one(found, output=output, quiet=quiet)
        return
    service = found.get("service") or {}
    shown = _summary(found) | {
        "address": found.get("host_ip"),
        "cpu": _cpu(found.get("cpu_info")),
        "hypervisor": _version(found.get("hypervisor_version") or 0),
        "disabled_because": service.get("disabled_reason"),
    }
    render.one(shown, output=output, quiet=quiet)


def _hosts(here: Cloud) -> list[Thing]:
    try:
        answer = here.compute.request("GET", "/os-hypervisors/detail", headers=_WITH_USAGE)
    except NotAllowed as problem:
        raise NotAllowed(
            reason=f"{problem.message} Hosts are for administrators to see: "
            "try 'minicloud --cloud minicloud-admin host list'."
        ) from None
    found: list[Thing] = answer.json["hypervisors"]
    return found


def _summary(host: Thing) -> dict[str, Any]:
    """Used and total as ``used/total``."""
    return {
        "id": host["id"],
        "name": host["hypervisor_hostname"],
        "state": host["state"],
        "enabled": host["status"] == "enabled",
        "virt": host["hypervisor_type"],
        "servers": host.get("running_vms"),
        "vcpus": f"{host['vcpus_used']}/{host['vcpus']}",
        "memory_mb": f"{host['memory_mb_used']}/{host['memory_mb']}",
        "disk_gb": f"{host['local_gb_used']}/{host['local_gb']}",
    }


def _cpu(info: Any) -> str | None:
    if not isinstance(info, dict):
        return None
    return " ".join(str(info[key]) for key in ("arch", "model") if info.get(key)) or None


def _version(number: int) -> str | None:
    """9.2.0 out of libvirt's 9002000."""
    if not number:
        return None
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
