"""The endpoints of RBAC policies, address scopes, subnet pools and address groups."""

from __future__ import annotations

from typing import Any

from minicloud.kit.web import Call, Route
from minicloud.network import sharing_attributes
from minicloud.network.calls import caller_of, id_in
from minicloud.network.nouns import Noun, noun_routes
from minicloud.network.schemas import DefaultRulePost
from minicloud.network.service import NetworkService
from minicloud.network.sharing_schemas import (
    AddressesBody,
    AddressGroupPost,
    AddressGroupUpdate,
    OnboardBody,
    PoolPost,
    PoolUpdate,
    PrefixesBody,
    RbacPost,
    RbacUpdate,
    ScopePost,
    ScopeUpdate,
)

Json = dict[str, Any]


def sharing_routes(service: NetworkService) -> list[Route]:
    rbac, scopes = service.rbac, service.address_scopes
    pools, groups = service.subnet_pools, service.address_groups
    nouns = [
        Noun(
            name="rbac_policy",
            path="/v2.0/rbac-policies",
            collection=sharing_attributes.POLICIES,
            post=RbacPost,
            put=RbacUpdate,
            create=rbac.create,
            find=rbac.find,
            show=rbac.show,
            update=rbac.update,
            delete=rbac.delete,
        ),
        Noun(
            name="address_scope",
            path="/v2.0/address-scopes",
            collection=sharing_attributes.ADDRESS_SCOPES,
            post=ScopePost,
            put=ScopeUpdate,
            create=scopes.create,
            find=scopes.find,
            show=scopes.show,
            update=scopes.update,
            delete=scopes.delete,
        ),
        Noun(
            name="subnetpool",
            path="/v2.0/subnetpools",
            collection=sharing_attributes.SUBNET_POOLS,
            post=PoolPost,
            put=PoolUpdate,
            create=pools.create,
            find=pools.find,
            show=pools.show,
            update=pools.update,
            delete=pools.delete,
        ),
        Noun(
            name="address_group",
            path="/v2.0/address-groups",
            collection=sharing_attributes.ADDRESS_GROUPS,
            post=AddressGroupPost,
            put=AddressGroupUpdate,
            create=groups.create,
            find=groups.find,
            show=groups.show,
            update=groups.update,
            delete=groups.delete,
        ),
    ]
    default_rules = service.default_rules
    nouns.append(
        Noun(
            name="default_security_group_rule",
            path="/v2.0/default-security-group-rules",
            collection=sharing_attributes.DEFAULT_RULES,
            post=DefaultRulePost,
            create=default_rules.create,
            find=default_rules.find,
            show=default_rules.show,
            delete=default_rules.delete,
        )
    )
    rows = [row for noun in nouns for row in noun_routes(noun)]
    return [*rows, *_pool_actions(service), *_group_actions(service)]


def _pool_actions(service: NetworkService) -> list[Route]:
    pools = service.subnet_pools

    def add(call: Call) -> Json:
        name, wanted = id_in(call, "subnet pool"), call.body.prefixes
        return {"prefixes": pools.prefixes_change(caller_of(call), name, add=wanted)}

    def remove(call: Call) -> Json:
        name, gone = id_in(call, "subnet pool"), call.body.prefixes
        return {"prefixes": pools.prefixes_change(caller_of(call), name, remove=gone)}

    def onboard(call: Call) -> Json:
        name = id_in(call, "subnet pool")
        return {"subnetpool": pools.onboard(caller_of(call), name, call.body.network_id)}

    item = "/v2.0/subnetpools/{id}"
    return [
        Route(method="PUT", path=item + "/add_prefixes", policy="add_prefixes",
              body=PrefixesBody, handler=add, summary="Add prefixes to a subnet pool"),
        Route(method="PUT", path=item + "/remove_prefixes", policy="remove_prefixes",
              body=PrefixesBody, handler=remove, summary="Remove prefixes from a subnet pool"),
        Route(method="PUT", path=item + "/onboard_network_subnets",
              policy="onboard_network_subnets", body=OnboardBody, handler=onboard,
              summary="Take a network's subnets into a subnet pool"),
    ]  # fmt: skip


def _group_actions(service: NetworkService) -> list[Route]:
    groups = service.address_groups

    def add(call: Call) -> Json:
        name, wanted = id_in(call, "address group"), call.body.addresses
        return {"address_group": groups.add(caller_of(call), name, wanted)}

    def remove(call: Call) -> Json:
        name, gone = id_in(call, "address group"), call.body.addresses
        return {"address_group": groups.remove(caller_of(call), name, gone)}

    item = "/v2.0/address-groups/{id}"
    return [
        Route(method="PUT", path=item + "/add_addresses", policy="update_address_group",
              body=AddressesBody, handler=add, summary="Add addresses to an address group"),
        Route(method="PUT", path=item + "/remove_addresses", policy="update_address_group",
              body=AddressesBody, handler=remove,
              summary="Remove addresses from an address group"),
    ]  # fmt: skip
