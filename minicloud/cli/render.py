"""How things are shown: tables for people, JSON and YAML for programs, ids for pipes."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_COLORS = {
    "ACTIVE": "green", "active": "green", "up": "green", "available": "green", "in-use": "green",
    "ERROR": "red", "error": "red", "down": "red", "BUILD": "yellow", "SHUTOFF": "bright_black",
}  # fmt: skip
_SHORT_ID = 8
_NARROWEST = 12
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"\d+(\.\d+)?(/\d+(\.\d+)?)?( [kMGT]?B)?")


def output_options(command: F) -> F:
    """``-o`` and ``-q``, for commands that show things."""
    formats = click.Choice(["table", "json", "yaml"])
    command = click.option(
        "-o", "--output", type=formats, default="table", show_default=True, help="How to show it."
    )(command)
    return click.option("-q", "--quiet", is_flag=True, help="Ids only, one a line.")(command)


def rows(
    things: Sequence[Mapping[str, Any]], columns: Sequence[str], *, output: str, quiet: bool
) -> None:
    """A list: ``columns`` are keys, in a table's order. ``quiet`` prints ids, or names.

    On a terminal that is too narrow, ids and long cells are shortened.
    """
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
    heads = [column.upper().replace("_", " ") for column in columns]
    if sys.stdout.isatty():
        cells = _fitted(heads, cells, shutil.get_terminal_size().columns)
    widths = _widths(heads, cells)
    right = [_numeric([row[n] for row in cells]) for n in range(len(columns))]
    line = [h.rjust(w) if r else h.ljust(w) for h, w, r in zip(heads, widths, right, strict=True)]
    click.echo(click.style("  ".join(line).rstrip(), bold=True))
    for row in cells:
        padded = []
        for cell, width, at_right in zip(row, widths, right, strict=True):
            space = " " * (width - len(cell))
            padded.append(space + _colored(cell) if at_right else _colored(cell) + space)
        click.echo("  ".join(padded).rstrip())


def _numeric(cells: Sequence[str]) -> bool:
    said = [cell for cell in cells if cell != "-"]
    return bool(said) and all(_NUMBER.fullmatch(cell) for cell in said)


def _widths(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(head), *(len(row[n]) for row in cells)) for n, head in enumerate(heads)]


def _fitted(
    heads: Sequence[str], cells: Sequence[Sequence[str]], room: int
) -> Sequence[Sequence[str]]:
    """``cells`` such that a line has at most ``room`` characters, where that can be.

    Ids first lose what is not needed to name a thing; then the widest columns lose their ends.
    """
    gaps = 2 * (len(heads) - 1)
    if sum(_widths(heads, cells)) + gaps <= room:
        return cells
    cells = [[c[:_SHORT_ID] if _UUID.fullmatch(c) else c for c in row] for row in cells]
    widths = _widths(heads, cells)
    while sum(widths) + gaps > room and max(widths) > _NARROWEST:
        widest = widths.index(max(widths))
        widths[widest] -= 1
    return [
        [c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(row, widths, strict=True)]
        for row in cells
    ]


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


def size(count: int | None) -> str | None:
    """Bytes that read well: 21.7 MB. None stays None."""
    if count is None:
        return None
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def moment(text: str | None) -> str | None:
    """A service's time in UTC, without fractions of a second, however it writes it."""
    return f"{text[:19]}Z" if text else None
