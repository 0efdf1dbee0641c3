"""Scheduler hints: what a launch may say about its place, checked. Hints that nothing here knows
are kept and have no effect, as in any cloud whose scheduler has no filter for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    group = hints.get("group")
    if group is not None and not (isinstance(group, str) and is_uuid(group)):
        raise Invalid(reason="Invalid input for field/attribute group: it must be a UUID.")
    for name in ("same_host", "different_host"):
        named = hints.get(name)
        if named is None:
            continue
        if not isinstance(named, (str, list)) or len(named) > _MOST * 36:
            raise Invalid(reason=f"Invalid input for field/attribute {name}: a list of UUIDs.")
        if not all(isinstance(each, str) and is_uuid(each) for each in texts(named)):
            raise Invalid(reason=f"Invalid input for field/attribute {name}: a list of UUIDs.")
    if hints.get("query") is not None:
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
