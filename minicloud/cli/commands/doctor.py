"""``minicloud doctor``: this machine, a line a symptom, and how to mend what is wrong."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections import Counter

import click

_MARKS = {
    "ok": ("✔", "ok", "green"),
    "warn": ("!", "warn", "yellow"),
    "fail": ("✘", "fail", "red"),
    "unknown": ("?", "unseen", "bright_black"),
}
_WORDS = {"ok": "ok", "warn": "to know of", "fail": "failed", "unknown": "not to be seen"}
_HEAD = 27
"""Width of mark, status and name, and their gaps."""
_WIDEST = 110


@click.command("doctor")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to show it.",
)
@click.pass_context
def doctor_command(ctx: click.Context, output: str) -> None:
    """Check this machine, and say how to mend what is wrong.

    Needs no cloud. As root it sees more. It ends with exit code 1 if anything fails.
    """  # fmt: skip
    from minicloud.cli.doctor.machine import Machine
    from minicloud.cli.doctor.registry import CHECKS, look

    machine = Machine()
    told = []
    for name, check in CHECKS:
        found = look(machine, check)
        told.append({"check": name, **found._asdict()})
        if output == "table":
            _tell(name, found.status, found.sentence, found.mend)
    counts = Counter(str(finding["status"]) for finding in told)
    if output == "json":
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        click.echo()
        click.echo(", ".join(f"{counts[s]} {words}" for s, words in _WORDS.items() if counts[s]))
    ctx.exit(1 if counts["fail"] else 0)


def _tell(name: str, status: str, sentence: str, mend: str) -> None:
    mark, word, color = _MARKS[status]
    room = max(min(shutil.get_terminal_size().columns, _WIDEST) - _HEAD, 30)
    head = click.style(f"{mark} {word:<7}", fg=color, bold=True) + f"{name:<{_HEAD - 9}}"
    lines = [*textwrap.wrap(sentence, room)]
    lines += [click.style(line, fg=color) for line in textwrap.wrap(mend and f"→ {mend}", room)]
    click.echo(head + f"\n{' ' * _HEAD}".join(lines))
