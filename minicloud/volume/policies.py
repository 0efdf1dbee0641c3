"""Who may do what with volumes. Names as in OpenStack, where it has one."""

from __future__ import annotations

from collections.abc import Mapping

# A service on its own account may act; one that passes a user's request on lends the user nothing.
_READER = "rule:reader"
_MEMBER = "rule:member or role:service"
_ADMIN = "rule:admin"

RULES: Mapping[str, str] = {
    "volume:create": _MEMBER,
    "volume:get": _READER,
    "volume:get_all": _READER,
    "volume:update": _MEMBER,
    "volume:delete": _MEMBER,
    "volume:force_delete": _ADMIN,
    "volume:get_volume_metadata": _READER,
    "volume:create_volume_metadata": _MEMBER,
    "volume:update_volume_metadata": _MEMBER,
    "volume:delete_volume_metadata": _MEMBER,
    "volume:extend": _MEMBER,
    "volume_extension:volume_actions:begin_detaching": _MEMBER,
    "volume_extension:volume_actions:roll_detaching": _MEMBER,
    "volume_extension:volume_actions:set_bootable": _MEMBER,
    "volume_extension:volume_admin_actions:reset_status": _ADMIN,
    "volume_extension:volume_admin_actions:force_delete": _ADMIN,
    # Which host has a volume, and columns for administrators.
    "volume_extension:volume_host_attribute": "rule:admin or role:service",
    "volume:attachment_create": _MEMBER,
    "volume:attachment_update": _MEMBER,
    "volume:attachment_complete": _MEMBER,
    "volume:attachment_delete": _MEMBER,
    "volume:attachment_get": _READER,
    "volume:get_snapshot": _READER,
    "volume:get_all_snapshots": _READER,
    "volume:create_snapshot": _MEMBER,
    "volume_extension:type_get": _READER,
    "volume_extension:type_get_all": _READER,
    "volume_extension:availability_zone_list": _READER,
    "volume_extension:extensions": _READER,
    "volume_extension:services:index": _ADMIN,
    "volume_extension:quotas:show": _READER,
    "volume_extension:quotas:update": _ADMIN,
    "volume_extension:quotas:delete": _ADMIN,
    "limits_extension:used_limits": _READER,
    "limits_extension:used_limits_of_others": _ADMIN,
}
