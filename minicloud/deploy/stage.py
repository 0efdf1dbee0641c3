"""A stage of the installation and how a run of them looks to a person.

One line a stage, with its duration; a failure says what failed, why, what to do and where the
log is. Knows nothing of what the stages do.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

_NAME_WIDTH = 24
_OUTCOME_WIDTH = 38
_LOG_LINES = 15


@dataclasses.dataclass
class StageFailed(Exception):
    """What to tell the person: ``what`` failed and ``why``, ``advice``, the ``log`` to read."""

    what: str
    why: str = ""
    advice: str = ""
    log: Path | None = None

    def __str__(self) -> str:
        return self.what


@dataclasses.dataclass(frozen=True)
class Stage:
    """``run`` looks first and does only what is missing; it answers with a few words.

    ``begin``, where there is one, is called before the first stage runs: it sets going what
    takes long and needs no other stage. It may be called for nothing.
    """

    name: str
    run: Callable[[], str]
    begin: Callable[[], None] | None = None


def run_stages(
    stages: Sequence[Stage], *, first: int = 1, total: int | None = None, out: TextIO | None = None
) -> bool:
    """Run them in order, one line each. False when one failed: the rest is not run then."""
    out = out or sys.stdout
    total = total or first - 1 + len(stages)
    begun: dict[str, StageFailed] = {}
    for stage in stages:
        if stage.begin is not None:
            try:
                stage.begin()
            except StageFailed as failure:
                begun[stage.name] = failure  # told when it is that stage's turn
    for number, stage in enumerate(stages, first):
        dots = "." * max(_NAME_WIDTH - len(stage.name), 2)
        out.write(f"[{number:2}/{total}] {stage.name} {dots} ")
        out.flush()
        since = time.monotonic()
        try:
            if stage.name in begun:
                raise begun[stage.name]
            outcome = stage.run()
        except StageFailed as failure:
            out.write(f"failed\n\n{describe(failure)}\n")
            return False
        out.write(f"{outcome:<{_OUTCOME_WIDTH}} {time.monotonic() - since:6.1f} s\n")
        out.flush()
    return True


def describe(failure: StageFailed) -> str:
    """The failure in words, with the end of its log."""
    lines = [failure.what]
    if failure.why:
        lines.append(f"Why: {failure.why}")
    if failure.advice:
        lines.append(f"What to do: {failure.advice}")
    if failure.log is not None:
        lines.append(f"The end of {failure.log}:")
        lines += [f"    {line}" for line in tail(failure.log, _LOG_LINES)]
    lines.append("Then run the same command again: it goes on where it stopped.")
    return "".join(f"  {line}\n" for line in lines)


def tail(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of a file that may be long or missing."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 400 * count))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return [f"(cannot be read: {error.strerror})"]
    return lines[-count:] or ["(it is empty)"]
