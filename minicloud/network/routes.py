"""The endpoints of Network v2.0, a row each, and their tiny handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.kit.policy import PUBLIC, Policy
from minicloud.kit.web import Body, Call, Route, Service, dialects
from minicloud.network import attributes, extensions
from minicloud.network.attributes import Collection
from minicloud.network.caller import Caller
from minicloud.network.calls import caller_of, id_in, text_of
from minicloud.network.policies import RULES
from minicloud.network.query import ListQuery, parse
from minicloud.network.quota_routes import quota_routes
from minicloud.network.schemas import (
    GroupPost,
    GroupUpdate,
    NetworkPost,
    NetworkUpdate,
    PortPost,
    PortUpdate,
    RulePost,
    SubnetPost,
    SubnetUpdate,
)
from minicloud.network.service import NetworkService
from minicloud.network.tag_routes import tag_routes

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


def rest_service(
    service: NetworkService,
    authenticate: Any,
    *,
    policy_file: str | None = None,
    auth_url: str = "",
) -> Service:
    """All that ``build_app`` needs. ``authenticate`` as ``kit.web.Service`` describes it."""
    return Service(
        name="network",
        routes=routes(service),
        policy=Policy(RULES, policy_file=policy_file),
        dialect=dialects.neutron,
        authenticate=authenticate,
        unauthenticated_headers={"WWW-Authenticate": f'Keystone uri="{auth_url}"'},
    )


def routes(service: NetworkService) -> list[Route]:
    rows = [
        Route(
            method="GET",
            path="/",
            policy=PUBLIC,
            handler=lambda call: extensions.versions(call.base_url),
            summary="Show the versions of the API",
        ),
        Route(
            method="GET",
            path="/v2.0",
            policy=PUBLIC,
            handler=lambda call: extensions.resources(call.base_url),
            summary="Show the resources of the API",
        ),
        Route(
            method="GET",
            path="/v2.0/extensions",
            policy="get_extension",
            handler=lambda _call: {"extensions": extensions.extension_list()},
            summary="List what this service can do",
        ),
        Route(
            method="GET",
            path="/v2.0/extensions/{alias}",
            policy="get_extension",
            handler=lambda call: {"extension": extensions.extension_get(call.params["alias"])},
            summary="Show whether this service can do something",
        ),
        Route(
            method="GET",
            path="/v2.0/agents",
            policy="get_agent",
            handler=lambda _call: {"agents": []},
            summary="List agents: there are none, each compute host wires itself",
        ),
        Route(
            method="GET",
            path="/v2.0/minicloud-host-wiring/{host}",
            policy="get_host_wiring",
            handler=lambda call: {
                "wiring": service.ports.host_wiring(text_of(call.params["host"]))
            },
            summary="Show all that a host has to wire",
        ),
    ]
    for noun in _nouns(service):
        rows += _noun_routes(noun)
    for plural in ("networks", "subnets", "ports", "security-groups"):
        rows += tag_routes(service, plural)
    return rows + quota_routes(service)


def _nouns(service: NetworkService) -> list[Noun]:
    networks, subnets, ports = service.networks, service.subnets, service.ports
    groups = service.groups
    return [
        Noun(
            name="network",
            path="/v2.0/networks",
            collection=attributes.NETWORKS,
            post=NetworkPost,
            put=NetworkUpdate,
            create=networks.create,
            find=networks.find,
            show=networks.show,
            update=networks.update,
            delete=networks.delete,
        ),
        Noun(
            name="subnet",
            path="/v2.0/subnets",
            collection=attributes.SUBNETS,
            post=SubnetPost,
            put=SubnetUpdate,
            create=subnets.create,
            find=subnets.find,
            show=subnets.show,
            update=subnets.update,
            delete=subnets.delete,
        ),
        Noun(
            name="port",
            path="/v2.0/ports",
            collection=attributes.PORTS,
            post=PortPost,
            put=PortUpdate,
            create=ports.create,
            find=ports.find,
            show=ports.show,
            update=ports.update,
            delete=ports.delete,
        ),
        Noun(
            name="security_group",
            path="/v2.0/security-groups",
            collection=attributes.GROUPS,
            post=GroupPost,
            put=GroupUpdate,
            create=groups.create,
            find=groups.find,
            show=groups.show,
            update=groups.update,
            delete=groups.delete,
        ),
        Noun(
            name="security_group_rule",
            path="/v2.0/security-group-rules",
            collection=attributes.RULES,
            post=RulePost,
            create=groups.rule_create,
            find=groups.rule_find,
            show=groups.rule_show,
            delete=groups.rule_delete,
        ),
    ]


def _noun_routes(noun: Noun) -> list[Route]:
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
        found = noun.find(caller, msgspec.structs.replace(query, limit=limit))
        body: Json = {plural: [_chosen(view, query.fields) for view in found]}
        if query.limit is not None or len(found) == _LARGEST_PAGE:
            body[f"{plural}_links"] = _links(call, query, found, limit)
        return body

    def show(call: Call) -> Json:
        fields = parse(call.query, {}).fields
        return {noun.name: _chosen(noun.show(caller_of(call), id_in(call, kind)), fields)}

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


def _chosen(view: Json, fields: Sequence[str]) -> Json:
    return {key: view[key] for key in view if key in fields} if fields else view


def _links(call: Call, query: ListQuery, found: Sequence[Json], limit: int) -> list[Json]:
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
    links = []
    if query.reverse or not is_short:
        links.append(link("next", last, ()))
    if not query.reverse or not is_short:
        links.append(link("previous", first, (("page_reverse", "True"),)))
    return links
