"""From rows to the domain's values. Knows no table."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

T = TypeVar("T")


def records(result: sa.CursorResult[Any], kind: type[T]) -> list[T]:
    """Every row as ``kind``; columns that it has no field for are left out."""
    # SQLAlchemy's column names are a subclass of str, which msgspec refuses as keys.
    names = [str(name) for name in result.keys()]  # noqa: SIM118 - a result is not a mapping
    return [
        msgspec.convert(dict(zip(names, row, strict=True)), kind, strict=False) for row in result
    ]


def record(result: sa.CursorResult[Any], kind: type[T]) -> T | None:
    """The first row as ``kind``; None where there is none."""
    found = records(result, kind)
    return found[0] if found else None
