"""The list of extensions, from before there were microversions: what this API serves, by alias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.kit.web import Call

_UPDATED = "2014-12-03T00:00:00Z"
_KNOWN: Mapping[str, str] = {
    "OS-DCF": "DiskConfig",
    "OS-EXT-AZ": "ExtendedAvailabilityZone",
    "OS-EXT-IPS": "ExtendedIps",
    "OS-EXT-IPS-MAC": "ExtendedIpsMac",
    "OS-EXT-SRV-ATTR": "ExtendedServerAttributes",
    "OS-EXT-STS": "ExtendedStatus",
    "OS-FLV-DISABLED": "FlavorDisabled",
    "OS-FLV-EXT-DATA": "FlavorExtraData",
    "OS-SCH-HNT": "SchedulerHints",
    "OS-SRV-USG": "ServerUsage",
    "os-aggregates": "Aggregates",
    "os-attach-interfaces": "AttachInterfaces",
    "os-availability-zone": "AvailabilityZone",
    "os-block-device-mapping-v2-boot": "BlockDeviceMappingV2Boot",
    "os-config-drive": "ConfigDrive",
    "os-console-output": "ConsoleOutput",
    "os-consoles": "Consoles",
    "os-extended-volumes": "ExtendedVolumes",
    "os-flavor-access": "FlavorAccess",
    "os-flavor-extra-specs": "FlavorExtraSpecs",
    "os-flavor-manage": "FlavorManage",
    "os-hypervisors": "Hypervisors",
    "os-instance-actions": "InstanceActions",
    "os-instance_usage_audit_log": "OSInstanceUsageAuditLog",
    "os-keypairs": "Keypairs",
    "os-lock-server": "LockServer",
    "os-migrations": "Migrations",
    "os-multiple-create": "MultipleCreate",
    "os-quota-class-sets": "QuotaClasses",
    "os-quota-sets": "Quotas",
    "os-security-groups": "SecurityGroups",
    "os-server-external-events": "ServerExternalEvents",
    "os-server-groups": "ServerGroups",
    "os-services": "Services",
    "os-simple-tenant-usage": "SimpleTenantUsage",
    "os-used-limits": "UsedLimits",
    "os-user-data": "UserData",
    "os-volumes": "Volumes",
}
"""Alias -> name."""


def index(_call: Call) -> Any:
    return {"extensions": [_view(alias) for alias in _KNOWN]}


def show(call: Call) -> Any:
    alias = call.params["alias"]
    if alias not in _KNOWN:
        raise NotFound(kind="Extension", id=alias)
    return {"extension": _view(alias)}


def _view(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": _KNOWN[alias],
        "description": _KNOWN[alias],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": _UPDATED,
        "links": [],
    }
