"""Limits and quota sets on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from minicloud.api.schemas.fields import Flag, Number
from minicloud.api.schemas.older import Rich
from minicloud.kit.web import Body
from minicloud.kit.web.versions import Conversion, Json

RESOURCES = (
    "instances", "cores", "ram", "metadata_items", "key_pairs", "server_groups",
    "server_group_members",
)  # fmt: skip
"""Those that have limits here."""
INJECTED = {
    "injected_files": 0,
    "injected_file_content_bytes": 0,
    "injected_file_path_bytes": 0,
}
"""Of files put into servers, which is not done here."""
NETWORKS = {
    "fixed_ips": -1,
    "floating_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
"""Of what the network service counts."""
OLDER = {**INJECTED, **NETWORKS}
"""Limits without effect that older versions show and set, and what they are until then."""


class ClassUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
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


class QuotaUpdate(ClassUpdate, kw_only=True, forbid_unknown_fields=True):
    force: Flag = False


UPDATE = Body(
    type=QuotaUpdate,
    wrapper="quota_set",
    until={**dict.fromkeys(INJECTED, (2, 56)), **dict.fromkeys(NETWORKS, (2, 35))},
)
CLASS_UPDATE = Body(
    type=ClassUpdate,
    wrapper="quota_class_set",
    until={**dict.fromkeys(INJECTED, (2, 56)), **dict.fromkeys(NETWORKS, (2, 49))},
)


def quota_view(limits: Mapping[str, int], project_id: str | None) -> Json:
    """``project_id``: shown as the set's id; None: not shown."""
    return {"quota_set": _shown(limits, project_id)}


def usage_view(limits: Mapping[str, int], used: Mapping[str, int], project_id: str) -> Json:
    view = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in limits.items()
    }
    return {"quota_set": _shown(view, project_id)}


def class_view(limits: Mapping[str, int], name: str | None) -> Json:
    """``name``: shown as the class's id; None: not shown."""
    return {"quota_class_set": _shown(limits, name)}


def _shown(values: Mapping[str, Any], set_id: str | None) -> Rich:
    """The newest shape, with the older versions' resources beside it."""
    view = {} if set_id is None else {"id": set_id}
    return Rich(
        {**view, **{name: values[name] for name in RESOURCES}},
        {name: values[name] for name in OLDER},
    )


def _with(wrapper: str, names: Iterable[str]) -> Callable[[Json], Json]:
    """A conversion to versions that show older resources too."""

    def convert(body: Json) -> Json:
        view: Rich = body[wrapper]
        view.update((name, view.facts[name]) for name in names)
        return body

    return convert


def _class_without_groups(body: Json) -> Json:
    for name in ("server_groups", "server_group_members"):
        del body["quota_class_set"][name]
    return body


DOWN: Sequence[Conversion] = (
    ((2, 57), _with("quota_set", INJECTED)),
    ((2, 36), _with("quota_set", NETWORKS)),
)
CLASS_DOWN: Sequence[Conversion] = (
    ((2, 57), _with("quota_class_set", INJECTED)),
    ((2, 50), _with("quota_class_set", NETWORKS)),
    ((2, 50), _class_without_groups),
)


def limits_view(limits: Mapping[str, int], used: Mapping[str, int]) -> Json:
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
    return {"limits": {"rate": [], "absolute": Rich(absolute, dict(limits))}}


def _also(names: Mapping[str, str], more: Mapping[str, int] | None = None) -> Any:
    """A conversion to versions that show some limits by these names, and ``more``."""

    def convert(body: Json) -> Json:
        view: Rich = body["limits"]["absolute"]
        view.update((name, view.facts[resource]) for name, resource in names.items())
        view.update(more or {})
        return body

    return convert


DOWN_LIMITS: Sequence[Conversion] = (
    ((2, 57), _also({"maxPersonality": "injected_files",
                     "maxPersonalitySize": "injected_file_content_bytes"})),
    ((2, 39), _also({"maxImageMeta": "metadata_items"})),
    ((2, 36), _also({"maxSecurityGroups": "security_groups",
                     "maxSecurityGroupRules": "security_group_rules",
                     "maxTotalFloatingIps": "floating_ips"},
                    {"totalSecurityGroupsUsed": 0, "totalFloatingIpsUsed": 0})),
)  # fmt: skip
