"""Lines that tell how far something has come: live on a terminal, plain ones elsewhere.

Knows nothing of what is told. Times are seconds since the beginning.
"""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

import click

_NAME = 15
_TIME = 9
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TICK_S = 0.08
_CLEAR = "\r\x1b[K"


class Progress:
    """Writes to ``out``; on a terminal its last line lives until something else takes its place."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._live = out is not None and out.isatty()
        self._since = time.monotonic()
        self._doing = ""
        self._tick = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._write("", nl=False)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._since

    def say(self, text: str) -> None:
        """A line without a time."""
        self._write(text)

    def hint(self, text: str) -> None:
        """A line for a person who watches, and for nobody else."""
        if self._live:
            self._write(click.style(text, dim=True))

    def done(self, name: str, *, at_s: float | None = None, detail: str = "") -> None:
        """Something has happened, ``at_s`` after the beginning (None: right now)."""
        self._told(click.style("✔", fg="green"), name, at_s, detail)

    def failed(self, name: str, *, detail: str = "") -> None:
        self._told(click.style("✘", fg="red"), name, None, detail)

    def doing(self, what: str) -> None:
        """What is waited for now."""
        self._doing = what
        self._spin()

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` pass; the line on a terminal moves meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_S) if self._live else left)
            self._spin()

    def _told(self, mark: str, name: str, at_s: float | None, detail: str) -> None:
        at = self.elapsed_s if at_s is None else at_s
        when = click.style(f"{at:{_TIME - 2}.2f} s", dim=True)
        self._write(f"{mark} {name:<{_NAME}}{when}  {detail}".rstrip())

    def _spin(self) -> None:
        if self._live and self._doing:
            self._tick += 1
            mark = click.style(_SPINNER[self._tick % len(_SPINNER)], fg="cyan")
            room = shutil.get_terminal_size().columns - _TIME - 5
            doing = self._doing[: max(room, 1)]
            when = click.style(f"{self.elapsed_s:.1f} s", dim=True)
            self._write(f"{mark} {doing}  {when}", nl=False)

    def _write(self, text: str, *, nl: bool = True) -> None:
        if self._out is None or (not self._live and not nl):
            return
        head = _CLEAR if self._live else ""
        click.echo(head + text, file=self._out, nl=nl, color=self._live or None)
        self._out.flush()


def stream(output: str, *, quiet: bool) -> TextIO | None:
    """Where progress belongs beside what a command prints: not into its JSON, YAML or ids."""
    if quiet:
        return None
    return sys.stdout if output == "table" else sys.stderr
