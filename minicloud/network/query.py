"""What a list request asks for, as a value: filters, fields, sorting, page. Pure.

Which attributes exist is ``attributes.py``'s to say; SQL is ``listing.py``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid
from minicloud.network import ipam

Kind = Literal["text", "flag", "number", "address", "time"]
"""How an attribute is spelled in a query. A time sorts, but filters nothing."""
_TAG_FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")
_RESERVED = ("fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir", "fixed_ips")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST = 2**31


class FixedIpFilter(msgspec.Struct, frozen=True, kw_only=True):
    numbers: Sequence[int] = ()
    parts: Sequence[str] = ()
    """Parts of addresses as text, any of which will do."""
    subnet_ids: Sequence[str] = ()


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One list request. ``filters``: attribute -> values, any of which will do."""

    filters: Mapping[str, Sequence[Any]] = {}
    fixed_ips: FixedIpFilter | None = None
    tags: Mapping[str, Sequence[str]] = {}
    """tags, tags-any, not-tags, not-tags-any -> tags."""
    fields: Sequence[str] = ()
    sorts: Sequence[tuple[str, bool]] = ()
    """(attribute, descending) pairs."""
    limit: int | None = None
    marker: str | None = None
    reverse: bool = False
    viewer: str = ""
    """The project that asks: what is shared is shared with it."""


def parse(args: MultiDict[str, str], kinds: Mapping[str, Kind]) -> ListQuery:
    """The query string ``args`` over attributes of these ``kinds``. Invalid names the key."""
    for key, value in args.items(multi=True):
        if _CONTROL.search(key) or _CONTROL.search(value):
            raise Invalid(reason="The query holds control characters.")
    filters: dict[str, list[Any]] = {}
    for key in args:
        if key in _RESERVED or key in _TAG_FILTERS:
            continue
        if kinds.get(key, "time") == "time":
            raise Invalid(reason=f"['{key[:64]}'] is invalid attribute for filtering")
        filters[key] = [_value(key, text, kinds[key]) for text in args.getlist(key)]
    return ListQuery(
        filters=filters,
        fixed_ips=_fixed_ips(args.getlist("fixed_ips")),
        tags={
            key: [tag for text in args.getlist(key) for tag in text.split(",") if tag]
            for key in _TAG_FILTERS
            if key in args
        },
        fields=[name for text in args.getlist("fields") for name in text.split(",") if name],
        sorts=_sorts(args.getlist("sort_key"), args.getlist("sort_dir"), kinds),
        limit=_limit(args.get("limit")),
        marker=args.get("marker") or None,
        reverse=_flag("page_reverse", args.get("page_reverse", "false")),
    )


def _value(key: str, text: str, kind: Kind) -> Any:
    if kind == "flag":
        return _flag(key, text)
    if kind == "number":
        return _number(key, text)
    if kind == "address":
        return ipam.number_of(text) if text else None
    return text


def _flag(key: str, text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "on", "t", "y"):
        return True
    if text.lower() in ("false", "0", "no", "off", "f", "n"):
        return False
    raise Invalid(reason=f"Invalid input for {key}: '{text[:64]}' is neither true nor false.")


def _number(key: str, text: str) -> int:
    if not re.fullmatch(r"-?\d{1,10}", text, re.ASCII) or abs(int(text)) >= _LARGEST:
        raise Invalid(reason=f"Invalid input for {key}: '{text[:64]}' is not a whole number.")
    return int(text)


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    number = _number("limit", text)
    if number < 0:
        raise Invalid(reason=f"Limit must be an integer 0 or greater and not '{number}'.")
    return number or None


def _sorts(
    keys: Sequence[str], directions: Sequence[str], kinds: Mapping[str, Kind]
) -> list[tuple[str, bool]]:
    if len(directions) > len(keys):
        raise Invalid(reason="The number of sort_keys and sort_dirs must be same")
    pairs = []
    for number, key in enumerate(keys):
        direction = directions[number] if number < len(directions) else "asc"
        if direction not in ("asc", "desc"):
            raise Invalid(reason="sort_dir must be asc or desc.")
        if key not in kinds:
            raise Invalid(reason=f"['{key[:64]}'] is invalid attribute for sort_keys")
        pairs.append((key, direction == "desc"))
    return pairs


def _fixed_ips(texts: Sequence[str]) -> FixedIpFilter | None:
    if not texts:
        return None
    numbers: list[int] = []
    subnet_ids: list[str] = []
    parts: list[str] = []
    for text in texts:
        for part in text.split(","):
            key, separator, value = part.strip().partition("=")
            if key == "ip_address" and separator:
                numbers.append(ipam.number_of(value))
            elif key == "ip_address_substr" and separator:
                parts.append(value.lower())
            elif key == "subnet_id" and separator:
                subnet_ids.append(value)
            else:
                raise Invalid(
                    reason="fixed_ips takes ip_address=..., ip_address_substr=... or subnet_id=..."
                )
    return FixedIpFilter(numbers=numbers, parts=parts, subnet_ids=subnet_ids)
