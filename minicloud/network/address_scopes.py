"""Address scopes: pools whose prefixes never overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import sharing, store
from minicloud.network.caller import Caller
from minicloud.network.listing import rows_list
from minicloud.network.models import address_scopes
from minicloud.network.query import ListQuery
from minicloud.network.records import AddressScope, from_row
from minicloud.network.schemas import given, owner_named
from minicloud.network.sharing_attributes import ADDRESS_SCOPES
from minicloud.network.sharing_schemas import ScopeCreate, ScopeUpdate
from minicloud.network.views import standard

_DESCRIPTION_IS_NOT_SHOWN = ("description", "created_at", "updated_at", "revision_number")


class AddressScopes:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, caller: Caller, bodies: Sequence[ScopeCreate]) -> list[dict[str, Any]]:
        """All or none. Forbidden."""
        wanted = [
            (body, caller.owner_of(owner_named(body), "create_address_scope")) for body in bodies
        ]
        with self._database.write() as tx:
            made = []
            for body, owner in wanted:
                values = {
                    **store.standard_values(owner),
                    "ip_version": body.ip_version,
                    "shared": False,
                    **given(body, "name", "shared"),
                }
                if values["shared"]:
                    caller.check("create_address_scope:shared", {"project_id": owner})
                store.row_insert(tx, address_scopes, values)
                if values["shared"]:
                    _share(tx, values["id"], owner)
                made.append(scope_seen(tx, caller, values["id"]))
            return _views(tx, caller, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sharing.visible(address_scopes, caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            rows = rows_list(tx, ADDRESS_SCOPES, query, visible)
            return _views(tx, caller, [from_row(row, AddressScope) for row in rows])

    def show(self, caller: Caller, scope_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, caller, [scope_seen(tx, caller, scope_id)])[0]

    def update(self, caller: Caller, scope_id: str, body: ScopeUpdate) -> dict[str, Any]:
        """Invalid where a shared scope is to be shared no longer."""
        with self._database.write() as tx:
            scope = scope_seen(tx, caller, scope_id, lock=True)
            caller.may_change("update_address_scope", scope)
            values = given(body, "name", "shared")
            if values.get("shared", scope.shared) != scope.shared:
                caller.check("update_address_scope:shared", {"project_id": scope.project_id})
                if scope.shared:
                    raise Invalid(
                        type="AddressScopeUpdateError",
                        reason=f"Unable to update address scope {scope.id} : Shared address scope "
                        "can't be unshared.",
                    )
                _share(tx, scope.id, scope.project_id)
            store.row_update(tx, address_scopes, scope.id, clock.now(), values)
            return _views(tx, caller, [scope_seen(tx, caller, scope_id)])[0]

    def delete(self, caller: Caller, scope_id: str) -> None:
        """Conflict while a subnet pool is in it."""
        with self._database.write() as tx:
            scope = scope_seen(tx, caller, scope_id, lock=True)
            caller.may_change("delete_address_scope", scope)
            if not store.row_delete(tx, address_scopes, scope.id):
                raise Conflict(
                    type="AddressScopeInUse",
                    reason=f"Unable to complete operation on address scope {scope.id}. There are "
                    "one or more subnet pools in use on the address scope.",
                )


def scope_seen(
    tx: Transaction, caller: Caller, scope_id: str, *, lock: bool = False
) -> AddressScope:
    """The address scope, if the caller may see it. NotFound."""
    row = store.row_get(tx, address_scopes, scope_id, lock=lock)
    if row is None or not (
        caller.sees_all
        or row["project_id"] == caller.project_id
        or sharing.actions_for(tx, scope_id, caller.project_id)
    ):
        raise NotFound(kind="Address Scope", id=scope_id)
    return from_row(row, AddressScope)


def _share(tx: Transaction, scope_id: str, owner: str) -> None:
    sharing.with_everybody(tx, "address_scope", scope_id, owner, sharing.SHARED, on=True)


def _views(tx: Transaction, caller: Caller, found: Sequence[AddressScope]) -> list[dict[str, Any]]:
    shared = sharing.shared_ids(tx, [scope.id for scope in found], caller.project_id)
    views = []
    for scope in found:
        view = {**standard(scope), "ip_version": scope.ip_version, "shared": scope.id in shared}
        for name in _DESCRIPTION_IS_NOT_SHOWN:
            del view[name]
        views.append(view)
    return views
