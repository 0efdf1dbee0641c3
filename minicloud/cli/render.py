"""How things are shown: tables for people, JSON and YAML for programs, ids for pipes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_COLORS = {
    "ACTIVE": "green", "active": "green", "up": "green", "available": "green", "in-use": "green",
    "ERROR": "red", "error": "red", "down": "red", "BUILD": "yellow", "SHUTOFF": "bright_black",
}  # fmt: skip


def output_options(command: F) -> F:
    """``-o`` and ``-q``, for commands that show things."""
    formats = click.Choice(["table", "json", "yaml"])
    command = click.option("-o", "output", type=formats, default="table", help="How to show it.")(
        command
    )
    return click.option("-q", "quiet", is_flag=True, help="Ids only, one a line.")(command)


def rows(
    things: Sequence[Mapping[str, Any]], columns: Sequence[str], *, output: str, quiet: bool
) -> None:
    """A list: ``columns`` are keys; the first that is called ``id`` is what ``-q`` prints."""
    if quiet:
        for thing in things:
            click.echo(thing.get("id") or thing.get("name"))
    elif output != "table":
        _dump([dict(thing) for thing in things], output)
    elif not things:
        click.echo("Nothing here yet.", err=True)
    else:
        _table(columns, [[_text(thing.get(column)) for column in columns] for thing in things])


def one(thing: Mapping[str, Any], *, output: str, quiet: bool) -> None:
    """A single thing, a line a field."""
    if quiet:
        click.echo(thing.get("id") or thing.get("name"))
    elif output != "table":
        _dump(dict(thing), output)
    else:
        width = max(len(key) for key in thing)
        for key, value in thing.items():
            lines = _text(value).splitlines() or [""]
            click.echo(click.style(f"{key:<{width}}  ", bold=True) + _colored(lines[0]))
            for line in lines[1:]:
                click.echo(" " * (width + 2) + line)


def _dump(value: Any, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    widths = [max(len(column), *(len(row[n]) for row in cells)) for n, column in enumerate(columns)]
    heads = [column.upper().replace("_", " ").ljust(widths[n]) for n, column in enumerate(columns)]
    click.echo(click.style("  ".join(heads).rstrip(), bold=True))
    for row in cells:
        padded = [_colored(cell) + " " * (widths[n] - len(cell)) for n, cell in enumerate(row)]
        click.echo("  ".join(padded).rstrip())


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "\n".join(f"{k}: {_text(v)}" for k, v in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value) or "-"
    return str(value)


def _colored(text: str) -> str:
    color = _COLORS.get(text)
    return click.style(text, fg=color) if color else text


def seconds(value: float | None) -> str:
    """A duration that reads well: 3 ms, 1.24 s."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.2f} s"
