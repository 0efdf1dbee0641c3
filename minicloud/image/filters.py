"""The query string of an image list as an ``ImageQuery``. Every refusal is a 400.

A key that is no filter and no column is the name of a property.
"""

from __future__ import annotations

import csv

from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid
from minicloud.image import records
from minicloud.image.listing import COMPARISONS, SORT_KEYS, ImageQuery
from minicloud.image.requests import PAGE, choice, number, page_size
from minicloud.image.schemas import VISIBILITIES, plain
from minicloud.kit import clock

_IN = ("id", "name", "status", "disk_format", "container_format", "owner", "checksum",
       "os_hash_value", "os_hash_algo")  # fmt: skip
_NUMBERS = ("size", "virtual_size", "min_disk", "min_ram")
_FLAGS = ("protected", "os_hidden")
_TIMES = ("created_at", "updated_at")
_RANGES = {"size_min": "gte", "size_max": "lte"}
_OTHER = ("limit", "marker", "sort", "sort_key", "sort_dir", "visibility", "member_status", "tag")


NAMES = frozenset((*_IN, *_NUMBERS, *_FLAGS, *_TIMES, *_RANGES, *_OTHER))
"""Filters that are no property's name."""


def parse(query: MultiDict[str, str]) -> ImageQuery:
    one_of: dict[str, list[str | int | bool]] = {}
    compare: list[tuple[str, str, float]] = []
    properties: dict[str, str] = {}
    for key, value in query.items(multi=True):
        plain(key, "A filter's name")
        plain(value, key)
        if key in _IN:
            one_of[key] = list(_one_of(key, value))
        elif key in _NUMBERS:
            one_of[key] = [number(key, value)]
        elif key in _FLAGS:
            one_of[key] = [_flag(key, value)]
        elif key in _RANGES:
            compare.append(("size", _RANGES[key], number(key, value)))
        elif key in _TIMES:
            compare.append(_moment(key, value))
        elif key not in _OTHER:
            properties[key] = value
    one_of.setdefault("os_hidden", [False])
    return ImageQuery(
        one_of=one_of,
        compare=compare,
        properties=properties,
        tags=query.getlist("tag"),
        visibility=choice("visibility", query.get("visibility", ""), ("", "all", *VISIBILITIES)),
        member_status=choice(
            "member_status",
            query.get("member_status", records.ACCEPTED),
            (records.PENDING, records.ACCEPTED, records.REJECTED, "all"),
        ),
        sort=_sort(query),
        limit=page_size(query),
        marker=query.get("marker"),
    )


def _sort(query: MultiDict[str, str]) -> list[tuple[str, str]]:
    if "sort" in query:
        if "sort_key" in query or "sort_dir" in query:
            raise Invalid(reason="Use either sort or sort_key and sort_dir, not both.")
        pairs = []
        for part in query["sort"].split(","):
            key, _, direction = part.strip().partition(":")
            pairs.append((key, direction or "desc"))
    else:
        keys = query.getlist("sort_key") or ["created_at"]
        directions = query.getlist("sort_dir") or ["desc"]
        if len(directions) == 1:
            directions *= len(keys)
        if len(directions) != len(keys):
            raise Invalid(reason="Give one sort_dir, or one for each sort_key.")
        pairs = list(zip(keys, directions, strict=True))
    for key, direction in pairs:
        choice("sort key", key, tuple(SORT_KEYS))
        choice("sort direction", direction, ("asc", "desc"))
    if len(pairs) > len(SORT_KEYS) or len(dict(pairs)) != len(pairs):
        raise Invalid(reason="A sort key may be named only once.")
    last = pairs[0][1]
    for key in ("created_at", "id"):
        if key not in dict(pairs):
            pairs.append((key, last))
    return pairs


def _one_of(key: str, value: str) -> list[str]:
    """``in:a,"b,c"`` as a list of values, anything else as itself."""
    if not value.startswith("in:"):
        return [value]
    try:
        values = next(csv.reader([value[3:]], strict=True), [])
    except csv.Error:
        raise Invalid(reason=f"The list of values for {key} is not quoted correctly.") from None
    if not values or len(values) > PAGE:
        raise Invalid(reason=f"Give 1 to {PAGE} values for {key} after 'in:'.")
    return values


def _flag(key: str, value: str) -> bool:
    if value.lower() in ("true", "1", "yes", "t", "on"):
        return True
    if value.lower() in ("false", "0", "no", "f", "off"):
        return False
    raise Invalid(reason=f"{key} must be true or false, not '{value[:64]}'.")


def _moment(key: str, value: str) -> tuple[str, str, float]:
    operator, _, rest = value.partition(":")
    if operator not in COMPARISONS:
        operator, rest = "eq", value
    try:
        return key, operator, clock.parse(rest)
    except (ValueError, OverflowError):
        raise Invalid(reason=f"{key} must be a time in ISO 8601, not '{rest[:64]}'.") from None
