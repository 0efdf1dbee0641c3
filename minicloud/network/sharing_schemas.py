"""Request bodies of shareable things and of the policies about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from minicloud.network.schemas import Address, Bulk, Id, Name, Request, Tags, Update

PrefixLength = Annotated[int, Meta(ge=0, le=128)]
Addresses = Annotated[Sequence[Address], Meta(max_length=1000)]


# -- RBAC policies -------------------------------------------------------------------------------
class RbacUpdate(Request, frozen=True, kw_only=True):
    target_tenant: Annotated[str, Meta(min_length=1, max_length=255)]


class RbacCreate(RbacUpdate, frozen=True, kw_only=True):
    project_id: Name | None = None
    tenant_id: Name | None = None
    object_type: Literal[
        "network", "security_group", "address_scope", "subnetpool", "address_group"
    ]
    object_id: Id
    action: Name


class RbacPost(Request, frozen=True, kw_only=True):
    rbac_policy: RbacCreate | UnsetType = UNSET
    rbac_policies: Annotated[Sequence[RbacCreate], Bulk] | UnsetType = UNSET


# -- address scopes ------------------------------------------------------------------------------
class ScopeUpdate(Update, frozen=True, kw_only=True):
    shared: bool | UnsetType = UNSET


class ScopeCreate(ScopeUpdate, frozen=True, kw_only=True):
    project_id: Name | None = None
    tenant_id: Name | None = None
    ip_version: Literal[4, 6]


class ScopePost(Request, frozen=True, kw_only=True):
    address_scope: ScopeCreate | UnsetType = UNSET
    address_scopes: Annotated[Sequence[ScopeCreate], Bulk] | UnsetType = UNSET


# -- subnet pools --------------------------------------------------------------------------------
class PoolUpdate(Update, frozen=True, kw_only=True):
    prefixes: Addresses | UnsetType = UNSET
    default_prefixlen: PrefixLength | UnsetType | None = UNSET
    min_prefixlen: PrefixLength | UnsetType | None = UNSET
    max_prefixlen: PrefixLength | UnsetType | None = UNSET
    default_quota: Annotated[int, Meta(ge=0, le=2**31 - 1)] | UnsetType | None = UNSET
    address_scope_id: Id | UnsetType | None = UNSET
    is_default: bool | UnsetType = UNSET


class PoolCreate(PoolUpdate, frozen=True, kw_only=True):
    tags: Tags | UnsetType = UNSET
    project_id: Name | None = None
    tenant_id: Name | None = None
    shared: bool | UnsetType = UNSET


class PoolPost(Request, frozen=True, kw_only=True):
    subnetpool: PoolCreate | UnsetType = UNSET
    subnetpools: Annotated[Sequence[PoolCreate], Bulk] | UnsetType = UNSET


class PrefixesBody(Request, frozen=True, kw_only=True):
    prefixes: Addresses


class OnboardBody(Request, frozen=True, kw_only=True):
    network_id: Id


# -- address groups ------------------------------------------------------------------------------
class AddressGroupUpdate(Update, frozen=True, kw_only=True):
    pass


class AddressGroupCreate(AddressGroupUpdate, frozen=True, kw_only=True):
    project_id: Name | None = None
    tenant_id: Name | None = None
    shared: bool | UnsetType = UNSET
    addresses: Addresses | UnsetType = UNSET


class AddressGroupPost(Request, frozen=True, kw_only=True):
    address_group: AddressGroupCreate | UnsetType = UNSET
    address_groups: Annotated[Sequence[AddressGroupCreate], Bulk] | UnsetType = UNSET


class AddressesBody(Request, frozen=True, kw_only=True):
    addresses: Addresses
