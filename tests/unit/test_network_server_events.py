"""Compute is told of changes, together where they come together, and again while it is away."""

from __future__ import annotations

import queue
from collections.abc import Collection

from minicloud.domain.errors import Invalid, Unavailable
from minicloud.network.server_events import ServerEvents


def test_what_compute_did_not_hear_is_said_again() -> None:
    heard: queue.Queue[list[str]] = queue.Queue()
    problems = [Unavailable(service="compute", reason="down"), Invalid(reason="odd"), None]

    def send(server_ids: Collection[str]) -> None:
        heard.put(sorted(server_ids))
        problem = problems.pop(0)
        if problem is not None:
            raise problem

    events = ServerEvents(send, pause_s=0.001)
    events.changed(["b"])
    events.changed(["a"])
    events.start()
    try:
        assert heard.get(timeout=30) == ["a", "b"]
        assert heard.get(timeout=30) == ["a", "b"]  # it was away
        events.changed(["c"])  # the refusal was final
        assert heard.get(timeout=30) == ["c"]
    finally:
        events.stop()
