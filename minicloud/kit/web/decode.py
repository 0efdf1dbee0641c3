"""From bytes to a validated body: JSON, wrapper, version, type. Every refusal is a 400."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.kit.web.route import Body
from minicloud.kit.web.versions import Version

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$([^`]*)`)?", re.DOTALL)
_MOST_UNKNOWN = 100
_PLACES = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_PATTERN = re.compile(r"`str` matching regex '.*'(?= - at)", re.DOTALL)
"""What nobody who asks for a server has to read; the OpenAPI document has it."""


def parse(data: bytes) -> Any:
    """``data`` as JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid(reason="The request body is not valid JSON.") from None


def _without(value: Any, places: Sequence[tuple[str, str]], key: str) -> Any:
    """``value`` without the key of the object at ``places``: (key, index of a list), one of which
    is empty.
    """
    if not places:
        return {name: part for name, part in value.items() if name != key}
    (name, index), *rest = places
    changed = value.copy()
    at = name or int(index)
    changed[at] = _without(value[at], rest, key)
    return changed


def action_of(value: Any) -> str:
    """The one key of an action's body. Invalid when there is none, or more."""
    if not isinstance(value, dict) or len(value) != 1:
        raise Invalid(reason="The request body must be an object with one key: the action.")
    return str(next(iter(value)))


def fit(
    value: Any,
    spec: Any,
    version: Version | None,
    *,
    strict: bool = True,
    overlooks: bool = False,
) -> Any:
    """``value``, parsed JSON, as ``spec`` (a type or a Body) describes it.

    ``overlooks``: keys that nobody knows are left out; else they are refused.
    """
    if not isinstance(spec, Body):
        return convert(value, spec, strict=strict, overlooks=overlooks)
    if not isinstance(value, dict):
        raise Invalid(reason="The request body must be a JSON object.")
    if spec.wrapper:
        if spec.wrapper not in value:
            raise Invalid(reason=f"'{spec.wrapper}' is a required property of the request body.")
        outer = value
        value, extra = outer[spec.wrapper], sorted(set(outer) - {spec.wrapper, *spec.beside})
        if extra and not overlooks:
            raise Invalid(
                reason=f"Additional properties are not allowed ({', '.join(map(repr, extra))})"
            )
        if value is None and spec.may_be_null:
            value = {}
        if not isinstance(value, dict):
            raise Invalid(reason=f"'{spec.wrapper}' must be an object.")
        value = {**value, **{key: outer[key] for key in spec.beside if key in outer}}
    if version is not None:
        for key in list(value):
            first, last = spec.since.get(key), spec.until.get(key)
            if (first and version < first) or (last and version > last):
                if overlooks:
                    value = {name: part for name, part in value.items() if name != key}
                    continue
                raise Invalid(
                    reason=f"Additional properties are not allowed ('{key}' was unexpected)"
                )
        for since, lift in spec.up:
            if version < since:
                value = lift(value)
    return convert(value, spec.type, strict=strict, overlooks=overlooks)


def convert(value: Any, kind: Any, *, strict: bool = True, overlooks: bool = False) -> Any:
    """``value`` as ``kind``; Invalid says where it does not fit. ``at`` is ``$.a.b[0]``.

    Not ``strict``: numbers and flags may come as text. ``overlooks`` as in ``fit``.
    """
    for _ in range(_MOST_UNKNOWN if overlooks else 1):
        try:
            return msgspec.convert(value, kind, strict=strict)
        except (msgspec.ValidationError, RecursionError) as problem:
            words = str(problem)
        unknown = _UNKNOWN.fullmatch(words) if overlooks else None
        if unknown is None:
            break
        value = _without(value, _PLACES.findall(unknown[2] or ""), unknown[1])
    words = _PATTERN.sub("text of other characters, or of another form", words)
    if words.startswith("Object contains unknown field"):
        words = words.replace(
            "Object contains unknown field", "Additional properties are not allowed:"
        )
    raise Invalid(reason=f"Invalid input: {words}") from None
