"""Query strings of lists as values. Everything a client may misspell is a 400 here, not in SQL."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid
from minicloud.kit import clock
from minicloud.kit.web import Query, Version
from minicloud.kit.web.paging import next_link
from minicloud.kit.web.route import Call
from minicloud.volume.access import sees_all
from minicloud.volume.listing import COMPARISONS, Kind, Listing

MAX_LIMIT = 1000
T = TypeVar("T")
_LIKE = (3, 34)
_COUNT = (3, 45)
_TIMES = (3, 60)
_NEVER_STRICT = (99, 0)
_PAGING = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants",
           "project_id")  # fmt: skip
_TIME_NAMES = ("created_at", "updated_at")


def parameters(kind: Kind, *more: str, since: Mapping[str, Version] | None = None) -> Query:
    """Which parameters a list of ``kind`` has, and since when. Others are passed over, as in
    Cinder.
    """
    names = {*_PAGING, *kind.pairs, *kind.equal, *kind.numbers, *kind.flags, *more}
    like = {f"{name}~" for name in kind.equal}
    times = {name for name in _TIME_NAMES if name in kind.sort}
    return Query(
        names=frozenset(names | like | times | {"with_count"}),
        since={
            **dict.fromkeys(like, _LIKE),
            **dict.fromkeys(times, _TIMES),
            "with_count": _COUNT,
            **(since or {}),
        },
        strict_from=_NEVER_STRICT,
    )


def text(call: Call, name: str) -> str | None:
    """A query parameter without control characters. Invalid."""
    value = call.query.get(name)
    if value is not None and any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise Invalid(reason=f"{name} must not contain control characters.")
    return value


def page_size(call: Call) -> int:
    limit = call.number("limit", MAX_LIMIT)
    return MAX_LIMIT if limit is None else min(limit, MAX_LIMIT)


def asked(call: Call, project: str, kind: Kind) -> Listing:
    """The list that the query describes. Invalid."""
    equal: dict[str, Any] = {}
    for name in kind.equal:
        value = text(call, name)
        if value is not None:
            equal[name] = value.lower() if name == "status" else value
    for name in kind.flags:
        if name in call.query:
            equal[name] = call.flag(name)
    for name in kind.numbers:
        number = call.number(name)
        if number is not None:
            equal[name] = number
    like = {name: text(call, f"{name}~") or "" for name in kind.equal if f"{name}~" in call.query}
    return Listing(
        kind=kind,
        project_id=project_asked(call, project),
        limit=page_size(call) + 1,
        marker=text(call, "marker"),
        offset=call.number("offset", 0) or 0,
        sort=_sort(call, kind),
        equal=equal,
        like=like,
        compare=_times(call, kind),
        pairs={name: pairs_of(name, text(call, name)) for name in kind.pairs},
    )


def answer(
    call: Call,
    key: str,
    found: Sequence[T],
    view: Callable[[T], Any],
    *,
    id_of: Callable[[T], str],
    count: Callable[[], int] | None = None,
) -> dict[str, Any]:
    """A page as the body of an answer: ``found`` is what the list has, one more than fits where
    there is another page.
    """
    limit = page_size(call)
    page = found[:limit]
    body: dict[str, Any] = {key: [view(each) for each in page]}
    if page and len(found) > limit:
        body[f"{key}_links"] = links(call, id_of(page[-1]))
    if count is not None and call.flag("with_count"):
        body["count"] = count()
    return body


def project_asked(call: Call, project: str) -> str | None:
    """Whose things a list shows; None: everybody's."""
    # Who may not see all projects is not told so: the wish is passed over, as in Cinder.
    if not call.flag("all_tenants") or not sees_all(call.ctx):
        return project
    return text(call, "project_id") or None


def _sort(call: Call, kind: Kind) -> list[tuple[str, bool]]:
    pairs = []
    for part in filter(None, (text(call, "sort") or "").split(",")):
        key, _, direction = part.partition(":")
        pairs.append((key.strip(), direction.strip() or "desc"))
    if not pairs and "sort_key" in call.query:
        pairs = [(call.query["sort_key"], call.query.get("sort_dir") or "desc")]
    for key, direction in pairs:
        if key not in kind.sort or direction not in ("asc", "desc"):
            raise Invalid(reason=f"Invalid sort: use {', '.join(kind.sort)} with asc or desc.")
    return [(key, direction == "asc") for key, direction in pairs]


def _times(call: Call, kind: Kind) -> list[tuple[str, str, float]]:
    """``created_at=gt:2026-01-01T00:00:00,lt:...``"""
    found = []
    for name in _TIME_NAMES:
        if name not in kind.sort:
            continue
        for part in filter(None, (text(call, name) or "").split(",")):
            operator, colon, written = part.partition(":")
            if not colon or operator not in COMPARISONS:
                operator, written = "eq", part
            try:
                found.append((name, operator, clock.parse(written)))
            except (ValueError, OverflowError):
                raise Invalid(
                    reason=f"Filter {name} must be [operator:]time, with one of "
                    f"{', '.join(COMPARISONS)} and an ISO 8601 time."
                ) from None
    return found


def pairs_of(name: str, written: str | None) -> dict[str, str]:
    """``{"a": "b"}``, as JSON or as the Python literal that older clients write."""
    if not written:
        return {}
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(written[:4096])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise Invalid(reason=f"{name} must be a JSON object of names and values.")
    pairs = {str(key): str(each) for key, each in value.items()}
    if any("\0" in part for pair in pairs.items() for part in pair):
        raise Invalid(reason=f"{name} must not contain NUL.")
    return pairs


def links(call: Call, last_id: str) -> list[dict[str, str]]:
    """The ``..._links`` of a page that ends with ``last_id``."""
    # The marker stands for everything before it, the offset of this page too.
    query: MultiDict[str, str] = MultiDict(
        (key, value) for key, value in call.query.items(multi=True) if key != "offset"
    )
    return [{"rel": "next", "href": next_link(call.base_url + call.path, query, last_id)}]
