"""The compute API's rules, under the names Nova gives them. Nothing here knows routes."""

from __future__ import annotations

from collections.abc import Mapping

_READER = (
    "servers:index",
    "servers:detail",
    "servers:show",
    "ips:index",
    "ips:show",
    "server-metadata:index",
    "server-metadata:show",
    "os-server-tags:index",
    "os-server-tags:show",
    "os-attach-interfaces:list",
    "os-attach-interfaces:show",
    "os-volumes-attachments:index",
    "os-volumes-attachments:show",
    "os-security-groups:list",
    "os-instance-actions:list",
    "os-instance-actions:show",
    "os-instance-actions:events",
    "os-quota-sets:show",
    "os-quota-sets:detail",
    "os-simple-tenant-usage:show",
    "os-server-groups:index",
    "os-server-groups:show",
)
_MEMBER = (
    "servers:create",
    "servers:update",
    "servers:delete",
    "servers:start",
    "servers:stop",
    "servers:reboot",
    "server-metadata:create",
    "server-metadata:update",
    "server-metadata:update_all",
    "server-metadata:delete",
    "os-server-tags:update",
    "os-server-tags:update_all",
    "os-server-tags:delete",
    "os-server-tags:delete_all",
    "os-lock-server:lock",
    "os-lock-server:unlock",
    "os-console-output",
    "os-remote-consoles",
)
_ADMIN = (
    "servers:index:get_all_tenants",
    "servers:detail:get_all_tenants",
    "servers:show:host_status",
    "os-extended-server-attributes",
    "os-lock-server:unlock:unlock_override",
    "os-flavor-manage:create",
    "os-flavor-manage:update",
    "os-flavor-manage:delete",
    "os-flavor-access",
    "os-flavor-access:add_tenant_access",
    "os-flavor-access:remove_tenant_access",
    "os-flavor-extra-specs:create",
    "os-flavor-extra-specs:update",
    "os-flavor-extra-specs:delete",
    "os-instance-actions:events:details",
    "limits:other_project",
    "os-quota-sets:update",
    "os-quota-sets:delete",
    "os-services:list",
    "os-services:update",
    "os-services:delete",
    "os-hypervisors:list",
    "os-hypervisors:list-detail",
    "os-hypervisors:show",
    "os-hypervisors:statistics",
    "os-hypervisors:uptime",
    "os-hypervisors:search",
    "os-hypervisors:servers",
    "os-availability-zone:detail",
    "os-simple-tenant-usage:list",
    "os-migrations:index",
    "os-aggregates:index",
)
_ANY = (
    "extensions",
    "flavors",
    "os-flavor-extra-specs:index",
    "os-flavor-extra-specs:show",
    "limits",
    "os-quota-sets:defaults",
    "os-availability-zone:list",
)
_KEYPAIRS = ("index", "show", "create", "delete")


def _prefixed(names: tuple[str, ...], check: str) -> dict[str, str]:
    return {f"os_compute_api:{name}": check for name in names}


RULES: Mapping[str, str] = {
    **_prefixed(_READER, "rule:reader"),
    **_prefixed(_MEMBER, "rule:member"),
    **_prefixed(_ADMIN, "rule:admin"),
    **_prefixed(_ANY, "rule:any"),
    "os_compute_api:os-console-auth-tokens": "rule:admin_or_service",
    **{f"os_compute_api:os-keypairs:{verb}": "rule:admin or user_id:%(user_id)s"
       for verb in _KEYPAIRS},
}  # fmt: skip
