"""Scheduler hints: what a launch may say about its place, checked. Hints that nothing here knows
are kept and have no effect, as in any cloud whose scheduler has no filter for them.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minicloud.domain import host_query
from minicloud.domain.errors import Invalid
from minicloud.domain.ids import is_uuid

_MOST = 100
_LARGEST = 16384


def texts(value: Any) -> Sequence[str]:
    """One text or a list of them."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def check(hints: Mapping[str, Any]) -> None:
    """Raise Invalid for hints that are known and wrong, or more than anybody means."""
    if len(json.dumps(hints)) > _LARGEST:
        raise Invalid(reason=f"The scheduler hints are longer than {_LARGEST} characters.")
    for name, (fits, what) in _KNOWN.items():
        if name in hints and not fits(hints[name]):
            raise Invalid(reason=f"Invalid input for field/attribute {name}: it must be {what}.")
    if "query" in hints:
        host_query.check(query_of(hints["query"]))


def query_of(value: Any) -> Any:
    """The hint ``query`` as a list: clients send it as JSON within a text, too."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise Invalid(reason="The hint query is not JSON.") from None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and is_uuid(value)


def _are_ids(value: Any) -> bool:
    return isinstance(value, (str, list)) and len(value) <= _MOST * 36 and all(
        map(_is_id, texts(value))
    )  # fmt: skip


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _is_mask(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"/[0-9a-f.:]+", value) is not None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) == len(value) <= 255


_KNOWN: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "group": (_is_id, "a UUID"),
    "same_host": (_are_ids, "a list of UUIDs"),
    "different_host": (_are_ids, "a list of UUIDs"),
    "query": (lambda value: isinstance(value, (str, list, dict)), "a condition"),
    "build_near_host_ip": (_is_address, "an address"),
    "cidr": (_is_mask, "a slash and a mask"),
    "target_cell": (_is_name, "a name"),
}
"""Hint -> what it has to be. The last three have no effect here."""
