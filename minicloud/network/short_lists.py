"""Lists that are short, or made up from other rows: the same query language as in SQL, over JSON
values in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid
from minicloud.network.query import Kind, ListQuery, parse

Json = dict[str, Any]


def listed(
    args: MultiDict[str, str], plural: str, views: Sequence[Json], kinds: Mapping[str, Kind]
) -> Json:
    """The body of a list request ``args`` over ``views``, whose attributes are of these
    ``kinds``. Invalid.
    """
    query = parse(args, kinds)
    found = [view for view in views if _fits(view, query)]
    for name, descending in reversed(query.sorts):
        found.sort(key=lambda view: (view.get(name) is None, view.get(name)), reverse=descending)
    if query.marker is not None:
        names = [view.get("id") for view in found]
        if query.marker not in names:
            raise Invalid(reason=f"marker {query.marker[:64]} could not be found.")
        place = names.index(query.marker)
        found = found[:place] if query.reverse else found[place + 1 :]
    if query.limit is not None:
        found = found[-query.limit :] if query.reverse else found[: query.limit]
    if query.fields:
        found = [{key: view[key] for key in view if key in query.fields} for view in found]
    return {plural: found}


def _fits(view: Json, query: ListQuery) -> bool:
    return all(view.get(name) in values for name, values in query.filters.items())
