"""What the service says about itself: versions, resources and extensions.

Clients decide by an extension's alias what they may use, so only what works is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import NotFound

RESOURCES = {
    "network": "networks",
    "subnet": "subnets",
    "port": "ports",
    "router": "routers",
    "floatingip": "floatingips",
    "subnetpool": "subnetpools",
    "address_scope": "address-scopes",
    "address_group": "address-groups",
    "rbac_policy": "rbac-policies",
    "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
    "quota": "quotas",
}
"""Name -> path below /v2.0."""

_ALIASES: Mapping[str, tuple[str, str]] = {
    "address-group": ("Address Group", "Security group rules refer to named sets of addresses."),
    "address-scope": ("Address Scope", "Prefixes of subnet pools are unique in a scope."),
    "allowed-address-pairs": ("Allowed Address Pairs", "Ports may use further addresses."),
    "agent": ("agent", "The hosts that wire themselves."),
    "auto-allocated-topology": ("Auto Allocated Topology", "Projects get a first network."),
    "availability_zone": ("Availability Zone", "The availability zones of the hosts."),
    "binding": ("Port Binding", "Ports are bound to hosts."),
    "default-subnetpools": ("Default Subnet Pools", "A pool that is taken where none is named."),
    "dns-integration": ("DNS Integration", "Ports have names that their guests are told."),
    "empty-string-filtering": ("Empty String Filtering", "Filters take the empty string."),
    "expose-port-forwarding-in-fip": (
        "Expose Port Forwarding",
        "Floating IPs show their port forwardings.",
    ),
    "ext-gw-mode": ("External Gateway Mode", "The source NAT of a router can be turned off."),
    "external-net": ("External Networks", "Networks can be marked as external."),
    "extraroute": ("Extra Route", "Routers have static routes."),
    "extraroute-atomic": ("Extra Route (atomic)", "Routes are added and removed one by one."),
    "filter-validation": ("Filter Validation", "A filter that is not known is refused."),
    "extra_dhcp_opt": ("Extra DHCP Options", "Ports have DHCP options of their own."),
    "fip-port-details": ("Floating IP Port Details", "Floating IPs show their port."),
    "floating-ip-port-forwarding": ("Port Forwarding", "Floating IPs forward single ports."),
    "floating-ip-port-forwarding-description": (
        "Port Forwarding Description",
        "Port forwardings have a description.",
    ),
    "floating-ip-port-forwarding-detail": (
        "Port Forwarding Detail",
        "Port forwardings are found by what they forward.",
    ),
    "floating-ip-port-forwarding-port-ranges": (
        "Port Forwarding Ranges",
        "Port forwardings forward ranges of ports.",
    ),
    "ip-substring-filtering": ("IP Substring", "Ports are found by a part of an address."),
    "l3_agent_scheduler": ("L3 Agent Scheduler", "Routers are carried by hosts."),
    "minicloud-host-wiring": ("Host Wiring", "A host asks for all that it has to wire."),
    "net-mtu": ("Network MTU", "Networks show their MTU."),
    "net-mtu-writable": ("Network MTU (writable)", "The MTU of a network can be set."),
    "network-ip-availability": ("Network IP Availability", "How many addresses are left."),
    "pagination": ("Pagination", "Lists come in pages."),
    "port-security": ("Port Security", "Ports say whether they are protected."),
    "project-id": ("Project ID", "Resources have a project_id."),
    "provider": ("Provider Network", "Administrators see how a network is made."),
    "quota-check-limit": ("Quota Check Limit", "A limit below what is used can be refused."),
    "quota_details": ("Quota Details", "Quotas show what is used."),
    "quotas": ("Quota Management", "Projects have quotas."),
    "rbac-address-group": ("RBAC Address Groups", "Address groups are shared with projects."),
    "rbac-address-scope": ("RBAC Address Scopes", "Address scopes are shared with projects."),
    "rbac-policies": ("RBAC Policies", "Networks are shared with single projects."),
    "rbac-security-groups": ("RBAC Security Groups", "Security groups are shared with projects."),
    "rbac-subnetpool": ("RBAC Subnet Pools", "Subnet pools are shared with projects."),
    "revision-if-match": ("If-Match", "Changes can be bound to a revision number."),
    "router": ("Router", "Routers connect networks with one another and with the outside."),
    "security-group": ("Security Group", "Security groups and their rules."),
    "security-groups-default-rules": (
        "Default Rules",
        "Administrators choose the rules that new groups begin with.",
    ),
    "security-groups-remote-address-group": (
        "Remote Address Groups",
        "Security group rules have a remote address group.",
    ),
    "security-groups-rules-belongs-to-default-sg": (
        "Rules of Default Groups",
        "Security group rules tell whether they are a default group's.",
    ),
    "security-groups-shared-filtering": ("Shared Filtering", "Shared groups can be listed."),
    "service-type": ("Service Types", "Who provides services."),
    "sorting": ("Sorting", "Lists are sorted by any attribute."),
    "standard-attr-description": ("Description", "Resources have a description."),
    "standard-attr-revisions": ("Revision Numbers", "Resources count their revisions."),
    "standard-attr-tag": ("Tags", "Resources have tags."),
    "standard-attr-timestamp": ("Timestamps", "Resources show when they were made and changed."),
    "stateful-security-group": ("Stateful Security Group", "Groups can be without state."),
    "subnet_allocation": ("Subnet Allocation", "Subnets are cut from pools."),
    "subnet_onboard": ("Subnet Onboard", "A network's subnets are taken into a pool."),
    "subnetpool-prefix-ops": ("Prefix Operations", "Prefixes are added and removed one by one."),
    "subnet-service-types": ("Subnet Service Types", "Subnets are kept for kinds of ports."),
    "tag-creation": ("Tag Creation", "Resources are made with tags."),
    "tag-ports-during-bulk-creation": ("Port Tags", "Ports are made with tags."),
}
_UPDATED = "2026-11-23T00:00:00-00:00"


def extension_list() -> list[dict[str, Any]]:
    return [extension_get(alias) for alias in _ALIASES]


def extension_get(alias: str) -> dict[str, Any]:
    """NotFound for what does not work here."""
    try:
        name, description = _ALIASES[alias]
    except KeyError:
        raise NotFound(kind="Extension", id=alias[:64]) from None
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": _UPDATED,
        "links": [],
    }


def versions(base_url: str) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{base_url}/v2.0/"}]
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}


def resources(base_url: str) -> dict[str, Any]:
    return {
        "resources": [
            {
                "name": name,
                "collection": path.replace("-", "_"),
                "links": [{"rel": "self", "href": f"{base_url}/v2.0/{path}"}],
            }
            for name, path in RESOURCES.items()
        ]
    }
