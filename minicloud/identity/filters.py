"""The query of a list: ``name=x``, ``name__icontains=x``, ``enabled=false``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.identity.store import Match
from minicloud.kit.web import Call

_HOW = ("contains", "startswith", "endswith")
_FLAGS = ("enabled",)


def read(call: Call, columns: Mapping[str, str]) -> tuple[dict[str, Any], list[Match]]:
    """What a list is asked for: column -> value, and texts to find.

    ``columns``: query parameter -> column. Parameters that are not known are let through, as
    Keystone does; a comparison that is not known is, too.
    """
    equal: dict[str, Any] = {}
    matches = []
    for key, value in call.query.items(multi=True):
        name, _, how = key.partition("__")
        column = columns.get(name)
        if column is None:
            continue
        if column in _FLAGS:
            if not how:
                equal[column] = call.flag(name)
        elif not how:
            equal[column] = value
        elif how.removeprefix("i") in _HOW:
            matches.append(Match(column, how.removeprefix("i"), value, how.startswith("i")))
    return equal, matches


def names(columns: Mapping[str, str]) -> frozenset[str]:
    """Every query parameter that ``read`` looks at."""
    found = set(columns)
    for name, column in columns.items():
        if column not in _FLAGS:
            found |= {f"{name}__{case}{how}" for case in ("", "i") for how in _HOW}
    return frozenset(found)


def tags(call: Call) -> list[tuple[str, frozenset[str]]]:
    """The conditions on tags: (``tags``, ``tags-any``, ``not-tags`` or ``not-tags-any``, tags)."""
    found = []
    for how in ("tags", "tags-any", "not-tags", "not-tags-any"):
        if how in call.query:
            wanted = frozenset(call.query[how].split(","))
            if "" in wanted:
                raise Invalid(reason=f"{how} must be tags with commas between them.")
            found.append((how, wanted))
    return found


def has_tags(mine: frozenset[str], conditions: list[tuple[str, frozenset[str]]]) -> bool:
    for how, wanted in conditions:
        every = how in ("tags", "not-tags")
        fits = wanted <= mine if every else bool(wanted & mine)
        if fits == how.startswith("not-"):
            return False
    return True
