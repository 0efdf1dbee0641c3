"""Helpers of the conversions that bring replies down to older microversions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minicloud.kit.web.versions import Conversion, Json, Version


class Rich(dict[str, Any]):
    """A reply's object with ``facts`` beside it, which only older versions show."""

    __slots__ = ("facts",)

    def __init__(self, shown: dict[str, Any], facts: dict[str, Any]) -> None:
        super().__init__(shown)
        self.facts = facts


def for_each(
    one: str, many: str, steps: Sequence[tuple[Version, Callable[[Json], None]]]
) -> list[Conversion]:
    """Conversions of ``{one: {...}}`` and ``{many: [...]}`` from steps that change one object."""

    def over(change: Callable[[Json], None]) -> Callable[[Json], Json]:
        def convert(body: Json) -> Json:
            for item in body[many] if many in body else (body[one],):
                change(item)
            return body

        return convert

    return [(since, over(change)) for since, change in steps]


def without(*keys: str) -> Callable[[Json], None]:
    """A step that takes keys away."""

    def change(item: Json) -> None:
        for key in keys:
            item.pop(key, None)

    return change
