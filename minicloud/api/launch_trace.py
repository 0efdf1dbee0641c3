"""Steps 1 to 7 of a launch, as the API knows them. Pure: it is told what happened when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from minicloud.client.identity import TokenFacts
from minicloud.domain.steps import StepRecord


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds since the epoch."""

    arrived: float
    opening: float
    """When the transaction was asked for."""
    opened: float
    written: float


def steps_of(
    host: str, moments: Moments, timings: Mapping[str, float], facts: TokenFacts | None
) -> Sequence[StepRecord]:
    """``timings``: the request's ``token`` and ``identity`` milliseconds; without the latter the
    token was believed from the cache."""
    cached = "identity" not in timings
    why = "cached" if cached else ""
    steps = [] if facts is None else _token_steps(facts)
    steps += [
        _step(3, moments.arrived, moments.written - moments.arrived, "client"),
        _step(4, moments.arrived, timings.get("token", 0.0) / 1000, "api", host, why),
        _step(5, moments.arrived, timings.get("identity", 0.0) / 1000, "identity", "", why),
        _step(6, moments.opening, moments.opened - moments.opening, "api", host),
        _step(7, moments.opened, moments.written - moments.opened, "api", host),
    ]
    return steps


def _token_steps(facts: TokenFacts) -> list[StepRecord]:
    took = None if facts.issue_ms is None else facts.issue_ms / 1000
    start = facts.issued_at - (took or 0.0)
    return [_step(1, start, 0.0, "client"), _step(2, start, took, "identity")]


def _step(
    number: int,
    start: float,
    duration: float | None,
    service: str,
    host: str = "",
    detail: str = "",
) -> StepRecord:
    return StepRecord(
        number=number,
        start=start,
        duration=None if duration is None else max(duration, 0.0),
        service=service,
        host=host,
        detail=detail,
    )
