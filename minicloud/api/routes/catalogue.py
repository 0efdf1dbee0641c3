"""Rows of what servers are launched from, and of how many there may be."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from minicloud.api import flavors as flavor_module
from minicloud.api import keypairs as keypair_module
from minicloud.api import quotas as quota_module
from minicloud.api import usage as usage_module
from minicloud.api.flavors import Flavors
from minicloud.api.keypairs import Keypairs
from minicloud.api.quotas import Quotas
from minicloud.api.schemas import flavors as flavor_schemas
from minicloud.api.schemas import keypairs as keypair_schemas
from minicloud.api.schemas import quotas as quota_schemas
from minicloud.api.usage import Usage
from minicloud.kit.web import Body, Route

_P = "os_compute_api:"
_FLAVOR = "/flavors/{flavor_id}"
_SPECS = _FLAVOR + "/os-extra_specs"
_OneSpec = Annotated[flavor_schemas.ExtraSpecs, Meta(min_length=1, max_length=1)]


def flavor_routes(flavors: Flavors) -> list[Route]:
    query, down = flavor_module.QUERY, flavor_schemas.DOWN
    add = Body(type=flavor_schemas.TenantBody, wrapper="addTenantAccess")
    remove = Body(type=flavor_schemas.TenantBody, wrapper="removeTenantAccess")
    return [
        Route(method="GET", path="/flavors", handler=flavors.index, policy=_P + "flavors",
              query=query, down=down, summary="List flavors."),
        Route(method="POST", path="/flavors", handler=flavors.create,
              policy=_P + "os-flavor-manage:create", body=flavor_schemas.CREATE, down=down,
              summary="Make a flavor."),
        Route(method="GET", path="/flavors/detail", handler=flavors.detail, policy=_P + "flavors",
              query=query, down=down, summary="List flavors in full."),
        Route(method="GET", path=_FLAVOR, handler=flavors.show, policy=_P + "flavors", down=down,
              summary="Show a flavor."),
        Route(method="PUT", path=_FLAVOR, handler=flavors.update, since=(2, 55),
              policy=_P + "os-flavor-manage:update", body=flavor_schemas.UPDATE, down=down,
              summary="Change a flavor's description."),
        Route(method="DELETE", path=_FLAVOR, handler=flavors.delete, status=202,
              policy=_P + "os-flavor-manage:delete", summary="Delete a flavor."),
        Route(method="GET", path=_SPECS, handler=flavors.specs,
              policy=_P + "os-flavor-extra-specs:index", summary="List extra specs."),
        Route(method="POST", path=_SPECS, handler=flavors.add_checked_specs, since=(2, 86),
              policy=_P + "os-flavor-extra-specs:create", body=flavor_schemas.SpecsBody,
              summary="Add extra specs, of which the known ones are checked."),
        Route(method="POST", path=_SPECS, handler=flavors.add_specs,
              policy=_P + "os-flavor-extra-specs:create", body=flavor_schemas.SpecsBody,
              summary="Add extra specs."),
        Route(method="GET", path=_SPECS + "/{key}", handler=flavors.spec,
              policy=_P + "os-flavor-extra-specs:show", summary="Show one extra spec."),
        Route(method="PUT", path=_SPECS + "/{key}", handler=flavors.set_checked_spec,
              since=(2, 86), policy=_P + "os-flavor-extra-specs:update", body=_OneSpec,
              summary="Set one extra spec, which is checked where it is known."),
        Route(method="PUT", path=_SPECS + "/{key}", handler=flavors.set_spec,
              policy=_P + "os-flavor-extra-specs:update", body=_OneSpec,
              summary="Set one extra spec."),
        Route(method="DELETE", path=_SPECS + "/{key}", handler=flavors.delete_spec,
              policy=_P + "os-flavor-extra-specs:delete", summary="Remove one extra spec."),
        Route(method="GET", path=_FLAVOR + "/os-flavor-access", handler=flavors.access,
              policy=_P + "os-flavor-access", summary="List who sees a private flavor."),
        Route(method="POST", path=_FLAVOR + "/action", action="addTenantAccess",
              handler=flavors.add_access, since=(2, 7), body=add,
              policy=_P + "os-flavor-access:add_tenant_access", summary="Share a flavor."),
        Route(method="POST", path=_FLAVOR + "/action", action="addTenantAccess",
              handler=flavors.add_access_before_2_7, body=add,
              policy=_P + "os-flavor-access:add_tenant_access", summary="Share a flavor."),
        Route(method="POST", path=_FLAVOR + "/action", action="removeTenantAccess",
              handler=flavors.remove_access, body=remove,
              policy=_P + "os-flavor-access:remove_tenant_access", summary="Unshare a flavor."),
    ]  # fmt: skip


def keypair_routes(keypairs: Keypairs) -> list[Route]:
    one = "/os-keypairs/{name}"
    query, down = keypair_module.QUERY, keypair_schemas.DOWN
    return [
        Route(method="GET", path="/os-keypairs", handler=keypairs.index,
              policy=_P + "os-keypairs:index", query=query, down=down,
              summary="List key pairs."),
        Route(method="POST", path="/os-keypairs", handler=keypairs.create, status=201,
              policy=_P + "os-keypairs:create", since=(2, 92), body=keypair_schemas.IMPORT,
              summary="Import a public key."),
        Route(method="POST", path="/os-keypairs", handler=keypairs.create, status=201,
              policy=_P + "os-keypairs:create", body=keypair_schemas.CREATE, down=down,
              old_status=(((2, 2), 200),), summary="Import a public key, or make a pair."),
        Route(method="GET", path=one, handler=keypairs.show, policy=_P + "os-keypairs:show",
              query=query, down=down, summary="Show a key pair."),
        Route(method="DELETE", path=one, handler=keypairs.delete, status=204,
              policy=_P + "os-keypairs:delete", query=query, old_status=(((2, 2), 202),),
              summary="Delete a key pair."),
    ]  # fmt: skip


def quota_routes(quotas: Quotas, usage: Usage) -> list[Route]:
    one = "/os-quota-sets/{project}"
    query, down = quota_module.QUERY, quota_schemas.DOWN
    return [
        Route(method="GET", path="/limits", handler=quotas.limits, policy=_P + "limits",
              query=quota_module.LIMITS_QUERY, down=quota_schemas.DOWN_LIMITS,
              summary="Show the project's limits and what it uses."),
        Route(method="GET", path=one, handler=quotas.show, policy=_P + "os-quota-sets:show",
              query=query, down=down, summary="Show a project's quota."),
        Route(method="GET", path=one + "/detail", handler=quotas.detail,
              policy=_P + "os-quota-sets:detail", query=query, down=down,
              summary="Show a project's quota and what it uses."),
        Route(method="GET", path=one + "/defaults", handler=quotas.defaults,
              policy=_P + "os-quota-sets:defaults", query=query, down=down,
              summary="Show the quota of projects that have none of their own."),
        Route(method="PUT", path=one, handler=quotas.update, policy=_P + "os-quota-sets:update",
              body=quota_schemas.UPDATE, query=query, down=down,
              summary="Set a project's quota."),
        Route(method="DELETE", path=one, handler=quotas.reset, status=202,
              policy=_P + "os-quota-sets:delete", query=query,
              summary="Put a project back to the default quota."),
        Route(method="GET", path="/os-quota-class-sets/{name}", handler=quotas.show_class,
              policy=_P + "os-quota-class-sets:show", down=quota_schemas.CLASS_DOWN,
              summary="Show the limits of a quota class."),
        Route(method="PUT", path="/os-quota-class-sets/{name}", handler=quotas.update_class,
              policy=_P + "os-quota-class-sets:update", body=quota_schemas.CLASS_UPDATE,
              down=quota_schemas.CLASS_DOWN, summary="Set the limits of a quota class."),
        Route(method="GET", path="/os-simple-tenant-usage", handler=usage.index,
              policy=_P + "os-simple-tenant-usage:list", query=usage_module.QUERY,
              down=usage_module.DOWN,
              summary="List what projects used."),
        Route(method="GET", path="/os-simple-tenant-usage/{project}", handler=usage.show,
              policy=_P + "os-simple-tenant-usage:show", query=usage_module.QUERY,
              down=usage_module.DOWN,
              summary="Show what a project used."),
    ]  # fmt: skip
