"""Who may do what, under Neutron's own rule names. ``kit.policy.BASE_RULES`` are theirs, too."""

from __future__ import annotations

from collections.abc import Mapping

_OWNER = "rule:member"
_OWNER_OR_SERVICE = "rule:member or rule:service"
_NETWORK_OWNER = "rule:admin_or_service or (role:member and project_id:%(network_project_id)s)"


def _crud(noun: str, who: str) -> dict[str, str]:
    return {
        f"create_{noun}": who,
        f"get_{noun}": "rule:reader or rule:service",
        f"update_{noun}": who,
        f"delete_{noun}": who,
    }


def _both(noun: str, attribute: str, who: str) -> dict[str, str]:
    return {f"create_{noun}:{attribute}": who, f"update_{noun}:{attribute}": who}


RULES: Mapping[str, str] = {
    **_crud("network", _OWNER),
    **_both("network", "shared", "rule:admin"),
    **_both("network", "router:external", "rule:admin"),
    **_both("network", "is_default", "rule:admin"),
    "create_network:provider:network_type": "rule:admin",
    "create_network:provider:physical_network": "rule:admin",
    "create_network:provider:segmentation_id": "rule:admin",
    **_crud("subnet", _OWNER),
    **_crud("port", _OWNER_OR_SERVICE),
    **_both("port", "mac_address", _NETWORK_OWNER),
    **_both("port", "fixed_ips:ip_address", _NETWORK_OWNER),
    **_both("port", "port_security_enabled", _NETWORK_OWNER),
    **_both("port", "allowed_address_pairs", _NETWORK_OWNER),
    **_both("port", "device_owner", _NETWORK_OWNER),
    **_both("port", "binding:host_id", "rule:admin_or_service"),
    **_both("port", "binding:profile", "rule:admin_or_service"),
    **_crud("rbac_policy", _OWNER),
    "create_rbac_policy:target_tenant": "rule:admin",
    **_crud("address_scope", _OWNER),
    **_both("address_scope", "shared", "rule:admin"),
    **_crud("subnetpool", _OWNER),
    "create_subnetpool:shared": "rule:admin",
    **_both("subnetpool", "is_default", "rule:admin"),
    "add_prefixes": _OWNER,
    "remove_prefixes": _OWNER,
    "onboard_network_subnets": _OWNER,
    **_crud("address_group", _OWNER),
    **_crud("default_security_group_rule", "rule:admin"),
    "get_default_security_group_rule": "rule:any",
    "create_address_group:shared": "rule:admin",
    **_crud("router", _OWNER),
    **_both("router", "external_gateway_info:enable_snat", "rule:admin"),
    **_both("router", "external_gateway_info:external_fixed_ips", "rule:admin"),
    "add_router_interface": _OWNER,
    "remove_router_interface": _OWNER,
    "add_extraroutes": _OWNER,
    "remove_extraroutes": _OWNER,
    **_crud("floatingip", _OWNER),
    "create_floatingip:floating_ip_address": "rule:admin",
    **_crud("floatingip_port_forwarding", _OWNER),
    **_crud("security_group", _OWNER),
    **_crud("security_group_rule", _OWNER),
    "get_quota": "rule:reader or rule:service",
    "update_quota": "rule:admin",
    "delete_quota": "rule:admin",
    "get_extension": "rule:any",
    "get_agent": "rule:admin_or_service",
    "update_agent": "rule:admin",
    "delete_agent": "rule:admin",
    "get_availability_zone": "rule:any",
    "get_network_ip_availability": "rule:admin_or_service",
    "get_service_provider": "rule:any",
    "get_auto_allocated_topology": "rule:member",
    "delete_auto_allocated_topology": "rule:member",
    "get_host_wiring": "rule:admin_or_service",
}
