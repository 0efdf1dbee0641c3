"""What shareable things and the policies about them can be filtered and sorted by."""

from __future__ import annotations

from minicloud.network.attributes import Attribute, Collection, columns, sharing_of, standard
from minicloud.network.models import (
    address_groups,
    address_scopes,
    default_rules,
    rbac_policies,
    subnet_pools,
)

ADDRESS_SCOPES = Collection(
    plural="address_scopes",
    table=address_scopes,
    source=address_scopes,
    attributes={
        **standard(address_scopes),
        **columns(address_scopes, "ip_version", kind="number"),
        "shared": sharing_of(address_scopes),
    },
)

SUBNET_POOLS = Collection(
    plural="subnetpools",
    table=subnet_pools,
    source=subnet_pools,
    attributes={
        **standard(subnet_pools),
        **columns(subnet_pools, "address_scope_id"),
        **columns(subnet_pools, "ip_version", "default_prefixlen", kind="number"),
        **columns(subnet_pools, "min_prefixlen", "max_prefixlen", "default_quota", kind="number"),
        **columns(subnet_pools, "is_default", kind="flag"),
        "shared": sharing_of(subnet_pools),
    },
)

ADDRESS_GROUPS = Collection(
    plural="address_groups",
    table=address_groups,
    source=address_groups,
    attributes={**standard(address_groups), "shared": sharing_of(address_groups)},
)

DEFAULT_RULES = Collection(
    plural="default_security_group_rules",
    table=default_rules,
    source=default_rules,
    attributes={
        **columns(default_rules, "id", "description", "direction", "ethertype", "protocol"),
        **columns(default_rules, "remote_ip_prefix", "remote_group_id", "remote_address_group_id"),
        **columns(default_rules, "port_range_min", "port_range_max", kind="number"),
        **columns(default_rules, "used_in_default_sg", "used_in_non_default_sg", kind="flag"),
    },
)

POLICIES = Collection(
    plural="rbac_policies",
    table=rbac_policies,
    source=rbac_policies,
    attributes={
        **columns(rbac_policies, "id", "project_id", "object_type", "object_id", "action"),
        "tenant_id": Attribute(column=rbac_policies.c.project_id),
        "target_tenant": Attribute(column=rbac_policies.c.target_project),
    },
)
