"""What a recipe is, and the rules its steps obey.

1. ``do`` may run again after it succeeded: it asks for an end state and looks before it acts.
   That is all there is to recovery: a resumed recipe starts at its first step.
2. ``undo`` may run when ``do`` never did, or only half.
3. Everything made outside has a name that can be computed again (``domain.ids``).
4. A step catches no error it does not understand; only the engine decides what an error means.
5. A step that waits does so with a limit.
6. What a step finds out, it leaves in the state object for later steps; nothing of it needs to
   survive the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S")
"""The state object that the steps of one run share."""


class Step(NamedTuple, Generic[S]):
    name: str
    do: Callable[[S], None]
    undo: Callable[[S], None] | None = None


class Recipe(NamedTuple, Generic[S]):
    verb: str
    steps: Sequence[Step[S]]


class Journal(Protocol):
    """Told of every step before and after it runs. Must not raise."""

    def started(self, step: str) -> None: ...

    def finished(self, step: str, *, problem: str | None) -> None: ...
