"""The image service as a whole: every endpoint, each noun's from its own module."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from werkzeug.datastructures import Headers

from minicloud.kit.context import Context
from minicloud.kit.policy import Policy
from minicloud.kit.web import Route, Service, dialects


class Routes(Protocol):
    """The endpoints of some noun."""

    def routes(self) -> list[Route]: ...


def rest_service(
    nouns: Iterable[Routes],
    policy: Policy,
    authenticate: Callable[[Headers, dict[str, float], str], Context],
) -> Service:
    return Service(
        name="image",
        routes=[row for noun in nouns for row in noun.routes()],
        policy=policy,
        dialect=dialects.glance,
        catalog_types=frozenset({"image"}),
        authenticate=authenticate,
        unauthenticated_headers={"WWW-Authenticate": "Keystone"},
    )
