"""Tells hosts that something changed which may concern them.

A hint is sent after the change is in the database and may get lost: what a host has to have is
in the rows, and every host asks for it every few seconds anyway. Changes that come close together
make one hint.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import MinicloudError
from minicloud.kit.web import Call, Route

LOG = logging.getLogger(__name__)
_UNCONCERNED = ("/tags", "/quotas", "/minicloud-host-wiring")
_GATHER_S = 0.01
_PAUSE_S = 0.1
"""Between two hints: many changes one after another make ten hints a second."""


class Hint(msgspec.Struct, frozen=True, kw_only=True):
    """``things``: ids of the networks and security groups that changed; none: anything may have.

    ``origin``: the one host that knows already.
    """

    things: Collection[str] = frozenset()
    origin: str = ""

    def and_also(self, other: Hint) -> Hint:
        if not self.things or not other.things:
            return Hint()
        return Hint(
            things=frozenset(self.things) | frozenset(other.things),
            origin=self.origin if self.origin == other.origin else "",
        )


class Hints:
    """``send`` gives a hint to all hosts. ``start`` it; hints before that wait."""

    def __init__(self, send: Callable[[Hint], None]) -> None:
        self._send = send
        self._pending: Hint | None = None
        self._condition = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._condition:
            self._ending = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join(5)

    def changed(self, hint: Hint | None = None) -> None:
        """None: anything may have changed."""
        said = hint or Hint()
        with self._condition:
            self._pending = said if self._pending is None else self._pending.and_also(said)
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._pending is None and not self._ending:
                    self._condition.wait()
                if self._ending:
                    return
                # More of the same kind is often just behind.
                self._condition.wait(_GATHER_S)
                hint, self._pending = self._pending, None
            if hint is not None:
                self._try(hint)
            with self._condition:
                self._condition.wait_for(lambda: self._ending, _PAUSE_S)

    def _try(self, hint: Hint) -> None:
        try:
            self._send(hint)
        except MinicloudError as problem:
            LOG.info("Hosts were not told of a change, and will ask: %s", problem.message)


def telling(routes: Sequence[Route], hints: Hints) -> list[Route]:
    """The same routes; those that change something tell of it when they have."""
    return [_telling(route, hints) if _changes_wiring(route) else route for route in routes]


def _changes_wiring(route: Route) -> bool:
    return route.method != "GET" and not any(part in route.path for part in _UNCONCERNED)


def _telling(route: Route, hints: Hints) -> Route:
    handler = route.handler

    def handle(call: Call) -> Any:
        answer = handler(call)
        hints.changed(_hint_of(route, call, answer))
        return answer

    return msgspec.structs.replace(route, handler=handle)


def _hint_of(route: Route, call: Call, answer: Any) -> Hint | None:
    """Only of ports that are made or bound is it known whom they concern: these are many."""
    if not route.path.startswith("/v2.0/ports") or not isinstance(answer, dict):
        return None
    ports = answer.get("ports") or [answer["port"]]
    bound = getattr(getattr(call.body, "port", call.body), "host", None)
    if route.method == "PUT" and not isinstance(bound, str):
        return None
    things = {port["network_id"] for port in ports}
    things |= {name for port in ports for name in port["security_groups"]}
    return Hint(things=things, origin=bound if isinstance(bound, str) else "")
