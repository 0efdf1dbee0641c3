"""One collection as data, and the endpoints that every collection has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Route
from minicloud.network.attributes import Collection
from minicloud.network.caller import Caller
from minicloud.network.calls import caller_of, id_in
from minicloud.network.query import ListQuery, parse

Json = dict[str, Any]
_LARGEST_PAGE = 10_000


class Noun(msgspec.Struct, frozen=True, kw_only=True):
    """One collection: its words on the wire, its bodies, and the functions that serve it."""

    name: str
    path: str
    collection: Collection
    post: Any
    create: Callable[[Caller, Any], list[Json]]
    find: Callable[[Caller, ListQuery], list[Json]]
    show: Callable[[Caller, str], Json]
    delete: Callable[[Caller, str], None]
    put: Any = None
    update: Callable[[Caller, str, Any], Json] | None = None


def noun_routes(noun: Noun) -> list[Route]:
    plural = noun.collection.plural
    kind = noun.name.replace("_", " ")

    def create(call: Call) -> Json:
        one, many = getattr(call.body, noun.name), getattr(call.body, plural)
        if (one is msgspec.UNSET) == (many is msgspec.UNSET):
            raise Invalid(reason=f"The request body has either '{noun.name}' or '{plural}'.")
        if many is msgspec.UNSET:
            return {noun.name: noun.create(caller_of(call), [one])[0]}
        return {plural: noun.create(caller_of(call), many)}

    def list_(call: Call) -> Json:
        caller = caller_of(call)
        query = parse(call.query, noun.collection.kinds(privileged=caller.is_privileged))
        limit = min(query.limit or _LARGEST_PAGE, _LARGEST_PAGE)
        found = noun.find(
            caller, msgspec.structs.replace(query, limit=limit, viewer=caller.project_id)
        )
        body: Json = {plural: [chosen(view, query.fields) for view in found]}
        if query.limit is not None or len(found) == _LARGEST_PAGE:
            body[f"{plural}_links"] = links(call, query, found, limit)
        return body

    def show(call: Call) -> Json:
        fields = parse(call.query, {}).fields
        return {noun.name: chosen(noun.show(caller_of(call), id_in(call, kind)), fields)}

    def delete(call: Call) -> None:
        noun.delete(caller_of(call), id_in(call, kind))

    item = noun.path + "/{id}"
    rows = [
        Route(method="POST", path=noun.path, policy=f"create_{noun.name}", status=201,
              body=noun.post, handler=create, summary=f"Create a {kind}, or several"),
        Route(method="GET", path=noun.path, policy=f"get_{noun.name}", handler=list_,
              summary=f"List {kind}s"),
        Route(method="GET", path=item, policy=f"get_{noun.name}", handler=show,
              summary=f"Show a {kind}"),
        Route(method="DELETE", path=item, policy=f"delete_{noun.name}", status=204,
              handler=delete, summary=f"Delete a {kind}"),
    ]  # fmt: skip
    update = noun.update
    if update is not None:

        def put(call: Call) -> Json:
            return {noun.name: update(caller_of(call), id_in(call, kind), call.body)}

        rows.append(
            Route(method="PUT", path=item, policy=f"update_{noun.name}", handler=put,
                  body=Body(type=noun.put, wrapper=noun.name), summary=f"Change a {kind}")
        )  # fmt: skip
    return rows


def chosen(view: Json, fields: Sequence[str]) -> Json:
    return {key: view[key] for key in view if key in fields} if fields else view


def links(call: Call, query: ListQuery, found: Sequence[Json], limit: int) -> list[Json]:
    """``next`` and ``previous``; a page that is not full is the last one in its direction."""
    base = [
        (key, value)
        for key, value in call.query.items(multi=True)
        if key not in ("marker", "page_reverse")
    ]

    def link(rel: str, marker: Any, extra: Sequence[tuple[str, str]]) -> Json:
        pairs = [*base, *([("marker", marker)] if marker else []), *extra]
        return {"rel": rel, "href": f"{call.base_url}{call.path}?{urlencode(pairs)}"}

    first = found[0]["id"] if found else query.marker
    last = found[-1]["id"] if found else query.marker
    is_short = len(found) < limit
    found_links = []
    if query.reverse or not is_short:
        found_links.append(link("next", last, ()))
    if not query.reverse or not is_short:
        found_links.append(link("previous", first, (("page_reverse", "True"),)))
    return found_links
