"""Errors for people: what went wrong, what to do, and the exit code of its kind."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import IO, Any

import click

from minicloud.domain import errors


class ServerFailed(Exception):
    """A server went to ERROR while it was waited for."""


class TookTooLong(Exception):
    """Something was waited for longer than asked."""


class NoCredentials(Exception):
    """Nothing says which cloud to talk to, or as whom."""


class Unreachable(Exception):
    """A guest cannot be reached from this machine."""


_OURS = (errors.MinicloudError, ServerFailed, TookTooLong, NoCredentials, Unreachable)
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (NoCredentials, 3),
    (errors.Unauthenticated, 3),
    (errors.Forbidden, 3),
    (errors.NotFound, 4),
    (errors.Conflict, 5),
    (errors.NotAllowed, 5),
    (errors.Unavailable, 6),
    (Unreachable, 6),
    (ServerFailed, 7),
    (TookTooLong, 8),
)
_LISTS: Mapping[str, str] = {
    "Server": "minicloud list",
    "Image": "minicloud image list",
    "Flavor": "minicloud flavor list",
    "Network": "minicloud network list",
    "Key pair": "minicloud key list",
    "Volume": "minicloud volume list",
    "Host": "minicloud host list",
}
"""Kind of thing -> the command that shows which there are."""


class Told(click.ClickException):
    """A problem in words, as the program ends with it."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self._code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a constant for each class
        return self._code

    @classmethod
    def of(cls, problem: Exception) -> Told:
        return cls(*explain(problem))

    def show(self, file: IO[Any] | None = None) -> None:
        head = click.style("Error:", fg="red", bold=True)
        click.echo(f"{head} {_fitted(self.message)}", file=file, err=file is None)


def _fitted(text: str) -> str:
    """``text`` with its lines broken between words where a terminal would break them in words."""
    if not sys.stderr.isatty():
        return text
    room = shutil.get_terminal_size().columns
    lines = text.splitlines()
    lines[0] = f"Error: {lines[0]}"
    broken = "\n".join(
        textwrap.fill(line, room, subsequent_indent=_indent(line), break_long_words=False)
        for line in lines
    )
    return broken.removeprefix("Error: ")


def _indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip()))


def explain(problem: Exception) -> tuple[str, int]:
    """(sentence, exit code)"""
    code = next((code for kind, code in _CODES if isinstance(problem, kind)), 1)
    if isinstance(problem, errors.Unauthenticated):
        return "The cloud refused the credentials: look at clouds.yaml, or at OS_* variables.", 3
    if isinstance(problem, errors.Unavailable):
        return f"{problem.message}. Is the cloud up? 'minicloud doctor' looks.", code
    if isinstance(problem, errors.NotFound):
        there = _LISTS.get(str(problem.facts.get("kind")))
        return problem.message + (f" See '{there}'." if there else ""), code
    if isinstance(problem, _OURS):
        return str(problem), code
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.strerror}: {problem.filename or ''}".rstrip(": "), code
    return f"{type(problem).__name__}: {problem} (--debug shows where)", code
