"""Limits and quota sets on the wire."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from minicloud.api.schemas.fields import Flag, Number
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Conversion, Json

RESOURCES = (
    "instances", "cores", "ram", "metadata_items", "key_pairs", "server_groups",
    "server_group_members",
)  # fmt: skip
"""Those that have limits here."""
_INJECTED = {
    "injected_files": 0,
    "injected_file_content_bytes": 0,
    "injected_file_path_bytes": 0,
}
_NETWORKS = {
    "fixed_ips": -1,
    "floating_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
"""What other services count; shown as unlimited by versions that expect them here."""


class QuotaUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    instances: Number | UnsetType = UNSET
    cores: Number | UnsetType = UNSET
    ram: Number | UnsetType = UNSET
    metadata_items: Number | UnsetType = UNSET
    key_pairs: Number | UnsetType = UNSET
    server_groups: Number | UnsetType = UNSET
    server_group_members: Number | UnsetType = UNSET
    injected_files: Number | UnsetType = UNSET
    injected_file_content_bytes: Number | UnsetType = UNSET
    injected_file_path_bytes: Number | UnsetType = UNSET
    fixed_ips: Number | UnsetType = UNSET
    floating_ips: Number | UnsetType = UNSET
    security_groups: Number | UnsetType = UNSET
    security_group_rules: Number | UnsetType = UNSET
    networks: Number | UnsetType = UNSET
    force: Flag = False
    tenant_id: str = ""


UPDATE = Body(
    type=QuotaUpdate,
    wrapper="quota_set",
    until={
        **dict.fromkeys(_INJECTED, (2, 56)),
        **dict.fromkeys((*_NETWORKS, "networks"), (2, 35)),
    },
)


def quota_view(limits: dict[str, Any], project_id: str | None) -> Json:
    """``project_id``: shown as the set's id; None: not shown."""
    view: Json = {**limits}
    if project_id is not None:
        view = {"id": project_id, **view}
    return {"quota_set": view}


def usage_view(limits: dict[str, int], used: dict[str, int], project_id: str) -> Json:
    view: Json = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in limits.items()
    }
    return {"quota_set": {"id": project_id, **view}}


CLASS_UPDATE = Body(
    type=QuotaUpdate,
    wrapper="quota_class_set",
    since=dict.fromkeys(("server_groups", "server_group_members"), (2, 50)),
    until={
        **dict.fromkeys(_INJECTED, (2, 56)),
        **dict.fromkeys((*_NETWORKS, "networks"), (2, 49)),
        **dict.fromkeys(("force", "tenant_id"), (2, 0)),
    },
)


def class_view(limits: dict[str, Any], name: str | None) -> Json:
    """``name``: shown as the class's id; None: not shown."""
    return {"quota_class_set": {**limits} if name is None else {"id": name, **limits}}


def _class_with(more: dict[str, int]) -> Any:
    def convert(body: Json) -> Json:
        body["quota_class_set"].update(more)
        return body

    return convert


def _class_before_2_50(body: Json) -> Json:
    for name in ("server_groups", "server_group_members"):
        del body["quota_class_set"][name]
    body["quota_class_set"].update(_NETWORKS)
    return body


CLASS_DOWN: list[Conversion] = [((2, 57), _class_with(_INJECTED)), ((2, 50), _class_before_2_50)]


def _adding(more: dict[str, int]) -> Any:
    def convert(body: Json) -> Json:
        view = body["quota_set"]
        in_detail = isinstance(view["instances"], dict)
        for name, limit in more.items():
            view[name] = {"limit": limit, "in_use": 0, "reserved": 0} if in_detail else limit
        return body

    return convert


DOWN: list[Conversion] = [((2, 57), _adding(_INJECTED)), ((2, 36), _adding(_NETWORKS))]


def limits_view(limits: dict[str, int], used: dict[str, int]) -> Json:
    absolute = {
        "maxServerMeta": limits["metadata_items"],
        "maxTotalInstances": limits["instances"],
        "maxTotalCores": limits["cores"],
        "maxTotalRAMSize": limits["ram"],
        "maxTotalKeypairs": limits["key_pairs"],
        "maxServerGroups": limits["server_groups"],
        "maxServerGroupMembers": limits["server_group_members"],
        "totalInstancesUsed": used["instances"],
        "totalCoresUsed": used["cores"],
        "totalRAMUsed": used["ram"],
        "totalServerGroupsUsed": used["server_groups"],
    }
    return {"limits": {"rate": [], "absolute": absolute}}


def _also(more: dict[str, int]) -> Any:
    def convert(body: Json) -> Json:
        body["limits"]["absolute"].update(more)
        return body

    return convert


DOWN_LIMITS: list[Conversion] = [
    ((2, 57), _also({"maxPersonality": 0, "maxPersonalitySize": 0})),
    ((2, 39), _also({"maxImageMeta": 128})),
    (
        (2, 36),
        _also(
            {
                "maxSecurityGroups": -1,
                "maxSecurityGroupRules": -1,
                "maxTotalFloatingIps": -1,
                "totalSecurityGroupsUsed": 0,
                "totalFloatingIpsUsed": 0,
            }
        ),
    ),
]
