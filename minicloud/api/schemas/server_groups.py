"""Server groups on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from minicloud.api.schemas.fields import Name, Number
from minicloud.api.schemas.older import for_each, without
from minicloud.domain.errors import Invalid
from minicloud.domain.models import ServerGroup
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Json


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_server_per_host: Number | UnsetType = UNSET


class GroupCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    policy: Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]
    rules: Rules = Rules()


def _no_soft_policies(body: Json) -> Json:
    policies = body.get("policies")
    for policy in policies if isinstance(policies, list) else ():
        if isinstance(policy, str) and policy.startswith("soft-"):
            raise Invalid(
                reason=f"Invalid input for field/attribute policies: {policy[:64]} came with 2.15."
            )
    return body


def _one_policy(body: Json) -> Json:
    policies = body.get("policies")
    if not isinstance(policies, list) or len(policies) != 1:
        raise Invalid(reason="Invalid input for field/attribute policies: a list of one policy.")
    return {**{key: part for key, part in body.items() if key != "policies"}, "policy": policies[0]}


CREATE = Body(
    type=GroupCreate,
    wrapper="server_group",
    since={"policy": (2, 64), "rules": (2, 64)},
    up=(((2, 15), _no_soft_policies), ((2, 64), _one_policy)),
)


def group_view(group: ServerGroup, members: Sequence[str]) -> dict[str, Any]:
    limited = group.policy == "anti-affinity" and group.max_per_host > 1
    return {
        "id": group.id,
        "name": group.name,
        "policy": group.policy,
        "rules": {"max_server_per_host": group.max_per_host} if limited else {},
        "members": list(members),
        "project_id": group.project_id,
        "user_id": group.user_id,
    }


def _several_policies(item: Json) -> None:
    item["policies"] = [item.pop("policy")]
    item.pop("rules")
    item["metadata"] = {}


DOWN = for_each(
    "server_group",
    "server_groups",
    (((2, 64), _several_policies), ((2, 13), without("project_id", "user_id"))),
)
