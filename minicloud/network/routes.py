"""The endpoints of Network v2.0, a row each, and their tiny handlers."""

from __future__ import annotations

from typing import Any

from minicloud.kit.policy import PUBLIC, Policy
from minicloud.kit.web import Route, Service, dialects
from minicloud.network import attributes, extensions, tagged
from minicloud.network.cloud_routes import cloud_routes
from minicloud.network.hints import Hints, telling
from minicloud.network.host_routes import host_routes
from minicloud.network.l3_routes import l3_routes
from minicloud.network.nouns import Noun, noun_routes
from minicloud.network.policies import RULES
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
from minicloud.network.sharing_routes import sharing_routes
from minicloud.network.tag_routes import tag_routes

Json = dict[str, Any]


def rest_service(
    service: NetworkService,
    authenticate: Any,
    *,
    policy_file: str | None = None,
    auth_url: str = "",
    hints: Hints | None = None,
) -> Service:
    """All that ``build_app`` needs. ``authenticate`` as ``kit.web.Service`` describes it.

    ``hints``: told of every change; without them hosts learn of changes when they ask.
    """
    return Service(
        name="network",
        routes=telling(routes(service), hints) if hints else routes(service),
        policy=Policy(RULES, policy_file=policy_file),
        dialect=dialects.neutron,
        strict=False,
        catalog_types=frozenset({"network"}),
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
    ]
    for noun in _nouns(service):
        rows += noun_routes(noun)
    rows += l3_routes(service)
    rows += sharing_routes(service)
    rows += cloud_routes(service)
    rows += host_routes(service)
    for path in tagged.PATHS:
        rows += tag_routes(service.tags, path)
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
