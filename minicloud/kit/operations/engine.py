"""Runs recipes: forward, and back when a step failed.

Another service that is away for a moment (``Unavailable``) fails no step: it is asked again,
with growing pauses, until ``patience_s`` is over. A cancelled run stops before its next step and
undoes nothing: whoever cancelled it removes everything.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import NamedTuple, TypeVar

from minicloud.domain.errors import MinicloudError, Unavailable
from minicloud.kit.operations.recipe import Journal, Recipe, Step

LOG = logging.getLogger(__name__)
S = TypeVar("S")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0


class Ended(NamedTuple):
    """How a run ended: done, failed (and undone), stuck (an undo failed) or cancelled."""

    result: str
    step: str = ""
    problem: Exception | None = None

    @property
    def message(self) -> str:
        if self.problem is None:
            return ""
        if isinstance(self.problem, MinicloudError):
            return f"{self.step}: {self.problem.message}"
        return f"{self.step}: {type(self.problem).__name__}"


def run(
    recipe: Recipe[S],
    state: S,
    *,
    journal: Journal,
    cancelled: threading.Event,
    patience_s: float = 60.0,
) -> Ended:
    """Do every step in order; at the first that fails, undo all of them."""
    for step in recipe.steps:
        if cancelled.is_set():
            return Ended("cancelled", step.name)
        journal.started(step.name)
        try:
            _with_patience(step, state, cancelled, patience_s)
        except Exception as problem:
            if not cancelled.is_set():
                _log(recipe, step, problem)
            journal.finished(step.name, problem=Ended("failed", step.name, problem).message)
            if cancelled.is_set():
                return Ended("cancelled", step.name)
            undone = unwind(recipe, state, journal=journal)
            return undone if undone.result == "stuck" else Ended("failed", step.name, problem)
        journal.finished(step.name, problem=None)
    return Ended("done")


def unwind(recipe: Recipe[S], state: S, *, journal: Journal) -> Ended:
    """Undo every step, last first; go on past one that fails, so that little is left."""
    stuck: Ended | None = None
    for step in reversed(recipe.steps):
        if step.undo is None:
            continue
        name = f"undo:{step.name}"
        journal.started(name)
        try:
            step.undo(state)
        except Exception as problem:
            LOG.exception("Could not undo step %s of %s; it is tried again", step.name, recipe.verb)
            stuck = stuck or Ended("stuck", name, problem)
            journal.finished(name, problem=Ended("stuck", name, problem).message)
        else:
            journal.finished(name, problem=None)
    return stuck or Ended("failed")


def _with_patience(step: Step[S], state: S, cancelled: threading.Event, patience_s: float) -> None:
    give_up_at = time.monotonic() + patience_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            step.do(state)
            return
        except Unavailable as problem:
            if time.monotonic() + pause > give_up_at:
                raise
            LOG.warning("Step %s waits: %s", step.name, problem.message)
            if cancelled.wait(pause):
                raise
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def _log(recipe: Recipe[S], step: Step[S], problem: Exception) -> None:
    if isinstance(problem, MinicloudError):
        LOG.warning("Step %s of %s failed: %s", step.name, recipe.verb, problem.message)
    else:
        LOG.error("Step %s of %s failed unforeseen", step.name, recipe.verb, exc_info=problem)
