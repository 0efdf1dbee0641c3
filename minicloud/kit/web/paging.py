"""Lists in pages: limit, marker, sorting and ``next`` links, as values.

For lists that come from memory or a short query; long lists page in SQL with the same rules
(``page_clause``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid

T = TypeVar("T")


def next_link(base: str, query: MultiDict[str, str], last_id: str) -> str:
    """``base`` with the request's own query and ``marker`` moved on to ``last_id``."""
    pairs = [(key, value) for key, value in query.items(multi=True) if key != "marker"]
    return f"{base}?{urlencode([*pairs, ('marker', last_id)])}"


def page(
    rows: Sequence[T], ids: Sequence[str], *, limit: int | None, marker: str | None
) -> tuple[Sequence[T], bool]:
    """The rows after ``marker``, at most ``limit``, and whether there are more."""
    start = 0
    if marker is not None:
        try:
            start = ids.index(marker) + 1
        except ValueError:
            raise Invalid(reason=f"marker [{marker[:64]}] not found") from None
    end = len(rows) if limit is None else min(len(rows), start + limit)
    return rows[start:end], end < len(rows)
