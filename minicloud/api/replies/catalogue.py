"""What servers are launched from, and of how many there may be."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from minicloud.api.replies.shapes import Link, Shown, page, reply


class FlavorBrief(Shown):
    id: str
    name: str
    description: str | None
    links: list[Link]


class FlavorView(
    FlavorBrief,
    rename={
        "ephemeral": "OS-FLV-EXT-DATA:ephemeral",
        "disabled": "OS-FLV-DISABLED:disabled",
        "is_public": "os-flavor-access:is_public",
    },
):
    ram: int
    disk: int
    vcpus: int
    swap: int
    rxtx_factor: float
    ephemeral: int
    disabled: bool
    is_public: bool
    extra_specs: dict[str, str] | UnsetType = UNSET


class FlavorAccess(Shown):
    flavor_id: str
    tenant_id: str


class KeypairBrief(Shown):
    name: str
    public_key: str
    fingerprint: str
    type: str


class KeypairListed(Shown):
    keypair: KeypairBrief


class KeypairMade(KeypairBrief):
    user_id: str


class KeypairView(KeypairMade):
    id: int
    created_at: str
    updated_at: str | None
    deleted_at: str | None
    deleted: bool


AbsoluteLimits = reply(
    "AbsoluteLimits",
    maxServerMeta=int,
    maxTotalInstances=int,
    maxTotalCores=int,
    maxTotalRAMSize=int,
    maxTotalKeypairs=int,
    maxServerGroups=int,
    maxServerGroupMembers=int,
    totalInstancesUsed=int,
    totalCoresUsed=int,
    totalRAMUsed=int,
    totalServerGroupsUsed=int,
)


class QuotaLimits(Shown):
    instances: int
    cores: int
    ram: int
    metadata_items: int
    key_pairs: int
    server_groups: int
    server_group_members: int


class QuotaView(QuotaLimits):
    id: str


class QuotaUse(Shown):
    limit: int
    in_use: int
    reserved: int


class QuotaDetail(Shown):
    id: str
    instances: QuotaUse
    cores: QuotaUse
    ram: QuotaUse
    metadata_items: QuotaUse
    key_pairs: QuotaUse
    server_groups: QuotaUse
    server_group_members: QuotaUse


class ServerUsage(Shown):
    instance_id: str
    name: str
    hours: float
    tenant_id: str
    flavor: str
    vcpus: int
    memory_mb: int
    local_gb: int
    started_at: str
    ended_at: str | None
    state: str
    uptime: int


class ProjectUsage(Shown):
    """All or, where the project used nothing, none of it."""

    tenant_id: str | UnsetType = UNSET
    start: str | UnsetType = UNSET
    stop: str | UnsetType = UNSET
    total_hours: float | UnsetType = UNSET
    total_vcpus_usage: float | UnsetType = UNSET
    total_memory_mb_usage: float | UnsetType = UNSET
    total_local_gb_usage: float | UnsetType = UNSET
    server_usages: list[ServerUsage] | UnsetType = UNSET


Limits = reply("Limits", rate=list[str], absolute=AbsoluteLimits)
_FLAVOR, _SPECS = "/flavors/{flavor_id}", "/flavors/{flavor_id}/os-extra_specs"
_ONE_FLAVOR = reply("FlavorReply", flavor=FlavorView)
_ALL_SPECS = reply("ExtraSpecsReply", extra_specs=dict[str, str])
_ACCESS = reply("FlavorAccessReply", flavor_access=list[FlavorAccess])
_QUOTA, _CLASS = "/os-quota-sets/{project}", "/os-quota-class-sets/{name}"
_QUOTA_OF_ID = reply("QuotaReply", quota_set=QuotaView)

CATALOGUE = {
    "GET /flavors": page("FlavorsReply", "flavors", FlavorBrief),
    "POST /flavors": _ONE_FLAVOR,
    "GET /flavors/detail": page("FlavorsDetailReply", "flavors", FlavorView),
    "GET " + _FLAVOR: _ONE_FLAVOR,
    "PUT " + _FLAVOR: _ONE_FLAVOR,
    "DELETE " + _FLAVOR: None,
    "GET " + _SPECS: _ALL_SPECS,
    "POST " + _SPECS: _ALL_SPECS,
    "GET " + _SPECS + "/{key}": dict[str, str],
    "PUT " + _SPECS + "/{key}": dict[str, str],
    "DELETE " + _SPECS + "/{key}": None,
    "GET " + _FLAVOR + "/os-flavor-access": _ACCESS,
    "POST " + _FLAVOR + "/action#addTenantAccess": _ACCESS,
    "POST " + _FLAVOR + "/action#removeTenantAccess": _ACCESS,
    "GET /os-keypairs": page("KeypairsReply", "keypairs", KeypairListed),
    "POST /os-keypairs": reply("KeypairMadeReply", keypair=KeypairMade),
    "GET /os-keypairs/{name}": reply("KeypairReply", keypair=KeypairView),
    "DELETE /os-keypairs/{name}": None,
    "GET /limits": reply("LimitsReply", limits=Limits),
    "GET " + _QUOTA: _QUOTA_OF_ID,
    "GET " + _QUOTA + "/detail": reply("QuotaDetailReply", quota_set=QuotaDetail),
    "GET " + _QUOTA + "/defaults": _QUOTA_OF_ID,
    "PUT " + _QUOTA: reply("QuotaUpdatedReply", quota_set=QuotaLimits),
    "DELETE " + _QUOTA: None,
    "GET " + _CLASS: reply("QuotaClassReply", quota_class_set=QuotaView),
    "PUT " + _CLASS: reply("QuotaClassUpdatedReply", quota_class_set=QuotaLimits),
    "GET /os-simple-tenant-usage": page("UsagesReply", "tenant_usages", ProjectUsage),
    "GET /os-simple-tenant-usage/{project}": reply(
        "UsageReply", {"tenant_usage_links": list[Link]}, tenant_usage=ProjectUsage
    ),
}
