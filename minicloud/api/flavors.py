"""Flavors: sizes of servers, their extra specs, and the projects that see the private ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from minicloud.api import extra_specs
from minicloud.api.schemas.fields import truth, whole
from minicloud.api.schemas.flavors import ExtraSpecs, FlavorCreate, brief_view, flavor_view
from minicloud.db import flavors
from minicloud.domain.errors import Conflict, Exists, Invalid, NotFound
from minicloud.domain.ids import new_id
from minicloud.domain.models import Flavor
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Query, Reply
from minicloud.kit.web.paging import next_link, page

_MOST = 1000
QUERY = Query(
    names=frozenset(("limit", "marker", "is_public", "minRam", "minDisk", "sort_key", "sort_dir")),
    strict_from=(2, 75),
)
_SORT_KEYS = {
    "flavorid": "id",
    "name": "name",
    "memory_mb": "ram",
    "vcpus": "vcpus",
    "root_gb": "disk",
    "ephemeral_gb": "ephemeral",
    "swap": "swap",
    "rxtx_factor": "rxtx_factor",
    "is_public": "is_public",
    "disabled": "disabled",
    "created_at": "ram",
    "updated_at": "ram",
    "id": "id",
}


class Flavors:
    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, call: Call) -> Any:
        return self._list(call, details=False)

    def detail(self, call: Call) -> Any:
        return self._list(call, details=True)

    def _list(self, call: Call, *, details: bool) -> Any:
        with self._database.read() as tx:
            found = flavors.flavor_list(tx, visible_to=_visible_to(call))
        found = _sorted(call, [flavor for flavor in found if _wanted(call, flavor)])
        shown, more = page(
            found,
            [flavor.id for flavor in found],
            limit=min(call.number("limit", _MOST) or 0, _MOST),
            marker=call.query.get("marker"),
        )
        specs = call.allowed("os_compute_api:os-flavor-extra-specs:index")
        body: dict[str, Any] = {
            "flavors": [
                flavor_view(f, call.base_url, extra_specs=specs)
                if details
                else brief_view(f, call.base_url)
                for f in shown
            ]
        }
        if more and shown:
            href = next_link(call.base_url + call.path, call.query, shown[-1].id)
            body["flavors_links"] = [{"rel": "next", "href": href}]
        return body

    def show(self, call: Call) -> Any:
        with self._database.read() as tx:
            return self._view(call, self._named(tx, call))

    def create(self, call: Call) -> Any:
        flavor = _flavor(call.body)
        with self._database.write() as tx:
            try:
                flavors.flavor_insert(tx, flavor)
            except Exists:
                raise Conflict(
                    reason=f"Flavor with name {flavor.name} or ID {flavor.id} already exists."
                ) from None
        return self._view(call, flavor)

    def update(self, call: Call) -> Any:
        with self._database.write() as tx:
            flavor = msgspec.structs.replace(
                self._named(tx, call), description=call.body.description
            )
            flavors.flavor_update(tx, flavor)
        return self._view(call, flavor)

    def delete(self, call: Call) -> Reply:
        with self._database.write() as tx:
            flavors.flavor_delete(tx, call.params["flavor_id"])
        return Reply()

    # -- extra specs -------------------------------------------------------------------------------
    def specs(self, call: Call) -> Any:
        with self._database.read() as tx:
            return {"extra_specs": self._named(tx, call).extra_specs}

    def spec(self, call: Call) -> Any:
        key = call.params["key"]
        with self._database.read() as tx:
            flavor = self._named(tx, call)
        return {key: _spec(flavor, key)}

    def add_specs(self, call: Call) -> Any:
        given = _texts(call.body.extra_specs)
        with self._database.write() as tx:
            flavor = self._named(tx, call)
            _keep_specs(tx, flavor, {**flavor.extra_specs, **given})
        return {"extra_specs": given}

    def add_checked_specs(self, call: Call) -> Any:
        """From 2.86 on."""
        extra_specs.check(_texts(call.body.extra_specs))
        return self.add_specs(call)

    def set_checked_spec(self, call: Call) -> Any:
        extra_specs.check(_texts(call.body))
        return self.set_spec(call)

    def set_spec(self, call: Call) -> Any:
        key, given = call.params["key"], _texts(call.body)
        if list(given) != [key]:
            raise Invalid(reason="Request body and URI mismatch")
        with self._database.write() as tx:
            flavor = self._named(tx, call)
            _keep_specs(tx, flavor, {**flavor.extra_specs, **given})
        return given

    def delete_spec(self, call: Call) -> Reply:
        key = call.params["key"]
        with self._database.write() as tx:
            flavor = self._named(tx, call)
            _spec(flavor, key)
            _keep_specs(tx, flavor, {k: v for k, v in flavor.extra_specs.items() if k != key})
        return Reply()

    # -- access ------------------------------------------------------------------------------------
    def access(self, call: Call) -> Any:
        with self._database.read() as tx:
            flavor = self._named(tx, call)
            if flavor.is_public:
                raise NotFound(kind="Access list of public flavor", id=flavor.id)
            return _access_view(tx, flavor)

    def add_access(self, call: Call) -> Any:
        return self._add_access(call, public_is_error=True)

    def add_access_before_2_7(self, call: Call) -> Any:
        """A public flavor took an access list, without effect."""
        return self._add_access(call, public_is_error=False)

    def _add_access(self, call: Call, *, public_is_error: bool) -> Any:
        with self._database.write() as tx:
            flavor = self._named(tx, call)
            if flavor.is_public and public_is_error:
                raise Conflict(reason="Can not add access to a public flavor.")
            flavors.flavor_access_add(tx, flavor.id, call.body.tenant)
            return _access_view(tx, flavor)

    def remove_access(self, call: Call) -> Any:
        with self._database.write() as tx:
            flavor = self._named(tx, call)
            flavors.flavor_access_remove(tx, flavor.id, call.body.tenant)
            return _access_view(tx, flavor)

    def _named(self, tx: Transaction, call: Call) -> Flavor:
        return flavors.flavor_get(tx, call.params["flavor_id"], visible_to=_visible_to(call))

    def _view(self, call: Call, flavor: Flavor) -> Any:
        specs = call.allowed("os_compute_api:os-flavor-extra-specs:index")
        return {"flavor": flavor_view(flavor, call.base_url, extra_specs=specs)}


def _visible_to(call: Call) -> str | None:
    return None if call.ctx.is_admin else call.ctx.project_id


def _wanted(call: Call, flavor: Flavor) -> bool:
    if flavor.ram < (call.number("minRam", 0) or 0):
        return False
    if flavor.disk < (call.number("minDisk", 0) or 0):
        return False
    asked = call.query.get("is_public")
    if not call.ctx.is_admin:
        return True  # what the caller may see
    if asked is not None and asked.lower() == "none":
        return True
    return flavor.is_public == (True if asked is None else truth(asked, "is_public"))


def _sorted(call: Call, found: Sequence[Flavor]) -> Sequence[Flavor]:
    key = call.query.get("sort_key", "flavorid")
    if key not in _SORT_KEYS:
        raise Invalid(reason=f"Invalid input for query parameters sort_key: {key[:64]}")
    direction = call.query.get("sort_dir", "asc")
    if direction not in ("asc", "desc"):
        raise Invalid(reason=f"Invalid input for query parameters sort_dir: {direction[:64]}")
    field = _SORT_KEYS[key]
    return sorted(
        found, key=lambda flavor: (getattr(flavor, field), flavor.id), reverse=direction == "desc"
    )


def _flavor(body: FlavorCreate) -> Flavor:
    factor = float(body.rxtx_factor)
    if not 0 < factor < 1e9:
        raise Invalid(reason="Invalid input for field/attribute rxtx_factor.")
    chosen = "" if body.id is None else str(body.id)
    return Flavor(
        id=new_id() if chosen in ("", "auto") else chosen,
        name=body.name,
        vcpus=whole(body.vcpus, "vcpus", least=1),
        ram=whole(body.ram, "ram", least=1),
        disk=whole(body.disk, "disk", least=0),
        ephemeral=whole(body.ephemeral, "OS-FLV-EXT-DATA:ephemeral", least=0),
        swap=whole(body.swap, "swap", least=0),
        rxtx_factor=factor,
        is_public=truth(body.is_public, "os-flavor-access:is_public"),
        description=body.description,
    )


def _texts(specs: ExtraSpecs) -> dict[str, str]:
    return {key: str(value) for key, value in specs.items()}


def _spec(flavor: Flavor, key: str) -> str:
    try:
        return flavor.extra_specs[key]
    except KeyError:
        raise NotFound(kind=f"Flavor {flavor.id} has no extra specs with key {key}:", id=key) \
            from None  # fmt: skip


def _keep_specs(tx: Transaction, flavor: Flavor, specs: dict[str, str]) -> None:
    flavors.flavor_update(tx, msgspec.structs.replace(flavor, extra_specs=specs))


def _access_view(tx: Transaction, flavor: Flavor) -> Any:
    return {
        "flavor_access": [
            {"flavor_id": flavor.id, "tenant_id": project}
            for project in flavors.flavor_access_list(tx, flavor.id)
        ]
    }
