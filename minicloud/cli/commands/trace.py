"""The 28 steps of a launch, as a waterfall."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

import click

from minicloud.cli import render
from minicloud.cli.session import cloud

_COLORS = {
    "client": "white", "identity": "magenta", "api": "cyan", "scheduler": "yellow",
    "compute": "green", "conductor": "blue", "image": "magenta", "network": "magenta",
    "volume": "magenta",
}  # fmt: skip
_NAME, _SERVICE, _TIME, _DETAIL = 18, 10, 9, 10
"""Columns. A detail may use more than its own where the bar leaves them."""


@click.command("trace")
@click.argument("server")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def trace_command(server: str, output: str) -> None:
    """Show the 28 steps of SERVER's launch: who did what, when, for how long."""
    here = cloud()
    found = here.server(server)
    trace = here.compute.get(f"/servers/{found['id']}/minicloud-trace").json["trace"]
    if output == "json":
        click.echo(json.dumps(trace, indent=2))
    else:
        draw(found["name"], trace)


def draw(name: str, trace: Mapping[str, Any]) -> None:
    """Print the waterfall; bars are drawn from step 3 (the launch itself) on."""
    steps = trace["steps"]
    launch = [s for s in steps if s["number"] >= 3 and s["start"] is not None]
    if not launch:
        click.echo(f"Nothing is recorded of {name}'s launch.", err=True)
        return
    begin = min(s["start"] for s in launch)
    end = max(s["start"] + (s["duration"] or 0) for s in launch)
    room = shutil.get_terminal_size().columns - _NAME - _SERVICE - 2 * _TIME - 9
    width = max(room - _DETAIL, 12)
    click.echo(
        click.style(
            f"{name}: {render.seconds(end - begin)} from request to running guest", bold=True
        )
        + f"   {trace['request_id']}"
    )
    head = f" #  {'STEP':<{_NAME}} {'SERVICE':<{_SERVICE}} {'AT':>{_TIME}} {'TOOK':>{_TIME}}  "
    click.echo(click.style(head.rstrip(), bold=True))
    for step in steps:
        click.echo(_line(step, begin, max(end - begin, 1e-6), width, max(room, width + 1)))


def _line(step: Mapping[str, Any], begin: float, total: float, width: int, room: int) -> str:
    """``width``: characters of the longest bar, ``room``: with its detail."""
    service = step["service"] or step["where"]
    label = f"{step['number']:>2}  {step['name']:<{_NAME}.{_NAME}} {service:<{_SERVICE}}"
    if step["start"] is None:
        return f"{label} {'':>{_TIME}} {'':>{_TIME}}  {click.style('not recorded', dim=True)}"
    at, took = step["start"] - begin, step["duration"] or 0.0
    when = f"{at:+.3f} s" if at > -60 else f"{-at / 60:.0f} min ago"
    times = f"{when:>{_TIME}} {render.seconds(step['duration']):>{_TIME}}"
    if at >= 0:
        left = min(int(at / total * width), width - 1)
        length = max(min(round(took / total * width), width - left), 1)
        color = "red" if step["result"] == "Error" else _COLORS.get(service, "white")
        bar = " " * left + click.style("█" * length if took else "▏", fg=color)
        detail = _clipped(step["detail"], room - left - length - 1)
        return f"{label} {times}  {bar}{click.style(f' {detail}', dim=True) if detail else ''}"
    return f"{label} {times}  {click.style('before the launch', dim=True)}"


def _clipped(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + "…"
