"""A launch as a person watches it: seven or eight stages out of the trace's 28 steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ACTIVE = "ACTIVE"
_REQUEST = 3
"""The step with which a launch begins."""


class Stage(NamedTuple):
    """A stage that has been reached. A launch that moves to another host reaches it again."""

    name: str
    at_s: float | None
    """Seconds since the launch was received; None where nobody recorded it."""
    detail: str
    host: str


_PLACED, _VOLUMES = 11, 27
_FROM_TRACE: Sequence[tuple[int, str, str]] = (
    (_PLACED, "placed", "looking for a host"),
    (21, "image ready", "fetching the image"),
    (24, "network ready", "wiring the network"),
    (_VOLUMES, "volumes ready", "attaching the volumes"),
    (28, "guest started", "starting the guest"),
)
"""(number of the step that ends it, stage, what is going on until then)"""


def reached(
    trace: Mapping[str, Any] | None, server: Mapping[str, Any], *, volumes: bool
) -> list[Stage]:
    """The stages that ``trace`` and ``server`` tell of, in order. Without ``volumes`` that stage
    is left out; without a trace (another cloud's) only ACTIVE is known."""
    steps = {step["number"]: step for step in (trace or {}).get("steps", ())}
    begin = _begin(steps)
    stages = []
    where = ""
    for number, name, _ in _wanted(volumes):
        step = steps.get(number)
        if step is None or step["start"] is None or step["result"] == "Error":
            break
        detail = str(step["detail"] or "")
        if number == _PLACED:
            where, detail = detail, f"on {detail}"
        elif step["host"] != where:
            break  # it was done on a host that then failed the launch
        at = None if begin is None else step["start"] + (step["duration"] or 0.0) - begin
        stages.append(Stage(name, at, detail, where))
    if server["status"] == ACTIVE:
        stages.append(Stage(ACTIVE, None, "", where))
    return stages


def doing(stages: Sequence[Stage], *, volumes: bool) -> str:
    """What is going on after the last of ``stages``."""
    names = {stage.name for stage in stages}
    for _, name, words in _wanted(volumes):
        if name not in names:
            return words
    return "waiting for ACTIVE"


def _wanted(volumes: bool) -> list[tuple[int, str, str]]:
    return [row for row in _FROM_TRACE if volumes or row[0] != _VOLUMES]


def _begin(steps: Mapping[int, Mapping[str, Any]]) -> float | None:
    starts = [s["start"] for n, s in steps.items() if n >= _REQUEST and s["start"] is not None]
    return min(starts) if starts else None
