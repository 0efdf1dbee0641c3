"""Tags: the same six endpoints for every taggable noun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.kit.web import Call, Reply, Route
from minicloud.kit.web.decode import convert
from minicloud.network.calls import caller_of, id_in
from minicloud.network.schemas import Tag, TagsBody
from minicloud.network.service import NetworkService

Json = dict[str, Any]


def tag_routes(service: NetworkService, plural: str) -> list[Route]:
    words = plural.replace("-", "_")
    kind = words[:-1].replace("_", " ")
    path = f"/v2.0/{plural}/{{id}}/tags"

    def show(call: Call) -> Json:
        return {"tags": service.tags(caller_of(call), words, id_in(call, kind))}

    def replace(call: Call) -> Json:
        wanted = call.body.tags
        return {"tags": service.tags_change(caller_of(call), words, id_in(call, kind), add=wanted)}

    def clear(call: Call) -> None:
        service.tags_change(caller_of(call), words, id_in(call, kind))

    def has(call: Call) -> Reply:
        _have_tag(call, service.tags(caller_of(call), words, id_in(call, kind)))
        return Reply(status=204)

    def add(call: Call) -> Reply:
        tag = convert(call.params["tag"], Tag)
        service.tags_change(caller_of(call), words, id_in(call, kind), add=[tag], remove=())
        return Reply(status=201)

    def remove(call: Call) -> None:
        caller, name = caller_of(call), id_in(call, kind)
        _have_tag(call, service.tags(caller, words, name))
        service.tags_change(caller, words, name, remove=[call.params["tag"]])

    read, change = f"get_{words[:-1]}", f"update_{words[:-1]}"
    return [
        Route(method="GET", path=path, policy=read, handler=show, summary=f"List a {kind}'s tags"),
        Route(method="PUT", path=path, policy=change, handler=replace, body=TagsBody,
              summary=f"Replace a {kind}'s tags"),
        Route(method="DELETE", path=path, policy=change, handler=clear, status=204,
              summary=f"Remove a {kind}'s tags"),
        Route(method="GET", path=path + "/{tag}", policy=read, handler=has, status=204,
              summary=f"Check a {kind}'s tag"),
        Route(method="PUT", path=path + "/{tag}", policy=change, handler=add, status=201,
              summary=f"Add a tag to a {kind}"),
        Route(method="DELETE", path=path + "/{tag}", policy=change, handler=remove, status=204,
              summary=f"Remove a tag from a {kind}"),
    ]  # fmt: skip


def _have_tag(call: Call, tags: Sequence[str]) -> None:
    if call.params["tag"] not in tags:
        raise NotFound(kind="Tag", id=call.params["tag"][:64])
