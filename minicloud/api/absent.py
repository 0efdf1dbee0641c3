"""What this cloud has none of yet, said truly: empty lists, and nothing to be found in them."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.kit.web import Call
from minicloud.kit.web.route import Handler


def empty(key: str) -> Handler:
    """A handler that answers an empty list under ``key``."""

    def handler(_call: Call) -> Any:
        return {key: []}

    return handler


def unknown(kind: str, parameter: str) -> Handler:
    """A handler that finds none of ``kind``, whatever the path's ``parameter`` says."""

    def handler(call: Call) -> Any:
        raise NotFound(kind=kind, id=call.params[parameter])

    return handler
