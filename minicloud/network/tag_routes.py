"""Tags: the same six endpoints for every taggable noun."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.kit.web import Call, Reply, Route
from minicloud.kit.web.decode import convert
from minicloud.network.calls import caller_of, id_in
from minicloud.network.schemas import Tag, TagsBody
from minicloud.network.tagged import PATHS, Tags

Json = dict[str, Any]


def tag_routes(tags: Tags, path: str) -> list[Route]:
    """``path``: the collection's below /v2.0."""
    noun = PATHS[path].noun
    kind = noun.replace("_", " ")
    whole = f"/v2.0/{path}/{{id}}/tags"

    def show(call: Call) -> Json:
        return {"tags": tags.show(caller_of(call), path, id_in(call, kind))}

    def replace(call: Call) -> Json:
        wanted = call.body.tags
        return {"tags": tags.change(caller_of(call), path, id_in(call, kind), add=wanted)}

    def clear(call: Call) -> None:
        tags.change(caller_of(call), path, id_in(call, kind))

    def has(call: Call) -> Reply:
        if call.params["tag"] not in tags.show(caller_of(call), path, id_in(call, kind)):
            raise NotFound(kind="Tag", id=call.params["tag"][:64])
        return Reply(status=204)

    def add(call: Call) -> Reply:
        tag = convert(call.params["tag"], Tag)
        tags.change(caller_of(call), path, id_in(call, kind), add=[tag], remove=())
        return Reply(status=201)

    def add_some(call: Call) -> Json:
        wanted = call.body.tags
        changed = tags.change(caller_of(call), path, id_in(call, kind), add=wanted, remove=())
        return {"tags": changed}

    def remove(call: Call) -> None:
        tag = convert(call.params["tag"], Tag)
        tags.change(caller_of(call), path, id_in(call, kind), remove=[tag], must_have=True)

    read, change = f"get_{noun}", f"update_{noun}"
    return [
        Route(method="GET", path=whole, policy=read, handler=show, summary=f"List a {kind}'s tags"),
        Route(method="PUT", path=whole, policy=change, handler=replace, body=TagsBody,
              summary=f"Replace a {kind}'s tags"),
        Route(method="POST", path=whole, policy=change, handler=add_some, body=TagsBody,
              summary=f"Add tags to a {kind}"),
        Route(method="DELETE", path=whole, policy=change, handler=clear, status=204,
              summary=f"Remove a {kind}'s tags"),
        Route(method="GET", path=whole + "/{tag}", policy=read, handler=has, status=204,
              summary=f"Check a {kind}'s tag"),
        Route(method="PUT", path=whole + "/{tag}", policy=change, handler=add, status=201,
              summary=f"Add a tag to a {kind}"),
        Route(method="DELETE", path=whole + "/{tag}", policy=change, handler=remove, status=204,
              summary=f"Remove a tag from a {kind}"),
    ]  # fmt: skip
